"""Hyper-parameters that are known only once the array of weights is: said in the prior, resolved where it meets a shape."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from scalemix.checks import Deferred, check_positive, check_positive_int

__all__ = ["ExpectedActive"]


@dataclass(frozen=True)
class ExpectedActive(Deferred):
    """tau0 = p₀ / ((p − p₀) √N): the global scale at which about p₀ of p weights are active among N observations.

    Piironen and Vehtari (2017), eq. 3.12, for a σ-scaled prior (so the observation noise does not appear).

    Args:
        expected: p₀, the expected number of active weights, or of active units where ``axis`` is given.
        num_data: N.
        axis: count the indices of this axis (p is the number of units of a layer); ``None`` counts the weights.

    Raises: ValueError if ``expected`` is not positive, or ``num_data`` no whole number of at least 1.
    """

    expected: float
    num_data: int
    axis: str | None = None

    def __post_init__(self) -> None:
        check_positive("expected_active", self.expected)
        check_positive_int("num_data (needed with expected_active=)", self.num_data)

    def resolve(self, sizes: int | Mapping[str, int]) -> float:
        """tau0 for an array of p weights; ``sizes`` is p, or the size of each named axis.

        Raises: ValueError if no fewer than ``expected`` can be active, or the axis to count is not there.
        """
        if isinstance(sizes, int):
            count = sizes
        elif self.axis is None:
            count = math.prod(sizes.values())
        elif self.axis in sizes:
            count = sizes[self.axis]
        else:
            raise ValueError(f"expected_active counts the axis {self.axis!r}, and this weight has the axes {', '.join(map(repr, sizes))}")
        if not self.expected < count:
            kind = "weights" if self.axis is None else "units"
            raise ValueError(
                f"expected_active={self.expected:g} needs an array of more {kind} than that, and this one has {count}: "
                "lower expected_active or give tau0="
            )
        return self.expected / ((count - self.expected) * math.sqrt(self.num_data))
