"""Rows I7 and I8: the log-uniform prior of variational dropout, cut off so as to be a density, and what becomes of it as the cut goes to 0.

y = 2 ~ N(w, 1). Cut off on w itself, w = ±ξ with ξ log-uniform on [a, 100]; its density is that of ``noise.LogUniform`` in each language.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from known_answers import KNOWN
from scipy import stats

import scalemix as sm
import scalemix.numpyro as in_numpyro
import scalemix.pyro as in_pyro
from scalemix import noise
from scalemix.priors import LogUniform, SmoothLogUniform

Y, HIGH = 2.0, 100.0
CUTS = {1e-2: 0.96450234, 1e-4: KNOWN["I7"].value, 1e-8: 0.38465376, 1e-16: 0.21350823}  # a: E[w | y]


@pytest.fixture(params=[in_numpyro, in_pyro], ids=lambda ppl: ppl.name)
def ppl(request: pytest.FixtureRequest) -> Iterator[Any]:
    with request.param.engine.precision("float64", "cpu"):
        yield request.param


def _line(low: float, high: float) -> tuple[np.ndarray, np.ndarray]:
    """Gauss-Legendre nodes and weights on 800 panels: as many for every cut, so that JAX compiles the density once."""
    x, weight = np.polynomial.legendre.leggauss(14)
    half = 0.5 * (high - low) / 800
    return (low + half * (2.0 * np.arange(800)[:, None] + 1.0 + x)).ravel(), half * np.tile(weight, 800)


def _evidence(ppl: Any, low: float) -> tuple[float, float]:
    """∫ p(y | w)/|w| dw over low ≤ |w| ≤ 100, from the language's density of ξ, and E[w | y]."""
    t, weight = _line(np.log(low), np.log(HIGH))
    xi = np.exp(t)
    density = np.exp(np.asarray(noise.LogUniform(low, HIGH).law(ppl.dist).log_prob(ppl.array(xi))))
    right, left = (weight * xi * density * stats.norm.pdf(Y, sign * xi) for sign in (1.0, -1.0))
    return np.log(HIGH / low) * np.sum(right + left), np.sum(xi * (right - left)) / np.sum(right + left)


def test_i7_log_uniform_cut_off_on_the_weight(ppl: Any) -> None:
    means = {low: _evidence(ppl, low)[1] for low in CUTS}
    assert means[1e-4] == pytest.approx(KNOWN["I7"].value, rel=1e-9)
    np.testing.assert_allclose(list(means.values()), list(CUTS.values()), rtol=2e-8)


def test_i8_the_log_uniform_has_no_posterior(ppl: Any) -> None:
    """Each e-fold nearer to 0 adds 2 N(y; 0, 1) to the normalizing constant, without end: the posterior is all next to 0."""
    grown = [_evidence(ppl, low / np.e)[0] - _evidence(ppl, low)[0] for low in (1e-8, 1e-16, 1e-30)]
    np.testing.assert_allclose(grown, KNOWN["I8"].value, rtol=1e-7)
    means = [_evidence(ppl, low)[1] for low in (1e-2, 1e-4, 1e-8, 1e-16, 1e-50, 1e-300)]
    assert np.all(np.diff(means) < 0.0)
    assert means[-1] < 0.02


def test_i8_of_the_smooth_log_uniform(ppl: Any) -> None:
    """γ = ξ² has half the e-folds of ξ: each of γ adds N(y; 0, 1)."""

    def evidence(low: float) -> float:
        t, weight = _line(0.5 * np.log(low) - 25.0, 5.0)
        w = np.exp(t)
        law = ppl.distribution(SmoothLogUniform(low, HIGH), ())
        density = np.exp(np.asarray(law.log_prob(ppl.array(w))))
        return np.log(HIGH / low) * np.sum(weight * w * density * (stats.norm.pdf(Y, w) + stats.norm.pdf(Y, -w)))

    assert evidence(1e-12 / np.e) - evidence(1e-12) == pytest.approx(0.5 * KNOWN["I8"].value, rel=1e-7)


def test_i8_the_uncut_prior_says_so() -> None:
    prior = LogUniform()
    assert not prior.proper
    with pytest.raises(ValueError, match="no density of w"):
        sm.log_marginal(prior, 1.0)


ROWS = (
    *(f"A{i}" for i in range(1, 11)),
    *(f"B{i}" for i in range(1, 6)),
    *(f"C{i}" for i in range(1, 7)),
    "E9",
    *(f"I{i}" for i in (*range(1, 11), *range(12, 18), 19)),
)


def test_every_known_answer_has_a_test_of_its_name() -> None:
    """A row is in the name of a test or its id; the further numbers of a row are at least used."""
    sources = "\n".join(path.read_text().partition("ROWS = (")[0] for path in Path(__file__).parent.glob("test_*.py"))
    names = {part.upper() for name in re.findall(r"def test_(\w+)\(", sources) for part in name.split("_")}
    ids = set(re.findall(r'(?<!KNOWN\[)"([A-Z]\d+[a-z]?)[".]', sources))
    assert set(ROWS) <= names | ids
    used = set(re.findall(r'KNOWN\["(\w+)"\]', sources))
    assert {row.partition(".")[0] for row in KNOWN} <= names | ids | used
