"""Hamiltonian Monte Carlo (Neal, 2011, section 5.3) with trajectories of fixed length, for any model with continuous latent sites.

Without NUTS's search for a turn: each draw costs the same, which suits chains that run in lockstep on a GPU; the length is yours to choose.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scalemix.posterior import Posterior
from scalemix.sampling import SamplingSettings, sample_posterior

if TYPE_CHECKING:
    from scalemix.language import PPL
    from scalemix.starts import Start

__all__ = ["Settings", "fit"]


@dataclass(frozen=True, kw_only=True)
class Settings(SamplingSettings):
    """How to sample.

    Other arguments as in ``scalemix.inference.nuts.Settings``, without ``max_tree_depth``.

    Args:
        num_steps: leapfrog steps per draw; the length then follows the adapted step size. ``None``: as many as ``trajectory_length`` takes.
        trajectory_length: of a draw, in the units of the adapted mass matrix (2π is the period of a standard normal); unused if
            ``num_steps`` is given.

    Raises: ValueError for a number or a choice out of range.
    """

    num_steps: int | None = None
    trajectory_length: float = math.pi / 2


def fit(
    ppl: PPL,
    model: Callable[..., Any],
    *data: Any,
    seed: int,
    settings: Settings | None = None,
    num_data: int | None = None,
    init_from: Start = None,
    keep: Sequence[str] | None = None,
    drop: Sequence[str] | None = None,
    folder: str | Path | None = None,
    segment_draws: int | None = None,
    resume: bool = False,
) -> Posterior:
    """Sample the posterior p(θ | y) ∝ p(y | θ) p(θ) of ``model(ppl, *data)`` by Hamiltonian Monte Carlo (Neal, 2011, section 5.3).

    Arguments and errors as in ``scalemix.inference.nuts.fit``.
    """
    return sample_posterior(
        ppl,
        model,
        data,
        kernel="hmc",
        seed=seed,
        settings=Settings() if settings is None else settings,
        num_data=num_data,
        init_from=init_from,
        keep=keep,
        drop=drop,
        folder=folder,
        segment_draws=segment_draws,
        resume=resume,
    )
