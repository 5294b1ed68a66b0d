"""A weight that is not drawn yet, inside a torch module: its layer draws pre-activations in its stead (local reparametrization)."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch.nn import functional

from scalemix.local_reparametrization import Unsampled

__all__ = ["LazyWeight"]

LAYERS = (functional.linear, torch.conv1d, torch.conv2d, torch.conv3d)
TOLD = ("shape", "dtype", "device", "layout", "ndim", "requires_grad", "is_leaf", "is_cuda", "is_sparse", "is_quantized", "is_meta")
METADATA = frozenset(
    {*(getattr(torch.Tensor, name).__get__ for name in TOLD), torch.Tensor.size, torch.Tensor.dim, torch.Tensor.is_floating_point}
)


class LazyWeight(torch.Tensor):
    """An ``Unsampled`` weight as the tensor that ``torch.func.functional_call`` asks for.

    ``nn.Linear`` and the convolutions give each row noise of its own, with mean and variance those of a drawn weight; everything else (a
    recurrent layer, attention, arithmetic) sees one draw. A layer that is called twice gets noise of its own at each call.
    """

    unsampled: Unsampled

    @classmethod
    def of(cls, weight: Unsampled) -> LazyWeight:
        """The ``weight`` as a tensor."""
        made = weight.loc.as_subclass(cls)
        made.unsampled = weight
        return made

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        kwargs = kwargs or {}
        if func in METADATA:  # those of the mean
            with torch._C.DisableTorchFunctionSubclass():
                return func(*args, **kwargs)
        if func in LAYERS and len(args) > 1 and isinstance(args[1], cls) and not isinstance(args[0], cls):
            h, weight, bias, rest = args[0], args[1].unsampled, (args[2:] or (kwargs.get("bias"),))[0], args[3:]
            options = {name: value for name, value in kwargs.items() if name != "bias"}
            out = weight.through(partial(_without_bias, func, rest, options), h)
            if bias is None:
                return out
            bias = _drawn(bias)
            return out + (bias if func is functional.linear else bias.reshape(-1, *(1,) * (weight.ndim - 2)))
        return func(*_drawn(args), **_drawn(kwargs))


def _without_bias(func: Any, rest: tuple, options: dict[str, Any], h: Any, w: Any) -> Any:
    return func(h, w, None, *rest, **options)


def _drawn(value: Any) -> Any:
    if isinstance(value, LazyWeight):
        return value.unsampled.drawn()
    if isinstance(value, tuple | list):
        return type(value)(_drawn(each) for each in value)
    return {name: _drawn(each) for name, each in value.items()} if isinstance(value, dict) else value
