"""A model's data: arrays in tuples and dicts, whose first axis is the case."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

__all__ = ["first_array", "leaves", "mapped", "plain_data"]


def plain_data(data: Any) -> Any:
    """Data as NumPy arrays: tuples and dicts are walked, data frames and anything array-like become arrays, ``None`` stays."""
    if data is None:
        return None
    if isinstance(data, tuple | list) and not (data and np.isscalar(data[0])):
        return tuple(plain_data(each) for each in data)
    if isinstance(data, dict):
        return {name: plain_data(each) for name, each in data.items()}
    return np.asarray(data)


def mapped(function: Callable[[Any], Any], data: Any) -> Any:
    """``function`` of each array in tuples and dicts; ``None`` stays."""
    if data is None:
        return None
    if isinstance(data, tuple):
        return tuple(mapped(function, each) for each in data)
    if isinstance(data, dict):
        return {name: mapped(function, each) for name, each in data.items()}
    return function(data)


def leaves(data: Any) -> list[Any]:
    """The arrays in tuples and dicts, in order."""
    found: list[Any] = []
    mapped(found.append, data)
    return found


def first_array(data: Any) -> Any:
    """The first array in ``data`` that has rows, of any language; ``None`` where there is none."""
    return next((leaf for leaf in leaves(data) if getattr(leaf, "ndim", 0) > 0), None)
