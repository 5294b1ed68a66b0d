"""The objective of a guide and a model in JAX: a pure function of the parameters. Contract: ``scalemix.language.Engine.objective``."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpyro import handlers
from numpyro.distributions import biject_to, constraints

from scalemix.lower import check_guide
from scalemix.minibatch import minibatch_of
from scalemix.numpyro.data import arrays as as_arrays
from scalemix.numpyro.svi import sample_guide, sample_sites
from scalemix.objective import Terms, divergence
from scalemix.variational_scope import variational, variational_scope

__all__ = ["Objective", "draw_guide", "objective"]


class Objective:
    """``params`` and ``loss`` of a guide and a model; built by ``ppl.engine.objective``.

    Attributes:
        params: first values, unconstrained, in the precision in force.
        noise_parameters: names of those that say how wide the guide is.
        project: what a training does to the parameters after each step, or ``None``.
    """

    def __init__(self, model: Callable[..., Any], guide: Callable[..., Any], arrays: tuple, *, seed: int, method: str) -> None:
        self.model, self.guide = variational(model, method=method), guide
        self.noise_parameters = getattr(guide, "noise_params", ())
        self.project = getattr(guide, "project", None)
        batch = as_arrays(arrays)
        key = jax.random.PRNGKey(seed)
        self.transforms: dict[str, Any] = {}
        self.params = self._first(key, batch)
        jax.eval_shape(self.loss, self.params, batch, key)  # a closed KL that is not dispatched is an error here

    def loss(
        self, params: dict[str, Any], batch: tuple, key: Any, kl_weight: Any = 1.0, num_data: int | None = None
    ) -> tuple[jax.Array, dict[str, jax.Array]]:
        """The loss at ``params`` for a ``batch`` of ``num_data`` cases, and its parts; noise by ``key``."""
        values = {name: self.transforms[name](value) for name, value in params.items()}
        guide_key, model_key = jax.random.split(key)
        with minibatch_of(num_data):
            guide = _trace(handlers.seed(self.guide, guide_key), values, batch)
            model = _trace(handlers.replay(handlers.seed(self.model, model_key), guide), values, batch)
        terms = Terms()
        for name, site in sample_sites(model).items():
            scale = 1.0 if site["scale"] is None else site["scale"]
            if site["is_observed"]:
                terms.nll[name] = -(scale * site["fn"].log_prob(site["value"])).sum()
            else:
                q = guide[name]
                terms.divergences[name] = divergence(_ppl(), name, q["fn"], site["fn"], q["value"], q["infer"], scale)
        for name, site in sample_sites(guide).items():
            if name not in model:
                terms.divergences[name] = jnp.sum(site["fn"].log_prob(site["value"]))
        loss, parts = terms.loss(kl_weight)
        return loss, {name: jnp.asarray(part, loss.dtype) for name, part in parts.items()}

    def _first(self, key: Any, batch: tuple) -> dict[str, jax.Array]:
        """First values of the parameters, whose constraints it notes; refuses a guide that misses a site or has one too many."""

        def first(key: jax.Array, batch: tuple) -> dict[str, jax.Array]:
            guide = handlers.trace(handlers.seed(self.guide, key)).get_trace(_ppl(), *batch)
            with variational_scope(placeholders=True):
                model = handlers.trace(handlers.seed(self.model, key)).get_trace(_ppl(), *batch)
            sites = sample_sites(guide)
            check_guide(
                [name for name, site in sample_sites(model).items() if not site["is_observed"]],
                list(sites),
                [name for name, site in sites.items() if site["infer"].get("is_auxiliary")],
            )
            params = {name: site for name, site in (guide | model).items() if site["type"] == "param"}
            self.transforms = {name: biject_to(site["kwargs"].get("constraint", constraints.real)) for name, site in params.items()}
            return {name: self.transforms[name].inv(jnp.asarray(site["value"])) for name, site in params.items()}

        return jax.jit(first)(key, batch)  # one program, in which the model's draws, which nothing here depends on, are left out


def objective(model: Callable[..., Any], guide: Callable[..., Any], arrays: tuple, *, seed: int, method: str = "exact") -> Objective:
    return Objective(model, guide, arrays, seed=seed, method=method)


def draw_guide(
    guide: Callable[..., Any], params: dict[str, Any], arrays: tuple, *, num_draws: int, seed: int
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    values, batch = as_arrays({name: np.asarray(value) for name, value in params.items()}), as_arrays(arrays)
    keys = jax.random.split(jax.random.PRNGKey(seed), num_draws)
    draws, log_guide = jax.jit(partial(sample_guide, partial(guide, _ppl())))(batch, values, keys)
    return {name: np.asarray(value) for name, value in draws.items()}, np.asarray(log_guide)


def _trace(function: Any, values: dict[str, Any], batch: tuple) -> dict[str, Any]:
    return handlers.trace(handlers.substitute(function, data=values)).get_trace(_ppl(), *batch)


def _ppl() -> Any:
    return sys.modules["scalemix.numpyro"]
