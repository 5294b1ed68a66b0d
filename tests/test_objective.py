"""The objective of a guide and a model: its value and gradient against arithmetic written by hand, in both languages."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import numpy as np
import pytest
import torch
from elbo_by_hand import central_differences, given_noise, mlp_loss
from scipy import special

import scalemix as sm
import scalemix.numpyro as in_numpyro
import scalemix.pyro as in_pyro
from scalemix import likelihoods, models
from scalemix.guides import Component, Gaussian, Guide, Point, Target
from scalemix.variational_scope import variational, variational_scope

LANGUAGES = {"pyro": in_pyro, "numpyro": in_numpyro}
PRIORS = {"LogUniform": sm.LogUniform(), "GaussianUniformMaximized": sm.GaussianUniformMaximized(), "Normal": sm.Normal()}
NUM_DATA, KL_WEIGHT = 30, 0.7


def data(rows: int = 6, columns: int = 3) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    x = rng.normal(size=(rows, columns))
    return x, x[:, 0] - 0.5 * x[:, 1] + 0.1 * rng.normal(size=rows)


def weights_normal(target: Target) -> Component:
    return Gaussian() if target.role == "weight" else Point()


def build(ppl: Any, model: Any, arrays: tuple, *, lazy: Any = "auto", choose: Any = weights_normal) -> Guide:
    with variational_scope(placeholders=True):
        structure = ppl.engine.structure(variational(model), arrays, seed=0)
    return Guide.build(structure, choose, seed=0, local_reparametrization=lazy)


def random_params(guide: Guide, seed: int) -> dict[str, np.ndarray]:
    """All entries in the bulk: no log α near where it is held."""
    rng = np.random.default_rng(seed)
    centers = {name: -2.0 if name.endswith("log_variance") else 0.0 for name in guide.initial}
    return {name: np.asarray(centers[name] + rng.normal(size=value.shape)) for name, value in guide.initial.items()}


def value_and_gradient(
    ppl: Any, objective: Any, params: dict[str, np.ndarray], arrays: tuple, num_data: int = NUM_DATA, kl_weight: float = KL_WEIGHT
) -> tuple[float, dict[str, np.ndarray], dict[str, float]]:
    values, batch = ppl.engine.arrays(dict(params)), ppl.engine.arrays(arrays)
    if ppl is in_pyro:
        leaves = {name: value.clone().requires_grad_() for name, value in values.items()}
        loss, parts = objective.loss(leaves, batch, None, kl_weight, num_data)
        gradient = dict(zip(leaves, torch.autograd.grad(loss, list(leaves.values())), strict=True))
        return loss.item(), {name: g.numpy() for name, g in gradient.items()}, {name: part.item() for name, part in parts.items()}
    function = jax.jit(jax.value_and_grad(lambda p: objective.loss(p, batch, jax.random.PRNGKey(0), kl_weight, num_data), has_aux=True))
    (loss, parts), gradient = function(values)
    return float(loss), {name: np.asarray(g) for name, g in gradient.items()}, {name: float(part) for name, part in parts.items()}


@pytest.mark.parametrize("lazy", [True, False])
@pytest.mark.parametrize("prior", PRIORS)
@pytest.mark.parametrize("language", LANGUAGES)
def test_the_objective_of_a_network_is_the_arithmetic_by_hand(
    language: str, prior: str, lazy: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    given_noise(monkeypatch)
    ppl, arrays = LANGUAGES[language], data()
    model = partial(models.mlp, prior=PRIORS[prior], widths=(4,))
    with ppl.engine.precision("float64", "cpu"):
        guide = build(ppl, model, arrays, lazy=lazy)
        objective = ppl.engine.objective(model, guide, arrays, seed=0)
        params = random_params(guide, 3)
        loss, gradient, parts = value_and_gradient(ppl, objective, params, arrays)
    assert set(params) == set(objective.params)

    def by_hand(p: dict[str, np.ndarray]) -> Any:
        return mlp_loss(p, *arrays, prior, lazy=lazy, num_data=NUM_DATA, kl_weight=KL_WEIGHT)

    np.testing.assert_allclose([loss, parts["nll"], parts["kl"]], by_hand(params), rtol=1e-9)
    expected = central_differences(lambda p: by_hand(p)[0], params)
    for name, each in expected.items():
        np.testing.assert_allclose(gradient[name], each, rtol=1e-6, atol=1e-6 * np.abs(loss), err_msg=name)


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_gradient_of_a_regression_is_its_formula(language: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With local reparametrization f = x θ + √((x∘x) σ²) ε, and dKL/d log α = −√u D(√u), u = 1/(2α), D Dawson's function."""
    given_noise(monkeypatch)
    from elbo_by_hand import noise_of

    ppl, (x, y) = LANGUAGES[language], data()
    model = partial(models.linear, prior=sm.LogUniform(), bias_prior=None, likelihood=likelihoods.Gaussian(scale=0.5))
    with ppl.engine.precision("float64", "cpu"):
        guide = build(ppl, model, (x, y), lazy=True)
        params = random_params(guide, 5)
        objective = ppl.engine.objective(model, guide, (x, y), seed=0)
        _, gradient, _ = value_and_gradient(ppl, objective, params, (x, y))
    theta, variance = params["w1_loc"], np.exp(params["w1_log_variance"])
    sd, epsilon = np.sqrt(x**2 @ variance), noise_of((len(y), 1))[:, 0]
    slope = NUM_DATA / len(y) * (x @ theta + sd * epsilon - y) / 0.5**2
    root = np.abs(theta) / np.sqrt(2.0 * variance)
    by_log_alpha = -KL_WEIGHT * root * special.dawsn(root)
    np.testing.assert_allclose(gradient["w1_loc"], slope @ x - 2.0 * by_log_alpha / theta, rtol=1e-9)
    by_log_variance = (slope * 0.5 * epsilon / sd) @ (x**2 * variance) + by_log_alpha
    np.testing.assert_allclose(gradient["w1_log_variance"], by_log_variance, rtol=1e-9)
