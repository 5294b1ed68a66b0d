"""What a shrunk network saves: weights, units, multiplications, feature maps, bytes.

r_W   weights of the shrunk dense network / of the original, biases left out (rows and columns are removed jointly)
r_N   numbers in the feature maps, inputs counted and outputs not, of a convolution before pooling
FLOP  multiplications: in · out of a dense layer, positions · height · width · in · out of a convolution, T · 4 (in + out) · out of an LSTM

So do Dai, Zhu and Wipf (2018), section 5, count; only r_N of their LeNet-5 leaves the inputs out, and counts pooled maps and flattened
units too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from scalemix.compress.layers import Affine, ChannelsLast, Flatten, Layer, Lstm, Pool, Residual, arrays_of, reads_channels

__all__ = ["Costs", "Report", "costs", "report"]


@dataclass(frozen=True)
class Costs:
    """Of a network of layers.

    Attributes:
        names: of its weights, an LSTM's two one after the other.
        units: inputs (columns or channels), then the units or channels of each layer with weights.
        weights: of each, biases left out.
        multiplications: of each, for one case.
        features: numbers in the inputs and in the feature map of each hidden layer with weights, for an LSTM its states at all steps.
        bytes: of all numbers as float32.
    """

    names: tuple[str, ...]
    units: tuple[int, ...]
    weights: tuple[int, ...]
    multiplications: tuple[int, ...]
    features: tuple[int, ...]
    bytes: int


def costs(layers: Sequence[Layer], input_shape: Sequence[int]) -> Costs:
    """Of ``layers`` for one case of ``input_shape``, as the network takes it, or of what is left of it.

    Raises: ValueError if an image becomes smaller than a kernel.
    """
    return _costs(layers, _as_read(layers, input_shape))


def _costs(layers: Sequence[Layer], shape: tuple[int, ...]) -> Costs:
    """Of one case in the shape in which the first layer with numbers reads it."""
    size = {3: tuple(shape[:2]), 2: (shape[0], 1)}.get(len(shape), (1, 1))
    counts: list[_Count] = []
    _count(layers, size, counts)
    return Costs(
        tuple(count.name for count in counts),
        (int(shape[-1]), *(count.units for count in counts if count.units)),
        tuple(count.weights for count in counts),
        tuple(count.positions * count.weights for count in counts),
        (int(np.prod(shape)), *(count.positions * count.units for count in counts if count.units))[:-1],
        4 * sum(array.size for array in arrays_of(layers)),
    )


class _Count(NamedTuple):
    """Of a weight; an LSTM's input weights have no units of their own."""

    name: str
    units: int
    weights: int
    positions: int


def _count(layers: Sequence[Layer], size: tuple[int, ...], counts: list[_Count]) -> tuple[int, ...]:
    """Append those of ``layers`` on images (or steps) of that ``size``; the size behind them."""
    for layer in layers:
        if isinstance(layer, Pool):
            size = (1, 1) if layer.size is None else (size[0] // layer.size, size[1] // layer.size)
        elif isinstance(layer, Flatten):
            size = (1, 1)
        elif isinstance(layer, Residual):
            _count(layer.shortcut, size, counts)
            size = _count(layer.branch, size, counts)
        elif isinstance(layer, Lstm):
            counts.append(_Count(layer.name, 0, layer.weight.size, size[0]))
            counts.append(_Count(layer.recurrent_name, layer.weight.shape[-1], layer.recurrent.size, size[0]))
            size = (1, 1)
        elif isinstance(layer, Affine):
            if layer.is_convolution:
                kernel = zip(size, layer.weight.shape, strict=False)
                size = tuple((length + 2 * layer.padding - width) // layer.stride + 1 for length, width in kernel)
            if min(size) < 1:
                raise ValueError(f"an image is smaller than the kernel of {layer.name!r}: give the shape of the network's inputs")
            counts.append(_Count(layer.name, layer.weight.shape[-1], layer.weight.size, size[0] * size[1]))
    return size


@dataclass(frozen=True)
class Report:
    """The original and the shrunk network side by side; ``str(report)`` is a table.

    Attributes:
        before, after: their costs.
        kept_weights: weights of the original that the rule kept, biases left out, those without a rule counted.
    """

    before: Costs
    after: Costs
    kept_weights: int

    @property
    def compression(self) -> float:
        """|W| / |W ≠ 0| of the masked network."""
        return sum(self.before.weights) / max(self.kept_weights, 1)

    @property
    def weight_ratio(self) -> float:
        """r_W, of the shrunk dense network."""
        return sum(self.after.weights) / sum(self.before.weights)

    @property
    def feature_ratio(self) -> float:
        """r_N."""
        return sum(self.after.features) / sum(self.before.features)

    def to_dict(self) -> dict[str, float | str]:
        """The numbers of the table."""
        widths = ["-".join(map(str, each.units)) for each in (self.before, self.after)]
        return {
            "units before": widths[0],
            "units after": widths[1],
            "kept weights": self.kept_weights,
            "|W|/|W≠0|": self.compression,
            "r_W [%]": 100.0 * self.weight_ratio,
            "r_N [%]": 100.0 * self.feature_ratio,
            "multiplications before": sum(self.before.multiplications),
            "multiplications after": sum(self.after.multiplications),
            "bytes before": self.before.bytes,
            "bytes after": self.after.bytes,
        }

    def __str__(self) -> str:
        rows = {"units": ("units",), "multiplications": ("multiplications",), "bytes": ("bytes",)}
        found = self.to_dict()
        lines = [f"{'':<18}{'before':>20}{'after':>20}"]
        for label, (key,) in rows.items():
            lines.append(f"{label:<18}{found[f'{key} before']!s:>20}{found[f'{key} after']!s:>20}")
        lines.append(f"{'weights':<18}{sum(self.before.weights):>20}{sum(self.after.weights):>20}   r_W {found['r_W [%]']:.3g} %")
        lines.append(f"{'weights, not 0':<18}{sum(self.before.weights):>20}{self.kept_weights:>20}   |W|/|W≠0| {self.compression:.3g}")
        lines.append(f"{'feature maps':<18}{sum(self.before.features):>20}{sum(self.after.features):>20}   r_N {found['r_N [%]']:.3g} %")
        return "\n".join(lines)


def report(
    before: Sequence[Layer], after: Sequence[Layer], input_shape: Sequence[int], kept: Mapping[str, np.ndarray], inputs: np.ndarray
) -> Report:
    """Of a network ``before`` and ``after`` it was shrunk.

    Args:
        before, after: their layers.
        input_shape: of one case before.
        kept: masks of the pruned weights, by the name of their layer.
        inputs: which inputs are left.

    Raises: ValueError as ``costs``.
    """
    dense = costs(before, input_shape)
    total = sum(int(kept[name].sum()) if name in kept else size for name, size in zip(dense.names, dense.weights, strict=True))
    return Report(dense, _costs(after, (*_as_read(before, input_shape)[:-1], len(inputs))), total)


def _as_read(layers: Sequence[Layer], input_shape: Sequence[int]) -> tuple[int, ...]:
    """The shape in which the first weight reads one case: (p,), (T, p) or (height, width, channel)."""
    shape = tuple(int(length) for length in input_shape)
    for layer in layers:
        if isinstance(layer, ChannelsLast):
            return (*shape[1:], shape[0])
        if reads_channels(layer):
            break
        if isinstance(layer, Flatten):
            shape = (int(np.prod(shape)),)
    return shape
