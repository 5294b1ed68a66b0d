"""The noise of a dense layer on the weight, on its input and on its output; one mask for all rows, and one for each."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import partial
from itertools import product
from typing import Any

import numpy as np
import pytest
from both_languages import in_both
from known_answers import KNOWN
from plain_models import LANGUAGES, run
from scipy import special, stats

import scalemix.numpyro as in_numpyro
import scalemix.pyro as in_pyro
from scalemix import inference, models, noise
from scalemix.likelihoods import Gaussian
from scalemix.minibatch import minibatch_of
from scalemix.priors import Normal, ScaleMixture

X = np.random.default_rng(2).normal(size=(5, 3))
Y = np.random.default_rng(3).normal(size=5)
RAYLEIGH, GAUSSIAN = noise.Rayleigh(0.8), noise.Gaussian(1.0, 0.5)
IN = ScaleMixture(RAYLEIGH.per("in"), base_scale=1.5)
OUT = ScaleMixture(RAYLEIGH.per("out"), base_scale=1.5)
LAYER = ScaleMixture(RAYLEIGH.per("layer"))
ON = {
    "input-in": ("input", IN),
    "input-layer": ("input", LAYER),
    "input-in-layer": ("input", ScaleMixture(GAUSSIAN.per("in"), RAYLEIGH.per("layer", name="tau"))),
    "input-slab": ("input", ScaleMixture(RAYLEIGH.per("in"), slab=noise.InverseNakagami(4.0, 2.0))),
    "input-gate": ("input", ScaleMixture(noise.Bernoulli(0.4, low=0.1, high=1.2).per("in"))),
    "output-out": ("output", OUT),
    "output-layer": ("output", LAYER),
    "output-no-noise": ("output", Normal(0.7)),
}


@pytest.fixture(params=LANGUAGES)
def ppl(request: pytest.FixtureRequest) -> Iterator[Any]:
    with in_pyro.engine.precision("float64", "cpu"), in_numpyro.engine.precision("float64", "cpu"):
        yield LANGUAGES[request.param]


def _mlp(prior: ScaleMixture, **options: Any) -> Any:
    return partial(models.mlp, prior=prior, widths=(4,), parametrization="expanded" if prior.random_factors else None, **options)


# --- where the noise is applied ------------------------------------------------------------------------------------------------


@in_both("case", ON, fast=("input-in-layer", "output-out"))
def test_noise_on_the_activation_is_noise_on_the_weight(case: str, ppl: Any) -> None:
    """Same sites, shapes, weights and log joint, at draws of the prior: only the order of the products differs."""
    noise_on, prior = ON[case]
    on_weight, on_activation = _mlp(prior), _mlp(prior, noise_on=noise_on)
    ours, other = (ppl.engine.structure(model, (X, Y), seed=0) for model in (on_activation, on_weight))
    assert list(ours.latents.items()) == list(other.latents.items())
    assert (ours.deterministics, list(ours.sites.items())) == (other.deterministics, list(other.sites.items()))
    draws = ppl.engine.sample_prior(on_weight, (X, Y), num_draws=20, seed=1)
    draws = {site: np.asarray(draws[site], dtype=float) for site in ours.latents}
    expected = ppl.engine.evaluate(on_weight, (X, Y), draws, chunk=20)
    found = ppl.engine.evaluate(on_activation, (X, Y), draws, chunk=20)
    np.testing.assert_allclose(found.log_joint, expected.log_joint, rtol=1e-12)
    for site, value in expected.deterministics.items():
        np.testing.assert_array_equal(found.deterministics[site], value)


def test_the_layer_by_hand(ppl: Any) -> None:
    """(h∘ξ) z and (h z)∘ξ in NumPy, from the values of the sites."""
    for noise_on, prior in (("input", IN), ("output", OUT)):
        found, _ = run(
            ppl.name, lambda on, p: ppl.deterministic("f", ppl.dense("w", ppl.array(X), 2, p, scale=0.5, noise_on=on)), noise_on, prior
        )
        xi, z = found["w_noise"], found["w_base"]
        f = 0.5 * ((X * xi) @ z if noise_on == "input" else (X @ z) * xi)
        np.testing.assert_allclose(found["f"], f, rtol=1e-12)


# --- one mask for all rows, or one for each ------------------------------------------------------------------------------------


TOY_X = np.array([[1.0, 0.5, -1.0], [0.0, 2.0, 0.3], [-0.7, 0.1, 1.1], [0.4, -1.2, 0.8]])
TOY_Y = np.array([0.9, -0.2, 1.5, 0.1])
TOY_W = np.array([0.5, -0.3, 0.8])
KEEP = 0.7


def _masks() -> tuple[np.ndarray, np.ndarray]:
    """The 2³ masks and their log probabilities."""
    masks = np.array(list(product([0.0, 1.0], repeat=3)))
    return masks, np.sum(np.where(masks == 1.0, math.log(KEEP), math.log(1.0 - KEEP)), axis=1)


def _without_prior_of_z(log_joint: np.ndarray) -> np.ndarray:
    """log p(y, mask | z) up to the constants of the normal law of y."""
    return log_joint - stats.norm.logpdf(TOY_W).sum() + 0.5 * len(TOY_Y) * math.log(2 * math.pi)


def _toy(noise_plate: str) -> Any:
    """A linear layer: no bias but one held at 0 by its site, no hidden layer."""
    prior = ScaleMixture(noise.Bernoulli.from_dropout_rate(1.0 - KEEP).per("in"))
    options = {"widths": (), "likelihood": Gaussian(scale=1.0), "scale_by_fan_in": False, "parametrization": "expanded"}
    return partial(models.mlp, prior=prior, noise_on="input", noise_plate=noise_plate, **options)


def test_c6_one_mask_for_all_rows(ppl: Any) -> None:
    """Known answer C6: the sum over the 2³ masks of the models' own joint."""
    masks, _ = _masks()
    sites = {"w1_noise": masks, "w1_base": np.tile(TOY_W[:, None], (8, 1, 1)), "b1": np.zeros((8, 1))}
    log_joint = ppl.engine.evaluate(_toy("global"), (TOY_X, TOY_Y), sites, chunk=8).log_joint - stats.norm.logpdf(0.0)
    assert math.isclose(special.logsumexp(_without_prior_of_z(log_joint)), KNOWN["C6"].value, abs_tol=1e-8)


def test_c6_a_fresh_mask_for_each_row(ppl: Any) -> None:
    """Known answer C6: the sum over all (2³)⁴ settings of the four rows' masks, of which the joint is a product over rows."""
    masks, _ = _masks()
    settings = np.array(list(product(range(8), repeat=4)))
    size = len(settings)
    sites = {"w1_noise": masks[settings], "w1": np.tile(TOY_W[:, None], (size, 1, 1)), "b1": np.zeros((size, 1))}
    log_joint = ppl.engine.evaluate(_toy("example"), (TOY_X, TOY_Y), sites, chunk=size).log_joint - stats.norm.logpdf(0.0)
    assert math.isclose(special.logsumexp(_without_prior_of_z(log_joint)), KNOWN["C6b"].value, abs_tol=1e-8)


def test_a_mask_for_each_row_counts_as_often_as_its_row(ppl: Any) -> None:
    """In a minibatch of 5 of 20 rows the log densities of y and of the rows' noise are multiplied by 4, those of the weights are not."""
    model = _mlp(ON["input-in-layer"][1], noise_on="input", noise_plate="example")
    with minibatch_of(20):
        values, log_probs = run(ppl.name, lambda: model(ppl, ppl.array(X), ppl.array(Y)))
    assert values["w1_noise_in"].shape == (5, 3)
    assert values["w2_noise_in"].shape == (5, 4)
    assert values["w1_tau"].shape == values["w2_tau"].shape == (5,)
    assert values["w1"].shape == (3, 4)
    hidden = np.tanh((X * values["w1_noise_in"] * values["w1_tau"][:, None]) @ values["w1"] + values["b1"])
    output = ((hidden * values["w2_noise_in"] * values["w2_tau"][:, None]) @ values["w2"] + values["b2"])[:, 0]
    expected = {
        "y": 4 * stats.norm.logpdf(Y, output, values["sigma"]).sum(),
        "w1_noise_in": 4 * stats.norm.logpdf(values["w1_noise_in"], 1.0, 0.5).sum(),
        "w2_tau": 4 * stats.rayleigh.logpdf(values["w2_tau"], scale=0.8).sum(),
        "w1": stats.norm.logpdf(values["w1"], scale=3**-0.5).sum(),
        "w2": stats.norm.logpdf(values["w2"], scale=0.5).sum(),
    }
    for site, value in expected.items():
        np.testing.assert_allclose(log_probs[site], value, rtol=1e-9, err_msg=site)


@pytest.mark.parametrize(("prior", "noise_on", "shape"), [(IN, "input", (5, 3)), (OUT, "output", (5, 4)), (LAYER, "output", (5,))])
def test_sites_of_a_mask_for_each_row(prior: ScaleMixture, noise_on: str, shape: tuple[int, ...], ppl: Any) -> None:
    structure = ppl.engine.structure(_mlp(prior, noise_on=noise_on, noise_plate="example"), (X, Y), seed=0)
    assert structure.latents["w1_noise"] == shape
    assert structure.latents["w1"] == (3, 4)
    assert "w1" not in structure.deterministics
    assert structure.sites["w1_noise"].axes[0] == "case"
    draws = ppl.engine.sample_prior(_mlp(prior, noise_on=noise_on, noise_plate="example"), (X,), num_draws=3, seed=1)
    assert len(np.unique(draws["w1_noise"])) == 3 * math.prod(shape)


@pytest.mark.slow
def test_a_learned_hyper_parameter_is_one_for_all_rows(ppl: Any) -> None:
    prior = ScaleMixture(noise.Bernoulli(noise.Beta(2.0, 3.0), high=1.5).per("in"))
    model = _mlp(prior, noise_on="input", noise_plate="example")
    structure = ppl.engine.structure(model, (X, Y), seed=0)
    (hyper,) = (site for site, what in structure.sites.items() if what.weight == "w1" and what.role == "hyper")
    assert structure.latents["w1_noise"] == (5, 3)
    assert structure.latents[hyper] == ppl.engine.structure(_mlp(prior), (X, Y), seed=0).latents[hyper]
    values, log_probs = run(ppl.name, lambda: model(ppl, ppl.array(X), ppl.array(Y)))
    gates, prob = values["w1_noise"], values[hyper]
    np.testing.assert_allclose(log_probs[hyper], stats.beta.logpdf(prob, 2.0, 3.0).sum(), rtol=1e-9)
    np.testing.assert_allclose(log_probs["w1_noise"], np.where(gates == 1.0, np.log(prob), np.log1p(-prob)).sum(), rtol=1e-9)


@pytest.mark.parametrize("noise_plate", ["global", "example"])
def test_prediction_at_other_rows(noise_plate: str) -> None:
    """Noise per row has no posterior at new rows: it is drawn anew or put at its mean, where the mean of y is the network without noise."""
    model = partial(models.mlp, prior=ScaleMixture(GAUSSIAN.per("in")), widths=(2,), noise_on="input", noise_plate=noise_plate)
    settings = inference.mean_field.Settings(num_steps=5, num_draws=3, progress=False)
    posterior = inference.mean_field.fit(in_pyro, model, X, Y, seed=0, settings=settings)
    other = X[:4] + 1.0
    if noise_plate == "example":
        with pytest.raises(ValueError, match="of the 5 rows of the fit, and here are 4 others: give noise='prior'"):
            posterior.predict(other, seed=0)
    assert posterior.predict(other, seed=0, noise="prior").draws.shape == (3, 4)
    v = {name: value[0] for name, value in posterior.draws.items()}
    base = [(v[f"w{layer}"] if noise_plate == "example" else v[f"w{layer}_base"] / size**0.5) for layer, size in ((1, 3), (2, 2))]
    hidden = np.tanh(other @ base[0] + v["b1"][:, None])
    expected = (hidden @ base[1] + v["b2"][:, None])[..., 0].mean(0)
    np.testing.assert_allclose(posterior.predict(other, seed=0, noise="mean").mean, expected, rtol=1e-9)


# --- refusals ------------------------------------------------------------------------------------------------------------------


REFUSED = {
    "unknown noise_on": (IN, {"noise_on": "activation"}, "'weight', 'input' or 'output'"),
    "unknown noise_plate": (IN, {"noise_on": "input", "noise_plate": "row"}, "'global' or 'example'"),
    "example on the weight": (IN, {"noise_plate": "example"}, "noise_on='input' or 'output'"),
    "tied per out": (OUT, {"noise_on": "input"}, "use noise_on='weight'"),
    "tied per in": (IN, {"noise_on": "output"}, "use noise_on='weight'"),
    "one per weight": (ScaleMixture(RAYLEIGH), {"noise_on": "input"}, "use noise_on='weight'"),
    "hierarchical": (IN, {"noise_on": "input", "parametrization": "hierarchical"}, "give parametrization='expanded'"),
    "integrated out": (ON["input-gate"][1], {"noise_on": "input"}, "give parametrization='expanded'"),
    "slab per row": (ON["input-slab"][1], {"noise_on": "input", "noise_plate": "example"}, "leave the slab out"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_is_refused_with_the_remedy(case: str, ppl: Any) -> None:
    prior, options, remedy = REFUSED[case]
    with pytest.raises(ValueError, match=remedy):
        ppl.dense("w", ppl.array(X), 4, prior, **options)
