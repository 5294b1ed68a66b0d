"""Known posteriors: NUTS in each form and language against quadrature, gates against enumeration.

Given the scales, a weight with normal data is normal; so the posterior is a mixture of normals over the scales, ξ ~ its law as SciPy has it,
and mean, sd and quantiles of w are sums over a fine grid of log ξ (or over all settings of the gates). Each small problem is sampled in many
independent replicates at once: a plate of posteriors that know nothing of one another multiplies the effective sample size of a short run.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from types import ModuleType
from typing import Any

import arviz
import numpy as np
import pytest
from scipy import optimize, special, stats

import scalemix as sm
import scalemix.numpyro as in_numpyro
import scalemix.pyro as in_pyro
from scalemix import likelihoods, models, noise
from scalemix.inference import nuts
from scalemix.priors import ScaleMixture, SpikeAndSlab

Array = np.ndarray

# --- the judge: posteriors as mixtures of normals --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Mixture:
    """Posterior of D weights as a mixture of G normals: probabilities (G,), means and sds (G, D); log p(y) up to the prior's grid."""

    prob: Array
    means: Array
    sds: Array
    log_evidence: float

    @property
    def mean(self) -> Array:
        return self.prob @ self.means

    @property
    def sd(self) -> Array:
        return np.sqrt(self.prob @ (self.sds**2 + self.means**2) - self.mean**2)

    def quantile(self, q: float, j: int) -> float:
        def excess(x: float) -> float:
            return float(self.prob @ special.ndtr((x - self.means[:, j]) / self.sds[:, j])) - q

        return optimize.brentq(excess, self.mean[j] - 40 * self.sd[j], self.mean[j] + 40 * self.sd[j], xtol=1e-10)


def mixture(scales: Array, log_prior: Array, design: Array, y: Array, sd: float) -> Mixture:
    """w | y with y ~ N(design w, sd²) and wⱼ ~ N(0, scales[g, j]²) with probability ∝ e^{log_prior[g]}."""
    inner = scales[:, :, None] * (design.T @ design) * scales[:, None, :] / sd**2 + np.eye(scales.shape[1])
    cov = scales[:, :, None] * np.linalg.inv(inner) * scales[:, None, :]
    means = cov @ (design.T @ y) / sd**2
    fit = means @ (design.T @ y) / sd**2
    log_y = 0.5 * (fit - np.linalg.slogdet(inner)[1]) - 0.5 * y @ y / sd**2 - y.size * math.log(sd * math.sqrt(2 * math.pi))
    log_joint = log_prior + log_y
    total = special.logsumexp(log_joint)
    return Mixture(np.exp(log_joint - total), means, np.sqrt(np.diagonal(cov, axis1=1, axis2=2)), float(total))


def grid(log_pdf: Callable[[Array], Array], step: float) -> tuple[Array, Array]:
    """Nodes ξ and log weights of the trapezoid rule for ∫ p(ξ) f(ξ²) dξ over t = log|ξ|."""
    xi = np.exp(np.arange(-30.0, 15.0, step))
    return xi, np.logaddexp(log_pdf(xi), log_pdf(-xi)) + np.log(xi) + math.log(step)


def log_inverse_nakagami(xi: Array) -> Array:
    """ξ⁻² ~ Gamma(shape 1.5, mean 1), which is m = 1.5, Ω = 1."""
    x = np.maximum(xi, 1e-300)
    return np.where(xi > 0, stats.gamma(1.5, scale=1 / 1.5).logpdf(x**-2.0) + np.log(2) - 3 * np.log(x), -np.inf)


# --- the problems ----------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Problem:
    """y ~ N(design w, sd²), w of the given shape and prior; the law of its scales, one for each weight or one for all."""

    prior: ScaleMixture
    shape: tuple[int, ...]
    y: tuple[float, ...]
    log_pdf: Callable[[Array], Array]
    means: tuple[float, ...]
    design: Array | None = None
    sd: float = 1.0
    tied: bool = False

    def posterior(self) -> Mixture:
        size = math.prod(self.shape)
        design = np.eye(size) if self.design is None else self.design
        if self.tied or size == 1:
            xi, log_weight = grid(self.log_pdf, 0.01)
            return mixture(np.tile(xi[:, None], size), log_weight, design, np.array(self.y), self.sd)
        xi, log_weight = grid(self.log_pdf, 0.15)
        pairs = np.stack(np.meshgrid(xi, xi, indexing="ij"), axis=-1).reshape(-1, 2)
        return mixture(pairs, np.add.outer(log_weight, log_weight).ravel(), design, np.array(self.y), self.sd)


def design_matrix(rows: int) -> Array:
    i, j = np.arange(1, rows + 1)[:, None], np.arange(1, 9)
    return np.sin(0.7 * i * j) + 0.3 * np.cos(i + 2 * j)


DESIGN = design_matrix(20)
OUTCOME = DESIGN @ [2, 0, -1.5, 0, 0, 0.8, 0, 0] + 0.5 * np.sin(3.1 * np.arange(1, 21) ** 2)
TRIPLE = (1.0, -0.5, 2.0)

PROBLEMS = {
    "I1": Problem(ScaleMixture(noise.Rayleigh()), (), (1.5,), stats.rayleigh.logpdf, (0.8056272003,)),
    "I2": Problem(ScaleMixture(noise.HalfCauchy()), (), (2.0,), stats.halfcauchy.logpdf, (1.062529115,)),
    "I3": Problem(ScaleMixture(noise.InverseNakagami(3.0)), (), (2.0,), log_inverse_nakagami, (1.171642088,)),
    "I4": Problem(ScaleMixture(noise.Gaussian(0.0, 1.0)), (), (2.0,), stats.norm.logpdf, (0.8333946344,)),
    "I5": Problem(ScaleMixture(noise.Gaussian(1.0, 0.5)), (), (2.0,), stats.norm(1.0, 0.5).logpdf, (1.018465316,)),
    "I12": Problem(
        ScaleMixture(noise.Rayleigh().per("in")),
        (1, 3),
        TRIPLE,
        stats.rayleigh.logpdf,
        tuple(0.5005608204 * y for y in TRIPLE),
        tied=True,
    ),
    "I13": Problem(
        ScaleMixture(noise.HalfCauchy().per("in")),
        (1, 3),
        TRIPLE,
        stats.halfcauchy.logpdf,
        tuple(0.3626647885 * y for y in TRIPLE),
        tied=True,
    ),
    "I19": Problem(
        ScaleMixture(noise.HalfCauchy()),
        (2,),
        tuple((OUTCOME - 0.8 * DESIGN[:, 5])[:10]),
        stats.halfcauchy.logpdf,
        (2.035441326, -1.401318943),
        design=DESIGN[:10, [0, 2]],
        sd=0.5,
    ),
}


def replicated(ppl: Any, y: dict[str, Any], *, form: str) -> None:
    """Every problem named in ``y``, whose values are (replicates, n): independent posteriors, side by side."""
    with ppl.plate("replicates", len(next(iter(y.values())))):
        for name, outcome in y.items():
            problem = PROBLEMS[name]
            w = ppl.weight(name, problem.shape, problem.prior, parametrization=form)
            mean = w if problem.design is None else ppl.linear(w[..., None, :], ppl.array(problem.design.T))[..., 0, :]
            law = ppl.dist.Normal(mean, problem.sd)
            ppl.sample(f"{name}_y", law.to_event(len(problem.shape)), obs=outcome)


def sample(ppl: ModuleType, names: tuple[str, ...], form: str, replicates: int, seed: int, **settings: Any) -> dict[str, Array]:
    """Draws of each problem's weights (replicate of chain, draw, D)."""
    y = {}
    for name in names:
        problem = PROBLEMS[name]
        outcome = np.array(problem.y).reshape(problem.shape if problem.design is None else -1)
        y[name] = np.tile(outcome, (replicates, *(1,) * outcome.ndim))
    posterior = nuts.fit(ppl, partial(replicated, form=form), y, seed=seed, settings=nuts.Settings(progress=False, **settings))
    size = {name: math.prod(PROBLEMS[name].shape) for name in names}
    chained = {name: np.moveaxis(posterior.draws[name], 2, 1) for name in names}
    return {name: draws.reshape(-1, draws.shape[2], size[name]) for name, draws in chained.items()}
