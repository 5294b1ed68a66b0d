"""NUTS in NumPyro. Contract: ``scalemix.language.Engine.nuts``; the recipe a user calls is ``scalemix.inference.nuts``."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import numpy as np
from numpyro.infer import MCMC, NUTS, init_to_sample, init_to_uniform

from scalemix.language import Model, NutsRun
from scalemix.numpyro.compiling import compile_clock

__all__ = ["nuts"]

EXTRA_FIELDS = ("energy", "diverging", "num_steps", "accept_prob", "adapt_state.step_size")
ARVIZ_NAMES = {"num_steps": "n_steps", "accept_prob": "acceptance_rate", "adapt_state.step_size": "step_size"}
INITS = {"uniform": init_to_uniform, "prior": init_to_sample}


def nuts(model: Model, data: tuple, *, seed: int, settings: Any) -> NutsRun:
    from scalemix.numpyro.engine import _arrays

    method = settings.chain_method if settings.chain_method != "auto" else _chain_method(settings.num_chains)
    kernel = NUTS(
        partial(model, sys.modules["scalemix.numpyro"]),
        target_accept_prob=settings.target_accept_prob,
        max_tree_depth=settings.max_tree_depth,
        dense_mass=settings.dense_mass,
        init_strategy=INITS[settings.init],
    )
    mcmc = MCMC(
        kernel,
        num_warmup=settings.num_warmup,
        num_samples=settings.num_draws,
        num_chains=settings.num_chains,
        chain_method=_one_program if method == "sequential" and not settings.progress else method,
        progress_bar=settings.progress,
    )
    start = time.perf_counter()
    with compile_clock() as clock:
        mcmc.run(jax.random.PRNGKey(seed), *_arrays(data), extra_fields=EXTRA_FIELDS)
        states = jax.block_until_ready(mcmc.get_samples(group_by_chain=True))
    seconds = time.perf_counter() - start
    fields = {name: np.asarray(value) for name, value in mcmc.get_extra_fields(group_by_chain=True).items()}
    stats = {ARVIZ_NAMES.get(name, name): value for name, value in fields.items()}
    stats["tree_depth"] = np.floor(np.log2(np.maximum(stats["n_steps"], 1))).astype(int) + 1
    draws = {name: np.asarray(value) for name, value in states.items()}
    return NutsRun(draws, stats, method, clock.seconds, max(seconds - clock.seconds, 0.0))


def _one_program(chain: Callable[..., Any]) -> Callable[..., Any]:
    """Chains one after the other in one compiled loop; NumPyro's own "sequential" (0.21) compiles the same loop anew for each chain."""
    return partial(jax.lax.map, chain)


def _chain_method(num_chains: int) -> str:
    """Parallel where XLA has a device per chain (the fastest on CPU cores), else one after the other; vectorized on a GPU."""
    if jax.default_backend() != "cpu":
        return "vectorized"
    return "parallel" if 1 < num_chains <= jax.local_device_count() else "sequential"
