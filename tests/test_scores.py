"""Scores of predictive draws against closed forms, brute force and simulated outcomes."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from made_up_fits import SIGMA, Regression
from scipy import stats as scipy_stats

from scalemix.comparison import calibration_error, coverage, crps, held_out, pit

stats: Any = scipy_stats  # its frozen laws carry no types


def crps_of_a_normal(mean: Any, scale: Any, y: Any) -> Any:
    """Gneiting and Raftery (2007), equation 21's example: σ (z (2Φ(z) - 1) + 2φ(z) - 1/√π)."""
    z = (y - mean) / scale
    return scale * (z * (2 * stats.norm.cdf(z) - 1) + 2 * stats.norm.pdf(z) - 1 / math.sqrt(math.pi))


def test_crps_is_the_mean_over_all_pairs_of_different_draws() -> None:
    rng = np.random.default_rng(0)
    draws, y = rng.gamma(2.0, size=(7, 5)), rng.gamma(2.0, size=5)
    pairs = np.abs(draws[:, None] - draws[None]).sum(axis=(0, 1)) / (7 * 6)
    assert crps(draws, y) == pytest.approx(np.abs(draws - y).mean(axis=0) - pairs / 2)


def test_crps_of_normal_draws_is_the_closed_form() -> None:
    y = np.array([-2.0, 0.0, 0.3, 5.0])
    draws = 1.0 + 2.0 * np.random.default_rng(1).standard_normal((40_000, 4))
    assert crps(draws, y) == pytest.approx(crps_of_a_normal(1.0, 2.0, y), abs=4 * 2.0 / math.sqrt(40_000))


def test_crps_is_unbiased_for_few_draws() -> None:
    """With pairs of a draw and itself counted in, it would be too large by E|X - X'|/(2 S) = 0.11."""
    draws = np.random.default_rng(2).standard_normal((5, 20_000))
    found = crps(draws, np.zeros(20_000))
    assert found.mean() == pytest.approx(crps_of_a_normal(0.0, 1.0, 0.0), abs=4 * found.std() / math.sqrt(20_000))


def test_draws_are_looked_at_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(3)
    draws, y = rng.poisson(3.0, size=(50, 11)), rng.poisson(3.0, size=11)
    whole = crps(draws, y), pit(draws, y), coverage(draws, y, 0.5)
    monkeypatch.setattr("scalemix.comparison.scores.VALUES_AT_ONCE", 150)
    assert whole[0] == pytest.approx(crps(draws, y))
    assert whole[1] == pytest.approx(pit(draws, y))
    assert whole[2] == coverage(draws, y, 0.5)


@pytest.mark.parametrize("prob", [0.5, 0.9])
@pytest.mark.parametrize("spread", [1.0, 2.0])
def test_coverage_of_simulated_outcomes(prob: float, spread: float) -> None:
    """N(0, 1) forecasts of N(0, spread²) outcomes: the interval ±z holds 2Φ(z/spread) - 1 of them."""
    rng = np.random.default_rng(4)
    draws, y = rng.standard_normal((1000, 4000)), spread * rng.standard_normal(4000)
    expected = 2 * stats.norm.cdf(stats.norm.ppf((1 + prob) / 2) / spread) - 1
    assert coverage(draws, y, prob) == pytest.approx(expected, abs=4 * math.sqrt(expected * (1 - expected) / 4000) + 1e-3)


def test_no_interval_holds_half_of_two_values() -> None:
    rng = np.random.default_rng(5)
    assert math.isnan(coverage(rng.integers(0, 2, (100, 50)), rng.integers(0, 2, 50), 0.5))
    assert not math.isnan(coverage(rng.poisson(2.0, (100, 50)), rng.integers(0, 2, 50), 0.5))


def test_pit_is_uniform_for_counts_too() -> None:
    rng = np.random.default_rng(6)
    for law in (lambda size: rng.poisson(1.5, size), lambda size: rng.standard_normal(size)):
        transforms = pit(law((99, 5000)), law(5000))
        assert stats.kstest(transforms, "uniform").statistic < 1.95 / math.sqrt(5000)  # 0.1 % level
    assert np.abs(np.quantile(pit(rng.standard_normal((999, 5000)), 3 * rng.standard_normal(5000)), 0.1) - 0.1) > 0.05


def test_calibration_error_is_the_distance_to_the_uniform_law() -> None:
    assert calibration_error(np.full(10, 0.5)) == pytest.approx(0.25)
    assert calibration_error(np.zeros(3)) == pytest.approx(0.5)
    rng = np.random.default_rng(7)
    for transforms in (rng.beta(2.0, 3.0, 40), rng.random(7)):
        levels = np.linspace(0, 1, 200_001)
        share = np.searchsorted(np.sort(transforms), levels, side="right") / transforms.size
        assert calibration_error(transforms) == pytest.approx(np.trapezoid(np.abs(share - levels), levels), abs=1e-5)


def test_calibration_error_of_a_calibrated_forecast() -> None:
    found = [calibration_error(np.random.default_rng(seed).random(400)) for seed in range(200)]
    assert np.mean(found) == pytest.approx(0.3133 / math.sqrt(400), abs=4 * np.std(found) / math.sqrt(200))


def test_bad_draws_are_refused() -> None:
    for draws, y in ((np.zeros((1, 3)), np.zeros(3)), (np.zeros((5, 3)), np.zeros(2)), (np.zeros(3), np.zeros(3))):
        with pytest.raises(ValueError, match=r"at least 2 draws \(S, n\)"):
            crps(draws, y)


def test_held_out_scores_of_a_regression_are_those_of_its_exact_predictive_law() -> None:
    regression = Regression()
    scale = 4.0
    found = held_out(regression.nuts(), (regression.x_test, regression.y_test), target_scale=(10.0, scale))
    mean = regression.x_test @ regression.mean
    sd = np.sqrt(SIGMA**2 + np.einsum("ni,ij,nj->n", regression.x_test, regression.cov, regression.x_test))
    exact = scale * crps_of_a_normal(mean, sd, regression.y_test)
    assert found.crps == pytest.approx(exact.mean(), abs=4 * scale * sd.mean() / math.sqrt(4000))
    transforms = stats.norm.cdf(regression.y_test, mean, sd)
    assert found.pit == pytest.approx(transforms, abs=4 * 0.5 / math.sqrt(4000) + 1e-3)
    for prob in (0.5, 0.9):
        clear = np.abs(np.abs(transforms - 0.5) - prob / 2) > 0.04
        inside = np.abs(transforms - 0.5) <= prob / 2
        assert abs(found.coverage[prob] - inside.mean()) <= (~clear).mean() + 1e-12


def test_an_outcome_that_is_a_class_has_a_density_alone() -> None:
    regression = Regression()
    posterior = regression.nuts()
    posterior.predict = lambda x, *, seed, noise: SimpleNamespace(mean=np.zeros((len(x), 3)), draws=np.zeros((5, len(x))))
    found = held_out(posterior, (regression.x_test, regression.y_test))
    assert math.isfinite(found.log_density)
    assert all(math.isnan(each) for each in (found.rmse, found.crps, found.calibration_error, *found.coverage.values()))
