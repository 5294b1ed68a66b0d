"""Laws of ξ that SciPy lacks, with the methods of a frozen ``scipy.stats`` distribution."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import special

__all__ = ["Concrete", "Power", "TwoPoint"]

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Power:
    """Law of y = xᵖ, p > 0, x > 0 of the law ``base``: p(y) = p_base(y^{1/p}) y^{1/p − 1}/p. The square of a law, the root of another."""

    base: Any
    power: float

    def support(self) -> tuple[float, float]:
        low, high = self.base.support()
        return max(float(low), 0.0) ** self.power, float(high) ** self.power

    def logpdf(self, y: Any) -> Array:
        y = np.asarray(y, dtype=float)
        with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
            log_y = np.log(y)
            value = self.base.logpdf(np.exp(log_y / self.power)) + (1.0 / self.power - 1.0) * log_y - math.log(self.power)
        return np.where((y > 0) & (y < math.inf), value, np.where(np.isnan(y), math.nan, -math.inf))

    def pdf(self, y: Any) -> Array:
        return np.exp(self.logpdf(y))

    def cdf(self, y: Any) -> Array:
        return self.base.cdf(self._root(y))

    def sf(self, y: Any) -> Array:
        return self.base.sf(self._root(y))

    def ppf(self, q: Any) -> Array:
        return self.base.ppf(q) ** self.power

    def isf(self, q: Any) -> Array:
        return self.base.isf(q) ** self.power

    def rvs(self, size: Any = None, random_state: Any = None) -> Any:
        """Draws; ``random_state`` is a seed or a ``numpy.random.Generator``."""
        return self.base.rvs(size=size, random_state=random_state) ** self.power

    def _root(self, y: Any) -> Array:
        with np.errstate(over="ignore"):
            return np.maximum(np.asarray(y, dtype=float), 0.0) ** (1.0 / self.power)


@dataclass(frozen=True)
class TwoPoint:
    """high with probability ``prob``, else low. It has no density."""

    prob: float
    low: float
    high: float

    def support(self) -> tuple[float, float]:
        return self.low, self.high

    def cdf(self, x: Any) -> Array:
        x = np.asarray(x, dtype=float)
        return (1.0 - self.prob) * (x >= self.low) + self.prob * (x >= self.high)

    def sf(self, x: Any) -> Array:
        return 1.0 - self.cdf(x)

    def ppf(self, q: Any) -> Array:
        return np.where(np.asarray(q) <= 1.0 - self.prob, self.low, self.high)

    def rvs(self, size: Any = None, random_state: Any = None) -> Any:
        """Draws; ``random_state`` is a seed or a ``numpy.random.Generator``."""
        return np.where(np.random.default_rng(random_state).random(size) < self.prob, self.high, self.low)


@dataclass(frozen=True)
class Concrete:
    """Law of clip(σ(ℓ)(high − low) + low, 0, 1), ℓ ~ Logistic(loc, scale): binary concrete on (0, 1), hard concrete on a wider interval.

    ``pdf`` is the density inside (0, 1); ``cdf`` counts the atoms at 0 and 1.
    """

    loc: float
    scale: float
    low: float = 0.0
    high: float = 1.0

    def support(self) -> tuple[float, float]:
        return 0.0, 1.0

    def logit(self, x: Any) -> Array:
        """The ℓ at which an x in (0, 1) is met."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return special.logit((np.asarray(x, dtype=float) - self.low) / (self.high - self.low))

    @property
    def at_zero(self) -> float:
        """P(ξ = 0)."""
        return float(special.expit((self.logit(0.0) - self.loc) / self.scale)) if self.low < 0.0 else 0.0

    @property
    def at_one(self) -> float:
        """P(ξ = 1)."""
        return float(special.expit((self.loc - self.logit(1.0)) / self.scale)) if self.high > 1.0 else 0.0

    def logpdf(self, x: Any) -> Array:
        x = np.asarray(x, dtype=float)
        share = (x - self.low) / (self.high - self.low)
        with np.errstate(divide="ignore", invalid="ignore"):
            z = (special.logit(share) - self.loc) / self.scale
            value = -np.abs(z) - 2 * np.log1p(np.exp(-np.abs(z))) - np.log(share) - np.log1p(-share)
        inside = (x > 0.0) & (x < 1.0)
        return np.where(inside, value - math.log(self.scale * (self.high - self.low)), np.where(np.isnan(x), math.nan, -math.inf))

    def pdf(self, x: Any) -> Array:
        return np.exp(self.logpdf(x))

    def cdf(self, x: Any) -> Array:
        x = np.asarray(x, dtype=float)
        inside = special.expit((self.logit(np.clip(x, 0.0, 1.0)) - self.loc) / self.scale)
        return np.where(x < 0.0, 0.0, np.where(x >= 1.0, 1.0, inside))

    def sf(self, x: Any) -> Array:
        return 1.0 - self.cdf(x)

    def ppf(self, q: Any) -> Array:
        logit = self.loc + self.scale * special.logit(np.asarray(q, dtype=float))
        return np.clip(special.expit(logit) * (self.high - self.low) + self.low, 0.0, 1.0)

    def rvs(self, size: Any = None, random_state: Any = None) -> Any:
        """Draws; ``random_state`` is a seed or a ``numpy.random.Generator``."""
        return self.ppf(np.random.default_rng(random_state).random(size))
