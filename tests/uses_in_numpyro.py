"""Models that somebody wrote in plain NumPyro: of scalemix they know priors, ``weight`` and ``distribution``. Twins: ``uses_in_pyro``."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpyro
import numpyro.distributions as dist
from jax import Array
from numpyro.contrib.control_flow import scan
from numpyro.contrib.module import random_eqx_module

from scalemix import noise
from scalemix.numpyro import distribution, weight
from scalemix.priors import Horseshoe, Laplace, Normal, ScaleMixture, SpikeAndSlab, StudentT


def hierarchical(x: Array, group: Array, y: Array | None = None) -> Any:
    """Slopes of a regression, shrunk to a mean over the groups, which is shrunk to zero."""
    sigma = numpyro.sample("sigma", dist.HalfNormal(1.0))
    spread = numpyro.sample("spread", dist.HalfNormal(0.5))
    mean = weight("mean", x.shape[1], Horseshoe(0.5, slab_scale=2.0))
    with numpyro.plate("groups", 3):
        shift = weight("shift", x.shape[1], StudentT(4.0), scale=spread)
    with numpyro.plate("rows", len(x)):
        return numpyro.sample("y", dist.Normal((x * (mean + shift)[group]).sum(-1), sigma), obs=y)


def logistic(x: Array, group: Array, y: Array | None = None) -> Any:
    """An intercept per group, each like the others or not; the slopes as an ordinary sample statement."""
    slope = numpyro.sample("slope", distribution(Laplace(0.5), x.shape[1]))
    with numpyro.plate("groups", 3):
        intercept = weight("intercept", (), SpikeAndSlab(0.3, 2.0, 0.1))
    with numpyro.plate("rows", len(x)):
        return numpyro.sample("y", dist.Bernoulli(logits=x @ slope + intercept[group]), obs=y)


def network(x: Array, group: Array, y: Array | None = None) -> Any:
    """One hidden layer; units are independent, so they stand in a plate, and "layer" is then one noise for each unit."""
    with numpyro.plate("units", 4):
        w1 = weight("w1", x.shape[1], ScaleMixture(noise.Rayleigh().per("layer"), base_scale=0.7))
        b1 = weight("b1", (), Normal(1.0))
        w2 = weight("w2", (), ScaleMixture(noise.HalfCauchy(0.5)), parametrization="hierarchical")
    with numpyro.plate("rows", len(x)):
        return numpyro.sample("y", dist.Normal(jnp.tanh(x @ w1.T + b1) @ w2, 0.5), obs=y)


def prior_of(name: str, shape: tuple[int, ...]) -> Any:
    """What ``random_eqx_module`` asks of each leaf."""
    return distribution(StudentT(4.0, 0.6), shape, axes=("out", "in")) if name == "weight" else distribution(Normal(0.8), shape)


def module(x: Array, group: Array, y: Array | None = None) -> Any:
    """A layer of Equinox whose leaves are sample sites, and a second whose leaf is put in, in the expanded form."""
    keys = jax.random.split(jax.random.PRNGKey(0))
    hidden = random_eqx_module("hidden", eqx.nn.Linear(x.shape[1], 3, key=keys[0]), prior=prior_of, scope_divider=".")
    last = eqx.nn.Linear(3, "scalar", use_bias=False, key=keys[1])
    last = eqx.tree_at(lambda layer: layer.weight, last, weight("last", 3, Laplace(0.7))[None])
    mean = jax.vmap(lambda row: last(jax.nn.relu(hidden(row))))(x)
    with numpyro.plate("rows", len(x)):
        return numpyro.sample("y", dist.Normal(mean, 0.5), obs=y)


def series(y: Array) -> None:
    """A level that mostly drifts and sometimes jumps; its innovations are drawn before the loop."""
    sigma = numpyro.sample("sigma", dist.HalfNormal(1.0))
    step = weight("step", len(y), StudentT(3.0, 0.4), axes=("time",))

    def advance(level: Array, now: tuple[Array, Array]) -> tuple[Array, None]:
        step_now, y_now = now
        numpyro.sample("y", dist.Normal(level + step_now, sigma), obs=y_now)
        return level + step_now, None

    scan(advance, jnp.zeros(()), (step, y))


def series_in_loop(y: Array) -> None:
    """The same with each innovation drawn when its time comes."""
    sigma = numpyro.sample("sigma", dist.HalfNormal(1.0))

    def advance(level: Array, y_now: Array) -> tuple[Array, None]:
        level = level + weight("step", (), StudentT(3.0, 0.4))
        numpyro.sample("y", dist.Normal(level, sigma), obs=y_now)
        return level, None

    scan(advance, jnp.zeros(()), y)


MODELS = {
    "hierarchical": hierarchical,
    "logistic": logistic,
    "network": network,
    "module": module,
    "series": series,
    "series_in_loop": series_in_loop,
}
