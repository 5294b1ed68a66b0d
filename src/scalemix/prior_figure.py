"""A prior in one line of pictures: the density of w, the tail of |w| against a normal's, and the shrinkage factor κ."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from scalemix import closed_form
from scalemix.comparison.canvas import GRAY, NOISE, SIGNAL, blank_figure, line, plain
from scalemix.effects import effect_cdf, effect_quantile
from scalemix.marginal import atom, log_marginal
from scalemix.priors import ScaleMixture
from scalemix.shrinkage import shrinkage_factor

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["plot_prior"]

COLORS = (SIGNAL, NOISE, "#009E73", "#CC79A7", "#E69F00", "#56B4E9")  # Okabe and Ito
Drawn: TypeAlias = Sequence[tuple[str, ScaleMixture]]
NUM_DRAWS, NUM_BINS = 200_000, 40
TAIL = 1e-4  # the lowest P(|w| > x) shown


def plot_prior(prior: ScaleMixture | Mapping[str, ScaleMixture], *, num_data: int = 1, noise_scale: float = 1.0) -> Figure:
    """Three panels: the density of w (an atom at 0 as a stem of its mass), P(|w| > x) beside the normal that agrees with it at one point
    in ten, and the density of the shrinkage factor κ = 1/(1 + N σ⁻² σ₀² s²).

    Args:
        prior: one prior, or up to six by name to lay over one another.
        num_data: N of κ.
        noise_scale: σ of κ.

    Returns: a ``matplotlib.figure.Figure``; a notebook shows it, ``figure.savefig("prior.png")`` writes it.

    Raises:
        ValueError: more than six priors, or one that has to be resolved first.
        ImportError: matplotlib is not installed.

    Example:
        >>> plot_prior({"Laplace": Laplace(), "horseshoe": Horseshoe()}, num_data=100)
    """
    priors = dict(prior) if isinstance(prior, Mapping) else {str(prior): prior}
    if not 1 <= len(priors) <= len(COLORS):
        raise ValueError(f"plot_prior draws 1 to {len(COLORS)} priors, not {len(priors)}: give as many")
    drawn = list(zip(COLORS, priors.values(), strict=False))
    figure, (density, tail, kappa) = _page(priors)
    _draw_densities(density, drawn)
    _draw_tails(tail, drawn)
    _draw_factors(kappa, drawn, num_data, noise_scale)
    return figure


def _page(priors: Mapping[str, ScaleMixture]) -> tuple[Figure, list[Axes]]:
    """A row of three panels over the legend."""
    figure = blank_figure(12.0, 4.2)
    figure.set_layout_engine("constrained", wspace=0.06)
    axes = list(figure.subplots(1, 3))
    handles = [line(name, color=color, width=2.0) for color, name in zip(COLORS, priors, strict=False)]
    normal = "normal with the same 90 % point" if len(priors) == 1 else f"normal with the 90 % point of {next(iter(priors))}"
    handles.append(line(normal, style="--"))
    longest = max(len(str(handle.get_label())) for handle in handles)
    figure.legend(handles=handles, loc="outside lower center", ncols=min(max(140 // (longest + 8), 1), 4), frameon=False, fontsize=9)
    for ax in axes:
        plain(ax)
    return figure, axes


def _ninth_tenth(prior: ScaleMixture) -> tuple[float, float]:
    """The level and the size below which nine tenths of what is not at 0 lie."""
    level = 1.0 - 0.1 * (1.0 - atom(prior))
    return level, float(effect_quantile(prior, level))


def _matched_normal(prior: ScaleMixture) -> tuple[float, float]:
    """Weight and scale of the normal that has a tenth of its mass beyond the same point; beside an atom, of what is not at 0."""
    from scipy import stats

    return 1.0 - atom(prior), _ninth_tenth(prior)[1] / float(stats.norm.isf(0.05))


def _draw_densities(ax: Axes, drawn: Drawn) -> None:
    """Continuous parts, a pole cut where it leaves the bulk, and each atom as a stem on a scale of its own."""
    points = [_ninth_tenth(prior)[1] for _, prior in drawn]
    width = 1.25 * float(np.median(points)) if len(points) > 2 else 1.25 * max(points)
    half = width * np.concatenate([np.logspace(-5, -2, 90), np.linspace(0.0101, 1.0, 400)])
    share, scale = _matched_normal(drawn[0][1])
    normal = share * np.exp(closed_form.normal(half, scale))
    ax.plot([*-half[::-1], *half], [*normal[::-1], *normal], color=GRAY, lw=1.2, ls="--", zorder=5)
    top = float(normal[0])
    for color, prior in drawn:
        value = np.exp(log_marginal(prior, half))
        top = max(top, float(np.interp(0.01 * _ninth_tenth(prior)[1], half, value)))
        ax.plot([*-half[::-1], *half], [*value[::-1], *value], color=color, lw=1.8)
    ax.set(xlim=(-width, width), ylim=(0.0, 1.1 * top))
    ax.set_xlabel("w", fontsize=10)
    ax.set_ylabel("density of w", fontsize=10)
    ax.set_title("Where does it put w?", fontsize=11)
    atoms = [(color, atom(prior)) for color, prior in drawn if atom(prior) > 0.0]
    if atoms:
        side = ax.twinx()
        side.set(ylim=(0.0, 1.1))
        side.set_ylabel("probability of w = 0 (dot)", fontsize=10)
        side.tick_params(labelsize=9)
        side.spines["top"].set_visible(False)
        for color, mass in atoms:
            side.plot([0.0, 0.0], [0.0, mass], color=color, lw=2.0)
            side.plot([0.0], [mass], marker="o", color=color, ms=7, clip_on=False)


def _draw_tails(ax: Axes, drawn: Drawn) -> None:
    """P(|w| > x) on two log axes: a power law is a straight line, a normal a cliff."""
    from scipy import stats

    point = _ninth_tenth(drawn[0][1])[1]
    high = max(float(effect_quantile(prior, 1.0 - TAIL)) for _, prior in drawn)
    low = min(_ninth_tenth(prior)[1] for _, prior in drawn) / 30.0
    x = np.logspace(math.log10(low), math.log10(max(high, 10.0 * point)), 300)
    share, scale = _matched_normal(drawn[0][1])
    ax.plot(x, share * 2 * stats.norm.sf(x / scale), color=GRAY, lw=1.2, ls="--", zorder=5)
    for color, prior in drawn:
        ax.plot(x, 1.0 - effect_cdf(prior, x), color=color, lw=1.8)
    ax.set(xscale="log", yscale="log", xlim=(x[0], x[-1]), ylim=(TAIL, 1.5))
    ax.set_xlabel("x", fontsize=10)
    ax.set_ylabel("P(|w| > x)", fontsize=10)
    ax.set_title("How large may it be?", fontsize=11)


def _draw_factors(ax: Axes, drawn: Drawn, num_data: int, noise_scale: float) -> None:
    """Share of the weights by their κ."""
    edges = np.linspace(0.0, 1.0, NUM_BINS + 1)
    for color, prior in drawn:
        kappa = shrinkage_factor(prior, num_draws=NUM_DRAWS, seed=0, num_data=num_data, noise_scale=noise_scale)
        share = np.histogram(np.clip(kappa, 0.0, 1.0), edges)[0] / NUM_DRAWS
        ax.stairs(share, edges, color=color, lw=1.8, fill=False)
        if len(drawn) == 1:
            ax.stairs(share, edges, color=color, alpha=0.15, fill=True)
    ax.set(xlim=(0.0, 1.0), ylim=(0.0, None))
    ax.yaxis.set_major_formatter(lambda value, _: f"{100 * value:g} %")
    ax.set_xlabel("shrinkage factor κ (0: left alone, 1: put at 0)", fontsize=10)
    ax.set_ylabel(f"share of the weights, in bins of {1 / NUM_BINS:g}", fontsize=10)
    ax.set_title(f"How hard does it shrink? (N = {num_data}, σ = {noise_scale:g})", fontsize=11)
