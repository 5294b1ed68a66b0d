"""Local reparametrization: a layer's pre-activations have the law that drawn weights give them, and the weight can still be drawn."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import numpy as np
import numpyro
import pyro
import pytest
import torch
from sklearn.datasets import load_digits
from test_objective import LANGUAGES, build

import scalemix as sm
import scalemix.pyro as in_pyro
from scalemix import models, noise
from scalemix.guides import Component, Gaussian, Point, Target

# Rows K1 and K2: the inputs that the table of known answers leaves to its heading.
K_X, K_THETA, K_ALPHA = np.array([1.0, 2.0]), np.array([[0.5, 1.0], [-0.3, 0.8]]), 0.25
K1_VARIANCE, K2_COVARIANCE = 0.1525, -0.115


def lazy_weight(language: str, loc: np.ndarray, variance: np.ndarray) -> Any:
    """A weight not drawn, and the language's arrays."""
    ppl = LANGUAGES[language]
    law = ppl.dist.WeightNormal(ppl.engine.arrays(loc), ppl.engine.arrays(np.log(variance)), lazy=True)
    return law.rsample() if language == "pyro" else law.sample(jax.random.PRNGKey(3))


@pytest.mark.parametrize("sigma", [1e-6, 0.1, 10.0])
@pytest.mark.parametrize("language", LANGUAGES)
def test_pre_activations_have_the_mean_and_variance_of_drawn_weights(language: str, sigma: float) -> None:
    """h w with 20 000 equal rows: mean h θ, variance (h∘h) σ², each within 5 standard errors; other columns and rows are independent."""
    ppl, rng, num = LANGUAGES[language], np.random.default_rng(0), 20_000
    h, loc = rng.normal(size=4), rng.normal(size=(4, 2))
    variance = (sigma * rng.uniform(0.5, 2.0, size=loc.shape)) ** 2
    with in_pyro.engine.seeded(1), ppl.engine.precision("float64", "cpu"):
        w = lazy_weight(language, loc, variance)
        out = np.asarray(ppl.linear(ppl.engine.arrays(np.tile(h, (num, 1))), w))
        law = ppl.dist.WeightNormal(ppl.engine.arrays(loc), ppl.engine.arrays(np.log(variance)))
        key = jax.random.PRNGKey(5)
        drawn = np.asarray(law.rsample((num,)) if language == "pyro" else law.sample(key, (num,)))
    for sample in (out, np.einsum("i,nio->no", h, drawn)):
        expected = h**2 @ variance
        np.testing.assert_array_less(np.abs(sample.mean(0) - h @ loc), 5.0 * np.sqrt(expected / num))
        np.testing.assert_array_less(np.abs(sample.var(0) / expected - 1.0), 5.0 * np.sqrt(2.0 / num))
        assert abs(np.corrcoef(sample.T)[0, 1]) < 5.0 / np.sqrt(num)


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_convolution_has_the_mean_and_variance_of_drawn_weights(language: str) -> None:
    ppl, rng, num = LANGUAGES[language], np.random.default_rng(2), 4000
    x, loc = rng.normal(size=(4, 5, 2)), rng.normal(size=(3, 3, 2, 2))
    variance = rng.uniform(0.1, 1.0, size=loc.shape)
    with in_pyro.engine.seeded(1), ppl.engine.precision("float64", "cpu"):
        images = ppl.engine.arrays(np.tile(x, (num, 1, 1, 1)))
        out = np.asarray(ppl.conv2d(images, lazy_weight(language, loc, variance), stride=1, padding=1))
    padded = np.pad(x, ((1, 1), (1, 1), (0, 0)))
    patches = np.array([[padded[r : r + 3, s : s + 3] for s in range(5)] for r in range(4)])
    mean, expected = np.einsum("rsijc,ijco->rso", patches, loc), np.einsum("rsijc,ijco->rso", patches**2, variance)
    np.testing.assert_array_less(np.abs(out.mean(0) - mean), 5.0 * np.sqrt(expected / num))
    np.testing.assert_array_less(np.abs(out.var(0) / expected - 1.0), 5.0 * np.sqrt(2.0 / num))


@pytest.mark.parametrize("language", LANGUAGES)
def test_whatever_else_is_done_with_a_weight_draws_it_once(language: str) -> None:
    ppl = LANGUAGES[language]
    w = lazy_weight(language, np.zeros((3, 2)), np.ones((3, 2)))
    one = np.asarray(ppl.array(w) if language == "numpyro" else torch.clone(w))
    for other in (w + 0.0, 1.0 * w, w / 1.0, (w**2) ** 0.5 * ppl.where(w > 0.0, 1.0, -1.0), w.reshape((2, 3)).reshape((3, 2))):
        np.testing.assert_array_equal(np.asarray(other), one)
    if language == "pyro":
        np.testing.assert_array_equal(
            torch.atanh(torch.tanh(w * 1e-3)) * 1e3 - w, torch.atanh(torch.tanh(w.drawn() * 1e-3)) * 1e3 - w.drawn()
        )
    else:
        with pytest.raises(ValueError, match="explicitly convert your object"):  # JAX's own sentence; ppl.array(w) does it
            jax.numpy.tanh(w)
    assert np.std(one) > 0.0
    np.testing.assert_array_equal(np.asarray(ppl.array(w[..., None]))[..., 0], one)
    np.testing.assert_array_equal(np.asarray(ppl.engine.arrays(np.eye(3)) @ w), one)


@pytest.mark.parametrize("language", LANGUAGES)
def test_k1_k2_noise_on_weights_is_independent_and_on_inputs_correlated(language: str) -> None:
    """Known answers K1 and K2: of B = x θ under noise of variance α, Var B₁ = .1525 in both; Cov(B₁, B₂) is 0 (B) or −.115 (A)."""
    ppl, num = LANGUAGES[language], 40_000
    prior = sm.ScaleMixture(noise.Gaussian(1.0, K_ALPHA**0.5).per("in"))
    with in_pyro.engine.seeded(1), ppl.engine.precision("float64", "cpu"):
        x = ppl.engine.arrays(np.tile(K_X, (num, 1)))
        theta = ppl.engine.arrays(K_THETA)
        type_b = np.asarray(ppl.linear(x, lazy_weight(language, K_THETA, K_ALPHA * K_THETA**2)))

        def layer() -> Any:
            return ppl.dense("w", x, 2, prior, noise_on="input", noise_plate="example")

        if language == "pyro":
            type_a = pyro.poutine.condition(layer, data={"w": theta})().numpy()
        else:
            type_a = np.asarray(numpyro.handlers.seed(numpyro.handlers.substitute(layer, data={"w": theta}), 0)())
    for sample, covariance in ((type_b, 0.0), (type_a, K2_COVARIANCE)):
        error = 5.0 * np.sqrt(2.0 / num) * np.var(sample, axis=0).max()
        assert abs(np.var(sample[:, 0]) - K1_VARIANCE) < 5.0 * K1_VARIANCE * np.sqrt(2.0 / num)
        assert abs(np.cov(sample.T)[0, 1] - covariance) < error


@pytest.mark.slow
@pytest.mark.parametrize("language", LANGUAGES)
def test_gradients_of_lenet_vary_at_most_a_third_as_much_as_with_drawn_weights(language: str) -> None:
    """LeNet-300-100, a batch of 128 images of digits, first values of the variational recipes: the variance of the likelihood's gradient,
    summed over all parameters. Kingma, Salimans and Welling (2015), section 2."""
    ppl, num = LANGUAGES[language], 40
    digits = load_digits()
    x = np.pad(np.kron(digits.images[:128] / 16.0, np.ones((1, 3, 3))), ((0, 0), (2, 2), (2, 2))).reshape(128, 784)
    sizes = {"widths": (300, 100), "num_outputs": 10, "likelihood": "categorical", "activation": "relu"}
    model = sm.variational(partial(models.mlp, prior=sm.GaussianUniformMaximized(), **sizes))
    spread = {}
    for lazy in (True, False):
        with ppl.engine.precision("float32", "cpu"), in_pyro.engine.seeded(0):
            data = x, digits.target[:128]
            objective = ppl.engine.objective(model, build(ppl, model, data, lazy=lazy, choose=gaussian_weights), data, seed=0)
            batch = ppl.engine.arrays(data)
            of = gradient(language, objective, batch)
            gradients = [of(seed) for seed in range(num)]
        spread[lazy] = sum(np.var([each[name] for each in gradients], axis=0).sum() for name in objective.params)
    assert 0.0 < spread[True] < spread[False] / 3.0


def gaussian_weights(target: Target) -> Component:
    return Gaussian(log_variance=-8) if target.role == "weight" else Point()


def gradient(language: str, objective: Any, batch: tuple) -> Callable[[int], dict[str, np.ndarray]]:
    """Of the expected log likelihood, by fresh noise from a seed."""
    if language == "numpyro":
        found = jax.jit(jax.grad(lambda params, key: objective.loss(params, batch, key, 0.0)[0]))
        return lambda seed: {name: np.asarray(each) for name, each in found(objective.params, jax.random.PRNGKey(seed)).items()}
    params = {name: value.detach().requires_grad_() for name, value in objective.params.items()}
    leaves = list(params.values())

    def drawn(seed: int) -> dict[str, np.ndarray]:
        with in_pyro.engine.seeded(seed):
            each = torch.autograd.grad(objective.loss(params, batch, None, 0.0)[0], leaves)
        return {name: value.numpy() for name, value in zip(params, each, strict=True)}

    return drawn
