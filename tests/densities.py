"""What the tests of densities share: a stranger's noise, a prior of bare noises, and integrals by SciPy's own quadrature."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, fields
from itertools import pairwise
from typing import Any

import numpy as np
from scipy import integrate, stats

from scalemix import noise
from scalemix.marginal import log_marginal
from scalemix.priors import ScaleMixture

__all__ = [
    "WIDE",
    "FromSciPy",
    "density",
    "line",
    "prior_of",
    "quad_over_scale",
    "scaled_exp1",
    "two_half_cauchy_density",
    "without_closed_form",
]

WIDE = np.logspace(-12, 6, 37)


@dataclass(frozen=True)
class FromSciPy(noise.Noise):
    """A noise as somebody else would write it: a SciPy law and nothing more."""

    name: str
    args: tuple[float, ...] = ()
    scale: float = 1.0

    def scipy(self) -> Any:
        return getattr(stats, self.name)(*self.args, scale=self.scale)


def without_closed_form(value: noise.Noise) -> noise.Noise:
    """The same law with its closed form taken away, so that it is integrated."""
    kind = type(value)
    opened = type(f"Opened{kind.__name__}", (kind,), {"log_marginal": lambda self, w, base_scale: None})
    return opened(**{field.name: getattr(value, field.name) for field in fields(value)})


def prior_of(*noises: noise.Noise, base_scale: float = 1.0, slab: noise.Noise | None = None) -> ScaleMixture:
    return ScaleMixture(*(value.per("layer", name=f"n{i}") for i, value in enumerate(noises)), base_scale=base_scale, slab=slab)


def density(prior: ScaleMixture, w: Any) -> Any:
    return np.exp(log_marginal(prior, w))


def two_half_cauchy_density(s: Any, tau: float) -> Any:
    """Density of λτ₀λ′, the scale of a plain horseshoe: 4/(π² τ₀) · log r / (r² − 1), r = s/τ₀."""
    log_r = np.log(s / tau)
    near = np.abs(log_r) < 1e-8
    return 4 / (math.pi**2 * tau) * np.where(near, 0.5, log_r / np.where(near, 1.0, np.expm1(2 * log_r)))


def quad_over_scale(scale_density: Callable[[float], float], w: float) -> float:
    """∫ N(w; 0, s²) p(s) ds over pieces of log s."""
    edges = sorted({-60.0, -20.0, -6.0, -2.0, 0.0, 2.0, 6.0, 20.0, 60.0, *(math.log(w) + np.array([-4.0, -2.0, 0.0, 2.0]))})

    def integrand(t: float) -> float:
        s = math.exp(t)
        return s * scale_density(s) * math.exp(-0.5 * (w / s) ** 2) / (math.sqrt(2 * math.pi) * s) if w / s < 40 else 0.0

    return math.fsum(integrate.quad(integrand, a, b, epsabs=0, epsrel=1e-11, limit=200)[0] for a, b in pairwise(edges))


def line(low: float, high: float) -> tuple[Any, Any]:
    """Gauss-Legendre nodes and weights, 14 for each e-fold of t = log|w|."""
    x, weight = np.polynomial.legendre.leggauss(14)
    edges = np.linspace(low, high, math.ceil(high - low) + 1)
    half = 0.5 * np.diff(edges)[:, None]
    return (edges[:-1, None] + half * (x + 1)).ravel(), (half * weight).ravel()


def scaled_exp1(u: float) -> float:
    """eᵘ E₁(u) = ∫₀^∞ e^{−ux}/(1 + x) dx, over x = eᵗ."""
    low, high = min(0.0, -math.log(u)) - 40.0, math.log(50 / u)
    edges = np.linspace(low, high, math.ceil((high - low) / 4) + 1)

    def integrand(t: float) -> float:
        return math.exp(-u * math.exp(t)) / (1 + math.exp(-t))

    return math.fsum(integrate.quad(integrand, a, b, epsabs=0, epsrel=1e-13)[0] for a, b in pairwise(edges))
