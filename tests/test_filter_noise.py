"""The noise of a convolution on its input and its output: one for all pixels of a channel, for all images or one for each."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import pytest
from plain_models import LANGUAGES, run
from scipy import special, stats
from test_convolution import _conv2d, _pool

import scalemix as sm
import scalemix.numpyro as in_numpyro
import scalemix.pyro as in_pyro
from scalemix import models, noise
from scalemix.inference import mc_dropout, vib
from scalemix.minibatch import minibatch_of
from scalemix.priors import Laplace, ScaleMixture

RNG = np.random.default_rng(3)
X, Y = RNG.normal(size=(5, 7, 8, 2)), np.array([0, 2, 1, 2, 0])
GAUSSIAN = noise.Gaussian(1.0, 0.5)
IN, OUT = ScaleMixture(GAUSSIAN.per("in"), base_scale=1.5), ScaleMixture(GAUSSIAN.per("out"), base_scale=1.5)
SMALL = {"filters": (3, 2), "kernel": 2, "widths": (4,), "num_outputs": 3, "parametrization": "expanded"}
SQUARE = X[:, :, :7]
ONE = {"filters": (2,), "kernel": 2, "widths": (), "num_outputs": 3, "noise_on": "input", "noise_plate": "example"}
QUIET = {"progress": False, "dtype": "float64", "device": "cpu", "num_draws": 4}


@pytest.fixture(params=LANGUAGES)
def ppl(request: pytest.FixtureRequest) -> Iterator[Any]:
    with in_pyro.engine.precision("float64", "cpu"), in_numpyro.engine.precision("float64", "cpu"):
        yield LANGUAGES[request.param]


@pytest.mark.parametrize("plate", ["global", "example"])
@pytest.mark.parametrize("on", ["input", "output"])
def test_the_layer_by_hand(on: str, plate: str, ppl: Any) -> None:
    """((x∘ξ) * z) and (x * z)∘ξ, ξ (channel,) or (n, channel), in NumPy from the values of the sites."""
    options = {"kernel": (3, 2), "stride": 2, "padding": 1, "noise_on": on, "noise_plate": plate, "scale": 0.5}

    def layer() -> Any:
        return ppl.deterministic("f", ppl.convolution("w", ppl.array(X), 3, IN if on == "input" else OUT, **options))

    found, _ = run(ppl.name, layer)
    xi, z = found["w_noise"], found["w"] if plate == "example" else 0.5 * found["w_base"]
    assert xi.shape == ((5,) if plate == "example" else ()) + ((2,) if on == "input" else (3,))
    xi = xi.reshape((-1, 1, 1, xi.shape[-1]))
    f = _conv2d(X * xi, z, 2, 1) if on == "input" else _conv2d(X, z, 2, 1) * xi
    np.testing.assert_allclose(found["f"], f, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(
    ("language", "on"), [("pyro", "input"), ("pyro", "output"), pytest.param("numpyro", "input", marks=pytest.mark.slow)]
)
def test_noise_on_the_image_is_noise_on_the_weight(language: str, on: str) -> None:
    ppl, prior = LANGUAGES[language], IN if on == "input" else OUT
    on_weight, on_image = (partial(models.lenet, prior=prior, flatten=False, **SMALL, **more) for more in ({}, {"noise_on": on}))
    with ppl.engine.precision("float64", "cpu"):
        ours, other = (ppl.engine.structure(model, (X, Y), seed=0) for model in (on_image, on_weight))
        assert (list(ours.latents.items()), ours.deterministics) == (list(other.latents.items()), other.deterministics)
        draws = ppl.engine.sample_prior(on_weight, (X, Y), num_draws=3, seed=1)
        draws = {site: np.asarray(draws[site], dtype=float) for site in ours.latents}
        expected, found = (ppl.engine.evaluate(model, (X, Y), draws, chunk=3).log_joint for model in (on_weight, on_image))
    np.testing.assert_allclose(found, expected, rtol=1e-11)


@pytest.mark.parametrize(
    ("language", "flatten", "gates"), [("pyro", True, 18), ("pyro", False, 2), pytest.param("numpyro", False, 2, marks=pytest.mark.slow)]
)
def test_log_joint_with_a_noise_per_image_written_out(language: str, flatten: bool, gates: int) -> None:
    """Of two filters with maps of 3 × 3 the first dense layer has 18 gates, or without flatten two, each for all pixels of a filter. In a
    minibatch of 5 of 20 images what belongs to an image counts four times."""
    model = partial(models.lenet, prior=IN, flatten=flatten, **ONE)
    ppl = LANGUAGES[language]
    with minibatch_of(20), ppl.engine.precision("float64", "cpu"):
        v, log_probs = run(ppl.name, lambda: model(ppl, ppl.array(SQUARE), ppl.array(Y)))
    noises = {site: value.shape for site, value in v.items() if site.endswith("_noise")}
    assert noises == {"w1_noise": (5, 2), "w2_noise": (5, gates)}
    h = _pool(np.maximum(_conv2d(SQUARE * v["w1_noise"][:, None, None], v["w1"]) + v["b1"], 0.0), "max")
    h = h * (v["w2_noise"].reshape(5, 3, 3, 2) if flatten else v["w2_noise"][:, None, None])
    assert v["w2"].shape == ((18, 3) if flatten else (3, 3, 2, 3))
    logits = h.reshape(5, -1) @ v["w2"].reshape(18, 3) + v["b2"]
    np.testing.assert_allclose(log_probs["y"], 4 * special.log_softmax(logits, axis=1)[range(5), Y].sum(), rtol=1e-10)
    for site, fan_in in (("w1", 8), ("w2", 18)):
        np.testing.assert_allclose(log_probs[site], stats.norm.logpdf(v[site], scale=1.5 / np.sqrt(fan_in)).sum(), rtol=1e-10)
        np.testing.assert_allclose(log_probs[f"{site}_noise"], 4 * stats.norm.logpdf(v[f"{site}_noise"], 1.0, 0.5).sum(), rtol=1e-10)


REFUSED = {
    "no images": (X[0], IN, {}, r"shape \(7, 8, 2\).*give images"),
    "small": (X, IN, {"kernel": 8}, r"kernel=8 and padding=0: give images"),
    "per out on the input": (X, OUT, {}, "use noise_on='weight'"),
    "per kernel slice": (X, ScaleMixture(GAUSSIAN.per("in", "out")), {}, "use noise_on='weight'"),
    "per row of the kernel": (X, ScaleMixture(GAUSSIAN.per("height")), {}, "use noise_on='weight'"),
    "example on the weight": (X, IN, {"noise_on": "weight", "noise_plate": "example"}, "noise_on='input' or 'output'"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_is_refused_with_the_remedy(case: str, ppl: Any) -> None:
    x, prior, options, remedy = REFUSED[case]
    with pytest.raises(ValueError, match=remedy):
        ppl.convolution("w", ppl.array(x), 3, prior, **{"kernel": 2, "noise_on": "input"} | options)


# --- recipes -----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("language", ["pyro", pytest.param("numpyro", marks=pytest.mark.slow)])
def test_vibnet_of_a_convolutional_network(language: str) -> None:
    """Two steps; gates are one per filter, and at other images the mean of the gates gives the network by hand."""
    model = partial(models.lenet, prior=ScaleMixture(noise.Bottleneck().per("in")), flatten=False, **ONE)
    fit = vib.fit(LANGUAGES[language], model, SQUARE, Y, seed=0, settings=vib.Settings(num_epochs=2, log_variance=-4, **QUIET))
    p = fit.params
    assert np.isfinite(fit.losses).all() and fit.losses.shape == (2,)
    gates = {name: np.shape(p[name]) for name in p if "noise" in name}
    assert gates == {f"w{layer}_noise_{part}": (2,) for layer in (1, 2) for part in ("loc", "log_variance")}
    assert not np.allclose(p["w2_noise_loc"], 1.0, atol=1e-6)
    if language == "pyro":
        other = np.random.default_rng(8).normal(size=(3, 7, 7, 2))
        h = _pool(np.maximum(_conv2d(other * p["w1_noise_loc"], p["w1_loc"]) + p["b1_loc"], 0.0), "max") * p["w2_noise_loc"]
        probs = special.softmax(h.reshape(3, -1) @ p["w2_loc"].reshape(18, 3) + p["b2_loc"], axis=1)
        np.testing.assert_allclose(fit.predict(other, seed=0, noise="mean").mean, probs, rtol=1e-8)


@pytest.mark.parametrize("language", ["pyro", pytest.param("numpyro", marks=pytest.mark.slow)])
def test_spatial_dropout(language: str) -> None:
    """Monte Carlo dropout with a mask per image and channel: its draws are 0 and 1/.8, those of the dense layer per unit."""
    prior = {"w1": sm.Normal(), "w*": ScaleMixture(noise.Bernoulli.from_dropout_rate(0.2).per("in"))}
    model = partial(models.lenet, prior=prior, noise_on="input", noise_plate="example", **SMALL | {"parametrization": None})
    fit = mc_dropout.fit(LANGUAGES[language], model, X, Y, seed=0, settings=mc_dropout.Settings(num_epochs=2, **QUIET | {"num_draws": 60}))
    assert "w1_noise" not in fit.draws
    assert fit.draws["w2_noise"].shape == (1, 60, 5, 3)
    kept = fit.draws["w2_noise"] != 0.0
    np.testing.assert_allclose(fit.draws["w2_noise"][kept], np.broadcast_to(fit.draws["w2_noise"].max(), kept.sum()))
    assert abs(kept.mean() - 0.8) < 5.0 * np.sqrt(0.8 * 0.2 / kept.size)
    assert np.isfinite(fit.losses).all()


def test_filter_gates_refuse_other_priors() -> None:
    model = partial(models.lenet, prior=Laplace(), **SMALL)
    with pytest.raises(ValueError, match="vib is for gates"):
        vib.fit(in_pyro, model, X, Y, seed=0, settings=vib.Settings(**QUIET))
