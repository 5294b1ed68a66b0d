"""What is kept: by a rule's threshold, by a kept fraction over the whole network, or as few as a validation score allows."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from scalemix.compress.beliefs import Belief, beliefs
from scalemix.compress.rules import Rule

if TYPE_CHECKING:
    from scalemix.posterior import Posterior

__all__ = ["Pruning", "made_of", "prune"]

FRACTIONS = tuple(float(f) for f in np.geomspace(1.0, 0.005, 24))


@dataclass(frozen=True, eq=False)
class Pruning:
    """Which weights are kept.

    Attributes:
        rule: by which.
        kept: of each pruned weight a mask of its shape.
        means: posterior mean of every weight and bias, those that are dropped 0.
        gates: posterior mean of every noise of a weight by its site, in a shape that broadcasts against the weight; 0 where all weights
            that share it are dropped.
        tried: (kept fraction of the ranked things, score) where a validation score chose.
    """

    rule: Rule
    kept: dict[str, np.ndarray]
    means: dict[str, np.ndarray] = field(repr=False)
    gates: dict[str, np.ndarray] = field(default_factory=dict, repr=False)
    tried: tuple[tuple[float, float], ...] = ()

    @property
    def kept_weights(self) -> int:
        """How many of the weights are left."""
        return int(sum(mask.sum() for mask in self.kept.values()))

    @property
    def num_weights(self) -> int:
        """How many there were."""
        return int(sum(mask.size for mask in self.kept.values()))


def prune(
    posterior: Posterior,
    rule: Rule | str,
    *,
    fraction: float | None = None,
    score: Callable[[Pruning], float] | None = None,
    most_loss: float | None = None,
    fractions: Sequence[float] = FRACTIONS,
) -> Pruning:
    """Drop weights of a ``posterior``: w is kept where its measure is on the right side of the threshold, whatever layer it is in.

    Args:
        posterior: of a model whose weights were made by ``ppl.weight``, ``ppl.dense`` or ``ppl.lift``.
        rule: a ``Rule``, or its name.
        fraction: keep this part of all that the rule ranks (weights, or groups with one noise), the best of the network, in place of the
            threshold: exactly round(fraction · n) of n, at least 1. Of equals those with the largest |E w| are kept, in a group the norm of
            E w, and then the first.
        score: a validation score of a pruning, lower is better (an error, a negative log density), in place of the threshold: the least of
            ``fractions`` is kept whose score is at most ``most_loss`` above that of the network with nothing dropped.
        most_loss: see ``score``.
        fractions: see ``score``; of each as many things are kept as by ``fraction``.

    Raises: ValueError if the rule does not fit the posterior or has no threshold, and for options that contradict each other.

    Source: pruning at a threshold of log α, Molchanov, Ashukha and Vetrov (2017), section 4.4; by rank, Saha, Liu and Liang (2024).
    """
    rule = Rule(rule) if isinstance(rule, str) else rule
    if (score is None) != (most_loss is None):
        raise ValueError("prune wants score= and most_loss= together: the score, lower is better, and how much of it may be lost")
    if most_loss is not None and math.isnan(most_loss):
        raise ValueError("prune(most_loss=nan): give a number")
    if fraction is not None and score is not None:
        raise ValueError("prune got fraction= and score=: give one of them")
    if fraction is not None and not 0.0 < fraction <= 1.0:
        raise ValueError(f"prune(fraction={fraction!r}): give the kept part, above 0 and at most 1")
    known = beliefs(posterior)
    importances = rule.importances(known)
    means = {name: belief.mean for name, belief in known.items()}

    def at(masks: dict[str, np.ndarray], tried: tuple = ()) -> Pruning:
        kept = {name: np.broadcast_to(mask, means[name].shape).copy() for name, mask in masks.items()}
        masked = means | {name: means[name] * mask for name, mask in kept.items()}
        return Pruning(rule, kept, masked, {name: mean for each in known.values() for name, mean in _gates(each, kept)}, tried)

    if fraction is not None:
        return at(_best(importances, means, fraction))
    if score is None or most_loss is None:
        return at({name: value >= rule.least for name, value in importances.items()})
    best, best_fraction = _best(importances, means, 1.0), 1.0
    full = float(score(at(best)))
    if math.isnan(full):
        raise ValueError("prune(score=...) is not a number for the network with nothing dropped: give a score that is one there")
    tried = [(1.0, full)]
    for part in fractions:
        masks = _best(importances, means, part)
        value = float(score(at(masks)))
        tried.append((float(part), value))
        if value <= full + most_loss and part < best_fraction:
            best, best_fraction = masks, part
    return at(best, tuple(tried))


def made_of(pruning: Pruning, posterior: Posterior) -> bool:
    """Whether the ``pruning`` is one of this ``posterior``: what it keeps has the posterior's means."""
    known = beliefs(posterior)
    if pruning.means.keys() != known.keys() or any(pruning.means[name].shape != belief.mean.shape for name, belief in known.items()):
        return False
    return all(np.array_equal(pruning.means[name], belief.mean * pruning.kept.get(name, 1.0)) for name, belief in known.items())


def _gates(belief: Belief, kept: dict[str, np.ndarray]) -> Iterator[tuple[str, np.ndarray]]:
    mask = kept.get(belief.name, np.ones(belief.mean.shape, dtype=bool))
    for name, gate in belief.gates.items():
        shared = tuple(axis for axis, size in enumerate(gate.mean.shape) if size == 1)
        yield name, gate.mean * mask.any(axis=shared, keepdims=True)


def _best(importances: dict[str, np.ndarray], means: dict[str, np.ndarray], fraction: float) -> dict[str, np.ndarray]:
    """Masks of the shapes of ``importances`` that keep that part of all of them, by rank."""
    ranked = np.concatenate([value.reshape(-1) for value in importances.values()])
    sizes = np.concatenate([_norms(means[name], value.shape).reshape(-1) for name, value in importances.items()])
    kept = np.zeros(ranked.size, dtype=bool)
    kept[np.lexsort((-sizes, -ranked))[: max(1, round(fraction * ranked.size))]] = True  # a stable sort, by its last key first
    ends = np.cumsum([value.size for value in importances.values()])[:-1]
    return {name: mask.reshape(importances[name].shape) for name, mask in zip(importances, np.split(kept, ends), strict=True)}


def _norms(mean: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Of E w over the axes along which an array of that ``shape`` is broadcast."""
    shared = (1,) * (mean.ndim - len(shape)) + shape
    axes = tuple(axis for axis, size in enumerate(shared) if size == 1)
    return np.sqrt(np.sum(mean**2, axis=axes, keepdims=True))
