"""Layer functions that both languages share: written on the array methods that torch and JAX have in common."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from scalemix.language import PPL

__all__ = ["ACTIVATIONS", "activation_named", "add_bias", "linear"]

ACTIVATIONS = ("tanh", "relu", "sigmoid")


def activation_named(ppl: PPL, name: str) -> Callable[[Any], Any]:
    """The elementwise function of that name in the language.

    Raises: ValueError if there is none.
    """
    if name not in ACTIVATIONS:
        raise ValueError(f"unknown activation {name!r}: give 'tanh', 'relu' or 'sigmoid'")
    return getattr(ppl, name)


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


def add_bias(h: Any, b: Any, scale: Any = None) -> Any:
    """h + scale · b with h (*, n, out), b (out,), or one b per draw, (*, out) or (*, 1, out); scale a scalar or (*, 1, 1)."""
    b = b[..., None, :] if 1 < b.ndim == h.ndim - 1 else b
    return h + (b if scale is None else scale * b)
