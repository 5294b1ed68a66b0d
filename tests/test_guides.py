"""Guides: their laws, the languages' own SVI, what is refused, saving; optima known in closed form."""

from __future__ import annotations

import json
import subprocess
import sys
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import jax
import numpy as np
import numpyro
import optax
import pyro
import pytest
import torch
from elbo_by_hand import given_noise
from known_answers import KNOWN
from test_objective import LANGUAGES, PRIORS, build, data, random_params, value_and_gradient

import scalemix as sm
import scalemix.numpyro as in_numpyro
import scalemix.pyro as in_pyro
from scalemix import likelihoods, models, noise
from scalemix.guides import FromPrior, Gaussian, Guide, Point
from scalemix.training import Settings

# Row C5: the inputs that the table of known answers leaves to its heading.
C5_X = np.array([[1.0, 0.5, -1.0], [0.0, 2.0, 0.3], [-0.7, 0.1, 1.1], [0.4, -1.2, 0.8]])
C5_Y, C5_W = np.array([0.9, -0.2, 1.5, 0.1]), np.array([0.5, -0.3, 0.8])


# --- the languages' own SVI ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lazy", [True, False])
@pytest.mark.parametrize("language", LANGUAGES)
def test_a_guide_works_in_the_languages_own_svi(language: str, lazy: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """TraceMeanField_ELBO gives the loss of ours, with the same noise, and a step of SVI lowers it."""
    given_noise(monkeypatch)
    ppl, arrays = LANGUAGES[language], data()
    model = partial(models.linear, prior=sm.GaussianUniformMaximized())
    with ppl.engine.precision("float64", "cpu"):
        guide = build(ppl, model, arrays, lazy=lazy)
        objective = ppl.engine.objective(model, guide, arrays, seed=0)
        batch = ppl.engine.arrays(arrays)
        ours = float(objective.loss(objective.params, batch, jax.random.PRNGKey(0))[0])
        native, native_guide = guide.model(ppl, model), guide.native(ppl)
        if language == "pyro":
            with pyro.get_param_store().scope():
                elbo = pyro.infer.TraceMeanField_ELBO()
                theirs = elbo.loss(native, native_guide, *batch)
                svi = pyro.infer.SVI(native, native_guide, pyro.optim.Adam({"lr": 0.01}), elbo)
                losses = [svi.step(*batch) for _ in range(5)]
        else:
            elbo = numpyro.infer.TraceMeanField_ELBO()
            theirs = float(elbo.loss(jax.random.PRNGKey(0), objective.params, native, native_guide, *batch))
            svi = numpyro.infer.SVI(native, native_guide, optax.adam(0.01), elbo)
            losses = np.asarray(svi.run(jax.random.PRNGKey(0), 5, *batch, progress_bar=False).losses)
    np.testing.assert_allclose(theirs, ours, rtol=1e-12)
    np.testing.assert_allclose(losses[0], ours, rtol=1e-12)
    assert losses[-1] < losses[0]


# --- what is refused -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_guide_that_misses_a_site_is_refused(language: str) -> None:
    ppl, arrays = LANGUAGES[language], data()
    model = partial(models.linear, prior=sm.Normal())
    with pytest.raises(ValueError, match="the guide has no component for the site 'b1'"):
        build(ppl, model, arrays, choose=lambda target: None if target.site == "b1" else Point())

    def forgetful(ppl: Any, *data: Any) -> None:
        ppl.sample("w1", ppl.dist.Delta(ppl.engine.arrays(np.zeros(3)), event_dim=1))

    with pytest.raises(ValueError, match=r"the guide has no site '(b1|sigma)'"):
        ppl.engine.objective(model, forgetful, arrays, seed=0)


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_closed_kl_that_no_language_dispatches_is_refused_when_the_objective_is_built(language: str) -> None:
    ppl, arrays = LANGUAGES[language], data()
    model = partial(models.linear, prior=sm.StudentT(), parametrization="marginal")
    guide = build(ppl, model, arrays)
    with pytest.raises(ValueError, match=r"the guide of 'w1' expects a closed KL, and .* knows none from WeightNormal to StudentT"):
        ppl.engine.objective(model, guide, arrays, seed=0)
    estimated = build(ppl, model, arrays, choose=lambda target: Gaussian(monte_carlo=True))
    assert ppl.engine.objective(model, estimated, arrays, seed=0).params


def test_a_component_that_cannot_be_the_law_of_a_site_is_refused() -> None:
    model = partial(models.linear, prior=sm.ScaleMixture(noise.Bernoulli(0.5)), parametrization="expanded")
    with pytest.raises(ValueError, match="Gaussian cannot be the guide of the site 'w1_noise': its values are discrete"):
        build(in_numpyro, model, data(), choose=lambda target: Gaussian())
    with pytest.raises(ValueError, match="FromPrior cannot be the guide of the site 'sigma': it is no noise"):
        build(in_numpyro, model, data(), choose=lambda target: FromPrior())
    with pytest.raises(ValueError, match="local_reparametrization='yes': give True, False or 'auto'"):
        build(in_numpyro, model, data(), lazy="yes", choose=lambda target: FromPrior() if target.role == "noise" else Point())


# --- numbers -------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("prior", ["LogUniform", "GaussianUniformMaximized"])
@pytest.mark.parametrize("language", LANGUAGES)
def test_gradients_are_finite_in_single_precision(language: str, prior: str) -> None:
    """|log α| ≤ 12 and σ from 1e−8 to 1e8, by local reparametrization; a layer of weights that are all noise, and one without input."""
    ppl = LANGUAGES[language]
    log_alpha, log_sigma = (each.ravel() for each in np.meshgrid([-12.0, -6.0, 0.0, 6.0, 12.0], np.log([1e-8, 1e-4, 1.0, 1e4, 1e8])))
    x, y = np.random.default_rng(0).normal(size=(4, 25)), np.ones(4)
    x[1] = 0.0
    model = partial(models.linear, prior=PRIORS[prior], bias_prior=None, likelihood=likelihoods.Gaussian(scale=1.0))
    with ppl.engine.precision("float32", "cpu"):
        guide = build(ppl, model, (x, y), lazy=True)
        objective = ppl.engine.objective(model, guide, (x, y), seed=0)
        for theta in (np.exp(log_sigma - 0.5 * log_alpha), np.zeros(25)):
            params = {"w1_loc": theta, "w1_log_variance": 2.0 * log_sigma}
            loss, gradient, _ = value_and_gradient(ppl, objective, params, (x, y))
            assert np.isfinite(loss)
            assert all(np.isfinite(each).all() and each.dtype == np.float32 for each in gradient.values())


OPTIMA = {
    # θ and σ² of the least ½((2 − θ)² + σ²) + D: the non-negative garrote y − 1/y with σ² = 1 − 1/y² (D9, I11); variational dropout
    "GaussianUniformMaximized": (1.5, 0.75),
    "LogUniform": (1.217506, 0.952691),
}


@pytest.mark.parametrize("prior", OPTIMA)
@pytest.mark.parametrize("language", LANGUAGES)
def test_training_reaches_the_optimum_of_one_weight(language: str, prior: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """y = 2 with unit noise, written as two rows of which one counts. Their noises are −1 and 1, for which the mean is the expectation: the
    loss is a quadratic function of them."""
    monkeypatch.setattr("scalemix.pyro.variational.standard_normal", lambda like: torch.tensor([[-1.0], [1.0]], dtype=like.dtype))
    monkeypatch.setattr("scalemix.numpyro.variational.standard_normal", lambda key, like: jax.numpy.array([[-1.0], [1.0]], like.dtype))
    ppl, arrays = LANGUAGES[language], (np.ones((2, 1)), np.full(2, 2.0))
    model = partial(models.linear, prior=PRIORS[prior], bias_prior=None, likelihood=likelihoods.Gaussian(scale=1.0))
    settings = Settings(num_epochs=250, learning_rate=0.05, schedule="linear", hold=0.3, dtype="float64", progress=False, compile=False)
    with ppl.engine.precision("float64", "cpu"):
        guide = build(ppl, model, arrays, lazy=True, choose=lambda target: Gaussian(log_variance=-1.0))
        objective = ppl.engine.objective(model, guide, arrays, seed=0)
        objective.params["w1_loc"] = ppl.engine.arrays(np.array([1.0]))
        run = ppl.engine.train(objective, arrays, settings, seed=0, num_data=1)
    found = run.params["w1_loc"][0], np.exp(run.params["w1_log_variance"][0])
    np.testing.assert_allclose(found, OPTIMA[prior], atol=1e-3)


@pytest.mark.parametrize("language", LANGUAGES)
def test_c5_the_bound_of_dropout_is_the_enumeration_of_its_masks(language: str) -> None:
    """E_ξ −log p(y | ξ, w) over all 2³ masks, each with its probability, is the known answer C5 and the normal's constant."""
    ppl = LANGUAGES[language]
    prior = sm.ScaleMixture(noise.Bernoulli.from_dropout_rate(0.3).per("in"))

    def model(ppl: Any, x: Any, y: Any = None) -> Any:
        output = ppl.dense("w", x, 1, prior, noise_on="input")[..., 0]
        with ppl.data_plate(x):
            return ppl.sample("y", ppl.dist.Normal(output, 1.0), obs=y)

    with ppl.engine.precision("float64", "cpu"):
        drawn = build(ppl, model, (C5_X, C5_Y), choose=lambda target: FromPrior() if target.role == "noise" else Point())
        params = {"w_base_loc": C5_W[:, None]}
        assert set(drawn.initial) == set(params)
        draws, _ = drawn.sample_posterior(ppl, params, (C5_X, C5_Y), num_draws=400, seed=0)

        def guide(ppl: Any, *data: Any) -> None:
            mask = ppl.param("mask", ppl.engine.arrays(np.ones(3)))
            ppl.sample("w_noise", ppl.dist.Delta(mask, event_dim=1), infer={"divergence": "prior"})
            ppl.sample("w_base", ppl.dist.Delta(ppl.param("w_base_loc", ppl.engine.arrays(C5_W[:, None])), event_dim=2))

        objective, bound = ppl.engine.objective(model, guide, (C5_X, C5_Y), seed=0), 0.0
        for mask in product((0.0, 1.0), repeat=3):
            values = {**objective.params, "mask": ppl.engine.arrays(np.array(mask))}
            _, parts = objective.loss(values, ppl.engine.arrays((C5_X, C5_Y)), jax.random.PRNGKey(0))
            bound += 0.7 ** sum(mask) * 0.3 ** (3 - sum(mask)) * float(parts["nll"])
    np.testing.assert_allclose(bound, KNOWN["C5"].value + 2.0 * np.log(2.0 * np.pi), rtol=1e-9)
    assert abs(draws["w_noise"].mean() - 0.7) < 5.0 * np.sqrt(0.7 * 0.3 / draws["w_noise"].size)


@pytest.mark.parametrize("language", LANGUAGES)
def test_quantiles_and_draws_are_those_of_the_law(language: str) -> None:
    """Of sigma, a log-normal: quantiles against SciPy's; log q of the draws is its density."""
    from scipy import stats

    ppl, arrays = LANGUAGES[language], data()
    guide = build(ppl, partial(models.linear, prior=sm.Normal()), arrays, choose=lambda target: Gaussian())
    params = random_params(guide, 2)
    law = stats.lognorm(np.exp(0.5 * params["sigma_log_variance"]), scale=np.exp(params["sigma_loc"]))
    found = guide.quantiles(params, [0.1, 0.5, 0.9])
    np.testing.assert_allclose(found["sigma"], law.ppf([0.1, 0.5, 0.9]), rtol=1e-12)
    np.testing.assert_allclose(guide.median(params)["w1"], params["w1_loc"], rtol=1e-12)
    with ppl.engine.precision("float64", "cpu"):
        draws, log_guide = guide.sample_posterior(ppl, params, arrays, num_draws=500, seed=0)
    expected = law.logpdf(draws["sigma"])
    for site in ("w1", "b1"):
        scale = np.exp(0.5 * params[f"{site}_log_variance"])
        expected = expected + stats.norm.logpdf(draws[site], params[f"{site}_loc"], scale).reshape(500, -1).sum(axis=1)
    np.testing.assert_allclose(log_guide, expected, rtol=1e-9)
    assert stats.kstest(draws["sigma"], law.cdf).pvalue > 1e-4


@pytest.mark.parametrize("language", LANGUAGES)
def test_masked_weights_are_zero_in_every_draw(language: str) -> None:
    """log α of 4 is above 3, of 2 is not; the divergence does not see the mask."""
    ppl, arrays = LANGUAGES[language], data(columns=2)
    model = partial(models.linear, prior=sm.LogUniform(), bias_prior=None, likelihood=likelihoods.Gaussian(scale=1.0))
    params = {"w1_loc": np.ones(2), "w1_log_variance": np.array([4.0, 2.0])}
    with ppl.engine.precision("float64", "cpu"):
        kl = []
        for above in (3.0, None):
            guide = build(ppl, model, arrays, choose=lambda target, above=above: Gaussian(mask_above=above))
            objective = ppl.engine.objective(model, guide, arrays, seed=0)
            values = ppl.engine.arrays(params)
            kl.append(float(objective.loss(values, ppl.engine.arrays(arrays), jax.random.PRNGKey(0))[1]["kl"]))
            draws, _ = guide.sample_posterior(ppl, params, arrays, num_draws=3, seed=0)
            assert np.all(draws["w1"][:, 0] == 0.0) == (above is not None)
            assert np.all(draws["w1"][:, 1] != 0.0)
    np.testing.assert_allclose(kl[0], kl[1], rtol=1e-12)


@pytest.mark.parametrize("language", LANGUAGES)
def test_bounds_of_a_prior_variance_take_the_layers_scale_squared(language: str) -> None:
    """A network divides its weights' scale by √fan_in, here 4: γ ≤ 2/16. KL(N(θ, σ²) ‖ N(0, γ*)) from its definition."""
    ppl, (_, y) = LANGUAGES[language], data()
    x = np.random.default_rng(2).normal(size=(6, 16))
    model = partial(models.mlp, prior=sm.GaussianUniformMaximized(0.0, 2.0), widths=(), likelihood=likelihoods.Gaussian(scale=1.0))
    with ppl.engine.precision("float64", "cpu"):
        guide = build(ppl, model, (x, y))
        theta, variance = np.linspace(-0.6, 0.6, 16)[:, None], np.linspace(0.01, 0.2, 16)[:, None]
        params = {"w1_loc": theta, "w1_log_variance": np.log(variance), "b1_loc": np.zeros(1)}
        objective = ppl.engine.objective(model, guide, (x, y), seed=0)
        _, parts = objective.loss(ppl.engine.arrays(params), ppl.engine.arrays((x, y)), jax.random.PRNGKey(0))
    gamma = np.minimum(theta**2 + variance, 2.0 / 16.0)
    assert np.any(gamma == 2.0 / 16.0) and np.any(gamma < 2.0 / 16.0)
    expected = 0.5 * np.sum(np.log(gamma / variance) + (theta**2 + variance) / gamma - 1.0) + 0.5 * np.log(2.0 * np.pi)
    np.testing.assert_allclose(float(parts["kl"]), expected, rtol=1e-9)


# --- files ---------------------------------------------------------------------------------------------------------------------

FRESH = """
import json, sys
from scalemix.guides import Guide
guide = Guide.load(sys.argv[1])
print(json.dumps({"median": {k: v.tolist() for k, v in guide.median(guide.initial).items()}, "sites": list(guide.parts),
                  "lazy": [guide.lazy("w1", 2), guide.lazy("w1", 5)], "torch": "torch" in sys.modules}))
"""


def test_a_guide_is_saved_and_loaded_in_a_fresh_process(tmp_path: Path) -> None:
    guide = build(in_pyro, partial(models.mlp, prior=sm.LogUniform(), widths=(2,)), data())
    params = random_params(guide, 1)
    path = guide.save(tmp_path / "guide.npz", params)
    found = subprocess.run([sys.executable, "-c", FRESH, str(path)], capture_output=True, text=True, check=True)
    told = json.loads(found.stdout)
    assert told["sites"] == list(guide.parts) and told["lazy"] == [True, False] and not told["torch"]
    for site, values in guide.median(params).items():
        np.testing.assert_array_equal(told["median"][site], values)
    again = Guide.load(path)
    objective = in_pyro.engine.objective(partial(models.mlp, prior=sm.LogUniform(), widths=(2,)), again, data(), seed=0)
    np.testing.assert_allclose(objective.params["w1_loc"].numpy(), params["w1_loc"], rtol=1e-6)
    with pytest.raises(ValueError, match=r"is no guide that Guide.save wrote"):
        Guide.load(tmp_path / "none.npz")


def test_a_guide_that_draws_from_a_prior_is_loaded_with_its_models_structure(tmp_path: Path) -> None:
    model = partial(models.linear, prior=sm.ScaleMixture(noise.Rayleigh()))
    choose = lambda target: FromPrior() if target.role == "noise" else Point()  # noqa: E731
    guide = build(in_numpyro, model, data(), choose=choose)
    path = guide.save(tmp_path / "guide.npz", guide.initial)
    with pytest.raises(ValueError, match=r"draws 'w1_noise' from its prior: give Guide.load"):
        Guide.load(path)
    again = Guide.load(path, in_numpyro.engine.structure(model, data(), seed=0))
    assert again.targets == guide.targets and again.parts == guide.parts
