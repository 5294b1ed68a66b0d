"""Layers as JSON and named arrays, and back: what a file of a network holds. What does not fit together is refused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

import numpy as np

from scalemix.compress.layers import (
    ELEMENTWISE,
    Affine,
    ChannelsLast,
    Channelwise,
    Elementwise,
    Flatten,
    Images,
    Layer,
    Lstm,
    Pool,
    Residual,
    every,
    with_weights,
)

__all__ = ["check_layers", "described", "in_single_precision", "read_layers"]

KINDS: dict[str, type] = {
    "affine": Affine,
    "channelwise": Channelwise,
    "channels_last": ChannelsLast,
    "elementwise": Elementwise,
    "flatten": Flatten,
    "images": Images,
    "lstm": Lstm,
    "pool": Pool,
    "residual": Residual,
}
ARRAYS = {"affine": ("weight", "bias"), "channelwise": ("scale", "shift"), "lstm": ("weight", "recurrent", "bias")}
POOLED = ("max", "mean")
DEPTH = 16  # of residual blocks within one another


def described(layers: Sequence[Layer], arrays: dict[str, np.ndarray], place: str = "") -> list[dict[str, Any]]:
    """JSON of the ``layers``; their arrays are added to ``arrays`` as {name of the layer, or its place}.{name of the array}.

    Raises: ValueError if two layers have one name.
    """
    told = []
    for number, layer in enumerate(layers):
        kind = next(name for name, each in KINDS.items() if type(layer) is each)
        at = layer.name if isinstance(layer, Affine | Lstm) else f"{place}{number}"
        entry: dict[str, Any] = {"kind": kind}
        for each in fields(layer):
            value = getattr(layer, each.name)
            if each.name in ARRAYS.get(kind, ()):
                if f"{at}.{each.name}" in arrays:
                    raise ValueError(f"two layers are called {at!r}: give each its own name")
                arrays[f"{at}.{each.name}"] = value
            elif isinstance(layer, Residual):
                entry[each.name] = described(value, arrays, f"{at}.{each.name}.")
            else:
                entry[each.name] = value
        told.append(entry)
    return told


def read_layers(told: Sequence[Mapping[str, Any]], arrays: Mapping[str, np.ndarray], place: str = "", depth: int = 0) -> tuple[Layer, ...]:
    """The layers of which ``described`` made ``told`` and ``arrays``.

    Raises: KeyError, TypeError or ValueError where something is missing, of another kind, or unknown.
    """
    if depth > DEPTH:
        raise ValueError(f"more than {DEPTH} residual blocks stand within one another")
    found = []
    for number, each in enumerate(told):
        options = dict(each)
        kind = options.pop("kind")
        if kind not in KINDS:
            raise ValueError(f"there is no layer {kind!r}")
        at = str(options["name"]) if kind in ("affine", "lstm") else f"{place}{number}"
        options |= {name: arrays[f"{at}.{name}"] for name in ARRAYS.get(kind, ())}
        if kind == "residual":
            options = {name: read_layers(layers, arrays, f"{at}.{name}.", depth + 1) for name, layers in options.items()}
        found.append(KINDS[kind](**options))
    return tuple(found)


def in_single_precision(layers: Sequence[Layer]) -> tuple[Layer, ...]:
    """The ``layers`` with arrays of float32."""
    arrays: dict[str, np.ndarray] = {}
    told = described(layers, arrays)
    return read_layers(told, {name: np.ascontiguousarray(value, dtype=np.float32) for name, value in arrays.items()})


def check_layers(layers: Sequence[Layer], inputs: np.ndarray, num_inputs: int) -> None:
    """Raise ValueError that says what does not fit together."""
    names = [layer.name for layer in with_weights(layers)]
    if not names:
        raise ValueError("it has no weights")
    if twice := next((name for number, name in enumerate(names) if name in names[:number]), None):
        raise ValueError(f"two layers are called {twice!r}")
    if any(isinstance(layer, Images) for layer in list(every(layers))[1:]):
        raise ValueError("images begin behind another layer")
    if not _whole(num_inputs, 1):
        raise ValueError(f"num_inputs is {num_inputs!r}, no whole number above 0")
    if inputs.ndim != 1 or inputs.dtype.kind != "i" or np.any(inputs < 0) or np.any(inputs >= num_inputs):
        raise ValueError(f"its inputs are no indices below {num_inputs}")
    _width(layers, len(inputs))


def _width(layers: Sequence[Layer], width: int) -> int:
    """Channels that come out of the ``layers`` if so many go in."""
    flattened = False
    for layer in layers:
        flattened = flattened or isinstance(layer, Flatten)
        for name, value in vars(layer).items():
            if isinstance(value, np.ndarray) and value.dtype.kind != "f":
                raise ValueError(f"{name} of a layer is no array of numbers")
        if isinstance(layer, Affine):
            weight, bias = layer.weight, layer.bias
            if weight.ndim not in (2, 4) or bias.shape != weight.shape[-1:]:
                raise ValueError(f"{layer.name!r} has a weight of shape {weight.shape} and a bias of shape {bias.shape}")
            if not (_whole(layer.stride, 1) and _whole(layer.padding, 0)):
                raise ValueError(f"the layer {layer.name!r} has stride {layer.stride} and padding {layer.padding}")
            _reads(layer.name, weight.shape[-2], width, many=flattened and weight.ndim == 2)
            width, flattened = weight.shape[-1], False
        elif isinstance(layer, Lstm):
            out = layer.bias.shape[-1]
            if layer.weight.shape[1:] != (4, out) or layer.recurrent.shape != (out, 4, out) or layer.bias.shape != (4, out):
                raise ValueError(f"the arrays of {layer.name!r} do not belong together")
            _reads(layer.name, layer.weight.shape[0], width)
            width = out
        elif isinstance(layer, Channelwise):
            if layer.scale.shape != layer.shift.shape or layer.scale.ndim != 1:
                raise ValueError("scale and shift of channels do not belong together")
            _reads("a factor of channels", len(layer.scale), width)
        elif isinstance(layer, Residual):
            one, other = _width(layer.branch, width), _width(layer.shortcut, width)
            if one != other:
                raise ValueError(f"a sum has sides of {one} and {other} channels")
            width = one
        elif isinstance(layer, Images):
            if not _whole(layer.channels, 1):
                raise ValueError(f"the images have {layer.channels!r} channels")
            _reads("the network of images", layer.channels, width)
        elif isinstance(layer, Elementwise) and layer.name not in ELEMENTWISE:
            raise ValueError(f"there is no function {layer.name!r}")
        elif isinstance(layer, Pool):
            whole = layer.size is None and layer.how == "mean"
            if not whole and (layer.how not in POOLED or not _whole(layer.size, 1)):
                raise ValueError(f"there is no {layer}")
    return width


def _whole(value: object, least: int) -> bool:
    """It is a whole number from ``least`` on, which True is not."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def _reads(name: str, fan_in: int, width: int, *, many: bool = False) -> None:
    if fan_in != width and not (many and width > 0 and fan_in % width == 0):
        raise ValueError(f"{name!r} reads {fan_in} numbers and is given {width}")
