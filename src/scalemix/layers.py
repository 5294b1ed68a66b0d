"""Layer functions that both languages share: written on the array methods that torch and JAX have in common."""

from __future__ import annotations

from typing import Any

__all__ = ["add_bias", "linear"]


def linear(h: Any, w: Any, b: Any | None = None) -> Any:
    """h w + b with h (*, n, in), w (*, in, out), b (*, out); draws in front of w and b (vectorized prediction) are carried.

    Under a plate of draws outside the plate of the n rows, a weight has size 1 where the rows are, (draws, 1, in, out), and so has b.
    """
    if w.ndim > 3 and w.shape[-3] == 1:
        w = w.squeeze(-3)
    elif b is not None and w.ndim > 2 and b.ndim == w.ndim - 1:
        b = b[..., None, :]
    out = h @ w
    return out if b is None else out + b


def add_bias(h: Any, b: Any) -> Any:
    """h + b with h (*, n, out), b (out,), or one b per draw, (*, out) or (*, 1, out)."""
    return h + (b[..., None, :] if 1 < b.ndim == h.ndim - 1 else b)
