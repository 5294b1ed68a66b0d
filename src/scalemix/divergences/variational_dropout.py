"""Variational dropout: q(w) = N(θ, α θ²) against the improper log-uniform prior p(w) ∝ 1/|w| (Liu et al., 2019, eq. 7 and 8)."""

from __future__ import annotations

from typing import Any

from scalemix.arrays import arrays, clip
from scalemix.divergences.dawson import EDGE, dawson_integral

__all__ = ["log_alpha", "log_uniform"]

METHODS = ("exact", "molchanov", "code2017", "kingma")


def log_alpha(mean: Any, scale: Any) -> Any:
    """log α = log σ² − log θ², the log of noise to signal, held within ±12.

    At θ = 0 it is 12. Where it is held its gradient is 0, so all gradients are finite.

    Args:
        mean, scale: θ and σ ≥ 0, which broadcast, of NumPy, torch or JAX arrays.

    Returns: elementwise. A weight is dropped where it is above 3, which is a dropout rate of α/(1 + α) = .953 (Molchanov et al., 2017).
    """
    xp, mean, scale = arrays(mean, scale)
    size = xp.abs(mean)
    kept = (size > 0.0) & (scale > 0.0)
    ratio = 2.0 * (xp.log(xp.where(kept, scale, 1.0)) - xp.log(xp.where(kept, size, 1.0)))
    return clip(xp, xp.where(kept, ratio, xp.where(size > 0.0, -EDGE, EDGE + 0.0 * ratio)), -EDGE, EDGE)


def log_uniform(log_alpha: Any, method: str = "exact") -> Any:
    """KL(N(θ, α θ²) ‖ 1/|w|) less its limit as α → ∞, which is the constant that an improper prior leaves open. It is free of θ.

        exact      2 ∫₀^√u D(t) dt = u ₂F₂(1, 1; 3/2, 2; −u), u = 1/(2α), D Dawson's function; gradient −√u D(√u)
        molchanov  k₁[1 − σ(k₂ + k₃ log α)] + ½ log(1 + 1/α), k = (.63576, 1.87320, 1.48695): off by up to .0094
        code2017   the same with k = (.64, 1.95, 1.5), as the code of that paper has it: off by up to .013
        kingma     −½ log α − c₁α − c₂α² − c₃α³ + .649 for α ≤ 1, held there beyond: off by up to .027 where α ≤ 1

    As α → 0 it is −½ log α + (γ + log 2)/2.

    Args:
        log_alpha: log α of any shape, held within ±12 (``log_alpha(mean, scale)``).
        method: as above.

    Returns: elementwise. Not a KL that can be compared between priors: the constant is infinite.

    Raises: ValueError for an unknown method.

    Source: Kingma, Salimans and Welling (2015), appendix C; Molchanov, Ashukha and Vetrov (2017), eq. 14; the exact form of the integral
    follows from E log|1 + √α ε|.
    """
    if method not in METHODS:
        raise ValueError(f"method={method!r}: give one of {', '.join(map(repr, METHODS))}")
    xp, x = arrays(log_alpha)
    x = clip(xp, x, -EDGE, EDGE)
    if method == "exact":
        return dawson_integral(xp, x)
    if method == "kingma":
        x = clip(xp, x, -EDGE, 0.0)
        alpha = xp.exp(x)
        return 0.649 - 0.5 * x - alpha * (1.16145124 + alpha * (-1.50204118 + alpha * 0.58629921))
    k1, k2, k3 = (0.63576, 1.87320, 1.48695) if method == "molchanov" else (0.64, 1.95, 1.5)
    return k1 * xp.sigmoid(-(k2 + k3 * x)) + 0.5 * xp.softplus(-x)
