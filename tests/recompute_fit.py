"""One fit as its netCDF file has it, and every number of the comparison table that is about it alone, written out a second time.

Read by ``recompute_table.py``; ArviZ, SciPy and the draws, nothing of scalemix's comparison. CRPS, coverage and calibration, which the
comparison has from draws of new outcomes, come from the predictive distribution function itself, with the bounds of Monte Carlo error.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import arviz
import numpy as np
import xarray
from scipy.special import logsumexp
from scipy.stats import linregress, norm, wasserstein_distance

from scalemix.data import Regression

NAN = float("nan")
ERRORS = 5  # Monte Carlo standard errors, where the table has draws of new outcomes


class Between(NamedTuple):
    """What a cell may hold."""

    low: float
    high: float


@dataclass
class Saved:
    """One fit as its file has it; properties are what the table says of it alone."""

    name: str
    tree: dict[str, xarray.Dataset]
    data: Regression

    @cached_property
    def info(self) -> dict[str, Any]:
        return json.loads(self.tree["posterior"].attrs["scalemix"])["info"]

    @cached_property
    def latents(self) -> list[str]:
        return json.loads(self.tree["posterior"].attrs["scalemix"])["latents"]

    @cached_property
    def is_guide(self) -> bool:
        return "log_guide" in self.tree["sample_stats"]

    def draws(self, site: str) -> np.ndarray:
        """(chain × draw, *event)."""
        values = self.tree["posterior"][site].to_numpy()
        return values.reshape(-1, *values.shape[2:])

    @cached_property
    def log_likelihood(self) -> np.ndarray:
        """(chain, draw, n)."""
        return self.tree["log_likelihood"]["y"].to_numpy()

    # --- the sampler: issue by issue of the rule R-hat <= 1.01, ESS >= 400, E-BFMI > 0.3, divergences <= 0.1 %

    def _extreme(self, statistic: Callable[..., xarray.Dataset], largest: bool, stuck: float, **options: Any) -> float:
        """Worst value over all scalars; one that never moves is ``stuck`` if sampled, and left out if deterministic."""
        posterior = self.tree["posterior"].drop_vars([dim for dim in self.tree["posterior"].coords if dim not in ("chain", "draw")])
        values = statistic(posterior, **options)
        found = []
        for site in posterior.data_vars:
            still = np.ptp(posterior[site].to_numpy(), axis=(0, 1)) == 0
            number = np.where(still, stuck if site in self.latents else NAN, values[site].to_numpy())
            found += [each for each in np.ravel(number) if not np.isnan(each)]
        return float((max if largest else min)(found))

    @cached_property
    def worst_rhat(self) -> float:
        return NAN if self.is_guide else self._extreme(arviz.rhat, True, np.inf, method="rank")

    @cached_property
    def min_ess_bulk(self) -> float:
        return NAN if self.is_guide else self._extreme(arviz.ess, False, 0.0, method="bulk")

    @cached_property
    def min_ess_tail(self) -> float:
        return NAN if self.is_guide else self._extreme(arviz.ess, False, 0.0, method="tail")

    @cached_property
    def e_bfmi(self) -> float:
        return NAN if self.is_guide else float(np.min(arviz.bfmi(self.tree["sample_stats"]["energy"].to_numpy())))

    @cached_property
    def divergences(self) -> float:
        return NAN if self.is_guide else float(self.tree["sample_stats"]["diverging"].sum())

    @cached_property
    def converged(self) -> bool:
        if self.is_guide:
            return self._elbo_stands_still()
        ess = min(self.min_ess_bulk, self.min_ess_tail)
        share = self.divergences / self.tree["sample_stats"]["diverging"].size
        return bool(self.worst_rhat <= 1.01 and ess >= 400 and self.e_bfmi > 0.3 and share <= 1e-3)

    def _elbo_stands_still(self) -> bool:
        """Over the last tenth of the steps the ELBO, a line through 20 batch means, moves by at most 0.1 nat or 4 standard errors."""
        losses = self.tree["sample_stats"]["loss"].to_numpy()
        tenth = int(np.ceil(len(losses) / 10))
        batches = min(20, tenth // 2)
        if batches < 5:
            return False
        means = losses[-batches * (tenth // batches) :].reshape(batches, -1).mean(axis=1)
        line = linregress(np.arange(batches) / batches, means)
        return bool(abs(line.slope) <= 0.1 or abs(line.slope) <= 4 * line.stderr)

    # --- prediction

    @cached_property
    def _predicted(self) -> np.ndarray:
        """x w1 + b1 of the held-out cases, (S, n), standardized units."""
        return self.draws("w1") @ self.data.x_test.to_numpy().T + self.draws("b1")[:, None]

    @cached_property
    def test_rmse(self) -> float:
        errors = self.data.target_scale * (self._predicted.mean(axis=0) - self.data.y_test)
        return float(np.sqrt(np.mean(errors**2)))

    @cached_property
    def test_log_density(self) -> float:
        scale = self.data.target_scale
        density = norm.logpdf(scale * self.data.y_test, scale * self._predicted, scale * self.draws("sigma")[:, None])
        return float(np.mean(logsumexp(density, axis=0) - np.log(len(density))))

    @cached_property
    def _cdf(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Of each held-out case: a grid from far below to y and on far above (n, 400), the distribution function there, and at y (n,)."""
        mean, sigma, y = self._predicted, self.draws("sigma")[:, None], self.data.y_test
        low, high = (mean - 8 * sigma).min(axis=0), (mean + 8 * sigma).max(axis=0)
        grid = np.concatenate([np.linspace(np.minimum(low, y), y, 200), np.linspace(y, np.maximum(high, y), 200)]).T
        there = np.array([norm.cdf(points[:, None], mean[:, i], sigma[:, 0]).mean(axis=1) for i, points in enumerate(grid)])
        return grid, there, norm.cdf(y, mean, sigma).mean(axis=0)

    @cached_property
    def test_crps(self) -> Between:
        """∫ (F(z) - 1[y ≤ z])² dz; a draw x moves an estimate from S draws by 2/S ∫_x^∞ (F(z) - 1[y ≤ z]) dz, less its mean."""
        grid, there, _ = self._cdf
        miss = there - np.repeat([0.0, 1.0], 200)
        exact = np.trapezoid(miss**2, grid, axis=1)
        step = np.gradient(grid, axis=1)
        influence = 2 * np.cumsum((miss * step)[:, ::-1], axis=1)[:, ::-1]
        mass = np.diff(there, axis=1, prepend=0.0)
        variance = (mass * influence**2).sum(axis=1) - (mass * influence).sum(axis=1) ** 2
        size, n = self._predicted.shape
        error = ERRORS * np.sqrt(variance.mean() / (size * n))
        return Between(*(self.data.target_scale * (exact.mean() + sign * error) for sign in (-1, 1)))

    def _coverage(self, prob: float) -> Between:
        """Cases whose F(y) is clear of the ends of the interval by five standard errors of a quantile's probability are counted or not."""
        off = np.abs(self._cdf[2] - 0.5) - prob / 2
        doubt = ERRORS * np.sqrt((1 - prob**2) / 4 / len(self._predicted)) + 1 / len(self._predicted)
        return Between(float(np.mean(off <= -doubt)), float(np.mean(off <= doubt)))

    @cached_property
    def coverage_50(self) -> Between:
        return self._coverage(0.5)

    @cached_property
    def coverage_90(self) -> Between:
        return self._coverage(0.9)

    @cached_property
    def calibration_error(self) -> Between:
        """W₁ of F(y) to the uniform law, whose draws are the middles of 10 000 cells; it moves by at most the mean error of F(y)."""
        at = self._cdf[2]
        exact = wasserstein_distance(at, (np.arange(10_000) + 0.5) / 10_000)
        error = 3 * np.mean(np.sqrt(at * (1 - at) / len(self._predicted))) + 1 / len(self._predicted)
        return Between(exact - error, exact + error)

    # --- the guide

    @cached_property
    def elbo(self) -> float:
        return float(np.mean(self._log_ratios)) if self.is_guide else NAN

    @cached_property
    def elbo_se(self) -> float:
        return float(np.std(self._log_ratios, ddof=1) / np.sqrt(self._log_ratios.size)) if self.is_guide else NAN

    def _functional_khat(self, values: np.ndarray) -> float:
        """k-hat of r ‖(h - E h)/sd‖, h = values (S, k), E h by the smoothed weights."""
        mean = np.exp(np.asarray(arviz.psislw(self._log_ratios.copy())[0])) @ values
        distance = np.linalg.norm((values - mean) / values.std(axis=0), axis=1)
        return float(arviz.psislw(self._log_ratios + np.log(distance))[1])

    @cached_property
    def khat_blocks(self) -> float:
        return self._functional_khat(self.draws("w1")) if self.is_guide else NAN

    @cached_property
    def khat_predictive(self) -> float:
        density = norm.pdf(self.data.y_test, self._predicted, self.draws("sigma")[:, None])
        return self._functional_khat(density) if self.is_guide else NAN

    @cached_property
    def gates(self) -> np.ndarray | None:
        """P(slab | w) of the spike-and-slab prior, (S, p)."""
        found = re.fullmatch(r"Bernoulli\(inclusion_prob=(.+), low=(.+), high=(.+)\) × N\(0, (.+)²\)", self.info["prior"])
        if not found:
            return None
        prob, low, high, scale = map(float, found.groups())
        slab, spike = prob * norm.pdf(self.draws("w1"), 0, high * scale), (1 - prob) * norm.pdf(self.draws("w1"), 0, low * scale)
        return slab / (slab + spike)

    @cached_property
    def _log_ratios(self) -> np.ndarray:
        stats = self.tree["sample_stats"]
        return (stats["lp"] - stats["log_guide"]).to_numpy().ravel() if self.is_guide else np.zeros(stats["lp"].size)

    @cached_property
    def khat(self) -> float:
        return float(arviz.psislw(self._log_ratios)[1]) if self.is_guide else NAN

    @cached_property
    def _loo(self) -> tuple[np.ndarray, np.ndarray]:
        """elpd and k-hat of each case; of a guide nothing where its k-hat is above min(1 - 1/log10 S, 0.7)."""
        flat = self.log_likelihood.reshape(-1, self.log_likelihood.shape[-1])
        size, n = flat.shape
        if self.is_guide and not self.khat <= min(1 - 1 / np.log10(size), 0.7):
            return np.full(n, NAN), np.full(n, NAN)
        elpd, shapes = np.empty(n), np.empty(n)
        for i in range(n):
            likelihood = np.exp(self.log_likelihood[..., i] - self.log_likelihood[..., i].max())
            efficiency = 1.0 if self.is_guide else arviz.ess(likelihood, method="mean") / size
            weights, shapes[i] = arviz.psislw(self._log_ratios - flat[:, i], reff=efficiency)
            elpd[i] = logsumexp(weights + flat[:, i])
        return elpd, shapes

    @cached_property
    def elpd_loo(self) -> float:
        return float(self._loo[0].sum())

    @cached_property
    def elpd_loo_se(self) -> float:
        return float(np.sqrt(len(self._loo[0]) * self._loo[0].var()))

    @cached_property
    def pareto_k(self) -> float:
        return float(self._loo[1].max())
