"""Shrunk networks as torch modules. Contract: ``scalemix.language.PPL.shrink``."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from scalemix.compress import Affine, ChannelsLast, Channelwise, Elementwise, Flatten, Layer, Lstm, Pool, Pruning, Residual, Rule, Shrunk
from scalemix.compress.layers import Images, of_images, reads_channels
from scalemix.compress.shrinking import shrink as shrink_with
from scalemix.language import PPL
from scalemix.posterior import Posterior

__all__ = ["LastState", "Permute", "Scale", "Select", "Sparse", "Sum", "shrink"]

ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "tanh": nn.Tanh, "sigmoid": nn.Sigmoid}


class Select(nn.Module):
    """The inputs that are left, along the channels or columns, which is ``axis``."""

    def __init__(self, index: np.ndarray, axis: int) -> None:
        super().__init__()
        self.axis = axis
        self.register_buffer("index", torch.as_tensor(index, dtype=torch.long))

    def forward(self, x: Any) -> Any:
        if isinstance(x, Mapping):  # padded sequences
            return {**x, "x": self.forward(x["x"])}
        return x.index_select(self.axis, self.get_buffer("index"))


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
    sparse: float = 0.0,
) -> Shrunk:
    return shrink_with(posterior, rule, build, sparse=sparse, fraction=fraction, score=score, most_loss=most_loss)


shrink.__doc__ = PPL.shrink.__doc__


class Scale(nn.Module):
    """A factor and a shift of each channel of images (n, channel, height, width), or of each column of (n, p) and (n, T, p)."""

    def __init__(self, scale: torch.Tensor, shift: torch.Tensor, *, images: bool) -> None:
        super().__init__()
        self.scale, self.shift = nn.Parameter(scale), nn.Parameter(shift)
        self.shape = (-1, 1, 1) if images else (-1,)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.scale.reshape(self.shape) * x + self.shift.reshape(self.shape)


class Sparse(nn.Module):
    """x wᵀ + b with w (out, in) in compressed rows."""

    weight: torch.Tensor

    def __init__(self, dense: nn.Linear) -> None:
        super().__init__()
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Sparse CSR tensor support is in beta", UserWarning)
            self.register_buffer("weight", dense.weight.detach().to_sparse_csr())
        self.bias = dense.bias

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        rows = torch.addmm(self.bias[:, None], self.weight, x.reshape(-1, x.shape[-1]).T).T
        return rows if x.ndim == 2 else rows.reshape(*x.shape[:-1], -1)


class Sum(nn.Module):
    """shortcut(x) + branch(x)."""

    def __init__(self, branch: nn.Module, shortcut: nn.Module) -> None:
        super().__init__()
        self.branch, self.shortcut = branch, shortcut

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.shortcut(x) + self.branch(x)


class LastState(nn.Module):
    """An LSTM's state at the end of each sequence, (n, width) of (n, T, p), or of {"x": (n, T, p), "lengths": (n,)}."""

    def __init__(self, lstm: nn.LSTM) -> None:
        super().__init__()
        self.lstm = lstm

    def forward(self, x: Any) -> torch.Tensor:
        if not isinstance(x, Mapping):
            return self.lstm(x)[0][:, -1]
        lengths = torch.as_tensor(x["lengths"])
        states = nn.functional.pad(self.lstm(x["x"])[0], (0, 0, 1, 0))  # the state of an empty sequence is 0
        return states[torch.arange(len(states)), lengths]


def build(layers: Sequence[Layer], inputs: np.ndarray | None, sparse: float = 0.0) -> nn.Module:
    first, *rest = layers = of_images(layers)
    if not isinstance(first, Images):
        return nn.Sequential(*_steps(layers, 0, sparse, None if inputs is None else Select(inputs, -1))[0]).eval()
    order = [] if isinstance(first, ChannelsLast) else [Permute()]
    select = [] if inputs is None else [Select(inputs, 1)]
    return nn.Sequential(*order, *select, *_steps(rest, first.channels, sparse)[0]).eval()


def _steps(layers: Sequence[Layer], channels: int, sparse: float, select: nn.Module | None = None) -> tuple[list[nn.Module], int]:
    """The modules of images with that many ``channels`` (0: of none), and the channels behind them; ``select`` the inputs that are left."""
    steps: list[nn.Module] = []
    flattened = False
    for layer in layers:
        if select is not None and reads_channels(layer):
            steps.append(select)
            select = None
        if isinstance(layer, Affine):
            made = _affine(layer, channels if flattened else 0)
            steps.append(Sparse(made) if layer.is_sparse(sparse) else made)
            channels, flattened = layer.weight.shape[-1] if layer.is_convolution else 0, False
        elif isinstance(layer, Residual):
            shortcut, _ = _steps(layer.shortcut, channels, sparse)
            branch, channels = _steps(layer.branch, channels, sparse)
            steps.append(Sum(nn.Sequential(*branch), nn.Sequential(*shortcut)))
        elif isinstance(layer, Channelwise):
            steps.append(Scale(_tensor(layer.scale), _tensor(layer.shift), images=channels > 0))
        elif isinstance(layer, Lstm):
            steps.append(LastState(_lstm(layer)))
        elif isinstance(layer, Elementwise):
            steps.append(ACTIVATIONS[layer.name]())
        elif isinstance(layer, Pool) and layer.size is None:
            steps.append(nn.AdaptiveAvgPool2d(1))
        elif isinstance(layer, Pool):
            steps.append(nn.MaxPool2d(layer.size) if layer.how == "max" else nn.AvgPool2d(layer.size))
        elif isinstance(layer, Flatten):
            steps.append(nn.Flatten())
            flattened = channels > 0
    return steps, channels


build.__doc__ = PPL.build.__doc__


def _affine(layer: Affine, channels: int) -> nn.Module:
    """torch's layer; after images of so many ``channels`` were flattened, with its rows in torch's order."""
    weight, (fan_in, fan_out) = layer.weight, layer.weight.shape[-2:]
    made: Any
    if layer.is_convolution:
        kernel = (weight.shape[0], weight.shape[1])
        made = nn.utils.skip_init(nn.Conv2d, fan_in, fan_out, kernel, stride=layer.stride, padding=layer.padding)
        weight = weight.transpose(3, 2, 0, 1)
    else:
        made = nn.utils.skip_init(nn.Linear, fan_in, fan_out)
        weight = (weight[np.arange(fan_in).reshape(-1, channels).T.reshape(-1)] if channels else weight).T
    made.weight, made.bias = nn.Parameter(_tensor(weight)), nn.Parameter(_tensor(layer.bias))
    return made


def _lstm(layer: Lstm) -> nn.LSTM:
    fan_in, _, width = layer.weight.shape
    made = nn.LSTM(fan_in, width, batch_first=True, device="meta").to_empty(device="cpu")
    order = [0, 1, 3, 2]  # torch has i, f, g, o
    values = {"weight_ih_l0": layer.weight, "weight_hh_l0": layer.recurrent}
    flat = {name: weight[:, order].transpose(1, 2, 0).reshape(4 * width, -1) for name, weight in values.items()}
    flat |= {"bias_ih_l0": layer.bias[order].reshape(-1), "bias_hh_l0": np.zeros(4 * width)}
    with torch.no_grad():
        for name, value in flat.items():
            made.get_parameter(name).copy_(_tensor(value))
    return made


def _tensor(array: np.ndarray) -> torch.Tensor:
    return torch.as_tensor(np.ascontiguousarray(array), dtype=torch.get_default_dtype())
