"""A model with its gates summed out, in NumPyro. Contracts: ``scalemix.language.Engine``; used by ``scalemix.inference.enumeration``."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
from jax.scipy.special import logsumexp
from numpyro import handlers

from scalemix.gate_sweep import all_settings, log_evidence
from scalemix.gated import GatedLayer, split_gates
from scalemix.language import Model
from scalemix.numpyro.gibbs import _forms_at

__all__ = ["gates_summed", "layer_summed"]


def gates_summed(model: Model, gates: dict[str, tuple[int, ...]]) -> Model:
    settings = all_settings(sum(int(np.prod(shape)) for shape in gates.values()))

    def summed(ppl: Any, *data: Any) -> Any:
        closed = {name: jnp.zeros(shape, int) for name, shape in gates.items()}
        result, values = _run_at(model, ppl, data, closed)

        def at(setting: Any) -> Any:
            with handlers.block():
                return ppl.log_density(model, values | split_gates(gates, setting), *data)

        log_joint = jax.vmap(at)(jnp.asarray(settings, int))
        numpyro.factor("sum_over_gates", logsumexp(log_joint) - log_joint[0])  # the first setting is all gates closed
        return result

    return summed


def layer_summed(model: Model, layer: GatedLayer) -> Model:
    settings, owners = all_settings(layer.num_gates), layer.owners.astype(float)

    def summed(ppl: Any, *data: Any) -> Any:
        closed = {name: jnp.zeros(shape, int) for name, shape in layer.gates.items()}
        zero = {name: jnp.zeros(shape) for name, shape in layer.weights.items()}
        result, values = _run_at(model, ppl, data, closed | zero)

        def log_joint(values: dict[str, Any]) -> Any:
            with handlers.block():
                return ppl.log_density(model, values, *data)

        forms = _forms_at(log_joint, layer)(values)
        log_prob = log_evidence(jnp, forms, jnp.asarray(owners), jnp.asarray(settings, jnp.result_type(float)))
        numpyro.factor("sum_over_gates", logsumexp(log_prob) - forms.constant)
        return result

    return summed


def _run_at(model: Model, ppl: Any, data: tuple, given: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """Run the model with some sites given; its result, and the values of the other latent sites."""
    with handlers.trace() as trace, handlers.condition(data=given):
        result = model(ppl, *data)
    return result, {name: site["value"] for name, site in trace.items() if site["type"] == "sample" and not site["is_observed"]}
