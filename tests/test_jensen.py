"""Jensen's gap: known answers, closed forms, what the printed series get wrong, and Monte Carlo in its standard errors."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from known_answers import KNOWN
from scipy import special, stats

import scalemix as sm
from scalemix import noise
from scalemix.jensen import JensenGap

Y, X, W = np.array([1.2, -0.4, 0.7]), np.array([1.0, 0.5, -0.3]), 0.9
A, Y2 = np.array([[0.6, -0.2, 0.4], [0.1, 0.9, -0.5]]), np.array([0.8, -0.3])
X4 = np.array([[1, 0.5, -1], [0, 2, 0.3], [-0.7, 0.1, 1.1], [0.4, -1.2, 0.8]])
Y4, W3 = np.array([0.9, -0.2, 1.5, 0.1]), np.array([0.5, -0.3, 0.8])
DROPOUT = noise.Bernoulli.from_dropout_rate(0.3)
INVERSE_NAKAGAMI = noise.InverseNakagami(5.0, 1.7**-0.5)  # m = 2.5, Omega = 1.7


def toy(xi: np.ndarray) -> np.ndarray:
    return -0.5 * np.sum((Y - X * W * xi) ** 2, axis=1)


def three_noises(xi: np.ndarray) -> np.ndarray:
    return -0.5 * np.sum((Y2 - xi @ A.T) ** 2, axis=1)


def masked(xi: np.ndarray) -> np.ndarray:
    return -0.5 * (Y4 - (xi * W3) @ X4.T) ** 2


def within_errors(found: JensenGap, gap: float) -> bool:
    return 0.0 < found.standard_error < 0.01 and abs(found.gap - gap) < 4 * found.standard_error


def toy_slopes() -> tuple[float, float]:
    """g and h: first and second derivative of the toy's log-likelihood at ξ = 1."""
    return float(np.sum(X * W * (Y - X * W))), float(-np.sum((X * W) ** 2))


def test_known_answer_c1() -> None:
    law, (g, h), v = noise.Gaussian(1.0, 0.4), toy_slopes(), 0.16
    gap = sm.jensen_gap(toy, law).gap
    assert gap == pytest.approx(KNOWN["C1"].value, rel=1e-6)
    assert gap == pytest.approx(-0.5 * math.log(1 - h * v) + g**2 * v / (2 * (1 - h * v)) - h * v / 2, rel=1e-10)
    assert within_errors(sm.jensen_gap(toy, law, method="mc", seed=1), KNOWN["C1"].value)


def test_known_answer_c2() -> None:
    law = noise.Gaussian(1.0, 0.2)
    assert sm.jensen_gap(three_noises, law, num_noises=3).gap == pytest.approx(KNOWN["C2"].value, rel=1e-6)
    assert within_errors(sm.jensen_gap(three_noises, law, num_noises=3, method="mc", seed=1), KNOWN["C2"].value)


def test_known_answer_c3() -> None:
    found = sm.hierarchical_gap([0.6], INVERSE_NAKAGAMI, base_scale=0.9)
    assert found.gap == pytest.approx(KNOWN["C3"].value, rel=1e-6)
    assert found.log_marginal == pytest.approx(stats.t(5.0, scale=0.9 / math.sqrt(1.7)).logpdf(0.6), rel=1e-10)
    for m, u in ((2.5, 0.1), (0.6, 3.0), (40.0, 1.0)):
        closed = special.gammaln(m + 0.5) - special.gammaln(m) - 0.5 * special.digamma(m) - (m + 0.5) * math.log1p(u / (2 * m)) + u / 2
        assert sm.hierarchical_gap([math.sqrt(u)], noise.InverseNakagami(2 * m)).gap == pytest.approx(closed, rel=1e-8)


def test_known_answer_c4() -> None:
    w = np.array([0.6, -0.2, 0.9])
    shared = sm.hierarchical_gap(w, INVERSE_NAKAGAMI, base_scale=0.9)
    assert shared.gap == pytest.approx(KNOWN["C4"].value, rel=1e-6)
    apart = sm.hierarchical_gap(w[:, None], INVERSE_NAKAGAMI, base_scale=0.9)
    assert apart.gap == pytest.approx(sum(sm.hierarchical_gap([each], INVERSE_NAKAGAMI, base_scale=0.9).gap for each in w), rel=1e-10)
    assert apart.bound == pytest.approx(shared.bound, rel=1e-12)
    assert apart.gap > shared.gap + 0.01


def test_known_answers_c5_and_c6() -> None:
    shared = sm.jensen_gap(masked, DROPOUT, num_noises=3)
    fresh = sm.jensen_gap(masked, DROPOUT, num_noises=3, noise_plate="example")
    masks = np.array(list(itertools.product([0.0, 1 / 0.7], repeat=3)))
    prob = np.prod(np.where(masks > 0, 0.7, 0.3), axis=1)
    assert shared.bound == pytest.approx(-KNOWN["C5"].value, rel=1e-6)
    assert shared.bound == pytest.approx(-0.5 * np.sum((Y4 - X4 @ W3) ** 2) - 0.5 * 0.3 / 0.7 * np.sum(X4**2 * W3**2), rel=1e-12)
    assert shared.log_marginal == pytest.approx(KNOWN["C6"].value, rel=1e-6)
    assert shared.log_marginal == pytest.approx(math.log(prob @ np.exp(masked(masks).sum(axis=1))), rel=1e-12)
    assert fresh.bound == pytest.approx(shared.bound, rel=1e-12)
    assert fresh.log_marginal == pytest.approx(KNOWN["C6b"].value, rel=1e-6)
    for found, plate in ((shared, "global"), (fresh, "example")):
        drawn = sm.jensen_gap(masked, DROPOUT, num_noises=3, noise_plate=plate, method="mc", seed=2)
        assert within_errors(drawn, found.gap)


def test_the_printed_series_is_wrong_beyond_its_first_term() -> None:
    """For ξ ~ N(1, s²) the s⁴ term is ½ g² h + ¼ h² here (the third derivative is 0), not the printed −⅛ Ω² with Ω = g² + h."""
    g, h = toy_slopes()
    s = 0.05
    rest = (sm.jensen_gap(toy, noise.Gaussian(1.0, s)).gap - 0.5 * s**2 * g**2) / s**4
    assert rest == pytest.approx(0.5 * g**2 * h + 0.25 * h**2, rel=0.02)
    assert rest == pytest.approx(0.217, abs=0.005)
    assert -0.125 * (g**2 + h) ** 2 == pytest.approx(-0.112, abs=0.001)


def test_gates_do_not_concentrate() -> None:
    """gap/Var[ξ] → e^Δ − 1 − Δ, Δ = ℓ(0) − ℓ(1), as the probability of 0 goes to 0: no derivative at 1 knows it."""
    delta = float((toy(np.zeros((1, 1))) - toy(np.ones((1, 1))))[0])
    rate = 1e-6
    found = sm.jensen_gap(toy, noise.Bernoulli(1.0 - rate)).gap / (rate * (1.0 - rate))
    assert found == pytest.approx(math.exp(delta) - 1 - delta, rel=1e-4)
    assert abs(found - 0.5 * toy_slopes()[0] ** 2) > 0.05


@pytest.mark.parametrize("law", [noise.Bernoulli(0.7), noise.Rayleigh(), noise.Gaussian(1.0, 0.5), noise.HalfCauchy()], ids=str)
def test_hierarchical_gap_is_infinite_where_the_inverse_square_is(law: noise.Noise) -> None:
    found = sm.hierarchical_gap([0.4, -0.3], law)
    assert found.bound == -math.inf and found.gap == math.inf
    assert math.isfinite(found.log_marginal)
    if isinstance(law, noise.Rayleigh):
        assert sm.hierarchical_gap([0.4], law).log_marginal == pytest.approx(stats.laplace.logpdf(0.4), rel=1e-10)


def test_no_noise_no_gap() -> None:
    assert sm.jensen_gap(toy, noise.Constant(1.3)).gap == 0.0
    assert sm.hierarchical_gap([0.4], noise.Constant(2.0)).gap == pytest.approx(0.0, abs=1e-15)


def test_refusals() -> None:
    with pytest.raises(ValueError, match="method='taylor'"):
        sm.jensen_gap(toy, DROPOUT, method="taylor")
    with pytest.raises(ValueError, match="noise_plate='case'"):
        sm.jensen_gap(toy, DROPOUT, noise_plate="case")
    with pytest.raises(ValueError, match="too many settings"):
        sm.jensen_gap(toy, noise.Rayleigh(), num_noises=4)
    with pytest.raises(ValueError, match="return shape"):
        sm.jensen_gap(lambda xi: 0.0, DROPOUT)
    with pytest.raises(ValueError, match="each example"):
        sm.jensen_gap(toy, DROPOUT, noise_plate="example")
    with pytest.raises(ValueError, match="row of zeros"):
        sm.hierarchical_gap([0.0, 0.0], DROPOUT)
