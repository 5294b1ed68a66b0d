"""``ppl.weight`` in models that somebody wrote in plain Pyro or plain NumPyro: under plates, vmap, Predictive and the effect handlers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import pyro
import pyro.infer.reparam as pyro_reparam
import pytest
import torch
from numpyro import handlers
from numpyro.infer import reparam as numpyro_reparam
from plain_models import HANDLERS, LANGUAGES, PLAIN, PRIORS, SHARED, X, Y, data, run
from pyro import poutine
from scipy import stats

import scalemix.numpyro as in_numpyro
import scalemix.pyro as in_pyro
from scalemix import models, noise
from scalemix.priors import Laplace, ScaleMixture, SpikeAndSlab, StudentT


@pytest.fixture(params=LANGUAGES)
def name(request: pytest.FixtureRequest) -> Iterator[str]:
    with in_pyro.engine.precision("float64", "cpu"), in_numpyro.engine.precision("float64", "cpu"):
        yield request.param


# --- batches -------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", PRIORS)
def test_each_cell_of_nested_plates_has_its_own_weight(case: str, name: str) -> None:
    """The log joint of a 3 × 2 plate is the sum of those of its cells, and no two cells share a draw."""
    prior, form = PRIORS[case]
    ppl = LANGUAGES[name]

    def in_plates() -> Any:
        with ppl.plate("outer", 3, dim=-2), ppl.plate("inner", 2, dim=-1):
            return ppl.weight("w", (2,), prior, parametrization=form)

    values, log_probs = run(name, in_plates)
    assert values["w"].shape == (3, 2, 2)
    for key, value in values.items():
        assert value.shape[:2] == (3, 2)
        assert key == "w_slab" or len(np.unique(value)) == value.size
    total = 0.0
    for cell in np.ndindex(3, 2):
        given = {key: ppl.array(value[cell]) for key, value in values.items() if key in log_probs}
        total += float(ppl.log_density(lambda ppl: ppl.weight("w", (2,), prior, parametrization=form), given))
    np.testing.assert_allclose(sum(log_probs.values()), total, rtol=1e-12)


def test_a_scale_per_cell_multiplies_the_weights_of_its_cell(name: str) -> None:
    ppl = LANGUAGES[name]
    size = np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 1e6]])

    def in_plates(form: str, scale: Any) -> Any:
        with ppl.plate("outer", 3, dim=-2), ppl.plate("inner", 2, dim=-1):
            return ppl.weight("w", (2,), Laplace(), parametrization=form, scale=scale)

    for form in ("expanded", "hierarchical", "marginal"):
        plain, _ = run(name, partial(in_plates, form, None))
        scaled, _ = run(name, partial(in_plates, form, ppl.array(size)))
        np.testing.assert_allclose(scaled["w"], plain["w"] * size[..., None], rtol=1e-12)


@pytest.mark.parametrize("case", ["laplace-expanded", "student_t-expanded", "shared_gate-marginal", "regularized_horseshoe-hierarchical"])
def test_vmap(case: str, name: str) -> None:
    """Over keys in NumPyro; over values of the sites in Pyro, whose torch cannot sample there (in-place random numbers)."""
    prior, form = PRIORS[case]
    model = partial(PLAIN[name], prior=prior, form=form)
    x, y = data(name)
    if name == "numpyro":
        keys = jax.random.split(jax.random.PRNGKey(0), 3)
        draws = jax.vmap(lambda key: handlers.seed(model, key)(x))(keys)
        np.testing.assert_allclose(draws, np.stack([handlers.seed(model, key)(x) for key in keys]), rtol=1e-10)
        return

    def log_joint(values: dict[str, Any]) -> Any:
        return poutine.trace(poutine.condition(model, values)).get_trace(x, y).log_prob_sum()

    latents = set(run(name, model, x, y)[1]) - {"y"}
    traces = [poutine.trace(model).get_trace(x) for _ in range(3)]
    values = {key: torch.stack([trace.nodes[key]["value"] for trace in traces]) for key in latents}
    with pyro.validation_enabled(False):
        together = torch.func.vmap(log_joint)(values)
    alone = torch.stack([log_joint({key: value[i] for key, value in values.items()}) for i in range(3)])
    torch.testing.assert_close(together, alone, rtol=1e-10, atol=0.0)


@pytest.mark.parametrize("case", ["student_t-expanded", "shared_gate-marginal", "regularized_horseshoe-hierarchical"])
def test_predictive_draws_in_parallel_are_those_in_turn_in_numpyro(case: str) -> None:
    prior, form = PRIORS[case]
    predictive = partial(numpyro.infer.Predictive, partial(PLAIN["numpyro"], prior=prior, form=form), num_samples=4)
    together = predictive(parallel=True)(jax.random.PRNGKey(0), jnp.asarray(X))
    alone = predictive(parallel=False)(jax.random.PRNGKey(0), jnp.asarray(X))
    assert together["y"].shape == (4, 5)
    for key, value in together.items():
        np.testing.assert_allclose(value, alone[key], rtol=1e-4, err_msg=key)


@pytest.mark.parametrize("case", PRIORS)
def test_predictive_draws_in_parallel_are_those_in_turn_in_pyro(case: str) -> None:
    prior, form = PRIORS[case]
    model = partial(models.linear, in_pyro, prior=prior, parametrization=form)
    x = torch.as_tensor(X, dtype=torch.float32)
    draws = pyro.infer.Predictive(model, num_samples=5, parallel=True)(x)
    assert draws["y"].shape == (5, 5)
    one_per_array = any(label in key for key in draws for label in ("tau", "slab")) or case.startswith("shared-")
    _check_means(model, x, draws, as_mcmc=not one_per_array)


def _check_means(model: Callable[..., Any], x: torch.Tensor, draws: dict[str, torch.Tensor], *, as_mcmc: bool) -> None:
    """E[y] of all draws at once is that of each alone, for draws as Predictive makes them, (S, 1, *event), and as MCMC does.

    The latter are (S, *event), where Pyro takes an event for a plate: it cannot set a scale per array before weights in a vector.
    """
    structure = in_pyro.engine.structure(lambda ppl, x: model(x), (X,), seed=0)
    draws = {key: draws[key] for key in structure.latents if key != "y"}
    by_draw = {key: value[:, 0] for key, value in draws.items()}
    assert len(by_draw["sigma"]) == len(x), "as many draws as rows, so that a wrong axis broadcasts"
    for shaped in (draws, by_draw) if as_mcmc else (draws,):
        together = pyro.infer.Predictive(model, shaped, parallel=True).get_vectorized_trace(x).nodes["y"]["fn"]
        for i in range(len(x)):
            alone = poutine.trace(poutine.condition(model, {key: value[i] for key, value in by_draw.items()})).get_trace(x).nodes["y"]["fn"]
            torch.testing.assert_close(together.mean[i], alone.mean)
            torch.testing.assert_close(together.stddev[i], alone.stddev)


@pytest.mark.parametrize("prior", [Laplace(), SHARED, SpikeAndSlab(0.3, 1.0, 0.1)], ids=["laplace", "shared", "spike"])
def test_predictive_draws_of_a_network_in_parallel_in_pyro(prior: ScaleMixture) -> None:
    model = partial(models.mlp, in_pyro, prior=prior, widths=(3,))
    x = torch.as_tensor(X, dtype=torch.float32)
    _check_means(model, x, pyro.infer.Predictive(model, num_samples=5, parallel=True)(x), as_mcmc=prior is not SHARED)


# --- handlers ------------------------------------------------------------------------------------------------------------------


def test_condition_makes_a_site_observed(name: str) -> None:
    x, y = data(name)
    for form, site in (("expanded", "w_base"), ("hierarchical", "w"), ("marginal", "w")):
        model = partial(PLAIN[name], form=form)
        value = np.array([0.3, -2.0])
        conditioned = HANDLERS[name].condition(model, {site: LANGUAGES[name].array(value)})
        values, log_probs = run(name, conditioned, x, y)
        np.testing.assert_array_equal(values[site], value)
        assert set(log_probs) == set(run(name, model, x, y)[1])
        if form == "marginal":
            np.testing.assert_allclose(log_probs["w"], np.sum(-np.abs(value) / 0.7 - np.log(1.4)), rtol=1e-12)


def test_do_replaces_a_site_for_what_follows(name: str) -> None:
    x, y = data(name)
    value = LANGUAGES[name].array(np.array([5.0, -3.0]))
    for form, site in (("expanded", "w_base"), ("hierarchical", "w"), ("marginal", "w")):
        values, log_probs = run(name, HANDLERS[name].do(partial(PLAIN[name], form=form), {site: value}), x, y)
        w = np.array([5.0, -3.0]) * (values["w_noise"] if form == "expanded" else 1.0)
        np.testing.assert_allclose(log_probs["y"], stats.norm.logpdf(Y, X @ w, values["sigma"]).sum(), rtol=1e-10)


def test_mask_and_scale_act_on_every_site_of_a_weight(name: str) -> None:
    x, y = data(name)
    for case, (prior, form) in PRIORS.items():
        model = partial(PLAIN[name], prior=prior, form=form)
        _, plain = run(name, model, x, y)
        _, scaled = run(name, HANDLERS[name].scale(model, scale=2.5), x, y)
        _, masked = run(name, HANDLERS[name].mask(model, mask=False), x, y)
        for site, value in plain.items():
            np.testing.assert_allclose(scaled[site], 2.5 * value, rtol=1e-12, err_msg=case)
            assert masked[site] == 0.0
        if case == "spike-marginal":
            break


def test_block_hides_the_sites_of_a_weight(name: str) -> None:
    x, y = data(name)
    everything = set(run(name, PLAIN[name], x, y)[0])
    assert everything == {"sigma", "w", "w_noise", "w_base", "y"}
    blocked = HANDLERS[name].block(PLAIN[name], hide=["w_noise", "w_base"])
    if name == "numpyro":  # what is blocked is not seeded by a handler further out, here as in any model
        blocked = handlers.block(handlers.seed(PLAIN[name], 1), hide=["w_noise", "w_base"])
    assert set(run(name, blocked, x, y)[0]) == {"sigma", "w", "y"}


def test_scope_names_every_site_of_a_weight(name: str) -> None:
    from pyro.contrib.autoname import scope

    x, y = data(name)
    scoped = scope(PLAIN[name], prefix="net") if name == "pyro" else handlers.scope(PLAIN[name], "net", hide_types=["plate"])
    assert set(run(name, scoped, x, y)[0]) == {"net/sigma", "net/w", "net/w_noise", "net/w_base", "net/y"}


def test_lift_makes_a_parameter_that_scales_a_weight_a_site(name: str) -> None:
    ppl, dist = LANGUAGES[name], LANGUAGES[name].dist

    def model() -> Any:
        size = ppl.param("size", ppl.array(2.0))
        return ppl.weight("w", (2,), Laplace(), scale=size)

    lifted = HANDLERS[name].lift(model, prior={"size": dist.LogNormal(0.0, 1.0)})
    values, log_probs = run(name, lifted)
    assert set(log_probs) == {"size", "w_noise", "w_base"}
    np.testing.assert_allclose(values["w"], values["size"] * values["w_noise"] * values["w_base"], rtol=1e-12)


def test_substitute(name: str) -> None:
    value = LANGUAGES[name].array(np.array([1.5, -0.5]))
    if name == "numpyro":
        x, _ = data(name)
        for form, site in (("expanded", "w_base"), ("hierarchical", "w"), ("marginal", "w")):
            values, _ = run(name, handlers.substitute(partial(PLAIN[name], form=form), {site: value}), x)
            np.testing.assert_array_equal(values[site], value)
        return

    def model() -> Any:  # Pyro substitutes parameters
        return pyro.param("center", torch.zeros(2)) + in_pyro.weight("w", (2,), Laplace())

    with pyro.get_param_store().scope():
        trace = poutine.trace(poutine.substitute(model, {"center": value})).get_trace()
        np.testing.assert_allclose(trace.nodes["_RETURN"]["value"], value + trace.nodes["w"]["value"])


@pytest.mark.parametrize("layer", ["weight", "layer"])
def test_reparam_of_the_hierarchical_form_is_the_expanded_one(layer: str, name: str) -> None:
    """LocScaleReparam on w of the hierarchical form: w = ξ σ₀ z, and the log joint changes by the log Jacobian Σ log ξ σ₀."""
    ppl = LANGUAGES[name]
    reparam = (numpyro_reparam if name == "numpyro" else pyro_reparam).LocScaleReparam(0.0)
    prior = ScaleMixture(noise.Rayleigh(0.8).per("layer") if layer == "layer" else noise.Rayleigh(0.8), base_scale=1.5)
    model = partial(PLAIN[name], prior=prior, form="hierarchical")
    x, y = data(name)
    values, log_probs = run(name, HANDLERS[name].reparam(model, {"w": reparam}), x, y)
    assert {key for key, value in log_probs.items() if value != 0.0} == {"sigma", "w_noise", "w_decentered", "y"}  # Pyro keeps w at 0
    np.testing.assert_allclose(values["w"], values["w_noise"] * 1.5 * values["w_decentered"], rtol=1e-12)
    given = {key: ppl.array(values[key]) for key in ("sigma", "w_noise", "w")}
    hierarchical = float(ppl.log_density(lambda ppl, *args: model(*args), given, x, y))
    jacobian = np.sum(np.log(1.5 * values["w_noise"] * np.ones(2)))
    np.testing.assert_allclose(sum(log_probs.values()), hierarchical + jacobian, rtol=1e-10)


def test_transform_reparam_of_a_noise(name: str) -> None:
    """1/Nakagami noise is the root of an inverse gamma: its TransformReparam samples ξ² in Pyro, 1/ξ² in NumPyro."""
    reparam = (numpyro_reparam if name == "numpyro" else pyro_reparam).TransformReparam()
    model = partial(PLAIN[name], prior=StudentT(4.0), form="hierarchical")
    values, log_probs = run(name, HANDLERS[name].reparam(model, {"w_noise": reparam}), *data(name))
    assert {key for key, value in log_probs.items() if value != 0.0} == {"sigma", "w_noise_base", "w", "y"}
    np.testing.assert_allclose(values["w_noise"] ** (-2 if name == "numpyro" else 2), values["w_noise_base"], rtol=1e-10)
