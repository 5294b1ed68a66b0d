"""What draws from a predictive law are worth once the outcome is known: CRPS, coverage of central intervals, calibration.

Draws are (S, n), S draws for each of n cases, outcomes (n,); CRPS is in the unit of y, the others have none. A block of cases is looked at
at a time, so that a copy of the draws is never made.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

__all__ = ["calibration_error", "coverage", "crps", "pit"]

VALUES_AT_ONCE = 2_000_000  # 16 MB a copy


def crps(draws: np.ndarray, outcomes: np.ndarray) -> np.ndarray:
    """Continuous ranked probability score of ``draws`` (S, n) at the ``outcomes`` y (n,), one for each case, unit of y; lower is better.

        CRPS = E|X - y| - ½ E|X - X'| = ∫ (F(z) - 1[y ≤ z])² dz

    From draws, with the second mean over pairs of different ones, (1/(S (S - 1))) Σᵢ (2i - S - 1) x₍ᵢ₎ over the sorted draws: unbiased for
    independent draws, O(S log S). Source: Gneiting and Raftery (2007), JASA 102, equation 21; Ferro (2014), QJRMS 140, on fair scores.

    Raises: ValueError if there are fewer than 2 draws, or draws and outcomes do not have the same cases.
    """
    _check(draws, outcomes)
    size = draws.shape[0]
    ranks = (2.0 * np.arange(1, size + 1) - size - 1) / (size * (size - 1))
    result = np.empty(len(outcomes))
    for cases in _blocks(draws):
        ordered = np.sort(draws[:, cases].astype(float), axis=0)
        result[cases] = np.abs(ordered - outcomes[cases]).mean(axis=0) - ranks @ ordered
    return result


def coverage(draws: np.ndarray, outcomes: np.ndarray, prob: float) -> float:
    """Share of ``outcomes`` (n,) in the central interval of probability ``prob``, between the quantiles (1 ∓ prob)/2 of ``draws`` (S, n).

    From n cases its standard error is sqrt(prob (1 - prob)/n). nan for an outcome of two values, of which no interval holds half.

    Raises: ValueError as ``crps``.
    """
    _check(draws, outcomes)
    inside = np.empty(len(outcomes), dtype=bool)
    binary = np.unique(outcomes).size <= 2
    for cases in _blocks(draws):
        low, high = np.quantile(draws[:, cases], ((1 - prob) / 2, (1 + prob) / 2), axis=0)
        inside[cases] = (low <= outcomes[cases]) & (outcomes[cases] <= high)
        binary = binary and bool(np.isin(draws[:, cases], np.unique(outcomes)).all())
    return float("nan") if binary else float(inside.mean())


def pit(draws: np.ndarray, outcomes: np.ndarray, *, seed: int = 0) -> np.ndarray:
    """Probability integral transform F(y) of ``outcomes`` (n,) under ``draws`` (S, n): uniform on [0, 1] if both have one law.

    (#{x < y} + V (#{x = y} + 1))/(S + 1) with V ~ U(0, 1): exactly uniform for S draws of the law of y, also where y is a count; ``seed``
    is that of V. Source: Czado, Gneiting and Held (2009), Biometrics 65, section 2.

    Raises: ValueError as ``crps``.
    """
    _check(draws, outcomes)
    below, equal = np.empty(len(outcomes)), np.empty(len(outcomes))
    for cases in _blocks(draws):
        below[cases] = (draws[:, cases] < outcomes[cases]).sum(axis=0)
        equal[cases] = (draws[:, cases] == outcomes[cases]).sum(axis=0)
    return (below + np.random.default_rng(seed).random(len(outcomes)) * (equal + 1)) / (draws.shape[0] + 1)


def calibration_error(transforms: np.ndarray) -> float:
    """∫₀¹ |G(p) - p| dp, G the share of cases with F(y) ≤ p: by how much the probabilities told are off, on average over all levels.

    It is the 1-Wasserstein distance of the ``transforms`` F(y), (n,), to the uniform law: 0 for perfect calibration, at most ½. Of n cases
    from a calibrated law it is 0.31/√n in the mean (E∫|Brownian bridge|/√n = √(2/π) π/8/√n).
    """
    ordered = np.sort(np.asarray(transforms, dtype=float))
    n = ordered.size
    after, before = np.arange(1, n + 1) / n - ordered, np.arange(n) / n - ordered  # the i-th smallest takes the mass on [(i - 1)/n, i/n]
    return float(np.sum(after * np.abs(after) - before * np.abs(before)) / 2)


def _check(draws: np.ndarray, outcomes: np.ndarray) -> None:
    if draws.ndim != 2 or draws.shape[0] < 2 or outcomes.shape != draws.shape[1:]:
        raise ValueError(
            f"draws of shape {draws.shape} and outcomes of shape {outcomes.shape}: give at least 2 draws (S, n) of the n outcomes"
        )


def _blocks(draws: np.ndarray) -> Iterator[slice]:
    size = max(VALUES_AT_ONCE // draws.shape[0], 1)
    return (slice(start, start + size) for start in range(0, draws.shape[1], size))
