"""Variational dropout with one α for an input unit or a layer: q(w) = N(θ, α θ²), against the formulas and in both languages."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import numpy as np
import pytest
from elbo_by_hand import central_differences, given_noise, mlp_loss
from scipy import stats
from test_objective import KL_WEIGHT, LANGUAGES, NUM_DATA, build, data, value_and_gradient

import scalemix as sm
import scalemix.numpyro as in_numpyro
import scalemix.pyro as in_pyro
from scalemix import likelihoods, models
from scalemix.guides import Multiplicative, Point
from scalemix.inference import variational_dropout

SHAPES = {"in": ((3, 1), (2, 1)), "layer": ((1, 1), (1, 1)), "weight": ((3, 2), (2, 1))}
NETWORK = partial(models.mlp, prior=sm.LogUniform(), widths=(2,))
QUIET = {"progress": False, "dtype": "float64", "device": "cpu", "num_draws": 3}


def multiplicative(**options: Any) -> Any:
    return lambda target: Multiplicative(**options) if target.role == "weight" else Point()


def random_params(initial: Any, seed: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {name: np.asarray(rng.normal(size=value.shape) - name.endswith("_log_alpha")) for name, value in initial.items()}


def with_variances(params: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """log σ² = log α + log θ² in place of log α: the parameters that the arithmetic by hand takes."""
    found = {name: value for name, value in params.items() if not name.endswith("_log_alpha")}
    for site in ("w1", "w2"):
        found[f"{site}_log_variance"] = params[f"{site}_log_alpha"] + np.log(params[f"{site}_loc"] ** 2)
    return found


@pytest.mark.parametrize(
    ("language", "per", "lazy"),
    [
        ("pyro", "in", True),
        ("pyro", "layer", False),
        ("pyro", "weight", True),
        ("numpyro", "in", True),
        pytest.param("numpyro", "layer", False, marks=pytest.mark.slow),
    ],
)
def test_the_objective_is_the_arithmetic_by_hand(language: str, per: str, lazy: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pre-activations h θ + √((h∘h)(α∘θ²)) ε, or drawn weights; D(log α) by quadrature, once for each weight; gradients by differences."""
    given_noise(monkeypatch)
    ppl, arrays = LANGUAGES[language], data()
    with ppl.engine.precision("float64", "cpu"):
        guide = build(ppl, NETWORK, arrays, lazy=lazy, choose=multiplicative(per=per))
        objective = ppl.engine.objective(NETWORK, guide, arrays, seed=0)
        params = random_params(guide.initial, 3)
        loss, gradient, parts = value_and_gradient(ppl, objective, params, arrays)
    assert (params["w1_log_alpha"].shape, params["w2_log_alpha"].shape) == SHAPES[per]
    assert guide.noise_params == ("w1_log_alpha", "w2_log_alpha")

    def by_hand(p: dict[str, np.ndarray]) -> Any:
        return mlp_loss(with_variances(p), *arrays, "LogUniform", lazy=lazy, num_data=NUM_DATA, kl_weight=KL_WEIGHT)

    np.testing.assert_allclose([loss, parts["nll"], parts["kl"]], by_hand(params), rtol=1e-9)
    for name, each in central_differences(lambda p: by_hand(p)[0], params).items():
        np.testing.assert_allclose(gradient[name], each, rtol=1e-6, atol=1e-6 * np.abs(loss), err_msg=name)


@pytest.mark.slow
def test_both_languages_have_the_same_objective_and_gradient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a convolutional network with an α per channel, with a mask, at 3 random parameter vectors and the same noise."""
    given_noise(monkeypatch)
    options = {"filters": (2,), "kernel": 3, "widths": (), "num_outputs": 3, "activation": "tanh"}
    rng, model = np.random.default_rng(4), partial(models.lenet, prior=sm.LogUniform(), **options)
    arrays, found = (rng.normal(size=(4, 6, 6, 2)), rng.integers(0, 3, size=4)), {}
    for language, ppl in LANGUAGES.items():
        with ppl.engine.precision("float64", "cpu"):
            guide = build(ppl, model, arrays, lazy=True, choose=multiplicative(per="in", mask_above=0.0))
            assert guide.initial["w1_log_alpha"].shape == (1, 1, 2, 1)
            objective = ppl.engine.objective(model, guide, arrays, seed=0)
            points = [random_params(guide.initial, seed) for seed in range(3)]
            found[language] = [value_and_gradient(ppl, objective, point, arrays) for point in points]
    assert any(np.any(point["w2_log_alpha"] > 0.0) for point in points)
    for ours, theirs in zip(found["pyro"], found["numpyro"], strict=True):
        np.testing.assert_allclose(ours[0], theirs[0], rtol=1e-9)
        for name, gradient in theirs[1].items():
            np.testing.assert_allclose(ours[1][name], gradient, rtol=1e-9, atol=1e-9 * abs(ours[0]), err_msg=name)


@pytest.mark.parametrize("language", LANGUAGES)
def test_gradients_are_finite_at_weights_of_zero_in_single_precision(language: str) -> None:
    """θ = 0 for |log α| ≤ 12; the divergence does not see θ, so that its gradient in log α is that at θ = 1."""
    ppl, log_alpha = LANGUAGES[language], np.linspace(-12.0, 12.0, 7)
    x, y = np.random.default_rng(0).normal(size=(4, 7)), np.ones(4)
    model = partial(models.linear, prior=sm.LogUniform(), bias_prior=None, likelihood=likelihoods.Gaussian(scale=1.0))
    with ppl.engine.precision("float32", "cpu"):
        guide = build(ppl, model, (x, y), lazy=True, choose=multiplicative())
        objective = ppl.engine.objective(model, guide, (x, y), seed=0)
        found = []
        for theta in (0.0, 1.0):
            params = {"w1_loc": np.full(7, theta), "w1_log_alpha": log_alpha}
            loss, gradient, parts = value_and_gradient(ppl, objective, params, (x, y))
            assert np.isfinite(loss)
            assert all(np.isfinite(each).all() and each.dtype == np.float32 for each in gradient.values())
            found.append((parts["kl"], gradient["w1_log_alpha"]))
    assert found[0][0] == found[1][0]
    exact = np.array([sm.divergences.log_uniform(np.array([at - 1e-4, at + 1e-4])) @ [-5e3, 5e3] for at in log_alpha[1:-1]])
    np.testing.assert_allclose(found[0][1][1:-1], KL_WEIGHT * exact, rtol=1e-3)  # at θ = 0 the likelihood has no part in it


@pytest.mark.parametrize("language", LANGUAGES)
def test_masked_groups_are_zero_in_every_draw_and_quantiles_are_those_of_the_law(language: str) -> None:
    """Of two inputs one has log α above 3, the other log σ²; the draws of the latter are N(θ, α θ²) by Kolmogorov and Smirnov."""
    ppl, (_, y) = LANGUAGES[language], data()
    x = np.random.default_rng(0).normal(size=(6, 2))
    model = partial(models.mlp, prior=sm.LogUniform(), widths=(), likelihood=likelihoods.Gaussian(scale=1.0))
    params = {"w1_loc": np.array([[0.5], [-20.0]]), "w1_log_alpha": np.array([[4.0], [-1.0]]), "b1_loc": np.zeros(1)}
    with ppl.engine.precision("float64", "cpu"):
        guide = build(ppl, model, (x, y), choose=multiplicative(per="in", mask_above=3.0))
        draws, _ = guide.sample_posterior(ppl, params, (x, y), num_draws=300 if language == "pyro" else 2000, seed=0)
    assert np.all(draws["w1"][:, 0] == 0.0)
    law = stats.norm(-20.0, 20.0 * np.exp(-0.5))
    assert stats.kstest(draws["w1"][:, 1, 0], law.cdf).pvalue > 1e-4
    np.testing.assert_allclose(guide.quantiles(params, [0.1, 0.5])["w1"][:, 1, 0], law.ppf([0.1, 0.5]), rtol=1e-10)


@pytest.mark.slow
@pytest.mark.parametrize("per", ["in", "layer"])
def test_the_recipe_trains_it_and_predicts(per: str) -> None:
    """The loss falls, also with Kingma's approximation; parameters have their names; draws those of the model."""
    x, y = data(rows=20)
    method = "kingma" if per == "layer" else "exact"
    settings = variational_dropout.Settings(per=per, method=method, num_epochs=40, learning_rate=0.03, compile=False, **QUIET)
    fit = variational_dropout.fit(in_pyro, partial(NETWORK, likelihood=likelihoods.Gaussian(scale=0.3)), x, y, seed=0, settings=settings)
    assert np.mean(fit.losses[-5:]) < np.mean(fit.losses[:5])
    assert (fit.params["w1_log_alpha"].shape, fit.params["w2_log_alpha"].shape) == SHAPES[per]
    assert not np.allclose(fit.params["w1_log_alpha"], -4.0, atol=1e-2)
    assert "w1_log_variance" not in fit.params
    assert not fit.info.proper
    assert fit.draws["w1"].shape == (1, 3, 3, 2)
    assert np.isfinite(fit.predict(x[:4], seed=0).mean).all()


@pytest.mark.parametrize("language", ["pyro", pytest.param("numpyro", marks=pytest.mark.slow)])
def test_training_reaches_the_optimum_of_one_weight(language: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """y = 2 with unit noise: θ and σ² = α θ² of the least ½((2 − θ)² + σ²) + D(log α), which are those of the additive form."""
    rows = np.array([-1.0, 1.0])[:, None]
    monkeypatch.setattr("scalemix.pyro.variational.standard_normal", lambda like: in_pyro.engine.arrays(rows))
    monkeypatch.setattr("scalemix.numpyro.variational.standard_normal", lambda key, like: jax.numpy.array(rows))
    model = partial(models.linear, prior=sm.LogUniform(), bias_prior=None, likelihood=likelihoods.Gaussian(scale=1.0))
    options = {"num_epochs": 300, "learning_rate": 0.05, "schedule": "linear", "hold": 0.3, "compile": False, **QUIET}
    settings = variational_dropout.Settings(per="layer", log_alpha=-1.0, local_reparametrization=True, **options)
    fit = variational_dropout.fit(LANGUAGES[language], model, np.ones((2, 1)), np.full(2, 2.0), seed=3, settings=settings, num_data=1)
    theta, log_alpha = fit.params["w1_loc"][0], fit.params["w1_log_alpha"][0]
    np.testing.assert_allclose([theta, np.exp(log_alpha) * theta**2], [1.217506, 0.952691], atol=1e-3)


def test_what_is_refused() -> None:
    with pytest.raises(ValueError, match=r"Settings\(per='out'\): give one of 'weight', 'in', 'layer'"):
        variational_dropout.Settings(per="out")
    with pytest.raises(ValueError, match=r"Multiplicative cannot be the guide of the site 'b1': it has no axis 'in'"):
        build(in_numpyro, NETWORK, data(), choose=lambda target: Multiplicative(per="in") if target.site != "sigma" else Point())
    bounded = partial(models.linear, prior=sm.GaussianUniformMaximized(0.0, 2.0))
    guide = build(in_pyro, bounded, data(), choose=multiplicative())
    with pytest.raises(ValueError, match=r"expects a closed KL, and .* knows none from MultiplicativeNormal to VariationalLaw"):
        in_pyro.engine.objective(bounded, guide, data(), seed=0)
