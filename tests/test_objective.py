"""The objective of a guide and a model: its value and gradient against arithmetic written by hand, in both languages."""

from __future__ import annotations

from functools import partial
from itertools import product
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
    key = num_data, kl_weight
    if not hasattr(objective, "compiled_here"):
        objective.compiled_here = {}
    if key not in objective.compiled_here:
        loss = partial(objective.loss, key=jax.random.PRNGKey(0), kl_weight=kl_weight, num_data=num_data)
        objective.compiled_here[key] = jax.jit(jax.value_and_grad(loss, has_aux=True))
    (loss, parts), gradient = objective.compiled_here[key](values, batch)
    return float(loss), {name: np.asarray(g) for name, g in gradient.items()}, {name: float(part) for name, part in parts.items()}


BY_HAND = [*product(LANGUAGES, PRIORS, [True]), ("pyro", "LogUniform", False), ("numpyro", "Normal", False)]


@pytest.mark.parametrize(("language", "prior", "lazy"), BY_HAND)
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


MODELS: dict[str, tuple[Any, tuple[int, ...], dict[str, Any]]] = {
    "mlp": (models.mlp, (3,), {"widths": (4,), "prior": sm.LogUniform()}),
    "lenet": (
        models.lenet,
        (6, 6, 1),
        {
            "filters": (2,),
            "kernel": 3,
            "widths": (),
            "num_outputs": 3,
            "prior": sm.GaussianUniformMaximized(0.0, 2.0),
            "activation": "tanh",
        },
    ),
}


@pytest.mark.parametrize("name", [pytest.param("mlp", marks=pytest.mark.slow), "lenet"])
def test_both_languages_have_the_same_objective_and_gradient(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """At 5 random parameter vectors with the same noise: to 1e-9 in double and 1e-5 in single precision (of the largest entry)."""
    given_noise(monkeypatch)
    function, row_shape, options = MODELS[name]
    rng, model = np.random.default_rng(4), partial(function, **options)
    arrays = rng.normal(size=(5, *row_shape)), rng.integers(0, 3, size=5) if name == "lenet" else rng.normal(size=5)
    found: dict[tuple[str, str], list[tuple]] = {}
    for (language, ppl), dtype in product(LANGUAGES.items(), ("float64", "float32")):
        with ppl.engine.precision(dtype, "cpu"):
            guide = build(ppl, model, arrays, lazy=True)
            objective = ppl.engine.objective(model, guide, arrays, seed=0)
            points = [random_params(guide, seed) for seed in range(5)]
            found[language, dtype] = [value_and_gradient(ppl, objective, point, arrays) for point in points]
    for dtype, rtol in (("float64", 1e-9), ("float32", 1e-5)):
        for ours, theirs in zip(found["pyro", dtype], found["numpyro", dtype], strict=True):
            np.testing.assert_allclose(ours[0], theirs[0], rtol=rtol)
            assert ours[1].keys() == theirs[1].keys()
            for site, gradient in theirs[1].items():
                np.testing.assert_allclose(ours[1][site], gradient, rtol=rtol, atol=rtol * np.abs(gradient).max(), err_msg=site)
