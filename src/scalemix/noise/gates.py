"""Noises of one or two values: no noise at all, and the gates of dropout and of spike-and-slab."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

from scalemix import closed_form
from scalemix.checks import check_between, check_nonnegative, check_positive
from scalemix.laws import TwoPoint
from scalemix.noise.base import Noise

if TYPE_CHECKING:
    from scalemix.tying import Factor

__all__ = ["Bernoulli", "Constant"]


@dataclass(frozen=True)
class Constant(Noise):
    """ξ = value: no noise, w ~ N(0, (value·σ₀)²). One site in every form. Nalisnick and Smyth (2018), eq. 5 with a fixed scale.

    Raises: ValueError if ``value`` is not positive.
    """

    value: float = 1.0
    closed_marginal: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_positive("Constant(value=)", self.value)
        self.check_hyper_laws()

    def marginal(self, dist: Any, scale: Any, tied: tuple[int, ...]) -> Any:
        return dist.Normal(0.0, scale * self.value)

    def marginal_refusal(self, tied: bool) -> str | None:
        return None

    def scipy(self) -> Any:
        return TwoPoint(1.0, self.value, self.value)

    def square(self) -> Any:
        return TwoPoint(1.0, self.value**2, self.value**2)

    def power_mean(self, power: int) -> float:
        return self.value**power

    def log_marginal(self, w: Any, base_scale: float) -> Any:
        return closed_form.normal(w, base_scale * self.value)


@dataclass(frozen=True)
class Bernoulli(Noise):
    """ξ = high with probability inclusion_prob, else low: p(w) = π N(w; 0, (σ₀ high)²) + (1 − π) N(w; 0, (σ₀ low)²).

    low = 0 is dropout and the point spike (an atom at 0, no density): Nalisnick and Smyth (2018), eq. 12. low > 0 is the continuous
    spike-and-slab: Saha, Liu and Liang (2024), eq. 3.1. The site of the expanded form holds the gate 1[ξ = high]. ``inclusion_prob`` may
    be a law on [0, 1], e.g. ``noise.Beta(1, 1).per("layer")``: a learned dropout rate.

    Raises: ValueError unless 0 ≤ inclusion_prob ≤ 1 and 0 ≤ low < high.
    """

    inclusion_prob: float | Noise | Factor = 0.5
    low: float = 0.0
    high: float = 1.0
    discrete: ClassVar[bool] = True
    hyper_support: ClassVar[dict[str, tuple[float, float]]] = {"inclusion_prob": (0.0, 1.0)}

    def __post_init__(self) -> None:
        check_between("Bernoulli(inclusion_prob=)", self.inclusion_prob, 0.0, 1.0)
        self.check_hyper_laws()
        check_nonnegative("Bernoulli(low=)", self.low)
        check_positive("Bernoulli(high=)", self.high)
        if not self.low < self.high:
            raise ValueError(f"Bernoulli(low={self.low}, high={self.high}): the spike must be narrower than the slab, so give low < high")

    @classmethod
    def from_dropout_rate(cls, rate: float) -> Bernoulli:
        """Inverted dropout: ξ = 1/(1 − rate) with probability 1 − rate, else 0, so that E[ξ] = 1.

        Raises: ValueError unless 0 ≤ rate < 1.
        """
        check_between("Bernoulli.from_dropout_rate(rate)", rate, 0.0, 1.0)
        if rate == 1.0:
            raise ValueError("Bernoulli.from_dropout_rate(1.0) drops everything: give a rate below 1")
        return cls(inclusion_prob=1.0 - rate, high=1.0 / (1.0 - rate))

    @property
    def mean_inclusion_prob(self) -> float:
        """P(ξ = high): the inclusion probability, or the mean of its law."""
        law = self.hyper_laws.get("inclusion_prob")
        return float(self.inclusion_prob) if law is None else law.noise.moments().mean  # type: ignore[arg-type]

    def unfolded(self) -> tuple[Noise, ...]:
        return (replace(self, inclusion_prob=self.mean_inclusion_prob),)

    def law(self, dist: Any) -> Any:
        return dist.Bernoulli(self.inclusion_prob)

    def from_site(self, ppl: Any, site: Any) -> Any:
        return self.low + (self.high - self.low) * site

    def site_mean(self) -> float:
        return self.mean_inclusion_prob

    def marginal(self, dist: Any, scale: Any, tied: tuple[int, ...]) -> Any:
        return dist.TwoScaleNormal(self.inclusion_prob, scale * self.low, scale * self.high, tied=tied)

    def marginal_refusal(self, tied: bool) -> str | None:
        if self.low > 0.0:
            return None
        if self.atom == 0.0:
            return f"{self} is a point spike (low = 0), whose law is not a density: use noise.Constant"
        return f"{self} has an atom at 0, where w has no density"

    @property
    def atom(self) -> float:
        return 1.0 - self.mean_inclusion_prob if self.low == 0.0 else 0.0

    def scipy(self) -> Any:
        return TwoPoint(self.mean_inclusion_prob, self.low, self.high)

    def square(self) -> Any:
        return TwoPoint(self.mean_inclusion_prob, self.low**2, self.high**2)

    def power_mean(self, power: int) -> float:
        p = self.mean_inclusion_prob
        if self.low == 0.0 and power < 0:
            return math.inf if p < 1.0 else self.high**power
        return p * self.high**power + (1.0 - p) * self.low**power

    def log_marginal(self, w: Any, base_scale: float) -> Any:
        return closed_form.two_normals(w, self.mean_inclusion_prob, base_scale * self.low, base_scale * self.high)
