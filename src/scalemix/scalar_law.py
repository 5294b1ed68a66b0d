"""The law of one real number from its unnormalized log density: nodes for a trapezoid rule, and draws.

Nodes close in on where the density is within REACH nats of its top. There a smooth density falls to nothing at both ends, so that the
trapezoid rule converges faster than any power of its step (Trefethen and Weideman, 2014).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.interpolate import CubicSpline

__all__ = ["NODES", "draw_scalar", "scalar_nodes"]

Array = np.ndarray
NODES, REACH, ZOOMS, ENOUGH = 161, 45.0, 12, 0.5  # e⁻⁴⁵ of the top is 10⁻¹⁹; zoom in till half of the nodes lie within reach
FINE = 200  # steps between two nodes, of the spline that draws are made from


def scalar_nodes(log_density: Callable[[Array], Array], center: float, half_width: float) -> tuple[Array, Array] | None:
    """Equally spaced nodes t (n,) and log density there; ``None`` if it is cut off somewhere, or does not fall at both ends."""
    low, high = center - half_width, center + half_width
    for _ in range(ZOOMS):
        t = np.linspace(low, high, NODES)
        value = log_density(t)
        if not np.isfinite(value).any():
            return None
        inside = np.flatnonzero(value > np.nanmax(np.where(np.isfinite(value), value, -np.inf)) - REACH)
        first, last = inside[0] - 1, inside[-1] + 1
        if first < 0 or last >= NODES or not np.isfinite(value[first : last + 1]).all():
            return None
        if last - first >= ENOUGH * NODES:
            return t[first : last + 1], value[first : last + 1]
        low, high = t[first], t[last]
    return None


def draw_scalar(t: Array, log_density: Array, count: int, rng: np.random.Generator) -> Array:
    """Draws (count,) by the inverse of the distribution function, the log density a cubic spline between the nodes."""
    fine = np.linspace(t[0], t[-1], FINE * (len(t) - 1) + 1)
    density = np.exp(CubicSpline(t, log_density - log_density.max())(fine))
    cumulative = np.concatenate([[0.0], np.cumsum(0.5 * (density[1:] + density[:-1]))])
    return np.interp(rng.random(count) * cumulative[-1], cumulative, fine)
