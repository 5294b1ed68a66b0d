"""Hyper-parameters that are known only once the array of weights is: said in the prior, resolved where it meets a shape."""

from __future__ import annotations

import math
from dataclasses import dataclass

from scalemix.checks import check_positive, check_positive_int

__all__ = ["ExpectedActive"]


@dataclass(frozen=True)
class ExpectedActive:
    """tau0 = p₀ / ((p − p₀) √N): the global scale at which about p₀ of p weights are active among N observations.

    Piironen and Vehtari (2017), eq. 3.12, for a σ-scaled prior (so the observation noise does not appear).

    Args:
        expected: p₀, the expected number of active weights.
        num_data: N.
    """

    expected: float
    num_data: int

    def __post_init__(self) -> None:
        check_positive("expected_active", self.expected)
        check_positive_int("num_data (needed with expected_active=)", self.num_data)

    def resolve(self, num_weights: int) -> float:
        """tau0 for an array of p = ``num_weights`` weights."""
        if not self.expected < num_weights:
            raise ValueError(
                f"expected_active={self.expected:g} needs an array of more weights than that, and this one has {num_weights}: "
                "lower expected_active or give tau0="
            )
        return self.expected / ((num_weights - self.expected) * math.sqrt(self.num_data))
