"""torch's array functions, under the names with which formulas are written."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import torch
from torch.nn import functional

from scalemix.arrays import register

__all__ = ["array_functions"]


def _where(condition: torch.Tensor, x: Any, y: Any) -> torch.Tensor:
    """A number takes the dtype of the array beside it."""
    like = x if isinstance(x, torch.Tensor) else y
    return torch.where(condition, *(each if isinstance(each, torch.Tensor) else like.new_tensor(each) for each in (x, y)))


def _asarray(value: Any, like: torch.Tensor | None) -> torch.Tensor:
    if like is None:
        return torch.as_tensor(value, dtype=torch.get_default_dtype())
    return torch.as_tensor(value, dtype=like.dtype, device=like.device)


def _take(tables: torch.Tensor, index: torch.Tensor) -> list[torch.Tensor]:
    """By ``index_select`` from contiguous rows, which is several times faster than ``tables[:, index]`` and lets ``torch.func.vmap`` in."""
    flat = index.long().reshape(-1)
    return [table.index_select(0, flat).reshape(index.shape) for table in tables]


array_functions = SimpleNamespace(
    abs=torch.abs,
    argsort=lambda x: torch.argsort(x, dim=-1, stable=True),
    asarray=_asarray,
    clip=torch.clip,
    concatenate=torch.cat,
    erfc=torch.erfc,
    exp=torch.exp,
    floor=torch.floor,
    lgamma=torch.lgamma,
    log=torch.log,
    log1p=torch.log1p,
    logaddexp=torch.logaddexp,
    logsumexp=lambda x: torch.logsumexp(x, dim=-1, keepdim=True),
    sigmoid=torch.sigmoid,
    softplus=lambda x: functional.softplus(x, threshold=40.0),  # e⁻⁴⁰ is below the rounding of 40, and e⁴⁰ fits in a float32
    sqrt=torch.sqrt,
    stop_gradient=lambda x: x.detach(),
    sum=lambda x, axis, keepdims=False: torch.sum(x, dim=axis, keepdim=keepdims),
    take=_take,
    where=_where,
)
register(array_functions, "torch")
