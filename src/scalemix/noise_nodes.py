"""Expectations over noises by a sum over nodes: E[g(ξ)] ≈ Σᵢ pᵢ g(ξᵢ).

A gate has its two values, a constant its one. A continuous noise has nodes at the quantiles of u = 1/(1 + e^{−v}), v = 0, ±h, ±2h, …,

    E[g(ξ)] = ∫ g(F⁻¹(u)) du = ∫ g(F⁻¹(u(v))) u(v) (1 − u(v)) dv,

whose integrand falls like e^{−|v|} at both ends; there the trapezoid rule converges like e^{−2π²/h} (Trefethen and Weideman, 2014).
A law with atoms at its ends (a hard gate) has one node for each, and the rest between them.
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

    Raises: TypeError if the noise does not say its SciPy law.
    """
    if isinstance(noise, Constant):
        return np.array([noise.value]), np.ones(1)
    if isinstance(noise, Bernoulli):
        return np.array([noise.low, noise.high]), np.array([1.0 - noise.mean_inclusion_prob, noise.mean_inclusion_prob])
    law = noise.scipy()
    v = step * np.arange(1, int(reach / step) + 1)
    small, weight = special.expit(-v), step * special.expit(v) * special.expit(-v)
    probs = np.concatenate([weight[::-1], [0.25 * step], weight])
    if noise.atom > 0.0:
        values, probs = _between_atoms(law, noise.atom, np.concatenate([small[::-1], [0.5], special.expit(v)]), probs)
    else:
        values = np.concatenate([law.ppf(small)[::-1], law.ppf([0.5]), _isf(law, small)])
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


def _between_atoms(law: Any, at_zero: float, u: Array, probs: Array) -> tuple[Array, Array]:
    """Nodes of a law with an atom at 0, and perhaps one at its upper end."""
    top = law.support()[1]
    at_top = 1.0 - float(law.cdf(np.nextafter(top, 0.0))) if np.isfinite(top) else 0.0
    inside = 1.0 - at_zero - at_top
    values = np.concatenate([[0.0], law.ppf(at_zero + inside * u), [top if at_top > 0.0 else 0.0]])
    return values, np.concatenate([[at_zero], inside * probs, [at_top]])


def _isf(law: Any, q: Array) -> Array:
    """Upper quantiles; of a law without ``isf`` as far as 1 − q tells them apart."""
    if hasattr(law, "isf"):
        return np.asarray(law.isf(q))
    return np.where(1.0 - q < 1.0, law.ppf(1.0 - q), np.nan)
