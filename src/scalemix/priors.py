"""Priors as values: Gaussian scale mixtures w = ξ₁ξ₂…·z, z ~ N(0, σ₀²), and the named ones.

A prior is frozen: no arrays, no site names, no sampling. Hand it to ``ppl.weight`` (or to a model of ``scalemix.models``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase

from scalemix.checks import check_positive
from scalemix.hyper import ExpectedActive
from scalemix.noise import Bernoulli, Constant, HalfCauchy, InverseNakagami, Noise, Rayleigh
from scalemix.tying import LAYER, Factor, as_factor

__all__ = ["Horseshoe", "Laplace", "Normal", "ScaleMixture", "SpikeAndSlab", "StudentT", "prior_for"]


@dataclass(frozen=True, init=False)
class ScaleMixture:
    """w = s·z with s = Πₖ ξₖ and z ~ N(0, base_scale²); with a slab, s̃² = c²s²/(c² + s²) in place of s².

    Args:
        factors: noises, tied by ``.per(...)`` or bare (one ξ per weight). None at all is a Gaussian prior.
        base_scale: σ₀, the standard deviation of z.
        slab: law of c, one per array, which bounds the scale of large weights (the regularized horseshoe of Piironen and Vehtari,
            2017, eq. 2.8). ``noise.InverseNakagami(df=4, scale=2)`` is their c² ~ InvGamma(df/2, df·scale²/2).

    Raises:
        ValueError: base_scale is not positive, or two factors would make sites of one name.
        TypeError: a factor is not a noise.

    Example:
        >>> ScaleMixture(noise.Rayleigh().per("in"), noise.HalfCauchy().per("layer", name="tau"))
    """

    factors: tuple[Factor, ...]
    base_scale: float
    slab: Noise | None

    def __init__(self, *factors: Factor | Noise, base_scale: float = 1.0, slab: Noise | None = None) -> None:
        check_positive("base_scale", base_scale)
        if slab is not None and not isinstance(slab, Noise):
            raise TypeError(f"slab= is the law of a scale, e.g. noise.InverseNakagami(df=4, scale=2), not {slab!r}")
        if slab is not None and (slab.discrete or slab.atom > 0):
            raise ValueError(f"slab={slab} is discrete: a slab bounds the scale smoothly, give e.g. noise.InverseNakagami(df=4, scale=2)")
        object.__setattr__(self, "factors", tuple(as_factor(factor) for factor in factors))
        object.__setattr__(self, "base_scale", float(base_scale))
        object.__setattr__(self, "slab", slab)
        labels = [*self.labels, "slab"] if slab is not None else list(self.labels)
        for label in labels:
            if labels.count(label) > 1 or label == "base":
                raise ValueError(f"two sites would be called <weight>_{label}: name the factors apart with .per(..., name='...')")

    @property
    def labels(self) -> tuple[str, ...]:
        """The name of each factor: the end of its site's name, and its key in a ``parametrization`` dict."""
        return tuple(factor.label(alone=len(self.factors) == 1) for factor in self.factors)

    @property
    def random_factors(self) -> tuple[Factor, ...]:
        return tuple(factor for factor in self.factors if not isinstance(factor.noise, Constant))

    def resolve(self, num_weights: int) -> ScaleMixture:
        """The prior of an array of ``num_weights`` weights: hyper-parameters that depend on their number get their value."""
        factors = [replace(factor, noise=factor.noise.resolve(num_weights)) for factor in self.factors]
        return ScaleMixture(*factors, base_scale=self.base_scale, slab=self.slab)

    def __repr__(self) -> str:
        slab = f", slab={self.slab}" if self.slab is not None else ""
        return " × ".join([*map(str, self.factors), f"N(0, {self.base_scale:g}²)"]) + slab


def Normal(scale: float = 1.0) -> ScaleMixture:  # noqa: N802  (named like the distribution it is)
    """w ~ N(0, scale²): ridge, the null model."""
    return ScaleMixture(Constant(), base_scale=scale)


def Laplace(scale: float = 1.0) -> ScaleMixture:  # noqa: N802
    """w ~ Laplace(0, scale): Rayleigh noise on a N(0, scale²) weight (the Bayesian lasso)."""
    return ScaleMixture(Rayleigh(), base_scale=scale)


def StudentT(df: float = 3.0, scale: float = 1.0) -> ScaleMixture:  # noqa: N802
    """w ~ Student-t(df, 0, scale): inverse-Nakagami noise on a N(0, scale²) weight."""
    return ScaleMixture(InverseNakagami(df), base_scale=scale)


def SpikeAndSlab(inclusion_prob: float = 0.5, slab_scale: float = 1.0, spike_scale: float = 0.0) -> ScaleMixture:  # noqa: N802
    """w ~ π N(0, slab_scale²) + (1 − π) N(0, spike_scale²); spike_scale = 0 is the point spike, in which no gradient can move.

    Raises: ValueError unless spike_scale < slab_scale.
    """
    check_positive("SpikeAndSlab(slab_scale=)", slab_scale)
    return ScaleMixture(Bernoulli(inclusion_prob, low=spike_scale / slab_scale), base_scale=slab_scale)


def Horseshoe(  # noqa: N802
    tau0: float | None = None,
    *,
    expected_active: float | None = None,
    num_data: int | None = None,
    slab_scale: float | None = None,
    slab_df: float = 4.0,
) -> ScaleMixture:
    """w = τ λ z with λ ~ C⁺(0, 1) per weight and τ ~ C⁺(0, tau0) per array; regularized by a slab where ``slab_scale`` is given.

    Args:
        tau0: scale of τ (default 1). Or ``expected_active`` with ``num_data``: tau0 = p₀/((p − p₀)√N), p the number of weights.
        slab_scale, slab_df: c² ~ InvGamma(slab_df/2, slab_df·slab_scale²/2); ``None`` is the plain horseshoe, which NUTS samples badly.
            Give ``ppl.weight(..., scale=sigma)`` for the σ-scaled prior these defaults are made for.

    Raises: ValueError if both or half of the two ways to say the global scale are given.
    """
    if tau0 is not None and expected_active is not None:
        raise ValueError("Horseshoe(tau0=, expected_active=) says the global scale twice: give one of them")
    if (expected_active is None) != (num_data is None):
        raise ValueError("Horseshoe(expected_active=, num_data=) go together: give both, or tau0= alone")
    scale = (1.0 if tau0 is None else tau0) if expected_active is None or num_data is None else ExpectedActive(expected_active, num_data)
    slab = None if slab_scale is None else InverseNakagami(slab_df, slab_scale)
    return ScaleMixture(HalfCauchy(), HalfCauchy(scale).per(LAYER, name="tau"), slab=slab)


def prior_for(prior: ScaleMixture | Mapping[str, ScaleMixture], site: str, sites: Sequence[str]) -> ScaleMixture:
    """The prior of ``site`` among the model's ``sites``: the one given, or the first pattern of a dict that matches it.

    Raises: ValueError if a pattern matches no site, or no pattern matches this one.
    """
    if not isinstance(prior, Mapping):
        return prior
    for pattern in prior:
        if not any(fnmatchcase(each, pattern) for each in sites):
            raise ValueError(
                f"prior has the pattern {pattern!r}, which matches none of the weights {', '.join(sites)}: correct or remove it"
            )
    for pattern, value in prior.items():
        if fnmatchcase(site, pattern):
            return value
    raise ValueError(f"prior says nothing of the weight {site!r}: add {site!r} or a pattern such as 'w*' to it")
