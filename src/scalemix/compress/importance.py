"""How much an input of a sparse network matters: the mean probability of the paths that lead from it to the output."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np

__all__ = ["feature_scores"]


def feature_scores(inclusion_probs: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """ψ = (P⁽ᴸ⁺¹⁾ … P⁽¹⁾)ᵀ / Π_{l ≤ L} n_l, summed over outputs, and φ = (ψ − min ψ)/(max ψ − min ψ).

    Args:
        inclusion_probs: of each layer in turn, P (n_{l−1}, n_l) as the weights of ``models.mlp`` stand, probabilities that one is there.

    Returns: ψ and φ, (n₀,); φ is 0 where all ψ are equal.

    Raises: ValueError if the layers do not fit, or a number is no probability.

    Source: Saha, Liu and Liang (2024), eq. 3.18 and 3.19.
    """
    layers = [np.asarray(layer, dtype=float) for layer in inclusion_probs]
    for before, after in pairwise(layers):
        if before.ndim != 2 or after.ndim != 2 or before.shape[1] != after.shape[0]:
            raise ValueError(f"feature_scores got layers of the shapes {before.shape} and {after.shape}: give matrices (in, out) in turn")
    if not layers or any(np.any((layer < 0) | (layer > 1) | np.isnan(layer)) for layer in layers):
        raise ValueError("feature_scores wants probabilities from 0 to 1 for each layer")
    paths = layers[0]
    for layer in layers[1:]:
        paths = paths @ layer
    psi = paths.sum(axis=1) / math.prod(layer.shape[1] for layer in layers[:-1])
    spread = psi.max() - psi.min()
    return psi, (psi - psi.min()) / spread if spread > 0 else np.zeros_like(psi)
