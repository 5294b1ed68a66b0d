"""Expectations over noises by a sum over nodes: E[g(ξ)] ≈ Σᵢ pᵢ g(ξᵢ).

A gate has its two values, a constant its one. A continuous noise has nodes at the quantiles of u = 1/(1 + e^{−v}), v = 0, ±h, ±2h, …,

    E[g(ξ)] = ∫ g(F⁻¹(u)) du = ∫ g(F⁻¹(u(v))) u(v) (1 − u(v)) dv,

whose integrand falls like e^{−|v|} at both ends; there the trapezoid rule converges like e^{−2π²/h} (Trefethen and Weideman, 2014).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import special

from scalemix.noise import Bernoulli, Constant, Noise

__all__ = ["noise_nodes", "product_nodes"]

Array = NDArray[np.float64]

GRIDS = {0: (1.0, 1.0), 1: (0.125, 160.0), 2: (0.3, 60.0), 3: (0.75, 24.0)}  # continuous noises: step h and reach of v
MOST_NODES = 2**19


def noise_nodes(noise: Noise, *, step: float = 0.125, reach: float = 160.0) -> tuple[Array, Array]:
    """Values of ξ and their probabilities, both (nodes,).

    Raises: TypeError if the noise does not say its SciPy law, ValueError if that has an atom.
    """
    if isinstance(noise, Constant):
        return np.array([noise.value]), np.ones(1)
    if isinstance(noise, Bernoulli):
        return np.array([noise.low, noise.high]), np.array([1.0 - noise.inclusion_prob, noise.inclusion_prob])
    if noise.atom > 0.0:
        raise ValueError(f"{noise} has an atom beside a density, for which there are no nodes: use method='mc'")
    law = noise.scipy()
    v = step * np.arange(1, int(reach / step) + 1)
    small = special.expit(-v)
    values = np.concatenate([law.ppf(small)[::-1], law.ppf([0.5]), _isf(law, small)])
    weight = step * special.expit(v) * small
    probs = np.concatenate([weight[::-1], [0.25 * step], weight])
    kept = np.isfinite(values)
    return values[kept], probs[kept]


def product_nodes(noises: Sequence[Noise]) -> tuple[Array, Array]:
    """Every setting of several independent noises: values (settings, noises), probabilities (settings,).

    Raises: ValueError if there are too many settings (more than 19 gates, or 3 continuous noises).
    """
    continuous = sum(not isinstance(noise, Constant | Bernoulli) for noise in noises)
    step, reach = GRIDS.get(continuous, (0.0, 0.0))
    each = [noise_nodes(noise, step=step, reach=reach) for noise in noises] if step else []
    count = int(np.prod([float(len(values)) for values, _ in each])) if step else MOST_NODES + 1
    if count > MOST_NODES:
        raise ValueError(
            f"{len(noises)} noises have too many settings to sum over: use method='mc', or at most 19 gates or 3 continuous noises"
        )
    values = np.meshgrid(*(values for values, _ in each), indexing="ij")
    probs = np.meshgrid(*(probs for _, probs in each), indexing="ij")
    return np.stack([part.ravel() for part in values], axis=-1), np.prod([part.ravel() for part in probs], axis=0)


def _isf(law: Any, q: Array) -> Array:
    """Upper quantiles; of a law without ``isf`` as far as 1 − q tells them apart."""
    if hasattr(law, "isf"):
        return np.asarray(law.isf(q))
    return np.where(1.0 - q < 1.0, law.ppf(1.0 - q), np.nan)
