"""Normal guides on ridge regression, whose posterior is a normal: full rank finds it, mean field is too narrow and the report says so."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from scipy import stats as scipy_stats

import scalemix as sm
import scalemix.numpyro as in_numpyro
from scalemix.comparison import elbo, guide_khat, guide_loo
from scalemix.inference import full_rank, low_rank, mean_field, nuts

pytestmark = pytest.mark.slow
stats: Any = scipy_stats  # its frozen laws carry no types

SIGMA, N, P = 0.7, 60, 4
RNG = np.random.default_rng(0)
X = RNG.normal(size=(N, P)) @ (np.eye(P) + 0.5)  # correlations of about -0.4 in the posterior
Y = X @ np.array([1.0, -1.0, 0.5, 0.0]) + SIGMA * RNG.normal(size=N)
LONG = {"num_steps": 8000, "num_particles": 16, "learning_rate": 0.02, "decay": 0.001, "progress": False}


def ridge(ppl: Any, x: Any, y: Any = None) -> Any:
    w = ppl.weight("w1", (P,), sm.Normal(1.0))
    with ppl.data_plate(x):
        return ppl.sample("y", ppl.dist.Normal(ppl.linear(x, w[..., None])[..., 0], SIGMA), obs=y)


def conjugate(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    cov = np.linalg.inv(np.eye(P) + X[rows].T @ X[rows] / SIGMA**2)
    return cov @ X[rows].T @ Y[rows] / SIGMA**2, cov


MEAN, COV = conjugate(np.arange(N))
SD = np.sqrt(np.diag(COV))


@pytest.fixture(scope="module")
def full() -> Any:
    return full_rank.fit(in_numpyro, ridge, X, Y, seed=0, settings=full_rank.Settings(num_draws=40_000, **LONG))


def test_full_rank_finds_the_conjugate_answer(full: Any) -> None:
    """To 2 % of an sd and of a product of sds: 3 to 4 Monte Carlo standard errors of 40 000 draws, 1/√S and √(2/S)."""
    w = full.draws["w1"][0]
    assert full.info.method == "full_rank"
    assert np.abs((w.mean(axis=0) - MEAN) / SD).max() < 0.02
    assert np.abs((np.cov(w.T) - COV) / np.outer(SD, SD)).max() < 0.02


def test_its_reweighted_elpd_is_exact_leave_one_out(full: Any) -> None:
    exact = 0.0
    for i in range(N):
        mean, cov = conjugate(np.delete(np.arange(N), i))
        exact += stats.norm.logpdf(Y[i], X[i] @ mean, math.sqrt(SIGMA**2 + X[i] @ cov @ X[i]))
    found = guide_loo(full)
    assert guide_khat(full) < 0.5
    assert found.monte_carlo_error < 0.05
    assert found.elpd == pytest.approx(exact, abs=4 * found.monte_carlo_error)


def test_its_elbo_is_the_evidence(full: Any) -> None:
    found, error = elbo(full)
    evidence = stats.multivariate_normal(np.zeros(N), SIGMA**2 * np.eye(N) + X @ X.T).logpdf(Y)
    assert evidence - 0.01 - 4 * error < found < evidence + 4 * error  # 0.01 nats: what is left after the last step


@pytest.fixture(scope="module")
def comparison(full: Any) -> Any:
    short = {"num_steps": 3000, "num_particles": 4, "learning_rate": 0.02, "decay": 0.01, "progress": False}
    fits = {
        "ridge nuts": nuts.fit(in_numpyro, ridge, X, Y, seed=0, settings=nuts.Settings(num_warmup=300, num_draws=500, progress=False)),
        "ridge mean field": mean_field.fit(in_numpyro, ridge, X, Y, seed=0, settings=mean_field.Settings(**short)),
        "ridge low rank": low_rank.fit(in_numpyro, ridge, X, Y, seed=0, settings=low_rank.Settings(**short)),
        "ridge full rank": full,
    }
    return sm.compare(fits)


def test_mean_field_is_called_too_narrow_by_the_report(comparison: Any, tmp_path: Any) -> None:
    told = {sentence.split(":")[0].split(",")[0]: sentence for sentence in comparison.verdicts}
    assert "is a valid reference" in told["ridge"]
    assert "; too narrow: its coefficients have" in told["ridge mean field"]
    assert "; about as wide as NUTS: " in told["ridge full rank"]
    assert "within Monte Carlo noise" in told["ridge full rank"] and "but not jointly" not in told["ridge full rank"]
    path = comparison.report(tmp_path)
    for name in ("report.md", "report.html"):
        assert told["ridge mean field"] in (path.parent / name).read_text(encoding="utf-8")
    narrowing = 1 / (SD * np.sqrt(np.diag(np.linalg.inv(COV))))  # the optimum of mean field has the diagonal of the precision
    assert comparison.contrasts["ridge mean field"].sd_ratio == pytest.approx(narrowing, rel=0.1)


def test_the_elbo_orders_the_families(comparison: Any) -> None:
    """Each holds the one before it; mean field of a normal posterior misses ½ log(Π precision_ii |cov|) nats."""
    elbos = comparison.table["elbo"]
    assert elbos["ridge mean field"] < elbos["ridge low rank"] < elbos["ridge full rank"]
    missing = 0.5 * np.log(np.prod(np.diag(np.linalg.inv(COV))) * np.linalg.det(COV))
    error = math.hypot(*comparison.table.loc[["ridge mean field", "ridge full rank"], "elbo_se"])
    assert elbos["ridge full rank"] - elbos["ridge mean field"] == pytest.approx(missing, abs=4 * error + 0.02)
