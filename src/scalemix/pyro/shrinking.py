"""Torch modules as lists of layers, and shrunk networks as torch modules. Contract: ``scalemix.language.PPL.shrink``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import fx, nn
from torch.nn import functional

from scalemix.compress import Affine, ChannelsLast, Elementwise, Flatten, Layer, Pool, Pruning, Rule, Shrunk
from scalemix.compress.layers import channels_last
from scalemix.compress.shrinking import shrink as shrink_with
from scalemix.language import PPL
from scalemix.posterior import Posterior

__all__ = ["Permute", "Select", "layers_of_module", "shrink"]

IDLE = (nn.Identity, nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d)
MODULES: dict[type[nn.Module], str] = {nn.ReLU: "relu", nn.Tanh: "tanh", nn.Sigmoid: "sigmoid"}
FUNCTIONS = {torch.relu: "relu", functional.relu: "relu", torch.tanh: "tanh", torch.sigmoid: "sigmoid"}
ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "tanh": nn.Tanh, "sigmoid": nn.Sigmoid}


class Select(nn.Module):
    """The inputs that are left, along the channels or columns."""

    def __init__(self, index: np.ndarray) -> None:
        super().__init__()
        self.register_buffer("index", torch.as_tensor(index, dtype=torch.long))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.index_select(1, self.get_buffer("index"))


class Permute(nn.Module):
    """From (n, height, width, channel) to torch's (n, channel, height, width)."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.permute(0, 3, 1, 2)


def shrink(
    posterior: Posterior,
    rule: Rule | str | Pruning,
    *,
    fraction: float | None = None,
    score: Callable[[Pruning], float] | None = None,
    most_loss: float | None = None,
) -> Shrunk:
    return shrink_with(posterior, rule, build, fraction=fraction, score=score, most_loss=most_loss)


shrink.__doc__ = PPL.shrink.__doc__


def build(layers: Sequence[Layer], inputs: np.ndarray | None) -> nn.Module:
    steps: list[nn.Module] = []
    convolutional = any(isinstance(layer, Affine) and layer.is_convolution for layer in layers)
    if convolutional and not isinstance(layers[0], ChannelsLast):
        steps.append(Permute())
    channels, first = 0, True
    flattened = False
    for layer in layers:
        if isinstance(layer, Affine):
            if first and inputs is not None:
                steps.append(Select(inputs))
            first = False
            steps.append(_affine(layer, channels if flattened else 0))
            channels, flattened = layer.weight.shape[-1] if layer.is_convolution else 0, False
        elif isinstance(layer, Elementwise):
            steps.append(ACTIVATIONS[layer.name]())
        elif isinstance(layer, Pool):
            steps.append(nn.MaxPool2d(layer.size) if layer.how == "max" else nn.AvgPool2d(layer.size))
        elif isinstance(layer, Flatten):
            steps.append(nn.Flatten())
            flattened = channels > 0
    return nn.Sequential(*steps).eval()


build.__doc__ = PPL.build.__doc__


def _affine(layer: Affine, channels: int) -> nn.Module:
    """torch's layer; after images of so many ``channels`` were flattened, with its rows in torch's order."""
    weight, (fan_in, fan_out) = layer.weight, layer.weight.shape[-2:]
    made: nn.Module
    if layer.is_convolution:
        kernel = (weight.shape[0], weight.shape[1])
        made = nn.utils.skip_init(nn.Conv2d, fan_in, fan_out, kernel, stride=layer.stride, padding=layer.padding)
        weight = weight.transpose(3, 2, 0, 1)
    else:
        made = nn.utils.skip_init(nn.Linear, fan_in, fan_out)
        weight = (weight[np.arange(fan_in).reshape(-1, channels).T.reshape(-1)] if channels else weight).T
    dtype = torch.get_default_dtype()
    made.weight = nn.Parameter(torch.as_tensor(np.ascontiguousarray(weight), dtype=dtype))
    made.bias = nn.Parameter(torch.as_tensor(layer.bias, dtype=dtype))
    return made


def layers_of_module(module: nn.Module, values: Mapping[str, np.ndarray]) -> list[Layer]:
    """A module as layers, with ``values`` as its parameters, by their names.

    Raises: ValueError if it is not a chain of layers that shrinking knows.
    """
    try:
        nodes = list(fx.symbolic_trace(module).graph.nodes)
    except (fx.proxy.TraceError, TypeError, RuntimeError, NotImplementedError) as error:
        raise ValueError(f"shrinking cannot read {type(module).__name__}, whose forward looks at values ({error}): {KNOWN}") from error
    owners, found, previous = dict(module.named_modules()), [], nodes[0]
    for node in nodes[1:]:
        if node.op == "output":
            break
        if not node.args or node.args[0] is not previous or len(previous.users) > 1:
            raise ValueError(f"shrinking cannot read {type(module).__name__}: {node.name!r} is not one layer after another; {KNOWN}")
        step = _step(node, owners, values)
        if step is None:
            raise ValueError(f"shrinking cannot read the layer {node.name!r} of {type(module).__name__}: {KNOWN}")
        found += step
        previous = node
    return channels_last(found)


KNOWN = "it takes Linear, Conv2d, ReLU, Tanh, Sigmoid, MaxPool2d, AvgPool2d, Flatten and what is idle in eval mode, one after the other"


def _step(node: Any, owners: Mapping[str, nn.Module], values: Mapping[str, np.ndarray]) -> list[Layer] | None:
    """The layer of a node; ``None`` for one that is not known."""
    if node.op == "call_module":
        layer = owners[node.target]
        if isinstance(layer, IDLE):
            return []
        if type(layer) in MODULES:
            return [Elementwise(MODULES[type(layer)])]
        if isinstance(layer, nn.Flatten):
            return [Flatten()] if (layer.start_dim, layer.end_dim) == (1, -1) else None
        if isinstance(layer, nn.MaxPool2d | nn.AvgPool2d):
            plain = layer.padding == 0 and not layer.ceil_mode and getattr(layer, "dilation", 1) == 1
            return _pool(layer.kernel_size, layer.stride, isinstance(layer, nn.MaxPool2d)) if plain else None
        if isinstance(layer, nn.Linear | nn.Conv2d):
            return _affine_of(node.target, layer, values)
        return None
    if node.op == "call_function" and node.target in FUNCTIONS:
        return [Elementwise(FUNCTIONS[node.target])]
    if node.op == "call_method" and node.target in ACTIVATIONS:
        return [Elementwise(node.target)]
    if node.target in (torch.flatten, "flatten") and (node.args[1:] == (1,) or node.kwargs == {"start_dim": 1}):
        return [Flatten()]
    if node.target is functional.max_pool2d and len(node.args) == 2 and not node.kwargs:
        return _pool(node.args[1], node.args[1], True)
    return None


def _pool(size: Any, stride: Any, largest: bool) -> list[Layer] | None:
    sizes = {*(size if isinstance(size, tuple) else (size,)), *(stride if isinstance(stride, tuple) else (stride,))}
    return [Pool(int(sizes.pop()), "max" if largest else "mean")] if len(sizes) == 1 else None


def _affine_of(name: str, layer: Any, values: Mapping[str, np.ndarray]) -> list[Layer] | None:
    weight = np.asarray(values[f"{name}.weight"])
    bias = np.asarray(values[f"{name}.bias"]) if layer.bias is not None else np.zeros(weight.shape[0], weight.dtype)
    if isinstance(layer, nn.Linear):
        return [Affine(f"{name}.weight", weight.T, bias)]
    if layer.groups != 1 or layer.dilation != (1, 1) or layer.padding_mode != "zeros" or isinstance(layer.padding, str):
        return None
    if len(set(layer.stride)) > 1 or len(set(layer.padding)) > 1:
        return None
    return [Affine(f"{name}.weight", weight.transpose(2, 3, 1, 0), bias, layer.stride[0], layer.padding[0])]
