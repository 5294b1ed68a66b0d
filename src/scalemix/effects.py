"""The size |w| of one weight under a prior with its noise integrated out: P(|w| ≤ x), its quantiles, and the standard deviation of w.

    P(|w| ≤ x) = atom + ∫ 2 p(eᵗ) eᵗ dt over t ≤ log x

The integral over t = log|w| is taken panel by panel (Gauss-Legendre), because there a scale mixture is smooth whatever pole it has at 0
and whatever power its tail is. Mass is added up from the nearer end, so that far tails keep their relative precision.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.polynomial import legendre
from numpy.typing import NDArray
from scipy.optimize import root_scalar

from scalemix.checks import check_between
from scalemix.marginal import atom, log_marginal
from scalemix.priors import ScaleMixture

__all__ = ["effect_cdf", "effect_quantile", "effect_sd"]

Array = NDArray[np.float64]

NODES, WEIGHTS = legendre.leggauss(14)  # for each e-fold of |w|, in which log p(w) is smooth
TO_LEGENDRE = WEIGHTS[:, None] * legendre.legvander(NODES, NODES.size - 1) * (np.arange(NODES.size) + 0.5)  # values to coefficients
FINER = 8  # panels of p for one of log p
REACHES = (60.0, 300.0)  # e-folds about the base scale; the second for laws of log-like tails
NEGLIGIBLE = 46.0  # e-folds below the top of the integrand: 1e-20


def effect_cdf(prior: ScaleMixture, size: Any) -> Array:
    """P(|w| ≤ size), the atom at 0 included.

    Args:
        prior: the law of w.
        size: array of any shape, in the units of the weight; below 0 the probability is 0.

    Raises: ValueError if the prior has to be resolved first (``prior.resolve(num_weights)``), TypeError if it is not a prior.

    Example:
        >>> effect_cdf(Laplace(2.0), 1.0)  # 1 - exp(-1/2)
    """
    size = np.asarray(size, dtype=float)
    spike, table = atom(prior), _table(_unit(prior))
    with np.errstate(divide="ignore"):
        t = np.log(np.maximum(size, 0.0) / prior.base_scale).ravel()
    inside = np.clip(t, table.edges[0], table.edges[-1])
    panel = np.clip(np.searchsorted(table.edges, inside, side="right") - 1, 0, len(table.edges) - 2)
    mass = table.below[panel] + table.within(panel, inside)
    mass = np.where(t == math.inf, 1.0 - spike, np.where(t > -math.inf, np.minimum(mass, 1.0 - spike), 0.0))
    return np.where(np.isnan(size), math.nan, np.where(size < 0, 0.0, spike + mass.reshape(size.shape)))


def effect_quantile(prior: ScaleMixture, probability: Any) -> Array:
    """The size x with P(|w| ≤ x) = probability: 0 where the atom at 0 alone has it.

    Args:
        prior: the law of w.
        probability: array of any shape, from 0 to 1.

    Raises: ValueError for a probability outside [0, 1]; otherwise as :func:`effect_cdf`.
    """
    probability = np.asarray(probability, dtype=float)
    for each in probability.ravel():
        check_between("effect_quantile(probability)", float(each), 0.0, 1.0)
    spike, table = atom(prior), _table(_unit(prior))
    sizes = [prior.base_scale * _solve(table, float(each), spike) for each in probability.ravel()]
    return np.array(sizes).reshape(probability.shape)


def effect_sd(prior: ScaleMixture) -> float:
    """Standard deviation of w under ``prior``, √E[w²] = σ₀ √Πₖ E[ξₖ²]; ``inf`` where infinite. With a slab by quadrature.

    Raises: as :func:`effect_cdf`.
    """
    if prior.slab is None:
        atom(prior)  # refuses what is no prior, or not resolved
        second = [factor.noise.moments().second for factor in prior.factors]
        return 0.0 if 0.0 in second else prior.base_scale * math.sqrt(math.prod(second))
    unit = _unit(prior)
    t = np.arange(-REACHES[0], REACHES[0] + 0.5)
    integrand = _log_mass(unit, t) + 2 * t
    if integrand[-1] - integrand[-2] > -1e-3:
        return math.inf
    nodes, weights = _nodes(t[:-1], t[1:])
    return prior.base_scale * math.sqrt(float(np.sum(weights * np.exp(_log_mass(unit, nodes.ravel()).reshape(nodes.shape) + 2 * nodes))))


@dataclass(frozen=True)
class _Table:
    """Panels of t = log|w| under a prior of base scale 1: their edges, the continuous mass below and above each edge, and the Legendre
    coefficients (panels, 15) of the mass between a panel's left edge and a point of it."""

    edges: Array
    below: Array
    above: Array
    integral: Array

    def within(self, panel: Any, t: Any) -> Array:
        """Mass between the left edge of each panel and t."""
        left, right = self.edges[panel], self.edges[np.asarray(panel) + 1]
        return np.sum(legendre.legvander(2.0 * (t - left) / (right - left) - 1.0, NODES.size) * self.integral[panel], axis=-1)


@lru_cache(maxsize=64)
def _table(prior: ScaleMixture) -> _Table:
    edges = np.arange(-REACHES[0], REACHES[0] + 0.5)
    value = _log_mass(prior, edges)
    if max(value[0], value[-1]) > value.max() - NEGLIGIBLE:
        edges = np.arange(-REACHES[1], REACHES[1] + 0.5)
        value = _log_mass(prior, edges)
    kept = np.flatnonzero(value > value.max() - NEGLIGIBLE - 4.0)
    edges = edges[max(kept[0] - 1, 0) : kept[-1] + 2]
    nodes, _ = _nodes(edges[:-1], edges[1:])
    logs = _log_mass(prior, nodes.ravel()).reshape(nodes.shape) @ TO_LEGENDRE  # log p is smoother than p, and so may be interpolated
    edges = np.linspace(edges[0], edges[-1], FINER * (len(edges) - 1) + 1)
    points = ((2 * np.arange(FINER) + 1)[:, None] + NODES) / FINER - 1.0
    density = np.exp(logs @ legendre.legvander(points.ravel(), NODES.size - 1).T).reshape(-1, NODES.size)
    mass = 0.5 * np.diff(edges) * (density @ WEIGHTS)
    below = np.concatenate([[0.0], np.cumsum(mass)])
    above = np.concatenate([np.cumsum(mass[::-1])[::-1], [0.0]])
    integral = 0.5 * np.diff(edges)[:, None] * legendre.legint(density @ TO_LEGENDRE, lbnd=-1, axis=1)
    return _Table(edges, below, above, integral)


def _unit(prior: ScaleMixture) -> ScaleMixture:
    """The prior in units of its base scale."""
    return ScaleMixture(*prior.factors, slab=prior.slab)


def _log_mass(prior: ScaleMixture, t: Array) -> Array:
    """log of the density of t = log|w|."""
    return log_marginal(prior, np.exp(t)) + t + math.log(2.0)


def _nodes(left: Array, right: Array) -> tuple[Array, Array]:
    """Nodes and weights (panels, 14)."""
    half = 0.5 * (right - left)[:, None]
    return left[:, None] + half * (NODES + 1.0), half * WEIGHTS


def _solve(table: _Table, probability: float, spike: float) -> float:
    """|w| in units of the base scale."""
    if probability <= spike:
        return 0.0
    if probability == 1.0:
        return math.inf
    from_below = probability - spike < 0.5 * (1.0 - spike)
    target = probability - spike if from_below else 1.0 - probability
    sums = table.below if from_below else -table.above
    panel = int(np.clip(np.searchsorted(sums, target if from_below else -target) - 1, 0, len(table.edges) - 2))
    left, right = table.edges[panel : panel + 2]
    within = float(target - table.below[panel] if from_below else table.above[panel] - target)

    def missing(t: float) -> float:
        return float(table.within([panel], np.array([t]))[0]) - within

    if missing(left) >= 0.0 or missing(right) <= 0.0:  # on an edge, to rounding
        return math.exp(left if missing(left) >= 0.0 else right)
    return math.exp(root_scalar(missing, bracket=(left, right), xtol=1e-13).root)
