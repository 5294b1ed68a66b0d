"""SVI in NumPyro with any guide. Contract: ``scalemix.language.Engine.svi``; the recipe a user calls is ``scalemix.inference.svi``."""

from __future__ import annotations

import inspect
import sys
import time
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

from scalemix.language import Model, SviRun
from scalemix.lower import check_guide
from scalemix.numpyro.compiling import compile_clock

__all__ = ["sample_guide", "sample_sites", "svi"]


def svi(model: Model, data: tuple, *, guide: Any, seed: int, settings: Any) -> SviRun:
    from scalemix.numpyro.data import arrays as as_arrays

    args = as_arrays(data)
    bound = partial(model, sys.modules["scalemix.numpyro"])
    bound_guide = _guide(guide, bound, settings)
    schedule = optax.exponential_decay(settings.learning_rate, settings.num_steps, settings.decay)
    inference = SVI(bound, bound_guide, optax.adam(schedule), Trace_ELBO(num_particles=settings.num_particles))
    fit_key, draw_key = jax.random.split(jax.random.PRNGKey(seed))
    _check(bound, bound_guide, args, fit_key)
    start = time.perf_counter()
    with compile_clock() as clock:
        result = inference.run(fit_key, settings.num_steps, *args, progress_bar=settings.progress)
        draws, log_guide = sample_guide(bound_guide, args, result.params, jax.random.split(draw_key, settings.num_draws))
        jax.block_until_ready(log_guide)
    seconds = time.perf_counter() - start
    return SviRun(
        {name: np.asarray(value) for name, value in draws.items()},
        np.asarray(log_guide),
        np.asarray(result.losses),
        {name: np.asarray(value) for name, value in result.params.items() if hasattr(value, "shape")},
        clock.seconds,
        max(seconds - clock.seconds, 0.0),
    )


def _guide(guide: Any, model: Any, settings: Any) -> Any:
    """The language's guide: an autoguide class is built for the model, an instance is used as it is, a callable takes ppl first."""
    if inspect.isclass(guide) and issubclass(guide, AutoGuide):
        options = inspect.signature(guide).parameters
        extra = {"init_scale": settings.init_scale} if "init_scale" in options or "kwargs" in options else {}
        return guide(model, init_loc_fn=init_to_median, **extra)
    return guide if isinstance(guide, AutoGuide) else partial(guide, sys.modules["scalemix.numpyro"])


def _check(model: Any, guide: Any, args: tuple, key: jax.Array) -> None:
    """A site the guide forgets would silently be drawn from its prior: compare the traces before the first step."""
    if isinstance(guide, AutoGuide):
        return
    guide_sites = sample_sites(handlers.trace(handlers.seed(guide, key)).get_trace(*args))
    model_sites = sample_sites(handlers.trace(handlers.seed(model, key)).get_trace(*args))
    check_guide(
        [name for name, site in model_sites.items() if not site["is_observed"]],
        list(guide_sites),
        [name for name, site in guide_sites.items() if site["infer"].get("is_auxiliary")],
    )


def sample_sites(trace: dict[str, Any]) -> dict[str, Any]:
    return {name: site for name, site in trace.items() if site["type"] == "sample"}


def sample_guide(guide: Any, args: tuple, params: dict, keys: jax.Array) -> tuple[dict, jax.Array]:
    """Draws of the model's latent sites and log q of each, auxiliary sites of the guide counted in."""

    def one(key: jax.Array) -> tuple[dict, jax.Array]:
        sites = sample_sites(handlers.trace(handlers.substitute(handlers.seed(guide, key), data=params)).get_trace(*args))
        log_guide = sum((jnp.sum(site["fn"].log_prob(site["value"])) for site in sites.values()), jnp.zeros(()))
        return {name: site["value"] for name, site in sites.items() if not site["infer"].get("is_auxiliary")}, log_guide

    return jax.vmap(one)(keys)
