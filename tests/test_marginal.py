"""p(w) by quadrature against the defining integrals, its asymptotes and atoms, and which gate a weight came from."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pytest
from densities import WIDE, FromSciPy, density, line, prior_of, quad_over_scale, scaled_exp1, two_half_cauchy_density, without_closed_form
from known_answers import KNOWN
from scipy import integrate, stats

from scalemix import noise
from scalemix.marginal import atom, inclusion_prob, log_marginal
from scalemix.priors import Horseshoe, Laplace, Normal, ScaleMixture, SpikeAndSlab, StudentT

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
