"""Two figures of every fit: do its predictive intervals hold, and how far is it from the reference of its prior."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from scalemix.comparison.canvas import GRAY, NOISE, SIGNAL, canvas, dots, line, panel_title
from scalemix.comparison.contrasts import Contrast
from scalemix.comparison.fits import Fit
from scalemix.comparison.verdicts import WITHIN_NOISE

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["calibration_figure", "distance_figure"]

MOST_ACROSS = 4
GREEN = "#009E73"  # Okabe and Ito's
LEVELS = np.linspace(0.0, 1.0, 501)


def calibration_figure(groups: Mapping[str, Sequence[Fit]]) -> Figure:
    """Per prior and fit, share of the held-out outcomes below each predictive quantile less the quantile's probability, G(p) - p.

    The band is ±2 √(p(1 - p)/n), where a calibrated forecast of n independent cases stays at each level 19 times of 20. A sag in the middle
    of an S says that the intervals are too narrow, the opposite S that they are too wide; a bow to one side is a bias.
    """
    shown = {label: [fit for fit in fits if fit.held_out.pit.size] for label, fits in groups.items()}
    shown = {label: fits for label, fits in shown.items() if fits}
    rows = math.ceil(len(shown) / MOST_ACROSS)
    legend = [
        line("fits by a sampler", color=SIGNAL, width=1.5),
        line("variational fits", color=NOISE, width=1.5),
        dots("0.88", "what chance allows a calibrated fit at each level"),
    ]
    grid = (rows, math.ceil(len(shown) / rows))
    page = canvas("Do the predictive probabilities hold on held-out data?", legend, grid=grid, panel=(2.6, 2.4))
    for (label, fits), ax in zip(shown.items(), page.axes, strict=False):
        number = fits[0].held_out.pit.size
        band = 2 * np.sqrt(LEVELS * (1 - LEVELS) / number)
        ax.fill_between(LEVELS, -band, band, color="0.88", lw=0, zorder=0)
        ax.axhline(0, color=GRAY, lw=0.8, zorder=1)
        for fit in fits:
            share = np.searchsorted(np.sort(fit.held_out.pit), LEVELS, side="right") / number
            ax.plot(LEVELS, share - LEVELS, color=NOISE if fit.is_variational else SIGNAL, lw=1.3, alpha=0.8, zorder=3 - fit.is_variational)
        ax.set_title(panel_title(label, note=f"({number} cases)"), fontsize=10)
        ax.set_xticks([0, 0.5, 1], ["0", "0.5", "1"])
    for ax in page.axes[len(shown) :]:
        ax.set_visible(False)
    page.label_x("predictive probability p")
    page.body.supylabel("share of outcomes below\nthe p-quantile, minus p", fontsize=10)
    return page.figure


def distance_figure(groups: Mapping[str, Sequence[tuple[Fit, Contrast]]]) -> Figure:
    """Per fit its distances to the reference of its prior, in Monte Carlo floors; left of the dotted line all is noise."""
    rows = [(label, fit, found) for label, pairs in groups.items() for fit, found in pairs]
    legend = [
        dots(SIGNAL, "marginals (W₁)"),
        dots(NOISE, "directions (sliced W₁)"),
        dots(GREEN, "joint law (MMD)"),
        line("Monte Carlo floor"),
        line(f"noise up to here ({WITHIN_NOISE:g} floors)", style=":"),
    ]
    page = canvas("How far is each fit from the reference of its prior?", legend, grid=(1, 1), panel=(7.0, 0.6 + 0.32 * len(rows)))
    (ax,) = page.axes
    ax.axvline(1.0, color=GRAY, lw=1.0, zorder=0)
    ax.axvline(WITHIN_NOISE, color=GRAY, lw=1.0, ls=":", zorder=0)
    numbers = []
    for height, (_, _, found) in enumerate(rows):
        times = [found.times_floor, found.sliced.times_floor, found.mmd.times_floor]
        numbers += times
        for value, color, offset in zip(times, (SIGNAL, NOISE, GREEN), (-0.18, 0.0, 0.18), strict=True):
            ax.plot(value, height + offset, "o", color=color, ms=5.5, mec="white", mew=0.4)
    for height in range(1, len(rows)):
        if rows[height][0] != rows[height - 1][0]:
            ax.axhline(height - 0.5, color="0.85", lw=0.8, zorder=0)
    ax.set_yticks(range(len(rows)), [fit.name for _, fit, _ in rows], fontsize=9)
    ax.tick_params(axis="y", length=0)
    ax.set_ylim(len(rows) - 0.5, -0.5)
    finite = [value for value in numbers if math.isfinite(value) and value > 0]
    low, high = min([*finite, 0.8]) / 1.2, max([*finite, 3.0]) * 1.2
    ax.set_xscale("log")
    ax.set_xlim(low, high)
    ticks = [tick for tick in (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000) if low <= tick <= high]
    ax.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    ax.set_xticks([], minor=True)
    page.label_x("distance to the reference, in Monte Carlo floors (log scale)")
    return page.figure
