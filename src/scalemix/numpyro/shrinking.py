"""Shrunk networks as functions of JAX. Contract: ``scalemix.language.PPL.shrink``."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from scalemix.compress import Affine, Layer, Pruning, Rule, Shrunk, apply_layers
from scalemix.compress.shrinking import shrink as shrink_with
from scalemix.language import PPL
from scalemix.posterior import Posterior

__all__ = ["shrink"]


def shrink(
    posterior: Posterior,
    rule: Rule | str | Pruning,
    *,
    fraction: float | None = None,
    score: Callable[[Pruning], float] | None = None,
    most_loss: float | None = None,
) -> Shrunk:
    return shrink_with(posterior, rule, _build, fraction=fraction, score=score, most_loss=most_loss)


shrink.__doc__ = PPL.shrink.__doc__


def _build(layers: Sequence[Layer], inputs: np.ndarray | None) -> Callable[[Any], Any]:
    ppl: Any = sys.modules["scalemix.numpyro"]
    arrays = {}
    for layer in layers:
        if isinstance(layer, Affine):
            arrays |= {f"{layer.name}.weight": jnp.asarray(layer.weight), f"{layer.name}.bias": jnp.asarray(layer.bias)}
    return jax.jit(lambda x: apply_layers(ppl, layers, x, inputs=inputs, arrays=arrays))
