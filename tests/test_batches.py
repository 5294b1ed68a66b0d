"""Recipes whose data come as batches: the optimum is that of all rows together, known in closed form."""

from __future__ import annotations

import importlib
import math

import numpy as np
import pytest
from trained import NOISE_SD, make_data

import scalemix as sm
from scalemix.inference import map as map_recipe
from scalemix.inference import spike_slab, vbd

LANGUAGES = ("numpyro", "pyro")
SETTINGS = map_recipe.Settings(num_epochs=250, learning_rate=0.05, schedule="cosine", num_draws=2, dtype="float64", progress=False)


def model(ppl, x, y=None, *, prior=sm.Normal(1.0)):  # noqa: B008  (priors are frozen values)
    w = ppl.weight("w", (x.shape[1],), prior, axes=("in",))
    with ppl.data_plate(x):
        return ppl.sample("y", ppl.dist.Normal(x @ w, NOISE_SD), obs=y)


def ridge(x, y):
    return np.linalg.solve(x.T @ x / NOISE_SD**2 + np.eye(x.shape[1]), x.T @ y / NOISE_SD**2)


def halves(x, y):
    return [(x[:30], y[:30]), (x[30:], y[30:])]


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("kind", ["list", "function of the epoch"])
def test_map_of_batches_is_the_ridge_estimate_of_all_rows(language, kind):
    ppl, (x, y) = importlib.import_module(f"scalemix.{language}"), make_data()
    batches = halves(x, y) if kind == "list" else lambda epoch: iter(halves(x, y)[:: 1 if epoch % 2 else -1])
    fit = map_recipe.fit(ppl, model, batches, num_data=60, seed=0, settings=SETTINGS)
    np.testing.assert_allclose(fit.draws["w"][0, 0], ridge(x, y), atol=2e-4)
    assert any("came as batches" in note for note in fit.info.notes)
    assert fit.log_likelihood["y"].shape == (1, 2, 30)
    assert np.isnan(fit.log_joint).all()


def test_a_torch_loader_does():
    import torch
    from torch.utils.data import DataLoader, TensorDataset

    import scalemix.pyro as ppl

    x, y = make_data()
    loader = DataLoader(TensorDataset(torch.as_tensor(x), torch.as_tensor(y)), batch_size=20, shuffle=True)
    fit = map_recipe.fit(ppl, model, loader, num_data=60, seed=0, settings=SETTINGS)
    np.testing.assert_allclose(fit.draws["w"][0, 0], ridge(x, y), atol=2e-3)


def test_batches_of_an_unknown_number_are_refused_where_it_counts():
    import scalemix.numpyro as ppl

    x, y = make_data()
    spike = sm.SpikeAndSlab(0.5, slab_scale=1.0, spike_scale=0.1)
    settings = spike_slab.Settings(num_epochs=4, two_starts=True, progress=False)
    with pytest.raises(ValueError, match="give batches that have a length, or the arrays"):
        spike_slab.fit(ppl, lambda *a, **k: model(*a, prior=spike, **k), lambda epoch: halves(x, y), num_data=60, seed=0, settings=settings)


@pytest.mark.parametrize(
    ("data", "num_data", "said"), [([(np.ones((4, 3)), np.ones(4))], None, "give num_data="), (iter([]), 4, "hold no batch")]
)
def test_bad_batches_are_refused(data, num_data, said):
    import scalemix.numpyro as ppl

    with pytest.raises(ValueError, match=said):
        vbd.fit(
            ppl,
            lambda *a, **k: model(*a, prior=sm.GaussianUniformMaximized(), **k),
            data,
            num_data=num_data,
            seed=0,
            settings=vbd.Settings(num_epochs=1, progress=False),
        )


@pytest.mark.parametrize(("data", "said"), [([np.ones((4, 3)), np.ones(4)], "one list of 2 arrays: give the arrays as"), ([], "are empty")])
def test_a_lone_list_of_arrays_is_refused(data, said):
    import scalemix.numpyro as ppl

    with pytest.raises(ValueError, match=said):
        map_recipe.fit(ppl, model, data, num_data=4, seed=0, settings=SETTINGS)


def test_a_list_of_numbers_is_an_array():
    import scalemix.numpyro as ppl

    x, y = make_data()
    fit = map_recipe.fit(ppl, model, x, y.tolist(), seed=0, settings=SETTINGS)
    np.testing.assert_allclose(fit.draws["w"][0, 0], ridge(x, y), atol=2e-4)
    assert not math.isnan(fit.log_joint[0, 0])
