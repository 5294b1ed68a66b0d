"""How much the columns matter to a sparse network, and how many to keep, as figures."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from scalemix.comparison.canvas import NOISE, SIGNAL, blank_figure, plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from scalemix.compress.importance import Selection

__all__ = ["plot_importance", "plot_selection"]

MOST_BARS = 40


def plot_importance(names: Sequence[str], phi: np.ndarray, kept: np.ndarray) -> Figure:
    """φ of each column, those whose indices are in ``kept`` in blue."""
    figure = blank_figure(7.0, _height(phi))
    _draw_bars(figure.subplots(), names, phi, kept)
    return figure


def plot_selection(selection: Selection) -> Figure:
    """``Selection.plot``."""
    figure = blank_figure(11.0, _height(selection.phi))
    left, right = figure.subplots(1, 2)
    _draw_bars(left, selection.names, selection.phi, selection.kept)
    mean, folds = selection.errors.mean(axis=0), len(selection.errors)
    standard_error = selection.errors.std(axis=0, ddof=1) / math.sqrt(folds)
    right.errorbar(100.0 * np.asarray(selection.fractions), mean, standard_error, marker="o", color=SIGNAL)
    right.axvline(100.0 * selection.fraction, color=NOISE, lw=1.2)
    right.set(title="How many to keep", xlabel="columns kept [%] (line: chosen)", ylabel=f"error held out, mean of {folds} folds")
    plain(right)
    return figure


def _height(phi: np.ndarray) -> float:
    """Of a figure with so many bars, inches."""
    return max(3.6, 1.2 + 0.2 * min(len(phi), MOST_BARS))


def _draw_bars(axes: Axes, names: Sequence[str], phi: np.ndarray, kept: np.ndarray) -> None:
    """A bar for φ of each column, the largest first and at most 40 of them, those whose indices are in ``kept`` in blue."""
    order = np.argsort(-phi, kind="stable")[:MOST_BARS]
    places, stays = np.arange(len(order))[::-1], np.isin(order, kept)
    for mask, color, label in ((stays, SIGNAL, "kept"), (~stays, NOISE, "dropped")):
        if mask.any():
            axes.barh(places[mask], phi[order][mask], color=color, height=0.6, label=label)
    axes.set_yticks(places, [names[k] for k in order])
    more = "" if len(order) == len(phi) else f", the first {len(order)} of {len(phi)} columns"
    axes.set(title=f"How much a column matters{more}", xlabel="φ")
    axes.legend(frameon=False, loc="lower right")
    plain(axes)
