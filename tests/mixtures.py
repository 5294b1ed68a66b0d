"""Posteriors that are mixtures of normals: the judge of samplers. Given its scale a weight with normal data is normal."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import optimize, special

__all__ = ["Array", "Mixture", "grid", "mixture"]

Array = np.ndarray


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
