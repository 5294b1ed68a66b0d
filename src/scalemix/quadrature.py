"""Integrals of exp(log f) over a line, many at once, and what they give where a closed form is missing: moments of a noise."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["find_peak", "log_integral", "power_mean"]

Array = NDArray[np.float64]


def power_mean(law: Any, power: int) -> float:
    """E[ξᵏ] of any continuous law that has ``logpdf``, ``ppf`` and ``support`` (a frozen ``scipy.stats`` distribution).

    Integrals over t = log|ξ|, the sides ξ > 0 and ξ < 0 apart; ``inf`` where e^{kt} p(t) does not fall at an end of the line.
    """
    low, high = law.support()
    sizes = np.abs(law.ppf([0.1, 0.3, 0.5, 0.7, 0.9]))
    marks = np.log(sizes[sizes > 1e-30 * sizes.max()])
    ends = np.array([marks.min() - 200.0, marks.max() + 200.0])
    total = 0.0
    for sign in [side for side, end in ((1.0, high), (-1.0, -low)) if end > 0]:

        def log_integrand(t: Array, sign: float = sign) -> Array:
            return law.logpdf(sign * np.exp(t)) + (power + 1) * t

        with np.errstate(all="ignore"):
            at, beyond = log_integrand(ends), log_integrand(ends + np.array([-50.0, 50.0]))
            if np.any((beyond > -math.inf) & (beyond - at > -1e-4)):  # beyond e^{±200} a law is a power of ξ, or zero
                total += sign**power * math.inf
            else:
                total += sign**power * math.exp(float(log_integral(log_integrand, ends[:1], ends[1:], list(marks))[0]))
    return total


DROP, CORE = 42.0, 8.0  # an integrand is taken where it is within e^{−42} = 6e−19 of its peak, with finer panels within e^{−8}
COARSE = 256  # nodes of the first search of a peak, to which the marks are added
ORDER = 20  # Gauss-Legendre nodes a panel; a panel of the core is at most 2.5 e-folds, and a law of log ξ is smooth over about one


def log_integral(log_f: Callable[[Array], Array], low: Array, high: Array, marks: list[Any]) -> Array:
    """log ∫ exp(log_f(t)) dt for each row, between ``low`` and ``high`` (rows,); ``log_f`` maps nodes (rows, n) to (rows, n).

    Gauss-Legendre panels where the integrand is not negligible, found by :func:`find_peak` and bisection; so peaks of any width, jumps
    at the ends of a support, and tails of any exponent below −1000 are treated alike. ``marks``: where it may peak, (rows,) or scalars.
    """
    nodes, values, mode, top = find_peak(log_f, low, high, marks)
    a, d = _ends(log_f, nodes, values, mode, top - DROP)
    b, c = (np.clip(end, a, d) for end in _ends(log_f, nodes, values, mode, top - CORE))
    total = np.zeros(top.shape)
    for left, right, fold in ((a, b, 6.0), (b, c, 2.5), (c, d, 6.0)):
        fractions, weights = _panels(8 + int(min(np.max(right - left), 800.0) / fold))
        t = left[:, None] + (right - left)[:, None] * fractions
        total += (right - left) * (np.exp(np.minimum(log_f(t) - top[:, None], 1.0)) @ weights)
    return np.where(top > -math.inf, np.log(np.maximum(total, 1e-300)) + top, -math.inf)


@lru_cache(maxsize=512)
def _panels(count: int) -> tuple[Array, Array]:
    """Nodes and weights on [0, 1]."""
    x, weight = np.polynomial.legendre.leggauss(ORDER)
    return ((np.arange(count)[:, None] + 0.5 * (x + 1.0)) / count).ravel(), np.tile(0.5 * weight / count, count)


def _ends(log_f: Callable[[Array], Array], nodes: Array, values: Array, mode: Array, floor: Array) -> tuple[Array, Array]:
    """Where ``log_f`` crosses ``floor`` outermost, left and right: bisection between the outermost node above it and the next."""
    ends = []
    for flip in (1, -1):
        t, above = flip * nodes[:, ::flip], (values >= floor[:, None])[:, ::flip]
        first = np.where(above.any(axis=1), np.take_along_axis(t, above.argmax(axis=1)[:, None], axis=1)[:, 0], math.inf)
        inside = np.minimum(first, flip * mode)
        before = np.maximum((t < inside[:, None]).sum(axis=1) - 1, 0)
        outside = np.take_along_axis(t, before[:, None], axis=1)[:, 0]
        for _ in range(32):
            middle = 0.5 * (inside + outside)
            keep = log_f(flip * middle[:, None])[:, 0] >= floor
            inside, outside = np.where(keep, middle, inside), np.where(keep, outside, middle)
        ends.append(flip * outside)
    return ends[0], ends[1]


def find_peak(log_f: Callable[[Array], Array], low: Array, high: Array, marks: list[Any]) -> tuple[Array, Array, Array, Array]:
    """Coarse nodes (rows, n) and their values, and the mode and the top of ``log_f`` in each row: a search that zooms in."""
    even = low[:, None] + (high - low)[:, None] * np.linspace(0.0, 1.0, COARSE)
    nodes = np.sort(np.column_stack([even, *(np.broadcast_to(mark, low.shape) for mark in marks)]), axis=1)
    values = log_f(nodes)
    t, v = nodes, values
    mode = top = low
    for _ in range(11):  # 0.6 e-folds / 8¹⁰ = 6e−10
        best = v.argmax(axis=1)[:, None]
        mode, top = (np.take_along_axis(array, best, axis=1)[:, 0] for array in (t, v))
        left = np.take_along_axis(t, np.maximum(best - 1, 0), axis=1)
        right = np.take_along_axis(t, np.minimum(best + 1, t.shape[1] - 1), axis=1)
        t = left + (right - left) * np.linspace(0.0, 1.0, 17)
        v = log_f(t)
    return nodes, values, mode, top
