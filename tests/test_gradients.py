"""Log joints and their gradients over the whole range: |w| from 1e-12 to 1e6, scales from 1e-6 to 1e6, float32 and float64.

Every noise and every prior of the registry in each of its forms, alone in a model in which the weight also is used (a factor Σw), under a
further scale. Each site and that scale go through their range alone, and each two of them meet at their ends.

In float64 nothing may be infinite or missing. In float32 neither, wherever the answer is a float32, and it is right to 1e-3. Where it is
none: a normal density has the derivative (w/s)²/s with respect to its scale s, which is 1e30 at w = 1e6 and s = 1e-6, and 1e48, beyond the
largest float32 (3.4e38), where s is the product of two scales of 1e-6.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pyro
import pytest
import torch
from registry import NOISES, PRIORS

import scalemix.numpyro as in_numpyro
import scalemix.pyro as in_pyro
from scalemix import log_marginal, noise
from scalemix.language import Structure
from scalemix.lower import Site
from scalemix.plan import Parametrization
from scalemix.priors import ScaleMixture

Array = np.ndarray
Points = dict[str, Array]
SCALE = "scale"  # the model's argument, beside its sites
WEIGHTS, SCALES = np.linspace(-12.0, 6.0, 19), np.linspace(-6.0, 6.0, 13)  # log10
LARGEST = 1e38  # of what must be finite in float32
NUM_POINTS = 128  # the same for every row, so that JAX compiles its operations once


def _rows() -> Iterator[tuple[str, ScaleMixture, Parametrization]]:
    for name, row in NOISES.items():
        yield from ((name, ScaleMixture(row.noise), form) for form in row.forms)
        if row.noise.discrete and "marginal" in row.tied_forms:
            yield f"{name}_tied", ScaleMixture(row.noise.per("layer")), "marginal"
    for name, row in PRIORS.items():
        yield from ((name, row.prior.resolve(6), form) for form in row.forms)


def _id(name: str, form: Parametrization) -> str:
    return f"{name}-{form if isinstance(form, str) else '-'.join(f'{key}={value}' for key, value in dict(form or {}).items())}"


ROWS = {_id(name, form): (prior, form) for name, prior, form in _rows()}
# What JAX compiles for a row takes it half a second: the fast ones are densities of ours in float32, the type in which they could fail.
FAST_IN_NUMPYRO = {_id(name, "marginal") for name in ("bernoulli_low", "rayleigh", "half_cauchy", "uniform", "log_uniform")}
CASES = [
    pytest.param(name, ppl, dtype, marks=[pytest.mark.slow] if slow else [], id=f"{name}-{ppl.name}-{dtype}")
    for name in ROWS
    for ppl in (in_pyro, in_numpyro)
    for dtype in ("float64", "float32")
    for slow in [ppl is in_numpyro and (dtype == "float64" or name not in FAST_IN_NUMPYRO)]
]


@pytest.mark.parametrize(("name", "ppl", "dtype"), CASES)
def test_gradients_are_finite_over_the_whole_range(name: str, ppl: Any, dtype: str) -> None:
    prior, form = ROWS[name]
    structure, logs, points, expected, slopes = _reference(name)
    fits = np.full(NUM_POINTS, True) if dtype == "float64" else _fits(logs, expected, slopes)
    assert np.mean(fits) > 0.85
    value, gradient = _evaluate(ppl, _model(prior, form), points, structure.discrete, dtype)
    assert np.all(np.isfinite(value[fits]))
    tolerance = 1e-8 if dtype == "float64" else 1e-3
    np.testing.assert_allclose(value[fits], expected[fits], rtol=tolerance, atol=tolerance)
    for site, each in gradient.items():
        found, wanted = _flat(points[site] * each), _flat(points[site] * slopes[site])
        assert np.all(np.isfinite(found[fits])), site
        size = np.maximum(np.abs(wanted), np.maximum(1.0, np.abs(expected))[:, None])  # terms of the log joint may cancel in it
        assert np.max(np.abs(found - wanted)[fits] / size[fits]) < tolerance, site


MARGINALS = [
    name
    for name, (prior, form) in ROWS.items()
    if form == "marginal" and all(factor.axes != ("layer",) and not factor.noise.hyper_laws for factor in prior.factors)
]


@pytest.mark.parametrize("name", MARGINALS)
def test_marginal_densities_and_slopes_against_the_judge(name: str) -> None:
    """log p(w) under the scale by ``scalemix.log_marginal``, and w ∂/∂w and scale ∂/∂scale by differences of it."""
    _, _, points, value, gradient = _reference(name)
    prior, scale, w = ROWS[name][0], points[SCALE][:, None], points["w"]
    np.testing.assert_allclose(value - w.sum(1), (log_marginal(prior, w / scale) - np.log(scale)).sum(1), rtol=1e-9, atol=1e-9)
    step = 1e-4
    slope = (log_marginal(prior, w / scale * math.exp(step)) - log_marginal(prior, w / scale * math.exp(-step))) / (2 * step)
    np.testing.assert_allclose(w * (gradient["w"] - 1.0), slope, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(points[SCALE] * gradient[SCALE], -(1.0 + slope).sum(1), rtol=1e-6, atol=1e-6)


@lru_cache
def _reference(name: str) -> tuple[Structure, Points, Points, Array, Points]:
    """Structure, log10 of sizes, points, and the log joint and its gradient there, in Pyro in float64."""
    model = _model(*ROWS[name])
    structure = in_pyro.engine.structure(lambda ppl: model(ppl, ppl.array(1.0)), (), seed=0)
    logs = _log_points(structure)
    points = {site: np.float32(value).astype(float) for site, value in _points(structure, logs).items()}
    return structure, logs, points, *_evaluate(in_pyro, model, points, structure.discrete, "float64")


def _fits(logs: Points, value: Array, gradient: Points) -> Array:
    """Whether all derivatives are float32s, that with respect to the product of all scales included: a share of the log joint over it."""
    product = 10.0 ** sum(np.minimum(each, 0.0) for site, each in logs.items() if site not in ("w", "w_base"))
    fits = np.abs(value) / product < LARGEST / 100  # the product leaves out the prior's constants
    for each in gradient.values():
        fits &= np.all(np.abs(_flat(each)) < LARGEST, axis=1)
    return fits


def _model(prior: ScaleMixture, form: Parametrization) -> Callable[..., None]:
    def model(ppl: Any, scale: Any) -> None:
        w = ppl.weight("w", (2,), prior, parametrization=form, scale=scale)
        ppl.factor("use", w.sum())

    return model


def _log_points(structure: Structure) -> Points:
    """log10 of the size of each site and of the scale at each point, (NUM_POINTS,)."""
    names = [*structure.latents, SCALE]
    ranges = {name: WEIGHTS if name in ("w", "w_base") else SCALES for name in names}
    points = [{name: size} for name in names for size in ranges[name]]
    for one, other in itertools.combinations(names, 2):
        points += [{one: a, other: b} for a in ranges[one][[0, -1]] for b in ranges[other][[0, -1]]]
    assert len(points) <= NUM_POINTS
    return {name: np.resize([point.get(name, 0.0) for point in points], NUM_POINTS) for name in names}


def _points(structure: Structure, logs: Points) -> Points:
    points = {SCALE: 10.0 ** logs[SCALE]}
    for name, shape in structure.latents.items():
        size, site = 10.0 ** logs[name], structure.sites[name]
        if name in structure.discrete:
            size = np.arange(NUM_POINTS) // 2 % 2 * 1.0
        elif site.role not in ("weight", "base"):
            size = _within_the_law(site, size, logs[name])
        size = size.reshape(-1, *(1,) * len(shape))
        points[name] = size * np.broadcast_to([1.0, -0.7] if site.role in ("weight", "base") else 1.0, shape)
    return points


def _within_the_law(site: Site, size: Array, log_size: Array) -> Array:
    """The size itself, the logit of a gate that is about so open, or as far between the ends of an interval as size/(1 + size)."""
    law = site.noise
    assert law is not None
    if isinstance(law, noise.RelaxedBernoulli | noise.HardConcrete):
        return log_size * math.log(10.0)
    low, high = (0.0, math.inf) if law.hyper_laws else law.scipy().support()
    if high == math.inf:
        return size
    return low + (high - low) * np.clip(size / (1.0 + size), 1e-6, 1.0 - 1e-6)


def _flat(x: Array) -> Array:
    return x.reshape(len(x), -1)


def _evaluate(ppl: Any, model: Callable, points: Points, discrete: tuple[str, ...], dtype: str) -> tuple[Array, Points]:
    """Log joint (NUM_POINTS,) and its gradient in ``dtype``."""

    def log_joint(moving: dict, gates: dict) -> Any:
        sites = {name: value for name, value in moving.items() if name != SCALE}
        return ppl.log_density(model, {**sites, **gates}, moving[SCALE])

    with ppl.engine.precision(dtype, "cpu"):
        array = (lambda x: jnp.asarray(x, dtype)) if ppl is in_numpyro else (lambda x: torch.tensor(x, dtype=getattr(torch, dtype)))
        gates = {name: array(value) for name, value in points.items() if name in discrete}
        moving = {name: array(value) for name, value in points.items() if name not in discrete}
        if ppl is in_numpyro:
            value, gradient = jax.vmap(jax.value_and_grad(log_joint))(moving, gates)
        else:
            with pyro.validation_enabled(False):
                gradient, value = torch.func.vmap(torch.func.grad_and_value(log_joint))(moving, gates)
    assert str(value.dtype).endswith(dtype)
    return np.asarray(value, float), {name: np.asarray(each, float) for name, each in gradient.items()}
