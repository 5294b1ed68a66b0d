"""What ``scalemix shrink`` tells: what was dropped by what, what is left, what it saves, and what it costs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from scalemix.comparison.canvas import GRAY, NOISE, SIGNAL, blank_figure, plain
from scalemix.compress import feature_scores
from scalemix.compress.importance_figure import plot_importance
from scalemix.jobs.fit_report import rounded
from scalemix.page import Page

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from scalemix.compress import Pruning, Report, Shrunk
    from scalemix.jobs.network_score import Score
    from scalemix.jobs.supervised import Supervised

__all__ = ["cost_rows", "error_rows", "shrink_page"]

BINS = 60
SPREAD = 100.0  # measures whose largest is that many times their smallest are drawn by their logarithm
HEADROOM = 4.0  # the largest count is this far below the top, where the legend stands


def shrink_page(
    shrunk: Shrunk,
    data: Supervised,
    scores: Mapping[str, Score],
    seconds: Mapping[str, Mapping[int, float]],
    num_bytes: Mapping[str, int],
    measured: Mapping[str, np.ndarray],
    *,
    difference: float,
    compared: int,
    about: str,
    chosen: str,
) -> Page:
    """The report.

    Args:
        shrunk: the smaller network.
        data: what it was fitted to.
        scores: of the rows held out, by network.
        seconds: median of a call, "dense" and "shrunk", by batch.
        num_bytes: of the files, "dense" and "shrunk".
        measured: what the rule ranked, by weight.
        difference: largest one between outputs of the masked and the shrunk network for the first ``compared`` of the rows held out.
        compared: see there.
        about: what was fitted.
        chosen: how the rule was applied, in words.
    """
    page = Page(f"{data.target}: the smaller network")
    page.paragraph(about)
    page.paragraph(chosen)
    page.heading("What is left")
    page.table(*cost_rows(shrunk.report, seconds, num_bytes))
    page.paragraph(
        "Weights without biases; r_W of the smaller dense network, |W|/|W≠0| of the masked one. Multiplications for one case. r_N: numbers "
        "in the inputs and the hidden feature maps. Bytes: of dense.safetensors and shrunk.safetensors. Latency: medians of calls that "
        "take turns in one run on this machine.",
        caption=True,
    )
    page.heading("What it costs")
    page.table(*error_rows(data, scores))
    count = len(data.test.y)
    rows = f"the {count} rows held out" if count <= compared else f"the first {compared} of the {count} rows held out"
    page.paragraph(
        f"The shrunk network has the outputs of the masked one: the largest difference over {rows} is {difference:.2g}. The rows held "
        "out have chosen nothing.",
        caption=True,
    )
    try:
        page.figure("shrink", _figure(shrunk, data, measured), "What the rule measures, and the units that are left of each layer")
        if (phi := _importance(shrunk.pruning, data, measured)) is not None:
            figure = plot_importance(data.columns, phi, shrunk.inputs)
            page.figure("importance", figure, "φ: the mean inclusion probability of the paths from a column to the output, scaled to 0 … 1")
    except ImportError as error:
        page.paragraph(f"No figure: {error}.", caption=True)
    return page


def _importance(pruning: Pruning, data: Supervised, measured: Mapping[str, np.ndarray]) -> np.ndarray | None:
    """φ of each column, where the rule ranked the weights of a perceptron by their inclusion probabilities."""
    layers = [np.broadcast_to(value, pruning.kept[name].shape) for name, value in measured.items()]
    if pruning.rule.name != "inclusion_prob" or not data.columns or any(layer.ndim != 2 for layer in layers):
        return None
    return feature_scores(layers)[1]


def cost_rows(
    report: Report, seconds: Mapping[str, Mapping[int, float]], num_bytes: Mapping[str, int]
) -> tuple[list[str], list[list[str]]]:
    """Headings and rows of a table: before, after, and the one over the other."""
    before, after = report.before, report.after
    rows = [["units", "-".join(map(str, before.units)), "-".join(map(str, after.units)), ""]]

    def add(label: str, dense: float, small: float, told: str = "") -> None:
        shown = [f"{value:,}" if isinstance(value, int) else f"{value:.3g}" for value in (dense, small)]
        rows.append([label, *shown, told or f"{100.0 * small / dense:.3g} %"])

    add("weights, not 0", sum(before.weights), report.kept_weights, f"|W|/|W≠0| {report.compression:.3g}")
    add("weights", sum(before.weights), sum(after.weights), f"r_W {100.0 * report.weight_ratio:.3g} %")
    add("multiplications", sum(before.multiplications), sum(after.multiplications))
    add("feature maps", sum(before.features), sum(after.features), f"r_N {100.0 * report.feature_ratio:.3g} %")
    add("bytes on disk", num_bytes["dense"], num_bytes["shrunk"])
    for batch, dense in seconds["dense"].items():
        small = seconds["shrunk"][batch]
        add(f"ms for a batch of {batch}", 1e3 * dense, 1e3 * small, f"{dense / small:.2f} × as fast")
    return ["", "before", "shrunk", ""], rows


def error_rows(data: Supervised, scores: Mapping[str, Score]) -> tuple[list[str], list[list[str]]]:
    """Headings and rows of a table."""
    if data.classes is None:
        return ["network", f"RMSE, {len(data.test.y)} rows held out"], [[name, rounded(score.error)] for name, score in scores.items()]
    heading = f"error [%], {len(data.test.y)} rows held out"
    return ["network", heading], [[name, f"{100.0 * score.error:.2f}"] for name, score in scores.items()]


def _figure(shrunk: Shrunk, data: Supervised, measured: Mapping[str, np.ndarray]) -> Figure:
    tried = shrunk.pruning.tried
    figure = blank_figure(15.0 if tried else 11.0, 4.4)
    axes = figure.subplots(1, 3 if tried else 2)
    for each in axes:
        plain(each)
    _draw_measure(axes[0], shrunk.pruning, measured)
    _draw_units(axes[1], shrunk.report)
    if tried:
        _draw_tried(axes[2], shrunk.pruning, data)
    return figure


def _draw_measure(axes: Axes, pruning: Pruning, measured: Mapping[str, np.ndarray]) -> None:
    """A histogram of all that the rule ranked, the part that stays in blue."""
    kept, dropped = [], []
    for name, values in measured.items():
        mask = pruning.kept[name]
        stays = np.broadcast_to(values, mask.shape)
        kept.append(stays[mask])
        dropped.append(stays[~mask])
    everything = _within(np.concatenate([*kept, *dropped]).astype(float))
    parts = np.split(everything, [sum(map(len, kept))])
    label = pruning.rule.name
    positive = everything[everything > 0]
    if len(positive) == len(everything) and len(everything) and everything.max() > SPREAD * everything.min():
        parts, everything, label = [np.log10(part) for part in parts], np.log10(everything), f"log₁₀ {label}"
    edges = np.histogram_bin_edges(everything, BINS) if len(everything) else np.linspace(0.0, 1.0, 2)
    axes.hist(parts, bins=list(edges), stacked=True, color=[SIGNAL, NOISE], label=["kept", "dropped"])
    axes.set(title="What the rule measures", xlabel=label, ylabel="weights")
    axes.set_yscale("symlog", linthresh=10.0)
    axes.set_ylim(top=HEADROOM * axes.get_ylim()[1])
    axes.legend(frameon=False, fontsize=9, loc="upper center", ncols=2)


def _within(values: np.ndarray) -> np.ndarray:
    """What is infinite stands a tenth of the finite range beyond it: a weight that is 0 in all draws has log α = ∞."""
    finite = values[np.isfinite(values)]
    low, high = (finite.min(), finite.max()) if len(finite) else (0.0, 0.0)
    beyond = 0.1 * (high - low) or 1.0
    return np.clip(values, low - beyond, high + beyond)


def _draw_units(axes: Axes, report: Report) -> None:
    """A bar for each layer: units before in gray, what is left in blue."""
    names = ["inputs", *report.before.names]
    places = np.arange(len(names))[::-1]
    axes.barh(places, report.before.units, color=GRAY, height=0.6)
    axes.barh(places, report.after.units, color=SIGNAL, height=0.6)
    for place, before, after in zip(places, report.before.units, report.after.units, strict=True):
        axes.annotate(f" {after} of {before}", (before, place), va="center", fontsize=9)
    axes.set_yticks(places, names)
    axes.set_xlim(0, 1.3 * max(report.before.units))
    axes.set(title="Units that are left", xlabel="inputs, units or channels")


def _draw_tried(axes: Axes, pruning: Pruning, data: Supervised) -> None:
    fractions, scores = np.array([pair for pair in pruning.tried[1:] if math.isfinite(pair[1])]).T
    axes.plot(100.0 * fractions, scores if data.classes is None else 100.0 * scores, marker="o", ms=4, color=SIGNAL)
    chosen = 100.0 * pruning.kept_weights / max(pruning.num_weights, 1)
    axes.axvline(chosen, color=NOISE, lw=1.2)
    error = f"RMSE of {data.target}" if data.classes is None else "error [%]"
    axes.set(title="What was tried", xlabel="kept [%] (line: chosen)", ylabel=error, xscale="log")
