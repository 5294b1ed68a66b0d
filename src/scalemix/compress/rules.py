"""Which weights, or groups of weights with one noise, a posterior holds for useless: nine measures with one interface.

| rule              | measure                                                    | dropped where      | threshold |
|-------------------|------------------------------------------------------------|--------------------|-----------|
| ``log_alpha``     | log α = log σ² − log μ² of q(w): variational dropout, VBD  | above              | 3         |
| ``gate_snr2``     | μ²/σ² of a unit's gate: VIBNet                             | below              | 1         |
| ``inclusion_prob``| P(gate = high), or a spike-and-slab guide's p              | below              | 0.5       |
| ``signal_to_noise``| |μ|/σ of w                                                | below              | 1         |
| ``second_moment`` | E[w²]                                                      | below              | to choose |
| ``covers_zero``   | largest level whose central interval of w leaves 0 out     | below              | 0.9       |
| ``group_scale``   | exp E log of the product of a weight's noises: horseshoe   | below              | to choose |
| ``mean_gate``     | E[ξ] of a gate in [0, 1]: dropout, concrete dropout        | below              | 0.5       |
| ``magnitude``     | |E w|: the baseline                                        | below              | to choose |
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import stats

from scalemix.compress.beliefs import Belief, beliefs
from scalemix.guides import SpikeSlab
from scalemix.marginal import inclusion_prob
from scalemix.noise import Bernoulli

if TYPE_CHECKING:
    from scalemix.posterior import Posterior

__all__ = ["RULES", "Measure", "Rule"]


@dataclass(frozen=True)
class Measure:
    """A measure: ``of(belief)`` broadcasts against the weight (``None``: it has none), ``threshold`` by default, which side is dropped."""

    of: Callable[[Belief], np.ndarray | None]
    threshold: float | None
    dropped: str
    needs: str


@dataclass(frozen=True)
class Rule:
    """A measure and the number at which it drops; see the table in ``scalemix.compress.rules``.

    Args:
        name: of the measure.
        threshold: ``None`` for the measure's own; that of "second_moment", "group_scale" and "magnitude", which have none, stays ``None``.

    Raises: ValueError for an unknown name, and a threshold that is not finite.

    Example:
        >>> prune(posterior, Rule("log_alpha")).kept["w1"].mean()
    """

    name: str
    threshold: float | None = None

    def __post_init__(self) -> None:
        if self.name not in RULES:
            raise ValueError(f"unknown rule {self.name!r}: give one of {', '.join(map(repr, RULES))}")
        if self.threshold is not None and not math.isfinite(self.threshold):
            raise ValueError(f"Rule({self.name!r}, threshold={self.threshold!r}): give a finite number")
        if self.threshold is None:
            object.__setattr__(self, "threshold", self.measure.threshold)

    @property
    def measure(self) -> Measure:
        """Of this name."""
        return RULES[self.name]

    def values(self, posterior: Posterior) -> dict[str, np.ndarray]:
        """The measure for each weight of the ``posterior`` that has it and an input axis, in a shape that broadcasts against it.

        Raises: ValueError if no weight has it, or it is not a number.
        """
        return self._of(beliefs(posterior))

    def importances(self, known: dict[str, Belief]) -> dict[str, np.ndarray]:
        """Of each weight in ``known``: larger is more worth keeping."""
        sign = -1.0 if self.measure.dropped == "above" else 1.0
        return {name: sign * value for name, value in self._of(known).items()}

    @property
    def least(self) -> float:
        """The least importance that is kept.

        Raises: ValueError if the rule has no threshold.
        """
        if self.threshold is None:
            raise ValueError(
                f"the rule {self.name!r} has no threshold of its own: give Rule({self.name!r}, threshold=...), fraction= or most_loss="
            )
        return -self.threshold if self.measure.dropped == "above" else self.threshold

    def _of(self, known: dict[str, Belief]) -> dict[str, np.ndarray]:
        found = {}
        for name, belief in known.items():
            value = self.measure.of(belief) if "in" in belief.axes else None
            if value is None:
                continue
            if np.any(np.isnan(value)):
                raise ValueError(f"the rule {self.name!r} is not a number for some weights of {name!r}: look at the fit")
            found[name] = value
        if not found:
            raise ValueError(f"no weight of this posterior has what the rule {self.name!r} looks at: {self.measure.needs}")
        return found


def _log_alpha(belief: Belief) -> np.ndarray | None:
    """From parameters of a normal guide; a weight without any spread has α = 0, one that is 0 in all draws ∞."""
    if not belief.exact:
        return None
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(belief.mean == 0.0, np.inf, 2.0 * np.log(belief.scale) - 2.0 * np.log(np.abs(belief.mean)))


def _gate_snr2(belief: Belief) -> np.ndarray | None:
    """The least over the noises of a weight, where it has several."""
    found = [_ratio(gate.mean**2, gate.scale**2) for gate in _gates(belief)]
    return np.minimum.reduce(np.broadcast_arrays(*found)) if found else None


def _ratio(size: np.ndarray, spread: np.ndarray) -> np.ndarray:
    """Of a number without spread ∞, or 0 where it is 0."""
    return np.divide(size, spread, where=spread > 0, out=np.where(size > 0, np.inf, 0.0))


def _inclusion(belief: Belief) -> np.ndarray | None:
    """Of several gates that are sites the product: as if they were independent."""
    if isinstance(belief.component, SpikeSlab):
        return np.asarray(belief.component.inclusion(belief.params), dtype=float)
    probs = [_prob_high(gate.mean, gate.site.noise) for gate in _gates(belief) if isinstance(gate.site.noise, Bernoulli)]
    if probs:
        return np.prod(np.broadcast_arrays(*probs), axis=0)
    prior = belief.site.prior
    factors = getattr(prior, "factors", ())
    if "marginal" not in belief.site.form or sum(isinstance(factor.noise, Bernoulli) for factor in factors) != 1:
        return None
    if belief.site.scale is None:
        return None
    found = inclusion_prob(prior, belief.draws / belief.site.scale, belief.axes).mean(axis=0)  # type: ignore[arg-type]
    gate = next(factor for factor in factors if isinstance(factor.noise, Bernoulli))
    tied = found.ndim < belief.mean.ndim
    if not tied:
        return found
    names = gate.axes or ()
    return found.reshape(tuple(size if axis in names else 1 for axis, size in zip(belief.axes, belief.mean.shape, strict=True)))


def _prob_high(mean: np.ndarray, law: Bernoulli) -> np.ndarray:
    return (mean - float(law.low)) / (float(law.high) - float(law.low))


def _signal_to_noise(belief: Belief) -> np.ndarray:
    return _ratio(np.abs(belief.mean), belief.scale)


def _second_moment(belief: Belief) -> np.ndarray:
    return belief.mean**2 + belief.scale**2


def _covers_zero(belief: Belief) -> np.ndarray:
    """1 − 2 min(P(w > 0), P(w < 0)): the central interval of a level covers 0 where the level is above it."""
    if belief.exact:
        return 1.0 - 2.0 * stats.norm.sf(_ratio(np.abs(belief.mean), belief.scale))
    above, below = (belief.draws > 0).mean(axis=0), (belief.draws < 0).mean(axis=0)
    return np.where((above == 0) & (below == 0), 0.0, 1.0 - 2.0 * np.minimum(above, below))


def _group_scale(belief: Belief) -> np.ndarray | None:
    gates = _gates(belief)
    if not gates:
        return None
    total = gates[0].log_mean
    for gate in gates[1:]:
        total = total + gate.log_mean
    return np.exp(total)


def _mean_gate(belief: Belief) -> np.ndarray | None:
    gates = _gates(belief)
    if not gates:
        return None
    product = gates[0].mean
    for gate in gates[1:]:
        product = product * gate.mean
    return product


def _gates(belief: Belief) -> list:
    return list(belief.gates.values())


SITES = "fit with parametrization='expanded', so that the noise is a site"
RULES = {
    "log_alpha": Measure(_log_alpha, 3.0, "above", "a normal law that a guide gives the weight; fit by variational_dropout, vbd or svi"),
    "gate_snr2": Measure(_gate_snr2, 1.0, "below", SITES),
    "inclusion_prob": Measure(_inclusion, 0.5, "below", "gates: give the weights the prior sm.SpikeAndSlab, or fit by spike_slab"),
    "signal_to_noise": Measure(_signal_to_noise, 1.0, "below", "an axis 'in'"),
    "second_moment": Measure(_second_moment, None, "below", "an axis 'in'"),
    "covers_zero": Measure(_covers_zero, 0.9, "below", "an axis 'in'"),
    "group_scale": Measure(_group_scale, None, "below", SITES),
    "mean_gate": Measure(_mean_gate, 0.5, "below", SITES),
    "magnitude": Measure(lambda belief: np.abs(belief.mean), None, "below", "an axis 'in'"),
}
"""The measures by name."""
