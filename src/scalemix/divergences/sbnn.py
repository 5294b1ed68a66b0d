"""Spike-and-slab nets (sBNN): w ~ π N(0, τ₁²) if z = 1, (1 − π) N(0, τ₀²) if z = 0; q(w, z) = N(m, σ²) Bern(p).

The KL is that of q(w) q(z) to π(w, z), a looser bound than that of q(w) to the mixture π(w), by E_q KL(q(z) ‖ π(z | w)).
"""

from __future__ import annotations

from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scalemix.arrays import arrays, check_positives, check_probabilities
from scalemix.checks import check_positive_int
from scalemix.divergences.standard import bernoulli, normal

__all__ = ["collapsed_spike_slab", "inclusion", "minibatch_weights", "spike_slab"]


def spike_slab(mean: Any, scale: Any, inclusion_prob: Any, *, prior_inclusion: Any, slab_scale: Any, spike_scale: Any) -> Any:
    """KL(N(m, σ²) Bern(p) ‖ π(w, z)) = KL(p ‖ π) + p KL(N(m, σ²) ‖ N(0, τ₁²)) + (1 − p) KL(N(m, σ²) ‖ N(0, τ₀²)).

    It is R − ½ with the R of Saha, Liu and Liang (2024), eq. 3.7, whose ½ is a constant; with it left out ELBOs compare with those of
    other methods. Gradients are finite at p = 0 and p = 1.

    Args:
        mean, scale, inclusion_prob: m, σ and p, which broadcast, of NumPy, torch or JAX arrays.
        prior_inclusion: π, between 0 and 1.
        slab_scale, spike_scale: τ₁ > τ₀, standard deviations.

    Returns: elementwise.

    Raises: ValueError if numbers are given that are not 0 < π < 1 and 0 < spike_scale < slab_scale.
    """
    _check(prior_inclusion, slab_scale, spike_scale)
    _, mean, scale, p, prior, slab, spike = arrays(mean, scale, inclusion_prob, prior_inclusion, slab_scale, spike_scale)
    in_slab, in_spike = (normal(mean, scale, prior_scale=each) for each in (slab, spike))
    return bernoulli(p, prior_inclusion=prior) + p * in_slab + (1.0 - p) * in_spike


def inclusion(mean: Any, scale: Any, *, prior_inclusion: Any, slab_scale: Any, spike_scale: Any) -> Any:
    """p* = σ(logit π − log(τ₁/τ₀) + ½(m² + σ²)(τ₀⁻² − τ₁⁻²)): the p at which ``spike_slab`` is least.

    Saha, Liu and Liang (2024), proposition 3.2, eq. 3.8.

    A function of m² + σ² alone, and no calibrated inclusion probability: mean field makes it 0 or 1 where a posterior hesitates.

    Arguments, shapes and errors as in ``spike_slab``, without ``inclusion_prob``.
    """
    _check(prior_inclusion, slab_scale, spike_scale)
    xp, *values = arrays(mean, scale, prior_inclusion, slab_scale, spike_scale)
    log_slab, log_spike = _log_joints(xp, *values)
    return xp.sigmoid(log_slab - log_spike)


def collapsed_spike_slab(mean: Any, scale: Any, *, prior_inclusion: Any, slab_scale: Any, spike_scale: Any) -> Any:
    """min_p of ``spike_slab`` = −log[π N(r; 0, τ₁²) + (1 − π) N(r; 0, τ₀²)] − log σ − ½ log 2πe, at r = √(m² + σ²).

    Its gradient is that of ``spike_slab`` at p* held fixed (envelope theorem), so one optimizer trains m and σ and nothing gets stuck in p.

    Arguments, shapes and errors as in ``spike_slab``, without ``inclusion_prob``.

    Source: Saha, Liu and Liang (2024), proposition 3.2 put into eq. 3.7.
    """
    _check(prior_inclusion, slab_scale, spike_scale)
    xp, *values = arrays(mean, scale, prior_inclusion, slab_scale, spike_scale)
    return -xp.logaddexp(*_log_joints(xp, *values)) - xp.log(values[1]) - 0.5


def minibatch_weights(num_batches: int, *, method: str = "uniform") -> NDArray[Any]:
    """Share rᵢ of the KL that minibatch i = 1, ..., M carries; they sum to 1: Saha, Liu and Liang (2024), section 4.

        uniform    rᵢ = 1/M (eq. 4.2)
        geometric  rᵢ = 2^{M−i}/(2^M − 1) (eq. 4.3, whose printed denominator 2^{M−1} does not sum to 1)

    Raises: ValueError for an unknown method, or ``num_batches`` that is no positive whole number.
    """
    check_positive_int("num_batches", num_batches)
    if method not in ("uniform", "geometric"):
        raise ValueError(f"method={method!r}: give 'uniform' or 'geometric'")
    if method == "uniform":
        return np.full(num_batches, 1.0 / num_batches)
    return 0.5 ** np.arange(1, num_batches + 1) / (1.0 - 0.5**num_batches)


def _log_joints(xp: Any, mean: Any, scale: Any, prior: Any, slab: Any, spike: Any) -> tuple[Any, Any]:
    """log of π(z) N(r; 0, τ²) √(2π) for slab and spike, r² = m² + σ²."""
    second_moment = mean**2 + scale**2
    in_slab = xp.log(prior) - xp.log(slab) - 0.5 * second_moment / slab**2
    return in_slab, xp.log1p(-prior) - xp.log(spike) - 0.5 * second_moment / spike**2


def _check(prior_inclusion: Any, slab_scale: Any, spike_scale: Any) -> None:
    check_probabilities(prior_inclusion=prior_inclusion)
    check_positives(slab_scale=slab_scale, spike_scale=spike_scale)
    if isinstance(slab_scale, Real) and isinstance(spike_scale, Real) and float(spike_scale) >= float(slab_scale):
        raise ValueError(f"spike_scale={spike_scale} is not below slab_scale={slab_scale}: the spike is the narrow one, so exchange them")
