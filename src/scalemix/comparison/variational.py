"""What a variational fit says of itself: has the ELBO settled and where, how far is the guide from the posterior, what does it predict.

All of it uses only what the fit kept: the loss of each step, and log p(θ, y), log q(θ) and log p(yᵢ | θ) at draws of the guide.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from scalemix.comparison.blocks import blocks_of
from scalemix.comparison.loo import Loo, leave_one_out, log_likelihood_matrix
from scalemix.comparison.psis import khat_threshold, psis

if TYPE_CHECKING:
    from scalemix.posterior import Posterior

__all__ = ["ElboTrend", "block_khats", "elbo", "elbo_trend", "functional_khat", "guide_khat", "guide_log_ratios", "guide_loo"]

NUM_BATCHES = 20
MIN_BATCHES = 5


@dataclass(frozen=True, kw_only=True)
class ElboTrend:
    """The last stretch of an optimization.

    Attributes:
        movement: linear trend of the ELBO (of −loss) over the window, last minus first, nats (up is better); nan if it cannot be told.
        standard_error: Monte Carlo standard error of ``movement``, nats.
        window: number of losses looked at.
        converged: whether the ELBO stands still.
        reason: the judgment in words.
    """

    movement: float
    standard_error: float
    window: int
    converged: bool
    reason: str


def elbo_trend(
    losses: np.ndarray,
    *,
    fraction: float = 0.1,
    min_movement: float = 0.1,
    num_errors: float = 4.0,
    quantity: str = "ELBO",
    unit: str = "step",
) -> ElboTrend:
    """Does the ELBO still move over the last ``fraction`` of the steps? By more than ``min_movement`` nats and ``num_errors`` errors: yes.

    The window is cut into 20 batches and a line fitted to the batch means by least squares; ``movement`` is its slope times the window.
    The standard error is that of the slope, from the scatter of the batch means about the line (18 degrees of freedom). Averaging in
    batches keeps it right for losses that are correlated over fewer steps than a batch is long, where step-by-step residuals would make it
    too small.

    Args:
        losses: (steps,) negative ELBO of each step (or its mean over each epoch), nats, noisy.
        fraction: of the steps, at their end, is looked at.
        min_movement: in nats; less is standing still.
        num_errors: standard errors of the movement; less is noise.
        quantity: what the reason calls what moves: "ELBO", or "loss" where a guide is a point or the divergence is no KL.
        unit: what it calls that which has a loss: "step" or "epoch".
    """
    elbo = -np.asarray(losses, dtype=float).reshape(-1)
    window = max(math.ceil(elbo.size * fraction), 1) if elbo.size else 0
    num_batches = min(NUM_BATCHES, window // 2)
    nan = math.nan
    if num_batches < MIN_BATCHES:
        steps = math.ceil(2 * MIN_BATCHES / fraction)
        reason = f"{elbo.size} {unit}s are too few to judge the {quantity}: run at least num_{unit}s={steps}"
        return ElboTrend(movement=nan, standard_error=nan, window=window, converged=False, reason=reason)
    length = window // num_batches
    window = length * num_batches
    if not np.isfinite(elbo[-window:]).all():
        reason = f"the {quantity} is not finite at the end: lower learning_rate"
        return ElboTrend(movement=nan, standard_error=nan, window=window, converged=False, reason=reason)
    means = elbo[-window:].reshape(num_batches, length).mean(axis=1)
    time = (np.arange(num_batches) + 0.5) / num_batches - 0.5
    movement = float(time @ means / (time @ time))
    residuals = means - means.mean() - movement * time
    error = float(np.sqrt(residuals @ residuals / (num_batches - 2) / (time @ time)))
    moves = abs(movement) > min_movement and abs(movement) > num_errors * error
    told = f"{abs(movement):.2g} ± {error:.2g} nats over the last {window} {unit}s"
    if not moves:
        return ElboTrend(movement=movement, standard_error=error, window=window, converged=True, reason=f"the {quantity} moved by {told}")
    direction = "rises" if (movement > 0) == (quantity == "ELBO") else "falls"
    remedy = f"run more {unit}s (num_{unit}s=)" if movement > 0 else "lower learning_rate"
    reason = f"the {quantity} still {direction}, by {told}: {remedy}"
    return ElboTrend(movement=movement, standard_error=error, window=window, converged=False, reason=reason)


def elbo(posterior: Posterior) -> tuple[float, float]:
    """E_q[log p(θ, y) - log q(θ)] and its Monte Carlo standard error, nats, from the draws of the guide of ``posterior``.

    It is log p(y) - KL(q ‖ posterior).

    Between guides of one model, in one form, the larger is the closer in KL; between models the bound's gap differs too.

    Raises: ValueError for a posterior that has no guide.
    """
    ratios = guide_log_ratios(posterior).reshape(-1)
    return float(ratios.mean()), float(ratios.std(ddof=1) / math.sqrt(ratios.size))


def guide_khat(posterior: Posterior) -> float:
    """k-hat of the ratios p(θ, y)/q(θ) at draws of the guide: k-hat ≤ ``khat_threshold(S)`` lets them be reweighted to the posterior.

    Yao, Vehtari, Simpson and Gelman (2018).

    Args:
        posterior: a variational fit.

    Raises: ValueError for a posterior that has no guide.
    """
    return psis(guide_log_ratios(posterior).reshape(-1))[1]


def functional_khat(values: np.ndarray, log_ratios: np.ndarray) -> float:
    """k-hat for the reweighted mean of h = ``values``, (S, k) or (S,): the tail index of rₛ ‖(hₛ - E h)/sd‖, log r = ``log_ratios``, (S,).

    The variance of a self-normalized mean Σ w h/Σ w is that of r (h - E h) (delta method), so its tail, not that of r alone, says whether
    the mean can be had: it can for a bounded h where the mean of an unbounded one is out of reach. E h is the smoothed weights' mean, sd
    that of the draws; entries that do not vary are left out.

    Source: Vehtari et al. (2024), JMLR 25, on k-hat for a function; Owen (2013), "Monte Carlo theory, methods and examples", section 9.2,
    on the variance.
    """
    ratios = np.asarray(log_ratios, dtype=float)
    weights, distance = np.exp(psis(ratios)[0]), np.zeros(ratios.size)
    for column in np.asarray(values).reshape(ratios.size, -1).T:
        h = column.astype(float)
        if (sd := h.std()) > 0:
            distance += ((h - weights @ h) / sd) ** 2
    with np.errstate(divide="ignore"):
        return psis(ratios + 0.5 * np.log(distance))[1]


def block_khats(posterior: Posterior) -> dict[str, float]:
    """``functional_khat`` of each block of the guide ``posterior``, a weight site, or of a network an identified quantity
    (``scalemix.identified``): can its means be had by reweighting?

    Raises: ValueError for a posterior that has no guide.
    """
    ratios = guide_log_ratios(posterior).reshape(-1)
    try:
        blocks = blocks_of(posterior).draws
    except ValueError:  # scalars only
        blocks = {}
    return {name: functional_khat(draws, ratios) for name, draws in blocks.items()}


def guide_loo(posterior: Posterior, *, khat: float | None = None) -> Loo:
    """Leave-one-out of the posterior by draws θ ~ q of a guide, weights ∝ p(θ, y)/q(θ)/p(yᵢ | θ); blank where k-hat exceeds its threshold.

    Magnusson, Andersen, Jonasson and Vehtari (2019). The draws are the guide's and the weights correct for that, so this estimates the elpd
    of the exact posterior: plain PSIS-LOO on draws of a guide takes q for the posterior and is wrong.

    Args:
        posterior: a variational fit.
        khat: of the guide, if it has been computed (:func:`guide_khat`).

    Raises: ValueError for a posterior that has no guide, or no pointwise log-likelihood.
    """
    ratios = guide_log_ratios(posterior)
    khat = psis(ratios.reshape(-1))[1] if khat is None else khat
    if not khat <= khat_threshold(ratios.size):
        return Loo.blank()
    return leave_one_out(log_likelihood_matrix(posterior), ratios)


def guide_log_ratios(posterior: Posterior) -> np.ndarray:
    """log p(θ, y) − log q(θ) at the draws of the guide of ``posterior``, (chain, draw).

    Raises: ValueError for a posterior that has no guide.
    """
    if posterior.log_guide is None:
        raise ValueError("this posterior has no guide: k-hat and reweighting are for variational fits")
    return np.asarray(posterior.log_joint, dtype=float) - np.asarray(posterior.log_guide, dtype=float)
