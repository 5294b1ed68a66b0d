"""Parity of a model: the same sites, shapes, order, log joint and gradient in both languages, to 1e-9 in float64."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pyro
import torch
from pyro import poutine

import scalemix.numpyro as in_numpyro
import scalemix.pyro as in_pyro
from scalemix.language import Structure
from scalemix.noise import HardConcrete, RelaxedBernoulli

__all__ = ["RTOL", "check_parity", "log_joint_in_numpyro", "log_joint_in_pyro"]

NUM_PRIOR, NUM_NEAR, EDGES = 30, 12, (1e-12, -1e-12, 1e6, -1e6)  # 30 + 12 + 2 × 4 = 50 points
RTOL, ROUNDING = 1e-9, 1e-12


def check_parity(model: Any, x: np.ndarray, y: np.ndarray) -> Structure:
    """Fail unless both languages agree about ``model`` given x and y, at draws of its prior and at the edges of the range."""
    ours, other = (language.engine.structure(model, (x, y), seed=0) for language in (in_numpyro, in_pyro))
    assert list(ours.latents.items()) == list(other.latents.items())
    assert list(ours.deterministics.items()) == list(other.deterministics.items())
    assert (ours.observed, ours.discrete, list(ours.sites.items())) == (other.observed, other.discrete, list(other.sites.items()))
    points = _points(model, x, ours)
    value, gradient = log_joint_in_numpyro(model, points, ours.discrete, x, y)
    value2, gradient2 = log_joint_in_pyro(model, points, ours.discrete, x, y)
    assert np.isfinite(value).sum() >= NUM_PRIOR
    np.testing.assert_allclose(value2, value, rtol=RTOL)
    size = np.maximum(1.0, np.abs(value))
    for name, ours_at in gradient.items():
        # θ ∂/∂θ has the units of the log joint, whose terms may cancel in it: rounding is measured against both
        theta, axes = points[name], tuple(range(1, points[name].ndim))
        error = np.max(np.abs(theta * (gradient2[name] - ours_at)) - RTOL * np.abs(theta * ours_at), axis=axes)
        assert np.all((error <= ROUNDING * size) | ~np.isfinite(value)), f"{name}: {np.max(error / size)}"
    return ours


def _points(model: Any, x: np.ndarray, structure: Structure) -> dict[str, np.ndarray]:
    """50 points: draws of the prior, points near one another in its bulk, then the weights and then the scales at the edges."""
    with in_pyro.engine.seeded(7):
        traces = [poutine.trace(model).get_trace(in_pyro, torch.as_tensor(x)) for _ in range(NUM_PRIOR)]
    rng = np.random.default_rng(3)
    points = {}
    for name in structure.latents:
        prior = np.stack([trace.nodes[name]["value"].numpy() for trace in traces]).astype(float)
        edges = np.array(EDGES).reshape(-1, *(1,) * (prior.ndim - 1)) * np.ones_like(prior[: len(EDGES)])
        scales = np.abs(edges) if np.all(prior > 0) else edges
        near = prior[0] * np.exp(0.1 * rng.normal(size=(NUM_NEAR, *prior.shape[1:])))
        stay = prior[: len(EDGES)]
        points[name] = np.concatenate([prior, near, *((edges, stay) if _is_weight(name) else (stay, scales))])
        points[name] = np.clip(points[name], *_ends(name, structure))
        if name in structure.discrete:
            points[name] = rng.integers(0, 2, size=points[name].shape).astype(float)
    return points


def _ends(name: str, structure: Structure) -> tuple[float, float]:
    """Between which values a site can be, a little within them: beyond, one language says −∞ and the other does not look."""
    law = structure.sites[name].noise if name in structure.sites else None
    if isinstance(law, RelaxedBernoulli | HardConcrete):
        return -12.0, 12.0  # logits
    if law is None or law.hyper_laws or law.discrete or not np.isfinite(law.scipy().support()[1]):
        return -np.inf, np.inf
    low, high = law.scipy().support()
    return low + 1e-12 * high, high * (1.0 - 1e-6)


def _is_weight(name: str) -> bool:
    return name != "sigma" and not any(part in name for part in ("_noise", "_tau", "_slab", "_rate"))


def log_joint_in_numpyro(model: Any, points: dict, discrete: tuple[str, ...], x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, dict]:
    """Log joint (50,) and gradient, not compiled as a whole: the rows share their operations, which are compiled once."""
    args = jnp.asarray(x), jnp.asarray(y)
    gates = {name: jnp.asarray(value) for name, value in points.items() if name in discrete}
    moving = {name: jnp.asarray(value) for name, value in points.items() if name not in discrete}

    def log_joint(moving: dict, gates: dict) -> Any:
        return in_numpyro.log_density(model, {**moving, **gates}, *args)

    value, gradient = jax.vmap(jax.value_and_grad(log_joint))(moving, gates)
    return np.asarray(value), {name: np.asarray(each) for name, each in gradient.items()}


def log_joint_in_pyro(model: Any, points: dict, discrete: tuple[str, ...], x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, dict]:
    args = torch.as_tensor(x), torch.as_tensor(y)
    gates = {name: torch.as_tensor(value) for name, value in points.items() if name in discrete}
    moving = {name: torch.as_tensor(value) for name, value in points.items() if name not in discrete}

    def log_joint(moving: dict, gates: dict) -> Any:
        return in_pyro.log_density(model, {**moving, **gates}, *args)

    with pyro.validation_enabled(False):
        gradient, value = torch.func.vmap(torch.func.grad_and_value(log_joint))(moving, gates)
    return value.numpy(), {name: each.numpy() for name, each in gradient.items()}
