"""Recipes with our guides: what they return, what they refuse, and what they say of results that are no posterior."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_objective import LANGUAGES, data

import scalemix as sm
import scalemix.numpyro as in_numpyro
import scalemix.pyro as in_pyro
from scalemix import inference, likelihoods, models, noise

DROPOUT = sm.ScaleMixture(noise.Bernoulli.from_dropout_rate(0.2).per("in"))
TREATS: dict[str, dict[str, Any]] = {
    "variational_dropout": {"prior": sm.LogUniform()},
    "vbd": {"prior": sm.GaussianUniformMaximized()},
    "map": {"prior": sm.Laplace(), "parametrization": "marginal"},
    "mc_dropout": {"prior": DROPOUT, "noise_on": "input", "noise_plate": "example"},
    "bayes_by_backprop": {"prior": sm.NormalMixture()},
    "spike_slab": {"prior": sm.SpikeAndSlab(0.5, 1.0, 0.1)},
    "horseshoe": {"prior": sm.Horseshoe(0.5, per="in", slab_scale=2.0)},
    "vib": {"prior": sm.ScaleMixture(noise.Bottleneck().per("in")), "noise_on": "input", "noise_plate": "example"},
    "concrete": {"prior": sm.ScaleMixture(noise.Bernoulli(0.9).per("in")), "noise_on": "input", "noise_plate": "example"},
    "dynamic_regularizer": {"prior": sm.Normal()},
}
OPTIONS: dict[str, dict[str, Any]] = {"dynamic_regularizer": {"fraction": 0.5, "momentum": 0.5}}
IMPROPER = ("variational_dropout", "vbd", "vib", "concrete", "dynamic_regularizer")
WITH_POINTS = ("map", "mc_dropout", "spike_slab", "horseshoe")  # of weights, or of biases alone


SLOW = tuple(name for name in TREATS if name != "vib")


@pytest.mark.parametrize("name", [pytest.param(name, marks=pytest.mark.slow) if name in SLOW else name for name in TREATS])
def test_a_recipe_trains_and_says_what_its_result_is(name: str) -> None:
    """In NumPyro at every place (in Pyro the objective is held equal elsewhere): the loss falls, draws have the model's shapes."""
    recipe, (x, y) = getattr(inference, name), data(rows=20)
    model = partial(models.mlp, widths=(3,), likelihood=likelihoods.Gaussian(scale=0.3), **TREATS[name])
    settings = recipe.Settings(num_epochs=40, learning_rate=0.03, num_draws=7, progress=False, dtype="float64", **OPTIONS.get(name, {}))
    fit = recipe.fit(in_numpyro, model, x, y, seed=0, settings=settings)
    assert np.mean(fit.losses[-5:]) < np.mean(fit.losses[:5])
    assert fit.draws["w1"].shape == (1, 7, 3, 3)
    assert set(fit.params) >= set(fit.guide.initial)
    improper = name in IMPROPER
    assert fit.info.proper is not improper
    assert any("no posterior" in note for note in fit.info.notes) == (improper or name in WITH_POINTS)
    assert np.isfinite(fit.log_joint).all() is np.bool_(not improper)


def test_a_recipe_in_torch_predicts_and_is_saved(tmp_path: Path) -> None:
    x, y = data(rows=20)
    model = partial(models.linear, prior=sm.GaussianUniformMaximized())
    settings = inference.vbd.Settings(num_epochs=30, batch_size=10, learning_rate=0.03, num_draws=5, progress=False, kl_weight=0.5)
    fit = inference.vbd.fit(in_pyro, model, x, y, seed=0, settings=settings)
    assert any("tempered" in note for note in fit.info.notes)
    prediction = fit.predict(x[:4], seed=0)
    again = sm.Posterior.load(fit.save(tmp_path / "fit.nc"), model=sm.variational(model))
    np.testing.assert_allclose(again.predict(x[:4], seed=0).mean, prediction.mean)
    with pytest.raises(ValueError, match="cannot be sampled"):
        sm.Posterior.load(tmp_path / "fit.nc", model=model).predict(x[:4], seed=0)


REFUSED = [
    ("vbd", {"prior": sm.LogUniform()}, "vbd is for .* 'w1' has LogUniform.*: use scalemix.inference.variational_dropout"),
    ("variational_dropout", {"prior": sm.GaussianUniformMaximized()}, "use scalemix.inference.vbd"),
    ("bayes_by_backprop", {"prior": sm.StudentT()}, "use scalemix.inference.mean_field"),
    ("vbd", {"prior": sm.NormalMixture()}, "use scalemix.inference.bayes_by_backprop"),
    ("map", {"prior": sm.LogUniform()}, "map needs a prior with a bounded density.*: use scalemix.inference.variational_dropout"),
    ("mc_dropout", {"prior": sm.Normal()}, "mc_dropout needs noises that are sites"),
    ("mc_dropout", {"prior": sm.LogUniform()}, "mc_dropout draws noises, .*: use scalemix.inference.variational_dropout"),
]


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize(("name", "options", "sentence"), REFUSED)
def test_a_recipe_refuses_a_prior_and_names_the_one_that_treats_it(language: str, name: str, options: dict, sentence: str) -> None:
    recipe = getattr(inference, name)
    with pytest.raises(ValueError, match=sentence):
        recipe.fit(LANGUAGES[language], partial(models.linear, **options), *data(), seed=0, settings=recipe.Settings(progress=False))


def test_an_unknown_method_is_refused() -> None:
    with pytest.raises(ValueError, match=r"Settings\(method='exactly'\): give one of 'exact'"):
        inference.variational_dropout.Settings(method="exactly")
