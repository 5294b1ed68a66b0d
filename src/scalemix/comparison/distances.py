"""How far apart the draws of two fits are: coordinate by coordinate (1-Wasserstein), and as joint laws (sliced Wasserstein, MMD).

W₁(a, b) = ∫ |F_a(x) - F_b(x)| dx, in the unit of the coefficient. Both fits must have the same prior and data for it to mean anything.
Marginals can agree where the joint laws do not, which sliced Wasserstein sees along oblique directions and MMD through its kernel.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.stats import wasserstein_distance

if TYPE_CHECKING:
    from scalemix.posterior import Posterior

__all__ = [
    "Kernel",
    "coefficient_draws",
    "gaussian_kernel",
    "halves",
    "mmd",
    "monte_carlo_floor",
    "sliced_wasserstein",
    "wasserstein",
    "weight_sites",
]

NUM_DIRECTIONS, DIRECTIONS_AT_ONCE = 128, 32
KERNEL_DRAWS, KERNEL_ROWS = 2000, 250  # 2000 draws give an MMD of noise alone of about 0.02; 250 rows against them are 4 MB


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
    _check_coordinates(first, second)
    columns = first.reshape(-1, first.shape[-1]), second.reshape(-1, second.shape[-1])
    return np.array([wasserstein_distance(a, b) for a, b in zip(columns[0].T, columns[1].T, strict=True)])


def sliced_wasserstein(first: np.ndarray, second: np.ndarray, *, num_directions: int = NUM_DIRECTIONS) -> float:
    """SW(a, b) = E_u W₁(⟨u, a⟩, ⟨u, b⟩) of the draws ``first`` and ``second``, (..., k) each, u uniform on the unit sphere.

    In the unit of the coefficients. The directions are the same ``num_directions`` for every pair of fits: normalized columns of
    ``numpy.random.default_rng(0).standard_normal((k, num_directions))``. In one dimension it is W₁.

    Source: Bonneel, Rabin, Peyré and Pfister (2015), J. Math. Imaging Vision 51, who have W₂.

    Raises: ValueError if the numbers of coordinates differ.
    """
    _check_coordinates(first, second)
    size = first.shape[-1]
    if size == 1:
        return float(wasserstein(first, second)[0])
    directions = np.random.default_rng(0).standard_normal((size, num_directions))
    directions /= np.linalg.norm(directions, axis=0)
    blocks = [directions[:, start : start + DIRECTIONS_AT_ONCE] for start in range(0, num_directions, DIRECTIONS_AT_ONCE)]
    return float(np.concatenate([wasserstein(first @ block, second @ block) for block in blocks]).mean())


@dataclass(frozen=True)
class Kernel:
    """k(a, b) = exp(-‖(a - b)/scale‖²/(2 bandwidth²)), ``scale`` one number per coordinate, (k,); ``bandwidth`` one for all."""

    scale: np.ndarray
    bandwidth: float


def gaussian_kernel(reference: np.ndarray) -> Kernel:
    """The kernel of ``mmd`` for the draws ``reference``, (..., k).

    ``scale`` is the sd of each coordinate (1 for one that never moves), so that a wide coordinate does not hide the others; ``bandwidth``
    the median distance between two of up to 2000 draws, in those units.

    Source of the median heuristic: Gretton et al. (2012), JMLR 13, section 8.
    """
    draws = reference.reshape(-1, reference.shape[-1])
    sd = draws.std(axis=0)
    kernel = Kernel(np.where(sd > 0, sd, 1.0), 1.0)
    draws = _thinned(reference) / kernel.scale
    squares = [
        _squared_distances(draws[i : i + KERNEL_ROWS], draws)[np.triu_indices(min(KERNEL_ROWS, len(draws) - i), 1 + i, len(draws))]
        for i in range(0, len(draws), KERNEL_ROWS)
    ]
    median = float(np.sqrt(np.median(np.concatenate(squares))))
    return Kernel(kernel.scale, median if median > 0 else 1.0)


def mmd(first: np.ndarray, second: np.ndarray, *, kernel: Kernel) -> float:
    """Maximum mean discrepancy of the draws ``first`` and ``second``, (..., k) each, under a ``kernel``: 0 to √2, without a unit.

        MMD² = E k(a, a') + E k(b, b') - 2 E k(a, b)

    from up to 2000 draws of each, evenly spaced, pairs of a draw with itself counted in (the biased estimate, which is never negative: of
    two samples of n draws of one law it is about √(2 (1 - E k)/n), which is why the floor stands beside it).

    Source: Gretton et al. (2012), JMLR 13, equation 5.

    Raises: ValueError if the numbers of coordinates differ.
    """
    _check_coordinates(first, second)
    one, other = _thinned(first) / kernel.scale, _thinned(second) / kernel.scale
    squared = _mean_kernel(one, one, kernel) + _mean_kernel(other, other, kernel) - 2 * _mean_kernel(one, other, kernel)
    return float(np.sqrt(max(squared, 0.0)))


def halves(draws: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The first and the second half in time of every chain, of draws (chain, draw, ...): between them stands what noise alone makes.

    Halves in time, not halves of the chains: each half then holds every chain, so the floor exists for any number of chains, and it has the
    autocorrelation, and a drift if there is one, of the real draws. With half the draws on each side it is a little above the floor of the
    full set, on the careful side.
    """
    half = draws.shape[1] // 2
    return draws[:, :half], draws[:, -half:]


def monte_carlo_floor(draws: np.ndarray) -> float:
    """Mean W₁ between the ``halves`` of draws (chain, draw, k) of the reference: what noise alone makes of no difference."""
    return float(wasserstein(*halves(draws)).mean())


def _check_coordinates(first: np.ndarray, second: np.ndarray) -> None:
    if first.shape[-1] != second.shape[-1]:
        raise ValueError(f"the fits have {first.shape[-1]} and {second.shape[-1]} coefficients: compare fits of one model")


def _thinned(draws: np.ndarray) -> np.ndarray:
    """At most ``KERNEL_DRAWS`` of the draws (..., k), evenly spaced over all of them: (S, k)."""
    flat = draws.reshape(-1, draws.shape[-1])
    count = min(len(flat), KERNEL_DRAWS)
    return np.asarray(flat[np.arange(count) * len(flat) // count], dtype=float)


def _squared_distances(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """‖a‖² + ‖b‖² - 2⟨a, b⟩ for every pair, (rows, columns), in one array."""
    found = first @ second.T
    found *= -2
    found += (first**2).sum(axis=1)[:, None]
    found += (second**2).sum(axis=1)
    return np.maximum(found, 0.0, out=found)


def _mean_kernel(first: np.ndarray, second: np.ndarray, kernel: Kernel) -> float:
    total = 0.0
    for start in range(0, len(first), KERNEL_ROWS):
        block = _squared_distances(first[start : start + KERNEL_ROWS], second)
        block *= -0.5 / kernel.bandwidth**2
        total += float(np.exp(block, out=block).sum())
    return total / (len(first) * len(second))
