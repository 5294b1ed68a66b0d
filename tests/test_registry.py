"""Parity over the registry: both languages have the same sites, shapes, order, log joint and gradient, to 1e-9 in float64."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import registry
from parity import RTOL, check_parity, log_joint_in_numpyro, log_joint_in_pyro
from registry import MODELS, NOISES, PRIORS, RECIPES, TYINGS, VARIATIONAL_PRIORS, Case

import scalemix.numpyro as in_numpyro
import scalemix.pyro as in_pyro
from scalemix import inference, models, noise, priors
from scalemix.noise import Noise
from scalemix.plan import forms, make_plan
from scalemix.priors import ScaleMixture

CASES = list(registry.cases())


# --- the registry is complete --------------------------------------------------------------------------------------------------


def test_every_noise_has_a_row() -> None:
    public = {name for name in noise.__all__ if name != "Noise"} - {"Bottleneck"}  # which has no law
    assert {type(row.noise).__name__ for row in NOISES.values()} == public
    assert all(issubclass(getattr(noise, name), Noise) for name in public)


def test_every_named_prior_has_a_row() -> None:
    public = {name for name in priors.__all__ if name[0].isupper()} - {"VariationalPrior"}
    assert {row.constructor for row in PRIORS.values()} | set(VARIATIONAL_PRIORS) == public


def test_every_model_has_a_row() -> None:
    assert {row.model.__name__ for row in MODELS.values()} == set(models.__all__) - {"lifted"}  # its network is somebody's: test_lifting.py
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


# The linear model under every prior in every form, a network under some: JAX compiles each for a second.
FAST = [
    case
    for case in CASES
    if (case.model_name != "mlp" or case.prior_name in ("laplace", "shared_gate", "horseshoe_network"))
    and not case.model_name.startswith(("lenet", "mlp_"))
]


@pytest.mark.parametrize("case", [pytest.param(case, id=case.id, marks=[] if case in FAST else [pytest.mark.slow]) for case in CASES])
def test_sites_log_joint_and_gradient_are_equal(case: Case) -> None:
    x, y = case.row.data()
    structure = check_parity(case.model, x, y)
    for weight in case.row.weights:
        assert weight in {**structure.latents, **structure.deterministics}


def test_draws_of_one_language_have_their_log_joint_in_the_other() -> None:
    case = Case("linear", "regularized_horseshoe", "expanded")
    x, y = case.row.data()
    settings = inference.nuts.Settings(num_warmup=60, num_draws=50, num_chains=1, progress=False)
    posterior = inference.nuts.fit(in_numpyro, case.model, x, y, seed=4, settings=settings)
    flat = {name: posterior.draws[name][0].copy() for name in posterior.latents}
    other = in_pyro.engine.evaluate(case.model, (x, y), flat, chunk=50)
    np.testing.assert_allclose(other.log_joint, posterior.log_joint[0], rtol=RTOL)
    np.testing.assert_allclose(other.log_likelihood["y"], posterior.log_likelihood["y"][0], rtol=RTOL)
    np.testing.assert_allclose(other.deterministics["w1"], posterior.draws["w1"][0], rtol=RTOL)
    value, gradient = log_joint_in_numpyro(case.model, flat, (), x, y)
    value2, gradient2 = log_joint_in_pyro(case.model, flat, (), x, y)
    np.testing.assert_allclose(value, posterior.log_joint[0], rtol=RTOL)
    np.testing.assert_allclose(value2, value, rtol=RTOL)
    for name in flat:
        np.testing.assert_allclose(gradient2[name], gradient[name], rtol=RTOL, atol=1e-9, err_msg=name)


@pytest.mark.parametrize("name", PRIORS)
def test_a_prior_knows_what_it_has_and_where_a_sampler_can_move(name: str) -> None:
    prior = PRIORS[name].prior
    assert prior.proper
    assert set(prior.sampleable) <= set(prior.parametrizations) <= set(registry.ALL_FORMS)
    gates = any(factor.noise.discrete for factor in prior.factors)
    assert prior.sampleable == (tuple(form for form in prior.parametrizations if form == "marginal") if gates else prior.parametrizations)


@pytest.mark.parametrize("ppl", [in_numpyro, in_pyro], ids=lambda ppl: ppl.name)
@pytest.mark.parametrize("name", VARIATIONAL_PRIORS)
def test_a_sampler_is_refused_a_prior_without_a_posterior(name: str, ppl: Any) -> None:
    prior = VARIATIONAL_PRIORS[name]
    assert not prior.proper and not prior.parametrizations and not prior.sampleable

    def model(ppl: Any, x: Any, y: Any) -> Any:
        return models.linear(ppl, x, y, prior=prior)

    with pytest.raises(ValueError, match=r"improper.*use sm\."):
        inference.nuts.fit(ppl, model, np.ones((3, 2)), np.ones(3), seed=0)
