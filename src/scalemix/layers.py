"""Layer functions that both languages share: written on the array methods that torch and JAX have in common."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from scalemix.local_reparametrization import Unsampled

if TYPE_CHECKING:
    from scalemix.language import PPL

__all__ = ["ACTIVATIONS", "activation_named", "add_bias", "check_pooling", "conv2d", "linear", "of_whole_image"]

ACTIVATIONS = ("tanh", "relu", "sigmoid")


def activation_named(ppl: PPL, name: str) -> Callable[[Any], Any]:
    """The elementwise function of that name in the language.

    Raises: ValueError if there is none.
    """
    if name not in ACTIVATIONS:
        raise ValueError(f"unknown activation {name!r}: give 'tanh', 'relu' or 'sigmoid'")
    return getattr(ppl, name)


def check_pooling(how: str) -> None:
    """Raises: ValueError if there is no pooling of that name."""
    if how not in ("max", "mean"):
        raise ValueError(f"unknown pooling {how!r}: give 'max' or 'mean'")


def linear(h: Any, w: Any, b: Any | None = None) -> Any:
    """h w + b with h ``(*, n, in)``, w ``(*, in, out)``, b ``(*, out)``; draws in front of w and b (as in prediction) are carried."""
    if isinstance(w, Unsampled):
        out = w.through(linear, h)
        return out if b is None else out + b
    # Under a plate of draws outside the plate of the n rows, a weight has size 1 where the rows are, (draws, 1, in, out), and so has b.
    if w.ndim > 3 and w.shape[-3] == 1:
        w = w.squeeze(-3)
    elif b is not None and w.ndim > 2 and b.ndim == w.ndim - 1:
        b = b[..., None, :]
    out = h @ w
    return out if b is None else out + b


def add_bias(h: Any, b: Any, scale: Any = None, *, pixel_axes: int = 0) -> Any:
    """h + scale · b with h (*, n, out), b (out,), or one b per draw, (*, out) or (*, 1, out); scale a scalar or (*, 1, 1).

    With ``pixel_axes=2`` h is (*, n, height, width, out).
    """
    b = b[..., None, :] if 1 < b.ndim == h.ndim - pixel_axes - 1 else b
    b = b[(..., *(None,) * pixel_axes, slice(None))] if b.ndim > 1 else b
    return h + (b if scale is None else scale * b)


def of_whole_image(x: Any, w: Any) -> Any:
    """The convolution of x (n, height, width, in) by a kernel w as large as it: one matrix product, (n, 1, 1, out)."""
    return (x.reshape((x.shape[0], -1)) @ w.reshape((-1, w.shape[-1])))[:, None, None]


def conv2d(convolve: Callable[[Any, Any], Any], vmap: Callable[..., Any], x: Any, w: Any, b: Any | None) -> Any:
    """``PPL.conv2d`` on ``convolve``, the language's convolution of x (n, height, width, in) by w (height, width, in, out).

    Draws in front of w, (draws, 1, height, width, in, out) under a plate or (draws, height, width, in, out), go through ``vmap``.
    """
    if w.ndim < 4 or x.ndim < 4 or x.shape[-1] != w.shape[-2]:
        raise ValueError(
            f"conv2d has x of shape {tuple(x.shape)} and w of shape {tuple(w.shape)}: give x (n, height, width, channel) and "
            "w (height, width, in, out) with as many channels in"
        )
    if isinstance(w, Unsampled):
        out = w.through(lambda x, w: conv2d(convolve, vmap, x, w, None), x)
        return out if b is None else add_bias(out, b, pixel_axes=2)
    if w.ndim > 5 and w.shape[-5] == 1:
        w = w.squeeze(-5)
    draws = tuple(w.shape[:-4])
    if not draws:
        rows = tuple(x.shape[:-3])
        out = convolve(x.reshape((-1, *x.shape[-3:])) if len(rows) > 1 else x, w)
        out = out.reshape((*rows, *out.shape[-3:])) if len(rows) > 1 else out
    else:
        batched = x.ndim > 4
        flat = x.reshape((-1, *x.shape[-4:])) if batched else x
        out = vmap(convolve, (0 if batched else None, 0))(flat, w.reshape((-1, *w.shape[-4:])))
        out = out.reshape((*draws, *out.shape[1:]))
    return out if b is None else add_bias(out, b, pixel_axes=2)
