"""Noises on the half-line (Gaussian noise: on the line), each with the shrinkage prior it makes of a Gaussian weight."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

from scipy import special, stats

from scalemix import closed_form
from scalemix.checks import Deferred, check_number, check_positive
from scalemix.hyper import ExpectedActive
from scalemix.laws import Power
from scalemix.noise.base import Noise
from scalemix.special import horseshoe_log_prob

if TYPE_CHECKING:
    from scalemix.tying import Factor

__all__ = ["Chi", "Gaussian", "HalfCauchy", "HalfNormal", "InverseNakagami", "LogNormal", "Rayleigh"]

POSITIVE = (0.0, math.inf)


@dataclass(frozen=True)
class _ScaleFamily(Noise):
    """ξ = scale · ξ₁ with ξ₁ of the same law at scale 1. The scale may itself have a law, which is then one more factor."""

    hyper_support: ClassVar[dict[str, tuple[float, float]]] = {"scale": POSITIVE}

    def unfolded(self) -> tuple[Noise, ...]:
        law = self.hyper_laws.get("scale")
        return (self,) if law is None else (replace(self, scale=1.0), *law.noise.unfolded())  # type: ignore[call-arg]

    @property
    def _scale(self) -> float:
        """The scale as a number."""
        scale = self.scale  # type: ignore[attr-defined]
        if isinstance(scale, ExpectedActive):
            raise ValueError(f"{self} has no scale before it meets an array of weights: give prior.resolve(num_weights)")
        if isinstance(scale, Deferred):
            raise TypeError(f"{self} has a law for its scale, so its own law is that of a product: use unfolded()")
        return scale


@dataclass(frozen=True)
class Gaussian(_ScaleFamily):
    """ξ ~ N(loc, scale²): Gaussian dropout; loc = 0 gives the product-normal (K₀) marginal, loc ≠ 0 a Poisson mixture of variance-gammas.

    Nalisnick and Smyth (2018), Table 1, whose χ² and generalized hyperbolic laws hold for loc = 0 alone. The
    hierarchical form samples |ξ| (folded normal): p(w | ξ) cannot tell the sign and HMC cannot cross ξ = 0.

    Raises: ValueError if ``scale`` is not positive.
    """

    loc: float = 1.0
    scale: float | Noise | Factor = 1.0

    def __post_init__(self) -> None:
        check_number("Gaussian(loc=)", self.loc)
        check_positive("Gaussian(scale=)", self.scale)
        self.check_hyper_laws()
        if self.loc != 0.0 and self.hyper_laws:
            raise ValueError(f"Gaussian(loc={self.loc}, scale={self.scale}): only noise of mean 0 takes a law for its scale, give loc=0")

    def law(self, dist: Any) -> Any:
        return dist.Normal(self.loc, self.scale)

    def folded_law(self, dist: Any) -> Any:
        return dist.HalfNormal(self.scale) if self.loc == 0.0 else dist.FoldedDistribution(dist.Normal(self.loc, self.scale))

    def scipy(self) -> Any:
        return stats.norm(self.loc, self._scale)

    def square(self) -> Any:
        """scale²·χ²₁ for loc = 0, else scale²·noncentral χ²₁(loc²/scale²)."""
        ratio = (self.loc / self._scale) ** 2
        return stats.chi2(1, scale=self._scale**2) if ratio == 0.0 else stats.ncx2(1, ratio, scale=self._scale**2)

    def power_mean(self, power: int) -> float:
        if power < 0:
            return math.inf
        return float(stats.norm(self.loc, self._scale).moment(power))

    def log_marginal(self, w: Any, base_scale: float) -> Any | None:
        return closed_form.product_normal(w, base_scale * self._scale) if self.loc == 0.0 else None


@dataclass(frozen=True)
class HalfNormal(_ScaleFamily):
    """ξ ~ |N(0, scale²)|: w is a product of two normals, p(w) = K₀(|w|/(σ₀ scale))/(π σ₀ scale).

    The law of w under Gaussian noise of mean 0: Nalisnick and Smyth (2018), Table 1.

    Raises: ValueError if ``scale`` is not positive.
    """

    scale: float | Noise | Factor = 1.0

    def __post_init__(self) -> None:
        check_positive("HalfNormal(scale=)", self.scale)
        self.check_hyper_laws()

    def law(self, dist: Any) -> Any:
        return dist.HalfNormal(self.scale)

    def scipy(self) -> Any:
        return stats.halfnorm(scale=self._scale)

    def power_mean(self, power: int) -> float:
        return _chi_power_mean(1.0, self._scale, power)

    def log_marginal(self, w: Any, base_scale: float) -> Any:
        return closed_form.product_normal(w, base_scale * self._scale)


@dataclass(frozen=True)
class Rayleigh(_ScaleFamily):
    """ξ ~ Rayleigh(scale): p(ξ) = ξ/b² e^{−ξ²/2b²}, ξ² ~ Exponential(rate 1/(2b²)); w ~ Laplace(0, σ₀ b).

    b is ``scale``. Nalisnick and Smyth (2018), Table 1.

    Raises: ValueError if ``scale`` is not positive.
    """

    scale: float | Noise | Factor = 1.0
    closed_marginal: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_positive("Rayleigh(scale=)", self.scale)
        self.check_hyper_laws()

    def law(self, dist: Any) -> Any:
        return dist.Weibull(math.sqrt(2.0) * self.scale, 2.0)  # type: ignore[operator]

    def marginal(self, dist: Any, scale: Any, tied: tuple[int, ...]) -> Any:
        return dist.Laplace(0.0, scale * self.scale)

    def scipy(self) -> Any:
        return stats.rayleigh(scale=self._scale)

    def power_mean(self, power: int) -> float:
        return _chi_power_mean(2.0, self._scale, power)

    def log_marginal(self, w: Any, base_scale: float) -> Any:
        return closed_form.laplace(w, base_scale * self._scale)


@dataclass(frozen=True)
class Chi(_ScaleFamily):
    """ξ ~ scale·χ_df: ξ² ~ scale²·χ²_df; w is variance-gamma(df/2). df = 1 is half-normal noise, df = 2 Rayleigh noise.

    The χ² variance of Nalisnick and Smyth (2018), Table 1, with any degrees of freedom.

    Raises: ValueError if ``df`` or ``scale`` is not positive.
    """

    df: float = 3.0
    scale: float | Noise | Factor = 1.0

    def __post_init__(self) -> None:
        check_positive("Chi(df=)", self.df)
        check_positive("Chi(scale=)", self.scale)
        self.check_hyper_laws()

    def law(self, dist: Any) -> Any:
        square = dist.Gamma(self.df / 2, 0.5 / self.scale**2)  # type: ignore[operator]
        return dist.TransformedDistribution(square, dist.transforms.PowerTransform(0.5))

    def scipy(self) -> Any:
        return stats.chi(self.df, scale=self._scale)

    def power_mean(self, power: int) -> float:
        return _chi_power_mean(self.df, self._scale, power)

    def log_marginal(self, w: Any, base_scale: float) -> Any:
        return closed_form.variance_gamma(w, self.df / 2, base_scale * self._scale)


@dataclass(frozen=True)
class InverseNakagami(_ScaleFamily):
    """1/ξ ~ Nakagami(m, Ω) with m = df/2, Ω = 1/scale²: ξ² ~ InvGamma(df/2, df·scale²/2); w ~ Student-t(df, 0, σ₀·scale).

    Nalisnick and Smyth (2018), Table 1.

    Raises: ValueError if ``df`` or ``scale`` is not positive.
    """

    df: float = 3.0
    scale: float | Noise | Factor = 1.0
    closed_marginal: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_positive("InverseNakagami(df=)", self.df)
        check_positive("InverseNakagami(scale=)", self.scale)
        self.check_hyper_laws()

    def law(self, dist: Any) -> Any:
        square = dist.InverseGamma(self.df / 2, self.df * self.scale**2 / 2)  # type: ignore[operator]
        return dist.TransformedDistribution(square, dist.transforms.PowerTransform(0.5))

    def marginal(self, dist: Any, scale: Any, tied: tuple[int, ...]) -> Any:
        return dist.StudentT(self.df, 0.0, scale * self.scale)

    def scipy(self) -> Any:
        return Power(self.square(), 0.5)

    def square(self) -> Any:
        return stats.invgamma(self.df / 2, scale=self.df * self._scale**2 / 2)

    def power_mean(self, power: int) -> float:
        m, half = self.df / 2, power / 2
        if half >= m:
            return math.inf
        log_mean = special.gammaln(m - half) - special.gammaln(m) + half * math.log(m * self._scale**2)
        return math.exp(log_mean)

    def log_marginal(self, w: Any, base_scale: float) -> Any:
        return closed_form.student_t(w, self.df, base_scale * self._scale)


@dataclass(frozen=True)
class HalfCauchy(_ScaleFamily):
    """ξ ~ C⁺(0, scale): the horseshoe. ξ² ~ scale²·BetaPrime(½, ½); p(w) = eᵘ E₁(u)/(√(2π³) σ₀ scale), u = w²/(2σ₀²scale²).

    Nalisnick and Smyth (2018), Table 1; Carvalho, Polson and Scott (2009). ``scale`` may be an ``scalemix.ExpectedActive``, resolved
    where the prior meets the shape of a weight.

    Raises: ValueError if ``scale`` is not positive.
    """

    scale: float | ExpectedActive | Noise | Factor = 1.0
    closed_marginal: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_positive("HalfCauchy(scale=)", self.scale)
        self.check_hyper_laws()

    def law(self, dist: Any) -> Any:
        return dist.HalfCauchy(self.scale)

    def marginal(self, dist: Any, scale: Any, tied: tuple[int, ...]) -> Any:
        return dist.ScaleMixture(dist.HalfCauchy(1.0), horseshoe_log_prob, scale * self.scale)

    def scipy(self) -> Any:
        return stats.halfcauchy(scale=self._scale)

    def square(self) -> Any:
        return stats.betaprime(0.5, 0.5, scale=self._scale**2)

    def power_mean(self, power: int) -> float:
        return 1.0 if power == 0 else math.inf  # E[ξᵏ] = scaleᵏ / cos(kπ/2) for |k| < 1 alone

    def log_marginal(self, w: Any, base_scale: float) -> Any:
        return closed_form.horseshoe(w, base_scale * self._scale)


@dataclass(frozen=True)
class LogNormal(Noise):
    """log ξ ~ N(loc, scale²): E[ξᵏ] = exp(k·loc + k²·scale²/2). No closed density of w.

    Multiplicative noise with it (truncated): Neklyudov, Molchanov, Ashukha and Vetrov (2017).

    Raises: ValueError if ``scale`` is not positive.
    """

    loc: float = 0.0
    scale: float = 1.0

    def __post_init__(self) -> None:
        check_number("LogNormal(loc=)", self.loc)
        check_positive("LogNormal(scale=)", self.scale)
        self.check_hyper_laws()

    def law(self, dist: Any) -> Any:
        return dist.LogNormal(self.loc, self.scale)

    def scipy(self) -> Any:
        return stats.lognorm(self.scale, scale=math.exp(self.loc))

    def square(self) -> Any:
        return stats.lognorm(2.0 * self.scale, scale=math.exp(2.0 * self.loc))

    def power_mean(self, power: int) -> float:
        return math.exp(power * self.loc + 0.5 * (power * self.scale) ** 2)


def _chi_power_mean(df: float, scale: Any, power: int) -> float:
    """E[ξᵏ] = (√2 scale)ᵏ Γ((df + k)/2)/Γ(df/2) of scale·χ_df; infinite for k ≤ −df."""
    if power <= -df:
        return math.inf
    return math.exp(power * math.log(math.sqrt(2.0) * scale) + special.gammaln((df + power) / 2) - special.gammaln(df / 2))
