"""Stochastic variational inference with any guide: the language's autoguides, or your own.

Maximizes the evidence lower bound ELBO(q) = E_q[log p(θ, y) − log q(θ)] (nats) with Adam, its step size falling exponentially.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from scalemix.fitting import PrecisionSettings, build_posterior, in_force, inspect, place
from scalemix.posterior import Posterior

if TYPE_CHECKING:
    from scalemix.language import PPL

__all__ = ["Settings", "fit"]


@dataclass(frozen=True, kw_only=True)
class Settings(PrecisionSettings):
    """How to optimize, and how many draws of the guide to keep.

    Args:
        num_steps: gradient steps.
        learning_rate: Adam's first step size; the last is learning_rate · decay.
        decay: factor by which the step size has fallen at the end.
        num_particles: draws of q per gradient.
        num_draws: draws of the fitted guide in the posterior.
        init_scale: first standard deviation of an autoguide's normals (unconstrained space).
        dtype: "float64" or "float32".
        device: "cpu", "gpu", or "auto": the GPU if there is one and the model is large enough for it.
        progress: show a progress bar.

    Raises: ValueError for a number or a choice out of range.
    """

    num_steps: int = 10_000
    learning_rate: float = 0.01
    decay: float = 0.01
    num_particles: int = 1
    num_draws: int = 2000
    init_scale: float = 0.1


def fit(
    ppl: PPL,
    model: Callable[..., Any],
    *data: Any,
    guide: Any,
    seed: int,
    settings: Settings | None = None,
    num_data: int | None = None,
    method: str = "svi",
) -> Posterior:
    """Fit ``guide`` q to the posterior of ``model(ppl, *data)`` and draw from it: ELBO(q) = E_q[log p(θ, y) − log q(θ)] is maximized.

    Hoffman, Blei, Wang and Paisley (2013), with gradients by reparametrization (Kucukelbir et al., 2017) and steps by Adam (Kingma and Ba,
    2015).

    Args:
        ppl: ``scalemix.pyro`` or ``scalemix.numpyro``.
        model: ``model(ppl, *data)``, e.g. ``functools.partial(scalemix.models.linear, prior=sm.Laplace())``.
        data: arrays, data frames or dicts of arrays; the last one is the outcome.
        guide: an autoguide class (``ppl.autoguide.AutoNormal``), an autoguide built for a native model, or a function
            ``guide(ppl, *data)`` (wrap a native one in ``sm.native``).
        seed: a whole number; the same seed gives the same fit.
        settings: how; ``None`` for the defaults.
        num_data: the size of the whole data set if ``data`` is a part of it (scales the likelihood in ``ppl.data_plate``).
        method: what the result calls itself.

    Returns: num_draws draws of the guide as one chain, with log q(θ) of each and the loss (negative ELBO, nats) of every step.

    Raises: ValueError if the guide misses a site of the model or adds one, for discrete sites, and for data that are not finite numbers;
        FloatingPointError where the ELBO ceases to be finite; it names the step.
    """
    settings = Settings() if settings is None else settings
    settings, placed = place(ppl, model, data, settings, seed=seed)
    with in_force(ppl, settings, num_data):
        arrays, structure = inspect(ppl, model, data, seed=seed, method="SVI")
        run = ppl.engine.svi(model, arrays, guide=guide, seed=seed, settings=settings)
        posterior = build_posterior(ppl, model, data, arrays, structure, run, method=method, seed=seed, settings=settings)
        posterior.info.notes.append(placed)
        return posterior
