"""A model with its gates summed out, in Pyro. Contracts: ``scalemix.language.Engine``; used by ``scalemix.inference.enumeration``.

Pyro's own parallel enumeration is not used: of a vector of gates in a matrix product it makes a wrong density without a word (1.9.2).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pyro
import torch
from pyro import poutine

from scalemix.gate_sweep import all_settings, log_evidence, make_forms
from scalemix.gated import GatedLayer, split_gates
from scalemix.language import Model
from scalemix.pyro.gibbs import quadratic_at
from scalemix.pyro.primitives import Given

__all__ = ["gates_summed", "layer_summed"]


def gates_summed(model: Model, gates: dict[str, tuple[int, ...]]) -> Model:
    settings = all_settings(sum(int(np.prod(shape)) for shape in gates.values()))

    def summed(ppl: Any, *data: Any) -> Any:
        closed = {name: torch.zeros(shape) for name, shape in gates.items()}
        result, values = _run_at(model, ppl, data, closed)

        def at(setting: Any) -> Any:
            with poutine.block():
                return ppl.log_density(model, values | split_gates(gates, setting), *data)

        with pyro.validation_enabled(False):
            log_joint = torch.func.vmap(at)(torch.as_tensor(settings, dtype=torch.get_default_dtype()))
        pyro.factor("sum_over_gates", torch.logsumexp(log_joint, 0) - log_joint[0])  # the first setting is all gates closed
        return result

    return summed


def layer_summed(model: Model, layer: GatedLayer) -> Model:
    settings = all_settings(layer.num_gates)

    def summed(ppl: Any, *data: Any) -> Any:
        dtype = torch.get_default_dtype()
        closed = {name: torch.zeros(shape) for name, shape in layer.gates.items()}
        nothing = {name: torch.zeros(shape) for name, shape in layer.weights.items()}
        result, values = _run_at(model, ppl, data, closed | nothing)

        def constant(gates: Any) -> Any:
            return ppl.log_density(model, values | nothing | split_gates(layer.gates, gates), *data)

        zeros = torch.zeros(layer.num_gates)
        with poutine.block(), pyro.validation_enabled(False):
            forms = make_forms(
                lambda gates: quadratic_at(model, data, layer.weights, values | split_gates(layer.gates, gates)),
                lambda: torch.func.vmap(constant)(torch.eye(layer.num_gates)),
                zeros,
                zeros + 1.0,
            )
        owners = torch.as_tensor(layer.owners, dtype=dtype)
        log_prob = log_evidence(torch, forms, owners, torch.as_tensor(settings, dtype=dtype))
        pyro.factor("sum_over_gates", torch.logsumexp(log_prob, 0) - forms.constant)
        return result

    return summed


def _run_at(model: Model, ppl: Any, data: tuple, given: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """Run the model with some sites given; its result, and the values of the other latent sites."""
    with poutine.trace() as tracer, Given(given) as handler:
        result = model(ppl, *data)
    return result, {name: tracer.trace.nodes[name]["value"] for name in handler.latents - set(given)}
