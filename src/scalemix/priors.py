"""Priors as values: Gaussian scale mixtures w = ξ₁ξ₂…·z, z ~ N(0, σ₀²), and the named ones.

A prior is frozen: no arrays, no site names, no sampling. Hand it to ``ppl.weight`` (or to a model of ``scalemix.models``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase

from scalemix.checks import check_positive
from scalemix.hyper import ExpectedActive
from scalemix.noise import Bernoulli, Constant, HalfCauchy, InverseNakagami, Noise, Rayleigh, UniformVariance
from scalemix.noise import LogUniform as LogUniformNoise
from scalemix.tying import LAYER, Factor, as_factor
from scalemix.variational_priors import GaussianUniformMaximized, LogUniform, VariationalPrior

__all__ = [
    "GaussianUniform",
    "GaussianUniformMaximized",
    "Horseshoe",
    "Laplace",
    "LogUniform",
    "Normal",
    "NormalMixture",
    "ScaleMixture",
    "SmoothLogUniform",
    "SpikeAndSlab",
    "StudentT",
    "VariationalPrior",
    "prior_for",
]


@dataclass(frozen=True, init=False)
class ScaleMixture:
    """w = s·z with s = Πₖ ξₖ and z ~ N(0, base_scale²); with a slab, s̃² = c²s²/(c² + s²) in place of s².

    Nalisnick and Smyth (2018), eq. 5 with one factor, eq. 14 and 24 with two.

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
    def proper(self) -> bool:
        """It integrates to 1, so its posterior under any bounded likelihood exists: σ₀ is finite and every ξ has a proper law."""
        return all(factor.noise.proper for factor in self.factors)

    @property
    def parametrizations(self) -> tuple[str, ...]:
        """The forms the prior has: "expanded" (non-centered), "hierarchical" (centered), "marginal"."""
        from scalemix.plan import forms

        return forms(self)

    @property
    def sampleable(self) -> tuple[str, ...]:
        """The forms in which a gradient-based sampler or guide can move: those without a discrete site."""
        from scalemix.plan import forms

        return forms(self, discrete=False)

    @property
    def random_factors(self) -> tuple[Factor, ...]:
        """The factors whose ξ is no constant."""
        return tuple(factor for factor in self.factors if not isinstance(factor.noise, Constant))

    def resolve(self, sizes: int | Mapping[str, int]) -> ScaleMixture:
        """The prior of an array of weights, given by their number or by the sizes of its axes, on which hyper-parameters may depend."""
        factors = [replace(factor, noise=factor.noise.resolve(sizes)) for factor in self.factors]
        return ScaleMixture(*factors, base_scale=self.base_scale, slab=self.slab)

    def __repr__(self) -> str:
        slab = f", slab={self.slab}" if self.slab is not None else ""
        told = [str(factor) for factor in self.factors if factor.noise != Constant(1.0)]
        return " × ".join([*told, f"N(0, {self.base_scale:g}²)"]) + slab


def Normal(scale: float = 1.0) -> ScaleMixture:  # noqa: N802  (named like the distribution it is)
    """w ~ N(0, scale²): ridge (Hoerl and Kennard, 1970), the null model."""
    return ScaleMixture(Constant(), base_scale=scale)


def Laplace(scale: float = 1.0) -> ScaleMixture:  # noqa: N802
    """w ~ Laplace(0, scale): Rayleigh noise on a N(0, scale²) weight.

    The Bayesian lasso of Park and Casella (2008); as noise, Nalisnick and Smyth (2018), Table 1.
    """
    return ScaleMixture(Rayleigh(), base_scale=scale)


def StudentT(df: float = 3.0, scale: float = 1.0) -> ScaleMixture:  # noqa: N802
    """w ~ Student-t(df, 0, scale): inverse-Nakagami noise on a N(0, scale²) weight (Nalisnick and Smyth, 2018, Table 1)."""
    return ScaleMixture(InverseNakagami(df), base_scale=scale)


def SpikeAndSlab(  # noqa: N802
    inclusion_prob: float | Noise | Factor = 0.5, slab_scale: float = 1.0, spike_scale: float = 0.0
) -> ScaleMixture:
    """w ~ π N(0, slab_scale²) + (1 − π) N(0, spike_scale²); spike_scale = 0 is the point spike, in which no gradient can move.

    Nalisnick and Smyth (2018), eq. 12; with a continuous spike, Saha, Liu and Liang (2024), eq. 3.1.

    Args:
        inclusion_prob: π, a number or a law on [0, 1] such as ``noise.Beta(1, 1).per("layer")`` (a learned inclusion probability).
        slab_scale, spike_scale: standard deviations.

    Raises: ValueError unless 0 ≤ spike_scale < slab_scale and 0 ≤ π ≤ 1.
    """
    check_positive("SpikeAndSlab(slab_scale=)", slab_scale)
    return ScaleMixture(Bernoulli(inclusion_prob, low=spike_scale / slab_scale), base_scale=slab_scale)


def NormalMixture(weight: float = 0.5, wide_scale: float = 1.0, narrow_scale: float = 0.0025) -> ScaleMixture:  # noqa: N802
    """w ~ weight·N(0, wide_scale²) + (1 − weight)·N(0, narrow_scale²): the prior of Bayes by Backprop (Blundell et al., 2015, eq. 7).

    The same law as a continuous spike-and-slab; only the name says that nobody means to select with it.

    Raises: ValueError unless 0 < narrow_scale < wide_scale.
    """
    check_positive("NormalMixture(narrow_scale=)", narrow_scale)
    return SpikeAndSlab(weight, wide_scale, narrow_scale)


def GaussianUniform(low: float = 0.0, high: float = 10.0) -> ScaleMixture:  # noqa: N802
    """w ~ N(0, γ), γ ~ U(low, high) sampled: the Gaussian-uniform prior read as a prior (Liu et al., 2019, eq. 11).

    Finite at 0 with a Gaussian tail, so it does not make sparse, and less shrinkage the larger ``high``: for y = 2 with unit noise the
    posterior mean is 1.54 (high = 10), 1.87 (high = 100). What variational Bayesian dropout
    (VBD) optimizes is :func:`GaussianUniformMaximized`, another model.

    Raises: ValueError unless 0 ≤ low < high.
    """
    return ScaleMixture(UniformVariance(low, high))


def SmoothLogUniform(low: float = 1e-4, high: float = 1e2, *, per: str | None = None) -> ScaleMixture:  # noqa: N802
    """w ~ N(0, γ), p(γ) ∝ 1/γ on [low, high]: p(w) = [erf(|w|/√(2 low)) − erf(|w|/√(2 high))]/(|w| log(high/low)).

    The proper stand-in for the log-uniform prior of variational dropout (Kingma, Salimans and Welling, 2015). It depends on
    ``low``: the posterior mean goes to 0 like 1/log(1/low), so state it.

    Args:
        low, high: bounds of the variance γ.
        per: one γ per index of this axis (a group log-uniform prior, e.g. per="in"); ``None`` for one per weight.

    Raises: ValueError unless 0 < low < high.
    """
    check_positive("SmoothLogUniform(low=)", low)
    check_positive("SmoothLogUniform(high=)", high)
    law = LogUniformNoise(low**0.5, high**0.5)
    return ScaleMixture(law if per is None else law.per(per))


def Horseshoe(  # noqa: N802
    tau0: float | None = None,
    *,
    expected_active: float | None = None,
    num_data: int | None = None,
    slab_scale: float | None = None,
    slab_df: float = 4.0,
    per: str | None = None,
) -> ScaleMixture:
    """w = τ λ z with λ ~ C⁺(0, 1) per weight and τ ~ C⁺(0, tau0) per array; regularized by a slab where ``slab_scale`` is given.

    Carvalho, Polson and Scott (2009); with a slab, Piironen and Vehtari (2017), eq. 2.8, and with ``expected_active`` their eq. 3.12.

    Args:
        tau0: scale of τ; 1 by default.
        expected_active, num_data: p₀ and N, instead of ``tau0``: tau0 = p₀/((p − p₀)√N), p the number of weights (of units).
        per: one λ per index of this axis: per="in" is the horseshoe network, a factor per input unit times a factor per layer (Ghosh,
            Yao and Doshi-Velez, 2018; Louizos, Ullrich and Welling, 2017); ``None`` for one per weight.
        slab_scale, slab_df: c² ~ InvGamma(slab_df/2, slab_df·slab_scale²/2); ``None`` is the plain horseshoe, which NUTS samples badly.
            Give ``ppl.weight(..., scale=sigma)`` for the σ-scaled prior these defaults are made for.

    Raises: ValueError if both or half of the two ways to say the global scale are given.
    """
    if tau0 is not None and expected_active is not None:
        raise ValueError("Horseshoe(tau0=, expected_active=) says the global scale twice: give one of them")
    if (expected_active is None) != (num_data is None):
        raise ValueError("Horseshoe(expected_active=, num_data=) go together: give both, or tau0= alone")
    scale = (
        (1.0 if tau0 is None else tau0) if expected_active is None or num_data is None else ExpectedActive(expected_active, num_data, per)
    )
    slab = None if slab_scale is None else InverseNakagami(slab_df, slab_scale)
    local = HalfCauchy() if per is None else HalfCauchy().per(per)
    return ScaleMixture(local, HalfCauchy(scale).per(LAYER, name="tau"), slab=slab)


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
