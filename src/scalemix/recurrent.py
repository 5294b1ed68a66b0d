"""The recursion of a long short-term memory, written once for both languages."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from scalemix.layers import add_bias

if TYPE_CHECKING:
    from scalemix.language import PPL

__all__ = ["last_state"]


def last_state(ppl: PPL, x: Any, inputs: Callable[[Any], Any], u: Any, b: Any, width: int, lengths: Any | None = None) -> Any:
    """h_T (n, width), where with the gates a = inputs(x_t) + h_{t−1} u + b, i, f, o = sigmoid(a_i, a_f, a_o) and g = tanh(a_g)

        c_t = f c_{t−1} + i g,   h_t = o tanh(c_t)

    Args:
        ppl: ``scalemix.pyro`` or ``scalemix.numpyro``.
        x: sequences (n, T, p).
        inputs: x_t w (n, 4 width) of x_t (n, p), the gates in the order i, f, o, g.
        u, b: (*, width, 4 width) and (*, 4 width).
        width: hidden units.
        lengths: (n,), beyond which a step carries the state on; ``None`` for T.

    Source: Hochreiter and Schmidhuber (1997), with the forget gate of Gers, Schmidhuber and Cummins (2000).
    """

    def step(state: tuple[Any, Any], now: tuple[Any, Any]) -> tuple[tuple[Any, Any], None]:
        (h, c), (x, active) = state, now
        a = add_bias(inputs(x) + ppl.linear(h, u), b)
        a_i, a_f, a_o, a_g = (a[..., gate * width : (gate + 1) * width] for gate in range(4))
        c_next = ppl.sigmoid(a_f) * c + ppl.sigmoid(a_i) * ppl.tanh(a_g)
        h_next = ppl.sigmoid(a_o) * ppl.tanh(c_next)
        return (ppl.where(active, h_next, h), ppl.where(active, c_next, c)), None

    first = inputs(x[:, 0])
    zero = ppl.full((*first.shape[:-1], width), 0.0, first)
    return ppl.scan(step, (zero, zero), (x.swapaxes(0, 1), _active(ppl, x, lengths)))[0][0]


def _active(ppl: PPL, x: Any, lengths: Any | None) -> Any:
    """Whether step t is within the sequence, (T, n, 1)."""
    steps = ppl.array(np.arange(x.shape[1]))[:, None]
    active = steps < (x.shape[1] + 0 * steps if lengths is None else lengths)
    return active[..., None]
