"""Gibbs sampling of gates in Pyro. Contracts: ``scalemix.language.Engine``; the recipe a user calls is ``scalemix.inference.gibbs``.

Collapsed alone: gates and weights of a linear-Gaussian layer in NumPy, the other sites by Pyro's NUTS, which runs the model at the gates
and weights in force. NUTS within Gibbs for other layers is NumPyro's.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pyro
import torch
from pyro.infer import NUTS

from scalemix.gate_sweep import Blocks, Forms, block_update, form_at, make_blocks, make_forms, padded, updated_inverse
from scalemix.gated import GatedLayer, coupled_blocks, split_gates
from scalemix.language import Model, NutsRun
from scalemix.pyro.mcmc import INITS
from scalemix.pyro.primitives import Given
from scalemix.pyro.tensors import tensors

__all__ = ["collapsed_gibbs", "log_joint", "nuts_within_gibbs", "quadratic", "quadratic_at"]

Array = np.ndarray


def quadratic(model: Model, data: tuple, weights: dict[str, tuple[int, ...]]) -> Callable[[dict[str, Array]], tuple]:
    from scalemix.pyro.engine import _over_draws

    one = partial(quadratic_at, model, tensors(data), weights)
    return lambda points: _over_draws(one, points, 64)


def log_joint(model: Model, data: tuple) -> Callable[[dict[str, Array]], Array]:
    from scalemix.pyro.engine import evaluate

    return lambda points: evaluate(model, data, points, chunk=1000).log_joint


def quadratic_at(model: Model, args: tuple, weights: dict[str, tuple[int, ...]], values: dict[str, Any]) -> tuple:
    """c, b and P of the log joint in the sites ``weights`` at one point, as tensors."""
    ppl = sys.modules["scalemix.pyro"]
    zero = torch.zeros(sum(int(np.prod(shape)) for shape in weights.values()))

    def along(beta: Any) -> Any:
        return ppl.log_density(model, values | split_gates(weights, beta), *args)

    linear, constant = torch.func.grad_and_value(along)(zero)
    precision = -torch.func.jacrev(torch.func.grad(along))(zero)  # hessian() goes through torch.jit, which warns
    return constant, linear, 0.5 * (precision + precision.T)


def collapsed_gibbs(model: Model, data: tuple, layer: GatedLayer, *, starts: Array, seed: int, settings: Any) -> NutsRun:
    from scalemix.pyro.engine import seeded

    blocks = make_blocks(layer, coupled_blocks(layer.coupling, settings.block_size))
    start = time.perf_counter()
    chains = []
    with pyro.get_param_store().scope(), pyro.validation_enabled(False):
        for chain, gates in enumerate(starts):
            with seeded(seed * 1009 + chain):  # 1009: more chains than anybody runs, so no two (seed, chain) share a stream
                chains.append(_chain(model, data, layer, blocks, gates, np.random.default_rng([seed, chain]), settings))
    draws = {name: np.stack([chain[name] for chain in chains]) for name in chains[0]}
    return NutsRun(draws, {}, "sequential", 0.0, time.perf_counter() - start)


def nuts_within_gibbs(model: Model, data: tuple, gates: Any, blocks: Array, *, starts: Array, seed: int, settings: Any) -> NutsRun:
    raise ValueError("NUTS within Gibbs exists in NumPyro alone: pass scalemix.numpyro as ppl")


def _chain(
    model: Model, data: tuple, layer: GatedLayer, blocks: Blocks, gates: Array, rng: np.random.Generator, settings: Any
) -> dict[str, Array]:
    current: dict[str, Any] = {}
    beta = np.zeros(layer.num_weights)
    others = _Others(model, tensors(data), current, settings) if layer.others else None
    forms, rows = None, []
    for i in range(settings.num_warmup + settings.num_draws):
        if others is not None:
            current |= _tensors(layer, gates, beta)
            values = others.move()
            forms = _forms(model, data, layer, values)
        else:
            values = {}
            forms = _forms(model, data, layer, values) if forms is None else forms
        gates, beta = _sweep(forms, blocks, gates, rng, layer.num_weights)
        if i >= settings.num_warmup:
            sites = split_gates(layer.gates, gates) | split_gates(layer.weights, beta)
            rows.append({**values, **{name: np.asarray(value) for name, value in sites.items()}})
    return {name: np.stack([row[name] for row in rows]) for name in rows[0]}


class _Others:
    """The sites that are neither gates nor weights, moved by Pyro's NUTS given the values in ``current``, one transition at a time."""

    def __init__(self, model: Model, args: tuple, current: dict[str, Any], settings: Any) -> None:
        def given(*args: Any) -> Any:
            with Given(dict(current)):
                return model(sys.modules["scalemix.pyro"], *args)

        self.kernel = NUTS(
            given,
            target_accept_prob=settings.target_accept_prob,
            max_tree_depth=settings.max_tree_depth,
            full_mass=settings.dense_mass,
            init_strategy=INITS[settings.init](),
        )
        self.args, self.warmup = args, settings.num_warmup
        self.params: dict[str, Any] | None = None

    def move(self) -> dict[str, Array]:
        if self.params is None:
            self.kernel.setup(self.warmup, *self.args)
            self.params = self.kernel.initial_params
        self.kernel.clear_cache()  # of the potential at the gates and weights before
        params = self.kernel.sample(self.params)
        self.params = params
        inverse = {name: transform.inv for name, transform in self.kernel.transforms.items()}
        return {name: (inverse[name](value) if name in inverse else value).detach().numpy() for name, value in params.items()}


def _forms(model: Model, data: tuple, layer: GatedLayer, values: dict[str, Array]) -> Forms:
    """The quadratic form at θ for every setting of the gates."""

    def at(count: int) -> dict[str, Array]:
        return {name: np.repeat(value[None], count, axis=0) for name, value in values.items()}

    zeros, ones = np.zeros((1, layer.num_gates)), np.ones((1, layer.num_gates))
    nothing = {name: np.zeros((layer.num_gates, *shape)) for name, shape in layer.weights.items()}
    alone = at(layer.num_gates) | nothing | split_gates(layer.gates, np.eye(layer.num_gates))
    both = quadratic(model, data, layer.weights)(at(2) | split_gates(layer.gates, np.vstack([zeros, ones])))
    return make_forms(
        lambda gates: tuple(each[int(gates.any())] for each in both),
        lambda: log_joint(model, data)(alone),
        zeros,
        ones,
    )


def _sweep(forms: Forms, blocks: Blocks, gates: Array, rng: np.random.Generator, num_weights: int) -> tuple[Array, Array]:
    """New gates (K,) and weights (D,): each block given the others, then the weights given all."""
    owners = blocks.owners.astype(float)
    size = len(owners)
    forms = padded(np, forms, size)
    inverse = np.linalg.inv(form_at(np, forms, owners, gates)[2])
    for block, weights, rest in zip(blocks.gates, blocks.weights, blocks.rest, strict=True):
        proposals = np.tile(gates, (len(blocks.settings), 1))
        proposals[:, block] = blocks.settings
        update = block_update(np, forms, owners, inverse, proposals, weights, rest)
        choice = int(np.argmax(update.log_weights + rng.gumbel(size=len(proposals))))
        gates, inverse = proposals[choice], updated_inverse(update, choice, np.eye(size)[weights])
    _, linear, precision = form_at(np, forms, owners, gates)
    root = np.linalg.cholesky(precision)
    whitened = np.linalg.solve(root, linear) + rng.standard_normal(size)
    return gates, np.linalg.solve(root.T, whitened)[:num_weights]


def _tensors(layer: GatedLayer, gates: Array, beta: Array) -> dict[str, Any]:
    return tensors(split_gates(layer.gates, gates) | split_gates(layer.weights, beta))
