"""Prior predictive draws in both languages against the closed moments of a linear function."""

from __future__ import annotations

import importlib
from functools import partial

import numpy as np
import pytest

import scalemix as sm
from scalemix import likelihoods
from scalemix.models import linear, mlp

S = 2000
PRIORS = {"laplace": (sm.Laplace(0.5), 2 * 0.5**2), "gate": (sm.SpikeAndSlab(0.25, 2.0), 0.25 * 4.0)}


@pytest.fixture(params=["pyro", "numpyro"])
def ppl(request):
    return importlib.import_module(f"scalemix.{request.param}")


@pytest.mark.parametrize("name", PRIORS)
def test_moments_of_a_linear_function(ppl, name):
    prior, variance = PRIORS[name]
    x = np.array([[1.0, 2.0], [0.0, -1.0], [0.5, 0.0]])
    model = partial(linear, prior=prior, likelihood=likelihoods.Gaussian(scale=0.5))
    num_draws = S if ppl.name == "numpyro" else 400
    found = sm.prior_predictive(ppl, model, x, num_draws=num_draws, seed=0)
    assert found.mean.shape == found.draws.shape == (num_draws, 3)
    assert set(found.sites) == {"w1", "w1_noise", "w1_base", "b1"}
    np.testing.assert_allclose(found.mean, found.sites["w1"] @ x.T + found.sites["b1"][:, None], rtol=1e-9, atol=1e-12)
    expected = variance * np.sum(x**2, axis=1) + 1.0
    square = found.mean**2
    assert np.all(np.abs(square.mean(axis=0) - expected) < 4.5 * square.std(axis=0) / np.sqrt(num_draws))
    assert np.std(found.draws - found.mean) == pytest.approx(0.5, rel=4 / np.sqrt(2 * 3 * num_draws))


def test_probabilities_of_classes(ppl):
    x = np.array([[1.0], [-1.0]])
    model = partial(mlp, prior=sm.Normal(), widths=(3,), likelihood="categorical", num_outputs=4)
    found = sm.prior_predictive(ppl, model, x, num_draws=20, seed=1)
    assert found.mean.shape == (20, 2, 4)
    np.testing.assert_allclose(found.mean.sum(axis=-1), 1.0, rtol=1e-9)


def test_an_unknown_site_is_refused(ppl):
    with pytest.raises(ValueError, match=r"no site 'z'.*'y'"):
        sm.prior_predictive(ppl, partial(linear, prior=sm.Normal()), np.ones((2, 1)), num_draws=5, seed=0, site="z")
