"""What a prior says about one weight with every noise integrated out: its density, its atom, and which gate a weight came from.

    p(w) = E[N(w; 0, σ₀² s²)], s = Πₖ ξₖ   (s̃² = c²s²/(c² + s²) in place of s² where the prior has a slab)

Gates are finite mixtures, one random noise has a closed form where its law gives one, and the rest is quadrature over t = log s, in which
every law is smooth. Several noises, or a slab, first have the density of log s tabulated:

    product  f(y) = ∫ f₁(y − t) f₂(t) dt,
    slab     f(y) = ∫ f_s(y + ½ log(1 + e^{−2r})) f_c(y + ½ log(1 + e^{2r})) dr, r = log(c/s), a change of variables of Jacobian 1.

NumPy and SciPy only: the judge of both languages' densities.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import interpolate, special

from scalemix import closed_form
from scalemix.hyper import ExpectedActive
from scalemix.noise import Bernoulli, Constant, HardConcrete, Noise, RelaxedBernoulli
from scalemix.priors import ScaleMixture, VariationalPrior
from scalemix.quadrature import find_peak, log_integral
from scalemix.tying import Factor, noise_dims

__all__ = ["atom", "inclusion_prob", "log_marginal"]

Array = NDArray[np.float64]
LogDensity = Callable[[Array], Array]

FAR = 60.0  # e-folds searched beyond a law's bulk and beyond log|w|: what falls like e^{−t} has left 1e−26 there
TINY = 1e-30  # |w| in units of its scale at which a density without a pole is its value at 0 to rounding
ROWS = 1024  # weights integrated at once: 1024 × 600 nodes are 5 MB an array
BLOCK = 16.0  # e-folds: tables are kept for ranges rounded to these, so that nearby calls share them


def log_marginal(prior: ScaleMixture, w: Any) -> Array:
    """log p(w), p(w) = E[N(w; 0, σ₀² Πₖ ξₖ²)], of one weight, every noise integrated out.

    In closed form where there is one, else by quadrature. With a slab s̃² = c²s²/(c² + s²) stands in place of s² = Πₖ ξₖ². Where the prior
    has an atom at 0 this is the continuous part, which integrates to 1 − atom.

    Several noises, or one under a slab, are integrated numerically: to 1e-9 as a rule; to 1e-6 under a slab where the law of ξ ends at a
    bound, 1e-2 if it jumps there; to 1e-3 beside a ``RelaxedBernoulli``, whose density has a pole at ξ = 1.

    Args:
        prior: the law of w.
        w: array of any shape; the result has it. At w = 0 it is ``inf`` where the density has a pole. Tying does not matter here.

    Raises:
        ValueError: a hyper-parameter is not resolved: use ``prior.resolve(num_weights)``.
        TypeError: not a prior, or a noise that does not say its SciPy law.

    Example:
        >>> log_marginal(Laplace(2.0), [0.0, 1.0])
    """
    _check(prior)
    w = np.asarray(w, dtype=float)
    scale, gates, noises = _parts(prior)
    size, value = np.abs(w.ravel()), np.full(w.size, -math.inf)
    with np.errstate(all="ignore"):  # w may be 0, inf or nan, and tails underflow
        for log_prob, multiplier in gates:
            value = np.logaddexp(value, log_prob + _log_density(noises, prior.slab, prior.base_scale, scale * multiplier, size))
    return value.reshape(w.shape)


def atom(prior: ScaleMixture) -> float:
    """P(w = 0) = 1 − Πₖ (1 − P(ξₖ = 0)) under ``prior``.

    Raises: ValueError if a hyper-parameter is not resolved (``prior.resolve(num_weights)``), TypeError if it is not a prior.
    """
    _check(prior)
    return 1.0 - math.prod(1.0 - factor.noise.atom for factor in prior.factors)


def inclusion_prob(prior: ScaleMixture, w: Any, axes: tuple[str, ...] | None = None) -> Array:
    """P(gate = high | w), the responsibility of the slab: one probability per gate of the prior's Bernoulli factor.

    logit = log π/(1 − π) + Σⱼ [log p(wⱼ | high) − log p(wⱼ | low)], the sum over the weights j that share the gate. With low = 0 it is 1
    where one of them is not 0, else 0.

    Args:
        prior: with one Bernoulli factor.
        w: draws of the weight, (..., *shape).
        axes: names of the weight's axes, the last ones of ``w``; needed where the gate is tied.

    Returns:
        (..., *sizes of the axes the gate is per): the shape of ``w`` for a gate per weight.

    Raises:
        ValueError: no Bernoulli factor or several; another random scale is shared by several weights; a tied gate without ``axes``;
            ``w`` has fewer axes than ``axes``.
        TypeError: not a prior.
    """
    _check(prior)
    w = np.asarray(w, dtype=float)
    gates = [(factor, factor.noise) for factor in prior.factors if isinstance(factor.noise, Bernoulli)]
    if len(gates) != 1:
        raise ValueError(f"inclusion_prob is of a prior with one Bernoulli factor, and {prior} has {len(gates)}: give a prior with one")
    gate, law = gates[0]
    if law.hyper_laws:
        raise ValueError(f"{prior} learns its inclusion probability, of which draws are needed too: average the sampled gates")
    names = _axes(gate, w, axes)
    others = [factor for factor in prior.random_factors if factor is not gate]
    if prior.slab is not None or any(factor.axes is not None and noise_dims(factor, names) != names for factor in others):
        raise ValueError(f"{prior} has another random scale that several weights share, so w does not settle the gate: sample the gates")
    kept = names if gate.axes is None else noise_dims(gate, names)
    pooled = tuple(i - len(names) for i, name in enumerate(names) if name not in kept)
    if law.low == 0.0:
        return np.any(w != 0.0, axis=pooled).astype(float)
    scale, _, noises = _parts(prior)
    size = np.maximum(np.abs(w.ravel()), TINY**4 * prior.base_scale * scale * law.low)  # at a pole: its limit
    with np.errstate(all="ignore"):
        high, low = (_log_density(noises, None, prior.base_scale, scale * value, size) for value in (law.high, law.low))
    return special.expit(special.logit(law.mean_inclusion_prob) + np.sum((high - low).reshape(w.shape), axis=pooled))


def _axes(gate: Factor, w: Array, axes: tuple[str, ...] | None) -> tuple[str, ...]:
    if gate.axes is not None and axes is None:
        raise ValueError(f"{gate} is tied: give axes=, the names of the weight's axes, e.g. axes=('in', 'out')")
    if w.ndim < len(axes or ()):
        raise ValueError(f"w of shape {w.shape} has fewer axes than axes={axes}: give draws of shape (..., *shape)")
    return axes or ()


def _check(prior: ScaleMixture) -> None:
    if isinstance(prior, VariationalPrior):
        raise ValueError(f"{prior} has no density of w: {prior.reason}; use {prior.remedy}")
    if not isinstance(prior, ScaleMixture):
        raise TypeError(f"{prior!r} is not a prior: give a ScaleMixture such as Laplace(1.0)")
    noises = [factor.noise for factor in prior.factors] + ([prior.slab] if prior.slab is not None else [])
    if any(isinstance(getattr(noise, field.name), ExpectedActive) for noise in noises for field in fields(noise)):
        raise ValueError(f"{prior} depends on the number of weights: use prior.resolve(num_weights) first")


def _parts(prior: ScaleMixture) -> tuple[float, list[tuple[float, float]], tuple[Noise, ...]]:
    """Product of the constants; (log probability, multiplier) of each setting of the gates that is not 0; the continuous noises."""
    noises = [noise for factor in prior.factors for noise in factor.noise.unfolded()]
    scale = math.prod(noise.value for noise in noises if isinstance(noise, Constant))
    gates = [((x.mean_inclusion_prob, x.high), (1.0 - x.mean_inclusion_prob, x.low)) for x in noises if isinstance(x, Bernoulli)]
    settings = [(math.prod(p for p, _ in setting), math.prod(x for _, x in setting)) for setting in itertools.product(*gates)]
    rest = tuple(noise for noise in noises if not isinstance(noise, Constant | Bernoulli))
    return scale, [(math.log(prob), multiplier) for prob, multiplier in settings if prob > 0 and multiplier > 0], rest


class _Inside(HardConcrete):
    """A hard-concrete gate between its atoms: the part of its law that has a density of log ξ."""

    def log_marginal(self, w: Any, base_scale: float) -> Any | None:
        return None


def _log_density(noises: tuple[Noise, ...], slab: Noise | None, base_scale: float, factor: float, size: Array) -> Array:
    """log p(w) at |w| = size for s = factor·Π noises, ``factor`` > 0."""
    for i, gate in enumerate(noises):  # alone it says its own density; beside others it is open, or in between
        if type(gate) is HardConcrete and (len(noises) > 1 or slab is not None):
            rest = noises[:i] + noises[i + 1 :]
            half_open = _Inside(gate.log_alpha, gate.temperature, gate.low, gate.high)
            is_open = math.log(gate.scipy().at_one) + _log_density(rest, slab, base_scale, factor, size)
            return np.logaddexp(is_open, _log_density((*rest, half_open), slab, base_scale, factor, size))
    offset, kernel, bound = math.log(factor), None, math.inf  # log of the constant in s; noise done in closed form; log of a fixed slab
    random = [noise for noise in (*noises, slab) if noise is not None and not isinstance(noise, Constant)]
    if isinstance(slab, Constant):
        bound, slab = math.log(slab.value), None
    elif slab is None:
        slow = RelaxedBernoulli if len(noises) > 1 else ()  # its density is an integral itself
        closed = [i for i, noise in enumerate(noises) if not isinstance(noise, slow) and noise.log_marginal(np.ones(1), 1.0) is not None][
            :1
        ]
        kernel = noises[closed[0]] if closed else None
        noises = tuple(noise for i, noise in enumerate(noises) if i not in closed)
    elif not noises:  # the slab is all that is random: the roles of c and s change
        bound, noises, slab, offset = offset, (slab,), None, 0.0
    if not noises:
        base = base_scale * math.exp(offset if bound == math.inf else _bounded(offset, bound))
        return _at_unit_scale(kernel, size / base) - math.log(base)
    log_w = np.log(size) - math.log(base_scale)
    log_w[size == 0.0] = math.log(TINY) + min(0.0, offset) + sum(min(_log_law(noise).low, 0.0) for noise in random)
    value = np.where(np.isnan(size), math.nan, np.where(size == 0.0, math.inf, -math.inf))
    has_pole = any(_log_law(noise).pole for noise in random)
    rows = np.flatnonzero((size < math.inf) & ((size > 0.0) | (not has_pole)))
    rows = rows[np.argsort(log_w[rows])]  # neighbors need ranges of like length
    if rows.size:
        low, high = (BLOCK * math.floor(float(end) / BLOCK) for end in (log_w[rows].min(), log_w[rows].max()))
        law = _scale_law(noises, slab, offset, low - BLOCK, high + 3 * BLOCK)
        for part in np.array_split(rows, -(-rows.size // ROWS)):
            value[part] = _mixture(law, kernel, bound, log_w[part]) - math.log(base_scale)
    return value


def _mixture(law: _Law, kernel: Noise | None, bound: float, log_w: Array) -> Array:
    """log ∫ p(w | log s = t) p(t) dt; given s, w is normal or has the closed marginal of ``kernel`` at scale s."""
    x = log_w[:, None]

    def log_integrand(t: Array) -> Array:
        log_scale = t if bound == math.inf else _bounded(t, bound)
        ratio = np.exp(np.clip(x - log_scale, -340.0, 340.0))  # whose square neither overflows nor underflows
        return _at_unit_scale(kernel, ratio) - log_scale + law.log_density(t)

    return log_integral(log_integrand, np.minimum(log_w, law.low) - FAR, np.maximum(log_w, law.high) + FAR, [log_w, law.low, law.high])


def _at_unit_scale(kernel: Noise | None, z: Array) -> Array:
    return closed_form.normal(z, 1.0) if kernel is None else np.asarray(kernel.log_marginal(z, 1.0))


def _bounded(log_s: Any, log_c: Any) -> Any:
    """log s̃, s̃⁻² = s⁻² + c⁻²."""
    return -0.5 * np.logaddexp(-2.0 * log_s, -2.0 * log_c)


@dataclass(frozen=True)
class _Law:
    """Law of t = log|scale|: its log density, where its bulk lies, the inverse of its peak, and whether the scale has mass next to 0."""

    log_density: LogDensity
    low: float
    high: float
    width: float
    pole: bool = False


@lru_cache(maxsize=64)
def _log_law(noise: Noise) -> _Law:
    """Law of log|ξ|. E[1/|ξ|] = ∞, a pole of p(w), is where e^{−t} p(t) does not fall as t → −∞."""
    law = noise.scipy()
    signed = law.support()[0] < 0

    def log_density(t: Array) -> Array:
        x = np.exp(t)
        return t + (np.logaddexp(law.logpdf(x), law.logpdf(-x)) if signed else law.logpdf(x))

    quantiles = np.abs(law.ppf(np.array([0.02, 0.1, 0.3, 0.5, 0.7, 0.9, 0.98])))
    bulk = np.log(quantiles[quantiles > 0])
    low, high = float(bulk.min()), float(bulk.max())
    peak = find_peak(log_density, np.array([low - FAR]), np.array([high + FAR]), list(bulk))[3]
    near, far = log_density(low - np.array([200.0, 201.0]))
    return _Law(log_density, low, high, math.exp(-float(peak[0])), pole=bool(far > -math.inf and near - far < 1.0 + 1e-6))


@lru_cache(maxsize=64)
def _scale_law(noises: tuple[Noise, ...], slab: Noise | None, offset: float, low: float, high: float) -> _Law:
    """Law of log s, s = e^offset Π ξₖ, or of log s̃; ``low`` and ``high`` bound where it is asked for."""
    if slab is not None:
        c = _log_law(slab)
        s = _scale_law(noises, None, offset, low, max(high, c.high) + BLOCK)

        def log_integrand(y: Array, r: Array) -> Array:
            half = 0.5 * np.logaddexp(0.0, -2.0 * r)
            return s.log_density(y + half) + c.log_density(y + half + r)

        shape = _Law(np.asarray, min(s.low, c.low) - 1.0, c.high, min(s.width, c.width))
        return _tabulate(log_integrand, lambda y: [y - s.high, y - s.low, c.low - y, c.high - y, 0.0], shape, low, high)
    if offset != 0.0:
        s = _scale_law(noises, None, 0.0, low - offset, high - offset)
        return _Law(lambda t: s.log_density(t - offset), s.low + offset, s.high + offset, s.width)
    b = _log_law(noises[-1])
    if len(noises) == 1:
        return b
    a = _scale_law(noises[:-1], None, 0.0, low - b.high - BLOCK, high - b.low + BLOCK)
    shape = _Law(np.asarray, a.low + b.low, a.high + b.high, min(a.width, b.width))
    return _tabulate(
        lambda y, t: a.log_density(y - t) + b.log_density(t), lambda y: [y - a.high, y - a.low, b.low, b.high], shape, low, high
    )


def _tabulate(
    log_integrand: Callable[[Array, Array], Array], marks: Callable[[Array], list[Any]], shape: _Law, low: float, high: float
) -> _Law:
    """Law whose log density at y is log ∫ exp(log_integrand(y, t)) dt: a quintic spline, straight lines beyond.

    ``marks`` are the places where the integrand may peak; ``shape`` has the bulk and the width of the result.
    """
    step = min(0.05, max(shape.width / 25, 0.002))
    bulk = shape.low - 0.5 * BLOCK, shape.high + 0.5 * BLOCK  # beyond, log p(y) bends over e-folds at the least
    outside = (np.arange(bulk[0], min(low, bulk[0]) - 1.0, -0.2)[:0:-1], np.arange(bulk[1], max(high, bulk[1]) + 1.0, 0.2))
    grid = np.concatenate([outside[0], np.arange(*bulk, step), outside[1]])

    def values(y: Array) -> Array:
        at = list(np.broadcast_arrays(y, *marks(y)))[1:]
        return log_integral(lambda t: log_integrand(y[:, None], t), np.minimum.reduce(at) - FAR, np.maximum.reduce(at) + FAR, at)

    table = np.concatenate([values(part) for part in np.array_split(grid, -(-grid.size // ROWS))])
    kept = table > table.max() - 1e7  # a light tail falls doubly exponentially: what is left out is below e^{−1e7}
    grid, table = grid[kept], table[kept]
    spline = interpolate.make_interp_spline(grid, table, k=5)
    (left, right), slopes = grid[[0, -1]], (np.diff(table) / np.diff(grid))[[0, -1]]

    def log_density(t: Array) -> Array:
        return spline(np.clip(t, left, right)) + slopes[0] * np.minimum(t - left, 0.0) + slopes[1] * np.maximum(t - right, 0.0)

    return _Law(log_density, shape.low, shape.high, shape.width)
