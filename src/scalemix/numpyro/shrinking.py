"""Shrunk networks as functions of JAX. Contract: ``scalemix.language.PPL.shrink``."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental.sparse import BCOO

from scalemix.compress import Affine, Elementwise, Flatten, Layer, Pool, Pruning, Rule, Shrunk, apply_layers
from scalemix.compress.layers import arrays_of, channels_last, with_weights
from scalemix.compress.shrinking import shrink as shrink_with
from scalemix.language import PPL
from scalemix.posterior import Posterior

__all__ = ["layers_of_tree", "shrink"]

FUNCTIONS = {jax.nn.relu: "relu", jnp.tanh: "tanh", jax.nn.tanh: "tanh", jax.nn.sigmoid: "sigmoid"}
KNOWN = (
    "it takes eqx.nn.MLP, and eqx.nn.Sequential of Linear, Conv2d, MaxPool2d, AvgPool2d, Lambda of jax.nn.relu, jnp.tanh, jax.nn.sigmoid "
    "or jnp.ravel"
)


def shrink(
    posterior: Posterior,
    rule: Rule | str | Pruning,
    *,
    fraction: float | None = None,
    score: Callable[[Pruning], float] | None = None,
    most_loss: float | None = None,
    sparse: float = 0.0,
) -> Shrunk:
    return shrink_with(posterior, rule, build, sparse=sparse, fraction=fraction, score=score, most_loss=most_loss)


shrink.__doc__ = PPL.shrink.__doc__


def build(layers: Sequence[Layer], inputs: np.ndarray | None, sparse: float = 0.0) -> Callable[[Any], Any]:
    ppl: Any = sys.modules["scalemix.numpyro"]
    arrays = {id(array): jnp.asarray(array) for array in arrays_of(layers)}
    few = [layer.weight for layer in with_weights(layers) if isinstance(layer, Affine) and layer.is_sparse(sparse)]
    arrays |= {id(weight): BCOO.fromdense(arrays[id(weight)]) for weight in few}
    return jax.jit(lambda x: apply_layers(ppl, layers, x, inputs=inputs, arrays=arrays))


build.__doc__ = PPL.build.__doc__


def layers_of_tree(tree: Any, values: Mapping[str, np.ndarray]) -> list[Layer]:
    """A module of Equinox as layers, with ``values`` as its arrays, by their names.

    Raises: ValueError if it is not a chain of layers that shrinking knows.
    """
    eqx = sys.modules.get("equinox")
    if eqx is not None and isinstance(tree, eqx.nn.MLP):
        found: list[Layer] = []
        for index, layer in enumerate(tree.layers):
            found += _step(eqx, f"layers.{index}", layer, values)
            function = tree.activation if index + 1 < len(tree.layers) else tree.final_activation
            if index + 1 < len(tree.layers) or not _is_identity(function):
                found += _function(f"activation of layer {index}", function)
        return found
    if eqx is not None and isinstance(tree, eqx.nn.Sequential):
        steps = [_step(eqx, f"layers.{index}", layer, values) for index, layer in enumerate(tree.layers)]
        return channels_last([layer for step in steps for layer in step])
    raise ValueError(f"shrinking cannot read {type(tree).__name__}: {KNOWN}")


def _step(eqx: Any, name: str, layer: Any, values: Mapping[str, np.ndarray]) -> list[Layer]:
    if isinstance(layer, eqx.nn.Dropout | eqx.nn.Identity):
        return []
    if isinstance(layer, eqx.nn.Lambda):
        return _function(name, layer.fn)
    if isinstance(layer, eqx.nn.Linear | eqx.nn.Conv2d):
        weight = np.asarray(values[f"{name}.weight"])
        out = weight.shape[0]
        bias = np.asarray(values[f"{name}.bias"]).reshape(out) if layer.bias is not None else np.zeros(out, weight.dtype)
        if isinstance(layer, eqx.nn.Linear):
            return [Affine(f"{name}.weight", weight.T, bias)]
        pads = {side for pair in layer.padding for side in pair} if not isinstance(layer.padding, str) else {-1, -2}
        plain = layer.groups == 1 and set(layer.dilation) == {1} and layer.padding_mode == "ZEROS"
        if plain and len(pads) == 1 and len(set(layer.stride)) == 1:
            return [Affine(f"{name}.weight", weight.transpose(2, 3, 1, 0), bias, layer.stride[0], pads.pop())]
    if isinstance(layer, eqx.nn.MaxPool2d | eqx.nn.AvgPool2d):
        sizes, pads = {*layer.kernel_size, *layer.stride}, {side for pair in layer.padding for side in pair}
        if len(sizes) == 1 and pads == {0} and not layer.use_ceil:
            return [Pool(sizes.pop(), "max" if isinstance(layer, eqx.nn.MaxPool2d) else "mean")]
    raise ValueError(f"shrinking cannot read the layer {name!r}, a {type(layer).__name__}: {KNOWN}")


def _function(name: str, function: Any) -> list[Layer]:
    if function is jnp.ravel:
        return [Flatten()]
    if function not in FUNCTIONS:
        raise ValueError(f"shrinking cannot read the function of {name!r}: {KNOWN}")
    return [Elementwise(FUNCTIONS[function])]


def _is_identity(function: Any) -> bool:
    """Equinox's own, the default of the last layer of an MLP: it gives back what it is given."""
    mark = object()
    try:
        return function(mark) is mark
    except TypeError:
        return False
