"""How far apart two fits are: 1-Wasserstein distance between marginals, and the distance that Monte Carlo noise alone makes.

W₁(a, b) = ∫ |F_a(x) - F_b(x)| dx, in the unit of the coefficient. Both fits must have the same prior and data for it to mean anything.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from scipy.stats import wasserstein_distance

if TYPE_CHECKING:
    from scalemix.posterior import Posterior

__all__ = ["coefficient_draws", "monte_carlo_floor", "wasserstein", "weight_sites"]


def weight_sites(posterior: Posterior) -> tuple[str, ...]:
    """The sites of ``posterior`` that hold coefficients: arrays that are no auxiliary site (``w1_noise``, ``w1_base``, …) of another.

    Scalars (intercept, observation scale) are left out.

    Raises: ValueError if nothing is left.
    """
    names = posterior.draws
    found = tuple(
        name
        for name, value in names.items()
        if value.ndim > 2 and not any(name.startswith(f"{other}_") for other in names if other != name)
    )
    if not found:
        raise ValueError(f"no site holds coefficients among {', '.join(names)}: give a posterior of a model with ppl.weight arrays")
    return found


def coefficient_draws(posterior: Posterior, sites: Sequence[str] | None = None) -> np.ndarray:
    """Draws of all coefficients of ``posterior``, (chain, draw, k), or of the ``sites`` named."""
    chosen = weight_sites(posterior) if sites is None else sites
    parts = [np.asarray(posterior.draws[name], dtype=float) for name in chosen]
    return np.concatenate([part.reshape(*part.shape[:2], -1) for part in parts], axis=-1)


def wasserstein(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """W₁ = ∫ |F₁(x) − F₂(x)| dx between the marginals of the draws ``first`` and ``second``, (..., k) each: (k,), one per coordinate.

    Raises: ValueError if the numbers of coordinates differ.
    """
    if first.shape[-1] != second.shape[-1]:
        raise ValueError(f"the fits have {first.shape[-1]} and {second.shape[-1]} coefficients: compare fits of one model")
    columns = first.reshape(-1, first.shape[-1]), second.reshape(-1, second.shape[-1])
    return np.array([wasserstein_distance(a, b) for a, b in zip(columns[0].T, columns[1].T, strict=True)])


def monte_carlo_floor(draws: np.ndarray) -> float:
    """Mean W₁ between the first and the second half of the draws of every chain: what noise alone makes of no difference.

    Halves in time, not halves of the chains: each half then holds every chain, so the floor exists for any number of chains, and it has the
    autocorrelation, and a drift if there is one, of the real draws. With half the draws on each side it is a little above the floor of the
    full set, on the careful side.

    Args:
        draws: (chain, draw, k) of the reference.
    """
    half = draws.shape[1] // 2
    return float(wasserstein(draws[:, :half], draws[:, -half:]).mean())
