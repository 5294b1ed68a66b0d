"""The guides of VIBNet, sBNN, the horseshoe, concrete dropout and the dynamic regularizer: known answers through the real engine."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
import torch
from elbo_by_hand import given_noise
from known_answers import KNOWN
from test_objective import LANGUAGES, build, data, value_and_gradient

import scalemix as sm
import scalemix.numpyro.variational
import scalemix.pyro.variational
from scalemix import likelihoods, models, noise
from scalemix.guides import Gate, Point, SpikeSlab
from scalemix.inference import spike_slab, vib

QUIET = {"progress": False, "dtype": "float64", "device": "cpu", "num_draws": 2}


def signs(monkeypatch: pytest.MonkeyPatch, first: float = 1.0) -> None:
    """Noise that is ±1 in turn along the rows: of a function quadratic in it, two equal rows have the exact expectation as their mean."""

    def values(shape: tuple[int, ...]) -> np.ndarray:
        rows = first * (-1.0) ** np.arange(shape[0] if shape else 1)
        return np.broadcast_to(rows.reshape(-1, *(1,) * (len(shape) - 1)), shape) if shape else rows[0]

    monkeypatch.setattr(
        scalemix.pyro.variational, "standard_normal", lambda like: torch.as_tensor(np.array(values(tuple(like.shape)))).to(like.dtype)
    )
    monkeypatch.setattr(
        scalemix.numpyro.variational, "standard_normal", lambda key, like: jnp.asarray(values(tuple(like.shape)), like.dtype)
    )


# --- spike and slab ----------------------------------------------------------------------------------------------------------------

ONE_WEIGHT = partial(
    models.linear, prior=sm.SpikeAndSlab(0.5, 1.0, 0.05), bias_prior=None, likelihood=likelihoods.Gaussian(scale=0.2)
)
TWO_ROWS = np.ones((2, 1)), np.ones(2)  # one observation y = 1, once with noise +σ and once with −σ


@pytest.mark.parametrize("language", LANGUAGES)
def test_two_starts_reach_the_slab_and_a_start_in_the_spike_stays_there(language: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """G11 and the other optimum: objectives 2.80296468 and 12.31291317, of which two starts keep the lower."""
    signs(monkeypatch)
    options = {"num_epochs": 350, "learning_rate": 0.05, "schedule": "cosine", "local_reparametrization": True, **QUIET}
    ppl = LANGUAGES[language]
    settings = spike_slab.Settings(two_starts=True, log_variance=-4, **options)
    found = spike_slab.fit(ppl, ONE_WEIGHT, *TWO_ROWS, seed=0, settings=settings, num_data=1)
    assert found.params["w1_loc"][0] == pytest.approx(KNOWN["G11"].value, abs=1e-3)
    assert math.exp(found.params["w1_log_variance"][0]) == pytest.approx(0.03846154, abs=1e-3)
    assert found.params["w1_variational_inclusion_prob"][0] == pytest.approx(1.0, abs=1e-6)
    assert found.losses[-1] == pytest.approx(2.80296468 + math.log(0.2) + 0.5 * math.log(2 * math.pi), abs=1e-3)
    settings = spike_slab.Settings(method="alternating", first_inclusion=0.0, refresh_every=20, log_variance=-4, **options)
    stuck = spike_slab.fit(ppl, ONE_WEIGHT, *TWO_ROWS, seed=0, settings=settings, num_data=1)
    assert stuck.params["w1_loc"][0] == pytest.approx(0.07282713, abs=1e-3)
    assert stuck.params["w1_variational_inclusion_prob"][0] == pytest.approx(0.20481533, abs=1e-3)


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_elbo_of_mean_field_on_eight_columns(language: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """I18, at the fixed point of coordinate ascent: the engine's objective with the noises ε and −ε averaged."""
    i, j = np.arange(1, 21)[:, None], np.arange(1, 9)[None, :]
    x = np.sin(0.7 * i * j) + 0.3 * np.cos(i + 2 * j)
    y = x @ np.array([2, 0, -1.5, 0, 0, 0.8, 0, 0]) + 0.5 * np.sin(3.1 * np.arange(1, 21) ** 2)
    mean, variance, p = np.zeros(8), np.ones(8), np.full(8, 0.5)
    for _ in range(400):
        for k in range(8):
            variance[k] = 1.0 / (x[:, k] @ x[:, k] / 0.25 + p[k] + (1 - p[k]) / 0.05**2)
            mean[k] = variance[k] * (x[:, k] @ (y - x @ mean + x[:, k] * mean[k])) / 0.25
            square = mean[k] ** 2 + variance[k]
            p[k] = 1.0 / (1.0 + 0.7 / 0.3 / 0.05 * math.exp(-0.5 * square * (400.0 - 1.0)))
    ppl = LANGUAGES[language]
    model = partial(models.linear, prior=sm.SpikeAndSlab(0.3, 1.0, 0.05), bias_prior=None, likelihood=likelihoods.Gaussian(scale=0.5))
    params, losses = {"w1_loc": mean, "w1_log_variance": np.log(variance)}, []
    gradients = []
    with ppl.engine.precision("float64", "cpu"):
        guide = build(ppl, model, (x, y), lazy=True, choose=lambda target: SpikeSlab(prior_inclusion=0.3))
        for first in (1.0, -1.0):
            signs(monkeypatch, first)
            objective = ppl.engine.objective(model, guide, (x, y), seed=0)
            loss, gradient, _ = value_and_gradient(ppl, objective, params, (x, y), num_data=20, kl_weight=1.0)
            losses.append(loss)
            gradients.append(gradient)
    assert -np.mean(losses) == pytest.approx(KNOWN["I18"].value, rel=1e-8)
    for name in params:
        np.testing.assert_allclose(gradients[0][name] + gradients[1][name], 0.0, atol=1e-6)


def test_spike_and_slab_refuses_what_it_cannot_treat() -> None:
    x, y = data()
    with pytest.raises(ValueError, match="use scalemix.inference.vbd"):
        spike_slab.fit(LANGUAGES["numpyro"], partial(models.linear, prior=sm.GaussianUniformMaximized()), x, y, seed=0)
    with pytest.raises(ValueError, match="leave parametrization= open"):
        model = partial(models.linear, prior=sm.SpikeAndSlab(0.5, 1.0, 0.1), parametrization="hierarchical")
        spike_slab.fit(LANGUAGES["numpyro"], model, x, y, seed=0)
    with pytest.raises(ValueError, match="give 'collapsed' or 'alternating'"):
        spike_slab.Settings(method="gibbs")
