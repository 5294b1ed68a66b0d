"""Variational Bayesian dropout with γ as a point guide: its optimum, its bounds, and its objective at the best γ."""

from __future__ import annotations

import math
from functools import partial
from itertools import product

import numpy as np
import pytest
from elbo_by_hand import given_noise
from recipe_objectives import CASES, objective_of, random_params, values_and_gradients
from test_objective import LANGUAGES, data
from test_recipe_guides import signs

import scalemix as sm
import scalemix.pyro as in_pyro
from scalemix import likelihoods, models
from scalemix.divergences import gaussian_uniform_variance
from scalemix.guides import PriorVariance, Target
from scalemix.inference import vbd

QUIET = {"progress": False, "dtype": "float64", "device": "cpu", "num_draws": 2}
TWO_ROWS = np.ones((2, 1)), np.full(2, 2.0)  # y = 2 with unit noise, once with the weight's noise +σ and once with −σ

# low, high: θ, σ² and γ of the least ½((2 − θ)² + σ²) + KL(N(θ, σ²) ‖ N(0, γ)). Where a bound holds γ this is the posterior under
# N(0, γ): θ = 2γ/(γ + 1), σ² = γ/(γ + 1), else the non-negative garrote, whose γ is y² − 1 (D9, I11).
OPTIMA = {(0.0, math.inf): (1.5, 0.75, 3.0), (0.0, 2.0): (4 / 3, 2 / 3, 2.0), (4.0, math.inf): (1.6, 0.8, 4.0)}
FAST = [("pyro", "collapsed", 0.0, math.inf), ("pyro", "point", 0.0, 2.0), ("numpyro", "point", 0.0, math.inf)]


@pytest.mark.parametrize(
    ("language", "gamma", "low", "high"),
    [
        pytest.param(*case, *bounds, marks=() if (*case, *bounds) in FAST else pytest.mark.slow)
        for bounds, case in product(OPTIMA, product(LANGUAGES, ("collapsed", "point")))
    ],
)
def test_training_reaches_the_optimum_of_one_weight(
    language: str, gamma: str, low: float, high: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    signs(monkeypatch)
    prior = sm.GaussianUniformMaximized(low, high)
    model = partial(models.linear, prior=prior, bias_prior=None, likelihood=likelihoods.Gaussian(scale=1.0))
    options = {"num_epochs": 300, "learning_rate": 0.05, "schedule": "linear", "hold": 0.3, "compile": False, **QUIET}
    settings = vbd.Settings(gamma=gamma, log_variance=-1, local_reparametrization=True, **options)
    fit = vbd.fit(LANGUAGES[language], model, *TWO_ROWS, seed=0, settings=settings, num_data=1)
    theta, variance, best = OPTIMA[low, high]
    np.testing.assert_allclose([fit.params["w1_loc"][0], np.exp(fit.params["w1_log_variance"][0])], [theta, variance], atol=1e-3)
    divergence = 0.5 * (math.log(best / variance) + (theta**2 + variance) / best - 1.0)
    assert fit.losses[-1] == pytest.approx(0.5 * ((2.0 - theta) ** 2 + variance + math.log(2.0 * math.pi)) + divergence, abs=1e-4)
    if gamma == "point":
        found = np.exp(fit.params["w1_log_gamma"][0])
        assert found == pytest.approx(best, abs=5e-3)
        assert low - 1e-9 <= found <= high + 1e-9
    assert ("w1_log_gamma" in fit.params) == (gamma == "point")


@pytest.mark.parametrize("language", LANGUAGES)
def test_gamma_plugged_into_the_point_objective_is_the_collapsed_one(language: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """At γ = θ² + σ² held within bounds the losses are equal, so are the gradients of θ and σ, and that of γ is 0 within the bounds; at any
    other γ, also one beyond them, the loss is larger."""
    given_noise(monkeypatch)
    ppl, found = LANGUAGES[language], {}
    model = partial(models.linear, prior=sm.GaussianUniformMaximized(0.3, 1.5), bias_prior=None, likelihood=likelihoods.Gaussian(scale=0.5))
    for gamma in ("collapsed", "point"):
        monkeypatch.setitem(CASES, gamma, (vbd, model, {"gamma": gamma, "local_reparametrization": True}))
        found[gamma] = objective_of(gamma, ppl)
    params = random_params(found["collapsed"], 1) | {"w1_loc": np.array([0.1, 0.8, -2.0])}
    second_moment = params["w1_loc"] ** 2 + np.exp(params["w1_log_variance"])
    gamma = np.clip(second_moment, 0.3, 1.5)
    assert np.array_equal(gamma == second_moment, [False, True, False])
    with ppl.engine.precision("float64", "cpu"):
        ((loss, kl, gradient),) = values_and_gradients(ppl, found["collapsed"], [params])
        others = [params | {"w1_log_gamma": np.log(gamma) + moved} for moved in (0.0, 0.3, -0.3)]
        plugged, *moved = values_and_gradients(ppl, found["point"], others)
    np.testing.assert_allclose(plugged[:2], (loss, kl), rtol=1e-13)
    for name, each in gradient.items():
        np.testing.assert_allclose(plugged[2][name], each, rtol=1e-11, atol=1e-11)
    assert abs(plugged[2]["w1_log_gamma"][1]) < 1e-12
    assert np.all(plugged[2]["w1_log_gamma"][[0, 2]] != 0.0)  # at the bounds it would leave them
    for (_, larger, _), factor in zip(moved, (0.3, -0.3), strict=True):
        held = np.clip(gamma * np.exp(factor), 0.3, 1.5)
        by_hand = 0.5 * np.sum(np.log(held) - params["w1_log_variance"] + second_moment / held - 1.0)
        assert larger == pytest.approx(by_hand, rel=1e-12) and larger > kl
    expected = 0.5 * (np.log(gamma) - params["w1_log_variance"] + second_moment / gamma - 1.0)
    assert kl == pytest.approx(expected.sum(), rel=1e-12)


def test_bounds_take_the_layers_scale_squared(monkeypatch: pytest.MonkeyPatch) -> None:
    """A network divides its weights' scale by √fan_in, here 3 and 2: γ ≤ 2/3 and 2/2 from the first step on."""
    prior = sm.GaussianUniformMaximized(0.0, 2.0)
    monkeypatch.setitem(CASES, "scaled", (vbd, partial(models.mlp, prior=prior, widths=(2,)), {"gamma": "point"}))
    guide = objective_of("scaled", in_pyro).guide
    parts = {site: part for site, part in guide.parts.items() if isinstance(part, PriorVariance)}
    assert {site: (part.low, part.high) for site, part in parts.items()} == {
        "w1": (0.0, pytest.approx(2 / 3)),
        "w2": (0.0, pytest.approx(1.0)),
    }
    held = parts["w1"].after_step(guide.targets["w1"], {"log_gamma": np.log(np.array([0.1, 5.0]))})["log_gamma"]
    np.testing.assert_allclose(np.exp(held), [0.1, 2 / 3])
    assert guide.noise_params == ("w1_log_variance", "w1_log_gamma", "w2_log_variance", "w2_log_gamma")


def test_gamma_begins_at_its_best_value() -> None:
    target = Target("w", (40,), "weight", "w", ("in",))
    first = PriorVariance(log_variance=-2.0, low=0.15, high=0.3).initial(target, np.random.default_rng(0))
    best = gaussian_uniform_variance(first["loc"], math.exp(-1.0), low=0.15, high=0.3)
    np.testing.assert_allclose(np.exp(first["log_gamma"]), best)
    assert len(np.unique(np.round(best, 8))) > 2


def test_an_unknown_way_is_refused() -> None:
    with pytest.raises(ValueError, match=r"Settings\(gamma='map'\): give 'collapsed' or 'point'"):
        vbd.Settings(gamma="map")


@pytest.mark.slow
def test_a_network_is_trained_in_batches() -> None:
    x, y = data(rows=20)
    model = partial(models.mlp, prior=sm.GaussianUniformMaximized(), widths=(3,), likelihood=likelihoods.Gaussian(scale=0.3))
    settings = vbd.Settings(gamma="point", num_epochs=30, batch_size=10, learning_rate=0.03, mask_above=3.0, compile=False, **QUIET)
    fit = vbd.fit(in_pyro, model, x, y, seed=0, settings=settings)
    assert np.mean(fit.losses[-5:]) < np.mean(fit.losses[:5])
    assert fit.params["w1_log_gamma"].shape == (3, 3)
    assert not fit.info.proper
    assert np.isfinite(fit.predict(x[:4], seed=0).mean).all()
