"""Exact sums over gates: point spikes, dropout masks, stochastic depth, with up to 12 gates.

Every setting of the K gates is summed over, 2ᴷ terms. Where the gated layer is linear-Gaussian its weights are integrated out too,

    p(g | y) ∝ p(y, g) = ∫ p(y, β, g) dβ,

in closed form. One further scalar site θ (a noise scale) is integrated by quadrature, so that ``table`` gives inclusion probabilities and
evidence to about 1e-10, and ``fit`` independent draws. Several further sites are drawn by NUTS from p(θ | y) ∝ Σ_g p(y, g, θ), the gates
and weights then exactly given θ. In any other model NUTS draws all continuous sites from the joint with the gates summed out, and the
gates follow from their exact law given those: no gate has to jump, but the modes they make are NUTS's to find, so compare the chains.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import special

from scalemix.fitting import MOST_GATES, PrecisionSettings, build_posterior, in_force, inspect, place
from scalemix.gate_sweep import Forms, all_settings, form_at, log_evidence, make_forms
from scalemix.gated import GatedLayer, check_gates, find_layer, split_gates
from scalemix.inference.nuts import Settings
from scalemix.language import NutsRun, Structure
from scalemix.posterior import Posterior
from scalemix.sampling import nuts_run
from scalemix.scalar_law import NODES, draw_scalar, scalar_nodes

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
        weight_mean, weight_sd: per site of weights (bases, in the expanded form), E[β | y] and sd(β | y).
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
    """Exact p(g | y) ∝ ∫ p(y, β, g, θ) dβ dθ of the gates of a linear-Gaussian layer, and what follows from it.

    A sum over all 2ᴷ settings with the weights β integrated out (George and McCulloch, 1997, section 3); θ is one scalar, such as an
    unknown noise scale, integrated by quadrature, or nothing.

    Args:
        ppl, model, data, num_data: as for ``fit``.
        dtype: "float64" or "float32".

    Returns: the probability of every setting, the evidence, and moments of the weights.

    Raises: ValueError as ``fit`` does, and if the weights cannot be integrated out, or more than one scalar site is left: ``fit`` samples
        those.
    """
    with in_force(ppl, PrecisionSettings(dtype=dtype), num_data):
        arrays, structure, prior = _look(ppl, model, data, seed=0)
        layer, reason = find_layer(ppl, model, arrays, structure, prior, dtype=dtype)
        if layer is not None and not layer.others:
            return _table(layer, list(_forms(layer)({}, 1)), np.zeros(1))
        nodes = None if layer is None else _nodes(structure, layer, prior)
        if layer is None or nodes is None:
            reason = reason or f"the latent sites {', '.join(map(repr, layer.others if layer else ()))} are left, and not one scalar"
            raise ValueError(f"no table of the gates: {reason}; use scalemix.inference.enumeration.fit")
        return _table(layer, nodes.forms, nodes.log_volume)


def fit(
    ppl: PPL, model: Callable[..., Any], *data: Any, seed: int, settings: Settings | None = None, num_data: int | None = None
) -> Posterior:
    """Draw from the posterior of ``model(ppl, *data)``, whose discrete sites are at most 12 gates g in {0, 1}, by summing over them.

    First θ from p(θ | y) ∝ Σ_g p(y, g, θ), then g from p(g | θ, y), in a linear-Gaussian layer with its weights integrated out (George and
    McCulloch, 1997, section 3).

    Args:
        ppl: ``scalemix.pyro`` or ``scalemix.numpyro``.
        model: ``model(ppl, *data)``, e.g. ``functools.partial(scalemix.models.linear, prior=sm.SpikeAndSlab(0.3))``.
        data: arrays, data frames or dicts of arrays; the last one is the outcome.
        seed: a whole number; the same seed gives the same draws.
        settings: ``scalemix.inference.nuts.Settings``; of a model without sites beside gates and weights only num_draws and num_chains
            matter, as its draws are independent.
        num_data: the size of the whole data set if ``data`` is a part of it (scales the likelihood in ``ppl.data_plate``).

    Returns: draws (chain, draw, *event) of each site, gates as 0 and 1; of sites drawn by NUTS the sampler's statistics.

    Raises: ValueError for a model without gates, with other discrete sites, or with more than 12 gates, and for data that are not finite
        numbers.
    """
    settings, _ = place(ppl, model, data, Settings() if settings is None else settings, seed=seed)
    with in_force(ppl, settings, num_data):
        arrays, structure, prior = _look(ppl, model, data, seed=seed)
        layer, _ = find_layer(ppl, model, arrays, structure, prior, dtype=settings.dtype)
        rng = np.random.default_rng(seed)
        if layer is None:
            run = _given_the_rest(ppl, model, arrays, structure, seed, settings, rng)
        else:
            nodes = _nodes(structure, layer, prior) if layer.others else None
            run = _given_theta(ppl, model, arrays, layer, nodes, seed, settings, rng)
        return build_posterior(ppl, model, data, arrays, structure, run, method="enumeration", seed=seed, settings=settings)


def _look(ppl: PPL, model: Callable[..., Any], data: tuple, *, seed: int) -> tuple[tuple, Structure, dict[str, Array]]:
    arrays, structure = inspect(ppl, model, data, seed=seed, method="enumeration", gates=True)
    prior = check_gates(ppl, model, arrays, structure, seed=seed, method="enumeration")
    num_gates = sum(int(np.prod(structure.latents[name])) for name in structure.discrete)
    if num_gates > MOST_GATES:
        raise ValueError(f"enumeration of {num_gates} gates has 2^{num_gates} terms: use scalemix.inference.gibbs beyond {MOST_GATES}")
    return arrays, structure, prior


def _table(layer: GatedLayer, forms: list[Forms], log_volume: Array) -> GateTable:
    """Sums over the settings at every node of θ, whose log volumes (n,) are those of the quadrature."""
    settings, owners = all_settings(layer.num_gates), layer.owners.astype(float)
    log_joint = np.stack([log_evidence(np, each, owners, settings) for each in forms]) + log_volume[:, None]
    total = float(special.logsumexp(log_joint))
    opened = ~(layer.owners[None] & (settings[:, None, :] == 0)).any(-1)
    mean, second, gated = (np.zeros(layer.num_weights) for _ in range(3))
    for each, prob in zip(forms, np.exp(log_joint - total), strict=True):
        _, linear, precision = form_at(np, each, owners, settings)
        covariance = np.linalg.inv(precision)
        means = (covariance @ linear[..., None])[..., 0]
        mean += prob @ means
        second += prob @ (means**2 + np.diagonal(covariance, axis1=1, axis2=2))
        gated += prob @ (means * opened)
    log_prob = special.logsumexp(log_joint, axis=0) - total
    return GateTable(
        settings,
        log_prob,
        total,
        split_gates(layer.gates, np.exp(log_prob) @ settings),
        split_gates(layer.weights, mean),
        split_gates(layer.weights, np.sqrt(second - mean**2)),
        split_gates(layer.weights, gated),
    )


@dataclass(frozen=True)
class _Nodes:
    """Nodes of one scalar θ: coordinates t (θ = eᵗ if positive, else θ = t), the forms there, log p(y, t), log of the volumes dθ."""

    t: Array
    forms: list[Forms]
    log_density: Array
    log_volume: Array
    positive: bool

    def theta(self, t: Array) -> Array:
        return np.exp(t) if self.positive else t


def _nodes(structure: Structure, layer: GatedLayer, prior: dict[str, Array]) -> _Nodes | None:
    """The quadrature over θ where it is one smooth scalar, else ``None``."""
    if len(layer.others) != 1 or structure.latents[layer.others[0]] != ():
        return None
    (site,) = layer.others
    positive = bool((prior[site] > 0).all())
    start = np.log(prior[site]) if positive else prior[site]
    found: list[Forms] = []
    forms_at = _forms(layer)

    def log_density(t: Array) -> Array:
        theta = np.exp(t) if positive else t
        found[:] = forms_at({site: theta}, len(t))
        owners, settings = layer.owners.astype(float), all_settings(layer.num_gates)
        finite = [np.isfinite(each.precision).all() and np.isfinite(each.constant) for each in found]
        values = [special.logsumexp(log_evidence(np, f, owners, settings)) if ok else -np.inf for f, ok in zip(found, finite, strict=True)]
        t_of[:] = t
        return np.array(values) + (t if positive else 0.0)

    t_of = np.zeros(NODES)
    nodes = scalar_nodes(log_density, float(np.median(start)), 10.0 if positive else 20.0 * float(np.std(start)))
    if nodes is None:
        return None
    t, log_p = nodes
    first = int(np.argmin(np.abs(t_of - t[0])))
    ends = np.where(np.isin(np.arange(len(t)), (0, len(t) - 1)), np.log(0.5), 0.0)
    log_volume = np.log(t[1] - t[0]) + ends + (t if positive else 0.0)
    return _Nodes(t, found[first : first + len(t)], log_p, log_volume, positive)


def _given_theta(
    ppl: PPL,
    model: Callable[..., Any],
    arrays: tuple,
    layer: GatedLayer,
    nodes: _Nodes | None,
    seed: int,
    settings: Settings,
    rng: np.random.Generator,
) -> NutsRun:
    """θ from its law with gates and weights summed and integrated out, then gates and weights exactly given θ."""
    shape = (settings.num_chains, settings.num_draws)
    count = int(np.prod(shape))
    start = time.perf_counter()
    run = NutsRun({}, {}, "", 0.0, 0.0)
    if nodes is not None:
        run.draws = {layer.others[0]: nodes.theta(draw_scalar(nodes.t, nodes.log_density, count, rng)).reshape(shape)}
    elif layer.others:
        run = nuts_run(ppl, ppl.engine.layer_summed(model, layer), arrays, seed=seed, settings=settings)
    theta = {name: run.draws[name].reshape(count, *run.draws[name].shape[2:]) for name in layer.others}
    every, owners = all_settings(layer.num_gates), layer.owners.astype(float)
    gates, beta = np.empty((count, layer.num_gates)), np.empty((count, layer.num_weights))
    cumulative = None
    for i, forms in enumerate(_forms(layer)(theta, count)):
        if cumulative is None or layer.others:
            cumulative = np.cumsum(special.softmax(log_evidence(np, forms, owners, every)))
        gates[i] = every[min(int(np.searchsorted(cumulative, rng.random())), len(every) - 1)]
        _, linear, precision = form_at(np, forms, owners, gates[i])
        root = np.linalg.cholesky(precision)
        beta[i] = np.linalg.solve(root.T, np.linalg.solve(root, linear) + rng.standard_normal(len(linear)))
    found = split_gates(layer.gates, gates.astype(int)) | split_gates(layer.weights, beta)
    run.draws = {**run.draws, **{name: value.reshape(*shape, *value.shape[1:]) for name, value in found.items()}}
    run.seconds_run = time.perf_counter() - start - run.seconds_compile
    return run


def _forms(layer: GatedLayer) -> Callable[[dict[str, Array], int], Iterator[Forms]]:
    """A function that gives the quadratic form at each of ``count`` points of θ; without θ it is one, given over and over."""
    quadratic, log_joint, num_gates = layer.quadratic, layer.log_joint, layer.num_gates
    assert quadratic is not None
    assert log_joint is not None

    def at(theta: dict[str, Array], count: int) -> Iterator[Forms]:
        points = count if theta else 1
        settings = np.repeat(np.vstack([np.zeros(num_gates), np.ones(num_gates)]), points, axis=0)
        both = {name: np.concatenate([value, value]) for name, value in theta.items()}
        constant, linear, precision = quadratic(both | split_gates(layer.gates, settings))
        alone = {name: np.repeat(value, num_gates, axis=0) for name, value in theta.items()}
        alone |= {name: np.zeros((points * num_gates, *shape)) for name, shape in layer.weights.items()}
        alone |= split_gates(layer.gates, np.tile(np.eye(num_gates), (points, 1)))
        single = log_joint(alone).reshape(points, num_gates)
        for i in range(count):
            j = i if theta else 0
            pair = [(constant[k], linear[k], precision[k]) for k in (j, points + j)]
            yield make_forms(pair.__getitem__, lambda j=j: single[j], 0, 1)

    return at


def _given_the_rest(
    ppl: PPL, model: Callable[..., Any], arrays: tuple, structure: Structure, seed: int, settings: Settings, rng: np.random.Generator
) -> NutsRun:
    """All continuous sites by NUTS with the gates summed out, then the gates from their law given those."""
    gates = {name: structure.latents[name] for name in structure.discrete}
    run = nuts_run(ppl, ppl.engine.gates_summed(model, gates), arrays, seed=seed, settings=settings)
    every = all_settings(sum(int(np.prod(shape)) for shape in gates.values()))
    chains, num_draws = next(iter(run.draws.values())).shape[:2]
    flat = {name: value.reshape(chains * num_draws, *value.shape[2:]) for name, value in run.draws.items() if name in structure.latents}
    log_joint = np.empty((chains * num_draws, len(every)))
    at = ppl.engine.log_joint(model, arrays)
    for i, setting in enumerate(every):
        log_joint[:, i] = at(flat | split_gates(gates, np.tile(setting, (len(log_joint), 1))))
    choice = np.argmax(log_joint + rng.gumbel(size=log_joint.shape), axis=1)
    drawn = split_gates(gates, every[choice].astype(int))
    run.draws = {**run.draws, **{name: value.reshape(chains, num_draws, *value.shape[1:]) for name, value in drawn.items()}}
    return run
