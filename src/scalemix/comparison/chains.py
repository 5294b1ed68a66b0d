"""R-hat and effective sample size of many scalars at once: the estimators of Vehtari et al. (2021), vectorized over the last axis.

ArviZ computes the same numbers one scalar at a time, which takes seconds for a few hundred scalars; here a few hundred take tenths of a
second. Every function takes draws of shape (chain, draw, k) and returns (k,).

Source: A. Vehtari, A. Gelman, D. Simpson, B. Carpenter, P.-C. Bürkner, "Rank-normalization, folding, and localization: an improved R-hat",
Bayesian Analysis 16 (2021), equations 1-4 (R-hat), 10-13 (ESS), section 4 (ranks, folding, tails).
"""

from __future__ import annotations

import numpy as np
from scipy.fft import irfft, next_fast_len, rfft
from scipy.special import ndtri
from scipy.stats import rankdata

__all__ = ["bulk_ess", "ess", "rhat", "tail_ess"]

MIN_DRAWS = 4
TAIL_PROBS = (0.05, 0.95)


def rhat(draws: np.ndarray) -> np.ndarray:
    """Rank-normalized split R-hat: the larger of the bulk one and that of the folded draws |x - median|, which sees unequal scales.

    A scalar that never moves has no R-hat: inf. Raises: ValueError for fewer than 4 draws per chain.
    """
    halves = _split(draws)
    folded = np.abs(halves - np.median(halves, axis=(0, 1)))
    return np.maximum(_plain_rhat(_rank_normalize(halves)), _plain_rhat(_rank_normalize(folded)))


def bulk_ess(draws: np.ndarray) -> np.ndarray:
    """Effective number of draws for the location: ESS of the rank-normalized split chains; nan for a scalar that never moves."""
    return _ess(_rank_normalize(_split(draws)))


def tail_ess(draws: np.ndarray) -> np.ndarray:
    """The smaller ESS of the 5 % and the 95 % quantile; nan for a scalar that never moves."""
    quantiles = np.quantile(draws, TAIL_PROBS, axis=(0, 1))
    return np.fmin(*(_ess(_split((draws <= quantile).astype(float))) for quantile in quantiles))


def ess(draws: np.ndarray) -> np.ndarray:
    """ESS for the mean of the draws as they are, chains split in halves; nan for a scalar that never moves."""
    return _ess(_split(draws))


def _split(draws: np.ndarray) -> np.ndarray:
    """(chain, draw, k) to (2 chain, draw // 2, k): a chain that drifts disagrees with itself."""
    draws = np.asarray(draws, dtype=float)
    half = draws.shape[1] // 2
    if draws.shape[1] < MIN_DRAWS:
        raise ValueError(f"a chain has {draws.shape[1]} draws: R-hat and ESS need at least {MIN_DRAWS} (raise num_draws)")
    return np.concatenate([draws[:, :half], draws[:, -half:]])


def _rank_normalize(draws: np.ndarray) -> np.ndarray:
    """Normal scores of the ranks over all chains, Blom's offset 3/8 (equation 14)."""
    flat = draws.reshape(-1, draws.shape[-1])
    return ndtri((rankdata(flat, axis=0) - 0.375) / (flat.shape[0] + 0.25)).reshape(draws.shape)


def _plain_rhat(draws: np.ndarray) -> np.ndarray:
    """sqrt(((n - 1)/n W + B/n) / W) with W the mean variance within chains and B/n the variance of their means."""
    n = draws.shape[1]
    within = draws.var(axis=1, ddof=1).mean(axis=0)
    between = draws.mean(axis=1).var(axis=0, ddof=1)
    ratio = np.divide(between, within, out=np.full_like(within, np.inf), where=within > 0)
    return np.sqrt(ratio + (n - 1) / n)


def _ess(chains: np.ndarray) -> np.ndarray:
    """m n / tau, tau the autocorrelation time by Geyer's initial monotone sequence: sums of neighboring pairs, positive and falling."""
    m, n, k = chains.shape
    covariance = _autocovariance(chains)
    within = covariance[0] * n / (n - 1)
    total = covariance[0] + (chains.mean(axis=1).var(axis=0, ddof=1) if m > 1 else 0.0)
    moves = np.ptp(chains, axis=(0, 1)) > 0
    with np.errstate(divide="ignore", invalid="ignore"):
        rho = 1 - (within - covariance) / total
    rho[0] = 1.0
    # pairs rho[2j] + rho[2j + 1]; as in the reference implementations, the last pair that may enter starts before n - 2
    num_pairs = max((n - 2) // 2, 1)
    even, pairs = rho[0 : 2 * num_pairs : 2], rho[0 : 2 * num_pairs].reshape(num_pairs, 2, k).sum(axis=1)
    stops = np.vstack([pairs[1:] < 0, np.ones((1, k), dtype=bool)])
    kept = 1 + np.argmax(stops, axis=0)
    index = np.arange(num_pairs)[:, None]
    falling = np.where(index < kept, np.minimum.accumulate(pairs, axis=0), 0.0)
    after = np.take_along_axis(even, np.minimum(kept, num_pairs - 1)[None], axis=0)[0]
    tau = -1 + 2 * falling.sum(axis=0) + np.where(kept < num_pairs, np.maximum(after, 0.0), 0.0)
    tau = np.maximum(tau, 1 / np.log10(m * n))  # antithetic chains: no more than log10(mn) times the draws
    return np.where(moves, m * n / tau, np.nan)


def _autocovariance(chains: np.ndarray) -> np.ndarray:
    """Biased autocovariance by FFT, averaged over chains: (lag, k)."""
    n = chains.shape[1]
    size = next_fast_len(2 * n, real=True)
    spectrum = rfft(chains - chains.mean(axis=1, keepdims=True), size, axis=1)
    power = np.mean(spectrum.real**2 + spectrum.imag**2, axis=0)
    return irfft(power, size, axis=0)[:n] / n
