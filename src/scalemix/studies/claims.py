"""A difference between two groups of fits, and whether it is one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import ttest_ind

__all__ = ["Difference", "difference"]


@dataclass(frozen=True)
class Difference:
    """mean(one) − mean(other) with its 95 % interval."""

    mean: float
    low: float
    high: float

    @property
    def below(self) -> bool:
        """The interval lies below 0."""
        return self.high < 0.0

    @property
    def above(self) -> bool:
        """The interval lies above 0."""
        return self.low > 0.0

    def __str__(self) -> str:
        return f"{self.mean:+.3g} (95 % interval {self.low:+.3g} to {self.high:+.3g})"


def difference(one: Sequence[float], other: Sequence[float]) -> Difference:
    """Of two groups of independent fits, at least two each, by Welch's t: neither the variances nor the sizes need be equal."""
    low, high = ttest_ind(one, other, equal_var=False).confidence_interval()
    return Difference(float(np.mean(one) - np.mean(other)), float(low), float(high))
