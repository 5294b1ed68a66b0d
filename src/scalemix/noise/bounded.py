"""Noises on an interval."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

from scipy import special, stats

from scalemix import closed_form
from scalemix.checks import check_nonnegative, check_positive
from scalemix.laws import Power
from scalemix.noise.base import Noise
from scalemix.special import log_uniform_log_prob, uniform_log_prob, uniform_variance_log_prob

__all__ = ["Beta", "LogUniform", "Uniform", "UniformVariance"]


def _check_interval(name: str, low: float, high: float, *, positive: bool) -> None:
    (check_positive if positive else check_nonnegative)(f"{name}(low=)", low)
    check_positive(f"{name}(high=)", high)
    if not low < high:
        raise ValueError(f"{name}(low={low}, high={high}) is empty: give low < high")


@dataclass(frozen=True)
class Beta(Noise):
    """ξ ~ Beta(concentration1, concentration0) on (0, 1), mean a/(a + b). No closed density of w.

    E[ξᵏ] = B(a + k, b)/B(a, b), infinite for k ≤ −a. Dropout with it: Tomczak (2013), cited by Nalisnick and Smyth (2018) below eq. 2.

    Raises: ValueError if a concentration is not positive.
    """

    concentration1: float = 1.0
    concentration0: float = 1.0

    def __post_init__(self) -> None:
        check_positive("Beta(concentration1=)", self.concentration1)
        check_positive("Beta(concentration0=)", self.concentration0)
        self.check_hyper_laws()

    def law(self, dist: Any) -> Any:
        return dist.Beta(self.concentration1, self.concentration0)

    def scipy(self) -> Any:
        return stats.beta(self.concentration1, self.concentration0)

    def power_mean(self, power: int) -> float:
        a, b = self.concentration1, self.concentration0
        return math.exp(special.betaln(a + power, b) - special.betaln(a, b)) if power > -a else math.inf


@dataclass(frozen=True)
class Uniform(Noise):
    """ξ ~ U(low, high): p(w) = [E₁(w²/2σ₀²h²) − E₁(w²/2σ₀²l²)]/(2√(2π) σ₀ (h − l)), a logarithmic pole at 0 for low = 0.

    Dropout with it: Shen et al. (2018), cited by Nalisnick and Smyth (2018) below eq. 2.

    Raises: ValueError unless 0 ≤ low < high.
    """

    low: float = 0.0
    high: float = 1.0
    closed_marginal: ClassVar[bool] = True

    def __post_init__(self) -> None:
        _check_interval("Uniform", self.low, self.high, positive=False)
        self.check_hyper_laws()

    def law(self, dist: Any) -> Any:
        return dist.Uniform(self.low, self.high)

    def marginal(self, dist: Any, scale: Any, tied: tuple[int, ...]) -> Any:
        return dist.ScaleMixture(self.law(dist), uniform_log_prob, scale, (self.low, self.high))

    def scipy(self) -> Any:
        return stats.uniform(self.low, self.high - self.low)

    def power_mean(self, power: int) -> float:
        return _uniform_power_mean(self.low, self.high, power)

    def log_marginal(self, w: Any, base_scale: float) -> Any:
        return closed_form.uniform(w, base_scale * self.low, base_scale * self.high)


@dataclass(frozen=True)
class UniformVariance(Noise):
    """ξ² ~ U(low, high): the Gaussian-uniform prior with γ = ξ² sampled; p(w) is finite at 0 with a Gaussian tail.

    Liu et al. (2019), eq. 11. Sampled, it does not make sparse: that comes of maximizing γ, another model
    (:func:`scalemix.GaussianUniformMaximized`).

    Raises: ValueError unless 0 ≤ low < high.
    """

    low: float = 0.0
    high: float = 1.0
    closed_marginal: ClassVar[bool] = True

    def __post_init__(self) -> None:
        _check_interval("UniformVariance", self.low, self.high, positive=False)
        self.check_hyper_laws()

    def law(self, dist: Any) -> Any:
        ends = math.sqrt(self.low), math.sqrt(self.high)
        return dist.OnInterval(dist.Uniform(self.low, self.high), dist.transforms.PowerTransform(0.5), *ends)

    def marginal(self, dist: Any, scale: Any, tied: tuple[int, ...]) -> Any:
        return dist.ScaleMixture(self.law(dist), uniform_variance_log_prob, scale, (self.low, self.high))

    def scipy(self) -> Any:
        return Power(self.square(), 0.5)

    def square(self) -> Any:
        return stats.uniform(self.low, self.high - self.low)

    def power_mean(self, power: int) -> float:
        return _uniform_power_mean(self.low, self.high, power / 2)

    def log_marginal(self, w: Any, base_scale: float) -> Any:
        return closed_form.uniform_variance(w, base_scale**2 * self.low, base_scale**2 * self.high)


@dataclass(frozen=True)
class LogUniform(Noise):
    """log ξ ~ U(log low, log high): p(ξ) = 1/(ξ log(h/l)); p(w) = [Φ(−|w|/σ₀h) − Φ(−|w|/σ₀l)]/(|w| log(h/l)), smooth at 0.

    The proper stand-in for the log-uniform prior of variational dropout (Kingma, Salimans and Welling, 2015; eq. 8 of Liu et al., 2019),
    its limit for (l, h) → (0, ∞); the posterior depends on ``low``, so state it. Structured Bayesian pruning's truncated log-uniform noise,
    log ξ ~ U(−20, 0), is :meth:`structured_pruning`.

    Raises: ValueError unless 0 < low < high.
    """

    low: float = 1e-4
    high: float = 1.0
    closed_marginal: ClassVar[bool] = True

    def __post_init__(self) -> None:
        _check_interval("LogUniform", self.low, self.high, positive=True)
        self.check_hyper_laws()

    @classmethod
    def structured_pruning(cls) -> LogUniform:
        """log ξ ~ U(−20, 0): Neklyudov, Molchanov, Ashukha and Vetrov (2017), with the bounds of their code."""
        return cls(math.exp(-20.0), 1.0)

    def law(self, dist: Any) -> Any:
        logs = dist.Uniform(math.log(self.low), math.log(self.high))
        return dist.OnInterval(logs, dist.transforms.ExpTransform(), self.low, self.high)

    def marginal(self, dist: Any, scale: Any, tied: tuple[int, ...]) -> Any:
        return dist.ScaleMixture(self.law(dist), log_uniform_log_prob, scale, (self.low, self.high))

    def scipy(self) -> Any:
        return stats.loguniform(self.low, self.high)

    def square(self) -> Any:
        return stats.loguniform(self.low**2, self.high**2)

    def power_mean(self, power: int) -> float:
        return (self.high**power - self.low**power) / (power * math.log(self.high / self.low))

    def log_marginal(self, w: Any, base_scale: float) -> Any:
        return closed_form.log_uniform(w, base_scale * self.low, base_scale * self.high)


def _uniform_power_mean(low: float, high: float, power: float) -> float:
    """E[xᵏ] of x ~ U(low, high): [h^{k+1} − l^{k+1}]/((k + 1)(h − l))."""
    if low == 0.0 and power <= -1:
        return math.inf
    if power == -1:
        return math.log(high / low) / (high - low)
    return (high ** (power + 1) - low ** (power + 1)) / ((power + 1) * (high - low))
