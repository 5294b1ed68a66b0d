"""The dynamic regularizer and the projected cross-entropy: each reading of the paper against the same arithmetic written as loops."""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from scipy import special

from scalemix import divergences as d

RNG = np.random.default_rng(11)
W, OLD, RATES = RNG.normal(size=(4, 5)), RNG.normal(size=(4, 5)), RNG.uniform(size=(7, 4, 5))
SIGNS = {"abs": np.abs, "neg_abs": lambda w: -np.abs(w), "literal": lambda w: -w}


def chosen(p: np.ndarray, *, w: np.ndarray, old: np.ndarray | None = None, momentum: float = 1.0, score: str = "abs", select: str = "topk",
           fraction: float = 0.0, threshold: float = 0.0) -> np.ndarray:  # fmt: skip
    """One draw of algorithm 1 on flat arrays."""
    prob = momentum * special.softmax(p * SIGNS[score](w)) + (1 - momentum) * special.softmax(p * SIGNS[score](w if old is None else old))
    if select == "topk":
        mask = np.zeros(w.size)
        mask[np.argsort(-prob)[: math.ceil(fraction * w.size)]] = 1.0
        return mask
    return (prob > threshold / (w.size if select == "T_over_N" else 1)).astype(float)


OPTIONS: list[dict[str, Any]] = [
    {"fraction": 0.2},
    {"fraction": 0.07, "score": "literal"},
    {"fraction": 0.5, "score": "neg_abs", "momentum": 0.3},
    {"select": "T_over_N", "threshold": 1.2, "momentum": 0.0},
    {"select": "absolute", "threshold": 0.05, "score": "literal", "momentum": 0.8},
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("form", ["squared", "norm"])
def test_algorithm_1_as_a_loop(form: str, options: dict[str, Any]) -> None:
    expected = 0.0
    for p in RATES:
        square = np.sum((W.ravel() * chosen(p.ravel(), w=W.ravel(), old=OLD.ravel(), **options)) ** 2)
        expected += 0.6 * (square if form == "squared" else math.sqrt(square))
    for given in ((W, RATES, OLD), (torch.tensor(W), RATES, torch.tensor(OLD))):
        found = d.dynamic_regularizer(*given[:2], strength=0.6, previous=given[2], form=form, **options)
        assert float(found) == pytest.approx(expected, rel=1e-12)


def test_the_squared_form_is_a_ridge_weighted_by_counts() -> None:
    """H1: Σₛ ‖Iₛ∘w‖² = Σⱼ cⱼ wⱼ², cⱼ the draws that select j; its gradient is 2λ cⱼ wⱼ, masks being constants."""
    counts = sum(chosen(p.ravel(), w=W.ravel(), fraction=0.3) for p in RATES)
    selected = d.selection(W.ravel(), RATES.reshape(7, -1), fraction=0.3)
    np.testing.assert_array_equal(selected.sum(0), counts)
    expected = 0.6 * float(counts @ W.ravel() ** 2)
    assert d.dynamic_regularizer(W, RATES, strength=0.6, fraction=0.3) == pytest.approx(expected, rel=1e-12)
    in_torch = torch.tensor(W, requires_grad=True)
    d.dynamic_regularizer(in_torch, RATES, strength=0.6, fraction=0.3).backward()
    in_jax = jax.grad(lambda w: d.dynamic_regularizer(w, RATES, strength=0.6, fraction=0.3))(jnp.asarray(W))
    slope = 1.2 * counts.reshape(W.shape) * W
    assert in_torch.grad is not None
    np.testing.assert_allclose(in_torch.grad, slope, rtol=1e-12)
    np.testing.assert_allclose(in_jax, slope, rtol=1e-5)


def test_the_sign_as_printed_leaves_large_positive_weights_alone() -> None:
    w = np.array([5.0, 4.0, 0.01, -0.01, -5.0])
    p = np.full((1, 5), 0.8)
    assert d.selection(w, p, fraction=0.4).tolist() == [[1.0, 0.0, 0.0, 0.0, 1.0]]
    assert d.selection(w, p, fraction=0.4, score="literal").tolist() == [[0.0, 0.0, 0.0, 1.0, 1.0]]


def test_a_threshold_that_does_not_shrink_selects_nothing_among_many() -> None:
    w, p = np.linspace(-1, 1, 10_000), np.full((1, 10_000), 0.5)
    assert d.selection(w, p, select="absolute", threshold=0.001).sum() == 0.0
    assert 0 < d.selection(w, p, select="T_over_N", threshold=1.1).sum() < 10_000


def test_one_rate_per_draw_makes_all_draws_the_same() -> None:
    masks = d.selection(W.ravel(), RNG.uniform(size=(7, 1)), fraction=0.3)
    assert np.all(masks == masks[0]) and masks[0].sum() == 6
    assert not np.all(d.selection(W.ravel(), RATES.reshape(7, -1), fraction=0.3) == masks[0])
    scalar = d.dynamic_regularizer(W, RNG.uniform(size=7), strength=1.0, fraction=0.3)
    assert scalar == pytest.approx(7 * float(masks[0] @ W.ravel() ** 2), rel=1e-12)


def test_one_softmax_for_all_layers_or_one_for_each() -> None:
    layers, rates = [W, 3.0 * OLD], [RATES, RNG.uniform(size=(7, 4, 5))]
    apart = d.dynamic_regularizer(layers, rates, strength=1.0, fraction=0.2)
    assert apart == pytest.approx(sum(d.dynamic_regularizer(w, p, strength=1.0, fraction=0.2) for w, p in zip(layers, rates, strict=True)))
    joined = d.dynamic_regularizer(np.concatenate(layers), np.concatenate(rates, 1), strength=1.0, fraction=0.2)
    for each in (layers, [torch.tensor(w) for w in layers], [jnp.asarray(w) for w in layers]):
        together = d.dynamic_regularizer(each, rates, strength=1.0, fraction=0.2, scope="global")
        assert float(together) == pytest.approx(joined, rel=1e-5)
    assert abs(joined - apart) > 0.1


def test_the_norm_is_safe_where_nothing_is_selected() -> None:
    w = torch.tensor(W, requires_grad=True)
    found = d.dynamic_regularizer(w, RATES, strength=1.0, form="norm", select="absolute", threshold=0.999)
    found.backward()
    assert w.grad is not None
    assert float(found.detach()) == 0.0 and torch.all(w.grad == 0.0)


# --- projected cross-entropy -------------------------------------------------------------------------------------------------------

LOGITS, LABELS, SHARP = RNG.normal(size=(6, 5)), np.array([0, 4, 2, 2, 1, 3]), RNG.uniform(size=(3, 6, 5))


@pytest.mark.parametrize("reduce", ["mean", "sum"])
@pytest.mark.parametrize("method", ["union", "literal"])
def test_projected_cross_entropy_as_a_loop(method: str, reduce: str) -> None:
    expected = np.zeros(6)
    for p in SHARP:
        for i, (z, y) in enumerate(zip(LOGITS, LABELS, strict=True)):
            top = set(np.argsort(-special.softmax(p[i] * z))[:2].tolist())
            if method == "union":
                expected[i] += special.logsumexp(z[sorted(top | {int(y)})]) - z[y]
            elif y in top:
                expected[i] += special.logsumexp(z) - z[y]
    expected /= 3 if reduce == "mean" else 1
    for logits, labels in ((LOGITS, LABELS), (torch.tensor(LOGITS), torch.tensor(LABELS)), (jnp.asarray(LOGITS), jnp.asarray(LABELS))):
        found = d.projected_cross_entropy(logits, labels, SHARP, method=method, reduce=reduce, fraction=0.4)
        np.testing.assert_allclose(np.asarray(found), expected, rtol=1e-5)


def test_selecting_every_class_is_cross_entropy() -> None:
    loss = torch.nn.functional.cross_entropy(torch.tensor(LOGITS), torch.tensor(LABELS), reduction="none")
    for method in ("union", "literal"):
        np.testing.assert_allclose(d.projected_cross_entropy(LOGITS, LABELS, SHARP[:, 0, 0], method=method, fraction=1.0), loss, rtol=1e-12)


def test_the_literal_reading_learns_nothing_from_mistakes() -> None:
    z = torch.tensor([[3.0, 1.0, 0.0]], requires_grad=True)
    rates = np.ones((1, 1, 3))
    for method, learns in (("literal", False), ("union", True)):
        loss = d.projected_cross_entropy(z, [2], rates, method=method, fraction=0.3).sum()
        (slope,) = torch.autograd.grad(loss, z)
        assert bool(torch.any(slope != 0.0)) is learns
    lowest = d.projected_cross_entropy(z.detach(), [2], rates, method="literal", score="literal", fraction=0.3)
    assert float(lowest) > 3.0  # eq. 4 as printed selects the class of the lowest logit
