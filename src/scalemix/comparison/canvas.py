"""The canvas all figures share: a grid of panels under a title and over a legend that never meets an axis label; colors and markers.

Built on ``matplotlib.figure.Figure`` without pyplot: nothing global is touched, and a notebook shows what is returned.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from scalemix.comparison.columns import Columns

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure
    from matplotlib.lines import Line2D

__all__ = ["GRAY", "NOISE", "SIGNAL", "Canvas", "canvas", "dots", "kinds", "line", "panel_title", "share_log_ticks"]

SIGNAL, NOISE, GRAY = "#0072B2", "#D55E00", "0.6"  # Okabe and Ito's blue and vermilion: every eye tells them apart
TITLE_WIDTH = 26
LEGEND_INCHES = 0.3


@dataclass(frozen=True)
class Canvas:
    """A figure, the part of it that holds the panels (and takes ``supxlabel``), the panels row by row, and the part for the legend."""

    figure: Figure
    body: SubFigure
    axes: list[Axes]
    foot: SubFigure

    def legend(self, handles: Sequence[Line2D]) -> None:
        self.foot.legend(handles=list(handles), loc="center", ncols=len(handles), frameon=False, fontsize=9)


def canvas(title: str, rows: int, across: int, *, panel: tuple[float, float], widths: Sequence[float] | None = None) -> Canvas:
    """``rows`` × ``across`` panels of ``panel`` (width, height) inches under a title.

    Panels share both axes; with ``widths`` (of the columns, in units of ``panel``'s) only within a column and within a row.

    Raises: ImportError with the remedy if matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError("figures need matplotlib: install scalemix[plots]") from error
    width = max(1.0 + panel[0] * (sum(widths) if widths is not None else across), 7.0)
    height = 1.3 + panel[1] * rows
    figure = Figure(figsize=(width, height), dpi=100, layout="constrained")
    figure.suptitle(title, fontsize=14)
    body, foot = np.asarray(figure.subfigures(2, 1, height_ratios=(height - LEGEND_INCHES, LEGEND_INCHES)))
    shared_x, shared_y = (True, True) if widths is None else ("col", "row")
    grid = body.subplots(rows, across, sharex=shared_x, sharey=shared_y, squeeze=False, width_ratios=widths)
    axes = grid.ravel().tolist()
    for ax in axes:
        ax.spines[["top", "right"]].set_visible(False)
        ax.tick_params(labelsize=9)
    return Canvas(figure, body, axes, foot)


def panel_title(label: str, *, note: str = "", width: int = TITLE_WIDTH) -> str:
    """A prior's name on at most three lines of ``width`` letters, with a note under it."""
    return "\n".join([*textwrap.wrap(label, width, max_lines=3, placeholder=" …"), *([note] if note else [])])


def kinds(columns: Columns) -> list[tuple[bool, str, str]]:
    """(is noise, name, color) of the kinds of columns there are."""
    if not columns.is_noise.any():
        return [(False, "column", SIGNAL)]
    return [(False, "signal column", SIGNAL), (True, "noise column", NOISE)]


def dots(color: str, label: str, *, filled: bool = True) -> Line2D:
    """A legend entry for markers."""
    from matplotlib.lines import Line2D

    return Line2D([], [], ls="", marker="o", markerfacecolor=color if filled else "white", markeredgecolor=color, markersize=6, label=label)


def line(label: str, *, style: str = "-", color: str = GRAY, width: float = 1.2) -> Line2D:
    """A legend entry for a line."""
    from matplotlib.lines import Line2D

    return Line2D([], [], ls=style, color=color, lw=width, label=label)


def share_log_ticks(axes: Sequence[Axes]) -> None:
    """Ratios on a log axis read as 0.5 and 2, not as powers of ten; 1 is always in sight."""
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    low, high = axes[0].get_ylim()
    low, high = min(low, 0.8), max(high, 1.25)
    digits = (1, 1.5, 2, 3, 5, 7) if high / low < 12 else (1, 2, 5) if high / low < 200 else (1,)
    steps = [digit * 10.0**power for power in range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1) for digit in digits]
    for ax in axes:
        ax.set_ylim(low, high)
        ax.yaxis.set_major_locator(FixedLocator([step for step in steps if low <= step <= high]))
        ax.yaxis.set_minor_locator(NullLocator())
        ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
