"""What models use: Pyro's primitives under the names both languages share. Contracts: ``scalemix.language.PPL``."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from pyro import deterministic, factor, param, plate, poutine, sample
from pyro.poutine.messenger import Messenger

from scalemix import dense as dense_layer
from scalemix import layers, lower
from scalemix.language import PPL, Model
from scalemix.layers import linear
from scalemix.minibatch import num_data_scope
from scalemix.plan import Parametrization
from scalemix.priors import ScaleMixture

__all__ = [
    "array",
    "broadcast_to",
    "clip",
    "conv2d",
    "convolution",
    "data_plate",
    "dense",
    "deterministic",
    "distribution",
    "exp",
    "factor",
    "full",
    "linear",
    "log_density",
    "maximum",
    "param",
    "plate",
    "pool2d",
    "relu",
    "sample",
    "scan",
    "sigmoid",
    "sqrt",
    "tanh",
    "weight",
    "where",
]

array = torch.as_tensor
broadcast_to = torch.broadcast_to
clip = torch.clip
sqrt = torch.sqrt
maximum = torch.maximum
where = torch.where
exp = torch.exp
relu = torch.relu
tanh = torch.tanh
sigmoid = torch.sigmoid


def full(shape: tuple[int, ...], value: float, like: Any = None) -> Any:
    return torch.full(shape, value) if like is None else like.new_full(shape, value)


def _ppl() -> Any:
    return sys.modules["scalemix.pyro"]


def weight(
    name: str,
    shape: int | Sequence[int],
    prior: ScaleMixture,
    *,
    axes: Sequence[str] | None = None,
    parametrization: Parametrization = None,
    scale: Any = None,
    like: Any = None,
) -> Any:
    return lower.weight(_ppl(), name, shape, prior, axes=axes, parametrization=parametrization, scale=scale, like=like)


def dense(
    name: str,
    h: Any,
    num_outputs: int,
    prior: ScaleMixture,
    *,
    parametrization: Parametrization = None,
    scale: Any = None,
    noise_on: str = "weight",
    noise_plate: str = "global",
) -> Any:
    options = {"parametrization": parametrization, "scale": scale, "noise_on": noise_on, "noise_plate": noise_plate}
    return dense_layer.dense(_ppl(), name, h, num_outputs, prior, **options)


def convolution(
    name: str,
    x: Any,
    num_outputs: int,
    prior: ScaleMixture,
    *,
    kernel: int | tuple[int, int],
    stride: int = 1,
    padding: int = 0,
    parametrization: Parametrization = None,
    scale: Any = None,
    noise_on: str = "weight",
    noise_plate: str = "global",
) -> Any:
    options = {"parametrization": parametrization, "scale": scale, "noise_on": noise_on, "noise_plate": noise_plate}
    return dense_layer.convolution(_ppl(), name, x, num_outputs, prior, kernel=kernel, stride=stride, padding=padding, **options)


def conv2d(x: Any, w: Any, b: Any | None = None, *, stride: int = 1, padding: int = 0) -> Any:
    def convolve(x: Any, w: Any) -> Any:
        if padding == 0 and w.shape[:2] == x.shape[1:3]:
            return layers.of_whole_image(x, w)  # an eighth of the time
        filters = w.permute(3, 2, 0, 1).contiguous()  # of one output, torch finds no gradient in float64 otherwise
        out = torch.nn.functional.conv2d(x.permute(0, 3, 1, 2), filters, stride=stride, padding=padding)
        return out.permute(0, 2, 3, 1)

    return layers.conv2d(convolve, torch.func.vmap, x, w, b)


def pool2d(x: Any, size: int = 2, *, how: str = "max") -> Any:
    layers.check_pooling(how)
    pool = {"max": torch.nn.functional.max_pool2d, "mean": torch.nn.functional.avg_pool2d}[how]
    out = pool(x.reshape((-1, *x.shape[-3:])).permute(0, 3, 1, 2), size).permute(0, 2, 3, 1)
    return out.reshape((*x.shape[:-3], *out.shape[1:]))


def scan(step: Callable[[Any, Any], tuple[Any, Any]], init: Any, xs: Any) -> tuple[Any, Any]:
    columns = xs if isinstance(xs, tuple) else (xs,)
    if not columns or len({len(column) for column in columns}) > 1:
        raise ValueError(f"scan got xs of the lengths {[len(column) for column in columns]}: give arrays that all have one first axis")
    length, carry, outs = len(columns[0]), init, []
    steps = columns if length else tuple(column.new_zeros((1, *column.shape[1:])) for column in columns)  # one, to see what it gives
    for x in zip(*steps, strict=True):
        carry, out = step(carry, x if isinstance(xs, tuple) else x[0])
        outs.append(out if isinstance(out, tuple) else (out,))
    stacked = tuple(None if each[0] is None else torch.stack(each)[:length] for each in zip(*outs, strict=True))
    return carry if length else init, stacked if isinstance(out, tuple) else stacked[0]


def distribution(prior: ScaleMixture, shape: int | Sequence[int], *, axes: Sequence[str] | None = None) -> Any:
    return lower.distribution(_ppl(), prior, shape, axes=axes)


@contextmanager
def data_plate(data: Any, name: str = "data") -> Iterator[None]:
    size = data.shape[0]
    num_data = num_data_scope.get() or size
    with plate(name, size), poutine.scale(scale=num_data / size):
        yield


class Given(Messenger):
    """Put given values at the latent sites of a model, and note which latent sites it has."""

    def __init__(self, values: dict[str, Any]) -> None:
        super().__init__()
        self.values = values
        self.latents: set[str] = set()

    def _pyro_sample(self, msg: Any) -> None:
        if not msg["is_observed"] and not poutine.util.site_is_subsample(msg):
            self.latents.add(msg["name"])
            if msg["name"] in self.values:
                msg["value"] = self.values[msg["name"]]
                msg["is_observed"] = True


def log_density(model: Model, values: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
    with Given(values) as given:
        trace = poutine.trace(model).get_trace(_ppl(), *args, **kwargs)
    lower.check_values(values, given.latents, set(trace.nodes))
    return trace.log_prob_sum()


for _function in (weight, dense, convolution, conv2d, pool2d, scan, distribution, data_plate, log_density, full):
    _function.__doc__ = getattr(PPL, _function.__name__).__doc__
