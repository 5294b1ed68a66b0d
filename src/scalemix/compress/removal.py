"""What a pruned network can do without: inputs and units that nothing reads, units that are constant, and residual blocks that add nothing.

A unit all of whose outgoing weights are 0 changes nothing. One all of whose incoming weights are 0 is the constant a = f(b); a Σ w is then
added to what reads it and it goes too. So the shrunk network is the masked one, to rounding. Before a convolution with padding only a = 0
can go: at the border fewer weights read the constant.

Constants are found from the inputs on, what is read from the outputs back. An addition makes its two sides one stream: a channel of it goes
only where nothing reads it at any place of the stream, or what is read there is constant.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from scalemix.compress.layers import (
    ELEMENTWISE,
    Affine,
    Channelwise,
    Elementwise,
    Images,
    Layer,
    Lstm,
    Residual,
    num_inputs,
    of_images,
    with_weights,
)

__all__ = ["removed"]

GATE = 3  # g of i, f, o, g


class _Stream:
    """Channels that stay or go together at several places of the network."""

    def __init__(self, size: int) -> None:
        self.own = np.zeros(size, dtype=bool)
        self.parent: _Stream | None = None

    @property
    def root(self) -> _Stream:
        return self if self.parent is None else self.parent.root

    @property
    def kept(self) -> np.ndarray:
        return self.root.own

    def keep(self, channels: np.ndarray) -> None:
        self.root.own |= channels

    def join(self, other: _Stream) -> None:
        if self.root is not other.root:
            self.root.own |= other.root.own
            other.root.parent = self.root


@dataclass
class _Step:
    """A layer, the streams it reads and writes, and of a residual block its two sides. ``constant`` is its output, NaN where it is none."""

    layer: Any
    before: _Stream
    after: _Stream
    constant: np.ndarray
    branch: list[_Step] = field(default_factory=list)
    shortcut: list[_Step] = field(default_factory=list)
    added: np.ndarray | None = None  # what a branch that is removed adds


def removed(layers: Sequence[Layer]) -> tuple[list[Layer], np.ndarray]:
    """The ``layers`` without what is of no effect, and the indices of the inputs that are left; those of images begin with ``Images``.

    Raises: ValueError if a whole layer goes: then the output does not depend on the input.
    """
    layers = of_images(layers)
    inputs = _Stream(num_inputs(layers))
    steps, last, _ = _forward(layers, inputs, np.full(inputs.own.size, np.nan))
    everything = np.ones(last.own.size, dtype=bool)
    last.keep(everything)
    _backward(steps, everything)
    for step in _all(steps):
        if isinstance(step.layer, Affine | Lstm) and not step.after.kept.any():
            raise ValueError(f"nothing is left of the layer {step.layer.name!r}, so the output would be a constant: prune less")
    if not inputs.kept.any():
        name = next(with_weights(layers)).name
        raise ValueError(f"nothing is left of the inputs of {name!r}, so the output would be a constant: prune less")
    return _folded(_smaller(steps)), np.flatnonzero(inputs.kept)


def _forward(layers: Sequence[Layer], stream: _Stream, constant: np.ndarray) -> tuple[list[_Step], _Stream, np.ndarray]:
    """The steps with constants folded into the biases that read them, and the stream and the constants behind them."""
    steps = []
    for layer in layers:
        before, sides = stream, {}
        if isinstance(layer, Affine):
            layer, constant = _fold_affine(layer, constant)
            stream = _Stream(constant.size)
        elif isinstance(layer, Lstm):
            layer, constant = _fold_lstm(layer, constant)
            stream = _Stream(constant.size)
        elif isinstance(layer, Residual):
            sides["branch"], one, added = _forward(layer.branch, stream, constant)
            sides["shortcut"], two, carried = _forward(layer.shortcut, stream, constant)
            two.join(one)
            stream, constant, sides["added"] = two, carried + added, added
        elif isinstance(layer, Channelwise):
            known = ~np.isnan(constant) | (layer.scale == 0.0)
            constant = np.where(known, layer.scale * np.where(layer.scale == 0.0, 0.0, constant) + layer.shift, np.nan)
        elif isinstance(layer, Elementwise):
            constant = ELEMENTWISE[layer.name](constant)  # pooling leaves a constant as it is, and flattening repeats it
        steps.append(_Step(layer, before, stream, constant, **sides))
    return steps, stream, constant


def _fold_affine(layer: Affine, constant: np.ndarray) -> tuple[Affine, np.ndarray]:
    weight, bias = np.array(layer.weight, dtype=float), np.array(layer.bias, dtype=float)
    foldable = ~np.isnan(constant) & ((constant == 0.0) | (layer.padding == 0))
    rows = np.tile(
        np.where(foldable, constant, 0.0), weight.shape[-2] // constant.size
    )  # the channel is the last axis of what is flattened
    bias += rows @ weight.reshape(-1, *weight.shape[-2:]).sum(axis=0)
    weight[..., np.tile(foldable, weight.shape[-2] // constant.size), :] = 0.0
    return replace(layer, weight=weight, bias=bias), np.where(weight.reshape(-1, weight.shape[-1]).any(axis=0), np.nan, bias)


def _fold_lstm(layer: Lstm, constant: np.ndarray) -> tuple[Lstm, np.ndarray]:
    weight, recurrent, bias = (np.array(each, dtype=float) for each in (layer.weight, layer.recurrent, layer.bias))
    known = ~np.isnan(constant)
    bias += np.tensordot(np.where(known, constant, 0.0), weight, axes=1)
    weight[known] = 0.0
    zero = ~weight[:, GATE].any(axis=0) & (bias[GATE] == 0.0)  # where g stays 0, so do the cell and the state
    while True:
        recurrent[zero] = 0.0
        still = zero & ~recurrent[:, GATE].any(axis=0)
        if np.array_equal(still, zero):
            return replace(layer, weight=weight, recurrent=recurrent, bias=bias), np.where(zero, 0.0, np.nan)
        zero, recurrent = still, np.array(layer.recurrent, dtype=float)


def _backward(steps: list[_Step], needed: np.ndarray) -> np.ndarray:
    """Mark in the streams what is read, given which channels behind the steps are ``needed``; those needed in front of them."""
    for step in reversed(steps):
        layer = step.layer
        if isinstance(layer, Affine):
            step.layer = layer = replace(layer, weight=np.where(needed, layer.weight, 0.0), bias=np.where(needed, layer.bias, 0.0))
            channels = step.before.own.size
            rows = layer.weight.any(axis=tuple(i for i in range(layer.weight.ndim) if i != layer.weight.ndim - 2))
            needed = rows.reshape(-1, channels).any(axis=0)
            step.before.keep(needed)
        elif isinstance(layer, Lstm):
            needed = _read_units(layer, needed)
            step.after.keep(needed)  # a unit that only other units read is needed by its own layer
            needed = layer.weight[..., needed].any(axis=(1, 2))
            step.before.keep(needed)
        elif isinstance(layer, Residual):
            assert step.added is not None
            needed_by_shortcut = _backward(step.shortcut, needed)
            if np.isnan(step.added[needed]).any():
                step.added = None
                needed = needed_by_shortcut | _backward(step.branch, needed)
            else:
                needed = needed_by_shortcut
    return needed


def _read_units(layer: Lstm, needed: np.ndarray) -> np.ndarray:
    reads = layer.recurrent.any(axis=1)  # [j, k]: unit k reads unit j
    while True:
        more = needed | reads[:, needed].any(axis=1)
        if np.array_equal(more, needed):
            return needed
        needed = more


def _all(steps: list[_Step]) -> list[_Step]:
    """Those that stay, inner ones too."""
    found = []
    for step in steps:
        found += [step, *_all(step.shortcut), *([] if step.added is not None else _all(step.branch))]
    return found


def _smaller(steps: list[_Step]) -> list[Layer]:
    found: list[Layer] = []
    for step in steps:
        layer, read, kept = step.layer, step.before.kept, step.after.kept
        if isinstance(layer, Affine):
            rows = np.tile(read, layer.weight.shape[-2] // read.size)
            found.append(replace(layer, weight=layer.weight[..., rows, :][..., kept], bias=layer.bias[kept]))
        elif isinstance(layer, Lstm):
            parts = {"recurrent": layer.recurrent[kept], "weight": layer.weight[read], "bias": layer.bias}
            found.append(replace(layer, **{name: part[..., kept] for name, part in parts.items()}))
        elif isinstance(layer, Channelwise):
            found.append(Channelwise(layer.scale[kept], layer.shift[kept]))
        elif isinstance(layer, Residual) and step.added is not None:
            added = np.nan_to_num(step.added[kept])  # NaN where nothing reads it
            found += [*_smaller(step.shortcut), *([Channelwise(np.ones(added.size), added)] if added.any() else [])]
        elif isinstance(layer, Residual):
            found.append(Residual(tuple(_folded(_smaller(step.branch))), tuple(_folded(_smaller(step.shortcut)))))
        elif isinstance(layer, Images):
            found.append(replace(layer, channels=int(kept.sum())))
        else:
            found.append(layer)
    return found


def _folded(layers: list[Layer]) -> list[Layer]:
    """A scale and a shift behind an affine layer go into its weight and bias."""
    found: list[Layer] = []
    for layer in layers:
        last = found[-1] if found else None
        if isinstance(layer, Channelwise) and isinstance(last, Affine):
            found[-1] = replace(last, weight=last.weight * layer.scale, bias=last.bias * layer.scale + layer.shift)
        elif isinstance(layer, Channelwise) and isinstance(last, Channelwise):
            found[-1] = Channelwise(last.scale * layer.scale, last.shift * layer.scale + layer.shift)
        else:
            found.append(layer)
    return found
