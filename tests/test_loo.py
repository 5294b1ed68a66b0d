"""Importance sampling: PSIS, leave-one-out and k-hat against ArviZ, closed forms and known tail indices; held-out scores."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from made_up_fits import SIGMA, Regression
from scipy import stats as scipy_stats

from scalemix.comparison import (
    guide_khat,
    guide_loo,
    held_out,
    khat_threshold,
    loo,
    psis,
)

stats: Any = scipy_stats  # its frozen laws carry no types


# --- PSIS -------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("size", "spread", "efficiency"), [(4000, 1.5, 1.0), (1000, 3.0, 0.4), (100, 1.0, 1.3), (20, 1.0, 1.0)])
def test_psis_is_that_of_arviz(size: int, spread: float, efficiency: float) -> None:
    import arviz

    ratios = spread * np.random.default_rng(20).standard_normal(size)
    weights, khat = psis(ratios, relative_efficiency=efficiency)
    theirs, their_khat = arviz.psislw(ratios.copy(), reff=efficiency)
    assert weights == pytest.approx(np.asarray(theirs), rel=1e-9, abs=1e-9)
    assert khat == pytest.approx(float(their_khat), rel=1e-9)


@pytest.mark.parametrize("variance", [1.5, 2.0, 4.0])
def test_khat_of_a_too_narrow_normal_is_the_analytical_tail_index(variance: float) -> None:
    """q = N(0, 1), p = N(0, v): the ratio's tail is t^(-v/(v - 1)), so k = 1 - 1/v; the other way round it is bounded."""
    x = np.random.default_rng(21).standard_normal(200_000)
    narrow, wide = stats.norm(0, 1), stats.norm(0, math.sqrt(variance))
    assert psis(wide.logpdf(x) - narrow.logpdf(x))[1] == pytest.approx(1 - 1 / variance, abs=0.12)
    z = math.sqrt(variance) * x
    assert psis(narrow.logpdf(z) - wide.logpdf(z))[1] < 0.1


def test_khat_of_a_normal_and_a_student_t() -> None:
    """For q normal and p Student-t the index tends to 1, slowly; the other way round the ratio is bounded."""
    rng = np.random.default_rng(22)
    x, z = rng.standard_normal(50_000), rng.standard_t(4, 50_000)
    assert psis(stats.t(4).logpdf(x) - stats.norm.logpdf(x))[1] > 0.4
    assert psis(stats.norm.logpdf(z) - stats.t(4).logpdf(z))[1] < 0.1


def test_khat_of_ratios_that_are_not_finite_is_infinite() -> None:
    assert psis(np.array([0.0, np.nan, 1.0] * 20))[1] == math.inf
    assert psis(np.full(50, -np.inf))[1] == math.inf
    weights, khat = psis(np.where(np.arange(1000) < 500, -np.inf, np.random.default_rng(0).standard_normal(1000)))
    assert math.isfinite(khat)
    assert np.exp(weights).sum() == pytest.approx(1)
    assert np.all(weights[:500] == -np.inf)


def test_khat_threshold() -> None:
    assert khat_threshold(100) == pytest.approx(0.5)
    assert khat_threshold(2000) == pytest.approx(1 - 1 / math.log10(2000))
    assert khat_threshold(10**6) == 0.7


# --- leave-one-out ----------------------------------------------------------------------------------------------------------


def test_loo_of_a_sampler_is_the_exact_one() -> None:
    regression = Regression()
    found = loo(regression.nuts())
    assert found.monte_carlo_error < 0.3
    assert found.elpd == pytest.approx(regression.exact_loo(), abs=4 * found.monte_carlo_error)
    assert found.pareto_k < 0.7


def test_loo_of_a_sampler_is_that_of_arviz() -> None:
    import arviz

    posterior = Regression().nuts(phi=0.3)
    theirs = arviz.loo(arviz.from_dict(posterior=posterior.draws, log_likelihood=posterior.log_likelihood), pointwise=True)
    found = loo(posterior)
    assert found.elpd == pytest.approx(theirs.elpd_loo, abs=0.05)  # the tail length differs: ours per case, theirs for all
    assert found.standard_error == pytest.approx(theirs.se, rel=0.01)
    assert found.pareto_ks == pytest.approx(theirs.pareto_k.values, abs=0.15)


def test_loo_of_a_guide_is_that_of_the_posterior_and_not_of_the_guide() -> None:
    regression = Regression()
    guide = regression.guide(cov=1.5 * regression.cov, shift=0.8, size=4000)
    found, exact = guide_loo(guide), regression.exact_loo()
    assert guide_khat(guide) < 0.7
    assert found.monte_carlo_error < 0.5
    assert found.elpd == pytest.approx(exact, abs=4 * found.monte_carlo_error)
    guide.log_guide = guide.losses = None  # the same draws, taken for draws of the posterior
    naive = loo(guide)
    assert abs(naive.elpd - exact) > 4 * naive.monte_carlo_error + 0.5


def test_the_monte_carlo_error_of_loo_is_the_spread_over_runs() -> None:
    """Standardized errors of 20 runs each have mean square 1 within 4 sqrt(2/20), for independent and for correlated draws."""
    regression = Regression()
    exact = regression.exact_loo()
    runs = {
        "independent": [loo(regression.nuts(seed=100 + i)) for i in range(20)],
        "correlated": [loo(regression.nuts(seed=200 + i, phi=0.7)) for i in range(20)],
        "guide": [loo(regression.guide(cov=1.3 * regression.cov, seed=300 + i)) for i in range(20)],
    }
    for name, found in runs.items():
        z = [(each.elpd - exact) / each.monte_carlo_error for each in found]
        assert 0.15 < np.mean(np.square(z)) < 2.26, name


def test_khat_orders_guides_and_a_bad_one_has_no_loo() -> None:
    regression = Regression()
    right, mean_field = regression.guide(cov=1.05 * regression.cov), regression.guide()
    narrow = regression.guide(cov=0.2 * regression.cov)
    assert guide_khat(right) < 0.1 < guide_khat(mean_field)
    assert guide_khat(narrow) == pytest.approx(1 - 0.2, abs=0.15)  # variances a fifth: the tail index in any number of dimensions
    assert math.isnan(loo(narrow).elpd)
    assert math.isnan(loo(narrow).pareto_k)
    assert math.isfinite(loo(right).elpd)
    with pytest.raises(ValueError, match="no guide"):
        guide_khat(regression.nuts())


# --- held-out data ----------------------------------------------------------------------------------------------------------


def test_held_out_scores_are_in_original_units() -> None:
    regression = Regression()
    posterior = regression.nuts()
    found = held_out(posterior, (regression.x_test, regression.y_test), target_scale=(10.0, 4.0))
    mean = regression.x_test @ regression.mean
    sd = np.sqrt(SIGMA**2 + np.einsum("ni,ij,nj->n", regression.x_test, regression.cov, regression.x_test))
    exact = stats.norm.logpdf(10 + 4 * regression.y_test, 10 + 4 * mean, 4 * sd).mean()
    assert found.log_density == pytest.approx(exact, abs=0.01)
    assert found.rmse == pytest.approx(np.sqrt(np.mean((4 * (regression.y_test - mean)) ** 2)), rel=0.01)


def test_held_out_refuses_what_it_cannot_use() -> None:
    regression = Regression()
    with pytest.raises(ValueError, match="positive scale"):
        held_out(regression.nuts(), (regression.x_test, regression.y_test), target_scale=(0.0, 0.0))
    with pytest.raises(ValueError, match=r"data=\(x_test, y_test\)"):
        held_out(regression.nuts(), (regression.x_test,))
