"""Effects, shrinkage factors and elicitation against SciPy's laws, closed forms, and enumeration."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import integrate, stats

import scalemix as sm
from scalemix import noise
from scalemix.noise_nodes import noise_nodes, product_nodes

SIZES = np.array([0.0, 1e-9, 1e-3, 0.1, 1.0, 10.0, 1e3])
LEVELS = np.array([1e-6, 0.01, 0.5, 0.95, 0.9999])
FAMILIES = {
    "normal": (sm.Normal(0.7), stats.norm(scale=0.7)),
    "laplace": (sm.Laplace(2.0), stats.laplace(scale=2.0)),
    "student_t": (sm.StudentT(3.0, 0.5), stats.t(3.0, scale=0.5)),
    "cauchy": (sm.StudentT(1.0, 20.0), stats.cauchy(scale=20.0)),
}


@pytest.mark.parametrize("family", FAMILIES)
def test_effects_against_scipy(family: str) -> None:
    prior, law = FAMILIES[family]
    np.testing.assert_allclose(sm.effect_cdf(prior, SIZES), 1.0 - 2.0 * law.sf(SIZES), atol=1e-12)
    np.testing.assert_allclose(sm.effect_quantile(prior, LEVELS), law.isf(0.5 * (1.0 - LEVELS)), rtol=1e-9)
    assert sm.effect_sd(prior) == pytest.approx(law.std() if math.isfinite(law.std()) else math.inf)


def test_effects_of_an_atom() -> None:
    prior = sm.SpikeAndSlab(0.3, 2.0)
    np.testing.assert_allclose(sm.effect_cdf(prior, [-1.0, 0.0, 2.0, math.inf]), [0.0, 0.7, 0.7 + 0.3 * 0.6826894921370859, 1.0])
    np.testing.assert_allclose(sm.effect_quantile(prior, [0.0, 0.5, 0.8, 1.0]), [0.0, 0.0, 2.0 * stats.norm.isf(1 / 3), math.inf])
    assert np.isnan(sm.effect_cdf(prior, math.nan))


def test_effects_of_a_pole_and_a_heavy_tail() -> None:
    """P(|w| ≤ x) = E[erf(x/(√2 ξ))] over ξ ~ C⁺(0, 1)."""
    prior = sm.ScaleMixture(noise.HalfCauchy())
    for x in (1e-6, 0.3, 50.0):
        expected = integrate.quad(lambda a, x=x: 2 / math.pi * math.erf(x / (math.sqrt(2) * math.tan(a))), 0, math.pi / 2, limit=400)[0]
        assert sm.effect_cdf(prior, x) == pytest.approx(expected, rel=1e-7)
        assert sm.effect_quantile(prior, float(sm.effect_cdf(prior, x))) == pytest.approx(x, rel=1e-9)


def test_sd_with_a_slab_against_draws() -> None:
    prior = sm.Horseshoe(0.5, slab_scale=2.0, slab_df=12.0)
    kappa = sm.shrinkage_factor(prior, num_draws=200_000, seed=3)
    square = 1.0 / kappa - 1.0
    assert abs(sm.effect_sd(prior) ** 2 - square.mean()) < 4 * square.std() / math.sqrt(square.size)
    assert sm.effect_sd(sm.Horseshoe(0.5, slab_scale=2.0, slab_df=0.5)) == math.inf  # P(s > x) P(c > x) falls like x⁻¹·⁵


def test_shrinkage_factor_of_the_horseshoe_is_beta() -> None:
    prior = sm.ScaleMixture(noise.HalfCauchy(0.2), base_scale=0.5)  # N σ₀² scale² / σ² = 1 for N = 900, σ = 3
    kappa = sm.shrinkage_factor(prior, 20, num_draws=500, seed=1, num_data=900, noise_scale=3.0)
    assert kappa.shape == (500, 20)
    assert stats.kstest(kappa.ravel(), stats.beta(0.5, 0.5).cdf).pvalue > 1e-3


def test_shrinkage_factor_of_constants_gates_and_a_slab() -> None:
    np.testing.assert_allclose(sm.shrinkage_factor(sm.Normal(2.0), num_draws=3, seed=0, num_data=4), np.full(3, 1 / 17))
    gates = sm.shrinkage_factor(sm.SpikeAndSlab(0.25, 2.0), 10, num_draws=2000, seed=0)
    assert set(np.unique(gates)) == {0.2, 1.0}
    assert abs(np.mean(gates == 0.2) - 0.25) < 4 * math.sqrt(0.25 * 0.75 / gates.size)
    bounded = sm.ScaleMixture(noise.Constant(3.0), slab=noise.Constant(4.0))  # 3·4/√(9 + 16)
    np.testing.assert_allclose(sm.shrinkage_factor(bounded, num_draws=2, seed=0), 1 / (1 + 2.4**2))


def test_tied_weights_share_their_shrinkage() -> None:
    rows = sm.shrinkage_factor(sm.ScaleMixture(noise.Rayleigh().per("in")), (3, 4), num_draws=5, seed=2)
    assert rows.shape == (5, 3, 4)
    assert np.all(rows == rows[..., :1]) and len(np.unique(rows)) == 15
    layer = sm.shrinkage_factor(sm.ScaleMixture(noise.Rayleigh().per("layer")), (3, 4), num_draws=5, seed=2)
    assert len(np.unique(layer)) == 5


def test_learned_hyper_parameters_are_drawn_with_their_tying() -> None:
    """π ~ Beta(1, 1) for the whole array: the number of gates that are on is uniform on 0, …, 10, not binomial."""
    prior = sm.SpikeAndSlab(noise.Beta(1.0, 1.0).per("layer"))
    on = np.sum(sm.shrinkage_factor(prior, 10, num_draws=11_000, seed=6) < 1, axis=1)
    assert stats.chisquare(np.bincount(on, minlength=11)).pvalue > 1e-3
    scaled = sm.ScaleMixture(noise.Rayleigh(noise.HalfCauchy(0.5).per("layer")).per("in"))
    square = 1 / sm.shrinkage_factor(scaled, (3, 2), num_draws=20_000, seed=7) - 1
    assert np.all(square[..., 0] == square[..., 1])
    ratio = square[:, 0, 0] / square[:, 1, 0]  # the shared scale cancels: a ratio of two exponentials
    assert stats.kstest(ratio, stats.f(2, 2).cdf).pvalue > 1e-3
    elicited = sm.elicit_active(scaled, expected_active=5, num_weights=50, num_data=100)
    found = sm.num_effective(elicited, 50, num_draws=20_000, seed=8, num_data=100)
    assert abs(found.mean() - 5) < 4 * found.std() / math.sqrt(found.size)


def test_hard_gates_have_their_share_at_both_ends() -> None:
    prior = sm.elicit_active(sm.ScaleMixture(noise.HardConcrete(), base_scale=3.0), expected_active=5, num_weights=50, num_data=100)
    found = sm.num_effective(prior, 50, num_draws=20_000, seed=9, num_data=100)
    assert abs(found.mean() - 5) < 4 * found.std() / math.sqrt(found.size)


def test_effective_number_of_weights() -> None:
    """E[1 − κ] = τ√N/(1 + τ√N) given τ (Piironen and Vehtari, section 3.3)."""
    tau = 0.05
    prior = sm.ScaleMixture(noise.HalfCauchy(tau))
    found = sm.num_effective(prior, 50, num_draws=4000, seed=4, num_data=100)
    assert found.shape == (4000,)
    assert abs(found.mean() - 50 * 0.5 / 1.5) < 4 * found.std() / math.sqrt(4000)


def test_elicited_scale() -> None:
    assert sm.elicit_scale(sm.Laplace(3.0), below=0.5).base_scale == pytest.approx(0.5 / -math.log(0.05), rel=1e-10)
    assert sm.elicit_scale(sm.StudentT(3.0), below=0.5).base_scale == pytest.approx(0.5 / stats.t.ppf(0.975, 3.0), rel=1e-10)
    assert sm.elicit_scale(sm.Normal(), below=2.0, probability=0.5).base_scale == pytest.approx(2.0 / stats.norm.ppf(0.75), rel=1e-10)
    for prior in (sm.Horseshoe(0.1), sm.SpikeAndSlab(0.3, 1.0, 0.05), sm.SpikeAndSlab(0.3), sm.Horseshoe(slab_scale=2.0)):
        elicited = sm.elicit_scale(prior, below=0.5, probability=0.9)
        assert sm.effect_cdf(elicited, 0.5) == pytest.approx(0.9, rel=1e-9)
        assert elicited.factors == prior.factors and elicited.slab == prior.slab


def test_elicited_number_of_weights() -> None:
    """5 of 50 among 100 cases: tau0 = 5/(45·10), the gate 0.1, and E[1 − κ] = 0.1 for whatever has neither."""
    settings = {"expected_active": 5, "num_weights": 50, "num_data": 100}
    tau0 = 5 / (45 * 10)
    assert sm.elicit_active(sm.Horseshoe(), **settings) == sm.Horseshoe(tau0)
    assert sm.elicit_active(sm.Horseshoe(), noise_scale=3.0, **settings) == sm.Horseshoe(3 * tau0)
    assert sm.elicit_active(sm.Horseshoe(), **settings) == sm.Horseshoe(expected_active=5, num_data=100).resolve(50)
    assert sm.elicit_active(sm.SpikeAndSlab(0.5, 2.0), **settings) == sm.SpikeAndSlab(0.1, 2.0)
    assert sm.elicit_active(sm.Normal(7.0), **settings).base_scale == pytest.approx(math.sqrt(1 / 9) / 10, rel=1e-9)
    untied = sm.elicit_active(sm.ScaleMixture(noise.HalfCauchy()), **settings)
    assert untied.base_scale == pytest.approx(tau0, rel=1e-9)
    laplace = sm.elicit_active(sm.Laplace(), noise_scale=2.0, **settings).base_scale
    share = integrate.quad(lambda v: math.exp(-v) * 2 * v * laplace**2 * 25 / (1 + 2 * v * laplace**2 * 25), 0, 60)[0]  # ξ² = 2v
    assert share == pytest.approx(0.1, rel=1e-8)
    two = sm.ScaleMixture(noise.Rayleigh(), noise.InverseNakagami(5.0).per("layer"), slab=noise.InverseNakagami(4.0, 2.0))
    found = sm.num_effective(sm.elicit_active(two, **settings), 50, num_draws=20_000, seed=5, num_data=100)
    assert abs(found.mean() - 5) < 4 * found.std() / math.sqrt(found.size)


def test_nodes_are_a_law() -> None:
    for law in (noise.Rayleigh(0.8), noise.InverseNakagami(9.0, 0.7), noise.Gaussian(1.0, 0.3)):
        xi, prob = noise_nodes(law)
        assert prob.sum() == pytest.approx(1.0, rel=1e-13)
        assert prob @ xi == pytest.approx(law.moments().mean, rel=1e-12)
        assert prob @ xi**2 == pytest.approx(law.moments().second, rel=1e-12)
    xi, prob = product_nodes([noise.Bernoulli(0.3, high=2.0), noise.Constant(3.0), noise.Rayleigh(0.8)])
    assert prob @ np.prod(xi, axis=1) == pytest.approx(0.6 * 3.0 * noise.Rayleigh(0.8).moments().mean, rel=1e-12)
    xi, prob = product_nodes([noise.Rayleigh(0.8)] * 3)
    assert prob @ np.prod(xi, axis=1) == pytest.approx(noise.Rayleigh(0.8).moments().mean ** 3, rel=1e-7)


def test_refusals() -> None:
    unresolved = sm.Horseshoe(expected_active=3, num_data=100)
    for call in (lambda: sm.effect_cdf(unresolved, 0.1), lambda: sm.effect_sd(unresolved), lambda: sm.elicit_scale(unresolved, below=1.0)):
        with pytest.raises(ValueError, match=r"prior\.resolve\(num_weights\)"):
            call()
    with pytest.raises(ValueError, match="atom at 0 has the probability"):
        sm.elicit_scale(sm.SpikeAndSlab(0.05), below=0.5, probability=0.9)
    with pytest.raises(ValueError, match="below"):
        sm.elicit_scale(sm.Laplace(), below=-1.0)
    with pytest.raises(ValueError, match="from 0 to 1"):
        sm.effect_quantile(sm.Laplace(), 1.5)
    with pytest.raises(ValueError, match="expected_active"):
        sm.elicit_active(sm.Laplace(), expected_active=50, num_weights=50, num_data=10)
    with pytest.raises(ValueError, match="unknown axis"):
        sm.shrinkage_factor(sm.ScaleMixture(noise.Rayleigh().per("rows")), 3, seed=0)
    with pytest.raises(ValueError, match="axes"):
        sm.shrinkage_factor(sm.Laplace(), (2, 3, 4), seed=0)
    with pytest.raises(TypeError, match="ScaleMixture"):
        sm.shrinkage_factor(noise.Rayleigh(), seed=0)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="too many settings"):
        product_nodes([noise.Bernoulli()] * 30)
