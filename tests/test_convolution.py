"""``ppl.conv2d``, pooling and the convolutional network, against the sums written out in NumPy."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from types import ModuleType
from typing import Any

import numpy as np
import pyro
import pytest
import torch
from both_languages import in_both
from plain_models import LANGUAGES
from pyro import poutine
from scipy import stats

import scalemix.numpyro as in_numpyro
import scalemix.pyro as in_pyro
from scalemix import models, noise
from scalemix.priors import ScaleMixture

Array = np.ndarray
DRAWS = 4
RAYLEIGH, GAUSSIAN = noise.Rayleigh(0.8), noise.Gaussian(1.0, 0.5)


@pytest.fixture(params=LANGUAGES)
def ppl(request: pytest.FixtureRequest) -> Iterator[ModuleType]:
    with in_pyro.engine.precision("float64", "cpu"), in_numpyro.engine.precision("float64", "cpu"):
        yield LANGUAGES[request.param]


def _real(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed + sum(shape)).normal(size=shape)


def _conv2d(x: Array, w: Array, stride: int = 1, padding: int = 0) -> Array:
    """out[n, r, s, o] = Σ w[i, j, c, o] x[n, stride r + i, stride s + j, c], one output pixel at a time."""
    x = np.pad(x, ((0, 0), (padding, padding), (padding, padding), (0, 0)))
    height, width = w.shape[:2]
    rows, columns = ((size - length) // stride + 1 for size, length in zip(x.shape[1:3], (height, width), strict=True))
    out = np.zeros((len(x), rows, columns, w.shape[3]))
    for r in range(rows):
        for s in range(columns):
            patch = x[:, stride * r : stride * r + height, stride * s : stride * s + width]
            out[:, r, s] = patch.reshape(len(x), -1) @ w.reshape(-1, w.shape[3])
    return out


def _pool(x: Array, how: str) -> Array:
    n, height, width, channels = x.shape
    x = x[:, : height // 2 * 2, : width // 2 * 2].reshape(n, height // 2, 2, width // 2, 2, channels)
    return x.max((2, 4)) if how == "max" else x.mean((2, 4))


# --- layers --------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("stride", "padding"), [(1, 0), (2, 0), (1, 2), (3, 1)])
def test_convolution_by_hand(stride: int, padding: int, ppl: Any) -> None:
    x, w, b = _real(3, 7, 6, 2), _real(3, 2, 2, 4), _real(4)
    found = ppl.conv2d(*map(ppl.array, (x, w, b)), stride=stride, padding=padding)
    np.testing.assert_allclose(found, _conv2d(x, w, stride, padding) + b, rtol=1e-10, atol=1e-12)


def test_convolution_carries_draws_in_front_of_the_weight(ppl: Any) -> None:
    """Draws as a plate makes them, (S, 1, …), and as MCMC does, (S, …); inputs shared or one for each draw; rows in two axes."""
    x, w, b = _real(3, 5, 6, 2), _real(4, 3, 2, 2, 3), _real(4, 3)
    expected = np.stack([_conv2d(x, each) + bias for each, bias in zip(w, b, strict=True)])
    for one_more in (False, True):
        arrays = (w[:, None], b[:, None]) if one_more else (w, b)
        np.testing.assert_allclose(ppl.conv2d(ppl.array(x), *map(ppl.array, arrays)), expected, rtol=1e-10, atol=1e-12)
    second = _real(4, 2, 2, 3, 5)
    again = np.stack([_conv2d(h, each) for h, each in zip(expected, second, strict=True)])
    np.testing.assert_allclose(ppl.conv2d(ppl.array(expected), ppl.array(second)), again, rtol=1e-10, atol=1e-10)
    fixed = np.stack([_conv2d(h, second[0]) for h in expected])
    np.testing.assert_allclose(ppl.conv2d(ppl.array(expected), ppl.array(second[0])), fixed, rtol=1e-10, atol=1e-10)


def test_convolution_refuses_other_channels(ppl: Any) -> None:
    with pytest.raises(ValueError, match="as many channels in"):
        ppl.conv2d(ppl.array(_real(3, 2, 7, 6)), ppl.array(_real(3, 2, 2, 4)))


@pytest.mark.parametrize("how", ["max", "mean"])
def test_pooling_by_hand(how: str, ppl: Any) -> None:
    x = _real(3, 7, 6, 2)
    np.testing.assert_allclose(ppl.pool2d(ppl.array(x), how=how), _pool(x, how), rtol=1e-12)
    draws = np.stack([x, -x])
    np.testing.assert_allclose(ppl.pool2d(ppl.array(draws), how=how), np.stack([_pool(x, how), _pool(-x, how)]), rtol=1e-12)


def test_pooling_refuses_a_name_it_does_not_know(ppl: Any) -> None:
    with pytest.raises(ValueError, match="give 'max' or 'mean'"):
        ppl.pool2d(ppl.array(_real(3, 4, 4, 2)), how="median")


# --- the network ---------------------------------------------------------------------------------------------------------------


X = _real(5, 7, 8, 2)
Y = np.array([0, 2, 1, 2, 0])
TYINGS = {
    "filter": ScaleMixture(RAYLEIGH.per("out"), base_scale=1.5),
    "kernel slice": ScaleMixture(RAYLEIGH.per("in", "out"), base_scale=1.5),
    "filter x kernel slice": ScaleMixture(RAYLEIGH.per("out"), GAUSSIAN.per("in", "out"), base_scale=1.5),
}


def _network(tying: str, pooling: str) -> Any:
    options = {"filters": (3, 2), "kernel": 2, "widths": (4,), "num_outputs": 3, "pooling": pooling}
    return partial(models.lenet, prior=TYINGS[tying], parametrization="expanded", **options)


def _forward(v: dict[str, Array], draw: int, pooling: str) -> Array:
    """Logits (5, 3), with the noise of each filter on the map it makes and the noise of each slice on the map it adds (eq. 21–22)."""
    h = X
    for site, fan_in in (("w1", 8), ("w2", 12)):
        z = v[f"{site}_base"][draw] / np.sqrt(fan_in)
        by_filter, by_slice = (v.get(f"{site}_noise_{axes}", v.get(f"{site}_noise")) for axes in ("out", "in_out"))
        by_filter = by_filter[draw] if by_filter is not None and by_filter.ndim == 2 else np.ones(z.shape[3])
        by_slice = by_slice[draw] if by_slice is not None and by_slice.ndim == 3 else np.ones(z.shape[2:])
        total = 0.0
        for channel in range(z.shape[2]):
            total = total + _conv2d(h[..., channel : channel + 1], z[:, :, channel : channel + 1]) * by_slice[channel]
        h = _pool(np.maximum(total * by_filter + v[site.replace("w", "b")][draw], 0.0), pooling)
    h = h.reshape(len(h), -1)
    for site in ("w3", "w4"):
        z = v[f"{site}_base"][draw] / np.sqrt(h.shape[1])
        for label, value in v.items():
            if label.startswith(f"{site}_noise"):
                z = z * value[draw]
        h = h @ z + v[site.replace("w", "b")][draw]
        h = np.maximum(h, 0.0) if site == "w3" else h
    return h


@in_both(
    "case", [f"{tying}-{pooling}" for tying in TYINGS for pooling in ("max", "mean")], fast=("filter x kernel slice-max", "filter-mean")
)
def test_log_joint_written_out(case: str, ppl: Any) -> None:
    tying, pooling = case.split("-")
    model = _network(tying, pooling)
    structure = ppl.engine.structure(model, (X, Y), seed=0)
    v = ppl.engine.sample_prior(model, (X, Y), num_draws=DRAWS, seed=3)
    v = {site: np.asarray(v[site], dtype=float) for site in structure.latents}
    expected = np.zeros(DRAWS)
    for site, value in v.items():
        gaussian = "filter x" in tying and site.endswith("in_out")
        noise_law = stats.norm(1.0, 0.5) if gaussian else stats.rayleigh(scale=0.8)
        law = stats.norm(scale=1.5) if site.endswith("_base") else stats.norm if site.startswith("b") else noise_law
        expected += law.logpdf(value).reshape(DRAWS, -1).sum(1)
    for draw in range(DRAWS):
        logits = _forward(v, draw, pooling)
        expected[draw] += (logits[range(5), Y] - np.log(np.exp(logits).sum(1))).sum()
    np.testing.assert_allclose(ppl.engine.evaluate(model, (X, Y), v, chunk=DRAWS).log_joint, expected, rtol=1e-10)


def test_shapes_of_the_noise_and_of_lenet_5(ppl: Any) -> None:
    """430 500 weights, 5 × 5 filters on 28 × 28 images: 500 + 25 000 + 400 000 + 5 000."""
    prior = {"w[12]": TYINGS["filter x kernel slice"], "w*": ScaleMixture(RAYLEIGH.per("in"))}
    structure = ppl.engine.structure(partial(models.lenet, prior=prior), (np.zeros((2, 28, 28, 1)), np.array([3, 9])), seed=0)
    weights = {site: shape for site, shape in structure.deterministics.items() if site in ("w1", "w2", "w3", "w4")}
    assert weights == {"w1": (5, 5, 1, 20), "w2": (5, 5, 20, 50), "w3": (800, 500), "w4": (500, 10)}
    assert sum(np.prod(shape) for shape in weights.values()) == 430_500
    noises = {site: shape for site, shape in structure.latents.items() if "_noise" in site}
    assert noises == {
        "w1_noise_out": (20,),
        "w1_noise_in_out": (1, 20),
        "w2_noise_out": (50,),
        "w2_noise_in_out": (20, 50),
        "w3_noise": (800,),
        "w4_noise": (500,),
    }


def test_predictive_draws_in_parallel_in_pyro() -> None:
    model = partial(_network("filter x kernel slice", "max"), in_pyro)
    x = torch.as_tensor(X, dtype=torch.float32)
    with in_pyro.engine.seeded(0):
        draws = pyro.infer.Predictive(model, num_samples=3, parallel=True)(x)
    given = {site: value for site, value in draws.items() if site.endswith("_base") or "_noise" in site or site.startswith("b")}
    together = pyro.infer.Predictive(model, given, parallel=True).get_vectorized_trace(x).nodes["y"]["fn"].logits
    for i in range(3):
        alone = poutine.trace(poutine.condition(model, {site: value[i, 0] for site, value in given.items()})).get_trace(x).nodes["y"]["fn"]
        torch.testing.assert_close(together[i], alone.logits, rtol=1e-4, atol=1e-4)


REFUSED = {
    "matrix": (X[:, :, 0, 0], {}, "give images of shape"),
    "pooling": (X, {"pooling": "median"}, "give 'max' or 'mean'"),
    "small": (X, {"kernel": 5, "filters": (2, 2)}, "before convolution 2 with kernel=5"),
    "activation": (X, {"activation": "gelu"}, "give 'tanh', 'relu' or 'sigmoid'"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_is_refused_with_the_remedy(case: str, ppl: Any) -> None:
    x, options, remedy = REFUSED[case]
    with pytest.raises(ValueError, match=remedy):
        ppl.engine.structure(partial(models.lenet, **{"prior": TYINGS["filter"], "kernel": 2} | options), (x, Y), seed=0)
