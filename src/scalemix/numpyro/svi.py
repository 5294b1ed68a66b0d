"""SVI in NumPyro with any guide. Contract: ``scalemix.language.Engine.svi``; the recipe a user calls is ``scalemix.inference.svi``."""

from __future__ import annotations

import inspect
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from numpyro import handlers
from numpyro.infer import SVI, Trace_ELBO
from numpyro.infer.autoguide import AutoGuide
from numpyro.infer.initialization import init_to_median
from tqdm.auto import tqdm

from scalemix.language import Model, SviRun
from scalemix.lower import check_guide, check_losses
from scalemix.numpyro.compiling import compile_clock

__all__ = ["sample_guide", "sample_sites", "svi"]

TICKS = 50  # updates of the progress bar in a run


def svi(model: Model, data: tuple, *, guide: Any, seed: int, settings: Any) -> SviRun:
    from scalemix.numpyro.data import arrays as as_arrays

    args = as_arrays(data)
    bound = partial(model, sys.modules["scalemix.numpyro"])
    fit_key, draw_key = jax.random.split(jax.random.PRNGKey(seed))
    begin = partial(_begin, bound, _guide(guide, bound, args, fit_key, settings), settings)
    start = time.perf_counter()
    with compile_clock() as clock:
        state, losses = _optimized(begin, args, fit_key, settings)
        params, draws, log_guide = jax.jit(partial(_drawn, begin))(args, fit_key, state, jax.random.split(draw_key, settings.num_draws))
        jax.block_until_ready(log_guide)
    seconds = time.perf_counter() - start
    return SviRun(
        {name: np.asarray(value) for name, value in draws.items()},
        np.asarray(log_guide),
        losses,
        {name: np.asarray(value) for name, value in params.items() if hasattr(value, "shape")},
        clock.seconds,
        max(seconds - clock.seconds, 0.0),
    )


def _guide(guide: Any, model: Any, args: tuple, key: jax.Array, settings: Any) -> Callable[[], Any]:
    """What makes the language's guide: an autoguide class is built for the model, an instance is used as it is, a callable takes ppl first.

    An autoguide keeps arrays of the program in which it first ran, so each program makes its own; an instance runs before any.
    """
    if inspect.isclass(guide) and issubclass(guide, AutoGuide):
        options = inspect.signature(guide).parameters
        extra = {"init_scale": settings.init_scale} if "init_scale" in options or "kwargs" in options else {}
        return lambda: guide(model, init_loc_fn=init_to_median, **extra)
    if isinstance(guide, AutoGuide):
        with handlers.block(), handlers.seed(rng_seed=key):
            guide(*args)
        return lambda: guide
    bound = partial(guide, sys.modules["scalemix.numpyro"])
    _check(model, bound, args, key)
    return lambda: bound


def _check(model: Any, guide: Any, args: tuple, key: jax.Array) -> None:
    """A site the guide forgets would silently be drawn from its prior: compare the traces before the first step."""
    traces = []

    def run(args: tuple) -> None:
        traces.extend(sample_sites(handlers.trace(handlers.seed(each, key)).get_trace(*args)) for each in (guide, model))

    jax.eval_shape(run, args)  # names alone: nothing is compiled
    guide_sites, model_sites = traces
    check_guide(
        [name for name, site in model_sites.items() if not site["is_observed"]],
        list(guide_sites),
        [name for name, site in guide_sites.items() if site["infer"].get("is_auxiliary")],
    )


def _begin(model: Any, make: Callable[[], Any], settings: Any, args: tuple, key: jax.Array) -> tuple[SVI, Any]:
    """NumPyro's SVI and its first state."""
    schedule = optax.exponential_decay(settings.learning_rate, settings.num_steps, settings.decay)
    inference = SVI(model, make(), optax.adam(schedule), Trace_ELBO(num_particles=settings.num_particles))
    return inference, inference.init(key, *args)


def _optimized(begin: Callable[..., Any], args: tuple, key: jax.Array, settings: Any) -> tuple[Any, np.ndarray]:
    """The last state, and the loss of each step. (``SVI.run`` begins operation by operation, which is hundreds of programs to compile.)"""
    tick = max(settings.num_steps // TICKS, 1) if settings.progress else settings.num_steps

    def some(args: tuple, key: jax.Array, state: Any, count: int) -> tuple[Any, jax.Array]:
        inference, _ = begin(args, key)

        def step(i: jax.Array, carry: tuple) -> tuple:
            state, losses = carry
            state, loss = inference.update(state, *args)
            return state, losses.at[i].set(loss)

        return jax.lax.fori_loop(0, count, step, (state, jnp.zeros(tick)))

    state = jax.jit(lambda *given: begin(*given)[1])(args, key)
    program, losses = jax.jit(some), np.empty(settings.num_steps)
    with tqdm(total=settings.num_steps, desc="SVI", disable=not settings.progress, leave=False) as bar:
        for first in range(0, settings.num_steps, tick):
            count = min(tick, settings.num_steps - first)
            state, found = program(args, key, state, count)
            losses[first : first + count] = np.asarray(found)[:count]
            check_losses(losses[first : first + count], first)
            bar.update(count)
            bar.set_postfix_str(f"loss {losses[first + count - 1]:.6g}", refresh=False)
    return state, losses


def _drawn(begin: Callable[..., Any], args: tuple, key: jax.Array, state: Any, keys: jax.Array) -> tuple[dict, dict, jax.Array]:
    inference, _ = begin(args, key)
    params = inference.get_params(state)
    return params, *sample_guide(inference.guide, args, params, keys)


def sample_sites(trace: dict[str, Any]) -> dict[str, Any]:
    return {name: site for name, site in trace.items() if site["type"] == "sample"}


def sample_guide(guide: Any, args: tuple, params: dict, keys: jax.Array) -> tuple[dict, jax.Array]:
    """Draws of the model's latent sites and log q of each, auxiliary sites of the guide counted in."""

    def one(key: jax.Array) -> tuple[dict, jax.Array]:
        sites = sample_sites(handlers.trace(handlers.substitute(handlers.seed(guide, key), data=params)).get_trace(*args))
        log_guide = sum((jnp.sum(site["fn"].log_prob(site["value"])) for site in sites.values()), jnp.zeros(()))
        return {name: site["value"] for name, site in sites.items() if not site["infer"].get("is_auxiliary")}, log_guide

    return jax.vmap(one)(keys)
