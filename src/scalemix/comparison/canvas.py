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

__all__ = [
    "GRAY",
    "NOISE",
    "SIGNAL",
    "Canvas",
    "blank_figure",
    "canvas",
    "dots",
    "kinds",
    "line",
    "panel_title",
    "plain",
    "share_log_ticks",
]

SIGNAL, NOISE, GRAY = "#0072B2", "#D55E00", "0.6"  # Okabe and Ito's blue and vermilion: every eye tells them apart
TITLE_WIDTH = 26
LEGEND_INCHES, LETTER_INCHES, MARK_INCHES = 0.26, 0.07, 0.65  # a row of the legend, a letter of 9 points, the mark before an entry


@dataclass(frozen=True)
class Canvas:
    """A figure, the part of it that holds the panels, and the panels row by row."""

    figure: Figure
    body: SubFigure
    axes: list[Axes]

    def label_x(self, text: str) -> None:
        """One label under all panels, on as many lines as the width asks for."""
        self.body.supxlabel("\n".join(textwrap.wrap(text, int(self.figure.get_figwidth() / (1.2 * LETTER_INCHES)))), fontsize=10)


def canvas(
    title: str,
    legend: Sequence[Line2D],
    *,
    grid: tuple[int, int],
    panel: tuple[float, float],
    widths: Sequence[float] | None = None,
) -> Canvas:
    """A grid of panels (rows, columns), each ``panel`` (width, height) inches, under a title and over a legend.

    Panels share both axes; with ``widths`` (of the columns, in units of ``panel``'s) only within a column and within a row.

    Raises: ImportError with the remedy if matplotlib is not installed.
    """
    width = max(1.0 + panel[0] * (sum(widths) if widths is not None else grid[1]), 7.0)
    entry = max(MARK_INCHES + LETTER_INCHES * len(str(handle.get_label())) for handle in legend)
    per_row = min(max(int(width / entry), 1), len(legend))
    foot_height = 0.1 + LEGEND_INCHES * math.ceil(len(legend) / per_row)
    height = 1.0 + panel[1] * grid[0] + foot_height
    figure = blank_figure(width, height)
    figure.suptitle(title, fontsize=14)
    body, foot = np.asarray(figure.subfigures(2, 1, height_ratios=(height - foot_height, foot_height)))
    foot.legend(handles=list(legend), loc="center", ncols=per_row, frameon=False, fontsize=9)
    shared_x, shared_y = (True, True) if widths is None else ("col", "row")
    axes = body.subplots(*grid, sharex=shared_x, sharey=shared_y, squeeze=False, width_ratios=widths).ravel().tolist()
    for ax in axes:
        plain(ax)
    return Canvas(figure, body, axes)


def blank_figure(width: float, height: float) -> Figure:
    """A figure of so many inches whose parts are laid out so that none covers another.

    Raises: ImportError with the remedy if matplotlib is not installed.
    """
    try:
        from scalemix.comparison.notebook_figure import NotebookFigure
    except ImportError as error:
        raise ImportError("figures need matplotlib: install scalemix[plots]") from error
    return NotebookFigure(figsize=(width, height), dpi=100, layout="constrained")


def plain(ax: Axes) -> None:
    """Two spines and small numbers."""
    ax.spines[["top", "right"]].set_visible(False)
    ax.tick_params(labelsize=9)


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
