"""The objective of a guide and a model in JAX: a pure function of the parameters. Contract: ``scalemix.language.Engine.objective``."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpyro import handlers
from numpyro.distributions import biject_to, constraints

from scalemix.language import num_data_scope
from scalemix.lower import check_guide
from scalemix.numpyro.data import arrays as as_arrays
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
        jax.eval_shape(self._check, key, batch)
        self.params = self._first(key, batch)
        jax.eval_shape(self.loss, self.params, batch, key)  # a closed KL that is not dispatched is an error here

    def loss(
        self, params: dict[str, Any], batch: tuple, key: Any, kl_weight: Any = 1.0, num_data: int | None = None
    ) -> tuple[jax.Array, dict[str, jax.Array]]:
        """The loss at ``params`` for a ``batch`` of ``num_data`` cases, and its parts; noise by ``key``."""
        values = {name: self.transforms[name](value) for name, value in params.items()}
        guide_key, model_key = jax.random.split(key)
        token = num_data_scope.set(num_data)
        try:
            guide = _trace(handlers.seed(self.guide, guide_key), values, batch)
            model = _trace(handlers.replay(handlers.seed(self.model, model_key), guide), values, batch)
        finally:
            num_data_scope.reset(token)
        terms = Terms()
        for name, site in _samples(model).items():
            scale = 1.0 if site["scale"] is None else site["scale"]
            if site["is_observed"]:
                terms.nll[name] = -(scale * site["fn"].log_prob(site["value"])).sum()
            else:
                q = guide[name]
                terms.divergences[name] = divergence(_ppl(), name, q["fn"], site["fn"], q["value"], q["infer"], scale)
        for name, site in _samples(guide).items():
            if name not in model:
                terms.divergences[name] = jnp.sum(site["fn"].log_prob(site["value"]))
        loss, parts = terms.loss(kl_weight)
        return loss, {name: jnp.asarray(part, loss.dtype) for name, part in parts.items()}

    def _check(self, key: Any, batch: tuple) -> None:
        """Refuse a guide that misses a site of the model or has one too many; note the parameters' constraints."""
        guide = handlers.trace(handlers.seed(self.guide, key)).get_trace(_ppl(), *batch)
        with variational_scope(placeholders=True):
            model = handlers.trace(handlers.seed(self.model, key)).get_trace(_ppl(), *batch)
        sites = _samples(guide)
        check_guide(
            [name for name, site in _samples(model).items() if not site["is_observed"]],
            list(sites),
            [name for name, site in sites.items() if site["infer"].get("is_auxiliary")],
        )
        for name, site in [*guide.items(), *model.items()]:
            if site["type"] == "param":
                self.transforms[name] = biject_to(site["kwargs"].get("constraint", constraints.real))

    def _first(self, key: Any, batch: tuple) -> dict[str, jax.Array]:
        """First values of the parameters."""
        guide = handlers.trace(handlers.seed(self.guide, key)).get_trace(_ppl(), *batch)
        with variational_scope(placeholders=True):
            model = handlers.trace(handlers.seed(self.model, key)).get_trace(_ppl(), *batch)
        found = {**model, **guide}
        return {name: transform.inv(jnp.asarray(found[name]["value"])) for name, transform in self.transforms.items()}


def objective(model: Callable[..., Any], guide: Callable[..., Any], arrays: tuple, *, seed: int, method: str = "exact") -> Objective:
    return Objective(model, guide, arrays, seed=seed, method=method)


def draw_guide(
    guide: Callable[..., Any], params: dict[str, Any], arrays: tuple, *, num_draws: int, seed: int
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    values, batch = as_arrays({name: np.asarray(value) for name, value in params.items()}), as_arrays(arrays)

    def one(key: Any) -> tuple[dict[str, Any], Any]:
        sites = _samples(_trace(handlers.seed(guide, key), values, batch))
        log_guide = sum((jnp.sum(site["fn"].log_prob(site["value"])) for site in sites.values()), jnp.zeros(()))
        return {name: site["value"] for name, site in sites.items() if not site["infer"].get("is_auxiliary")}, log_guide

    draws, log_guide = jax.vmap(one)(jax.random.split(jax.random.PRNGKey(seed), num_draws))
    return {name: np.asarray(value) for name, value in draws.items()}, np.asarray(log_guide)


def _trace(function: Any, values: dict[str, Any], batch: tuple) -> dict[str, Any]:
    return handlers.trace(handlers.substitute(function, data=values)).get_trace(_ppl(), *batch)


def _samples(trace: dict[str, Any]) -> dict[str, Any]:
    return {name: site for name, site in trace.items() if site["type"] == "sample"}


def _ppl() -> Any:
    return sys.modules["scalemix.numpyro"]
