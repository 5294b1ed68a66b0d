"""NumPy data as tensors in the dtype and on the device in force."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

__all__ = ["tensors"]


def tensors(data: Any) -> Any:
    """Arrays in tuples and dicts as tensors; floating ones get torch's default dtype."""
    if data is None:
        return None
    if isinstance(data, tuple):
        return tuple(tensors(each) for each in data)
    if isinstance(data, dict):
        return {name: tensors(each) for name, each in data.items()}
    array = np.array(data)  # a copy: torch refuses read-only memory
    floating = np.issubdtype(array.dtype, np.floating)
    return torch.as_tensor(array, dtype=torch.get_default_dtype() if floating else None, device=torch.get_default_device())
