"""What comes out of a language's engine: the structure of a model, and the records of a run. NumPy arrays throughout."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from scalemix.lower import Site

__all__ = ["Evaluation", "Model", "NutsRun", "Piece", "Predictive", "Structure", "SviRun", "TrainRun", "interval"]

Model = Callable[..., Any]


@dataclass
class Structure:
    """What one run of a model shows: its sites, in order, with the shapes of one draw.

    Attributes:
        latents: shape of each sampled site.
        discrete: those of them with discrete values.
        deterministics, observed: shape of each deterministic and of each observed site.
        sites: what ``ppl.weight`` recorded of the sites it made.
        supports: between which numbers the values of each sampled site lie; ``None`` for one that is discrete or no product of intervals.
    """

    latents: dict[str, tuple[int, ...]]
    discrete: tuple[str, ...]
    deterministics: dict[str, tuple[int, ...]]
    observed: dict[str, tuple[int, ...]]
    sites: dict[str, Site] = field(default_factory=dict)
    supports: dict[str, tuple[float, float] | None] = field(default_factory=dict)


def interval(support: Any) -> tuple[float, float] | None:
    """The ends of a language's constraint ``support`` that is an interval for each entry, else ``None``."""
    while hasattr(support, "base_constraint"):
        support = support.base_constraint
    if getattr(support, "is_discrete", False) or type(support).__name__ == "_Dependent":
        return None
    if type(support).__name__ in ("Real", "_Real"):
        return -math.inf, math.inf
    ends = [getattr(support, name, None) for name in ("lower_bound", "upper_bound")]
    if ends == [None, None]:
        return None
    try:
        low, high = (default if end is None else float(end) for end, default in zip(ends, (-math.inf, math.inf), strict=True))
    except (TypeError, ValueError):  # an end that is an array of several numbers, or traced
        return None
    return low, high


@dataclass
class Evaluation:
    """A model at S given draws.

    Attributes:
        deterministics: of each deterministic site, (S, *event).
        log_joint: log p(θ, y), (S,), nats.
        log_likelihood: log p(yᵢ | θ) of each observed site, (S, n).
    """

    deterministics: dict[str, np.ndarray]
    log_joint: np.ndarray
    log_likelihood: dict[str, np.ndarray]


@dataclass
class Predictive:
    """A model's observed site given S draws.

    Attributes:
        draws: of y, (S, n, ...).
        mean, variance: of y under each draw, (S, n, ...).
    """

    draws: np.ndarray
    mean: np.ndarray
    variance: np.ndarray


@dataclass
class NutsRun:
    """What a sampler made.

    Attributes:
        draws: of each latent site, (chain, draw, *event).
        stats: sampler statistics (chain, draw) under ArviZ's names.
        chain_method: how the chains ran.
        seconds_compile, seconds_run: wall time.
    """

    draws: dict[str, np.ndarray]
    stats: dict[str, np.ndarray]
    chain_method: str
    seconds_compile: float
    seconds_run: float


@dataclass
class Piece:
    """What chains ``chains[0]`` to ``chains[1]`` did from draw ``draws[0]`` to ``draws[1]`` (of each, the second one excluded).

    Attributes:
        chains, draws: first and last, as above.
        values, stats: (chain, draw, *event) latent sites, constrained, and statistics under ArviZ's names. Empty after the warm-up alone.
        state: all a sampler needs to go on from here with the numbers it would have drawn.
        seconds_compile, seconds_run: what it took.
    """

    chains: tuple[int, int]
    draws: tuple[int, int]
    values: dict[str, np.ndarray]
    stats: dict[str, np.ndarray]
    state: dict[str, np.ndarray]
    seconds_compile: float = 0.0
    seconds_run: float = 0.0


@dataclass
class SviRun:
    """What a variational fit made.

    Attributes:
        draws: of the fitted guide, (S, *event) for each latent site.
        log_guide: log q of each draw, (S,).
        losses: negative ELBO of every step, nats.
        params: the fitted parameters.
        seconds_compile, seconds_run: wall time.
    """

    draws: dict[str, np.ndarray]
    log_guide: np.ndarray
    losses: np.ndarray
    params: dict[str, np.ndarray]
    seconds_compile: float
    seconds_run: float


@dataclass
class TrainRun:
    """What training made.

    Attributes:
        params: the parameters, unconstrained; those of the best validation score if training could stop on it, else the last ones.
        history: one number per epoch of "loss", "nll" and "kl" (means over its steps), "kl_weight" and "learning_rate" (at its last step)
            and "validation" (NaN where it was not looked at).
        stopped: why training ended, a sentence.
        seconds_compile, seconds_run: wall time.
        notes: what a person should know.
    """

    params: dict[str, np.ndarray]
    history: dict[str, np.ndarray]
    stopped: str
    seconds_compile: float
    seconds_run: float
    notes: list[str] = field(default_factory=list)
