"""Parity over the registry: both languages have the same sites, shapes, order, log joint and gradient, to 1e-9 in float64."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import registry
import torch
from numpyro import handlers
from registry import MODELS, NOISES, PRIORS, RECIPES, TYINGS, Case

import scalemix.numpyro as in_numpyro
import scalemix.pyro as in_pyro
from scalemix import inference, models, noise, priors
from scalemix.noise import Noise
from scalemix.plan import forms, make_plan
from scalemix.priors import ScaleMixture

CASES = list(registry.cases())
NUM_PRIOR, NUM_NEAR, EDGES = 30, 12, (1e-12, -1e-12, 1e6, -1e6)  # 30 + 12 + 2 × 4 = 50 points
RTOL = 1e-9


# --- the registry is complete --------------------------------------------------------------------------------------------------


def test_every_noise_has_a_row() -> None:
    public = {name for name in noise.__all__ if name != "Noise"}
    assert {type(row.noise).__name__ for row in NOISES.values()} == public
    assert all(issubclass(getattr(noise, name), Noise) for name in public)


def test_every_named_prior_has_a_row() -> None:
    public = {name for name in priors.__all__ if name[0].isupper()}
    assert {row.constructor for row in PRIORS.values()} == public


def test_every_model_has_a_row() -> None:
    assert {row.model.__name__ for row in MODELS.values()} == set(models.__all__)
    assert {case.model_name for case in CASES} == set(MODELS)


def test_every_recipe_has_a_row() -> None:
    assert set(RECIPES) == set(inference.__all__)
    for recipe in RECIPES.values():
        assert callable(recipe.fit)
        assert callable(recipe.Settings)


@pytest.mark.parametrize("name", NOISES)
def test_a_noise_has_the_forms_of_its_row(name: str) -> None:
    row = NOISES[name]
    assert forms(ScaleMixture(row.noise)) == row.forms
    assert _forms_on(ScaleMixture(row.noise.per("in")), (2, 3)) == row.tied_forms


@pytest.mark.parametrize("name", PRIORS)
def test_a_prior_has_the_forms_of_its_row(name: str) -> None:
    row = PRIORS[name]
    assert _forms_on(row.prior, (3,)) == tuple(form for form in row.forms if isinstance(form, str))


@pytest.mark.parametrize("name", TYINGS)
def test_a_tying_has_one_noise_for_each_index_of_its_axes(name: str) -> None:
    row = TYINGS[name]
    prior = ScaleMixture(noise.Rayleigh().per(*row.per) if row.per else noise.Rayleigh())
    (factor,) = make_plan(prior, row.shape, row.axes, "expanded").factors
    assert factor.shape == row.noise_shape
    weight = np.broadcast_to(np.zeros(factor.view), row.shape)
    assert weight.shape == row.shape
    for language in (in_pyro, in_numpyro):
        structure = language.engine.structure(_weight_alone(prior, row.shape, row.axes), (), seed=0)
        assert structure.latents == {"w_noise": row.noise_shape, "w_base": row.shape}
        assert structure.deterministics == {"w": row.shape}


def _weight_alone(prior: ScaleMixture, shape: tuple[int, ...], axes: tuple[str, ...]) -> Any:
    return lambda ppl: ppl.weight("w", shape, prior, axes=axes)


def _forms_on(prior: ScaleMixture, shape: tuple[int, ...]) -> tuple[str, ...]:
    """The forms that a weight of this shape can be planned in; without noise they are one."""
    found = tuple(form for form in registry.ALL_FORMS if _exists(prior, shape, form))
    return found if prior.random_factors else found[-1:]


def _exists(prior: ScaleMixture, shape: tuple[int, ...], form: str) -> bool:
    try:
        make_plan(prior, shape, None, form)
    except ValueError:
        return False
    return True


# --- parity --------------------------------------------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def float64() -> Iterator[None]:
    with in_pyro.engine.precision("float64", "cpu"), in_numpyro.engine.precision("float64", "cpu"):
        yield


@pytest.mark.parametrize("case", CASES, ids=[case.id for case in CASES])
def test_sites_log_joint_and_gradient_are_equal(case: Case) -> None:
    x, y = case.row.data()
    structures = [language.engine.structure(case.model, (x, y), seed=0) for language in (in_numpyro, in_pyro)]
    ours, other = structures
    assert list(ours.latents.items()) == list(other.latents.items())
    assert list(ours.deterministics.items()) == list(other.deterministics.items())
    assert (ours.observed, ours.discrete, list(ours.sites.items())) == (other.observed, other.discrete, list(other.sites.items()))
    for weight in case.row.weights:
        assert weight in {**ours.latents, **ours.deterministics}

    points = _points(case, x, ours.latents, ours.discrete)
    value, gradient = _in_numpyro(case.model, points, ours.discrete, x, y)
    value2, gradient2 = _in_pyro(case.model, points, ours.discrete, x, y)
    assert np.isfinite(value).sum() >= NUM_PRIOR
    np.testing.assert_allclose(value2, value, rtol=RTOL)
    for name in gradient:
        np.testing.assert_allclose(gradient2[name], gradient[name], rtol=RTOL, err_msg=name)


def _points(case: Case, x: np.ndarray, latents: dict[str, tuple[int, ...]], discrete: tuple[str, ...]) -> dict[str, np.ndarray]:
    """50 points: draws of the prior by NumPyro, points near one another in its bulk, and the weights (or all sites) at the edges."""

    def draw(key: Any) -> dict[str, Any]:
        trace = handlers.trace(handlers.seed(case.model, key)).get_trace(in_numpyro, jnp.asarray(x))
        return {name: trace[name]["value"] for name in latents}

    prior = {name: np.asarray(value, float) for name, value in jax.vmap(draw)(jax.random.split(jax.random.PRNGKey(7), NUM_PRIOR)).items()}
    rng = np.random.default_rng(3)
    points = {}
    for name, draws in prior.items():
        positive = bool(np.all(draws > 0))
        middle = np.median(np.abs(draws), axis=0) * (1.0 if positive else np.sign(draws[0]))
        near = middle * np.exp(0.1 * rng.normal(size=(NUM_NEAR, *middle.shape)))
        edges = np.stack([draws[i] if _stays(name) else np.full_like(draws[i], edge) for i, edge in enumerate(EDGES)])
        far = np.stack([np.full_like(draws[i], abs(edge) if positive else edge) for i, edge in enumerate(EDGES)])
        parts = [draws, near, edges, far]
        if name in discrete:
            parts = [draws, *(np.round(rng.uniform(size=part.shape)) for part in parts[1:])]
        points[name] = np.concatenate(parts)
    return points


def _stays(name: str) -> bool:
    """A site that is no weight keeps its draw while the weights go to the edges."""
    return name == "sigma" or "_noise" in name or name.endswith(("_tau", "_slab"))


def _in_numpyro(model: Any, points: dict, discrete: tuple[str, ...], x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, dict]:
    args = jnp.asarray(x), jnp.asarray(y)
    gates = {name: jnp.asarray(value) for name, value in points.items() if name in discrete}
    moving = {name: jnp.asarray(value) for name, value in points.items() if name not in discrete}

    def log_joint(moving: dict, gates: dict) -> Any:
        return in_numpyro.log_density(model, {**moving, **gates}, *args)

    value, gradient = jax.jit(jax.vmap(jax.value_and_grad(log_joint)))(moving, gates)
    return np.asarray(value), {name: np.asarray(each) for name, each in gradient.items()}


def _in_pyro(model: Any, points: dict, discrete: tuple[str, ...], x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, dict]:
    args = torch.as_tensor(x), torch.as_tensor(y)
    num_points = len(next(iter(points.values())))
    values, gradients = np.empty(num_points), {name: np.empty_like(value) for name, value in points.items() if name not in discrete}
    for i in range(num_points):
        at = {name: torch.tensor(value[i], requires_grad=name not in discrete) for name, value in points.items()}
        log_joint = in_pyro.log_density(model, at, *args)
        log_joint.backward()
        values[i] = log_joint.item()
        for name in gradients:
            gradients[name][i] = at[name].grad
    return values, gradients
