"""``ppl.weight`` and ``ppl.distribution`` in models that somebody wrote in plain Pyro or plain NumPyro: plates, handlers and engines."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as numpyro_dist
import pyro
import pyro.distributions as pyro_dist
import pyro.infer.reparam as pyro_reparam
import pytest
import torch
from numpyro import handlers
from numpyro.infer import reparam as numpyro_reparam
from numpyro.infer.util import compute_log_probs
from pyro import poutine

import scalemix.numpyro as in_numpyro
import scalemix.pyro as in_pyro
from scalemix import models, noise
from scalemix.plan import Parametrization
from scalemix.priors import Horseshoe, Laplace, ScaleMixture, SpikeAndSlab, StudentT

X = np.random.default_rng(0).normal(size=(5, 2))
Y = np.random.default_rng(1).normal(size=5)
LANGUAGES = {"numpyro": in_numpyro, "pyro": in_pyro}
HANDLERS = {"numpyro": handlers, "pyro": poutine}
SHARED = ScaleMixture(noise.Rayleigh().per("layer"))
PRIORS = {
    "laplace-expanded": (Laplace(0.7), "expanded"),
    "laplace-hierarchical": (Laplace(0.7), "hierarchical"),
    "laplace-marginal": (Laplace(0.7), "marginal"),
    "student_t-expanded": (StudentT(4.0), "expanded"),
    "spike-marginal": (SpikeAndSlab(0.3, 1.0, 0.1), "marginal"),
    "horseshoe-marginal": (ScaleMixture(noise.HalfCauchy()), "marginal"),
    "shared_gate-marginal": (ScaleMixture(noise.Bernoulli(0.3, low=0.1).per("layer")), "marginal"),
    "shared-expanded": (SHARED, "expanded"),
    "shared-hierarchical": (SHARED, "hierarchical"),
    "regularized_horseshoe-expanded": (Horseshoe(0.3, slab_scale=2.0), "expanded"),
    "regularized_horseshoe-hierarchical": (Horseshoe(0.3, slab_scale=2.0), "hierarchical"),
}


@pytest.fixture(params=LANGUAGES)
def name(request: pytest.FixtureRequest) -> Iterator[str]:
    with in_pyro.engine.precision("float64", "cpu"), in_numpyro.engine.precision("float64", "cpu"):
        yield request.param


def in_plain_numpyro(x: Any, y: Any = None, *, prior: ScaleMixture = Laplace(0.7), form: Parametrization = None) -> Any:  # noqa: B008
    sigma = numpyro.sample("sigma", numpyro_dist.HalfNormal(1.0))
    w = in_numpyro.weight("w", (2,), prior, parametrization=form)
    with numpyro.plate("rows", x.shape[0]):
        return numpyro.sample("y", numpyro_dist.Normal(x @ w, sigma), obs=y)


def in_plain_pyro(x: Any, y: Any = None, *, prior: ScaleMixture = Laplace(0.7), form: Parametrization = None) -> Any:  # noqa: B008
    sigma = pyro.sample("sigma", pyro_dist.HalfNormal(1.0))
    w = in_pyro.weight("w", (2,), prior, parametrization=form)
    with pyro.plate("rows", x.shape[0]):
        return pyro.sample("y", pyro_dist.Normal(x @ w, sigma), obs=y)


PLAIN = {"numpyro": in_plain_numpyro, "pyro": in_plain_pyro}


def data(name: str) -> tuple[Any, Any]:
    return LANGUAGES[name].array(X), LANGUAGES[name].array(Y)


def run(name: str, model: Callable[..., Any], *args: Any) -> tuple[dict[str, np.ndarray], dict[str, float]]:
    """One run of a model: values of all its sites, and the summed log probability of each sample site."""
    if name == "numpyro":
        log_probs, trace = compute_log_probs(handlers.seed(model, 3), args, {}, {})
        values = {key: np.asarray(site["value"]) for key, site in trace.items() if site["type"] in ("sample", "deterministic")}
        return values, {key: float(value) for key, value in log_probs.items()}
    with in_pyro.engine.seeded(3):
        trace = poutine.trace(model).get_trace(*args)
    trace.compute_log_prob()
    sites = {key: site for key, site in trace.nodes.items() if site["type"] == "sample" and not poutine.util.site_is_subsample(site)}
    values = {key: site["value"].detach().numpy() for key, site in sites.items()}
    return values, {key: float(site["log_prob_sum"]) for key, site in sites.items() if not site["infer"].get("_deterministic")}


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
    prior, form = PRIORS[case]
    model = partial(PLAIN[name], prior=prior, form=form)
    if name == "numpyro":
        x, _ = data(name)
        keys = jax.random.split(jax.random.PRNGKey(0), 4)
        draws = np.asarray(jax.vmap(lambda key: handlers.seed(model, key)(x))(keys))
        one_by_one = np.stack([handlers.seed(model, key)(x) for key in keys])
        np.testing.assert_allclose(draws, one_by_one, rtol=1e-10)
    else:
        x = torch.as_tensor(X).expand(4, 5, 2)
        with pyro.validation_enabled(False):
            draws = torch.func.vmap(lambda x: poutine.condition(model, {"w_noise_weight": torch.ones(2)})(x), randomness="different")(x)
        assert draws.shape == (4, 5)
        assert len(torch.unique(draws)) == 20


@pytest.mark.parametrize("case", PRIORS)
def test_predictive_draws_in_parallel_are_those_in_turn(case: str, name: str) -> None:
    prior, form = PRIORS[case]
    ppl = LANGUAGES[name]
    model = partial(models.linear, ppl, prior=prior, parametrization=form) if name == "pyro" else partial(PLAIN[name], prior=prior, form=form)
    x, _ = data(name)
    if name == "numpyro":
        predictive = partial(numpyro.infer.Predictive, model)
        prior_draws = predictive(num_samples=4, parallel=True)(jax.random.PRNGKey(0), x)
        in_turn = predictive(num_samples=4, parallel=False)(jax.random.PRNGKey(0), x)
        assert prior_draws["y"].shape == (4, 5)
        for key, value in prior_draws.items():
            np.testing.assert_allclose(value, in_turn[key], rtol=1e-10, err_msg=key)
        return
    latents = [key for key in run(name, model, x)[1] if key != "y"]
    prior_draws = pyro.infer.Predictive(model, num_samples=4, parallel=True)(x)
    posterior = {key: prior_draws[key][:, 0] for key in latents}
    together = pyro.infer.Predictive(model, posterior, parallel=True).get_vectorized_trace(x).nodes
    for i in range(4):
        alone = poutine.trace(poutine.condition(model, {key: value[i] for key, value in posterior.items()})).get_trace(x).nodes
        np.testing.assert_allclose(prior_draws["w1"][i, 0], alone["w1"]["value"], rtol=1e-12)
        np.testing.assert_allclose(together["w1"]["value"][i, 0], alone["w1"]["value"], rtol=1e-12)
        np.testing.assert_allclose(together["y"]["fn"].mean[i], alone["y"]["fn"].mean, rtol=1e-12)


def test_predictive_draws_of_a_network_in_parallel_in_pyro() -> None:
    prior = {"w1": Laplace(), "w2": SHARED}
    model = partial(models.mlp, in_pyro, prior=prior, widths=(3,))
    x = torch.as_tensor(X, dtype=torch.float32)
    draws = pyro.infer.Predictive(model, num_samples=4, parallel=True)(x)
    posterior = {key: value[:, 0] for key, value in draws.items() if key not in ("y", "w1", "w2")}
    together = pyro.infer.Predictive(model, posterior, parallel=True).get_vectorized_trace(x).nodes
    for i in range(4):
        alone = poutine.trace(poutine.condition(model, {key: value[i] for key, value in posterior.items()})).get_trace(x).nodes
        torch.testing.assert_close(together["y"]["fn"].mean[i], alone["y"]["fn"].mean)


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


def test_do_cuts_a_site_off(name: str) -> None:
    x, y = data(name)
    value = LANGUAGES[name].array(np.array([5.0, 5.0]))
    for form, site in (("expanded", "w_base"), ("hierarchical", "w"), ("marginal", "w")):
        values, log_probs = run(name, HANDLERS[name].do(partial(PLAIN[name], form=form), {site: value}), x, y)
        assert site not in log_probs or (form, name) == ("never", "never")
        if form == "expanded":
            np.testing.assert_allclose(values["w"], 0.0 * values["w"] + 5.0 * values["w_noise"], rtol=1e-12)


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
    assert set(log_probs) == {"sigma", "w_noise", "w_decentered", "y"}
    np.testing.assert_allclose(values["w"], values["w_noise"] * 1.5 * values["w_decentered"], rtol=1e-12)
    given = {key: ppl.array(values[key]) for key in ("sigma", "w_noise", "w")}
    hierarchical = float(ppl.log_density(lambda ppl, *args: model(*args), given, x, y))
    jacobian = np.sum(np.log(1.5 * values["w_noise"] * np.ones(2)))
    np.testing.assert_allclose(sum(log_probs.values()), hierarchical + jacobian, rtol=1e-10)


def test_transform_reparam_of_a_noise(name: str) -> None:
    """1/Nakagami noise is the root of an inverse gamma: its TransformReparam samples ξ² or what that is made of."""
    reparam = (numpyro_reparam if name == "numpyro" else pyro_reparam).TransformReparam()
    model = partial(PLAIN[name], prior=StudentT(4.0), form="hierarchical")
    values, log_probs = run(name, HANDLERS[name].reparam(model, {"w_noise": reparam}), *data(name))
    assert "w_noise_base" in log_probs
    assert "w_noise" not in log_probs
    np.testing.assert_allclose(values["w_noise"] ** 2, values["w_noise_base"], rtol=1e-10)


# --- engines -------------------------------------------------------------------------------------------------------------------

NUMPYRO_GUIDES = (
    "AutoNormal", "AutoDelta", "AutoDiagonalNormal", "AutoMultivariateNormal", "AutoLowRankMultivariateNormal",
    "AutoLaplaceApproximation", "AutoIAFNormal", "AutoBNAFNormal", "AutoDAIS",
)  # fmt: skip
PYRO_GUIDES = (
    "AutoNormal", "AutoDelta", "AutoDiagonalNormal", "AutoMultivariateNormal", "AutoLowRankMultivariateNormal",
    "AutoLaplaceApproximation", "AutoIAFNormal", "AutoStructured", "AutoGaussian",
    "AutoNormalMessenger", "AutoHierarchicalNormalMessenger",
)  # fmt: skip


@pytest.mark.parametrize("guide", PYRO_GUIDES)
@pytest.mark.parametrize("case", ["regularized_horseshoe-expanded", "student_t-expanded", "shared_gate-marginal"])
def test_autoguides_of_pyro(guide: str, case: str) -> None:
    prior, form = PRIORS[case]
    model = partial(in_plain_pyro, prior=prior, form=form)
    x, y = torch.as_tensor(X, dtype=torch.float32), torch.as_tensor(Y, dtype=torch.float32)
    with pyro.get_param_store().scope(), in_pyro.engine.seeded(0):
        auto = getattr(pyro.infer.autoguide, guide)(model)
        svi = pyro.infer.SVI(model, auto, pyro.optim.Adam({"lr": 0.01}), pyro.infer.Trace_ELBO())
        assert all(np.isfinite(svi.step(x, y)) for _ in range(3))
        final = auto.laplace_approximation(x, y) if guide == "AutoLaplaceApproximation" else auto
        draw = poutine.trace(poutine.replay(model, poutine.trace(final).get_trace(x, y))).get_trace(x, y)
        latents = {key: site for key, site in draw.nodes.items() if site["type"] == "sample" and not site["is_observed"] and key != "rows"}
        found = final(x, y)
        assert set(latents) <= set(found)
        assert all(torch.isfinite(found[key]).all() and found[key].shape == latents[key]["value"].shape for key in latents)


@pytest.mark.parametrize("guide", NUMPYRO_GUIDES)
def test_autoguides_of_numpyro(guide: str) -> None:
    model = partial(in_plain_numpyro, prior=Horseshoe(0.3, slab_scale=2.0), form="expanded")
    x, y = jnp.asarray(X, dtype=jnp.float32), jnp.asarray(Y, dtype=jnp.float32)
    auto = getattr(numpyro.infer.autoguide, guide)(model)
    svi = numpyro.infer.SVI(model, auto, numpyro.optim.Adam(0.01), numpyro.infer.Trace_ELBO())
    state = svi.init(jax.random.PRNGKey(0), x, y)
    state, loss = jax.jit(svi.update)(state, x, y)
    assert np.isfinite(loss)
    draws = auto.sample_posterior(jax.random.PRNGKey(1), svi.get_params(state), x, y, sample_shape=(3,))
    assert {"sigma", "w_noise_weight", "w_tau", "w_slab", "w_base"} <= set(draws)
    assert all(np.all(np.isfinite(value)) for value in draws.values())
    assert draws["w_base"].shape[-1:] == (2,)


def test_mcmc_of_numpyro() -> None:
    model = partial(in_plain_numpyro, prior=Laplace(0.7), form="expanded")
    mcmc = numpyro.infer.MCMC(numpyro.infer.NUTS(model), num_warmup=20, num_samples=20, progress_bar=False)
    mcmc.run(jax.random.PRNGKey(0), jnp.asarray(X, dtype=jnp.float32), jnp.asarray(Y, dtype=jnp.float32))
    draws = mcmc.get_samples()
    assert set(draws) == {"sigma", "w", "w_noise", "w_base"}
    np.testing.assert_allclose(draws["w"], 0.7 * draws["w_noise"] * draws["w_base"] / 0.7, rtol=1e-5)


def test_mcmc_of_pyro() -> None:
    model = partial(in_plain_pyro, prior=Laplace(0.7), form="hierarchical")
    with in_pyro.engine.seeded(0):
        mcmc = pyro.infer.MCMC(pyro.infer.NUTS(model, max_tree_depth=4), num_samples=5, warmup_steps=5, disable_progbar=True)
        mcmc.run(torch.as_tensor(X, dtype=torch.float32), torch.as_tensor(Y, dtype=torch.float32))
    draws = mcmc.get_samples()
    assert set(draws) == {"sigma", "w", "w_noise"}
    assert draws["w"].shape == (5, 2)


# --- distributions -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", [case for case in PRIORS if case.endswith("marginal")])
def test_distribution_is_the_law_of_the_marginal_form(case: str, name: str) -> None:
    prior, _ = PRIORS[case]
    ppl = LANGUAGES[name]
    law = ppl.distribution(prior, (2,))
    assert tuple(law.batch_shape) == ()
    assert tuple(law.event_shape) == (2,)
    w = ppl.array(np.array([0.4, -1.1]))
    marginal = ppl.log_density(lambda ppl: ppl.weight("w", (2,), prior, parametrization="marginal"), {"w": w})
    np.testing.assert_allclose(law.log_prob(w), marginal, rtol=1e-12)
    batch = law.expand((3,))
    assert tuple(batch.log_prob(ppl.array(np.full((3, 2), 0.4))).shape) == (3,)
    draws = law.sample(jax.random.PRNGKey(0), (7,)) if name == "numpyro" else law.sample((7,))
    assert tuple(draws.shape) == (7, 2)


def test_distribution_in_a_pyro_sample() -> None:
    from pyro.nn import PyroModule, PyroSample

    class Net(PyroModule):
        def __init__(self) -> None:
            super().__init__()
            self.linear = PyroModule[torch.nn.Linear](2, 3)
            self.linear.weight = PyroSample(in_pyro.distribution(StudentT(4.0), (3, 2), axes=("out", "in")))
            self.linear.bias = PyroSample(in_pyro.distribution(Laplace(), (3,)))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.linear(x)

    net = Net()
    trace = poutine.trace(net).get_trace(torch.as_tensor(X, dtype=torch.float32))
    assert trace.nodes["linear.weight"]["value"].shape == (3, 2)
    assert torch.isfinite(trace.log_prob_sum())
    assert trace.nodes["_RETURN"]["value"].shape == (5, 3)


# --- dtype and device in Pyro --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("case", PRIORS)
def test_like_gives_dtype_outside_the_recipes(case: str, dtype: torch.dtype) -> None:
    prior, form = PRIORS[case]
    like = torch.zeros(1, dtype=dtype)
    assert torch.get_default_dtype() is torch.float32
    trace = poutine.trace(in_pyro.weight).get_trace("w", (2,), prior, parametrization=form, like=like)
    sites = {key: site["value"].dtype for key, site in trace.nodes.items() if site["type"] == "sample"}
    assert set(sites.values()) == {dtype}, sites
    assert trace.log_prob_sum().dtype is dtype


@pytest.mark.parametrize("case", PRIORS)
def test_like_gives_the_device_outside_the_recipes(case: str) -> None:
    """The meta device computes shapes only, and refuses what mixes it with the CPU."""
    prior, form = PRIORS[case]
    with pyro.validation_enabled(False):
        w = in_pyro.weight("w", (2,), prior, parametrization=form, like=torch.zeros(1, device="meta"))
    assert w.device.type == "meta"
    assert w.shape == (2,)
