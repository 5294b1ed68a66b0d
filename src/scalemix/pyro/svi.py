"""SVI in Pyro with any guide. Contract: ``scalemix.language.Engine.svi``; the recipe a user calls is ``scalemix.inference.svi``."""

from __future__ import annotations

import inspect
import sys
import time
from functools import partial
from typing import Any

import numpy as np
import pyro
import torch
from pyro import poutine
from pyro.infer import SVI, Trace_ELBO
from pyro.infer.autoguide import AutoGuide, init_to_median
from pyro.optim import ClippedAdam
from tqdm.auto import trange

from scalemix.language import Model, SviRun
from scalemix.lower import check_guide, check_losses
from scalemix.pyro.tensors import tensors

__all__ = ["sample_sites", "svi"]


def svi(model: Model, data: tuple, *, guide: Any, seed: int, settings: Any) -> SviRun:
    from scalemix.pyro.engine import seeded

    args = tensors(data)
    bound = partial(model, sys.modules["scalemix.pyro"])
    with pyro.get_param_store().scope(), seeded(seed):
        start = time.perf_counter()
        bound_guide = _guide(guide, bound, settings)
        _check(bound, bound_guide, args)
        optimizer = ClippedAdam(
            {"lr": settings.learning_rate, "lrd": settings.decay ** (1 / settings.num_steps), "clip_norm": float("inf")}
        )
        inference = SVI(bound, bound_guide, optimizer, Trace_ELBO(num_particles=settings.num_particles))
        losses = np.empty(settings.num_steps)
        with pyro.validation_enabled(False):
            for step in trange(settings.num_steps, desc="SVI", disable=not settings.progress, leave=False):
                losses[step] = inference.step(*args)
                check_losses(losses[step : step + 1], step)
            draws, log_guide = _sample_guide(bound_guide, args, settings.num_draws)
        params = {name: value.detach().cpu().numpy() for name, value in pyro.get_param_store().items()}
        return SviRun(draws, log_guide, losses, params, 0.0, time.perf_counter() - start)


def _guide(guide: Any, model: Any, settings: Any) -> Any:
    """The language's guide: an autoguide class is built for the model, an instance is used as it is, a callable takes ppl first."""
    if inspect.isclass(guide) and issubclass(guide, AutoGuide):
        options = inspect.signature(guide).parameters
        extra = {"init_scale": settings.init_scale} if "init_scale" in options else {}
        return guide(model, **({"init_loc_fn": init_to_median} if "init_loc_fn" in options else {}), **extra)
    return guide if isinstance(guide, AutoGuide) else partial(guide, sys.modules["scalemix.pyro"])


def _check(model: Any, guide: Any, args: tuple) -> None:
    """A site the guide forgets would silently be drawn from its prior: compare the traces before the first step."""
    if isinstance(guide, AutoGuide):
        return
    guide_sites = sample_sites(poutine.trace(guide).get_trace(*args))
    model_sites = sample_sites(poutine.trace(model).get_trace(*args))
    check_guide(
        [name for name, site in model_sites.items() if not site["is_observed"]],
        list(guide_sites),
        [name for name, site in guide_sites.items() if site["infer"].get("is_auxiliary")],
    )


def sample_sites(trace: Any) -> dict[str, Any]:
    return {name: site for name, site in trace.nodes.items() if site["type"] == "sample" and not poutine.util.site_is_subsample(site)}


def _sample_guide(guide: Any, args: tuple, num_draws: int) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Draws of the model's latent sites and log q of each, auxiliary sites of the guide counted in."""
    draws: list[dict[str, np.ndarray]] = []
    log_guide = np.empty(num_draws)
    with torch.no_grad():
        for i in range(num_draws):
            trace = poutine.trace(guide).get_trace(*args)
            log_guide[i] = float(trace.log_prob_sum())
            sites = {name: site for name, site in sample_sites(trace).items() if not site["infer"].get("is_auxiliary")}
            draws.append({name: site["value"].cpu().numpy() for name, site in sites.items()})
    return {name: np.stack([draw[name] for draw in draws]) for name in draws[0]}, log_guide
