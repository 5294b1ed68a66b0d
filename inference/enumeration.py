"""Exact sums over gates: point spikes, dropout masks, stochastic depth, with up to 12 gates.

Every setting of the K gates is summed over, 2ᴷ terms. Where the gated layer is linear-Gaussian its weights are integrated out too:

    p(g | y) ∝ p(y, g) = ∫ p(y, β, g) dβ,

in closed form, so that ``table`` gives inclusion probabilities and evidence to rounding, and ``fit`` independent draws. Other sites θ (a noise
scale, hyper-parameters) are drawn by NUTS from p(θ | y) ∝ Σ_g p(y, g, θ), the gates and weights then exactly given θ. In any other model
NUTS draws all continuous sites from the joint with the gates summed out, and the gates follow from their exact law given those: gates need
not jump, but the modes they make are NUTS's to find, so compare the chains.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import special

from scalemix.fitting import MOST_GATES, build_posterior, inspect
from scalemix.gate_sweep import Forms, all_settings, form_at, log_evidence, make_forms
from scalemix.gated import GatedLayer, check_gates, find_layer, split_gates
from scalemix.inference.nuts import Settings
from scalemix.language import NutsRun, Structure, num_data_scope
from scalemix.posterior import Posterior

if TYPE_CHECKING:
    from scalemix.language import PPL

__all__ = ["GateTable", "Settings", "fit", "table"]

Array = np.ndarray


@dataclass(frozen=True)
class GateTable:
    """The exact posterior of the gates of a linear-Gaussian layer.

    Attributes:
        settings: (2ᴷ, K) settings of all gates, in the order of their sites.
        log_prob: (2ᴷ,) log P(setting | y), nats.
        log_evidence: log p(y), nats.
        inclusion_prob: per site of gates, P(gate = 1 | y).
        weight_mean, weight_sd: per site of weights (bases, in the expanded form), E[β | y] and its sd.
        gated_mean: the same shape, E[β · 1[its gates are open] | y]: the mean of w itself where w is its gate times β.
    """

    settings: Array
    log_prob: Array
    log_evidence: float
    inclusion_prob: dict[str, Array]
    weight_mean: dict[str, Array]
    weight_sd: dict[str, Array]
    gated_mean: dict[str, Array]


def table(ppl: PPL, model: Callable[..., Any], *data: Any, num_data: int | None = None, dtype: str = "float64") -> GateTable:
    """Sum over every setting of the gates of a linear-Gaussian layer whose other parameters are known; arguments as for ``fit``.

    Raises: ValueError as ``fit`` does, and if the model has further sites or its weights cannot be integrated out: ``fit`` samples those.
    """
    token = num_data_scope.set(num_data)
    try:
        with ppl.engine.precision(dtype, "cpu"):
            arrays, structure, prior = _look(ppl, model, data, seed=0)
            layer, reason = find_layer(ppl, model, arrays, structure, prior, dtype=dtype)
            if layer is not None and layer.others:
                reason = f"the model has the further latent site {layer.others[0]!r}"
            if layer is None or layer.others:
                raise ValueError(f"no closed form for the law of the gates: {reason}; use scalemix.inference.enumeration.fit")
            return _table(layer, next(_forms(ppl, model, arrays, layer, {}, 1)))
    finally:
        num_data_scope.reset(token)


def fit(
    ppl: PPL, model: Callable[..., Any], *data: Any, seed: int, settings: Settings | None = None, num_data: int | None = None
) -> Posterior:
    """Draw from the posterior of ``model(ppl, *data)``, whose discrete sites are at most 12 gates in {0, 1}, by summing over them.

    Args:
        data: arrays, data frames or dicts of arrays; the last one is the outcome.
        seed: a whole number; the same seed gives the same draws.
        settings: ``scalemix.inference.nuts.Settings``; of a model without sites beside gates and weights only num_draws and num_chains
            matter, as its draws are independent.
        num_data: the size of the whole data set if ``data`` is a part of it (scales the likelihood in ``ppl.data_plate``).

    Raises: ValueError for a model without gates, with other discrete sites, or with more than 12 gates; for data that are not finite numbers.
    """
    settings = Settings() if settings is None else settings
    token = num_data_scope.set(num_data)
    try:
        with ppl.engine.precision(settings.dtype, settings.device):
            arrays, structure, prior = _look(ppl, model, data, seed=seed)
            layer, _ = find_layer(ppl, model, arrays, structure, prior, dtype=settings.dtype)
            rng = np.random.default_rng(seed)
            if layer is None:
                run = _given_the_rest(ppl, model, arrays, structure, seed, settings, rng)
            else:
                run = _given_theta(ppl, model, arrays, layer, seed, settings, rng)
            return build_posterior(ppl, model, data, arrays, structure, run, method="enumeration", seed=seed, settings=settings)
    finally:
        num_data_scope.reset(token)


def _look(ppl: PPL, model: Callable[..., Any], data: tuple, *, seed: int) -> tuple[tuple, Structure, dict[str, Array]]:
    arrays, structure = inspect(ppl, model, data, seed=seed, method="enumeration", gates=True)
    prior = check_gates(ppl, model, arrays, structure, seed=seed, method="enumeration")
    num_gates = sum(int(np.prod(structure.latents[name])) for name in structure.discrete)
    if num_gates > MOST_GATES:
        raise ValueError(f"enumeration of {num_gates} gates has 2^{num_gates} terms: use scalemix.inference.gibbs beyond {MOST_GATES}")
    return arrays, structure, prior


def _table(layer: GatedLayer, forms: Forms) -> GateTable:
    settings, owners = all_settings(layer.num_gates), layer.owners.astype(float)
    log_joint = log_evidence(np, forms, owners, settings)
    total = float(special.logsumexp(log_joint))
    prob = np.exp(log_joint - total)
    _, linear, precision = form_at(np, forms, owners, settings)
    covariance = np.linalg.inv(precision)
    means = (covariance @ linear[..., None])[..., 0]
    mean = prob @ means
    second = prob @ (means**2 + np.diagonal(covariance, axis1=1, axis2=2))
    opened = ~(layer.owners[None] & (settings[:, None, :] == 0)).any(-1)
    return GateTable(
        settings,
        log_joint - total,
        total,
        split_gates(layer.gates, prob @ settings),
        split_gates(layer.weights, mean),
        split_gates(layer.weights, np.sqrt(second - mean**2)),
        split_gates(layer.weights, prob @ (means * opened)),
    )


def _given_theta(
    ppl: PPL, model: Callable[..., Any], arrays: tuple, layer: GatedLayer, seed: int, settings: Settings, rng: np.random.Generator
) -> NutsRun:
    """θ from its law with gates and weights summed and integrated out, then gates and weights exactly given θ."""
    shape = (settings.num_chains, settings.num_draws)
    count = int(np.prod(shape))
    run = NutsRun({}, {}, "", 0.0, 0.0)
    if layer.others:
        run = ppl.engine.nuts(ppl.engine.layer_summed(model, layer), arrays, seed=seed, settings=settings)
    theta = {name: run.draws[name].reshape(count, *run.draws[name].shape[2:]) for name in layer.others}
    every, owners = all_settings(layer.num_gates), layer.owners.astype(float)
    gates, beta = np.empty((count, layer.num_gates)), np.empty((count, layer.num_weights))
    cumulative = None
    for i, forms in enumerate(_forms(ppl, model, arrays, layer, theta, count)):
        if cumulative is None or layer.others:
            cumulative = np.cumsum(special.softmax(log_evidence(np, forms, owners, every)))
        gates[i] = every[min(int(np.searchsorted(cumulative, rng.random())), len(every) - 1)]
        _, linear, precision = form_at(np, forms, owners, gates[i])
        root = np.linalg.cholesky(precision)
        beta[i] = np.linalg.solve(root.T, np.linalg.solve(root, linear) + rng.standard_normal(len(linear)))
    found = split_gates(layer.gates, gates.astype(int)) | split_gates(layer.weights, beta)
    run.draws = {**run.draws, **{name: value.reshape(*shape, *value.shape[1:]) for name, value in found.items()}}
    return run


def _forms(ppl: PPL, model: Callable[..., Any], arrays: tuple, layer: GatedLayer, theta: dict[str, Array], count: int) -> Any:
    """The quadratic form at each of ``count`` draws of θ; without θ it is one, given over and over."""
    num_gates, points = layer.num_gates, count if layer.others else 1
    settings = np.repeat(np.vstack([np.zeros(num_gates), np.ones(num_gates)]), points, axis=0)
    both = {name: np.concatenate([value, value]) for name, value in theta.items()}
    constant, linear, precision = ppl.engine.quadratic(model, arrays, layer.weights, both | split_gates(layer.gates, settings))
    alone = {name: np.repeat(value, num_gates, axis=0) for name, value in theta.items()}
    alone |= {name: np.zeros((points * num_gates, *shape)) for name, shape in layer.weights.items()}
    alone |= split_gates(layer.gates, np.tile(np.eye(num_gates), (points, 1)))
    single = ppl.engine.evaluate(model, arrays, alone, chunk=1000).log_joint.reshape(points, num_gates)
    for i in range(count):
        at = i if layer.others else 0
        closed, opened = ((constant[j], linear[j], precision[j]) for j in (at, points + at))
        yield make_forms(lambda gates, pair=(closed, opened): pair[gates], lambda at=at: single[at], 0, 1)


def _given_the_rest(
    ppl: PPL, model: Callable[..., Any], arrays: tuple, structure: Structure, seed: int, settings: Settings, rng: np.random.Generator
) -> NutsRun:
    """All continuous sites by NUTS with the gates summed out, then the gates from their law given those."""
    gates = {name: structure.latents[name] for name in structure.discrete}
    run = ppl.engine.nuts(ppl.engine.gates_summed(model, gates), arrays, seed=seed, settings=settings)
    every = all_settings(sum(int(np.prod(shape)) for shape in gates.values()))
    chains, num_draws = next(iter(run.draws.values())).shape[:2]
    flat = {name: value.reshape(chains * num_draws, *value.shape[2:]) for name, value in run.draws.items() if name in structure.latents}
    log_joint = np.empty((chains * num_draws, len(every)))
    for i, setting in enumerate(every):
        given = split_gates(gates, np.tile(setting, (len(log_joint), 1)))
        log_joint[:, i] = ppl.engine.evaluate(model, arrays, flat | given, chunk=1000).log_joint
    choice = np.argmax(log_joint + rng.gumbel(size=log_joint.shape), axis=1)
    drawn = split_gates(gates, every[choice].astype(int))
    run.draws = {**run.draws, **{name: value.reshape(chains, num_draws, *value.shape[1:]) for name, value in drawn.items()}}
    return run
