"""What every noise is: the base class, with a default for all but the law."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, ClassVar

from scalemix.checks import Deferred
from scalemix.hyper import ExpectedActive
from scalemix.laws import Power
from scalemix.moments import Moments
from scalemix.quadrature import power_mean

if TYPE_CHECKING:
    from collections.abc import Mapping

    from scalemix.tying import Factor

__all__ = ["Noise"]


@dataclass(frozen=True)
class Noise(Deferred):
    """Law of a non-negative (or, for Gaussian noise, real) random scale ξ. A subclass may set these attributes of the class.

    Attributes:
        discrete: the site of the expanded form is a gate in {0, 1}; gradient-based samplers and guides refuse it.
        closed_marginal: a language can evaluate the density of w with ξ integrated out.
        proper: its law is a probability law; if not, only a variational objective can use it.
        hyper_support: the fields that may be laws instead of numbers, and the interval their values lie in.
    """

    discrete: ClassVar[bool] = False
    closed_marginal: ClassVar[bool] = False
    proper: ClassVar[bool] = True
    hyper_support: ClassVar[dict[str, tuple[float, float]]] = {}

    def law(self, dist: Any) -> Any:
        """Distribution of ξ (scalar) in the language whose distributions are ``dist``.

        Raises: TypeError if a subclass does not define it.
        """
        raise TypeError(f"{type(self).__name__} does not say its law: define law(dist) returning a distribution of dist")

    def folded_law(self, dist: Any) -> Any:
        """Distribution of |ξ| in ``dist``, which the hierarchical form samples (the sign of ξ does not matter to w | ξ)."""
        return self.law(dist)

    def from_site(self, ppl: Any, site: Any) -> Any:
        """ξ from the value of its sample ``site`` (they differ where it is a gate or a logit); ``ppl`` has the array functions."""
        return site

    def site_mean(self) -> float:
        """Mean of the site's value: E[ξ], or the probability of the gate."""
        return self.moments().mean

    def marginal(self, dist: Any, scale: Any, tied: tuple[int, ...]) -> Any:
        """Distribution in ``dist`` of w = ξ z, z ~ N(0, scale²), ξ integrated out and shared over the (negative) axes ``tied``.

        Raises: TypeError where there is none (``marginal_refusal`` says why).
        """
        raise TypeError(f"{self} has no marginal form that a language can evaluate: use parametrization='expanded'")

    def marginal_refusal(self, tied: bool) -> str | None:
        """Why the marginal form does not exist (``None``: it does), for a ξ of one weight or one ``tied`` over several."""
        if not self.closed_marginal:
            return f"{self} has no density of w in closed form"
        return f"{self} is shared by several weights, whose joint density has no closed form" if tied else None

    @property
    def atom(self) -> float:
        """P(ξ = 0): the mass of w at exactly zero. Where it is positive w has no density."""
        return 0.0

    def scipy(self) -> Any:
        """The law of ξ as a frozen ``scipy.stats`` distribution: ``pdf``, ``logpdf``, ``cdf``, ``ppf``, ``rvs``.

        Raises: TypeError if a subclass does not define it, or the law has no parameters of its own (a scale that is a law).
        """
        raise TypeError(f"{type(self).__name__} does not say its SciPy law: define scipy() to use it with sm.log_marginal")

    def square(self) -> Any:
        """The law of ξ² (of the variance of w in units of σ₀²), as :meth:`scipy`.

        Raises: TypeError where it has no density to give (a gate with atoms at 0 and 1).
        """
        return Power(self.scipy(), 2.0)

    def power_mean(self, power: int) -> float:
        """E[ξᵏ] for k = ``power``; ``inf`` where infinite."""
        return power_mean(self.scipy(), power)

    def moments(self) -> Moments:
        """E[ξ], E[ξ²], E[ξ⁴], Var[ξ], E[ξ⁻²] and Var[ξ⁻²]; ``inf`` where infinite, ``nan`` where undefined."""
        return Moments.of(lambda power: math.prod(noise.power_mean(power) for noise in self.unfolded()))

    def log_marginal(self, w: Any, base_scale: float) -> Any | None:
        """log p(w), w = ξ z with z ~ N(0, base_scale²), in closed form (NumPy array like ``w``); ``None``: have it done by quadrature."""
        return None

    def resolve(self, sizes: int | Mapping[str, int]) -> Noise:
        """This noise for an array of weights: their number, or the sizes of its axes (``ExpectedActive`` gets its value)."""
        deferred = {f.name: getattr(self, f.name) for f in fields(self) if isinstance(getattr(self, f.name), ExpectedActive)}
        return replace(self, **{name: hyper.resolve(sizes) for name, hyper in deferred.items()}) if deferred else self

    @property
    def hyper_laws(self) -> dict[str, Factor]:
        """The fields that are laws, each as a factor."""
        from scalemix.tying import as_factor

        return {
            f.name: as_factor(getattr(self, f.name))  # type: ignore[arg-type]
            for f in fields(self)
            if isinstance(getattr(self, f.name), Deferred) and not isinstance(getattr(self, f.name), ExpectedActive)
        }

    def unfolded(self) -> tuple[Noise, ...]:
        """Noises without hyper-laws whose product has the law of ξ in one weight.

        Raises: TypeError if a hyper-law is no further factor of the weight.
        """
        if self.hyper_laws:
            raise TypeError(f"{self} has a hyper-law that is no further factor of the weight: give numbers")
        return (self,)

    def given(self, **values: Any) -> Noise:
        """This noise with arrays of a language in place of the fields named in ``values``, unchecked: what a model samples given those."""
        result = object.__new__(type(self))
        for f in fields(self):
            object.__setattr__(result, f.name, values.get(f.name, getattr(self, f.name)))
        return result

    def check_hyper_laws(self) -> None:
        """Raise ValueError for a law in a field that takes none, or whose values need not lie where the field's do."""
        for name, factor in self.hyper_laws.items():
            if name not in self.hyper_support:
                takes = ", ".join(f"{each}=" for each in self.hyper_support) or "none of its fields"
                raise ValueError(f"{type(self).__name__}({name}=) is a number and cannot be a law: {takes} can")
            if factor.noise.hyper_laws:
                raise ValueError(f"{type(self).__name__}({name}={factor}) is a law of a law of a law: give its parameters as numbers")
            low, high = self.hyper_support[name]
            if factor.noise.discrete or factor.noise.atom > 0.0:
                raise ValueError(f"{type(self).__name__}({name}={factor}) is discrete: give a continuous law such as noise.Beta(1, 1)")
            if not (low <= factor.noise.scipy().support()[0] and factor.noise.scipy().support()[1] <= high):
                raise ValueError(f"{type(self).__name__}({name}={factor}) may leave [{low:g}, {high:g}]: give a law on it")

    def per(self, *axes: str, name: str | None = None) -> Factor:
        """Tie this noise: one ξ for each index of ``axes``; ``per("layer")`` is one ξ for the whole array. ``name``: the site's ending."""
        from scalemix.tying import Factor

        return Factor(self, axes, name)
