"""The No-U-Turn sampler (Hoffman and Gelman, 2014) of the language, for any model with continuous latent sites.

Draws of the posterior itself: the reference against which the variational recipes are judged.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from scalemix.fitting import PrecisionSettings, build_posterior, inspect
from scalemix.language import num_data_scope
from scalemix.posterior import Posterior

if TYPE_CHECKING:
    from scalemix.language import PPL

__all__ = ["Settings", "fit"]


@dataclass(frozen=True, kw_only=True)
class Settings(PrecisionSettings):
    """How to sample.

    Args:
        num_warmup, num_draws, num_chains: iterations per chain, and chains.
        target_accept_prob: higher takes smaller steps, for posteriors with funnels.
        max_tree_depth: at most 2^depth leapfrog steps per draw.
        dense_mass: adapt a full mass matrix rather than a diagonal one.
        init: "uniform" (within ±2 on the unconstrained space) or "prior".
        chain_method: "auto", "parallel", "vectorized" or "sequential" (NumPyro; Pyro runs chains in sequence).
        dtype, device: "float64" (what small models under MCMC want) or "float32"; "cpu" or "gpu".
        progress: show a progress bar.

    Raises: ValueError for a number or a choice out of range.
    """

    num_warmup: int = 1000
    num_draws: int = 1000
    num_chains: int = 4
    target_accept_prob: float = 0.9
    max_tree_depth: int = 10
    dense_mass: bool = False
    init: str = "uniform"
    chain_method: str = "auto"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.target_accept_prob >= 1.0:
            raise ValueError(f"Settings(target_accept_prob={self.target_accept_prob}): give a probability below 1, e.g. 0.9")
        if self.init not in ("uniform", "prior"):
            raise ValueError(f"Settings(init={self.init!r}): give 'uniform' or 'prior'")
        if self.chain_method not in ("auto", "parallel", "vectorized", "sequential"):
            raise ValueError(f"Settings(chain_method={self.chain_method!r}): give 'auto', 'parallel', 'vectorized' or 'sequential'")


def fit(
    ppl: PPL, model: Callable[..., Any], *data: Any, seed: int, settings: Settings | None = None, num_data: int | None = None
) -> Posterior:
    """Sample the posterior p(θ | y) ∝ p(y | θ) p(θ) of ``model(ppl, *data)`` by the No-U-Turn sampler (Hoffman and Gelman, 2014).

    Args:
        ppl: ``scalemix.pyro`` or ``scalemix.numpyro``.
        model: ``model(ppl, *data)``, e.g. ``functools.partial(scalemix.models.linear, prior=sm.Laplace())``.
        data: arrays, data frames or dicts of arrays; the last one is the outcome.
        seed: a whole number; the same seed gives the same draws.
        settings: how; ``None`` for the defaults.
        num_data: the size of the whole data set if ``data`` is a part of it (scales the likelihood in ``ppl.data_plate``).

    Returns: draws (chain, draw, *event) of each site, with the sampler's statistics.

    Raises: ValueError for a model with discrete sites, for data that are not finite numbers, and for settings out of range.
    """
    settings = Settings() if settings is None else settings
    token = num_data_scope.set(num_data)
    try:
        with ppl.engine.precision(settings.dtype, settings.device):
            arrays, structure = inspect(ppl, model, data, seed=seed, method="NUTS")
            run = ppl.engine.nuts(model, arrays, seed=seed, settings=settings)
            return build_posterior(ppl, model, data, arrays, structure, run, method="nuts", seed=seed, settings=settings)
    finally:
        num_data_scope.reset(token)
