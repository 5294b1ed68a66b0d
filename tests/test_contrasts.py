"""Joint distances, gates, ELBO and k-hat of functions: against closed forms, SciPy and ArviZ."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import numpy as np
import pytest
from made_up_fits import NUM_COLUMNS, Regression, info, network
from scipy import special
from scipy import stats as scipy_stats

import scalemix.numpyro  # noqa: F401  (registers the language that the models below are read in)
from scalemix import SpikeAndSlab, noise
from scalemix.comparison import (
    Kernel,
    block_khats,
    compare,
    contrast,
    elbo,
    functional_khat,
    gaussian_kernel,
    guide_khat,
    held_out,
    inclusion_draws,
    mmd,
    sliced_wasserstein,
    wasserstein,
)
from scalemix.comparison.distances import halves
from scalemix.models import linear, mlp
from scalemix.posterior import Posterior
from scalemix.priors import ScaleMixture

stats: Any = scipy_stats  # its frozen laws carry no types


# --- sliced Wasserstein -----------------------------------------------------------------------------------------------------


def test_sliced_wasserstein_of_a_shift_and_of_a_scale() -> None:
    """Of a shift δ it is |δ| E|u₁| = |δ| Γ(k/2)/(√π Γ((k + 1)/2)); of N(0, I) and N(0, s² I) it is (s - 1)√(2/π) along every direction."""
    draws, k = np.random.default_rng(0).standard_normal((4, 1000, 5)), 5
    shift = np.array([3.0, 0.0, -4.0, 0.0, 0.0])
    share = special.gamma(k / 2) / (math.sqrt(math.pi) * special.gamma((k + 1) / 2))
    spread = math.sqrt(1 / k - share**2)  # sd of |u₁|
    assert sliced_wasserstein(draws, draws + shift) == pytest.approx(5 * share, abs=5 * 4 * spread / math.sqrt(128))
    other = 2 * np.random.default_rng(1).standard_normal((1, 3000, 5))
    assert sliced_wasserstein(draws, other) == pytest.approx(math.sqrt(2 / math.pi), rel=0.03)
    assert sliced_wasserstein(draws[..., :1], other[..., :1]) == pytest.approx(wasserstein(draws[..., :1], other[..., :1])[0])
    with pytest.raises(ValueError, match="5 and 4 coefficients"):
        sliced_wasserstein(draws, draws[..., :4])


def test_sliced_wasserstein_sees_a_correlation() -> None:
    """N(0, I) and a correlation ρ in two dimensions: √(2/π) times the mean over angles φ of |√(1 + ρ sin 2φ) - 1|; the marginals agree."""
    rng = np.random.default_rng(11)
    first, second = rng.standard_normal((4000, 2)), rng.multivariate_normal(np.zeros(2), [[1.0, 0.8], [0.8, 1.0]], size=4000)
    angles = np.linspace(0, 2 * math.pi, 20_000, endpoint=False)
    expected = math.sqrt(2 / math.pi) * np.mean(np.abs(np.sqrt(1 + 0.8 * np.sin(2 * angles)) - 1))
    assert wasserstein(first, second).max() < 0.06
    assert sliced_wasserstein(first, second) == pytest.approx(expected, abs=4 * 0.17 / math.sqrt(128) + 0.02)


# --- MMD --------------------------------------------------------------------------------------------------------------------


def mean_kernel(mean: np.ndarray, cov: np.ndarray, bandwidth: float) -> float:
    """E exp(-|a - b|²/(2h²)) for a - b ~ N(mean, cov): h^k |cov + h² I|^{-1/2} exp(-½ meanᵀ (cov + h² I)⁻¹ mean)."""
    total = cov + bandwidth**2 * np.eye(len(mean))
    return bandwidth ** len(mean) / math.sqrt(np.linalg.det(total)) * math.exp(-0.5 * mean @ np.linalg.solve(total, mean))


def test_mmd_of_two_gaussians_is_the_closed_form() -> None:
    rng = np.random.default_rng(2)
    scale, bandwidth, delta = np.array([1.0, 2.0, 0.5]), 1.7, np.array([0.5, 0.0, -1.0])
    covs = np.diag([1.0, 2.0, 0.5]), np.array([[2.0, 0.6, 0.0], [0.6, 1.0, 0.2], [0.0, 0.2, 0.7]])
    first = rng.multivariate_normal(np.zeros(3), covs[0], size=(4, 500)) * scale
    second = rng.multivariate_normal(delta, covs[1], size=2000) * scale
    same = [mean_kernel(np.zeros(3), 2 * cov, bandwidth) for cov in covs]
    squared = sum(same) - 2 * mean_kernel(delta, covs[0] + covs[1], bandwidth)
    biased = squared + sum(1 - each for each in same) / 2000  # pairs of a draw with itself
    assert mmd(first, second, kernel=Kernel(scale, bandwidth)) == pytest.approx(math.sqrt(biased), rel=0.08)


def test_mmd_of_one_law_is_what_noise_alone_makes() -> None:
    """E MMD² = 2 (1 - E k)/n for two samples of n draws; over 300 pairs, as it is skewed and its spread has to be estimated too."""
    kernel = Kernel(np.ones(4), 2.0)
    squares = [mmd(*np.random.default_rng(seed).standard_normal((2, 100, 4)), kernel=kernel) ** 2 for seed in range(300)]
    expected = 2 * (1 - mean_kernel(np.zeros(4), 2 * np.eye(4), 2.0)) / 100
    assert np.mean(squares) == pytest.approx(expected, abs=4 * np.std(squares) / math.sqrt(300))


def test_the_bandwidth_is_the_median_distance_in_sds() -> None:
    draws = np.random.default_rng(3).standard_normal((4, 2000, 6)) * np.array([1.0, 100.0, 0.01, 1.0, 1.0, 1.0])
    kernel = gaussian_kernel(draws)
    assert kernel.scale == pytest.approx([1.0, 100.0, 0.01, 1.0, 1.0, 1.0], rel=0.05)
    assert kernel.bandwidth == pytest.approx(math.sqrt(2 * stats.chi2(6).median()), rel=0.02)
    assert gaussian_kernel(np.ones((2, 10, 2))).bandwidth == 1.0


def test_distances_see_a_correlation_that_marginals_hide() -> None:
    regression = Regression()
    independent = regression.guide(cov=np.diag(np.diag(regression.cov)))
    found = compare({"a nuts": regression.nuts(), "a svi": independent})
    row = found.table.loc["a svi"]
    assert row["w1_to_reference"] < 2.5 * row["w1_floor"]
    assert row["mmd_to_reference"] > 2.5 * row["mmd_floor"]
    assert "about as wide as NUTS" in found.verdicts[1]
    assert "on average within Monte Carlo noise; but not jointly: MMD" in found.verdicts[1]


def test_a_second_run_of_the_sampler_stays_near_every_floor() -> None:
    regression = Regression()
    row = compare({"a nuts": regression.nuts(seed=1), "a again": regression.nuts(seed=2)}, reference="a nuts").table.loc["a again"]
    for name in ("w1", "sliced", "mmd"):
        assert 0 < row[f"{name}_to_reference"] < 2 * row[f"{name}_floor"]
    assert row["sd_ratio_max"] < row["sd_ratio_floor"] * 1.05
    assert 1 / row["sd_ratio_min"] < row["sd_ratio_floor"] * 1.05


def test_networks_are_measured_by_what_is_identified_in_sds_of_the_reference() -> None:
    """N(0, 4) against N(0, 1) is √(2/π) off in each of three functions, N(1, 1) against N(0, 1) is 1 off in the log likelihood."""
    found = contrast(network(1, 2.0, 1.0), network(2, 1.0, 0.0))
    assert found.noun == "identified quantities"
    assert set(found.blocks) == {"y_mean", "y_log_likelihood"}
    assert found.blocks["y_mean"].marginal.value == pytest.approx(math.sqrt(2 / math.pi), abs=0.06)
    assert found.blocks["y_log_likelihood"].marginal.value == pytest.approx(1.0, abs=0.06)
    assert found.distance == pytest.approx((3 * math.sqrt(2 / math.pi) + 1.0) / 4, abs=0.06)
    assert found.sd_ratio == pytest.approx([2.0, 2.0, 2.0, 1.0], rel=0.06)
    assert found.mmd == max((block.mmd for block in found.blocks.values()), key=lambda each: each.times_floor)
    same = contrast(network(3, 1.0, 0.0), network(2, 1.0, 0.0))
    assert same.times_floor < 2.5, "however its hidden units are numbered"


def test_halves_are_halves_in_time() -> None:
    first, second = halves(np.arange(14).reshape(2, 7)[..., None])
    assert first[..., 0].tolist() == [[0, 1, 2], [7, 8, 9]]
    assert second[..., 0].tolist() == [[4, 5, 6], [11, 12, 13]]


# --- gates ------------------------------------------------------------------------------------------------------------------


def posterior_of(model: Any, draws: dict[str, np.ndarray], columns: int) -> Posterior:
    """Draws made up, of a real model: what a fit would hold, without fitting."""
    rng = np.random.default_rng(4)
    x, y = rng.standard_normal((5, columns)), rng.standard_normal(5)
    settings = {"dtype": "float64", "device": "cpu"}
    shape = next(iter(draws.values())).shape[:2]
    return Posterior(draws, tuple(draws), info(settings=settings), np.zeros(shape), {}, model=model, observed={"y": y}, constant={"x0": x})


def responsibility(w: np.ndarray, prior_prob: float, slab: float, spike: float) -> np.ndarray:
    high, low = prior_prob * stats.norm.pdf(w, 0, slab), (1 - prior_prob) * stats.norm.pdf(w, 0, spike)
    return high / (high + low)


SPIKE = SpikeAndSlab(0.1, slab_scale=1.0, spike_scale=0.05)


def test_gates_summed_out_are_read_from_the_weights() -> None:
    w = 0.2 * np.random.default_rng(5).standard_normal((2, 30, 3))
    found = inclusion_draws(posterior_of(partial(linear, prior=SPIKE, parametrization="marginal"), {"w1": w}, 3))
    assert set(found) == {"w1"}
    assert found["w1"] == pytest.approx(responsibility(w, 0.1, 1.0, 0.05))


def test_gates_of_a_layer_know_its_scale() -> None:
    rng = np.random.default_rng(6)
    draws = {"w1": rng.standard_normal((2, 8, 4, 3)), "w2": rng.standard_normal((2, 8, 3, 1))}
    found = inclusion_draws(posterior_of(partial(mlp, prior=SPIKE, widths=(3,)), draws, 4))
    assert found["w1"] == pytest.approx(responsibility(draws["w1"], 0.1, 0.5, 0.025).reshape(2, 8, 12))
    assert found["w2"].shape == (2, 8, 3)


def test_sampled_gates_are_what_they_are() -> None:
    gates = np.random.default_rng(7).integers(0, 2, (2, 30, 3))
    point = ScaleMixture(noise.Bernoulli(0.3))
    posterior = posterior_of(partial(linear, prior=point), {"w1_noise": gates, "w1": gates * 1.0}, 3)
    assert inclusion_draws(posterior)["w1"] == pytest.approx(gates)


def test_gates_that_the_weights_do_not_settle_are_left_out() -> None:
    w = np.random.default_rng(8).standard_normal((2, 10, 3))
    by_sigma = posterior_of(partial(linear, prior=SPIKE, parametrization="marginal", scale_by_sigma=True), {"w1": w}, 3)
    assert inclusion_draws(by_sigma) == {}
    alone = posterior_of(partial(linear, prior=SPIKE, parametrization="marginal"), {"w1": w}, 3)
    alone.model = None
    assert inclusion_draws(alone) == {}
    assert inclusion_draws(Regression().nuts()) == {}


def test_the_error_of_inclusion_probabilities_and_its_floor() -> None:
    rng = np.random.default_rng(9)
    model = partial(linear, prior=SPIKE, parametrization="marginal")
    places = np.array([0.3, 0.15, 0.0]), np.array([0.3, 0.25, 0.0])
    fits = [posterior_of(model, {"w1": place + 0.1 * rng.standard_normal((4, 1000, 3))}, 3) for place in places]
    found = contrast(*fits).inclusion
    quantiles = stats.norm.ppf((np.arange(4000) + 0.5) / 4000)[:, None]
    exact = [responsibility(place + 0.1 * quantiles, 0.1, 1.0, 0.05).mean(axis=0) for place in places]
    assert found is not None
    assert found.value == pytest.approx(np.abs(exact[0] - exact[1]).max(), abs=4 * 0.5 * math.sqrt(2 / 4000))
    assert 0 < found.floor < 4 * 0.5 * math.sqrt(2 / 2000)


# --- guides -----------------------------------------------------------------------------------------------------------------


def test_elbo_is_the_evidence_less_the_divergence() -> None:
    """KL(N(m, C) ‖ N(m, Σ)) = ½ (tr Σ⁻¹C - k + log|Σ|/|C|), and the made-up evidence is e⁻⁵⁰."""
    regression = Regression()
    cov = 0.6 * regression.cov
    found, error = elbo(regression.guide(cov=cov, size=4000))
    assert found == pytest.approx(-50 - 0.5 * NUM_COLUMNS * (0.6 - 1 - math.log(0.6)), abs=4 * error)
    spread = 0.4 / 0.6 * math.sqrt(NUM_COLUMNS / 2) * 0.6  # log p - log q is (1 - 0.6)/2 χ²_k and a constant
    assert error == pytest.approx(spread / math.sqrt(4000), rel=0.1)
    with pytest.raises(ValueError, match="no guide"):
        elbo(regression.nuts())


def test_khat_of_a_function_is_the_tail_index_of_its_product_with_the_ratio() -> None:
    """exp(c x²) of a normal x has tail index 2c: r = exp(0.1 x²) has 0.2, and h r with h = exp(0.15 x²) has 0.5."""
    x = np.random.default_rng(10).standard_normal(100_000)
    assert functional_khat(np.exp(0.15 * x**2), 0.1 * x**2) == pytest.approx(0.5, abs=0.1)
    assert functional_khat(np.sign(x), 0.1 * x**2) == pytest.approx(0.2, abs=0.1)
    both = np.stack([np.sign(x), np.exp(0.15 * x**2), np.ones_like(x)], axis=1)  # the worst entry decides, a constant is no matter
    assert functional_khat(both, 0.1 * x**2) == pytest.approx(0.5, abs=0.1)


def test_khat_of_a_block_and_of_the_predictive_are_those_of_arviz() -> None:
    import arviz

    regression = Regression()
    guide = regression.guide(cov=1.2 * regression.cov)
    ratios = (guide.log_joint - guide.log_guide)[0]
    weights = np.exp(np.asarray(arviz.psislw(ratios.copy())[0]))
    for values, found in (
        (guide.draws["w1"][0], block_khats(guide)["w1"]),
        (
            np.exp(guide.pointwise_log_likelihood(regression.x_test, regression.y_test)["y"][0]),
            held_out(guide, (regression.x_test, regression.y_test)).khat,
        ),
    ):
        distance = np.sqrt((((values - weights @ values) / values.std(axis=0)) ** 2).sum(axis=1))
        assert found == pytest.approx(float(arviz.psislw(ratios + np.log(distance))[1]), abs=1e-6)
    assert guide_khat(guide) < 0.5
