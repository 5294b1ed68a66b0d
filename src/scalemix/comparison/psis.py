"""Pareto-smoothed importance sampling: from log importance ratios to weights, and the k-hat that says whether to trust them.

Source: A. Vehtari, D. Simpson, A. Gelman, Y. Yao, J. Gabry, "Pareto smoothed importance sampling", JMLR 25 (2024), no. 72; the fit of the
generalized Pareto law is that of J. Zhang and M. Stephens, Technometrics 51 (2009), with the paper's weak prior k ~ 0.5 worth 10 draws.
"""

from __future__ import annotations

import math

import numpy as np

__all__ = ["khat_threshold", "psis"]

MIN_TAIL = 5
PRIOR_DRAWS = 10
PRIOR_K = 0.5


def khat_threshold(num_draws: float) -> float:
    """min(1 − 1/log₁₀ S, 0.7): a k-hat ≤ it is good enough for the smoothed weights of S = ``num_draws`` draws to be trusted.

    Vehtari, Simpson, Gelman, Yao and Gabry (2024), section 3.2.4.
    """
    return min(1 - 1 / math.log10(num_draws), 0.7) if num_draws > 1 else -math.inf


def psis(log_ratios: np.ndarray, *, relative_efficiency: float = 1.0) -> tuple[np.ndarray, float]:
    """Smoothed, normalized log weights (S,) and k-hat of the log ratios log p - log q (S,), target minus proposal.

    The largest M = min(S/5, 3 √(S/relative_efficiency)) ratios are replaced by quantiles of the generalized Pareto law fitted to them:
    Vehtari, Simpson, Gelman, Yao and Gabry (2024).

    Args:
        log_ratios: one per draw, (S,).
        relative_efficiency: ESS/S of the draws, 1 for independent ones.

    k-hat is inf where the tail is too short to fit or a ratio is not finite; -inf (a draw of weight 0) is allowed.

    Raises: ValueError if ``log_ratios`` is no vector.

    Example:
        >>> weights, khat = psis(log_joint - log_guide)
    """
    ratios = np.array(log_ratios, dtype=float)
    if ratios.ndim != 1:
        raise ValueError(f"log_ratios has shape {ratios.shape}: give one ratio per draw, shape (S,)")
    if np.isnan(ratios).any() or not np.isfinite(ratios.max()):
        return np.full_like(ratios, -math.log(ratios.size)), math.inf
    size = ratios.size
    tail_size = math.ceil(min(size / 5, 3 * math.sqrt(size / relative_efficiency)))
    ratios -= ratios.max()
    khat = math.inf
    if tail_size >= MIN_TAIL and tail_size < size:
        cut = np.partition(ratios, size - tail_size - 1)[size - tail_size - 1]
        cut = max(cut, math.log(np.finfo(float).tiny))
        tail = np.flatnonzero(ratios > cut)
        if tail.size >= MIN_TAIL:
            tail = tail[np.argsort(ratios[tail])]
            excess = np.exp(ratios[tail]) - math.exp(cut)
            khat, scale = _fit_pareto(excess)
            if math.isfinite(khat) and scale > 0:
                probs = (np.arange(tail.size) + 0.5) / tail.size
                quantiles = -np.log1p(-probs) if abs(khat) < 1e-15 else np.expm1(-khat * np.log1p(-probs)) / khat
                ratios[tail] = np.minimum(np.log(scale * quantiles + math.exp(cut)), 0.0)
    return ratios - math.log(np.exp(ratios - ratios.max()).sum()) - ratios.max(), khat


def _fit_pareto(excess: np.ndarray) -> tuple[float, float]:
    """Shape k and scale of the generalized Pareto law of sorted exceedances: Zhang and Stephens' posterior mean over a grid of k/scale."""
    n = excess.size
    grid_size = 30 + math.isqrt(n)
    grid = 1 / excess[-1] + (1 - np.sqrt(grid_size / (np.arange(1, grid_size + 1) - 0.5))) / (3 * excess[int(n / 4 + 0.5) - 1])
    shape = np.log1p(-grid[:, None] * excess).mean(axis=1)
    profile = n * (np.log(-grid / shape) - shape - 1)
    weight = np.exp(profile - profile.max())
    theta = float(grid @ weight / weight.sum())
    k = float(np.log1p(-theta * excess).mean())
    scale = -k / theta
    return (n * k + PRIOR_DRAWS * PRIOR_K) / (n + PRIOR_DRAWS), scale
