"""The command line: ``scalemix compare`` and ``scalemix prior``.

Bad input ends with exit code 2 and one sentence that names the thing and the remedy.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import warnings
from concurrent.futures import ProcessPoolExecutor
from enum import StrEnum
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from scalemix.prior_command import prior
from scalemix.terminal import console, refuse

if TYPE_CHECKING:
    from scalemix.comparison import Comparison
    from scalemix.data import Regression
    from scalemix.study import Budget, Cell

__all__ = ["app", "main"]

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",  # so that paragraphs of the docstrings flow
    help="Dropout as a prior: Gaussian scale mixtures under SVI and MCMC, compared.",
)
INTERRUPTED = 130


class Backend(StrEnum):
    """Probabilistic language to fit with."""

    numpyro = "numpyro"
    pyro = "pyro"
    both = "both"


@app.callback()
def _scalemix() -> None:
    """Dropout as a prior: Gaussian scale mixtures under SVI and MCMC, compared."""


@app.command()
def compare(
    data: Annotated[
        Path | None,
        typer.Option(help="CSV file of numbers with a header line. Default: diabetes (442 × 10) with 40 added columns of noise."),
    ] = None,
    target: Annotated[str | None, typer.Option(help="Column of --data to predict.")] = None,
    output: Annotated[Path, typer.Option(help="Folder for table, figures and posteriors.")] = Path("results/compare"),
    backend: Annotated[
        Backend, typer.Option(help="Language to fit with; Pyro's NUTS is tens of times slower on models of this size.")
    ] = Backend.numpyro,
    prior: Annotated[
        list[str] | None, typer.Option(help="Fit only this prior (repeat for several): ridge, laplace, student-t, ...")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the split, the fits and the noise columns.")] = 0,
    draws: Annotated[
        int, typer.Option(min=100, help="Draws per chain of each prior's reference fit; other fits take half of both.")
    ] = 1000,
    warmup: Annotated[int, typer.Option(min=100, help="Warm-up iterations per chain.")] = 1000,
    steps: Annotated[int, typer.Option(min=100, help="Gradient steps of SVI.")] = 10_000,
    workers: Annotated[int, typer.Option(min=1, help="Fits to run side by side, each on one core.")] = min(2, os.cpu_count() or 1),
) -> None:
    """Fit one sparse regression under six priors by SVI and by NUTS, and compare what they made of it.

    The priors: ridge, Laplace (Rayleigh noise), Student-t (inverse-Nakagami noise), horseshoe (half-Cauchy noise), the regularized
    horseshoe, and spike-and-slab (Bernoulli noise), each in every parametrization it has. A random fifth of the rows is held out. Prints
    three tables (prediction, sampler and optimizer, distances to the reference of the same prior) with one row per fit, and verdicts in
    words; writes report.html, which is one file with everything in it, and beside it report.md, the tables (csv, md), the figures (png) and
    a netCDF file per posterior (for ArviZ).

    Examples:

        scalemix compare

        scalemix compare --data mine.csv --target y --output results/mine
    """
    from scalemix.study import Budget

    regression = _read(data, target, seed)
    folder = _writable(output)
    for column in regression.dropped:
        console.print(f"[yellow]Left out column {column!r}: it is constant in the training part.[/yellow]")
    languages = ("numpyro", "pyro") if backend is Backend.both else (str(backend),)
    todo = _cells(regression, languages, prior)
    budget = Budget(warmup=warmup, draws=draws, svi_steps=steps)
    if "pyro" in languages:
        console.print("Pyro's NUTS takes tens of times as long as NumPyro's on a model of this size: --prior and --draws make it shorter.")
    done = _fit(todo, regression, folder, budget, seed, workers)
    console.print("Comparing ...")
    comparison = _compare(done, regression, folder)
    _show(comparison)
    console.print(f"\nWritten to {folder}: report.html, report.md, tables (csv, md), figures (png), posteriors (nc).")


app.command()(prior)


def main() -> None:
    """Entry point of the ``scalemix`` command."""
    warnings.filterwarnings("ignore", category=FutureWarning, module="arviz")
    app()


def _read(data: Path | None, target: str | None, seed: int) -> Regression:
    from scalemix.data import DataError, diabetes, read_csv

    if data is None and target is not None:
        refuse("--target goes with --data: give the CSV file it is a column of")
    if data is not None and target is None:
        refuse("--data needs --target: name the column to predict")
    try:
        return diabetes(seed=seed) if data is None or target is None else read_csv(data, target, seed=seed)
    except DataError as error:
        refuse(str(error))


def _writable(folder: Path) -> Path:
    """The folder, made and tried before hours of work go into it."""
    probe = folder / ".scalemix-probe"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.touch()
        probe.unlink()
    except OSError as error:
        refuse(f"cannot write to {folder} ({error.strerror}): give --output a folder that you can write to")
    return folder


def _cells(regression: Regression, languages: tuple[str, ...], names: list[str] | None) -> list[Cell]:
    """The cells to run; checks that the priors exist and the languages are installed before anything is fitted."""
    from scalemix.study import cells, language

    todo = cells(regression.x_train.shape[1], len(regression.y_train), languages)
    known = list(dict.fromkeys(cell.prior_name for cell in todo))
    for name in names or ():
        if name not in known:
            refuse(f"unknown prior {name!r}: give --prior one of {', '.join(known)}")
    try:
        for each in languages:
            language(each)
    except ValueError as error:
        refuse(str(error))
    return [cell for cell in todo if not names or cell.prior_name in names]


def _fit(todo: list[Cell], regression: Regression, folder: Path, budget: Budget, seed: int, workers: int) -> list[Cell]:
    """Run every cell under a counting progress bar; Ctrl-C keeps what is finished."""
    from scalemix.study import run_cells

    longest_first = sorted(todo, key=lambda cell: "horseshoe" not in cell.prior_name)  # so that no worker waits at the end
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("fits"), TimeElapsedColumn())
    executor = (
        None if workers == 1 else ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn"), initializer=_one_core)
    )
    done: list[Cell] = []
    interrupted = threading.Event()

    def interrupt(*_: object) -> None:
        interrupted.set()  # an exception raised inside a callback of the garbage collector is lost, this is not
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, interrupt)
    try:
        with Progress(*columns, console=console) as progress:
            task = progress.add_task(f"Fitting {len(todo)} models by NUTS and SVI", total=2 * len(todo))
            for cell in run_cells(longest_first, regression, folder, budget=budget, seed=seed, executor=executor):
                done.append(cell)
                progress.update(task, advance=2, description=f"{cell.prior_name} ({cell.form}, {cell.backend}) done;")
                if interrupted.is_set():
                    raise KeyboardInterrupt
    except KeyboardInterrupt:
        _stop_workers(folder)
        names = ", ".join(f"{cell.prior_name} {cell.form}" for cell in done) or "none"
        console.print(f"\nInterrupted. Finished and readable in {folder}: {names}.")
        raise typer.Exit(INTERRUPTED) from None
    finally:
        signal.signal(signal.SIGINT, before)
        if executor is not None:
            executor.shutdown(wait=False, cancel_futures=True)
    return sorted(done, key=todo.index)


def _stop_workers(folder: Path) -> None:
    """End the workers at once and remove the files they were in the middle of."""
    for worker in multiprocessing.active_children():
        worker.terminate()
        worker.join()
        for unfinished in folder.glob(f".*.{worker.pid}.tmp"):
            unfinished.unlink()


def _one_core() -> None:
    """A worker computes on one core, so that workers do not fight over them, and compiles many short programs."""
    for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "NPROC"):
        os.environ[variable] = "1"
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which cancels what has not begun
    _compile_fast()


def _compile_fast() -> None:
    """Where NumPyro is installed; a comparison in Pyro needs no JAX."""
    if find_spec("numpyro") is not None:
        from scalemix.numpyro.compiling import prefer_fast_compilation

        prefer_fast_compilation()


def _compare(done: list[Cell], regression: Regression, folder: Path) -> Comparison:
    from scalemix.comparison import compare as compare_posteriors
    from scalemix.study import load_posteriors

    _compile_fast()
    comparison = compare_posteriors(
        load_posteriors(done, folder),
        data=(regression.x_test, regression.y_test),
        target_scale=(regression.target_mean, regression.target_scale),
    )
    comparison.report(folder)
    return comparison


def _show(comparison: Comparison) -> None:
    console.print(comparison.to_markdown(), soft_wrap=True, markup=False, highlight=False)
    console.print()
    for verdict in comparison.verdicts:
        console.print(f"- {verdict}", markup=False, highlight=False, soft_wrap=True)
