"""``scalemix fit``: one network on one data set by one method, in a folder that a killed fit goes on in."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from scalemix.terminal import INTERRUPTED, console, interruptible, refuse, say

if TYPE_CHECKING:
    from scalemix.jobs.fit_folder import FitFolder
    from scalemix.posterior import Posterior

__all__ = ["fit"]


class Language(StrEnum):
    """Probabilistic language to fit with."""

    numpyro = "numpyro"
    pyro = "pyro"


class Activation(StrEnum):
    """Of the hidden units."""

    tanh = "tanh"
    relu = "relu"
    sigmoid = "sigmoid"


class Precision(StrEnum):
    """Of all numbers."""

    float32 = "float32"
    float64 = "float64"


def fit(
    data: Annotated[
        str | None,
        typer.Option(
            help="CSV file with a header line, the name of a UCI set (yacht, energy, ...), or an npz file with x and y and, if there are, "
            "x_test and y_test; x is (n, columns), or images (n, height, width, channel)."
        ),
    ] = None,
    target: Annotated[str | None, typer.Option(help="Column of the CSV file to predict.")] = None,
    split: Annotated[int | None, typer.Option(min=0, help="Standard split of the UCI set; 0 if not given.")] = None,
    classify: Annotated[
        bool | None,
        typer.Option("--classify", help="The target's numbers are classes. Text is anyway, and so are whole numbers in an npz."),
    ] = None,
    network: Annotated[
        str | None,
        typer.Option(help="Units of each hidden layer, with commas: 50 or 300,100. Of images, after the convolutions. Default: 50."),
    ] = None,
    filters: Annotated[str | None, typer.Option(help="Filters of each convolution, for images. Default: 20,50.")] = None,
    kernel: Annotated[int | None, typer.Option(min=1, help="Height and width of each filter. Default: 5.")] = None,
    activation: Annotated[Activation | None, typer.Option(help="Default: tanh, of images relu.")] = None,
    method: Annotated[
        str | None,
        typer.Option(
            help="vbd, vib, horseshoe, spike_slab, variational_dropout, mc_dropout, concrete, bayes_by_backprop, map, dynamic_regularizer, "
            "mean_field, low_rank, full_rank or nuts."
        ),
    ] = None,
    prior: Annotated[
        str | None,
        typer.Option(
            help="A prior with its settings, 'student-t df=4'; `scalemix prior` lists them. Default: the method's own, else normal."
        ),
    ] = None,
    noise: Annotated[
        float | None, typer.Option(min=1e-6, help="Known noise of a number, in sds of the target. Default: it is learned.")
    ] = None,
    backend: Annotated[Language | None, typer.Option(help="Language to fit with. Default: numpyro.")] = None,
    epochs: Annotated[
        int | None,
        typer.Option(min=1, help="Passes over the data (of mean_field, low_rank, full_rank: steps). Default: 10000 steps' worth."),
    ] = None,
    batch_size: Annotated[int | None, typer.Option(min=1, help="Rows of a step. Default: all, of more than 2000 rows 128.")] = None,
    learning_rate: Annotated[
        float | None, typer.Option(min=1e-12, help="The first one; it falls. Default: 0.005, of mean_field, ... 0.01.")
    ] = None,
    draws: Annotated[
        int | None, typer.Option(min=2, help="Draws to keep; of nuts per chain. Default: 200, fewer of large data; of nuts 1000.")
    ] = None,
    warmup: Annotated[int | None, typer.Option(min=1, help="Iterations of nuts before the kept ones. Default: 1000.")] = None,
    chains: Annotated[int | None, typer.Option(min=1, help="Chains of nuts. Default: 4.")] = None,
    validation: Annotated[
        float | None,
        typer.Option(min=0.0, max=0.9, help="Part of the rows that the fit does not see, for `scalemix shrink --most-loss`. Default: 0."),
    ] = None,
    dtype: Annotated[Precision | None, typer.Option(help="Default: float32, of nuts float64.")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Of everything that is random. Default: 0.")] = None,
    output: Annotated[Path, typer.Option(help="Folder of the fit, new or empty.")] = Path("results/fit"),
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the fit in --output where it stopped, or begin it if there is none.")
    ] = False,
    checkpoint_minutes: Annotated[
        float | None, typer.Option(min=0.0001, help="Time between checkpoints of training, all a kill can cost. Default: 1.")
    ] = None,
) -> None:
    """Fit one network to one data set by one method, and say how well it predicts.

    A target of numbers gets a normal likelihood, a target of classes a categorical one. A random fifth of the rows is held out; of a UCI
    set those of the split, of an npz file x_test, if it is there. Inputs are standardized, images by one mean and one sd for all pixels.

    The folder gets posterior.nc (for ArviZ, and for `scalemix shrink`), fit.json and data.npz, from which the model is built again, and
    report.html and report.md with a figure. A fit that was killed goes on with `scalemix fit --resume --output FOLDER`: what was asked for
    is in the folder. Given --resume from the start, a command can be run again and again until it is done. The numbers are those of a fit
    that was not killed. mean_field, low_rank and full_rank keep no checkpoints and begin anew.

    Examples:

        scalemix fit --data mine.csv --target y --network 50,50 --method vbd --output results/mine

        scalemix fit --data yacht --method nuts --noise 0.1 --output results/yacht

        scalemix fit --data digits.npz --network 300,100 --method vib --output results/digits

        scalemix fit --resume --output results/mine
    """
    given = {
        "source": data,
        "split": split,
        "classify": classify,
        "network": _numbers("--network", network),
        "filters": _numbers("--filters", filters),
        "kernel": kernel,
        "activation": _text(activation),
        "method": method,
        "prior": prior,
        "noise": noise,
        "backend": _text(backend),
        "epochs": epochs,
        "batch_size": batch_size,
        "learning_rate": learning_rate,
        "draws": draws,
        "warmup": warmup,
        "chains": chains,
        "validation": validation,
        "dtype": _text(dtype),
        "seed": seed,
    }
    folder = _folder(output, {name: value for name, value in given.items() if value is not None}, target, checkpoint_minutes, resume=resume)
    for column in folder.data.dropped:
        console.print(f"[yellow]Left out column {column!r}: it is constant in the training part.[/yellow]")
    posterior = _fit(folder, 1.0 if checkpoint_minutes is None else checkpoint_minutes)
    _report(folder, posterior)


def _folder(output: Path, given: dict[str, Any], target: str | None, checkpoint_minutes: float | None, *, resume: bool) -> FitFolder:
    """The fit that is in the folder, or a new one."""
    from scalemix.jobs.fit_folder import FitFolder
    from scalemix.jobs.languages import language_named
    from scalemix.jobs.supervised import read_supervised
    from scalemix.jobs.wanted_fit import Wanted

    try:
        if FitFolder.there(output):
            found = FitFolder.open(output)
            if not resume:
                state = "a finished fit" if found.finished else "a fit that is not finished"
                refuse(f"{output} holds {state}: give --resume to go on with it, or another --output")
            asked = given if target is None else given | {"target": target}
            if sentence := found.differs(asked):
                refuse(sentence)
            _check_minutes(checkpoint_minutes, found.wanted.method)
            language_named(found.wanted.backend)
            return found
        if "source" not in given:
            refuse(f"there is no fit in {output} to go on with: give --data, and --method" if resume else "give --data, the data to fit")
        if "method" not in given:
            refuse("give --method, e.g. --method vbd: `scalemix fit --help` lists them")
        wanted = Wanted(**given)
        data = read_supervised(
            wanted.source, target, split=wanted.split, classify=wanted.classify, validation=wanted.validation, seed=wanted.seed
        )
        wanted.check(data)
        _check_minutes(checkpoint_minutes, wanted.method)
        wanted.settings(data, checkpoint_minutes=1.0, progress=False)
        language_named(wanted.backend)
        return FitFolder.begin(output, wanted, data)
    except (ValueError, OSError) as error:
        refuse(str(error))


def _check_minutes(minutes: float | None, method: str) -> None:
    from scalemix.family import FAMILY

    if minutes is not None and method not in FAMILY:
        refuse(f"--checkpoint-minutes: {method} keeps no checkpoints by the clock: leave it away")


def _fit(folder: FitFolder, checkpoint_minutes: float) -> Posterior:
    if folder.finished:
        say(f"The fit in {folder.path} is finished; its report is written again.")
    _keep_compiled(folder.wanted.backend)
    try:
        with interruptible() as check:
            found = folder.fit(checkpoint_minutes=checkpoint_minutes, progress=console.is_terminal)
            check()
            return found
    except KeyboardInterrupt:
        say(f"\nInterrupted. Go on with: scalemix fit --resume --output {folder.path}")
        raise typer.Exit(INTERRUPTED) from None
    except (ValueError, FloatingPointError, OSError) as error:
        folder.forget()
        refuse(str(error))


def _keep_compiled(backend: str) -> None:
    """Compiled programs are found again in the next run."""
    if backend == "numpyro":
        from scalemix.numpyro.compiling import cache_compilation

        cache_compilation()


def _report(folder: FitFolder, posterior: Posterior) -> None:
    from scalemix.jobs.fit_report import fit_page, score_rows, scores_of, told
    from scalemix.page import Page

    scores = scores_of(posterior, folder.data)
    fit_page(posterior, folder.data, scores, about=folder.wanted.about(folder.data)).write(folder.path)
    headings, rows = score_rows(folder.data, scores)
    shown = Page("")
    shown.table(headings, rows)
    say(shown.markdown[0])
    console.print()
    for sentence in told(posterior):
        say(f"- {sentence}")
    say(f"\nWritten to {folder.path}: posterior.nc, fit.json, data.npz, report.html, report.md.")


def _numbers(option: str, text: str | None) -> tuple[int, ...] | None:
    if text is None:
        return None
    parts = text.split(",")
    if not all(part.strip().isascii() and part.strip().isdecimal() and int(part) > 0 for part in parts):
        refuse(f"{option} {text!r}: give whole numbers above 0 with commas between, e.g. 300,100")
    return tuple(int(part) for part in parts)


def _text(choice: StrEnum | None) -> str | None:
    return None if choice is None else str(choice)
