"""SBC and VSBC of any fit: an exact posterior passes, and fits that are too narrow, biased or from another prior are found and named.

The model is conjugate, θ ~ N(0, 1) and yᵢ ~ N(θ, 1) for four cases, so that the exact posterior, N(Σy/5, 1/5), is drawn in NumPy.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
from made_up_fits import chains_of, stats

import scalemix.numpyro as in_numpyro
import scalemix.pyro as in_pyro
from scalemix import models
from scalemix.comparison import Calibration, calibrate
from scalemix.inference import nuts, svi
from scalemix.likelihoods import Gaussian
from scalemix.priors import Normal

X = np.zeros(4)
EXACT_SD = 5**-0.5


def model(ppl: Any, x: Any, y: Any = None) -> None:
    theta = ppl.sample("theta", ppl.dist.Normal(0.0, 1.0))
    ppl.deterministic("twice", 2.0 * theta)
    with ppl.plate("cases", x.shape[0]):
        ppl.sample("y", ppl.dist.Normal(theta, 1.0), obs=y)


def drawn(x: np.ndarray, y: np.ndarray, *, seed: int, shift: float = 0.0, width: float = 1.0) -> Any:
    """Independent draws of the exact posterior, moved by ``shift`` and scaled by ``width`` in units of its sd."""
    z = np.random.default_rng(seed).standard_normal((1, 200))
    theta = y.sum() / 5 + EXACT_SD * (shift + width * z)
    posterior = chains_of({"theta": theta, "twice": 2.0 * theta}, deterministic=("twice",))
    posterior.log_guide = np.zeros(theta.shape)
    posterior.log_likelihood = {"y": stats.norm.logpdf(y, theta[..., None], 1.0)}
    return posterior


def found(ppl: Any = in_numpyro, num_data_sets: int = 60, **changes: Any) -> Calibration:
    return calibrate(ppl, model, X, fit=partial(drawn, **changes), num_data_sets=num_data_sets, seed=3)


@pytest.fixture(scope="module")
def exact() -> Calibration:
    return found()


@pytest.fixture(scope="module")
def narrow() -> Calibration:
    return found(num_data_sets=100, width=0.5)


def test_exact_draws_are_calibrated(exact: Calibration) -> None:
    assert set(exact.transforms) == {"theta", "twice", "y_log_likelihood"}
    assert exact.num_data_sets == 60
    assert exact.sentences() == []
    np.testing.assert_array_equal(exact.transforms["theta"] < 0.5, exact.transforms["twice"] < 0.5)


def test_exact_draws_are_calibrated_in_the_other_language() -> None:
    assert found(in_pyro, num_data_sets=20).sentences() == []


def test_a_fit_half_as_wide_is_not_calibrated_and_not_biased(narrow: Calibration) -> None:
    table = narrow.table()
    assert table.loc["theta", "p_uniform"] < 1e-3
    assert table.loc["theta", "p_symmetric"] > 0.01
    assert any(sentence.startswith("theta is not calibrated: the fits are too narrow") for sentence in narrow.sentences())


def test_the_law_of_the_transforms_of_a_narrow_fit(narrow: Calibration) -> None:
    """F(θ*) = Φ(z/width), z standard normal: at width 1/2 P(F < 0.1) = Φ(Φ⁻¹(0.1)/2) = 0.261, within 4 standard errors."""
    share = np.mean(narrow.transforms["theta"] < 0.1)
    expected = stats.norm.cdf(0.5 * stats.norm.ppf(0.1))
    assert share == pytest.approx(expected, abs=4 * np.sqrt(expected * (1 - expected) / 100) + 0.01)


@pytest.mark.slow
def test_a_fit_twice_as_wide_is_too_wide() -> None:
    assert any(sentence.startswith("theta is not calibrated: the fits are too wide") for sentence in found(width=2.0).sentences())


@pytest.mark.parametrize(("shift", "side"), [(1.0, "above"), pytest.param(-1.0, "below", marks=pytest.mark.slow)])
def test_a_biased_fit_is_named_with_its_side(shift: float, side: str) -> None:
    sentences = found(num_data_sets=40, shift=shift).sentences()
    assert any(sentence.startswith(f"theta is biased: the draws lie {side} the truth") for sentence in sentences)


@pytest.mark.slow
def test_symmetry_has_the_level_it_promises() -> None:
    """Of 200 uniform samples p ≤ 0.05 in 10 ± 4 · 3.1; the two-sample Kolmogorov-Smirnov law, for independent samples, is off by more."""
    from scalemix.comparison.calibration import _p_symmetric

    rng = np.random.default_rng(0)
    assert sum(_p_symmetric(rng.random(30)) <= 0.05 for _ in range(200)) <= 22
    assert _p_symmetric(rng.beta(2.0, 1.0, size=60)) < 0.01
    assert _p_symmetric(np.full(12, 0.9)) == pytest.approx(2.0**-11, abs=2e-3)  # all signs one way


def test_unusable_data_sets_are_left_out_and_too_few_refused() -> None:
    seen: list[float] = []

    def fit(x: np.ndarray, y: np.ndarray, *, seed: int) -> Any:
        seen.append(float(np.abs(y).max()))
        return drawn(x, y, seed=seed)

    calibrate(in_numpyro, model, X, fit=fit, num_data_sets=10, seed=0, usable=lambda y: bool(np.abs(y).max() < 2.0))
    assert len(seen) == 10
    assert max(seen) < 2.0
    with pytest.raises(ValueError, match="only 0 of 40 data sets are usable"):
        calibrate(in_numpyro, model, X, fit=fit, num_data_sets=10, seed=0, usable=lambda y: False)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"sites": ["w"]}, "give some of theta, twice, y_log_likelihood"),
        ({"num_draws": 201}, "the fit has 200 draws"),
        ({"num_data_sets": 0}, "num_data_sets"),
        ({"site": "z"}, "samples no site 'z'"),
    ],
)
def test_refusals(options: dict[str, Any], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        calibrate(in_numpyro, model, X, **{"fit": drawn, "num_data_sets": 2, "seed": 0} | options)


@pytest.mark.slow
def test_the_figure_has_a_band_and_a_histogram_for_each_quantity(exact: Calibration) -> None:
    axes = exact.plot().get_axes()
    assert len(axes) == 6
    assert all(left.collections and right.patches for left, right in zip(axes[::2], axes[1::2], strict=True))


def test_chains_that_depend_are_said_to() -> None:
    """A chain that hardly moves has a place that is near 0 or 1, and the remedy is told."""

    def stuck(x: np.ndarray, y: np.ndarray, *, seed: int) -> Any:
        rng = np.random.default_rng(seed)
        theta = y.sum() / 5 + EXACT_SD * (rng.standard_normal((1, 1)) + 0.05 * rng.standard_normal((1, 200)).cumsum(axis=1))
        posterior = chains_of({"theta": theta})
        posterior.log_likelihood = {"y": stats.norm.logpdf(y, theta[..., None], 1.0)}
        return posterior

    sentences = calibrate(in_numpyro, model, X, fit=stuck, num_data_sets=20, seed=0, sites=["theta"]).sentences()
    assert "dependent draws look like a fit too narrow" in sentences[-1]


BRIEF = {"num_data_sets": 2, "seed": 0, "num_draws": 20}


def fitted(ppl: Any, fit: Callable[..., Any], **options: Any) -> Calibration:
    return calibrate(ppl, partial(models.linear, prior=Normal(0.5)), np.eye(3), fit=partial(fit, **options), **BRIEF)


@pytest.mark.slow
def test_recipes_are_fits() -> None:
    settings = svi.Settings(num_steps=5, num_draws=20, progress=False)
    linear = partial(models.linear, prior=Normal(0.5))
    calibration = fitted(in_numpyro, partial(svi.fit, in_numpyro, linear), guide=in_numpyro.autoguide.AutoNormal, settings=settings)
    assert {"w1[0]", "w1[2]", "b1", "sigma", "y_log_likelihood"} <= set(calibration.transforms)
    assert np.isnan(calibration.least_ess)


@pytest.mark.slow
def test_nuts_and_a_network_are_ranked_by_what_is_identified() -> None:
    network = partial(models.mlp, prior=Normal(0.5), widths=(2,))
    settings = nuts.Settings(num_warmup=20, num_draws=20, num_chains=2, max_tree_depth=3, progress=False)
    fit = partial(nuts.fit, in_numpyro, network, settings=settings)
    calibration = calibrate(in_numpyro, network, np.eye(3), fit=fit, **BRIEF)
    assert {"y_mean[0]", "y_log_likelihood", "sigma"} <= set(calibration.transforms)
    assert not any(name.startswith("w") for name in calibration.transforms)
    assert calibration.least_ess > 0


@pytest.mark.slow
def test_mean_field_is_too_narrow_on_a_ridge_and_full_rank_is_calibrated() -> None:
    """Two coefficients on almost the same column: the mean field is narrower than the posterior by the square root of 1 - corr².

    The noise is known, so that the posterior is normal and the full rank can have it: with a learned one it is too narrow, too.
    """
    x = np.random.default_rng(0).normal(size=(12, 1)) + np.array([0.0, 0.05])
    ridge = partial(models.linear, prior=Normal(1.0), bias_prior=None, likelihood=Gaussian(scale=0.5))
    settings = svi.Settings(num_steps=2500, learning_rate=0.03, num_draws=200, progress=False)
    verdicts = {}
    for guide in ("AutoNormal", "AutoMultivariateNormal"):
        fit = partial(svi.fit, in_numpyro, ridge, guide=getattr(in_numpyro.autoguide, guide), settings=settings)
        verdicts[guide] = calibrate(in_numpyro, ridge, x, fit=fit, num_data_sets=50, seed=0, sites=["w1"]).sentences()
    assert any("the fits are too narrow" in sentence for sentence in verdicts["AutoNormal"])
    assert verdicts["AutoMultivariateNormal"] == []
