"""The command line: ``scalemix compare``. Bad input ends with exit code 2 and one sentence that names the thing and the remedy."""

from __future__ import annotations

import multiprocessing
import os
import signal
import warnings
from concurrent.futures import ProcessPoolExecutor
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

if TYPE_CHECKING:
    from scalemix.comparison import Comparison
    from scalemix.data import Regression
    from scalemix.study import Budget, Cell

__all__ = ["app", "main"]

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Dropout as a prior: Gaussian scale mixtures under SVI and MCMC, compared.",
)
console = Console()
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
        Path | None, typer.Option(help="CSV file of numbers with a header line. Default: diabetes (442 × 10) with 40 added columns of noise.")
    ] = None,
    target: Annotated[str | None, typer.Option(help="Column of --data to predict.")] = None,
    output: Annotated[Path, typer.Option(help="Folder for table, figures and posteriors.")] = Path("results/compare"),
    backend: Annotated[Backend, typer.Option(help="Language to fit with; Pyro's NUTS is tens of times slower on models of this size.")] = Backend.numpyro,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the split, the fits and the noise columns.")] = 0,
    draws: Annotated[int, typer.Option(min=100, help="Draws per chain of each prior's reference fit; other forms take half.")] = 1000,
    warmup: Annotated[int, typer.Option(min=100, help="Warm-up iterations per chain.")] = 1000,
    steps: Annotated[int, typer.Option(min=100, help="Gradient steps of SVI.")] = 10_000,
    workers: Annotated[int, typer.Option(min=1, help="Fits to run side by side, each on one core.")] = min(2, os.cpu_count() or 1),
) -> None:
    """Fit one sparse regression under six priors by SVI and by NUTS, and compare what they made of it.

    The priors: ridge, Laplace (Rayleigh noise), Student-t (inverse-Nakagami noise), horseshoe (half-Cauchy noise), the regularized
    horseshoe, and spike-and-slab (Bernoulli noise), each in every parametrization it has. A random fifth of the rows is held out. Prints one
    row per fit and verdicts in words; writes table.csv, table.md, report.md, a netCDF file per posterior (for ArviZ) and three figures.

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
    budget = Budget(warmup=warmup, reference_draws=draws, other_draws=max(draws // 2, 100), svi_steps=steps)
    done = _fit(regression, folder, languages, budget, seed, workers)
    console.print("Comparing ...")
    comparison = _compare(done, regression, folder)
    _show(comparison)
    console.print(f"\nWritten to {folder}: table.csv, table.md, report.md, figures (png), posteriors (nc).")


def main() -> None:
    """Entry point of the ``scalemix`` command."""
    warnings.filterwarnings("ignore", category=FutureWarning, module="arviz")
    app()


def _read(data: Path | None, target: str | None, seed: int) -> Regression:
    from scalemix.data import DataError, diabetes, read_csv

    if data is None and target is not None:
        raise typer.BadParameter("--target goes with --data: give the CSV file it is a column of")
    if data is not None and target is None:
        raise typer.BadParameter("--data needs --target: name the column to predict")
    try:
        return diabetes(seed=seed) if data is None or target is None else read_csv(data, target, seed=seed)
    except DataError as error:
        raise typer.BadParameter(str(error)) from error


def _writable(folder: Path) -> Path:
    """The folder, made and tried before hours of work go into it."""
    probe = folder / ".scalemix-probe"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise typer.BadParameter(f"cannot write to {folder} ({error.strerror}): give --output a folder that you can write to") from error
    return folder


def _fit(regression: Regression, folder: Path, languages: tuple[str, ...], budget: Budget, seed: int, workers: int) -> list[Cell]:
    """Run every cell under a counting progress bar; Ctrl-C keeps what is finished."""
    from scalemix.study import cells, language, run_cells

    for each in languages:
        try:
            language(each)
        except ValueError as error:
            raise typer.BadParameter(str(error)) from error
    todo = cells(regression.x_train.shape[1], len(regression.y_train), languages)
    todo.sort(key=lambda cell: "horseshoe" not in cell.prior_name)  # the longest first, so that no worker waits at the end
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("fits"), TimeElapsedColumn())
    executor = None if workers == 1 else ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn"), initializer=_one_core)
    done: list[Cell] = []
    try:
        with Progress(*columns, console=console) as progress:
            task = progress.add_task(f"Fitting {len(todo)} models by NUTS and SVI", total=2 * len(todo))
            for cell in run_cells(todo, regression, folder, budget=budget, seed=seed, executor=executor):
                done.append(cell)
                progress.update(task, advance=2, description=f"{cell.prior_name} ({cell.form}, {cell.backend}) done;")
    except KeyboardInterrupt:
        names = ", ".join(f"{cell.prior_name} {cell.form}" for cell in done) or "none"
        console.print(f"\nInterrupted. Finished and readable in {folder}: {names}.")
        raise typer.Exit(INTERRUPTED) from None
    finally:
        if executor is not None:
            executor.shutdown(wait=False, cancel_futures=True)
    order = {cell: position for position, cell in enumerate(cells(regression.x_train.shape[1], len(regression.y_train), languages))}
    return sorted(done, key=order.__getitem__)


def _one_core() -> None:
    """A worker computes on one core, so that workers do not fight over them, and compiles many short programs."""
    for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "NPROC"):
        os.environ[variable] = "1"
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which cancels what has not begun
    from scalemix.numpyro.compiling import prefer_fast_compilation

    prefer_fast_compilation()


def _compare(done: list[Cell], regression: Regression, folder: Path) -> Comparison:
    from scalemix.comparison import compare as compare_posteriors
    from scalemix.study import load_posteriors

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
