"""What ``scalemix fit`` tells of a fit: what was fitted, how it went, how it predicts, and what it is not."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from scalemix.comparison.canvas import GRAY, NOISE, SIGNAL, blank_figure, plain
from scalemix.comparison.diagnostics import diagnose
from scalemix.comparison.variational import elbo_trend
from scalemix.jobs.network_score import Score, baseline, score_posterior
from scalemix.page import Page

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from scalemix.jobs.supervised import Rows, Supervised
    from scalemix.posterior import Posterior

__all__ = ["about_data", "fit_page", "rounded", "score_rows", "scores_of"]

MOST_CLASSES_SHOWN = 30


def scores_of(posterior: Posterior, data: Supervised) -> dict[str, Score]:
    """Of the part that was fitted, of the rows that were kept aside, if any, and of those held out."""
    parts = {"fitted": data.train, "kept aside": data.validation, "held out": data.test}
    return {name: score_posterior(posterior, data, rows) for name, rows in parts.items() if rows is not None}


def fit_page(posterior: Posterior, data: Supervised, scores: dict[str, Score], *, about: str) -> Page:
    """The report."""
    page = Page(f"{data.target} by {posterior.info.method}")
    page.paragraph(f"{about} {about_data(data)}")
    page.heading("Prediction")
    headings, rows = score_rows(data, scores)
    page.table(headings, rows)
    page.paragraph(_caption(data), caption=True)
    page.heading("How the fit went")
    page.bullets(told(posterior))
    try:
        page.figure("fit", _figure(posterior, data, scores["held out"]), "How the fit went, and what it predicts for the rows held out")
    except ImportError as error:
        page.paragraph(f"No figure: {error}.", caption=True)
    return page


def about_data(data: Supervised) -> str:
    """Rows, inputs and units, in sentences."""
    aside = "" if data.validation is None else f", {len(data.validation.y)} kept aside"
    shape = " × ".join(map(str, data.train.x.shape[1:]))
    inputs = f"images {shape}" if data.images else f"{shape} inputs"
    units = f"mean {data.target_mean:.4g}, sd {data.target_scale:.4g}" if data.classes is None else f"{len(data.classes)} classes"
    dropped = f" Left out, as constant: {', '.join(data.dropped)}." if data.dropped else ""
    return f"Data: {len(data.train.y)} rows to fit{aside}, {len(data.test.y)} held out, {inputs}; {data.target}: {units}.{dropped}"


def score_rows(data: Supervised, scores: dict[str, Score]) -> tuple[list[str], list[list[str]]]:
    """Headings and rows of a table, the baseline last."""
    error = "RMSE" if data.classes is None else "error [%]"
    headings = ["rows", "n", error, "log density", *(["90 % coverage"] if data.classes is None else [])]
    lines = []
    parts = {"fitted": data.train, "kept aside": data.validation, "held out": data.test}
    for name, score in scores.items():
        lines.append([name, str(len(_rows(parts[name]).y)), *_numbers(data, score)])
    plain_score = baseline(data, data.test)
    what = "held out, by the mean" if data.classes is None else "held out, by the commonest class"
    return headings, [*lines, [what, str(len(data.test.y)), *_numbers(data, plain_score)]]


def told(posterior: Posterior) -> list[str]:
    """Sampler's diagnostics or the last losses, how long it took, and the notes."""
    info = posterior.info
    if not posterior.is_variational:
        first = [f"Sampler: {diagnose(posterior).sentence}."]
    elif posterior.losses is not None and len(posterior.losses):
        trend = elbo_trend(posterior.losses)
        first = [f"Loss {posterior.losses[-1]:.6g} at the end: {'it stands still' if trend.converged else trend.reason}."]
    else:
        first = []
    seconds = f"{info.seconds_run:.3g} s to run, {info.seconds_compile:.3g} s to compile."
    return [*first, seconds, *(f"{note[0].upper()}{note[1:]}." for note in info.notes if note)]


def rounded(value: float, digits: int = 4) -> str:
    """So many significant digits, "" for nan."""
    return "" if math.isnan(value) else f"{value:.{digits}g}"


def _numbers(data: Supervised, score: Score) -> list[str]:
    if data.classes is not None:
        return [f"{100 * score.error:.2f}", rounded(score.log_density)]
    return [rounded(score.error), rounded(score.log_density), rounded(score.coverage, 3)]


def _rows(part: Rows | None) -> Rows:
    assert part is not None
    return part


def _caption(data: Supervised) -> str:
    of = "of log p(y | data), nats per row" if data.classes is not None else f"of log p(y | data), nats per row and unit of {data.target}"
    first = "error: the share of classes that are wrong." if data.classes is not None else f"RMSE in units of {data.target}."
    return f"{first} log density: the mean over rows {of}; up is better. The predictive law averages over the draws of the fit."


def _figure(posterior: Posterior, data: Supervised, held: Score) -> Figure:
    figure = blank_figure(11.0, 4.4)
    left, right = figure.subplots(1, 2)
    for axes in (left, right):
        plain(axes)
    if posterior.is_variational:
        _draw_losses(left, np.asarray(posterior.losses))
    else:
        _draw_chains(left, posterior)
    if data.classes is None:
        _draw_predictions(right, data, held)
    else:
        _draw_classes(right, data, held)
    return figure


def _draw_losses(axes: Axes, losses: np.ndarray) -> None:
    """Thin line of all, thick line of means over a hundredth of them; the first tenth may leave the frame."""
    steps = np.arange(1, len(losses) + 1)
    axes.plot(steps, losses, color=GRAY, lw=0.6)
    width = max(len(losses) // 100, 1)
    cut = losses[: len(losses) // width * width].reshape(-1, width).mean(axis=1)
    axes.plot(steps[: len(cut) * width].reshape(-1, width).mean(axis=1), cut, color=SIGNAL, lw=1.8)
    shown = losses[len(losses) // 10 :]
    low, high = np.min(shown), np.quantile(shown, 0.995)
    margin = 0.08 * max(high - low, 1e-12)
    axes.set_ylim(low - margin, high + 3 * margin)
    axes.set(title="Loss", xlabel="epoch", ylabel="nats")


def _draw_chains(axes: Axes, posterior: Posterior) -> None:
    total = sum(np.asarray(value).sum(axis=-1) for value in posterior.log_likelihood.values())
    for index, chain in enumerate(np.atleast_2d(total)):
        axes.plot(chain, lw=0.6, label=f"chain {index + 1}")
    axes.set(title="Log likelihood along the chains", xlabel="draw", ylabel="nats")
    axes.legend(fontsize=8, frameon=False, ncols=4, loc="lower right")


def _draw_predictions(axes: Axes, data: Supervised, held: Score) -> None:
    outcome = data.target_mean + data.target_scale * data.test.y
    ends = [min(outcome.min(), held.predicted.min()), max(outcome.max(), held.predicted.max())]
    axes.plot(ends, ends, color=GRAY, lw=1.0)
    axes.plot(held.predicted, outcome, ls="", marker="o", ms=4, color=SIGNAL, alpha=0.6)
    axes.set(title=f"{len(outcome)} rows held out", xlabel=f"predicted mean of {data.target}", ylabel=data.target)


def _draw_classes(axes: Axes, data: Supervised, held: Score) -> None:
    assert data.classes is not None
    count = len(data.classes)
    wrong = np.array(
        [np.mean(held.predicted[data.test.y == each] != each) if np.any(data.test.y == each) else np.nan for each in range(count)]
    )
    shown = np.argsort(-np.nan_to_num(wrong))[:MOST_CLASSES_SHOWN] if count > MOST_CLASSES_SHOWN else np.arange(count)
    axes.bar(range(len(shown)), 100 * np.nan_to_num(wrong[shown]), color=NOISE)
    axes.set_xticks(range(len(shown)), [data.classes[each][:12] for each in shown], rotation=0 if count <= 10 else 90)
    axes.set(title=f"{len(data.test.y)} rows held out", xlabel=f"class of {data.target}", ylabel="wrong [%]")
