"""Laws of the noise ξ that turns a Gaussian weight into a Gaussian scale mixture, w = ξ·z with z ~ N(0, σ₀²).

A noise is a frozen value: no arrays, no names, no sampling. It says

- ``law(dist)``: the distribution of ξ, written once against the distribution names that Pyro and NumPyro share,
- ``marginal(dist, scale, tied)``: the distribution of w with ξ integrated out, where a language can evaluate it,
- ``scipy()``, ``moments()`` and ``log_marginal(w, base_scale)``: the same law for NumPy and SciPy (``None`` or absent: by quadrature).

``noise.X(...).per("in")`` ties one ξ to each input unit; without ``per`` each weight has its own ξ.
To write your own noise, subclass :class:`Noise` and define ``law``; everything else has a default.

Source of every law: Table 1 of "Unifying the Dropout Family Through Structured Shrinkage Priors", with its corrections.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, ClassVar

from scalemix import closed_form
from scalemix.checks import check_between, check_nonnegative, check_positive
from scalemix.hyper import ExpectedActive

if TYPE_CHECKING:
    from scalemix.closed_form import Moments
    from scalemix.tying import Factor

__all__ = ["Bernoulli", "Constant", "Gaussian", "HalfCauchy", "InverseNakagami", "Noise", "Rayleigh"]


@dataclass(frozen=True)
class Noise:
    """Law of a non-negative (or, for Gaussian noise, real) random scale ξ.

    Class attributes a subclass may set:
        discrete: the site of the expanded form is a gate in {0, 1}; gradient-based samplers and guides refuse it.
        closed_marginal: a language can evaluate the density of w with ξ integrated out.
    """

    discrete: ClassVar[bool] = False
    closed_marginal: ClassVar[bool] = False

    def law(self, dist: Any) -> Any:
        """Distribution of ξ (scalar) in the language whose distributions are ``dist``."""
        raise TypeError(f"{type(self).__name__} does not say its law: define law(dist) returning a distribution of dist")

    def folded_law(self, dist: Any) -> Any:
        """Distribution of |ξ|, which the hierarchical form samples (the sign of ξ does not matter to w | ξ)."""
        return self.law(dist)

    def from_site(self, site: Any) -> Any:
        """ξ from the value of its sample site (they differ only for a two-point noise, whose site is the gate)."""
        return site

    def site_mean(self) -> float:
        """Mean of the site's value: E[ξ], or the probability of the gate."""
        return self.moments().mean

    def marginal(self, dist: Any, scale: Any, tied: tuple[int, ...]) -> Any:
        """Distribution of w = ξ z, z ~ N(0, scale²), ξ integrated out and shared over the (negative) axes ``tied``."""
        raise TypeError(f"{self} has no marginal form that a language can evaluate: use parametrization='expanded'")

    def marginal_refusal(self, tied: bool) -> str | None:
        """Why the marginal form does not exist (``None``: it does)."""
        if not self.closed_marginal:
            return f"{self} has no density of w in closed form"
        return f"{self} is shared by several weights, whose joint density has no closed form" if tied else None

    @property
    def atom(self) -> float:
        """P(ξ = 0): the mass of w at exactly zero. Where it is positive w has no density."""
        return 0.0

    def scipy(self) -> Any:
        """The law of ξ as a frozen ``scipy.stats`` distribution: ``pdf``, ``logpdf``, ``cdf``, ``ppf``, ``rvs``."""
        raise TypeError(f"{type(self).__name__} does not say its SciPy law: define scipy() to use it with sm.log_marginal")

    def moments(self) -> Moments:
        """E[ξ], E[ξ²], Var[ξ], E[ξ⁻²] and Var[ξ⁻²]; ``inf`` where infinite, ``nan`` where undefined."""
        return closed_form.moments_by_quadrature(self.scipy())

    def log_marginal(self, w: Any, base_scale: float) -> Any | None:
        """log p(w) in closed form (NumPy array like ``w``), or ``None`` to have it done by quadrature."""
        return None

    def resolve(self, num_weights: int) -> Noise:
        """This noise for an array of ``num_weights`` weights (hyper-parameters such as ``ExpectedActive`` get their value)."""
        deferred = {f.name: getattr(self, f.name) for f in fields(self) if isinstance(getattr(self, f.name), ExpectedActive)}
        return replace(self, **{name: hyper.resolve(num_weights) for name, hyper in deferred.items()}) if deferred else self

    def per(self, *axes: str, name: str | None = None) -> Factor:
        """Tie this noise: one ξ for each index of ``axes``; ``per("layer")`` is one ξ for the whole array."""
        from scalemix.tying import Factor

        return Factor(self, axes, name)


@dataclass(frozen=True)
class Constant(Noise):
    """ξ = value: no noise, w ~ N(0, (value·σ₀)²). One site in every form.

    Raises: ValueError if ``value`` is not positive.
    """

    value: float = 1.0
    closed_marginal: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_positive("Constant(value=)", self.value)

    def marginal(self, dist: Any, scale: Any, tied: tuple[int, ...]) -> Any:
        return dist.Normal(0.0, scale * self.value)

    def marginal_refusal(self, tied: bool) -> str | None:
        return None

    def moments(self) -> Moments:
        return closed_form.constant_moments(self.value)

    def log_marginal(self, w: Any, base_scale: float) -> Any:
        return closed_form.normal(w, base_scale * self.value)


@dataclass(frozen=True)
class Bernoulli(Noise):
    """ξ = high with probability inclusion_prob, else low: p(w) = π N(w; 0, (σ₀ high)²) + (1 − π) N(w; 0, (σ₀ low)²).

    low = 0 is dropout and the point spike (an atom at 0, no density); low > 0 the continuous spike-and-slab. Eq. 12 of the
    dropout-family paper; eq. 3.1 of the sBNN paper. The site of the expanded form holds the gate 1[ξ = high].

    Raises: ValueError unless 0 ≤ inclusion_prob ≤ 1 and 0 ≤ low < high.
    """

    inclusion_prob: float = 0.5
    low: float = 0.0
    high: float = 1.0
    discrete: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_between("Bernoulli(inclusion_prob=)", self.inclusion_prob, 0.0, 1.0)
        check_nonnegative("Bernoulli(low=)", self.low)
        check_positive("Bernoulli(high=)", self.high)
        if not self.low < self.high:
            raise ValueError(f"Bernoulli(low={self.low}, high={self.high}): the spike must be narrower than the slab, so give low < high")

    @classmethod
    def from_dropout_rate(cls, rate: float) -> Bernoulli:
        """Inverted dropout: ξ = 1/(1 − rate) with probability 1 − rate, else 0, so that E[ξ] = 1."""
        check_between("Bernoulli.from_dropout_rate(rate)", rate, 0.0, 1.0)
        if rate == 1.0:
            raise ValueError("Bernoulli.from_dropout_rate(1.0) drops everything: give a rate below 1")
        return cls(inclusion_prob=1.0 - rate, high=1.0 / (1.0 - rate))

    def law(self, dist: Any) -> Any:
        return dist.Bernoulli(self.inclusion_prob)

    def from_site(self, site: Any) -> Any:
        return self.low + (self.high - self.low) * site

    def site_mean(self) -> float:
        return self.inclusion_prob

    def marginal(self, dist: Any, scale: Any, tied: tuple[int, ...]) -> Any:
        return dist.TwoScaleNormal(self.inclusion_prob, scale * self.low, scale * self.high, tied=tied)

    def marginal_refusal(self, tied: bool) -> str | None:
        return f"{self} has an atom at 0, where w has no density" if self.low == 0.0 else None

    @property
    def atom(self) -> float:
        return 1.0 - self.inclusion_prob if self.low == 0.0 else 0.0

    def moments(self) -> Moments:
        return closed_form.two_point_moments(self.inclusion_prob, self.low, self.high)

    def log_marginal(self, w: Any, base_scale: float) -> Any:
        return closed_form.two_normals(w, self.inclusion_prob, base_scale * self.low, base_scale * self.high)


@dataclass(frozen=True)
class Gaussian(Noise):
    """ξ ~ N(loc, scale²): Gaussian dropout; loc = 0 gives the product-normal (K₀) marginal, loc ≠ 0 a Poisson mixture of variance-gammas.

    The hierarchical form samples |ξ| (folded normal): p(w | ξ) cannot tell the sign and HMC cannot cross ξ = 0.

    Raises: ValueError if ``scale`` is not positive.
    """

    loc: float = 1.0
    scale: float = 1.0

    def __post_init__(self) -> None:
        check_positive("Gaussian(scale=)", self.scale)

    def law(self, dist: Any) -> Any:
        return dist.Normal(self.loc, self.scale)

    def folded_law(self, dist: Any) -> Any:
        return dist.HalfNormal(self.scale) if self.loc == 0.0 else dist.FoldedDistribution(dist.Normal(self.loc, self.scale))

    def scipy(self) -> Any:
        from scipy import stats

        return stats.norm(self.loc, self.scale)

    def moments(self) -> Moments:
        return closed_form.Moments(self.loc, self.loc**2 + self.scale**2, self.scale**2, math.inf, math.nan)

    def log_marginal(self, w: Any, base_scale: float) -> Any | None:
        return closed_form.product_normal(w, base_scale * self.scale) if self.loc == 0.0 else None


@dataclass(frozen=True)
class Rayleigh(Noise):
    """ξ ~ Rayleigh(scale): p(ξ) = ξ/b² e^{−ξ²/2b²}, ξ² ~ Exponential(rate 1/(2b²)); w ~ Laplace(0, σ₀ b).

    Raises: ValueError if ``scale`` is not positive.
    """

    scale: float = 1.0
    closed_marginal: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_positive("Rayleigh(scale=)", self.scale)

    def law(self, dist: Any) -> Any:
        return dist.Weibull(math.sqrt(2.0) * self.scale, 2.0)

    def marginal(self, dist: Any, scale: Any, tied: tuple[int, ...]) -> Any:
        return dist.Laplace(0.0, scale * self.scale)

    def scipy(self) -> Any:
        from scipy import stats

        return stats.rayleigh(scale=self.scale)

    def moments(self) -> Moments:
        b2 = self.scale**2
        return closed_form.Moments(self.scale * math.sqrt(math.pi / 2), 2 * b2, (2 - math.pi / 2) * b2, math.inf, math.nan)

    def log_marginal(self, w: Any, base_scale: float) -> Any:
        return closed_form.laplace(w, base_scale * self.scale)


@dataclass(frozen=True)
class InverseNakagami(Noise):
    """1/ξ ~ Nakagami(m, Ω) with m = df/2, Ω = 1/scale²: ξ² ~ InvGamma(df/2, df·scale²/2); w ~ Student-t(df, 0, σ₀·scale).

    Raises: ValueError if ``df`` or ``scale`` is not positive.
    """

    df: float = 3.0
    scale: float = 1.0
    closed_marginal: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_positive("InverseNakagami(df=)", self.df)
        check_positive("InverseNakagami(scale=)", self.scale)

    def law(self, dist: Any) -> Any:
        square = dist.InverseGamma(self.df / 2, self.df * self.scale**2 / 2)
        return dist.TransformedDistribution(square, dist.transforms.PowerTransform(0.5))

    def marginal(self, dist: Any, scale: Any, tied: tuple[int, ...]) -> Any:
        return dist.StudentT(self.df, 0.0, scale * self.scale)

    def scipy(self) -> Any:
        return closed_form.inverse_nakagami(self.df, self.scale)

    def moments(self) -> Moments:
        return closed_form.inverse_nakagami_moments(self.df / 2, 1 / self.scale**2)

    def log_marginal(self, w: Any, base_scale: float) -> Any:
        return closed_form.student_t(w, self.df, base_scale * self.scale)


@dataclass(frozen=True)
class HalfCauchy(Noise):
    """ξ ~ C⁺(0, scale): the horseshoe. ξ² ~ scale²·BetaPrime(½, ½); p(w) = eᵘ E₁(u)/(√(2π³) σ₀ scale), u = w²/(2σ₀²scale²).

    ``scale`` may be an :class:`ExpectedActive`, resolved where the prior meets the shape of a weight.

    Raises: ValueError if ``scale`` is not positive.
    """

    scale: float | ExpectedActive = 1.0
    closed_marginal: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not isinstance(self.scale, ExpectedActive):
            check_positive("HalfCauchy(scale=)", self.scale)

    @property
    def _scale(self) -> float:
        if isinstance(self.scale, ExpectedActive):
            raise ValueError(f"{self} has no scale before it meets an array of weights: give prior.resolve(num_weights)")
        return self.scale

    def law(self, dist: Any) -> Any:
        return dist.HalfCauchy(self._scale)

    def marginal(self, dist: Any, scale: Any, tied: tuple[int, ...]) -> Any:
        return dist.Horseshoe(scale * self._scale)

    def scipy(self) -> Any:
        from scipy import stats

        return stats.halfcauchy(scale=self._scale)

    def moments(self) -> Moments:
        return closed_form.Moments(math.inf, math.inf, math.inf, math.inf, math.nan)

    def log_marginal(self, w: Any, base_scale: float) -> Any:
        return closed_form.horseshoe(w, base_scale * self._scale)
