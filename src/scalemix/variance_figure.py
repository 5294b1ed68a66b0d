"""How noisy is a noise of a given E[ξ²]? Figure 1 of "Unifying the Dropout Family Through Structured Shrinkage Priors", corrected.

Its axes are Var[ξ], which leads Jensen's gap in the expanded parametrization, and Var[ξ⁻²], which leads it in the hierarchical one.
A family of two parameters meets each E[ξ²] many times, so a curve is a family and a path through it. In every scale family, ξ = s·ξ₁,

    Var[ξ] = κ₁ E[ξ²],    Var[ξ⁻²] = κ₂ / E[ξ²]²,

without any pole; and Var[ξ⁻²] is infinite wherever ξ has mass enough near 0, for Gaussian noise everywhere.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from scalemix.comparison.canvas import blank_figure, line, plain
from scalemix.noise import Noise
from scalemix.prior_figure import COLORS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["plot_noise_variances"]

Path = Callable[[float], Noise]


def plot_noise_variances(paths: Mapping[str, Path], *, second: Any = None) -> Figure:
    """Var[ξ] (left) and Var[ξ⁻²] (right) against E[ξ²]; what is infinite on the whole path is said in the legend.

    Nalisnick and Smyth (2018), figure 1, corrected: in a scale family Var[ξ] = κ₁ E[ξ²] and Var[ξ⁻²] = κ₂ / E[ξ²]², without a pole.

    Args:
        paths: up to six; label to a function from E[ξ²] to the noise that has it.
        second: values of E[ξ²], (n,); by default 0.1 to 6.

    Raises:
        ValueError: a path gives a noise of another E[ξ²], or none at any of the values, or there are more than six.
        ImportError: matplotlib is not installed.

    Example:
        >>> plot_noise_variances({"Rayleigh": lambda second: noise.Rayleigh((second / 2) ** 0.5)})
    """
    if not 1 <= len(paths) <= len(COLORS):
        raise ValueError(f"plot_noise_variances draws 1 to {len(COLORS)} paths, not {len(paths)}: give as many")
    second = np.linspace(0.1, 6.0, 296) if second is None else np.asarray(second, dtype=float)
    figure = blank_figure(10.0, 4.4)
    left, right = figure.subplots(1, 2)
    handles = []
    for color, (label, path) in zip(COLORS, paths.items(), strict=False):
        direct, inverse = _variances(label, path, second)
        left.plot(second, direct, color=color, lw=1.8)
        right.plot(second, np.where(np.isfinite(inverse), inverse, np.nan), color=color, lw=1.8)
        handles.append(line(label if np.sum(np.isfinite(inverse)) > 1 else f"{label} (Var[ξ⁻²] infinite)", color=color, width=2.0))
    right.set_yscale("log")
    for ax, quantity, question in (
        (left, "Var[ξ]", "How noisy is ξ? (expanded form)"),
        (right, "Var[ξ⁻²]", "How noisy is 1/ξ²? (hierarchical form)"),
    ):
        ax.set_title(question, fontsize=11)
        ax.set_xlabel("E[ξ²]", fontsize=10)
        ax.set_ylabel(quantity, fontsize=10)
        ax.set_xlim(0.0, second.max())
        plain(ax)
    figure.legend(handles=handles, loc="outside lower center", ncols=2, frameon=False, fontsize=9)
    return figure


def _variances(label: str, path: Path, second: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Var[ξ] and Var[ξ⁻²] along the path; ``inf`` for what is infinite or undefined, ``nan`` where the path does not lead."""
    values = []
    for each in second.tolist():
        try:
            moments = path(each).moments()
        except ValueError:  # no noise of the family has this E[ξ²]
            values.append((math.nan, math.nan))
            continue
        if not math.isclose(moments.second, each, rel_tol=1e-6):
            raise ValueError(f"the path {label!r} gives at E[ξ²] = {each:g} a noise with E[ξ²] = {moments.second:g}: correct it")
        inverse = moments.inverse_second_variance
        values.append((moments.variance, math.inf if math.isnan(inverse) else inverse))
    direct, inverse = np.array(values).T
    if np.all(np.isnan(direct)):
        raise ValueError(f"the path {label!r} gives no noise at any of the values of E[ξ²]: correct it, or give other values in second=")
    return direct, inverse
