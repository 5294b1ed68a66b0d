"""``scalemix prior``: what a prior says about a weight before any data, in words and in a figure."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from scalemix.terminal import console, print_rows, refuse, say

if TYPE_CHECKING:
    from scalemix.priors import ScaleMixture

__all__ = ["prior"]


def prior(
    name: Annotated[
        str | None, typer.Argument(help="A prior, e.g. laplace, or a noise, e.g. noise.rayleigh. Without it: the list.")
    ] = None,
    settings: Annotated[list[str] | None, typer.Argument(metavar="KEY=VALUE", help="Its settings, e.g. df=4 scale=0.5.")] = None,
    plot: Annotated[bool, typer.Option("--plot", help="Draw its density, its tail and its shrinkage factor.")] = False,
    output: Annotated[Path | None, typer.Option(help="File of the figure, png, pdf or svg. Default: the prior's name, as png.")] = None,
    num_data: Annotated[
        int | None, typer.Option(min=1, help="Cases N for which the figure shows the shrinkage factor (at unit noise). Default: 1.")
    ] = None,
) -> None:
    """What a prior says about a weight before any data: its equation, quantiles, mass near 0, and the parametrizations it has.

    A prior is a Gaussian scale mixture w = ξ z: a noise ξ, which makes weights small or large, times a normal z. What lies near 0 is what
    will be shrunk away; what lies in the tail is what will be left alone. The shrinkage factor κ = 1/(1 + N ξ²) is the share of a
    least-squares estimate that is taken away: near 1 for a weight that the prior takes for noise, near 0 for one it takes for signal.

    Examples:

        scalemix prior

        scalemix prior laplace scale=0.5

        scalemix prior horseshoe expected_active=5 num_data=100 num_weights=50 --plot --num-data 100

        scalemix prior noise.rayleigh --plot --output rayleigh.pdf
    """
    from scalemix.catalog import describe, equation, named_prior, prior_names

    of_figure = {"--output": output, "--num-data": num_data}
    given = [option for option, value in of_figure.items() if value is not None]
    if given and not plot:
        refuse(f"{given[0]} is of the figure: give --plot too")
    if name is None:
        print_rows(prior_names())
        return
    try:
        chosen = named_prior(name, _settings(settings))
        rows = describe(chosen)
    except (TypeError, ValueError) as error:
        refuse(str(error))
    say(equation(name))
    console.print()
    print_rows(rows)
    if plot:
        _draw(chosen, output or Path(f"{name.lower()}.png"), num_data or 1)


def _settings(pairs: list[str] | None) -> dict[str, str]:
    for pair in pairs or ():
        if "=" not in pair:
            refuse(f"{pair!r} is not a setting: give KEY=VALUE, e.g. scale=0.5")
    return dict(pair.split("=", 1) for pair in pairs or ())


def _draw(prior: ScaleMixture, path: Path, num_data: int) -> None:
    from scalemix.prior_figure import plot_prior

    try:
        plot_prior(prior, num_data=num_data).savefig(path)
    except (ImportError, OSError, ValueError) as error:
        refuse(f"cannot draw {path}: {error}")
    say(f"\nFigure written to {path}.")
