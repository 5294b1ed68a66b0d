"""The dynamic regularizer and the projected cross-entropy: penalties on what a softmax of random sharpness selects.

    P(wⱼ) = softmax_j(pⱼ u(wⱼ)),  pⱼ ~ U(0, 1),        R = λ Σₛ ‖Iₛ∘w‖²,  Iₛ what draw s selects

Kori and Sharma (2019), "Dynamic Regularizer with an Informative Prior", arXiv:1910.14241, eq. 3-6 and algorithm 1.

No posterior: what is penalized depends on w and on its past, and exp(−R) cannot be integrated. The paper contradicts itself in several
places, and each reading is an option here; defaults are the readings that do what its text says. Draws of p are handed in, so that both
languages select the same.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from scalemix.arrays import arrays, check_positives, safe_sqrt
from scalemix.checks import check_between, check_positive_int

__all__ = ["dynamic_regularizer", "dynamic_regularizer_bound", "projected_cross_entropy", "selection"]

SCORES: dict[str, Callable[[Any, Any], Any]] = {
    "abs": lambda xp, w: xp.abs(w),
    "neg_abs": lambda xp, w: -xp.abs(w),
    "value": lambda xp, w: w,
    "literal": lambda xp, w: -w,
}
SELECTS = ("topk", "T_over_N", "absolute")


def selection(
    values: Any,
    rates: Any,
    *,
    previous: Any = None,
    momentum: float = 1.0,
    score: str = "abs",
    select: str = "topk",
    fraction: float | None = None,
    threshold: float | None = None,
) -> Any:
    """What each draw selects among the entries of the last axis: 1 or 0, a constant to gradients (that of an indicator is 0).

    P = α softmax(p u(w)) + (1 − α) softmax(p u(w_old)): Kori and Sharma (2019), eq. 4 and 5.

    Args:
        values: (..., n) weights, or logits of a batch.
        rates: (S, ..., n) draws of p ~ U(0, 1), one per entry (algorithm 1), or (S, ..., 1), one per draw (eq. 4). With one per draw, top-k
            and no momentum all draws select the same, so that S > 1 means nothing.
        previous, momentum: w_old of the shape of ``values``, and α; without ``previous`` α is 1.
        score: u(w). "abs": |w|, large magnitudes are selected, as the text says. "literal": −w, as eq. 4 is printed, which leaves all large
            positive weights alone. "neg_abs": −|w|. "value": w, for logits.
        select: "topk": the ⌈fraction·n⌉ of largest P. "T_over_N": P > threshold/n. "absolute": P > threshold, which selects nothing among
            very many, as P sums to 1.
        fraction, threshold: s_p with "topk"; T with the others.

    Returns: (S, ..., n).

    Raises: ValueError for an option that does not exist, is missing or is out of its range.
    """
    _check(momentum, score, select, fraction, threshold)
    old = values if previous is None else previous
    xp, values, old, rates = arrays(values, old, rates)
    log_prob = _log_softmax(xp, rates * SCORES[score](xp, values))
    if previous is not None and momentum < 1.0:
        log_old = _log_softmax(xp, rates * SCORES[score](xp, old)) + math.log1p(-momentum)
        log_prob = xp.logaddexp(log_prob + math.log(momentum), log_old) if momentum > 0.0 else log_old
    log_prob = xp.stop_gradient(log_prob)
    size = values.shape[-1]
    if select == "topk":
        rank = xp.argsort(xp.argsort(-log_prob))
        chosen = rank < math.ceil((fraction or 0.0) * size)
    else:
        chosen = log_prob > math.log(threshold or 0.0) - (math.log(size) if select == "T_over_N" else 0.0)
    return xp.where(chosen, 1.0 + 0.0 * log_prob, 0.0)


def dynamic_regularizer(
    weights: Any, rates: Any, *, strength: float, previous: Any = None, form: str = "squared", scope: str = "layer", **options: Any
) -> Any:
    """R = λ Σₛ ‖Iₛ∘w‖² or λ Σₛ ‖Iₛ∘w‖. The squared form is the ridge λ Σⱼ cⱼ wⱼ², cⱼ draws selecting j.

    Kori and Sharma (2019), eq. 3 and 6, algorithm 1.

    Args:
        weights: an array, or a sequence of them, one per layer.
        rates: likewise, draws of p of shape (S, *shape), or (S,), one per draw.
        strength: λ.
        previous: w_old like ``weights``: of the step before, or of the epoch before; the paper does not say.
        form: "squared" or "norm".
        scope: "layer": a softmax over each array. "global": one over all.
        **options: momentum, score, select, fraction and threshold of ``selection``.

    Returns: a scalar.

    Raises: ValueError for an option that does not exist, or λ that is not positive.
    """
    check_positives(strength=strength)
    if form not in ("squared", "norm"):
        raise ValueError(f"form={form!r}: give 'squared' or 'norm'")
    if scope not in ("layer", "global"):
        raise ValueError(f"scope={scope!r}: give 'layer' or 'global'")
    layers = weights if isinstance(weights, Sequence) else [weights]
    draws = rates if isinstance(rates, Sequence) else [rates] * len(layers)
    olds = [None] * len(layers) if previous is None else previous if isinstance(previous, Sequence) else [previous]
    flat = [_flat(*each) for each in zip(layers, draws, olds, strict=True)]
    if scope == "global" and len(flat) > 1:
        xp = arrays(*layers)[0]
        joined = xp.concatenate([w for w, _, _ in flat])
        sharpness = flat[0][1] if flat[0][1].shape[-1] == 1 else xp.concatenate([p for _, p, _ in flat], -1)
        flat = [(joined, sharpness, None if previous is None else xp.concatenate([old for _, _, old in flat]))]
    total = 0.0
    for w, p, old in flat:
        xp, w, p = arrays(w, p)
        squares = xp.sum(selection(w, p, previous=old, **options) * w**2, axis=-1)
        total = total + xp.sum(squares if form == "squared" else safe_sqrt(xp, squares), axis=-1)
    return strength * total


def dynamic_regularizer_bound(weights: Any, *, strength: float, num_draws: int, fraction: float, threshold: float) -> Any:
    """λ S √(s_p (1 − T)) ‖w‖ ≥ E R of the norm form, if each entry is selected with probability s_p (1 − T).

    That is so if a share s_p of P is uniform on (0, 1) and the rest is 0. By Jensen's inequality.
    In place of eq. 7 of Kori and Sharma (2019), whose √(s_p S (1 − T)/N) ‖w‖ is no bound.

    Args:
        weights: an array of any shape.
        strength, num_draws, fraction, threshold: λ, S, s_p and T.

    Returns: a scalar.

    Raises: ValueError unless λ > 0, S is a positive whole number, and s_p and T are from 0 to 1.
    """
    check_positives(strength=strength)
    check_positive_int("num_draws", num_draws)
    check_between("fraction", fraction, 0.0, 1.0)
    check_between("threshold", threshold, 0.0, 1.0)
    xp, weights = arrays(weights)
    return strength * num_draws * math.sqrt(fraction * (1.0 - threshold)) * safe_sqrt(xp, xp.sum(weights.reshape(-1) ** 2, axis=-1))


def projected_cross_entropy(
    logits: Any, labels: Any, rates: Any, *, method: str = "union", reduce: str = "mean", score: str = "value", **options: Any
) -> Any:
    """Cross-entropy over the classes that the selection law picks. Not a likelihood of y.

    Kori and Sharma (2019), section 2.7, which has no formula. Two readings:

        union    −log[e^{z_y}/Σ_{k ∈ I ∪ {y}} e^{z_k}]: over the selected classes and the true one
        literal  −1[y ∈ I] log softmax(z)_y: only if the true class is selected, so that misclassified cases have no gradient

    Args:
        logits: (B, C) z.
        labels: (B,) whole numbers y.
        rates: (S, B, C) draws of p, or (S, B, 1), or (S,), one per draw.
        method: as above.
        reduce: "mean" or "sum" over the draws.
        score: "value" selects large logits; "literal" is eq. 4 as printed, which selects the lowest.
        **options: select, fraction and threshold of ``selection``.

    Returns: (B,).

    Raises: ValueError for an option that does not exist.
    """
    if method not in ("union", "literal"):
        raise ValueError(f"method={method!r}: give 'union' or 'literal'")
    if reduce not in ("mean", "sum"):
        raise ValueError(f"reduce={reduce!r}: give 'mean' or 'sum'")
    xp, z, rates = arrays(logits, rates)
    rates = rates.reshape((*rates.shape, 1, 1)) if len(rates.shape) == 1 else rates
    mask = selection(z, rates, score=score, **options)
    classes = xp.asarray(list(range(z.shape[-1])), z)
    truth = xp.asarray(labels, z)[..., None] == classes
    of_truth = xp.sum(xp.where(truth, z, 0.0), axis=-1)
    if method == "union":
        log_sum = xp.logsumexp(xp.where((mask > 0.0) | truth, z, -math.inf))[..., 0]
        each = log_sum - of_truth
    else:
        each = xp.sum(xp.where(truth, mask, 0.0), axis=-1) * (xp.logsumexp(z)[..., 0] - of_truth)
    total = xp.sum(each, axis=0)
    return total / mask.shape[0] if reduce == "mean" else total


def _log_softmax(xp: Any, x: Any) -> Any:
    return x - xp.logsumexp(x)


def _flat(weight: Any, rates: Any, old: Any) -> tuple[Any, Any, Any]:
    """(n,), (S, n) or (S, 1), and (n,)."""
    _, weight, rates = arrays(weight, rates)
    return weight.reshape(-1), rates.reshape((rates.shape[0], -1)), None if old is None else arrays(old)[1].reshape(-1)


def _check(momentum: float, score: str, select: str, fraction: float | None, threshold: float | None) -> None:
    check_between("momentum", momentum, 0.0, 1.0)
    if score not in SCORES:
        raise ValueError(f"score={score!r}: give one of {', '.join(map(repr, SCORES))}")
    if select not in SELECTS:
        raise ValueError(f"select={select!r}: give one of {', '.join(map(repr, SELECTS))}")
    if select == "topk":
        if fraction is None:
            raise ValueError("select='topk' needs fraction=, the share of the entries that a draw selects")
        check_between("fraction", fraction, 0.0, 1.0)
    else:
        if threshold is None:
            raise ValueError(f"select={select!r} needs threshold=, the T that P must exceed")
        check_positives(threshold=threshold)
