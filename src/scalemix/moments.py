"""Moments of a noise ξ, from its power means E[ξᵏ]: what Table 1 and figure 1 of the dropout-family paper compare noises by."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["Moments"]


@dataclass(frozen=True, kw_only=True)
class Moments:
    """Moments of ξ, and the kurtosis of w = ξ z: ``inf`` where infinite, ``nan`` where undefined (a variance about an infinite mean).

    Attributes:
        mean: E[ξ].
        second: E[ξ²], the variance of w in units of σ₀².
        fourth: E[ξ⁴].
        variance: Var[ξ].
        inverse_second: E[ξ⁻²].
        inverse_second_variance: Var[ξ⁻²].
    """

    mean: float
    second: float
    fourth: float
    variance: float
    inverse_second: float
    inverse_second_variance: float

    @property
    def kurtosis(self) -> float:
        """E[w⁴]/E[w²]² = 3 E[ξ⁴]/E[ξ²]², 3 for a normal weight; ``nan`` where w has no variance."""
        return 3.0 * self.fourth / self.second**2 if math.isfinite(self.second) else math.nan

    @classmethod
    def of(cls, power_mean: Callable[[int], float]) -> Moments:
        """All of them from E[ξᵏ] as a function of k."""
        one, two, four, inverse_two, inverse_four = (power_mean(k) for k in (1, 2, 4, -2, -4))
        return cls(
            mean=one,
            second=two,
            fourth=four,
            variance=two - one**2 if math.isfinite(two) else math.inf,
            inverse_second=inverse_two,
            inverse_second_variance=inverse_four - inverse_two**2 if math.isfinite(inverse_two) else math.nan,
        )
