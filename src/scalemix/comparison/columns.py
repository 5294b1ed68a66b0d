"""The columns a figure shows: their names, which of them are noise, and in what order they stand."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING

import numpy as np

from scalemix.comparison.distances import weight_sites

if TYPE_CHECKING:
    from scalemix.posterior import Posterior

__all__ = ["Columns", "columns_of", "point_estimate"]

NOISE_HEIGHT = 0.3
GAP = 1.0


@dataclass(frozen=True)
class Columns:
    """The k entries of one weight site: labels, and which are known to be noise (k,)."""

    site: str
    labels: tuple[str, ...]
    is_noise: np.ndarray

    def layout(self, importance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Order (signal columns first, the most important on top) and heights on the page, growing downwards; noise columns are low."""
        order = np.lexsort((-importance, self.is_noise))
        steps = np.where(self.is_noise[order], NOISE_HEIGHT, 1.0)
        changes = np.flatnonzero(np.diff(self.is_noise[order].astype(int)))
        steps[changes + 1] += GAP
        return order, np.cumsum(steps) - steps[0]


def columns_of(posterior: Posterior, noise_prefix: str) -> Columns:
    """The first weight site's entries; ``w1[3]`` where the axes carry no labels."""
    site = weight_sites(posterior)[0]
    shape = posterior.draws[site].shape[2:]
    dims = posterior.dims.get(site, ())
    if len(dims) == len(shape) and all(len(posterior.coords.get(dim, ())) == size for dim, size in zip(dims, shape, strict=True)):
        labels = tuple(", ".join(map(str, each)) for each in product(*(posterior.coords[dim] for dim in dims)))
    else:
        labels = tuple(f"{site}[{', '.join(map(str, each))}]" for each in np.ndindex(*shape))
    is_noise = np.array([bool(noise_prefix) and label.startswith(noise_prefix) for label in labels])
    return Columns(site, labels, is_noise)


def point_estimate(posterior: Posterior) -> tuple[np.ndarray, str] | None:
    """The linear regression of y on x with an intercept and no prior to speak of: (k,) and its name; ``None`` without x and y.

    Least squares where the design has full rank, else ridge with penalty 1.
    """
    site = weight_sites(posterior)[0]
    size = posterior.draws[site][0, 0].size
    outcomes = [np.asarray(value, dtype=float) for value in posterior.observed.values() if value.ndim == 1]
    if posterior.draws[site].ndim != 3 or not outcomes:
        return None
    y = outcomes[0]
    for value in posterior.constant.values():
        if value.shape == (y.size, size):
            x = np.asarray(value, dtype=float)
            x, y = x - x.mean(axis=0), y - y.mean()
            if np.linalg.matrix_rank(x) == size:
                return np.linalg.lstsq(x, y, rcond=None)[0], "least-squares"
            return np.linalg.solve(x.T @ x + np.eye(size), x.T @ y), "ridge (penalty 1)"
    return None
