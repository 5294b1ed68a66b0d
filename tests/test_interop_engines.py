"""``ppl.weight`` and ``ppl.distribution`` under the languages' own autoguides, SVI and MCMC, in modules, and with ``like``."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import pyro
import pytest
import torch
from plain_models import LANGUAGES, PLAIN, PRIORS, X, Y
from pyro import poutine

import scalemix.numpyro as in_numpyro
import scalemix.pyro as in_pyro
from scalemix.priors import Laplace, SpikeAndSlab, StudentT


@pytest.fixture(params=LANGUAGES)
def name(request: pytest.FixtureRequest) -> Iterator[str]:
    with in_pyro.engine.precision("float64", "cpu"), in_numpyro.engine.precision("float64", "cpu"):
        yield request.param


NUMPYRO_GUIDES = (
    pytest.param("AutoNormal", marks=pytest.mark.slow), "AutoDelta", "AutoDiagonalNormal",
    *(
        pytest.param(name, marks=pytest.mark.slow)
        for name in (
            "AutoMultivariateNormal", "AutoLowRankMultivariateNormal", "AutoLaplaceApproximation", "AutoIAFNormal", "AutoBNAFNormal",
            "AutoDAIS",
        )
    ),
)  # fmt: skip
PYRO_GUIDES = (
    "AutoNormal", "AutoDelta", "AutoDiagonalNormal", "AutoMultivariateNormal", "AutoLowRankMultivariateNormal",
    "AutoLaplaceApproximation", "AutoIAFNormal", "AutoStructured", "AutoGaussian",
    "AutoNormalMessenger", "AutoHierarchicalNormalMessenger",
)  # fmt: skip


NEED_MOMENTS = ("AutoLaplaceApproximation", "AutoNormalMessenger", "AutoHierarchicalNormalMessenger")


@pytest.mark.parametrize("guide", PYRO_GUIDES)
@pytest.mark.parametrize("case", ["regularized_horseshoe-expanded", "student_t-hierarchical", "shared_gate-marginal"])
def test_autoguides_of_pyro(guide: str, case: str) -> None:
    if guide in NEED_MOMENTS and case != "shared_gate-marginal":
        pytest.skip("this guide starts from the mean of each law, which these do not have")
    prior, form = PRIORS[case]
    model = partial(PLAIN["pyro"], prior=prior, form=form)
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
    model = partial(PLAIN["numpyro"], prior=SpikeAndSlab(0.3, 1.0, 0.1) if guide == "AutoLaplaceApproximation" else Laplace())
    x, y = jnp.asarray(X, dtype=jnp.float32), jnp.asarray(Y, dtype=jnp.float32)
    auto = getattr(numpyro.infer.autoguide, guide)(model)
    svi = numpyro.infer.SVI(model, auto, numpyro.optim.Adam(0.01), numpyro.infer.Trace_ELBO())
    state = svi.init(jax.random.PRNGKey(0), x, y)
    state, loss = svi.update(state, x, y)
    assert np.isfinite(loss)
    draws = auto.sample_posterior(jax.random.PRNGKey(1), svi.get_params(state), x, y, sample_shape=(3,))
    assert ({"sigma", "w"} if guide == "AutoLaplaceApproximation" else {"sigma", "w_noise", "w_base"}) <= set(draws)
    assert all(np.all(np.isfinite(value)) and value.shape[0] == 3 for value in draws.values())


@pytest.mark.slow  # NUTS in a plain NumPyro model is in test_plain_uses.py and in the README's example too
def test_mcmc_of_numpyro() -> None:
    model = partial(PLAIN["numpyro"], prior=Laplace(0.7), form="expanded")
    mcmc = numpyro.infer.MCMC(numpyro.infer.NUTS(model), num_warmup=20, num_samples=20, progress_bar=False)
    mcmc.run(jax.random.PRNGKey(0), jnp.asarray(X, dtype=jnp.float32), jnp.asarray(Y, dtype=jnp.float32))
    draws = mcmc.get_samples()
    assert set(draws) == {"sigma", "w", "w_noise", "w_base"}
    np.testing.assert_allclose(draws["w"], draws["w_noise"] * draws["w_base"], rtol=1e-5)


def test_mcmc_of_pyro() -> None:
    model = partial(PLAIN["pyro"], prior=Laplace(0.7), form="hierarchical")
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
