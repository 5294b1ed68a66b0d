"""The figure of a model that is judged by identified quantities: what each fit makes of them, beside what the reference makes of them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from scalemix.comparison.blocks import blocks_of
from scalemix.comparison.canvas import GRAY, canvas, line, panel_title
from scalemix.comparison.fits import Fit

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["identified_figure"]

COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")  # Okabe and Ito's
LINEAR = 5.0  # sds of the reference up to which the axis is linear
MOST_ROWS = 40
PROBS = (0.05, 0.25, 0.5, 0.75, 0.95)


def identified_figure(groups: Mapping[str, Sequence[Fit]], measures: Mapping[str, Fit], valid: Mapping[str, bool]) -> Figure:
    """Per prior and identified quantity, each fit's median, 50 % and 90 % interval, as (value - mean)/sd of the reference.

    Args:
        groups: the fits of each prior.
        measures: of each prior the fit whose means and sds are 0 and 1: its reference, else whatever is nearest to one.
        valid: of each prior, whether that is a valid reference.
    """
    labels = _labels(next(iter(measures.values())))
    kept = np.unique(np.linspace(0, len(labels) - 1, min(len(labels), MOST_ROWS)).round().astype(int))
    most = max(len(fits) for fits in groups.values())
    methods = list(dict.fromkeys(_told(fit) for fits in groups.values() for fit in fits))
    colors = {method: COLORS[index % len(COLORS)] for index, method in enumerate(methods)}
    legend = [*(line(method, color=color, width=3) for method, color in colors.items()), line("mean of the reference")]
    height = 0.8 + len(kept) * (0.12 + 0.09 * most)
    page = canvas("What did each fit make of what is identified?", legend, grid=(1, len(groups)), panel=(6.0, height))
    widest = LINEAR
    for (prior, fits), ax in zip(groups.items(), page.axes, strict=True):
        measure = blocks_of(measures[prior].posterior).joined
        center, spread = measure.mean(axis=(0, 1)), measure.std(axis=(0, 1))
        ax.axvline(0, color=GRAY, lw=0.8, zorder=0)
        for place, fit in enumerate(fits):
            values = (blocks_of(fit.posterior).joined - center) / np.where(spread > 0, spread, 1.0)
            q05, q25, q50, q75, q95 = np.quantile(values, PROBS, axis=(0, 1))[:, kept]
            y = np.arange(len(kept)) + 0.7 * ((place + 0.5) / len(fits) - 0.5)
            color = colors[_told(fit)]
            ax.hlines(y, q05, q95, color=color, lw=1.0)
            ax.hlines(y, q25, q75, color=color, lw=2.6)
            ax.plot(q50, y, "o", color=color, ms=3.5, mec="white", mew=0.4)
            widest = max(widest, float(np.abs([q05, q95]).max()))
        ax.set_title(panel_title(prior, note="" if valid[prior] else "(no valid reference)", width=60), fontsize=10)
        ax.set_yticks(range(len(kept)), [labels[index] for index in kept], fontsize=8)
        ax.tick_params(axis="y", length=0)
    page.axes[0].set_ylim(len(kept) - 0.4, -0.6)
    if widest > 2 * LINEAR:
        for ax in page.axes:
            ax.set_xscale("symlog", linthresh=LINEAR, linscale=2.0)
            ticks = [0.0, 2.0, LINEAR, *(10.0**power for power in range(1, math.ceil(math.log10(widest)) + 1))]
            ax.set_xticks(
                [*(-tick for tick in reversed(ticks[1:])), *ticks], labels=[f"{t:g}" for t in [*(-x for x in ticks[:0:-1]), *ticks]]
            )
    page.label_x(
        "(value − mean of the reference)/sd of the reference (dot: median, thick line: 50 % interval, thin line: 90 % interval"
        + (f"; linear up to ±{LINEAR:g}, logarithmic beyond)" if widest > 2 * LINEAR else ")")
    )
    return page.figure


def _labels(fit: Fit) -> list[str]:
    """``y_mean[3]`` for the entries of a block, its name alone where it has one."""
    draws = blocks_of(fit.posterior).draws
    return [f"{name}[{i}]" if block.shape[-1] > 1 else name for name, block in draws.items() for i in range(block.shape[-1])]


def _told(fit: Fit) -> str:
    info = fit.posterior.info
    form = "" if info.parametrization == "single" else f", {info.parametrization}"
    return f"{info.method}{form} ({info.backend})"
