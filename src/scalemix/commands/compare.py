"""``scalemix compare``: one data set by SVI and by NUTS, and what they made of it."""

from __future__ import annotations

import os
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from scalemix.jobs.workers import compile_fast, stop_workers
from scalemix.terminal import INTERRUPTED, console, counting, interruptible, refuse, say, writable

if TYPE_CHECKING:
    from scalemix.comparison import Comparison
    from scalemix.data import Regression
    from scalemix.jobs.compare import Budget, Cell

__all__ = ["compare"]


class Backend(StrEnum):
    """Probabilistic language to fit with."""

    numpyro = "numpyro"
    pyro = "pyro"
    both = "both"


def compare(
    data: Annotated[
        str | None,
        typer.Option(
            help="CSV file of numbers with a header line, or the name of a UCI set (yacht, energy, ...). Default: diabetes (442 × 10) with "
            "40 added columns of noise."
        ),
    ] = None,
    target: Annotated[str | None, typer.Option(help="Column of the CSV file to predict.")] = None,
    split: Annotated[int | None, typer.Option(min=0, help="Standard split of the UCI set; 0 if not given.")] = None,
    network: Annotated[
        int | None, typer.Option(min=1, help="Fit a network with one hidden layer of so many units, rather than a linear model.")
    ] = None,
    noise: Annotated[
        float | None, typer.Option(min=0.0, help="Known noise of a network's outcome, in sds of the target; 0: learn it. Default: 0.1.")
    ] = None,
    methods: Annotated[
        str | None,
        typer.Option(
            help="Of nuts, mean_field, low_rank, full_rank, with commas; of a network also map, mc_dropout, vbd, ... Default: "
            "nuts,mean_field; of a network all."
        ),
    ] = None,
    output: Annotated[Path, typer.Option(help="Folder for table, figures and posteriors.")] = Path("results/compare"),
    backend: Annotated[
        Backend, typer.Option(help="Language to fit with; Pyro's NUTS is tens of times slower on models of this size.")
    ] = Backend.numpyro,
    prior: Annotated[
        list[str] | None, typer.Option(help="Fit only this prior (repeat for several): ridge, laplace, student-t, ...")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the split (but of a UCI set's), the fits and the noise columns.")] = 0,
    draws: Annotated[
        int | None,
        typer.Option(
            min=100, help="Draws per chain of each prior's reference fit; other fits take half of both. Default: 1000, of a network 1000."
        ),
    ] = None,
    warmup: Annotated[int | None, typer.Option(min=100, help="Warm-up iterations per chain. Default: 1000, of a network 1000.")] = None,
    steps: Annotated[int | None, typer.Option(min=100, help="Gradient steps of SVI. Default: 10000, of a network 20000.")] = None,
    workers: Annotated[
        int, typer.Option(min=1, help="Cores to work on: so many fits side by side; NUTS of a network alone, with its chains side by side.")
    ] = min(2, os.cpu_count() or 1),
) -> None:
    """Fit one data set by SVI and by NUTS, and compare what they made of it: a sparse regression under six priors, or a network.

    The priors: ridge, Laplace (Rayleigh noise), Student-t (inverse-Nakagami noise), horseshoe (half-Cauchy noise), the regularized
    horseshoe, and spike-and-slab (Bernoulli noise), each in every parametrization it has. With --network: one hidden layer of tanh units,
    normal weights of variance 1/(units that feed them) and known noise, judged by its function values and not by its weights, whose order
    has no meaning; beside them the dropout family, MC dropout to VIBNet, each with a prior of its own. A random fifth of the rows is held
    out; of a UCI set those of the split. Prints three tables (prediction, sampler and optimizer, distances to the reference of the same
    prior) with one row per fit, and verdicts in words; writes report.html, which is one file with everything in it, and beside it
    report.md, the tables (csv, md), the figures (png) and a netCDF file per posterior (for ArviZ).

    Examples:

        scalemix compare

        scalemix compare --data mine.csv --target y --output results/mine

        scalemix compare --data yacht --split 0 --network 50 --output results/yacht
    """
    regression = _read(data, target, split, seed)
    folder = writable(output)
    for column in regression.dropped:
        console.print(f"[yellow]Left out column {column!r}: it is constant in the training part.[/yellow]")
    languages = ("numpyro", "pyro") if backend is Backend.both else (str(backend),)
    todo = _cells(regression, languages, prior, network, methods, noise)
    budget = _budget(todo, network, draws=draws, warmup=warmup, svi_steps=steps)
    if "pyro" in languages:
        console.print("Pyro's NUTS takes tens of times as long as NumPyro's on a model of this size: --prior and --draws make it shorter.")
    done = _fit(todo, regression, folder, budget, seed, workers)
    console.print("Comparing ...")
    comparison = _compare(done, regression, folder, _about(data, split, regression, todo[0]))
    _show(comparison)
    console.print(f"\nWritten to {folder}: report.html, report.md, tables (csv, md), figures (png), posteriors (nc).")


def _read(data: str | None, target: str | None, split: int | None, seed: int) -> Regression:
    from scalemix.data import DataError, diabetes, read_csv
    from scalemix.uci import UCI_SETS, uci_regression

    is_set = data in UCI_SETS
    if split is not None and not is_set:
        refuse(f"--split goes with a UCI set: give --data one of {', '.join(UCI_SETS)}")
    if target is not None and (data is None or is_set):
        refuse("--target goes with a CSV file: give --data the file it is a column of")
    try:
        if data is None:
            return diabetes(seed=seed)
        if is_set:
            return uci_regression(data, split or 0)
        if target is None:
            refuse("--data needs --target: name the column to predict")
        return read_csv(Path(data), target, seed=seed)
    except DataError as error:
        refuse(str(error))


def _cells(
    regression: Regression,
    languages: tuple[str, ...],
    names: list[str] | None,
    network: int | None,
    methods: str | None,
    noise: float | None,
) -> list[Cell]:
    """The cells to run; checks that the priors and methods exist and the languages are installed before anything is fitted."""
    from scalemix.jobs.compare import METHODS, NETWORK_METHODS, NETWORK_NOISE, cells, network_cells
    from scalemix.jobs.languages import language_named

    allowed = METHODS if network is None else NETWORK_METHODS
    chosen = tuple(methods.split(",")) if methods is not None else ("nuts", "mean_field") if network is None else allowed
    for method in chosen:
        if method in NETWORK_METHODS and method not in allowed:
            refuse(f"{method} has a prior of its own: give --network too, or --methods some of {','.join(METHODS)}")
        if method not in allowed:
            refuse(f"unknown method {method!r}: give --methods some of {','.join(allowed)}")
    if network is None and noise is not None:
        refuse("--noise is of a network: give --network too, or leave it out, as a regression learns its noise")
    if network is not None:
        todo = network_cells(network, languages, chosen, NETWORK_NOISE if noise is None else noise)
    else:
        todo = cells(regression.x_train.shape[1], len(regression.y_train), languages, chosen)
    known = list(dict.fromkeys(cell.prior_name for cell in todo))
    for name in names or ():
        if name not in known:
            refuse(f"unknown prior {name!r}: give --prior one of {', '.join(known)}")
    try:
        for each in languages:
            language_named(each)
    except ValueError as error:
        refuse(str(error))
    return [cell for cell in todo if not names or cell.prior_name in names]


def _budget(todo: list[Cell], network: int | None, **asked: int | None) -> Budget:
    from scalemix.jobs.compare import NETWORK, REGRESSION, SAMPLERS

    given = {name: number for name, number in asked.items() if number is not None}
    sampled = [method in SAMPLERS for cell in todo for method in cell.methods]
    for name in given:
        if name == "svi_steps" and all(sampled):
            refuse("--steps is of optimization, and --methods has a sampler alone: leave it away, or add e.g. mean_field")
        if name != "svi_steps" and not any(sampled):
            refuse(f"--{name} is of a sampler, and --methods has none: leave it away, or add nuts")
    return replace(REGRESSION if network is None else NETWORK, **given)


def _fit(todo: list[Cell], regression: Regression, folder: Path, budget: Budget, seed: int, workers: int) -> list[Cell]:
    """Run every cell under a counting progress bar; Ctrl-C keeps what is finished."""
    from scalemix.jobs.compare import pools, run_cells

    shared = pools(todo, workers)
    done: list[Cell] = []
    try:
        with interruptible() as check, counting("fits") as progress:
            total = sum(len(cell.methods) for cell in todo)
            task = progress.add_task(f"{total} fits to make;", total=total)
            for cells, pool in shared:
                for cell in run_cells(cells, regression, folder, budget=budget, seed=seed, executor=pool):
                    done.append(cell)
                    how = ", ".join(each for each in (cell.form, cell.backend) if each)
                    told = f"{cell.prior_name} by {', '.join(cell.methods)} ({how}) done;"
                    progress.update(task, advance=len(cell.methods), description=told)
                    check()
    except (KeyboardInterrupt, FloatingPointError) as error:
        stop_workers(folder)
        names = ", ".join(cell.fit_name(method) for cell in done for method in cell.methods) or "none"
        finished = f"Finished and readable in {folder}: {names}."
        if isinstance(error, FloatingPointError):
            refuse(f"{error}. {finished}")
        console.print(f"\nInterrupted. {finished}")
        raise typer.Exit(INTERRUPTED) from None
    finally:
        for _, pool in shared:
            if pool is not None:
                pool.shutdown(wait=False, cancel_futures=True)
    return sorted(done, key=todo.index)


def _about(data: str | None, split: int | None, regression: Regression, cell: Cell) -> str:
    """What was compared: data, model and units."""
    from scalemix.uci import UCI_SETS

    source = data or "diabetes with 40 columns of noise"
    source += f", split {split or 0}" if data in UCI_SETS else ""
    fitted, held, columns = len(regression.y_train), len(regression.y_test), regression.x_train.shape[1]
    noise = f"known noise of {cell.noise:g} sd of the target" if cell.noise else "learned noise"
    model = f"A network with one hidden layer of {cell.hidden_units} tanh units" if cell.hidden_units else "A linear model"
    return (
        f"{source}: {fitted} cases to fit, {held} held out, {columns} inputs. {model} and {noise}, fitted to standardized inputs "
        f"and target. Target: {regression.target}, mean {regression.target_mean:.4g}, sd {regression.target_scale:.4g}; RMSE, CRPS and log "
        "densities of held-out cases are in its own units."
    )


def _compare(done: list[Cell], regression: Regression, folder: Path, about: str) -> Comparison:
    from scalemix.comparison import compare as compare_posteriors
    from scalemix.jobs.compare import load_posteriors

    compile_fast()
    comparison = compare_posteriors(
        load_posteriors(done, folder),
        data=(regression.x_test, regression.y_test),
        target_scale=(regression.target_mean, regression.target_scale),
    )
    comparison.report(folder, about=about)
    return comparison


def _show(comparison: Comparison) -> None:
    say(comparison.to_markdown())
    console.print()
    for verdict in comparison.verdicts:
        say(f"- {verdict}")
