"""R-hat and effective sample size of many scalars at once: the estimators of Vehtari et al. (2021), vectorized.

ArviZ computes the same numbers one scalar at a time and takes five times as long (``benchmarks/diagnostics.py``), which for the weights of
a network is minutes; a test holds the two to 1e-9 of one another. The public functions take draws of shape (chain, draw, k) and return
(k,).

Source: A. Vehtari, A. Gelman, D. Simpson, B. Carpenter, P.-C. Bürkner, "Rank-normalization, folding, and localization: an improved R-hat",
Bayesian Analysis 16 (2021), equations 1-4 (R-hat), 10-13 (ESS), section 4 (ranks, folding, tails).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.fft import next_fast_len
from scipy.special import ndtri
from scipy.stats import rankdata

__all__ = ["Convergence", "convergence", "ess"]

MIN_DRAWS = 8  # halves of four draws, which have two pairs of autocorrelations
TAIL_PROBS = (0.05, 0.95)


class Convergence(NamedTuple):
    """Of each scalar: rank-normalized split R-hat, bulk ESS (location), tail ESS (the worse of the 5 % and the 95 % quantile)."""

    rhat: np.ndarray
    bulk_ess: np.ndarray
    tail_ess: np.ndarray


def convergence(draws: np.ndarray) -> Convergence:
    """R-hat and both ESS of draws (chain, draw, k).

    R-hat is the larger of that of the draws and that of the folded draws |x - median|, which sees unequal scales. A scalar that never moves
    or is not finite has R-hat inf and ESS nan. Raises: ValueError for fewer than 8 draws per chain.
    """
    whole = _scalars_first(draws)
    halves = _split(whole)
    scores = _rank_normalize(halves)
    folded = _rank_normalize(np.abs(halves - np.median(halves, axis=(1, 2), keepdims=True)))
    quantiles = np.quantile(whole, TAIL_PROBS, axis=(1, 2))[..., None, None]
    tails = [_ess(_split((whole <= quantile).astype(float))) for quantile in quantiles]
    return Convergence(np.maximum(_plain_rhat(scores), _plain_rhat(folded)), _ess(scores), np.fmin(*tails))


def ess(draws: np.ndarray) -> np.ndarray:
    """ESS for the mean of the draws (chain, draw, k) as they are, chains split in halves; nan for a scalar that never moves."""
    return _ess(_split(_scalars_first(draws)))


def _scalars_first(draws: np.ndarray) -> np.ndarray:
    """(chain, draw, k) to contiguous (k, chain, draw), over which everything below runs several times faster."""
    if draws.shape[1] < MIN_DRAWS:
        raise ValueError(f"a chain has {draws.shape[1]} draws: R-hat and ESS need at least {MIN_DRAWS} (raise num_draws)")
    values = np.ascontiguousarray(np.moveaxis(np.asarray(draws, dtype=float), -1, 0))
    return np.where(np.isfinite(values).all(axis=(1, 2), keepdims=True), values, 0.0)  # what is not finite counts as never moving


def _split(draws: np.ndarray) -> np.ndarray:
    """(k, chain, draw) to (k, 2 chain, draw // 2): a chain that drifts disagrees with itself."""
    half = draws.shape[2] // 2
    return np.concatenate([draws[..., :half], draws[..., -half:]], axis=1)


def _rank_normalize(draws: np.ndarray) -> np.ndarray:
    """Normal scores of the ranks over all chains, with Blom's offset 3/8 (equation 14); equal draws share their mean rank."""
    flat = draws.reshape(draws.shape[0], -1)
    size = flat.shape[1]
    order = np.argsort(flat, axis=1)
    ordered = np.take_along_axis(flat, order, axis=1)
    scores = np.empty_like(flat)
    np.put_along_axis(scores, order, ndtri((np.arange(1, size + 1) - 0.375) / (size + 0.25))[None], axis=1)
    tied = (ordered[:, 1:] == ordered[:, :-1]).any(axis=1)
    scores[tied] = ndtri((rankdata(flat[tied], axis=1) - 0.375) / (size + 0.25))
    return scores.reshape(draws.shape)


def _plain_rhat(draws: np.ndarray) -> np.ndarray:
    """sqrt(((n - 1)/n W + B/n) / W) with W the mean variance within chains and B/n the variance of their means."""
    n = draws.shape[2]
    within = draws.var(axis=2, ddof=1).mean(axis=1)
    between = draws.mean(axis=2).var(axis=1, ddof=1)
    ratio = np.divide(between, within, out=np.full_like(within, np.inf), where=within > 0)
    return np.sqrt(ratio + (n - 1) / n)


def _ess(chains: np.ndarray) -> np.ndarray:
    """m n / tau, tau the autocorrelation time by Geyer's initial monotone sequence: sums of neighboring pairs, positive and falling."""
    k, m, n = chains.shape
    covariance = _autocovariance(chains)
    within = covariance[:, :1] * n / (n - 1)
    between = chains.mean(axis=2).var(axis=1, ddof=1)[:, None] if m > 1 else 0.0
    with np.errstate(divide="ignore", invalid="ignore"):
        rho = 1 - (within - covariance) / (covariance[:, :1] + between)
    rho[:, 0] = 1.0
    # Pairs rho[2j] + rho[2j + 1]. As in the reference implementations, a sequence that never turns negative ends one pair early, and of the
    # first pair left out the even half counts if it is positive.
    num_pairs = max((n - 1) // 2, 2)
    pairs = rho[:, : 2 * num_pairs].reshape(k, num_pairs, 2).sum(axis=2)
    stops = pairs[:, 1:] < 0
    stops[:, -1] = True
    kept = 1 + np.argmax(stops, axis=1)
    falling = np.where(np.arange(num_pairs) < kept[:, None], np.minimum.accumulate(pairs, axis=1), 0.0)
    even_after = rho[np.arange(k), 2 * kept]
    tau = -1 + 2 * falling.sum(axis=1) + np.maximum(even_after, 0.0)
    tau = np.maximum(tau, 1 / np.log10(m * n))  # antithetic chains: no more than log10(mn) times the draws
    return np.where(np.ptp(chains, axis=(1, 2)) > 0, m * n / tau, np.nan)


def _autocovariance(chains: np.ndarray) -> np.ndarray:
    """Biased autocovariance by FFT, averaged over chains: (k, lag)."""
    n = chains.shape[2]
    size = next_fast_len(2 * n, real=True)
    spectrum = np.fft.rfft(chains - chains.mean(axis=2, keepdims=True), size, axis=2)
    power = np.mean(spectrum.real**2 + spectrum.imag**2, axis=1)
    return np.fft.irfft(power, size, axis=1)[:, :n] / n
