"""The pieces of Monte Carlo dropout's objective, a bound of marginal MAP, and of concrete dropout's.

    log p(W | D) ≥ E_ξ log p(y | X, W, Ξ) − Σ w²/(2σ₀²) + constant        (Nalisnick and Smyth, 2018, eq. 9-11)

The first term is what dropout training estimates; for a linear model with Gaussian noise it has a closed form.
"""

from __future__ import annotations

import math
from typing import Any

from scalemix.arrays import arrays, check_positives, xlogx

__all__ = ["concrete_dropout", "expected_squared_error", "ridge"]


def ridge(weight: Any, *, base_scale: float = math.inf) -> Any:
    """w²/(2σ₀²), which is −log N(w; 0, σ₀²) less its constant: weight decay λ = 1/(2σ₀²) on the SUMMED loss; 0 for σ₀ = ∞.

    Nalisnick and Smyth (2018), eq. 10 and 11.

    Args:
        weight: of any shape.
        base_scale: σ₀. Infinite is dropout without weight decay, an improper prior that only training can use.

    Returns: elementwise.

    Raises: ValueError if σ₀ is not positive.
    """
    if base_scale != math.inf:
        check_positives(base_scale=base_scale)
    _, weight = arrays(weight)
    return 0.5 * (weight / base_scale) ** 2


def expected_squared_error(x: Any, y: Any, weight: Any, *, noise_mean: Any = 1.0, noise_scale: Any) -> Any:
    """½ E‖y − X(ξ∘w)‖² = ½‖y − X(E[ξ]∘w)‖² + ½ Σⱼ Var[ξⱼ] ‖xⱼ‖² wⱼ², for noises ξⱼ that are independent, of any law.

    One ξ for the data or a fresh one for each example: this expectation is the same. Divided by the observation noise's variance it is the
    negative of the bound's first term, less a constant. Inverted Bernoulli gates kept with probability k have mean 1 and variance
    (1 − k)/k, Gaussian dropout 1 and α. Of Bernoulli gates it is in Srivastava et al. (2014), section 9.1.

    Args:
        x: (n, d) inputs.
        y: (n,) targets.
        weight: (d,) w.
        noise_mean, noise_scale: mean and standard deviation of ξ, numbers or (d,).

    Returns: a scalar.
    """
    xp, x, y, weight, mean, scale = arrays(x, y, weight, noise_mean, noise_scale)
    residual = y - x @ (mean * weight)
    return 0.5 * xp.sum(residual**2, axis=-1) + 0.5 * xp.sum(scale**2 * weight**2 * xp.sum(x**2, axis=-2), axis=-1)


def concrete_dropout(
    sum_of_squares: Any, dropout_rate: Any, *, length_scale: float, num_inputs: int, num_data: int = 1, inverted: bool = False
) -> Any:
    """[ℓ²(1 − p)‖M‖²/2 − K H(p)]/N, H(p) = −p log p − (1 − p) log(1 − p): concrete dropout's penalty for one layer.

    The KL from a spike and slab over the rows of M to its prior, up to constants and for many outputs (Gal, Hron and Kendall, 2017,
    eq. 3 and 4). Its gradients are finite at p = 0 and p = 1.

    Args:
        sum_of_squares: ‖M‖² over the layer's weights, a scalar.
        dropout_rate: p, the probability that an input is dropped.
        length_scale: ℓ of the prior.
        num_inputs: K, how many inputs have a gate.
        num_data: N puts it on the scale of the mean loss of a case; 1 on that of the summed loss.
        inverted: the layer divides its kept inputs by 1 − p, so that M is the stored weight over 1 − p. False: M is the stored weight.

    Returns: a scalar.

    Raises: ValueError if ℓ, K or N is not positive.
    """
    check_positives(length_scale=length_scale, num_inputs=num_inputs, num_data=num_data)
    xp, squares, rate = arrays(sum_of_squares, dropout_rate)
    kept = 1.0 - rate
    entropy = -xlogx(xp, rate) - xlogx(xp, kept)
    squares = squares / kept if inverted else squares * kept
    return (0.5 * length_scale**2 * squares - num_inputs * entropy) / num_data
