"""The figures of a comparison, each answering the question in its title, one panel per prior, signal and noise columns in two colors."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from scalemix.comparison.accuracy_figures import calibration_figure, distance_figure
from scalemix.comparison.canvas import GRAY, canvas, dots, kinds, line, panel_title, share_log_ticks
from scalemix.comparison.columns import Columns, columns_of, point_estimate
from scalemix.comparison.contrasts import Contrast
from scalemix.comparison.fits import Fit
from scalemix.comparison.identified_figures import identified_figure
from scalemix.comparison.references import prior_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from scalemix.comparison.table import Comparison
    from scalemix.posterior import Posterior

__all__ = ["Panel", "coefficient_figure", "figures_of", "panels_of", "shrinkage_figure", "variational_figure"]

MOST_ACROSS = 6


@dataclass(frozen=True)
class Panel:
    """What one prior shows: the fit to draw, its reference if there is a valid one, and the guides fitted to the same posterior, each
    with its contrast to the reference (``None`` without one)."""

    label: str
    fit: Fit
    reference: Fit | None
    guides: tuple[tuple[Fit, Contrast | None], ...]

    @property
    def title(self) -> str:
        return panel_title(self.label, note="" if self.reference else "(no valid reference)")


def figures_of(comparison: Comparison, *, noise_prefix: str = "noise_") -> dict[str, Figure]:
    """All figures that have something to show, by file name."""
    panels = panels_of(comparison)
    by_prior = {
        comparison.labels[prior]: [fit for fit in comparison.fits.values() if prior_of(fit) == prior] for prior in comparison.labels
    }
    if all(fit.posterior.identified for fit in comparison.fits.values()):
        measured = [panel for panel in panels if panel.reference is not None] or panels  # else there is nothing to measure by
        shown, valid = {panel.label: panel.fit for panel in measured}, {panel.label: panel.reference is not None for panel in measured}
        figures = {"identified": identified_figure({label: by_prior[label] for label in shown}, shown, valid)}
    else:
        figures = {"coefficients": coefficient_figure(panels, noise_prefix=noise_prefix)}
    if any(found is not None and found.noun == "coefficients" for panel in panels for _, found in panel.guides):
        figures["variational"] = variational_figure(panels, noise_prefix=noise_prefix)
    if point_estimate(panels[0].fit.posterior) is not None:
        figures["shrinkage"] = shrinkage_figure(panels, noise_prefix=noise_prefix)
    if any(fit.held_out.pit.size for fit in comparison.fits.values()):
        figures["calibration"] = calibration_figure(by_prior)
    found = comparison.measured
    if found:
        pairs = {label: [(fit, found[fit.name]) for fit in fits if fit.name in found] for label, fits in by_prior.items()}
        figures["distances"] = distance_figure(pairs)
    return figures


def panels_of(comparison: Comparison) -> list[Panel]:
    """Per prior its valid reference, else the candidate for it, else its sampler's fit with the largest least ESS, else a guide."""
    panels = []
    for prior, reference in comparison.references.items():
        group = [fit for fit in comparison.fits.values() if prior_of(fit) == prior]
        sampled = sorted((fit for fit in group if fit.diagnostics is not None), key=_least_ess)
        shown = reference.fit or (sampled[-1] if sampled else group[0])
        valid = reference.fit if reference.valid else None
        guides = tuple((fit, comparison.contrasts.get(fit.name)) for fit in group if fit.is_variational)
        panels.append(Panel(comparison.labels[prior], shown, valid, guides))
    return panels


def coefficient_figure(panels: Sequence[Panel], *, noise_prefix: str = "noise_") -> Figure:
    """Median, 50 % and 90 % interval of every coefficient. All panels list the columns in one order, by the size of their medians, with the
    noise columns compressed; a filled marker says that the 90 % interval is clear of 0."""
    columns = columns_of(panels[0].fit.posterior, noise_prefix)
    quantiles = [np.quantile(_draws(panel.fit.posterior, columns), (0.05, 0.25, 0.5, 0.75, 0.95), axis=0) for panel in panels]
    order, heights = columns.layout(np.mean([np.abs(each[2]) for each in quantiles], axis=0))
    rows = math.ceil(len(panels) / MOST_ACROSS)
    across = math.ceil(len(panels) / rows)
    height = min(max(0.7 + 0.22 * (float(heights[-1]) + 2), 2.5), 20.0)
    shown = kinds(columns)
    legend = [dots(color, f"{name}, interval clear of 0") for _, name, color in shown]
    legend += [dots(color, f"{name}, interval covers 0", filled=False) for _, name, color in shown]
    page = canvas("Which columns matter under which prior?", legend, grid=(rows, across), panel=(1.95, height))
    for panel, ax, (q05, q25, q50, q75, q95) in zip(panels, page.axes, quantiles, strict=False):
        ax.axvline(0, color=GRAY, lw=0.8, zorder=0)
        for is_noise, _, color in shown:
            keep = columns.is_noise[order] == is_noise
            index, y = order[keep], heights[keep]
            thick, size = (1.8, 7) if is_noise else (3.2, 26)
            ax.hlines(y, q05[index], q95[index], color=color, lw=thick / 3)
            ax.hlines(y, q25[index], q75[index], color=color, lw=thick)
            clear = (q05[index] > 0) | (q95[index] < 0)
            ax.scatter(q50[index], y, s=size, color=np.where(clear, color, "white").tolist(), edgecolors=color, linewidths=0.9, zorder=3)
        ax.set_title(panel.title, fontsize=10)
        _label_rows(ax, columns, order, heights)
    page.axes[0].set_ylim(float(heights[-1]) + 1, -1.0)
    page.label_x("coefficient, in the units of the fit (marker: median, thick line: 50 % interval, thin line: 90 % interval)")
    return page.figure


def variational_figure(panels: Sequence[Panel], *, noise_prefix: str = "noise_") -> Figure:
    """Per guide and coefficient: its sd over the reference's (above), the difference of their means in the reference's sd (below)."""
    columns = columns_of(panels[0].fit.posterior, noise_prefix)
    widths = [max(len(panel.guides) if panel.reference else 1, 1) + 0.4 for panel in panels]
    title = "What did variational inference make of NUTS's posterior?"
    infos = [fit.posterior.info for panel in panels for fit, _ in panel.guides]
    if all(info.method == "mean_field" for info in infos):
        title = "What did mean-field SVI make of NUTS's posterior?"
    legend = [*(dots(color, name) for _, name, color in kinds(columns)), line("median of the columns", color="black", width=2)]
    page = canvas(title, legend, grid=(2, len(panels)), panel=(0.88, 2.7), widths=widths)
    upper, lower = page.axes[: len(panels)], page.axes[len(panels) :]
    several = len({info.backend for info in infos}) > 1
    for panel, top, bottom, width in zip(panels, upper, lower, widths, strict=True):
        top.set_title(panel_title(panel.label, width=int(10 * width)), fontsize=10)
        top.set_yscale("log")
        top.tick_params(axis="x", length=0)
        bottom.set_xlim(-width / 2, width / 2)
        if panel.reference is None or not panel.guides:
            why = "no valid\nreference" if panel.guides else "no variational\nfit"
            top.text(0.5, 0.5, why, transform=top.transAxes, ha="center", va="center", color="0.3", fontsize=9)
            bottom.set_xticks([])
            continue
        top.axhline(1, color=GRAY, lw=0.8, zorder=0)
        bottom.axhline(0, color=GRAY, lw=0.8, zorder=0)
        places = np.arange(len(panel.guides)) - (len(panel.guides) - 1) / 2
        for place, (_, found) in zip(places, panel.guides, strict=True):
            if found is not None:
                _strip(top, place, found.sd_ratio, columns)
                _strip(bottom, place, found.shift, columns)
        bottom.set_xticks(places, [_guide_label(fit, several) for fit, _ in panel.guides], fontsize=8)
    share_log_ticks(upper)
    largest = max((abs(limit) for limit in lower[0].get_ylim()), default=1.0)
    if largest > 5:
        lower[0].set_yscale("symlog", linthresh=1.0)
    upper[0].set_ylabel("posterior sd, SVI / NUTS", fontsize=10)
    lower[0].set_ylabel("posterior mean, SVI − NUTS,\nin sds of NUTS", fontsize=10)
    return page.figure


def shrinkage_figure(panels: Sequence[Panel], *, noise_prefix: str = "noise_") -> Figure:
    """Posterior mean against the estimate without a prior: on the diagonal nothing was shrunk, on the horizontal all. The share kept is the
    slope of the points through the origin, Σ estimate · mean / Σ estimate².

    Raises: ValueError if the posterior holds no design matrix to estimate from.
    """
    columns = columns_of(panels[0].fit.posterior, noise_prefix)
    found = point_estimate(panels[0].fit.posterior)
    if found is None:
        raise ValueError("the posterior holds no matrix of one column per coefficient: fit models.linear with x as an array or data frame")
    estimate, name = found
    rows = math.ceil(len(panels) / 3)
    legend = [*(dots(color, kind) for _, kind, color in kinds(columns)), line("no shrinkage"), line("shrunk to 0", style=":")]
    page = canvas("How hard did each prior shrink?", legend, grid=(rows, math.ceil(len(panels) / rows)), panel=(3.1, 3.1))
    means = [_draws(panel.fit.posterior, columns).mean(axis=0) for panel in panels]
    span = 1.08 * float(max(np.max(np.abs(each)) for each in (estimate, *means)))
    for panel, ax, mean in zip(panels, page.axes, means, strict=False):
        ax.plot([-span, span], [-span, span], color=GRAY, lw=0.8, zorder=0)
        ax.axhline(0, color=GRAY, lw=0.8, ls=":", zorder=0)
        shares = []
        for is_noise, kind, color in kinds(columns):
            x, y = estimate[columns.is_noise == is_noise], mean[columns.is_noise == is_noise]
            size, above = (18, 2) if is_noise else (30, 3)
            ax.scatter(x, y, s=size, color=color, alpha=0.85, edgecolors="white", linewidths=0.4, zorder=above)
            shares.append(f"{kind}s {float(x @ y / (x @ x)):.2f}")
        ax.set_title(panel.title, fontsize=10)
        ax.text(0.04, 0.97, "\n".join(["share kept", *shares]), transform=ax.transAxes, ha="left", va="top", fontsize=9, color="0.2")
        ax.set(xlim=(-span, span), ylim=(-span, span))
    for ax in page.axes[len(panels) :]:
        ax.set_visible(False)
    page.label_x(f"{name} estimate, in the units of the fit")
    page.body.supylabel("posterior mean, in the units of the fit", fontsize=10)
    return page.figure


def _least_ess(fit: Fit) -> float:
    return -1.0 if fit.diagnostics is None or math.isnan(fit.diagnostics.min_ess_bulk) else fit.diagnostics.min_ess_bulk


def _draws(posterior: Posterior, columns: Columns) -> np.ndarray:
    """Draws of the coefficients over all chains, (S, k)."""
    draws = np.asarray(posterior.draws[columns.site], dtype=float)
    return draws.reshape(draws.shape[0] * draws.shape[1], -1)


def _label_rows(ax: Axes, columns: Columns, order: np.ndarray, heights: np.ndarray) -> None:
    """Signal columns by name as far as there is room, noise columns by their number."""
    signal = [(float(h), columns.labels[i]) for i, h in zip(order, heights, strict=True) if not columns.is_noise[i]]
    ticks = [(h, textwrap.shorten(label, 24, placeholder="…") or label[:24]) for h, label in signal[:: math.ceil(max(len(signal), 1) / 60)]]
    noise = heights[columns.is_noise[order]]
    if noise.size:
        ticks.append((float(noise.mean()), f"{noise.size} noise\ncolumn{'s' * (noise.size != 1)}"))
    ax.set_yticks([h for h, _ in ticks], [label for _, label in ticks])
    ax.tick_params(axis="y", length=0)


def _strip(ax: Axes, place: float, values: np.ndarray, columns: Columns) -> None:
    """One dot a column, signal left and noise right of ``place``, spread sidewise by a sequence that fills evenly; a bar at the median."""
    shown = kinds(columns)
    for is_noise, _, color in shown:
        y = values[: columns.is_noise.size][columns.is_noise == is_noise]
        center = place + (0.0 if len(shown) == 1 else 0.2 if is_noise else -0.2)
        x = center + 0.26 * (np.arange(1, y.size + 1) * 0.618034 % 1 - 0.5)
        ax.scatter(x, y, s=12 if is_noise else 20, color=color, alpha=0.75, edgecolors="white", linewidths=0.3)
        ax.hlines(np.nanmedian(y), center - 0.16, center + 0.16, color="black", lw=2, zorder=4)


def _guide_label(fit: Fit, several_backends: bool) -> str:
    info = fit.posterior.info
    lines = ["only form" if info.parametrization == "single" else info.parametrization]
    lines += [info.backend] if several_backends else []
    lines += [f"k-hat {fit.khat:.2f}"] if math.isfinite(fit.khat) else []
    return "\n".join(lines if fit.converged is not False else [*lines, "not converged"])
