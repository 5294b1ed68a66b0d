"""``scalemix shrink``: from a fit to a smaller network in a file, and what that saves and costs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from scalemix.terminal import INTERRUPTED, console, interruptible, refuse, say, writable

if TYPE_CHECKING:
    from scalemix.jobs.fit_folder import FitFolder
    from scalemix.jobs.shrink import Asked, Result

__all__ = ["shrink"]


def shrink(
    folder: Annotated[Path, typer.Argument(help="Folder of a finished fit, what `scalemix fit` wrote with --output.")],
    rule: Annotated[
        str | None,
        typer.Option(
            help="log_alpha, gate_snr2, inclusion_prob, signal_to_noise, second_moment, covers_zero, group_scale, mean_gate or magnitude. "
            "Default: the method's own."
        ),
    ] = None,
    threshold: Annotated[float | None, typer.Option(help="Drop what the rule measures beyond this. Default: the rule's own.")] = None,
    fraction: Annotated[float | None, typer.Option(help="Keep this part, the best of the network, in place of a threshold.")] = None,
    most_loss: Annotated[
        float | None,
        typer.Option(
            min=0.0,
            help="Keep as little as costs at most this: of a number RMSE in its units, of classes the share that is wrong (0.01 is one in "
            "a hundred); judged on rows that are not held out.",
        ),
    ] = None,
    fine_tune: Annotated[
        int | None, typer.Option(min=1, metavar="EPOCHS", help="Train what is left so many epochs further, as plain weights.")
    ] = None,
    learning_rate: Annotated[float | None, typer.Option(min=1e-12, help="Of fine-tuning, the first one; it falls. Default: 0.001.")] = None,
    output: Annotated[
        Path | None, typer.Option(help="Folder of the smaller network. Default: one in FOLDER that is called by what was asked for.")
    ] = None,
) -> None:
    """Drop weights, units and channels that a fit holds for useless, and write the smaller dense network.

    The rule of the method, unless --rule says otherwise: vbd and variational_dropout log_alpha (dropped above 3), vib gate_snr2 (below 1),
    spike_slab inclusion_prob (below 0.5), concrete mean_gate (below 0.5), mean_field and bayes_by_backprop signal_to_noise (below 1), nuts
    covers_zero (0.9), horseshoe group_scale and map, mc_dropout, dynamic_regularizer magnitude, which have no threshold of their own.

    --most-loss looks at the rows that `scalemix fit --validation` kept aside, else at a fifth of the rows that were fitted, and the report
    says which; never at the rows held out. Shrinking leaves the masked network's outputs as they are.

    The output folder gets shrunk.safetensors and dense.safetensors (read by scalemix.compress.load, in either language; arrays and JSON,
    safe to load from anywhere), of a fit in Pyro shrunk.pt2 too (for torch.export.load: a program, so load your own alone), shrink.json,
    and report.html and report.md. The same command again goes on with fine-tuning that was killed.

    Examples:

        scalemix shrink results/mine

        scalemix shrink results/mine --fraction 0.1 --fine-tune 50

        scalemix shrink results/digits --most-loss 0.002 --output results/small
    """
    fit, asked = _asked(folder, rule, threshold, fraction, most_loss, fine_tune, learning_rate)
    place = writable(fit.path / asked.name if output is None else output)
    result = _shrink(fit, asked, place)
    _report(fit, asked, result, place)


def _asked(
    folder: Path,
    rule: str | None,
    threshold: float | None,
    fraction: float | None,
    most_loss: float | None,
    fine_tune: int | None,
    learning_rate: float | None,
) -> tuple[FitFolder, Asked]:
    """The fit and what is asked of it; refuses what is known to be wrong before anything is loaded."""
    from scalemix.compress import Rule
    from scalemix.jobs.fit_folder import FitFolder
    from scalemix.jobs.languages import language_named
    from scalemix.jobs.shrink import RULE_OF, Asked

    ways = {"--threshold": threshold, "--fraction": fraction, "--most-loss": most_loss}
    given = [name for name, value in ways.items() if value is not None]
    if len(given) > 1:
        refuse(f"{given[0]} and {given[1]} both say how much is dropped: give one of them")
    if fraction is not None and not 0.0 < fraction <= 1.0:
        refuse(f"--fraction {fraction:g}: give the part to keep, above 0 and at most 1")
    if learning_rate is not None and fine_tune is None:
        refuse("--learning-rate is of fine-tuning: give --fine-tune too, or leave it away")
    try:
        fit = FitFolder.open(folder)
        if not fit.finished:
            refuse(f"the fit in {folder} is not finished: go on with scalemix fit --resume --output {folder}")
        chosen = Rule(RULE_OF[fit.wanted.method] if rule is None else rule, threshold)
        if not given and chosen.measure.threshold is None:
            refuse(f"the rule {chosen.name} has no threshold of its own: give --threshold, --fraction or --most-loss")
        language_named(fit.wanted.backend)
    except (ValueError, OSError) as error:
        refuse(str(error))
    rate = {} if learning_rate is None else {"learning_rate": learning_rate}
    asked = Asked(rule=chosen.name, threshold=threshold, fraction=fraction, most_loss=most_loss, fine_tune=fine_tune, **rate)
    return fit, asked


def _shrink(fit: FitFolder, asked: Asked, place: Path) -> Result:
    from scalemix.jobs.shrink import shrink_fit

    try:
        with interruptible() as check:
            found = shrink_fit(fit, asked, place)
            check()
            return found
    except KeyboardInterrupt:
        console.print("\nInterrupted. The same command goes on.")
        raise typer.Exit(INTERRUPTED) from None
    except (ValueError, ImportError, FloatingPointError, OSError) as error:
        refuse(str(error))


def _report(fit: FitFolder, asked: Asked, result: Result, place: Path) -> None:
    from scalemix.jobs.shrink import COMPARED
    from scalemix.jobs.shrink_report import cost_rows, error_rows, shrink_page
    from scalemix.page import Page

    page = shrink_page(
        result.shrunk,
        fit.data,
        result.scores,
        result.seconds,
        result.bytes,
        result.measured,
        difference=result.difference,
        compared=COMPARED,
        about=fit.wanted.about(fit.data),
        chosen=_how(asked, result),
    )
    page.write(place)
    say(_how(asked, result))
    for rows in (cost_rows(result.shrunk.report, result.seconds, result.bytes), error_rows(fit.data, result.scores)):
        shown = Page("")
        shown.table(*rows)
        say("\n" + shown.markdown[0].replace("\\|", "|"))
    program = "shrunk.pt2, " if fit.wanted.backend == "pyro" else ""
    files = f"shrunk.safetensors, dense.safetensors, {program}shrink.json, report.html, report.md"
    say(f"\nWritten to {place}: {files}.")


def _how(asked: Asked, result: Result) -> str:
    """How the rule was applied, in words."""
    pruning = result.shrunk.pruning
    rule, left = pruning.rule, f"{pruning.kept_weights} of {pruning.num_weights} weights"
    if asked.fraction is not None:
        told = f"Kept by {rule.name}: {left}, asked for the best {100.0 * asked.fraction:g} % of what it ranks."
    elif asked.most_loss is not None:
        told = f"Kept by {rule.name}: {left}, as little as costs at most {asked.most_loss:g}, judged on {result.chosen_on}."
    else:
        threshold = rule.measure.threshold if rule.threshold is None else rule.threshold
        told = f"Dropped by {rule.name}: what is {rule.measure.dropped} {threshold:g}; {left} are kept."
    return told if asked.fine_tune is None else f"{told} Then trained {asked.fine_tune} epochs further, what is 0 stays 0."
