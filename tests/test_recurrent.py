"""``ppl.scan`` and the LSTM, against the recursion written out in NumPy."""

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
from scipy import special, stats

import scalemix.numpyro as in_numpyro
import scalemix.pyro as in_pyro
from scalemix import models, noise
from scalemix.priors import ScaleMixture

Array = np.ndarray
DRAWS, N, T, P, WIDTH = 4, 5, 6, 3, 2
X = np.random.default_rng(6).normal(size=(N, T, P))
Y = np.random.default_rng(7).normal(size=N)
LENGTHS = np.array([6, 1, 4, 0, 3])
PADDED = {"x": X, "lengths": LENGTHS}
TIED = ScaleMixture(noise.Rayleigh(0.8).per("in"), base_scale=1.5)
UNTIED = ScaleMixture(noise.Rayleigh(0.8).per("in", "gate"), base_scale=1.5)
NOISE_SHAPES = {"tied": (TIED, (P,)), "untied": (UNTIED, (P, 4))}


@pytest.fixture(params=LANGUAGES)
def ppl(request: pytest.FixtureRequest) -> Iterator[ModuleType]:
    with in_pyro.engine.precision("float64", "cpu"), in_numpyro.engine.precision("float64", "cpu"):
        yield LANGUAGES[request.param]


def test_scan_by_hand(ppl: Any) -> None:
    xs, ys = X[0], X[1]
    carry, outs = ppl.scan(lambda c, now: (0.5 * c + now[0], (c, now[1] * c)), ppl.array(np.ones(P)), (ppl.array(xs), ppl.array(ys)))
    c, before = np.ones(P), []
    for x in xs:
        before.append(c)
        c = 0.5 * c + x
    np.testing.assert_allclose(carry, c, rtol=1e-12)
    np.testing.assert_allclose(outs[0], before, rtol=1e-12)
    np.testing.assert_allclose(outs[1], ys * np.array(before), rtol=1e-12)
    assert ppl.scan(lambda c, x: (c + x, None), ppl.array(np.zeros(P)), ppl.array(xs))[1] is None
    assert ppl.scan(lambda c, x: (c + x, (None, c)), ppl.array(np.zeros(P)), ppl.array(xs))[1][0] is None
    np.testing.assert_allclose(ppl.scan(lambda c, x: (c + x, c + x), ppl.array(np.zeros(P)), ppl.array(xs))[1], xs.cumsum(0), rtol=1e-9)


def test_scan_of_no_steps_gives_back_the_state(ppl: Any) -> None:
    """And outs of the shape and type they would have had, with a first axis of length 0."""
    start, none = ppl.array(np.ones(P)), ppl.array(np.zeros((0, P, 3)))
    carry, outs = ppl.scan(lambda c, now: (2 * c, (c @ now[0], None)), start, (none, none))
    np.testing.assert_array_equal(carry, np.ones(P))
    assert (tuple(outs[0].shape), outs[0].dtype, outs[1]) == ((0, 3), start.dtype, None)
    assert tuple(ppl.scan(lambda c, x: (c + x[:, 0], x), start, none)[1].shape) == (0, P, 3)
    assert ppl.scan(lambda c, x: (c + x[:, 0], None), start, none)[1] is None


def test_scan_over_nothing_or_over_two_lengths_is_refused(ppl: Any) -> None:
    for xs in ((), (ppl.array(np.ones(2)), ppl.array(np.ones(3)))):
        with pytest.raises(ValueError, match="scan got"):
            ppl.scan(lambda c, now: (c, None), ppl.array(np.ones(P)), xs)


def _output(v: dict[str, Array], draw: int, lengths: Array) -> Array:
    """y's means (N,), one sequence, step and gate at a time; noise (P,), (P, 4), or with a row per sequence in front."""
    output = np.zeros(N)
    z = v["w_base"][draw] if "w_base" in v else v["w"][draw]
    for n in range(N):
        xi = v["w_noise"][draw]
        xi = (xi[n] if "w_base" not in v else xi).reshape(P, -1)  # tied: one column for all gates
        h, c = np.zeros(WIDTH), np.zeros(WIDTH)
        for t in range(lengths[n]):
            a = []
            for gate in range(4):
                x = X[n, t] * xi[:, gate if xi.shape[1] == 4 else 0]
                a.append(x @ (z[:, gate] * SCALE) + h @ v["u"][draw][:, gate] + v["b"][draw][gate])
            i, f, o, g = special.expit(a[0]), special.expit(a[1]), special.expit(a[2]), np.tanh(a[3])
            c = f * c + i * g
            h = o * np.tanh(c)
        output[n] = h @ v["w_out"][draw][:, 0] + v["b_out"][draw][0]
    return output


SCALE = P**-0.5


def _draws(ppl: Any, model: Any, data: tuple) -> dict[str, Array]:
    v = ppl.engine.sample_prior(model, data, num_draws=DRAWS, seed=3)
    return {site: np.asarray(v[site], dtype=float) for site in ppl.engine.structure(model, data, seed=0).latents}


def _log_prior(v: dict[str, Array]) -> Array:
    laws = {
        "w": stats.norm(scale=1.5 * SCALE),
        "w_base": stats.norm(scale=1.5),
        "u": stats.norm(scale=WIDTH**-0.5),
        "w_out": stats.norm(scale=WIDTH**-0.5),
        "b": stats.norm,
        "b_out": stats.norm,
        "w_noise": stats.rayleigh(scale=0.8),
        "sigma": stats.halfnorm,
    }
    return sum((laws[site].logpdf(value).reshape(DRAWS, -1).sum(1) for site, value in v.items()), np.zeros(DRAWS))


@in_both("case", [f"{tying}-{rows}" for tying in NOISE_SHAPES for rows in ("whole", "padded")], fast=("tied-whole", "untied-padded"))
def test_log_joint_written_out(case: str, ppl: Any) -> None:
    tying, rows = case.split("-")
    prior, shape = NOISE_SHAPES[tying]
    lengths = None if rows == "whole" else LENGTHS
    data = (X if lengths is None else PADDED, Y)
    model = partial(models.lstm, prior=prior, width=WIDTH, parametrization="expanded")
    v = _draws(ppl, model, data)
    assert v["w_noise"].shape == (DRAWS, *shape), "one noise for all steps and sequences"
    assert not any(site.startswith("u_") for site in v), "the recurrent weights have no noise"
    expected = _log_prior(v)
    for draw in range(DRAWS):
        output = _output(v, draw, np.full(N, T) if lengths is None else lengths)
        expected[draw] += stats.norm.logpdf(Y, output, v["sigma"][draw]).sum()
    np.testing.assert_allclose(ppl.engine.evaluate(model, data, v, chunk=DRAWS).log_joint, expected, rtol=1e-10)


@in_both("tying", NOISE_SHAPES, fast=("untied",))
def test_a_noise_for_each_sequence_written_out(tying: str, ppl: Any) -> None:
    """One draw per sequence, the same at all of its steps; the weight's site is z with its scale."""
    prior, shape = NOISE_SHAPES[tying]
    model = partial(models.lstm, prior=prior, width=WIDTH, noise_plate="example")
    v = _draws(ppl, model, (PADDED, Y))
    assert v["w_noise"].shape == (DRAWS, N, *shape)
    expected = _log_prior(v)
    scaled = v | {"w": v["w"] / SCALE}
    for draw in range(DRAWS):
        expected[draw] += stats.norm.logpdf(Y, _output(scaled, draw, LENGTHS), v["sigma"][draw]).sum()
    np.testing.assert_allclose(ppl.engine.evaluate(model, (PADDED, Y), v, chunk=DRAWS).log_joint, expected, rtol=1e-10)


def test_what_stands_in_the_padding_does_not_matter(ppl: Any) -> None:
    model = partial(models.lstm, prior=TIED, width=WIDTH)
    v = _draws(ppl, model, (PADDED, Y))
    beyond = np.arange(T)[None, :, None] >= LENGTHS[:, None, None]
    other = {"x": np.where(beyond, 1e3, X), "lengths": LENGTHS}
    found, again = (ppl.engine.evaluate(model, (x, Y), v, chunk=DRAWS).log_joint for x in (PADDED, other))
    np.testing.assert_array_equal(found, again)


def test_predictive_draws_in_parallel_in_pyro() -> None:
    for options in ({}, {"noise_plate": "example"}):
        model = partial(models.lstm, in_pyro, prior=UNTIED, width=WIDTH, **options)
        x = torch.as_tensor(X, dtype=torch.float32)
        with in_pyro.engine.seeded(0):
            draws = pyro.infer.Predictive(model, num_samples=3, parallel=True)(x)
        latent = set(in_pyro.engine.structure(lambda ppl, x, model=model: model(x), (X,), seed=0).latents) - {"y"}
        given = {site: draws[site] for site in latent}
        together = pyro.infer.Predictive(model, given, parallel=True).get_vectorized_trace(x).nodes["y"]["fn"].mean
        for i in range(3):
            values = {site: value[i] if options and site == "w_noise" else value[i, 0] for site, value in given.items()}
            alone = poutine.trace(poutine.condition(model, values)).get_trace(x).nodes["y"]["fn"].mean
            torch.testing.assert_close(together[i], alone, rtol=1e-4, atol=1e-5)


REFUSED = {
    "matrix": (X[:, 0], {}, "give sequences of shape"),
    "entries": ({"x": X, "length": LENGTHS}, {}, "'lengths'"),
    "lengths": ({"x": X, "lengths": LENGTHS[:3]}, {}, "one length for each"),
    "noise_plate": (X, {"noise_plate": "step"}, "give 'global' or 'example'"),
    "form": (X, {"noise_plate": "example", "parametrization": "hierarchical"}, "give parametrization='expanded'"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_is_refused_with_the_remedy(case: str, ppl: Any) -> None:
    x, options, remedy = REFUSED[case]
    with pytest.raises(ValueError, match=remedy):
        ppl.engine.structure(partial(models.lstm, **{"prior": TIED, "width": WIDTH} | options), (x, Y), seed=0)
