"""Hard-concrete gates of L₀ regularization: z = min(1, max(0, s)), s = σ(ℓ)(ζ − γ) + γ, ℓ ~ Logistic(log a / T, 1 / T).

Louizos, Welling and Kingma (2018). The law itself is ``noise.HardConcrete``; what is here is differentiable in log a.
"""

from __future__ import annotations

import math
from typing import Any

from scalemix.arrays import arrays, check_positives, clip
from scalemix.checks import check_number

__all__ = ["hard_concrete", "hard_concrete_gate"]


def hard_concrete(log_alpha: Any, *, temperature: float = 2.0 / 3.0, low: float = -0.1, high: float = 1.1) -> Any:
    """P(z ≠ 0) = σ(log a − T log(−γ/ζ)), the expected L₀ norm of a gate: a penalty, to be weighted and summed over gates.

    Louizos, Welling and Kingma (2018), eq. 12.

    Args:
        log_alpha: log a of any shape; no noise-to-signal ratio, in spite of its name in the paper.
        temperature, low, high: T, γ < 0 and ζ > 1.

    Returns: elementwise.

    Raises: ValueError unless T > 0, γ < 0 and ζ > 1.
    """
    _check(temperature, low, high)
    xp, location = arrays(log_alpha)
    return xp.sigmoid(location - temperature * math.log(-low / high))


def hard_concrete_gate(log_alpha: Any, *, low: float = -0.1, high: float = 1.1) -> Any:
    """The gate used at test time, min(1, max(0, σ(log a)(ζ − γ) + γ)): Louizos, Welling and Kingma (2018), eq. 13.

    Arguments and errors as in ``hard_concrete``, without ``temperature``.
    """
    _check(1.0, low, high)
    xp, location = arrays(log_alpha)
    return clip(xp, xp.sigmoid(location) * (high - low) + low, 0.0, 1.0)


def _check(temperature: float, low: float, high: float) -> None:
    check_positives(temperature=temperature)
    if not (check_number("low", low) < 0.0 and check_number("high", high) > 1.0):
        raise ValueError(f"low={low}, high={high} never reach 0 and 1: give low < 0 and high > 1")
