"""What goes into a language's engine and what comes out: models, their structure, and the records of a run. NumPy arrays throughout."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from scalemix.lower import Site

__all__ = ["Engine", "Evaluation", "Model", "NutsRun", "Predictive", "Structure", "SviRun"]

Model = Callable[..., Any]


@dataclass
class Structure:
    """What one run of a model shows: its sites, in order, with the shapes of one draw.

    Attributes:
        latents: shape of each sampled site.
        discrete: those of them with discrete values.
        deterministics, observed: shape of each deterministic and of each observed site.
        sites: what ``ppl.weight`` recorded of the sites it made.
    """

    latents: dict[str, tuple[int, ...]]
    discrete: tuple[str, ...]
    deterministics: dict[str, tuple[int, ...]]
    observed: dict[str, tuple[int, ...]]
    sites: dict[str, Site] = field(default_factory=dict)


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


class Engine(Protocol):
    """Running a model: NumPy arrays in, NumPy arrays out.

    In every method ``model`` is ``model(ppl, *data)``, ``data`` (or ``inputs``, what comes before the outcome) a tuple of arrays or dicts,
    ``draws`` values of the latent sites, (S, *event), ``chunk`` how many of them at a time, and ``seed`` a whole number.
    """

    def precision(self, dtype: str, device: str) -> AbstractContextManager[None]:
        """Compute with ``dtype`` "float32" or "float64" on the ``device`` "cpu" or "gpu" inside; what was set before is restored."""
        ...

    def structure(self, model: Model, data: tuple, *, seed: int) -> Structure:
        """What one run of ``model`` on ``data`` shows; ``seed`` is that of the values it draws."""
        ...

    def evaluate(self, model: Model, data: tuple, draws: dict[str, np.ndarray], *, chunk: int) -> Evaluation:
        """``model`` on ``data`` at each of the ``draws``, ``chunk`` of them at a time."""
        ...

    def predict(self, model: Model, inputs: tuple, draws: dict[str, np.ndarray], *, site: str, seed: int, chunk: int) -> Predictive:
        """The outcome ``site`` of ``model`` on ``inputs`` given each of the ``draws``, drawn by ``seed``, ``chunk`` at a time."""
        ...

    def sample_prior(self, model: Model, inputs: tuple, *, num_draws: int, seed: int) -> dict[str, np.ndarray]:
        """``num_draws`` runs of ``model`` on ``inputs``, drawn by ``seed``: every site, (num_draws, *event)."""
        ...

    def nuts(self, model: Model, data: tuple, *, seed: int, settings: Any) -> NutsRun:
        """Sample the posterior of ``model`` given ``data`` under the ``settings`` of ``scalemix.inference.nuts``, by ``seed``."""
        ...

    def svi(self, model: Model, data: tuple, *, guide: Any, seed: int, settings: Any) -> SviRun:
        """Fit ``guide`` to ``model`` given ``data`` under the ``settings`` of ``scalemix.inference.svi``, by ``seed``."""
        ...
