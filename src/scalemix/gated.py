"""A gated linear-Gaussian layer, seen from a model's own joint: which weights can be integrated out given gates and scales.

Given the gates g ∈ {0, 1}ᴷ and the other latent sites θ, the log joint is quadratic in weights β ∈ ℝᴰ,

    log p(y, β, g, θ) = c + bᵀβ − ½ βᵀPβ,

and it depends on the gates in the way of Gates' closed and open forms: with m_i = 1 where every gate that owns β_i is open, else 0,

    P(g) = P(0) + m mᵀ ∘ (P(1) − P(0)),    b(g) = b(0) + m ∘ (b(1) − b(0)),    c(g) = c(0) + Σₖ gₖ (c(eₖ) − c(0)).

A point spike in the expanded form is of this kind (a closed gate leaves β_i its prior), and so is a continuous spike in the hierarchical
form (a gate changes the prior precision of β_i). c, b and P come from the joint by automatic differentiation at β = 0; that the joint is
quadratic, and of this kind, is checked at draws of the prior, so any model of a user's will do, and none is taken at its word.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from scalemix.cases import plain_data
from scalemix.language import PPL, Structure

__all__ = ["GatedLayer", "check_gates", "coupled_blocks", "find_layer"]

Array = np.ndarray
POINTS = 12  # draws of the prior at which the joint has to be what it is taken for; with a scalar site of both signs 2⁻¹¹ are of one sign
FEW = 3  # of these, where every kind of setting of the gates is looked at
TOLERANCE = {"float64": 1e-8, "float32": 1e-2}


@dataclass(frozen=True)
class GatedLayer:
    """The sites of the gates (K in all) and of the weights β (D in all), in the order in which they are raveled.

    Attributes:
        gates, weights: shapes of one draw.
        owners: (D, K), true where the gate multiplies the weight.
        others: the latent sites θ that are neither.
        coupling: (K, K), the largest |correlation| of weights of two gates in P(1): near 1 where two gates exclude one another.
        quadratic, log_joint: c, b and P, and the log joint, at many points (``Engine.quadratic``, ``Engine.log_joint``); compiled once.
    """

    gates: dict[str, tuple[int, ...]]
    weights: dict[str, tuple[int, ...]]
    owners: Array
    others: tuple[str, ...]
    coupling: Array = field(repr=False)
    quadratic: Callable[[dict[str, Array]], tuple[Array, Array, Array]] | None = field(default=None, repr=False)
    log_joint: Callable[[dict[str, Array]], Array] | None = field(default=None, repr=False)

    @property
    def num_gates(self) -> int:
        return self.owners.shape[1]

    @property
    def num_weights(self) -> int:
        return self.owners.shape[0]


def check_gates(ppl: PPL, model: Callable[..., Any], arrays: tuple, structure: Structure, *, seed: int, method: str) -> dict[str, Array]:
    """Draws of the prior (POINTS, *event), after making sure that there are gates and that every discrete site is one.

    Raises: ValueError if the model has no discrete site, or one that takes other values than 0 and 1.
    """
    if not structure.discrete:
        raise ValueError(f"{method} is for models with gates, and this one has no discrete site: use scalemix.inference.nuts")
    inputs = _without_outcome(arrays)
    draws = ppl.engine.sample_prior(model, inputs, num_draws=POINTS, seed=seed)
    for name in structure.discrete:
        if not np.isin(draws[name], (0, 1)).all():
            raise ValueError(f"the discrete site {name!r} takes values besides 0 and 1: {method} sums over gates (Bernoulli sites) alone")
    return {name: draws[name] for name in structure.latents}


def find_layer(
    ppl: PPL, model: Callable[..., Any], arrays: tuple, structure: Structure, prior: dict[str, Array], *, dtype: str
) -> tuple[GatedLayer | None, str]:
    """The gated layer of a model, or ``None`` and the reason why its weights cannot be integrated out.

    ``prior`` are draws of all latent sites; the sites of both signs are tried together, then one after the other.
    """
    signed = [name for name in structure.latents if name not in structure.discrete and (prior[name] < 0).any() and (prior[name] > 0).any()]
    prior = prior | _mixed_gates(structure)
    probe = partial(_Probe, ppl, model, arrays, structure, prior, TOLERANCE[dtype])
    found = probe(signed) if signed else None
    if found is None or not found.quadratic():
        found, weights = None, []
        for name in signed if len(signed) > 1 else ():
            tried = probe([*weights, name])
            if tried.quadratic():
                found, weights = tried, [*weights, name]
    if found is None:
        return None, "the log joint is quadratic in no latent site given the others"
    return found.layer()


class _Probe:
    """The quadratic forms of a model in some of its sites: at draws of the prior, and at chosen settings of the gates beside them."""

    def __init__(
        self,
        ppl: PPL,
        model: Callable[..., Any],
        arrays: tuple,
        structure: Structure,
        prior: dict[str, Array],
        tolerance: float,
        weights: list[str],
    ) -> None:
        self.prior, self.tolerance = prior, tolerance
        self.weights = {name: structure.latents[name] for name in weights}
        self.gates = {name: structure.latents[name] for name in structure.discrete}
        self.others = tuple(name for name in structure.latents if name not in self.weights and name not in self.gates)
        self.own = np.concatenate([prior[name].reshape(POINTS, -1) for name in self.gates], axis=1).astype(float)
        num_gates = self.own.shape[1]
        zeros, ones = np.zeros((1, num_gates)), np.ones((1, num_gates))
        # one call for all: the draws themselves; at the first, each gate closed alone; at a few, all gates closed and all open
        settings = np.vstack([self.own, 1.0 - np.eye(num_gates), *[zeros] * FEW, *[ones] * FEW])
        draws = np.concatenate([np.arange(POINTS), np.zeros(num_gates, int), np.arange(FEW), np.arange(FEW)])
        self.form_of = ppl.engine.quadratic(model, arrays, self.weights)
        self.forms = self.form_of(self._points(draws) | split_gates(self.gates, settings))
        self.alone, self.closed, self.open = POINTS, POINTS + num_gates, POINTS + num_gates + FEW
        draws = np.repeat(np.arange(FEW), num_gates)
        nothing = {name: np.zeros((len(draws), *shape)) for name, shape in self.weights.items()}
        each = self._points(draws) | nothing | split_gates(self.gates, np.tile(np.eye(num_gates), (FEW, 1)))
        stacked = {name: np.concatenate([prior[name], each[name]]) for name in prior}
        self.log_joint = ppl.engine.log_joint(model, arrays)
        values = self.log_joint(stacked)
        self.exact, self.single = values[:POINTS], values[POINTS:].reshape(FEW, num_gates)

    def quadratic(self) -> bool:
        """Whether the log joint at the draws of the prior is the quadratic form found at β = 0."""
        constant, linear, precision = (each[:POINTS] for each in self.forms)
        beta = np.concatenate([self.prior[name].reshape(POINTS, -1) for name in self.weights], axis=1)
        terms = np.stack([constant, (linear * beta).sum(1), -0.5 * np.einsum("si,sij,sj->s", beta, precision, beta)])
        same = self._same(self.exact, terms.sum(0), np.abs(terms).sum(0))
        return same and bool((np.linalg.eigvalsh(precision)[:, 0] > 0).all())

    def layer(self) -> tuple[GatedLayer | None, str]:
        constant, linear, precision = self.forms
        size = linear.shape[1]
        opened = precision[self.open]
        diagonal = np.concatenate([np.diagonal(precision, axis1=1, axis2=2), linear], axis=1)
        reference = diagonal[self.open]
        moved = np.abs(diagonal[self.alone : self.closed] - reference) > 0.01 * self.tolerance * np.maximum(np.abs(reference), 1e-300)
        owners = (moved[:, :size] | moved[:, size:]).T
        settings = np.vstack([self.own[:FEW], 1.0 - np.eye(len(owners.T))])
        for i, own in enumerate(settings):
            draw, at = (i, i) if i < FEW else (0, self.alone + i - FEW)
            closed, opening = self.closed + draw, self.open + draw
            m = ~(owners & (own == 0)).any(1)
            fitted = precision[closed] + np.outer(m, m) * (precision[opening] - precision[closed])
            slope = linear[closed] + m * (linear[opening] - linear[closed])
            height = constant[closed] + own @ (self.single[draw] - constant[closed])
            root = np.sqrt(np.maximum(np.diagonal(precision[opening]), np.diagonal(precision[at])))
            if not (
                self._same(precision[at], fitted, np.outer(root, root))
                and self._same(linear[at], slope, np.abs(linear[opening]) + np.abs(linear[at]) + root)
                and self._same(constant[at], height, 1.0 + np.abs(constant[at]))
            ):
                return None, (
                    f"the gates of {', '.join(map(repr, self.gates))} change the quadratic form of the weights in another way than by "
                    "opening or closing (a continuous spike has the form for it with parametrization='hierarchical')"
                )
        scale = np.sqrt(np.diagonal(opened))
        correlation = np.abs(opened) / np.outer(scale, scale)
        coupling = np.array([[correlation[np.ix_(a, b)].max(initial=0.0) for b in owners.T] for a in owners.T])
        return GatedLayer(self.gates, self.weights, owners, self.others, coupling, self.form_of, self.log_joint), ""

    def _points(self, draws: Array) -> dict[str, Array]:
        return {name: self.prior[name][draws] for name in self.others}

    def _same(self, a: Array, b: Array, scale: Array) -> bool:
        return bool(np.isfinite(a).all() and np.isfinite(b).all() and (np.abs(a - b) <= self.tolerance * scale).all())


def _mixed_gates(structure: Structure) -> dict[str, Array]:
    """Settings for the checks (POINTS, *shape): half open, at each point one gate open and the next one closed for certain."""
    gates = {name: structure.latents[name] for name in structure.discrete}
    num_gates = sum(int(np.prod(shape)) for shape in gates.values())
    settings = np.random.default_rng(0).integers(0, 2, size=(POINTS, num_gates))
    points = np.arange(POINTS)
    settings[points, (points + 1) % num_gates] = 0
    settings[points, points % num_gates] = 1
    return split_gates(gates, settings)


def split_gates(gates: dict[str, tuple[int, ...]], settings: Any) -> dict[str, Any]:
    """Settings (*, K) of all gates as the values of their sites (*, *shape)."""
    values, start = {}, 0
    for name, shape in gates.items():
        size = int(np.prod(shape))
        values[name] = settings[..., start : start + size].reshape((*settings.shape[:-1], *shape))
        start += size
    return values


def coupled_blocks(coupling: Array, block_size: int) -> Array:
    """Gates to update together, (blocks, block_size): each gate with those most coupled to it, every gate in one block at least."""
    num_gates = len(coupling)
    block_size = min(block_size, num_gates)
    order = np.argsort(-(coupling + 2.0 * np.eye(num_gates)), axis=1, kind="stable")[:, :block_size]
    return np.unique(np.sort(order, axis=1), axis=0)


def _without_outcome(arrays: tuple) -> tuple:
    """The model's inputs: all but the outcome, which is the last of the data."""
    return plain_data(arrays[:-1])
