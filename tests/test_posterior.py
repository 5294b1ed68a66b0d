"""Posterior: what ArviZ gets from both languages, what is saved comes back, prediction and its parts, the log joint and log guide."""

from __future__ import annotations

import dataclasses
from functools import partial

import arviz as az
import numpy as np
import pandas as pd
import pytest
from scipy import stats

import scalemix as sm
import scalemix.numpyro
import scalemix.pyro
from scalemix import likelihoods, noise
from scalemix.inference import full_rank, mean_field, nuts
from scalemix.models import linear

LANGUAGES = {"numpyro": scalemix.numpyro, "pyro": scalemix.pyro}
COLUMNS = ["age", "bmi", "bp"]
RNG = np.random.default_rng(3)
X = pd.DataFrame(RNG.normal(size=(25, 3)), columns=COLUMNS)
Y = X["age"].to_numpy() - 0.5 * X["bp"].to_numpy() + 0.7 * RNG.normal(size=25)
MODEL = partial(linear, prior=sm.ScaleMixture(noise.Gaussian(1.0, 0.3)))


@pytest.fixture(scope="module", params=LANGUAGES)
def guide_fit(request):
    settings = mean_field.Settings(num_steps=300, num_draws=60, progress=False)
    return mean_field.fit(LANGUAGES[request.param], MODEL, X, Y, seed=0, settings=settings)


@pytest.fixture(scope="module")
def nuts_fit():
    settings = nuts.Settings(num_warmup=150, num_draws=50, num_chains=2, progress=False)
    return nuts.fit(scalemix.numpyro, MODEL, X, Y, seed=0, settings=settings)


def by_hand(posterior) -> np.ndarray:
    """log p(θ, y) of every draw with SciPy: the model written out once more."""
    d = posterior.draws
    mean = np.einsum("ni,cdi->cdn", X.to_numpy(), d["w1"]) + d["b1"][..., None]
    terms = stats.halfnorm.logpdf(d["sigma"]) + stats.norm.logpdf(d["b1"]) + stats.norm.logpdf(Y, mean, d["sigma"][..., None]).sum(-1)
    return terms + stats.norm.logpdf(d["w1_noise"], 1.0, 0.3).sum(-1) + stats.norm.logpdf(d["w1_base"]).sum(-1)


def test_log_joint_is_the_models(guide_fit, nuts_fit):
    for posterior in (guide_fit, nuts_fit):
        np.testing.assert_allclose(posterior.log_joint, by_hand(posterior), rtol=1e-9)
        np.testing.assert_allclose(posterior.draws["w1"], posterior.draws["w1_noise"] * posterior.draws["w1_base"], rtol=1e-12)


def test_log_guide_is_a_density(guide_fit):
    """E_q[exp(log p − log q)] is the evidence, whatever q: the ELBO's own draws must stay below it and near the last losses."""
    elbo = np.mean(guide_fit.log_joint - guide_fit.log_guide)
    error = np.std(guide_fit.log_joint - guide_fit.log_guide) / np.sqrt(guide_fit.num_draws)
    last = -guide_fit.losses[-50:]
    assert abs(elbo - last.mean()) < 5 * np.hypot(error, last.std() / np.sqrt(50)) + 0.05 * abs(last.mean())


@pytest.mark.parametrize("language", ["numpyro", pytest.param("pyro", marks=pytest.mark.slow)])
def test_log_guide_of_a_joint_guide_counts_the_jacobian(language: str) -> None:
    """A guide that is exact: its importance ratios are all the evidence, so they are constant. Its density is that of an auxiliary site."""

    def model(ppl, y=None):
        scale = ppl.sample("scale", ppl.dist.LogNormal(0.3, 0.5))
        with ppl.data_plate(y):
            ppl.sample("y", ppl.dist.Normal(0.0 * scale, 1.0), obs=y)

    settings = full_rank.Settings(num_steps=3000, num_draws=200, progress=False, learning_rate=0.02)
    fit = full_rank.fit(LANGUAGES[language], model, np.zeros(2), seed=0, settings=settings)
    ratios = fit.log_joint - fit.log_guide
    assert ratios.std() < 0.05
    assert abs(ratios.mean() - 2 * stats.norm.logpdf(0.0)) < 0.05


def test_groups_dims_and_coords(guide_fit, nuts_fit):
    for posterior in (guide_fit, nuts_fit):
        data = posterior.to_arviz()
        groups = {"posterior", "sample_stats", "log_likelihood", "posterior_predictive", "prior", "observed_data", "constant_data"}
        assert groups <= set(data.groups())
        assert list(data.posterior.data_vars) == ["sigma", "w1_noise", "w1_base", "b1", "w1"]
        for site in ("w1", "w1_noise", "w1_base"):
            assert data.posterior[site].dims == ("chain", "draw", "in")
        assert list(data.posterior["in"].values) == COLUMNS
        product = data.posterior["w1_noise"] * data.posterior["w1_base"]
        np.testing.assert_allclose(product, data.posterior["w1"], rtol=1e-12)
        assert data.log_likelihood["y"].dims == ("chain", "draw", "case")
        assert data.posterior_predictive["y"].shape == data.log_likelihood["y"].shape
        np.testing.assert_array_equal(data.observed_data["y"], Y)
        np.testing.assert_array_equal(data.constant_data["x0"], X.to_numpy())
        np.testing.assert_array_equal(data.sample_stats["lp"], posterior.log_joint)
    assert {"diverging", "energy", "tree_depth", "n_steps", "acceptance_rate", "step_size"} <= set(nuts_fit.sample_stats)


def test_save_and_load(guide_fit, nuts_fit, tmp_path):
    for number, posterior in enumerate((guide_fit, nuts_fit)):
        path = posterior.save(tmp_path / f"{number}.nc")
        loaded = sm.Posterior.load(path, model=MODEL)
        assert loaded.info == posterior.info
        assert (loaded.latents, loaded.dims, loaded.coords) == (posterior.latents, {**posterior.dims, **loaded.dims}, posterior.coords)
        for name in ("draws", "sample_stats", "log_likelihood", "observed", "constant", "prior_draws", "predictive_draws"):
            ours, theirs = getattr(posterior, name), getattr(loaded, name)
            assert list(ours) == list(theirs)
            for key, value in ours.items():
                np.testing.assert_array_equal(value, theirs[key])
        np.testing.assert_array_equal(posterior.log_joint, loaded.log_joint)
        np.testing.assert_array_equal(posterior.predict(X, seed=1).draws, loaded.predict(X, seed=1).draws)
        assert az.from_netcdf(path).posterior["w1"].shape == posterior.draws["w1"].shape
    assert not list(tmp_path.glob(".*"))


def test_a_fit_whose_noises_belong_to_no_row_predicts_others_as_it_is(nuts_fit):
    assert "sigma" in nuts_fit.latents and not nuts_fit.dims.get("sigma"), "a site without dimensions is no noise of the rows"
    assert nuts_fit.noise_of_new_rows == "posterior"


def test_prediction_and_its_parts(nuts_fit):
    new = X.to_numpy()[:4]
    prediction = nuts_fit.predict(new, seed=2)
    d = nuts_fit.draws
    means = (np.einsum("ni,cdi->cdn", new, d["w1"]) + d["b1"][..., None]).reshape(-1, 4)
    np.testing.assert_allclose(prediction.mean, means.mean(0), rtol=1e-9)
    np.testing.assert_allclose(prediction.epistemic, means.var(0), rtol=1e-9)
    np.testing.assert_allclose(prediction.aleatoric, np.full(4, np.mean(d["sigma"] ** 2)), rtol=1e-9)
    assert prediction.draws.shape == (100, 4)
    total = prediction.aleatoric + prediction.epistemic
    assert np.all(np.abs(prediction.draws.mean(0) - prediction.mean) < 5 * np.sqrt(total / 100))
    np.testing.assert_array_equal(nuts_fit.predict(new, seed=2, chunk=10).mean, prediction.mean)
    heights = nuts_fit.pointwise_log_likelihood(X, Y)["y"]
    np.testing.assert_allclose(heights, nuts_fit.log_likelihood["y"], rtol=1e-9)


def test_all_draws_are_predicted_in_one_run_of_the_model(guide_fit):
    """Pyro draws a normal outcome by filling memory in place, which vmap refuses: it took forty times as long, a draw at a time."""
    runs = []

    def counted(*args):
        runs.append(args)
        return MODEL(*args)

    one = dataclasses.replace(guide_fit, model=counted)
    prediction = one.predict(X, seed=4)
    assert len(runs) == 1
    d = guide_fit.draws
    means = (np.einsum("ni,cdi->cdn", X.to_numpy(), d["w1"]) + d["b1"][..., None])[0]
    z = (prediction.draws - means) / d["sigma"][0][:, None]  # (60, 25), independent standard normals
    assert abs(z.mean()) < 5 / np.sqrt(z.size) and abs(z.var() - 1) < 5 * np.sqrt(2 / z.size)
    assert abs(np.mean(z[1:] * z[:-1])) < 5 / np.sqrt(z[1:].size), "each draw has noise of its own"


def test_noise_modes(nuts_fit):
    """With the noise at its mean 1 the prediction is x·base + b; drawn from its prior, the predictive variance grows."""
    new = np.array([[5.0, 0.0, -5.0]])
    d = nuts_fit.draws
    expected = (np.einsum("ni,cdi->cdn", new, d["w1_base"]) + d["b1"][..., None]).mean()
    assert nuts_fit.predict(new, seed=0, noise="mean").mean[0] == pytest.approx(expected)
    assert nuts_fit.predict(new, seed=0, noise="prior").epistemic[0] > nuts_fit.predict(new, seed=0).epistemic[0]
    with pytest.raises(ValueError, match="'posterior', 'prior', 'mean'"):
        nuts_fit.predict(new, seed=0, noise="none")


def test_noise_modes_need_noise_sites():
    model = partial(linear, prior=sm.Laplace(), parametrization="marginal", likelihood=likelihoods.Gaussian(scale=1.0))
    fit = mean_field.fit(scalemix.pyro, model, X, Y, seed=0, settings=mean_field.Settings(num_steps=10, num_draws=5, progress=False))
    with pytest.raises(ValueError, match="parametrization='expanded'"):
        fit.predict(X, seed=0, noise="prior")
