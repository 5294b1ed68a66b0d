"""A feed-forward network as a plain list of layers with NumPy arrays: what shrinking works on, whatever language it came from.

Weights are (in, out) and (height, width, in, out), images (n, height, width, channel), as in ``models``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from inspect import signature
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from scalemix.layers import pool2d

if TYPE_CHECKING:
    from scalemix.language import PPL

__all__ = ["Affine", "ChannelsLast", "Elementwise", "Flatten", "Layer", "Pool", "apply_layers", "channels_last", "layers_of", "read_as"]

AnyModel = TypeVar("AnyModel", bound=Callable[..., Any])


@dataclass(frozen=True, eq=False)
class Affine:
    """h w + b, or the convolution of h by w, plus b.

    Attributes:
        name: the site of the weight.
        weight: (in, out) or (height, width, in, out).
        bias: (out,).
        stride, padding: of a convolution.
    """

    name: str
    weight: np.ndarray
    bias: np.ndarray
    stride: int = 1
    padding: int = 0

    @property
    def is_convolution(self) -> bool:
        """It is a convolution."""
        return self.weight.ndim == 4


@dataclass(frozen=True)
class Elementwise:
    """A function of each number: ``name`` is "relu", "tanh" or "sigmoid"."""

    name: str


@dataclass(frozen=True)
class Pool:
    """The largest ("max") or mean value of each patch of ``size`` × ``size``: ``how``."""

    size: int = 2
    how: str = "max"


@dataclass(frozen=True)
class Flatten:
    """From (n, height, width, channel) to (n, height · width · channel)."""


@dataclass(frozen=True)
class ChannelsLast:
    """From (n, channel, height, width) to (n, height, width, channel), the first layer of a network that takes its images so."""


Layer = Affine | Elementwise | Pool | Flatten | ChannelsLast

ELEMENTWISE: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "relu": lambda x: np.maximum(x, 0.0),
    "tanh": np.tanh,
    "sigmoid": lambda x: 1.0 / (1.0 + np.exp(-x)),
}


def apply_layers(ppl: PPL, layers: Sequence[Layer], x: Any, *, inputs: Any = None, arrays: Mapping[str, Any] | None = None) -> Any:
    """The output of the ``layers`` for x (n, p) or (n, height, width, channel), in the language ``ppl``.

    Args:
        ppl: ``scalemix.pyro`` or ``scalemix.numpyro``.
        layers: of the network.
        x: as the network takes it.
        inputs: indices of the inputs that the first weight reads; ``None`` for all.
        arrays: weights and biases as arrays of the language, ``{name}.weight`` and ``{name}.bias``; ``None`` for those of the layers.
    """
    h, first = x, True
    for layer in layers:
        if isinstance(layer, Affine):
            if first and inputs is not None:
                h = h[..., inputs]
            first = False
            given = {"weight": layer.weight, "bias": layer.bias}
            w, b = (ppl.array(given[part]) if arrays is None else arrays[f"{layer.name}.{part}"] for part in ("weight", "bias"))
            h = ppl.conv2d(h, w, b, stride=layer.stride, padding=layer.padding) if layer.is_convolution else ppl.linear(h, w, b)
        elif isinstance(layer, Elementwise):
            h = getattr(ppl, layer.name)(h)
        elif isinstance(layer, Pool):
            h = pool2d(ppl, h, layer.size, layer.how)
        elif isinstance(layer, ChannelsLast):
            h = h.swapaxes(1, 2).swapaxes(2, 3)
        else:
            h = h.reshape((h.shape[0], -1))
    return h


def channels_last(layers: list[Layer]) -> list[Layer]:
    """Layers of images with the channels first as those with the channels last: rows behind a flattening change places."""
    if not any(isinstance(layer, Affine) and layer.is_convolution for layer in layers):
        return layers
    found: list[Layer] = [ChannelsLast()]
    channels, flattened = 0, False
    for layer in layers:
        if isinstance(layer, Affine) and flattened and not layer.is_convolution:
            rows = np.arange(layer.weight.shape[0]).reshape(channels, -1).T.reshape(-1)
            found.append(Affine(layer.name, layer.weight[rows], layer.bias))
            flattened = False
            continue
        if isinstance(layer, Affine):
            channels = layer.weight.shape[-1]
        flattened = flattened or isinstance(layer, Flatten)
        found.append(layer)
    return found


def read_as(describe: Callable[..., list[Layer]]) -> Callable[[AnyModel], AnyModel]:
    """Say how a model is a list of layers: ``describe(weights, options)`` of arrays by site and of the model's options."""

    def mark(model: AnyModel) -> AnyModel:
        vars(model)["layers"] = describe
        return model

    return mark


def layers_of(model: Callable[..., Any], weights: Mapping[str, np.ndarray]) -> list[Layer] | None:
    """The ``model`` with ``weights`` at its sites as layers; ``None`` for one that does not say how."""
    options: dict[str, Any] = {}
    told: Any = model
    while not hasattr(told, "layers"):
        if isinstance(told, partial):
            options = dict(told.keywords) | options
        told = getattr(told, "__wrapped__", None) or getattr(told, "func", None)
        if told is None:
            return None
    defaults = {name: parameter.default for name, parameter in signature(told).parameters.items()}
    return told.layers(weights, defaults | options)
