"""Densities, atoms and gates against known answers, SciPy's laws, and quadrature of the defining integrals."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, fields
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from known_answers import KNOWN
from registry import NOISES
from scipy import integrate, special, stats

from scalemix import closed_form, noise
from scalemix.marginal import atom, inclusion_prob, log_marginal
from scalemix.moments import Moments
from scalemix.priors import GaussianUniform, Horseshoe, Laplace, Normal, ScaleMixture, SmoothLogUniform, SpikeAndSlab, StudentT

WIDE = np.logspace(-12, 6, 37)


@dataclass(frozen=True)
class FromSciPy(noise.Noise):
    """A noise as somebody else would write it: a SciPy law and nothing more."""

    name: str
    args: tuple[float, ...] = ()
    scale: float = 1.0

    def scipy(self) -> Any:
        return getattr(stats, self.name)(*self.args, scale=self.scale)


def without_closed_form(value: noise.Noise) -> noise.Noise:
    """The same law with its closed form taken away, so that it is integrated."""
    kind = type(value)
    opened = type(f"Opened{kind.__name__}", (kind,), {"log_marginal": lambda self, w, base_scale: None})
    return opened(**{field.name: getattr(value, field.name) for field in fields(value)})


def prior_of(*noises: noise.Noise, base_scale: float = 1.0, slab: noise.Noise | None = None) -> ScaleMixture:
    return ScaleMixture(*(value.per("layer", name=f"n{i}") for i, value in enumerate(noises)), base_scale=base_scale, slab=slab)


def density(prior: ScaleMixture, w: Any) -> Any:
    return np.exp(log_marginal(prior, w))


def two_half_cauchy_density(s: Any, tau: float) -> Any:
    """Density of λτ₀λ′, the scale of a plain horseshoe: 4/(π² τ₀) · log r / (r² − 1), r = s/τ₀."""
    log_r = np.log(s / tau)
    near = np.abs(log_r) < 1e-8
    return 4 / (math.pi**2 * tau) * np.where(near, 0.5, log_r / np.where(near, 1.0, np.expm1(2 * log_r)))


def quad_over_scale(scale_density: Callable[[float], float], w: float) -> float:
    """∫ N(w; 0, s²) p(s) ds over pieces of log s."""
    edges = sorted({-60.0, -20.0, -6.0, -2.0, 0.0, 2.0, 6.0, 20.0, 60.0, *(math.log(w) + np.array([-4.0, -2.0, 0.0, 2.0]))})

    def integrand(t: float) -> float:
        s = math.exp(t)
        return s * scale_density(s) * math.exp(-0.5 * (w / s) ** 2) / (math.sqrt(2 * math.pi) * s) if w / s < 40 else 0.0

    return math.fsum(integrate.quad(integrand, a, b, epsabs=0, epsrel=1e-11, limit=200)[0] for a, b in pairwise(edges))


# --- known answers -----------------------------------------------------------------------------------------------------------------

DENSITY_ROWS = {
    "A1": (ScaleMixture(noise.Rayleigh(0.8), base_scale=1.5), 0.7),
    "A2": (ScaleMixture(noise.InverseNakagami(3.0, 1 / math.sqrt(2)), base_scale=0.7), 0.3),
    "A3": (ScaleMixture(noise.HalfCauchy(1.2), base_scale=0.8), 0.5),
    "A4": (ScaleMixture(noise.Gaussian(0.0, 0.6), base_scale=1.1), 0.4),
    "A5": (ScaleMixture(noise.Gaussian(1.0, 0.5)), 0.5),
    "A6": (ScaleMixture(noise.Uniform(), base_scale=1.3), 0.6),
    "A7": (ScaleMixture(noise.Chi(5.0)), 0.8),
    "A8": (GaussianUniform(0.0, 2.0), 0.5),
    "A8b": (GaussianUniform(0.0, 2.0), 0.0),
    "A9": (SmoothLogUniform(1e-4, 1e2), 0.05),
}


@pytest.mark.parametrize("row", DENSITY_ROWS)
def test_known_density(row: str) -> None:
    prior, w = DENSITY_ROWS[row]
    opened = ScaleMixture(without_closed_form(prior.factors[0].noise), base_scale=prior.base_scale)
    for each in (prior, opened):
        assert density(each, w) == pytest.approx(KNOWN[row].value, rel=1e-9)


def test_known_laws_of_the_square() -> None:
    assert noise.Rayleigh(0.8).square().sf(1.3) == pytest.approx(KNOWN["A1b"].value, rel=1e-9)
    assert noise.InverseNakagami(3.0, 1 / math.sqrt(2)).square().sf(1.0) == pytest.approx(KNOWN["A2b"].value, rel=1e-9)
    assert noise.HalfCauchy(1.2).square().pdf(0.9) == pytest.approx(KNOWN["A3b"].value, rel=1e-9)
    assert noise.HalfCauchy(1.2).square().cdf(0.9) == pytest.approx(KNOWN["A3c"].value, rel=1e-9)


@pytest.mark.parametrize("name", NOISES)
def test_the_square_has_the_law_of_squares(name: str) -> None:
    law = NOISES[name].noise
    if isinstance(law, noise.HardConcrete | noise.Bernoulli | noise.Constant) or law.hyper_laws:
        pytest.skip("atoms, or the law of a product")
    root, square = law.scipy(), law.square()
    v = root.ppf([0.05, 0.3, 0.6, 0.95]) ** 2
    expected = root.cdf(np.sqrt(v)) - (root.cdf(-np.sqrt(v)) if root.support()[0] < 0 else 0.0)
    np.testing.assert_allclose(square.cdf(v), expected, rtol=1e-9)
    np.testing.assert_allclose(
        square.pdf(v), np.gradient(square.cdf(v[:, None] * (1 + 1e-5 * np.array([-1, 0, 1]))), axis=1)[:, 1] / (1e-5 * v), rtol=1e-6
    )


@pytest.mark.parametrize("name", NOISES)
def test_power_means_by_quadrature(name: str) -> None:
    law = NOISES[name].noise
    if isinstance(law, noise.Bernoulli | noise.Constant) or law.hyper_laws:
        pytest.skip("two points, or the law of a product")
    if isinstance(law, noise.RelaxedBernoulli | noise.HardConcrete):
        logit = stats.logistic(law.scipy().loc, law.scipy().scale)
        low, high = (0.0, 1.0) if isinstance(law, noise.RelaxedBernoulli) else (law.low, law.high)
        ends = [-40.0, *(float(law.scipy().logit(end)) for end in (0.0, 1.0) if low < 0), 40.0]
        for power in (1, 2, 4):
            squashed = lambda x, power=power: np.clip(special.expit(x) * (high - low) + low, 0.0, 1.0) ** power * logit.pdf(x)  # noqa: E731
            expected = math.fsum(integrate.quad(squashed, a, b, epsabs=0, epsrel=1e-10)[0] for a, b in pairwise(ends))
            assert law.power_mean(power) == pytest.approx(expected, rel=1e-8), power
        return
    for power in (1, 2, 4, -2, -4):
        assert law.power_mean(power) == pytest.approx(noise.Noise.power_mean(law, power), rel=1e-7), power


@pytest.mark.parametrize("by_quadrature", [False, True])
def test_known_moments(by_quadrature: bool) -> None:
    def moments(value: noise.Noise) -> Moments:
        return Moments.of(lambda power: noise.Noise.power_mean(value, power)) if by_quadrature else value.moments()

    inverse_nakagami = moments(noise.InverseNakagami(7.0, 1 / math.sqrt(2)))
    assert moments(noise.Rayleigh(0.8)).variance == pytest.approx(KNOWN["B1"].value, rel=1e-9)
    assert inverse_nakagami.mean == pytest.approx(KNOWN["B2"].value, rel=1e-9)
    assert inverse_nakagami.second == pytest.approx(KNOWN["B3"].value, rel=1e-9)
    assert inverse_nakagami.inverse_second_variance == pytest.approx(KNOWN["B4"].value, rel=1e-9)
    assert moments(noise.Chi(7.0)).inverse_second_variance == pytest.approx(KNOWN["B5"].value, rel=1e-8)


@pytest.mark.parametrize(
    ("law", "kurtosis"),
    [
        (noise.Rayleigh(), 6.0),
        (noise.Gaussian(0.0, 0.6), 9.0),
        (noise.Uniform(), 5.4),
        (noise.Gaussian(1.0, math.sqrt(0.5)), 6.333333333),
        (noise.Bernoulli(0.2), 15.0),
    ],
    ids=str,
)
def test_known_kurtosis(law: noise.Noise, kurtosis: float) -> None:
    """Row A10."""
    assert law.moments().kurtosis == pytest.approx(kurtosis, rel=1e-9)


def test_known_characteristic_function() -> None:
    t, weight = line(-40.0, 5.0)
    w = np.exp(t)
    value = 2 * np.sum(weight * w * np.cos(1.7 * w) * density(ScaleMixture(noise.Gaussian(1.0, 0.5)), w))
    assert value == pytest.approx(KNOWN["A5c"].value, rel=1e-9)


# --- closed forms ------------------------------------------------------------------------------------------------------------------


def scaled_exp1(u: float) -> float:
    """eᵘ E₁(u) = ∫₀^∞ e^{−ux}/(1 + x) dx, over x = eᵗ."""
    low, high = min(0.0, -math.log(u)) - 40.0, math.log(50 / u)
    edges = np.linspace(low, high, math.ceil((high - low) / 4) + 1)

    def integrand(t: float) -> float:
        return math.exp(-u * math.exp(t)) / (1 + math.exp(-t))

    return math.fsum(integrate.quad(integrand, a, b, epsabs=0, epsrel=1e-13)[0] for a, b in pairwise(edges))


def scaled_bessel(z: float) -> float:
    """eᶻ K₀(z) = ∫₀^∞ e^{−z (cosh t − 1)} dt."""
    high = math.acosh(1 + 50 / z) if z < 1e12 else 10 / math.sqrt(z)
    edges = np.linspace(0.0, high, math.ceil(high / 2) + 4)
    return math.fsum(
        integrate.quad(lambda t: math.exp(-2 * z * math.sinh(t / 2) ** 2), a, b, epsabs=0, epsrel=1e-13)[0] for a, b in pairwise(edges)
    )


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_closed_densities_against_integrals_and_scipy(scale: float) -> None:
    z = WIDE / scale
    exp1 = np.array([math.log(scaled_exp1(0.5 * each**2)) for each in z])
    bessel = np.array([math.log(scaled_bessel(each)) - each for each in z])
    np.testing.assert_allclose(
        closed_form.horseshoe(WIDE, scale), exp1 - 0.5 * np.log(2 * np.pi**3) - np.log(scale), rtol=1e-11, atol=1e-11
    )
    np.testing.assert_allclose(closed_form.product_normal(WIDE, scale), bessel - np.log(np.pi * scale), rtol=1e-11, atol=1e-11)
    np.testing.assert_allclose(closed_form.normal(WIDE, scale), stats.norm(scale=scale).logpdf(WIDE), rtol=1e-13)
    np.testing.assert_allclose(closed_form.laplace(WIDE, scale), -z - math.log(2 * scale), rtol=1e-13)
    for df in (0.3, 3.0, 400.0):
        np.testing.assert_allclose(closed_form.student_t(WIDE, df, scale), stats.t(df, scale=scale).logpdf(WIDE), rtol=1e-11)


def test_poles_and_atoms_at_zero() -> None:
    at_zero = [closed_form.horseshoe(0.0, 2.0), closed_form.product_normal([0.0], 2.0)[0], log_marginal(Horseshoe(), 0.0)]
    assert all(value == math.inf for value in at_zero)
    slab = stats.norm(scale=2.0).logpdf(0.3) + math.log(0.25)
    assert closed_form.two_normals(0.3, 0.25, 0.0, 2.0) == pytest.approx(slab)
    assert closed_form.two_normals(0.3, 0.0, 0.0, 2.0) == -math.inf
    both = 0.25 * stats.norm(scale=2.0).pdf(0.3) + 0.75 * stats.norm(scale=0.1).pdf(0.3)
    assert closed_form.two_normals(0.3, 0.25, 0.1, 2.0) == pytest.approx(math.log(both))


def test_inverse_nakagami_law() -> None:
    law, square = noise.InverseNakagami(5.0, 0.7).scipy(), stats.invgamma(2.5, scale=2.5 * 0.49)
    x = np.array([0.05, 0.3, 0.7, 2.0, 50.0])
    np.testing.assert_allclose(law.pdf(x), square.pdf(x**2) * 2 * x, rtol=1e-12)
    np.testing.assert_allclose(law.cdf(x), square.cdf(x**2), rtol=1e-12)
    np.testing.assert_allclose(law.sf(x), square.sf(x**2), rtol=1e-12)
    np.testing.assert_allclose(law.ppf(law.cdf(x[1:4])), x[1:4], rtol=1e-9)
    np.testing.assert_allclose(law.isf(law.sf(x[1:])), x[1:], rtol=1e-9)
    assert (law.ppf(0.0), law.ppf(1.0), law.pdf(0.0), law.pdf(-1.0), law.cdf(-1.0), law.sf(math.inf)) == (0.0, math.inf, 0.0, 0.0, 0.0, 0.0)
    assert stats.kstest(law.rvs(size=4000, random_state=1), law.cdf).pvalue > 1e-4


def test_moments_where_infinite_or_undefined() -> None:
    for value in (noise.Rayleigh(), noise.HalfCauchy(), noise.Gaussian(1.0, 0.5), noise.Bernoulli(0.3)):
        assert value.moments().inverse_second == math.inf
        assert math.isnan(value.moments().inverse_second_variance)
    for moments in (noise.HalfCauchy().moments(), FromSciPy("halfcauchy").moments(), noise.InverseNakagami(1.0).moments()):
        assert (moments.mean, moments.second, moments.variance) == (math.inf, math.inf, math.inf)
    gate = noise.Bernoulli(0.25, low=0.5, high=2.0).moments()
    outcomes = stats.rv_discrete(values=([0, 1], [0.75, 0.25]))
    xi = lambda k: np.where(np.asarray(k) == 1, 2.0, 0.5)  # noqa: E731
    inverse = outcomes.expect(lambda k: xi(k) ** -2)
    assert gate.mean == pytest.approx(outcomes.expect(xi))
    assert gate.variance == pytest.approx(outcomes.expect(lambda k: xi(k) ** 2) - outcomes.expect(xi) ** 2)
    assert gate.inverse_second_variance == pytest.approx(outcomes.expect(lambda k: xi(k) ** -4) - inverse**2)
    assert noise.Bernoulli(1.0, high=2.0).moments().inverse_second == 0.25
    constant = noise.Constant(2.0).moments()
    assert (constant.second, constant.variance, constant.inverse_second, constant.inverse_second_variance) == (4.0, 0.0, 0.25, 0.0)


# --- quadrature --------------------------------------------------------------------------------------------------------------------

CLOSED = [
    noise.Rayleigh(0.8),
    noise.InverseNakagami(0.5, 0.7),
    noise.InverseNakagami(3.0, 0.7),
    noise.InverseNakagami(500.0, 0.7),
    noise.HalfCauchy(1.2),
    noise.Gaussian(0.0, 0.6),
    noise.HalfNormal(0.6),
    noise.Chi(0.5, 0.7),
    noise.Chi(1.0, 0.7),
    noise.Chi(5.0, 0.7),
    noise.Uniform(0.0, 1.5),
    noise.Uniform(0.2, 1.5),
    noise.UniformVariance(0.0, 2.0),
    noise.UniformVariance(0.5, 2.0),
    noise.LogUniform(1e-2, 10.0),
    noise.LogUniform.structured_pruning(),
]


@pytest.mark.parametrize("base_scale", [1e-6, 1.0, 1e6])
@pytest.mark.parametrize("law", CLOSED, ids=str)
def test_quadrature_is_the_closed_form(law: noise.Noise, base_scale: float) -> None:
    w = np.concatenate([[0.0], WIDE, -WIDE[:3]])
    expected = log_marginal(ScaleMixture(law, base_scale=base_scale), w)
    hard_ends = isinstance(law, noise.Uniform | noise.UniformVariance | noise.LogUniform)
    tolerance = 2e-9 if hard_ends else 1e-11  # a panel that begins at a jump is found by bisection
    quadrature = log_marginal(ScaleMixture(without_closed_form(law), base_scale=base_scale), w)
    np.testing.assert_allclose(quadrature, expected, rtol=tolerance, atol=tolerance)


def test_gaussian_noise_against_the_defining_integral() -> None:
    for loc, scale in ((1.0, 0.5), (1.0, 0.1), (-3.0, 2.0)):

        def folded(s: float, loc: float = loc, scale: float = scale) -> float:
            bells = math.exp(-0.5 * ((s - loc) / scale) ** 2) + math.exp(-0.5 * ((s + loc) / scale) ** 2)
            return bells / (math.sqrt(2 * math.pi) * scale)

        for w in (1e-3, 0.5, 4.0):
            assert density(ScaleMixture(noise.Gaussian(loc, scale)), w) == pytest.approx(quad_over_scale(folded, w), rel=1e-9)


def test_constant_factors_and_fixed_slab_only_rescale() -> None:
    w = [0.0, 0.3, -2.0]
    np.testing.assert_allclose(log_marginal(prior_of(noise.Constant(3.0), noise.Rayleigh(0.5)), w), stats.laplace(scale=1.5).logpdf(w))
    np.testing.assert_allclose(log_marginal(ScaleMixture(base_scale=2.0), w), stats.norm(scale=2.0).logpdf(w))
    fixed = ScaleMixture(noise.Constant(3.0), slab=noise.Constant(4.0))  # 3·4/√(9 + 16)
    np.testing.assert_allclose(log_marginal(fixed, w), stats.norm(scale=2.4).logpdf(w))


def test_slab_against_the_defining_integral() -> None:
    square_slab = stats.invgamma(2.0, scale=8.0)  # c² of a slab of df 4, scale 2
    fixed = ScaleMixture(noise.Rayleigh(), slab=noise.Constant(4.0))
    random = ScaleMixture(noise.Constant(3.0), slab=noise.InverseNakagami(4.0, 2.0))
    for w in (0.3, 2.0):

        def with_fixed_slab(s: float, w: float = w) -> float:
            return stats.rayleigh.pdf(s) * stats.norm.pdf(w, scale=4 * s / math.hypot(4, s))

        def with_fixed_scale(c2: float, w: float = w) -> float:
            return square_slab.pdf(c2) * stats.norm.pdf(w, scale=math.sqrt(9 * c2 / (9 + c2)))

        assert density(fixed, w) == pytest.approx(integrate.quad(with_fixed_slab, 0, 12, points=[0.5, 2, 5])[0], rel=1e-8)
        assert density(random, w) == pytest.approx(integrate.quad(with_fixed_scale, 0, np.inf, limit=400)[0], rel=1e-7)


def test_horseshoe_with_a_global_scale() -> None:
    tau = 0.3
    w = np.array([1e-6, 1e-2, 0.5, 3.0, 100.0])
    expected = [quad_over_scale(lambda s: float(two_half_cauchy_density(s, tau)), each) for each in w]
    np.testing.assert_allclose(density(Horseshoe(tau), w), expected, rtol=1e-8)
    tabulated = prior_of(without_closed_form(noise.HalfCauchy()), without_closed_form(noise.HalfCauchy(tau)))
    np.testing.assert_allclose(density(tabulated, w), expected, rtol=1e-8)
    np.testing.assert_allclose(log_marginal(tabulated, WIDE), log_marginal(Horseshoe(tau), WIDE), rtol=1e-10, atol=1e-10)


def test_rayleigh_times_half_cauchy() -> None:
    prior = prior_of(noise.Rayleigh(0.5), noise.HalfCauchy(2.0))
    for w in (1e-3, 0.4, 30.0):
        tau = lambda t, w=w: stats.halfcauchy.pdf(math.exp(t), scale=2.0) * math.exp(t) * stats.laplace.pdf(w, scale=0.5 * math.exp(t))  # noqa: E731
        expected = math.fsum(integrate.quad(tau, a, a + 5, epsabs=0, epsrel=1e-11)[0] for a in range(-25, 40, 5))
        assert density(prior, w) == pytest.approx(expected, rel=1e-8)


def test_three_noises_do_not_depend_on_their_order() -> None:
    a, b, c = noise.HalfCauchy(0.3), noise.Rayleigh(2.0), noise.Gaussian(1.0, 0.4)
    w = np.logspace(-4, 3, 8)
    first, second = (log_marginal(prior_of(*noises), w) for noises in ((a, b, c), (c, without_closed_form(b), without_closed_form(a))))
    np.testing.assert_allclose(first, second, rtol=1e-9, atol=1e-9)


def test_regularized_horseshoe() -> None:
    tau, df, slab_scale = 0.3, 4.0, 2.0
    x, z = np.arange(-60.0, 60.0, 0.05)[:, None], np.arange(-4.0, 16.0, 0.04)[None, :]  # log s, log c: the trapezoid rule in both
    s2, c2 = np.exp(2 * x), np.exp(2 * z)
    law = two_half_cauchy_density(np.exp(x), tau) * np.exp(x) * stats.invgamma(df / 2, scale=df * slab_scale**2 / 2).pdf(c2) * 2 * c2
    scale = np.sqrt(s2 * c2 / (s2 + c2))
    w = np.array([1e-3, 0.5, 3.0, 10.0, 100.0])
    expected = [0.05 * 0.04 * np.sum(law * stats.norm.pdf(each, scale=scale)) for each in w]
    np.testing.assert_allclose(density(Horseshoe(tau, slab_scale=slab_scale, slab_df=df), w), expected, rtol=1e-8)


def test_noise_with_a_hard_end() -> None:
    for w in (1e-9, 0.3, 20.0):  # E₁(w²/2)/(2√(2π)), as in row A6
        expected = math.log(scaled_exp1(0.5 * w**2)) - 0.5 * w**2 - math.log(2 * math.sqrt(2 * math.pi))
        assert log_marginal(ScaleMixture(FromSciPy("uniform")), w) == pytest.approx(expected, rel=1e-10, abs=1e-10)


# --- a density is a density --------------------------------------------------------------------------------------------------------


def line(low: float, high: float) -> tuple[Any, Any]:
    """Gauss-Legendre nodes and weights, 14 for each e-fold of t = log|w|."""
    x, weight = np.polynomial.legendre.leggauss(14)
    edges = np.linspace(low, high, math.ceil(high - low) + 1)
    half = 0.5 * np.diff(edges)[:, None]
    return (edges[:-1, None] + half * (x + 1)).ravel(), (half * weight).ravel()


SHAPES = {
    "laplace": Laplace(2.0),
    "student": StudentT(3.0, 0.5),
    "horseshoe": prior_of(noise.HalfCauchy(0.4)),
    "dropout": ScaleMixture(noise.Gaussian(1.0, 0.5)),
    "narrow dropout": ScaleMixture(noise.Gaussian(1.0, 0.01)),
    "point spike": SpikeAndSlab(0.3, 2.0),
    "continuous spike": SpikeAndSlab(0.3, 1.0, 1e-3),
    "gated horseshoe": prior_of(noise.Bernoulli(0.3), noise.HalfCauchy()),
    "global horseshoe": Horseshoe(0.1),
    "regularized horseshoe": Horseshoe(0.1, slab_scale=2.0),
    "regularized, scales far apart": Horseshoe(1e-6, slab_scale=1e6),
    "gated, regularized": ScaleMixture(noise.Bernoulli(0.3), noise.HalfCauchy().per("in"), slab=noise.InverseNakagami(4.0, 2.0)),
    "two": prior_of(noise.Rayleigh(1e6), noise.HalfCauchy(1e-6)),
}


@pytest.mark.parametrize("name", SHAPES)
def test_density_integrates_to_one_minus_the_atom_and_falls(name: str) -> None:
    prior = SHAPES[name]
    t, weight = line(-48.0, 48.0)
    value = log_marginal(prior, np.exp(t))
    assert not np.any(np.isnan(value))
    assert 2 * np.sum(weight * np.exp(t + value)) == pytest.approx(1.0 - atom(prior), rel=1e-9)
    wide = log_marginal(prior, WIDE)
    assert np.all(np.isfinite(wide))
    assert np.all(np.diff(wide) <= 1e-10)


def test_asymptotes() -> None:
    tau = 0.4
    small, large = 1e-12, 1e6
    simple = prior_of(noise.HalfCauchy(tau))
    pole = (math.log(2) - np.euler_gamma - 2 * math.log(small / tau)) / (math.sqrt(2 * math.pi**3) * tau)
    assert density(simple, small) == pytest.approx(pole, rel=1e-12)
    assert density(simple, large) * large**2 == pytest.approx(2 * tau / math.sqrt(2 * math.pi**3), rel=1e-9)
    slope = np.diff(log_marginal(simple, [large, 10 * large]))[0] / math.log(10)
    assert slope == pytest.approx(-2.0, abs=1e-9)
    # regularized: P(s̃ > x) falls like P(s > x) P(c > x) = x⁻¹ x⁻⁴ up to a logarithm, and so p(w) like w⁻⁶ log w
    prior = ScaleMixture(noise.HalfCauchy(tau), slab=noise.InverseNakagami(4.0, 2.0))
    assert np.diff(log_marginal(prior, [large, 10 * large]))[0] / math.log(10) == pytest.approx(-6.0, abs=1e-3)


def test_shapes_zero_and_missing_values() -> None:
    for prior in (Laplace(), Horseshoe(), ScaleMixture(noise.Gaussian())):
        assert log_marginal(prior, 0.5).shape == ()
        assert log_marginal(prior, np.full((2, 0, 3), 0.5)).shape == (2, 0, 3)
        value = log_marginal(prior, [[np.nan, np.inf], [-np.inf, 0.5]])
        assert value.shape == (2, 2)
        assert np.isnan(value[0, 0])
        assert value[0, 1] == value[1, 0] == -np.inf
    # no pole: the value at 0 is E[1/s]/√(2π), and E[1/ξ] of Rayleigh and of Student-t noise are √(π/2)/b and √(2/df) Γ(2)/Γ(3/2)/scale
    at_zero = math.sqrt(math.pi / 2) * math.sqrt(2 / 3) * math.gamma(2.0) / math.gamma(1.5) / math.sqrt(2 * math.pi)
    assert density(prior_of(noise.Rayleigh(), noise.InverseNakagami(3.0)), 0.0) == pytest.approx(at_zero, rel=1e-10)


# --- gates -------------------------------------------------------------------------------------------------------------------------


def test_atom() -> None:
    assert atom(Horseshoe()) == 0.0
    assert atom(SpikeAndSlab(0.3)) == pytest.approx(0.7)
    assert atom(SpikeAndSlab(0.3, 1.0, 0.1)) == 0.0
    assert atom(prior_of(noise.Bernoulli(0.3), noise.Bernoulli(0.5), noise.HalfCauchy())) == pytest.approx(0.85)


def test_known_inclusion_probabilities() -> None:
    gate = noise.Bernoulli(0.5, low=1.0, high=math.sqrt(2.0))
    assert inclusion_prob(ScaleMixture(gate), 2.0) == pytest.approx(KNOWN["I6"].value, rel=1e-9)
    tied = inclusion_prob(ScaleMixture(gate.per("layer")), [1.0, -0.5, 2.0], axes=("in",))
    assert tied.shape == ()
    assert tied == pytest.approx(KNOWN["I14"].value, rel=1e-9)


def test_tied_gates_pool_their_weights() -> None:
    w = np.random.default_rng(3).normal(scale=0.2, size=(4, 5, 3, 2))  # chain, draw, in, out
    for axes, per, kept in ((("in", "out"), ("in",), (2,)), (("in", "out"), ("out",), (3,)), (("in", "out"), ("layer",), ())):
        prior = ScaleMixture(noise.Bernoulli(0.3, low=0.1).per(*per), base_scale=0.5)
        pooled = tuple(axis for axis in (2, 3) if axis not in kept)
        slab, spike = (stats.norm(scale=scale).logpdf(w).sum(axis=pooled) for scale in (0.5, 0.05))
        expected = 0.3 / (0.3 + 0.7 * np.exp(spike - slab))
        np.testing.assert_allclose(inclusion_prob(prior, w, axes), expected, rtol=1e-12)
    assert inclusion_prob(SpikeAndSlab(0.3, 1.0, 0.05), w).shape == w.shape
    beside_a_noise = ScaleMixture(noise.Bernoulli(0.3, low=0.1), noise.Rayleigh().per("in"))
    slab, spike = (stats.laplace(scale=scale).pdf(w[0, 0, :, 0]) for scale in (1.0, 0.1))
    np.testing.assert_allclose(inclusion_prob(beside_a_noise, w[0, 0, :, 0], ("in",)), 0.3 * slab / (0.3 * slab + 0.7 * spike), rtol=1e-10)


def test_point_spike_shows_its_gate() -> None:
    w = np.array([[0.0, 0.0], [0.0, 1e-9]])
    np.testing.assert_array_equal(inclusion_prob(SpikeAndSlab(0.3), w), w != 0)
    np.testing.assert_array_equal(inclusion_prob(ScaleMixture(noise.Bernoulli(0.3).per("in")), w, ("in", "out")), [0.0, 1.0])


def test_extreme_weights_settle_the_gate() -> None:
    np.testing.assert_array_equal(inclusion_prob(SpikeAndSlab(0.3, 1.0, 1e-6), [1e6, -1e3]), 1.0)
    assert 0 < inclusion_prob(SpikeAndSlab(0.3, 1.0, 1e-6), 0.0) < 1e-6
    beside_a_pole = ScaleMixture(noise.Bernoulli(0.5, low=0.05), noise.HalfCauchy().per("in"))
    assert inclusion_prob(beside_a_pole, [0.0], ("in",))[0] == pytest.approx(1 / 21, rel=0.02)


# --- refusals ----------------------------------------------------------------------------------------------------------------------


def test_refusals() -> None:
    unresolved = Horseshoe(expected_active=3, num_data=100)
    for call in (lambda: log_marginal(unresolved, 0.1), lambda: atom(unresolved), lambda: inclusion_prob(unresolved, 0.1)):
        with pytest.raises(ValueError, match=r"prior\.resolve\(num_weights\)"):
            call()
    assert np.isfinite(log_marginal(unresolved.resolve(50), 0.1))
    with pytest.raises(TypeError, match="ScaleMixture"):
        log_marginal(noise.Rayleigh(), 0.1)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="one Bernoulli factor"):
        inclusion_prob(Normal(), 0.1)
    with pytest.raises(ValueError, match="give axes="):
        inclusion_prob(ScaleMixture(noise.Bernoulli(0.5, low=0.1).per("in")), [0.1])
    with pytest.raises(ValueError, match="fewer axes"):
        inclusion_prob(ScaleMixture(noise.Bernoulli(0.5, low=0.1).per("in")), [0.1], ("in", "out"))
    with pytest.raises(ValueError, match="several weights share"):
        inclusion_prob(ScaleMixture(noise.Bernoulli(0.5, low=0.1), noise.HalfCauchy().per("layer")), [0.1], ("in",))

    @dataclass(frozen=True)
    class Lawless(noise.Noise):
        pass

    with pytest.raises(TypeError, match="scipy"):
        log_marginal(ScaleMixture(Lawless()), 0.1)
