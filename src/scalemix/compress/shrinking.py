"""What a pruned network can do without: inputs and units that nothing reads, and units that read nothing, whose constant goes into biases.

A unit all of whose outgoing weights are 0 changes nothing. One all of whose incoming weights are 0 is the constant a = f(b); a Σ w is then
added to what reads it and it goes too. Both are repeated until nothing changes, so that the shrunk network is the masked one, to rounding.
Before a convolution with padding only a = 0 can go: at the border fewer weights read the constant.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from scalemix.compress.layers import ELEMENTWISE, Affine, Elementwise, Layer, layers_of
from scalemix.compress.network import Network
from scalemix.compress.report import Report, report
from scalemix.compress.rules import Rule
from scalemix.compress.selection import Pruning, prune

if TYPE_CHECKING:
    from scalemix.posterior import Posterior

__all__ = ["Shrunk", "removed", "shrink"]


@dataclass(frozen=True, eq=False)
class Shrunk(Network):
    """A smaller dense network: call it as ``shrunk(x)``, with the same inputs as the network before; ``save`` writes it to a file.

    Attributes:
        module: a ``torch.nn.Module``, or in JAX a function of x.
        layers: it as a list of layers; the first one reads ``inputs`` alone.
        inputs: indices of the inputs (columns, channels, or pixels of a flattened image) that are left.
        num_inputs: how many x has.
        report: what was saved.
        pruning: by which it was made.
        masked: the layers of the network before, what was dropped 0.
    """

    report: Report
    pruning: Pruning = field(repr=False)
    masked: tuple[Layer, ...] = field(repr=False)


def shrink(
    posterior: Posterior,
    rule: Rule | str | Pruning,
    build: Callable[[Sequence[Layer], np.ndarray | None], Callable[..., Any]],
    **options: Any,
) -> Shrunk:
    """``PPL.shrink`` with ``build(layers, inputs)``, which makes the module; its inputs are ``None`` where all are left.

    Raises: ValueError as ``PPL.shrink`` does.
    """
    if isinstance(rule, Pruning) and any(value is not None for value in options.values()):
        raise ValueError("shrink got a Pruning, which has chosen already, and options for choosing: leave them away")
    pruning = rule if isinstance(rule, Pruning) else prune(posterior, rule, **options)
    layers = None if posterior.model is None else layers_of(posterior.model, pruning.means)
    if layers is None:
        raise ValueError("shrink knows models.mlp, models.lenet and models.lifted: give ppl.lift a torch module, and fit models.lifted")
    smaller, inputs = removed(layers)
    first = posterior.data[0]
    saved = report(layers, smaller, first.shape[1:], pruning.kept, inputs)
    num_inputs = next(layer.weight.shape[-2] for layer in layers if isinstance(layer, Affine))
    module = build(smaller, inputs if len(inputs) < num_inputs else None)
    return Shrunk(module, tuple(smaller), inputs, num_inputs, saved, pruning, tuple(layers))


def removed(layers: Sequence[Layer]) -> tuple[list[Layer], np.ndarray]:
    """The ``layers`` without what is of no effect, and the indices of the inputs that are left.

    Raises: ValueError if a whole layer goes: then the output does not depend on the input.
    """
    places = [index for index, layer in enumerate(layers) if isinstance(layer, Affine)]
    affine: list[Affine] = [layers[index] for index in places]  # type: ignore[misc]
    weights = [np.array(layer.weight, dtype=float) for layer in affine]
    biases = [np.array(layer.bias, dtype=float) for layer in affine]
    between = [layers[start + 1 : end] for start, end in pairwise(places)]
    inputs = np.ones(weights[0].shape[-2], dtype=bool)
    units = [np.ones(layer.bias.size, dtype=bool) for layer in affine]
    changed = True
    while changed:
        changed = False
        unread = inputs & ~_reads(weights[0], np.arange(inputs.size)[:, None])
        changed |= bool(unread.any())
        inputs &= ~unread
        for index in range(len(affine) - 1):
            rows = _rows(weights[index], weights[index + 1])
            for unit in np.flatnonzero(units[index]):
                if not weights[index + 1][..., rows[unit], :].any():
                    pass  # nothing reads it
                elif not weights[index][..., unit].any():
                    constant = _through(between[index], biases[index][unit])
                    if constant != 0.0 and affine[index + 1].padding > 0:
                        continue
                    into = weights[index + 1][..., rows[unit], :]
                    biases[index + 1] += constant * into.reshape(-1, into.shape[-1]).sum(axis=0)
                    weights[index + 1][..., rows[unit], :] = 0.0
                else:
                    continue
                weights[index][..., unit] = 0.0
                units[index][unit] = False
                changed = True
    for layer, left in zip(affine[:-1], units[:-1], strict=True):
        if not left.any():
            raise ValueError(f"nothing is left of the layer {layer.name!r}, so the output would be a constant: prune less")
    if not inputs.any():
        raise ValueError(f"nothing is left of the inputs of {affine[0].name!r}, so the output would be a constant: prune less")
    result = list(layers)
    for index, (place, layer) in enumerate(zip(places, affine, strict=True)):
        read = np.flatnonzero(inputs) if index == 0 else np.sort(_rows(weights[index - 1], weights[index])[units[index - 1]].reshape(-1))
        kept = weights[index][..., read, :][..., units[index]]
        result[place] = replace(layer, weight=kept.astype(layer.weight.dtype), bias=biases[index][units[index]].astype(layer.bias.dtype))
    return result, np.flatnonzero(inputs)


def _reads(weight: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Whether any weight reads each row group."""
    used = weight.reshape(-1, *weight.shape[-2:]).any(axis=(0, 2))
    return used[rows].any(axis=1)


def _rows(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """(units, k) input rows of the next weight that each unit feeds: k positions of a channel where images are flattened between."""
    units, rows = before.shape[-1], after.shape[-2]
    return np.arange(rows).reshape(-1, units).T  # the channel is the last axis of what is flattened


def _through(between: Sequence[Layer], value: float) -> float:
    """A constant after the layers between two affine ones: pooling a constant leaves it."""
    for layer in between:
        if isinstance(layer, Elementwise):
            value = float(ELEMENTWISE[layer.name](np.asarray(value)))
    return value
