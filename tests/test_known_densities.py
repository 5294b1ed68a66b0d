"""Known answers, laws of ξ and of ξ², power means, and closed forms of p(w) against integrals and SciPy."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from densities import WIDE, FromSciPy, density, line, scaled_exp1, without_closed_form
from known_answers import KNOWN
from registry import NOISES
from scipy import integrate, special, stats

from scalemix import closed_form, noise
from scalemix.marginal import log_marginal
from scalemix.moments import Moments
from scalemix.priors import GaussianUniform, Horseshoe, Laplace, ScaleMixture, SmoothLogUniform, StudentT

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


def test_known_laws_of_the_square_a1b_a2b_a3b_a3c() -> None:
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


MOMENTS = {
    "B1": (noise.Rayleigh(0.8), "variance"),
    "B2": (noise.InverseNakagami(7.0, 1 / math.sqrt(2)), "mean"),
    "B3": (noise.InverseNakagami(7.0, 1 / math.sqrt(2)), "second"),
    "B4": (noise.InverseNakagami(7.0, 1 / math.sqrt(2)), "inverse_second_variance"),
    "B5": (noise.Chi(7.0), "inverse_second_variance"),
}


@pytest.mark.parametrize("by_quadrature", [False, True])
@pytest.mark.parametrize("row", MOMENTS)
def test_known_moments(row: str, by_quadrature: bool) -> None:
    law, name = MOMENTS[row]
    moments = Moments.of(lambda power: noise.Noise.power_mean(law, power)) if by_quadrature else law.moments()
    assert getattr(moments, name) == pytest.approx(KNOWN[row].value, rel=1e-8)


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
def test_known_kurtosis_a10(law: noise.Noise, kurtosis: float) -> None:
    assert law.moments().kurtosis == pytest.approx(kurtosis, rel=1e-9)


def test_known_characteristic_function_a5c() -> None:
    t, weight = line(-40.0, 5.0)
    w = np.exp(t)
    value = 2 * np.sum(weight * w * np.cos(1.7 * w) * density(ScaleMixture(noise.Gaussian(1.0, 0.5)), w))
    assert value == pytest.approx(KNOWN["A5c"].value, rel=1e-9)


POSTERIOR_MEANS = {
    "I1": (Laplace(1.0), 1.5),
    "I2": (ScaleMixture(noise.HalfCauchy()), 2.0),
    "I3": (StudentT(3.0), 2.0),
    "I4": (ScaleMixture(noise.Gaussian(0.0, 1.0)), 2.0),
    "I5": (ScaleMixture(noise.Gaussian(1.0, 0.5)), 2.0),
    "I9": (SmoothLogUniform(1e-4, 1e2), 2.0),
    "I10": (GaussianUniform(0.0, 10.0), 2.0),
    "I10b": (GaussianUniform(0.0, 100.0), 2.0),
}


@pytest.mark.parametrize("row", POSTERIOR_MEANS)
def test_known_posterior_mean(row: str) -> None:
    """y ~ N(w, 1): sums over log|w|, both signs."""
    prior, y = POSTERIOR_MEANS[row]
    t, weight = line(-40.0, 5.0)
    w = np.exp(t)
    base = weight * w * density(prior, w)
    right, left = base * stats.norm.pdf(y, w), base * stats.norm.pdf(y, -w)
    total = np.sum(right + left)
    assert np.sum(w * (right - left)) / total == pytest.approx(KNOWN[row].value, rel=1e-8)
    if row == "I1":
        assert np.log(total) == pytest.approx(KNOWN["I1b"].value, rel=1e-8)
    if row == "I2":  # E[w | y] = (1 − E[κ | y]) y, κ = 1/(1 + ξ²)
        assert 1.0 - np.sum(w * (right - left)) / total / y == pytest.approx(KNOWN["I2b"].value, rel=1e-8)
        assert np.sum(w**2 * (right + left)) / total == pytest.approx(KNOWN["I2c"].value, rel=1e-8)


def test_e9_a_half_cauchy_is_the_root_of_a_gamma_times_an_inverse_gamma() -> None:
    """ξ² = Gamma(½, τ²)·InvGamma(½, 1) ⇔ ξ ~ C⁺(0, τ), P(ξ < τ) = ½."""
    tau = 0.7
    gamma, inverse = stats.gamma(0.5, scale=tau**2), stats.invgamma(0.5)
    for v in (0.3 * tau**2, tau**2, 5.0 * tau**2):
        u = np.linspace(-60.0, 60.0, 24001)
        cdf = np.trapezoid(gamma.cdf(v / np.exp(u)) * inverse.pdf(np.exp(u)) * np.exp(u), u)
        assert noise.HalfCauchy(tau).square().cdf(v) == pytest.approx(cdf, rel=1e-8)
    assert noise.HalfCauchy(tau).scipy().cdf(tau) == pytest.approx(0.5)


# --- closed forms ------------------------------------------------------------------------------------------------------------------


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
