"""A network as a plain list of layers with NumPy arrays: what shrinking works on, whatever language it came from.

Weights are (in, out) and (height, width, in, out), images (n, height, width, channel), sequences (n, T, column), as in ``models``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from inspect import signature
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from scalemix.recurrent import last_state

if TYPE_CHECKING:
    from scalemix.language import PPL

__all__ = [
    "Affine",
    "ChannelsLast",
    "Channelwise",
    "Elementwise",
    "Flatten",
    "Images",
    "Layer",
    "Lstm",
    "Pool",
    "Residual",
    "apply_layers",
    "arrays_of",
    "channels_last",
    "every",
    "inputs_in",
    "layers_of",
    "num_inputs",
    "of_images",
    "read_as",
    "reads_channels",
    "with_weights",
]

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

    def is_sparse(self, most: float) -> bool:
        """It is a matrix of which at most that part is not 0; of none for 0."""
        return not self.is_convolution and 0 < np.count_nonzero(self.weight) <= most * self.weight.size

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
    """The largest ("max") or mean value of each patch of ``size`` × ``size``: ``how``. ``size=None`` is the mean of the whole image."""

    size: int | None = 2
    how: str = "max"


@dataclass(frozen=True)
class Flatten:
    """From (n, height, width, channel) to (n, height · width · channel)."""


@dataclass(frozen=True)
class Images:
    """The first layer of a network of images (n, height, width, channel), whatever is left of its convolutions.

    Attributes:
        channels: that the network reads; where it does not read them all, they are chosen here.
    """

    channels: int


@dataclass(frozen=True)
class ChannelsLast(Images):
    """From (n, channel, height, width) to (n, height, width, channel), the first layer of a network that takes its images so.

    Attributes:
        channels: as of ``Images``.
    """


@dataclass(frozen=True, eq=False)
class Channelwise:
    """scale · h + shift, of each channel its own: a frozen batch normalization."""

    scale: np.ndarray
    shift: np.ndarray


@dataclass(frozen=True, eq=False)
class Residual:
    """shortcut(h) + branch(h), each a list of layers; no layers are the identity."""

    branch: tuple[Layer, ...]
    shortcut: tuple[Layer, ...] = ()


@dataclass(frozen=True, eq=False)
class Lstm:
    """The last state of a long short-term memory (``models.lstm``) over sequences.

    Attributes:
        name, recurrent_name: the sites of the weights.
        weight, recurrent: (in, 4, out) and (out, 4, out), the gates in the order i, f, o, g.
        bias: (4, out).
    """

    name: str
    recurrent_name: str
    weight: np.ndarray
    recurrent: np.ndarray
    bias: np.ndarray


Layer = Affine | Elementwise | Pool | Flatten | Images | ChannelsLast | Channelwise | Residual | Lstm

ELEMENTWISE: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "relu": lambda x: np.maximum(x, 0.0),
    "tanh": np.tanh,
    "sigmoid": lambda x: 1.0 / (1.0 + np.exp(-x)),
}


def reads_channels(layer: Layer) -> bool:
    """It knows the channels of its input; the first that does reads the network's inputs."""
    if isinstance(layer, Residual):
        return any(map(reads_channels, (*layer.branch, *layer.shortcut)))
    return isinstance(layer, Images | Affine | Channelwise | Lstm)


def num_inputs(layers: Sequence[Layer]) -> int:
    """Inputs that the network reads: columns, channels, or pixels of a flattened image."""
    first = next(layer for layer in layers if reads_channels(layer))
    if isinstance(first, Images):
        return first.channels
    if isinstance(first, Residual):
        return num_inputs(first.branch if any(map(reads_channels, first.branch)) else first.shortcut)
    if isinstance(first, Channelwise):
        return first.scale.size
    return first.weight.shape[0] if isinstance(first, Lstm) else first.weight.shape[-2]  # type: ignore[union-attr]


def inputs_in(layers: Sequence[Layer], x: Any) -> int:
    """How many inputs x has for a network of these ``layers``."""
    shape, first = np.shape(x["x"] if isinstance(x, Mapping) else x), _first(layers)
    return int(np.prod(shape[1:])) if isinstance(first, Flatten) else shape[1 if isinstance(first, ChannelsLast) else -1]


def _first(layers: Sequence[Layer]) -> Layer | None:
    """What reads the inputs, or flattens them before they are read."""
    return next((layer for layer in layers if reads_channels(layer) or isinstance(layer, Flatten)), None)


def every(layers: Sequence[Layer]) -> Iterator[Layer]:
    """The ``layers``, those within residual blocks too."""
    for layer in layers:
        yield layer
        if isinstance(layer, Residual):
            yield from every((*layer.branch, *layer.shortcut))


def with_weights(layers: Sequence[Layer]) -> Iterator[Affine | Lstm]:
    """The affine and recurrent layers, those within residual blocks too."""
    return (layer for layer in every(layers) if isinstance(layer, Affine | Lstm))


def arrays_of(layers: Sequence[Layer]) -> Iterator[np.ndarray]:
    """All arrays of the ``layers``."""
    return (value for layer in every(layers) for value in vars(layer).values() if isinstance(value, np.ndarray))


def apply_layers(ppl: PPL, layers: Sequence[Layer], x: Any, *, inputs: Any = None, arrays: Mapping[int, Any] | None = None) -> Any:
    """The output of the ``layers`` for x (n, p), (n, height, width, channel) or (n, T, p), in the language ``ppl``.

    Args:
        ppl: ``scalemix.pyro`` or ``scalemix.numpyro``.
        layers: of the network.
        x: as the network takes it; {"x": (n, T, p), "lengths": (n,)} for padded sequences.
        inputs: indices of the inputs that the first layer with channels reads; ``None`` for all.
        arrays: arrays of the language by the ``id`` of those of the layers; ``None`` for those of the layers.
    """

    def own(array: np.ndarray) -> Any:
        return ppl.array(array) if arrays is None else arrays[id(array)]

    h, lengths = (x["x"], x["lengths"]) if isinstance(x, Mapping) else (x, None)
    for layer in layers:
        if isinstance(layer, ChannelsLast):
            h = h.swapaxes(1, 2).swapaxes(2, 3)
        if inputs is not None and reads_channels(layer):
            h, inputs = h[..., inputs], None
        if isinstance(layer, Affine):
            w, b = own(layer.weight), own(layer.bias)
            h = ppl.conv2d(h, w, b, stride=layer.stride, padding=layer.padding) if layer.is_convolution else ppl.linear(h, w, b)
        elif isinstance(layer, Channelwise):
            h = own(layer.scale) * h + own(layer.shift)
        elif isinstance(layer, Residual):
            h = apply_layers(ppl, layer.shortcut, h, arrays=arrays) + apply_layers(ppl, layer.branch, h, arrays=arrays)
        elif isinstance(layer, Lstm):
            w, u, b = (own(each) for each in (layer.weight, layer.recurrent, layer.bias))
            w, u, b, width = w.reshape((w.shape[0], -1)), u.reshape((u.shape[0], -1)), b.reshape(-1), b.shape[-1]
            h = last_state(ppl, h, partial(ppl.linear, w=w), u, b, width, lengths)
        elif isinstance(layer, Elementwise):
            h = getattr(ppl, layer.name)(h)
        elif isinstance(layer, Pool) and layer.size is None:
            h = h.reshape((h.shape[0], -1, h.shape[-1])).mean(1)[:, None, None]
        elif isinstance(layer, Pool):
            h = ppl.pool2d(h, layer.size, how=layer.how)
        elif isinstance(layer, Flatten):
            h = h.reshape((h.shape[0], -1))
    return h


def of_images(layers: Sequence[Layer], *, images: bool = False) -> list[Layer]:
    """The ``layers``, beginning with ``Images`` if there is a pooling or a convolution, or if ``images`` says that they are of images.

    Raises: ValueError if nothing before they are flattened says how many channels the images have.
    """
    images = images or any(isinstance(layer, Pool) or (isinstance(layer, Affine) and layer.is_convolution) for layer in every(layers))
    if not images or isinstance(layers[0], Images):
        return list(layers)
    if isinstance(_first(layers), Flatten | None):
        raise ValueError("shrinking cannot read a network of images that tells nowhere their channels: begin with a convolution")
    return [Images(num_inputs(layers)), *layers]


def channels_last(layers: list[Layer], *, images: bool = False) -> list[Layer]:
    """Layers of images with the channels first as those with the channels last: rows behind a flattening change places.

    Raises: ValueError as ``of_images``, which decides whether they are of images.
    """
    first = next(iter(of_images(layers, images=images)), None)
    if not isinstance(first, Images):
        return layers
    channels, flattened = first.channels, False
    found: list[Layer] = [ChannelsLast(channels)]
    for layer in layers:
        if isinstance(layer, Affine) and flattened and not layer.is_convolution:
            rows = np.arange(layer.weight.shape[0]).reshape(channels, -1).T.reshape(-1)
            found.append(Affine(layer.name, layer.weight[rows], layer.bias))
            flattened = False
            continue
        last = list(with_weights((layer,)))
        channels = last[-1].weight.shape[-1] if last else channels
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
