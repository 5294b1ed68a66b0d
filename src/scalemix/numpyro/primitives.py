"""What models use: NumPyro's primitives under the names both languages share. Contracts: ``scalemix.language.PPL``."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import reduce
from typing import Any

import jax
import jax.numpy as jnp
import numpyro
from numpyro import factor, handlers, param, plate, sample
from numpyro.infer.util import log_density as numpyro_log_density

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

array = jnp.asarray
broadcast_to = jnp.broadcast_to
clip = jnp.clip
sqrt = jnp.sqrt
maximum = jnp.maximum
where = jnp.where
exp = jnp.exp
relu = jax.nn.relu
tanh = jnp.tanh
sigmoid = jax.nn.sigmoid


def full(shape: tuple[int, ...], value: float, like: Any = None) -> Any:
    return jnp.full(shape, value, dtype=None if like is None else like.dtype)


def _ppl() -> Any:
    return sys.modules["scalemix.numpyro"]


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
        sides = ((padding, padding), (padding, padding))
        return jax.lax.conv_general_dilated(x, w, (stride, stride), sides, dimension_numbers=("NHWC", "HWIO", "NHWC"))

    return layers.conv2d(convolve, jax.vmap, x, w, b)


def pool2d(x: Any, size: int = 2, *, how: str = "max") -> Any:
    layers.check_pooling(how)
    height, width = (length // size * size for length in x.shape[-3:-1])
    patches = [x[..., i:height:size, j:width:size, :] for i in range(size) for j in range(size)]
    return reduce({"max": jnp.maximum, "mean": jnp.add}[how], patches) / (1 if how == "max" else size**2)


def scan(step: Callable[[Any, Any], tuple[Any, Any]], init: Any, xs: Any) -> tuple[Any, Any]:
    return jax.lax.scan(step, init, xs)


def distribution(prior: ScaleMixture, shape: int | Sequence[int], *, axes: Sequence[str] | None = None) -> Any:
    return lower.distribution(_ppl(), prior, shape, axes=axes)


def deterministic(name: str, value: Any, event_dim: int | None = None) -> Any:
    return numpyro.deterministic(name, value)


@contextmanager
def data_plate(data: Any, name: str = "data") -> Iterator[None]:
    size = data.shape[0]
    num_data = num_data_scope.get() or size
    with plate(name, size), handlers.scale(scale=num_data / size):
        yield


def log_density(model: Model, values: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
    latents: set[str] = set()

    def given(site: dict) -> Any:
        if site["type"] != "sample" or site["is_observed"]:
            return None
        latents.add(site["name"])
        return values.get(site["name"])

    substituted = handlers.substitute(handlers.seed(model, 0), substitute_fn=given)
    log_joint, trace = numpyro_log_density(substituted, (_ppl(), *args), kwargs, {})
    lower.check_values(values, latents, set(trace))
    return log_joint


for _function in (weight, dense, convolution, conv2d, pool2d, scan, distribution, deterministic, data_plate, log_density, full):
    _function.__doc__ = getattr(PPL, _function.__name__).__doc__
