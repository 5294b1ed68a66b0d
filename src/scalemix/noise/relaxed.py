"""Gates made continuous: the site is a logit ℓ ~ Logistic on the whole line, in which a gradient can move, and ξ a squashed ℓ."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import special, stats

from scalemix import closed_form
from scalemix.checks import check_between, check_number, check_positive
from scalemix.laws import Concrete
from scalemix.noise.base import Noise
from scalemix.quadrature import log_integral

__all__ = ["HardConcrete", "RelaxedBernoulli"]

FAR = 745.0  # |ℓ − loc| in units of the scale beyond which a logistic density is below the smallest double


@dataclass(frozen=True)
class _Gate(Noise, ABC):
    """What the two share: ξ as a function of ℓ, and integrals over ℓ, in which both are smooth."""

    @abstractmethod
    def _concrete(self) -> Concrete:
        """The law of ξ."""

    def law(self, dist: Any) -> Any:
        concrete = self._concrete()
        return dist.Logistic(concrete.loc, concrete.scale)

    def site_mean(self) -> float:
        return self._concrete().loc

    def scipy(self) -> Any:
        return self._concrete()

    def power_mean(self, power: int) -> float:
        if self.atom > 0.0 and power < 0:
            return math.inf
        concrete = self._concrete()
        if concrete.low == 0.0 and -power * concrete.scale >= 1.0:  # σ(ℓ)ᵏ grows like e^{kℓ}, the logistic density falls like e^{ℓ/scale}
            return math.inf
        inside = float(np.exp(self._log_mean(lambda xi: power * np.log(xi), [concrete.loc])[0]))
        return inside + concrete.at_one

    def log_marginal(self, w: Any, base_scale: float) -> Any:
        """log of P(ξ = 1) N(w; 0, σ₀²) + ∫ N(w; 0, σ₀² ξ²) p(ℓ) dℓ, σ₀ = base_scale; the atom at 0 is left out."""
        w = np.asarray(w, dtype=float)
        size = np.abs(w.reshape(-1, 1))
        concrete = self._concrete()
        near = concrete.logit(np.clip(size / base_scale, 1e-300, 0.999))
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            inside = self._log_mean(
                lambda xi: closed_form.normal(size / xi, base_scale) - np.log(xi), [concrete.loc, near[:, 0]], len(size)
            )
            whole = np.logaddexp(inside, np.log(concrete.at_one) + closed_form.normal(size[:, 0], base_scale))
        pole = concrete.scale >= 1.0  # E[1/ξ] = ∞
        return np.where((w == 0.0) & pole, math.inf, whole.reshape(w.shape))

    def _log_mean(self, log_f: Callable[[Any], Any], marks: list[Any], rows: int = 1) -> Any:
        """log E[exp(log_f(ξ)) 1(0 < ξ < 1)], one for each row."""
        concrete = self._concrete()
        low = concrete.logit(0.0) if concrete.low < 0.0 else concrete.loc - FAR * concrete.scale
        high = concrete.logit(1.0) if concrete.high > 1.0 else concrete.loc + FAR * concrete.scale
        span = concrete.high - concrete.low

        def log_integrand(logit: Any) -> Any:
            xi = special.expit(logit) * span + concrete.low
            with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
                value = log_f(np.maximum(xi, 1e-300)) + stats.logistic.logpdf(logit, concrete.loc, concrete.scale)
            return np.where(xi > 0.0, value, -math.inf)

        clipped = [np.clip(np.broadcast_to(np.nan_to_num(mark), rows), low, high) for mark in marks]
        return log_integral(log_integrand, np.full(rows, float(low)), np.full(rows, float(high)), clipped)


@dataclass(frozen=True)
class RelaxedBernoulli(_Gate):
    """ξ = σ(ℓ), ℓ ~ Logistic(logit(π)/T, 1/T): the binary concrete law; T → 0 is Bernoulli(π). The site holds ℓ.

    P(ξ > ½) = π at every temperature T. Proper and continuous, but with two modes next to 0 and 1: raise T to about 0.5 for NUTS.
    Maddison, Mnih and Teh (2017), the binary case of their law; "concrete dropout" of Gal, Hron and Kendall (2017) has T = 0.1.

    Raises: ValueError unless 0 < inclusion_prob < 1 and temperature > 0.
    """

    inclusion_prob: float = 0.5
    temperature: float = 0.5

    def __post_init__(self) -> None:
        check_between("RelaxedBernoulli(inclusion_prob=)", self.inclusion_prob, 0.0, 1.0)
        if self.inclusion_prob in (0.0, 1.0):
            raise ValueError(f"RelaxedBernoulli(inclusion_prob={self.inclusion_prob}) has no logit: give a number between 0 and 1")
        check_positive("RelaxedBernoulli(temperature=)", self.temperature)
        self.check_hyper_laws()

    def _concrete(self) -> Concrete:
        return Concrete(math.log(self.inclusion_prob / (1.0 - self.inclusion_prob)) / self.temperature, 1.0 / self.temperature)

    def from_site(self, ppl: Any, site: Any) -> Any:
        return ppl.sigmoid(site)


@dataclass(frozen=True)
class HardConcrete(_Gate):
    """ξ = min(1, max(0, σ(ℓ)(high − low) + low)), ℓ ~ Logistic(log α/T, 1/T): a gate with atoms at 0 and 1. The site holds ℓ.

    ``log_alpha`` is log α and ``temperature`` T. P(ξ = 0) = σ(T log(−low/high) − log α). Louizos, Welling and Kingma (2018), eq. 10-12.

    A gradient is 0 at the clamps: a sampler moves there by the prior alone, so a Bernoulli gate that is summed out samples better where it
    exists.

    Raises: ValueError unless low < 0, high > 1 and temperature > 0.
    """

    log_alpha: float = 0.0
    temperature: float = 2.0 / 3.0
    low: float = -0.1
    high: float = 1.1

    def __post_init__(self) -> None:
        check_number("HardConcrete(log_alpha=)", self.log_alpha)
        check_positive("HardConcrete(temperature=)", self.temperature)
        if not (check_number("HardConcrete(low=)", self.low) < 0.0 and check_number("HardConcrete(high=)", self.high) > 1.0):
            raise ValueError(f"HardConcrete(low={self.low}, high={self.high}) never reaches 0 and 1: give low < 0 and high > 1")
        self.check_hyper_laws()

    def _concrete(self) -> Concrete:
        return Concrete(self.log_alpha / self.temperature, 1.0 / self.temperature, self.low, self.high)

    def from_site(self, ppl: Any, site: Any) -> Any:
        return ppl.clip(ppl.sigmoid(site) * (self.high - self.low) + self.low, 0.0, 1.0)

    @property
    def atom(self) -> float:
        return self._concrete().at_zero

    def square(self) -> Any:
        raise TypeError(f"{self} has atoms at 0 and 1, and so has its square: use scipy().cdf of the root")

    def log_marginal(self, w: Any, base_scale: float) -> Any:
        """log of P(ξ = 1) N(w; 0, σ₀²) + ∫ N(w; 0, σ₀² ξ²) p(ξ) dξ over t = log ξ, σ₀ = base_scale; the atom at 0 is left out.

        Over ℓ the ξ next to 0 are a point next to logit(0) that no node resolves; over t they are resolved however small w is.
        """
        concrete = self._concrete()
        size = np.abs(np.asarray(w, dtype=float)) / base_scale
        bulk = [math.log(max(float(q), 1e-300)) for q in concrete.ppf([0.02, 0.1, 0.3, 0.5, 0.7, 0.9, 0.98])]
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            x = np.log(np.clip(np.nan_to_num(size.ravel(), nan=1.0), 1e-300, 1e300))

            def log_integrand(t: Any) -> Any:
                return closed_form.normal(np.exp(np.minimum(x[:, None] - t, 340.0)), 1.0) + concrete.logpdf(np.exp(t))

            inside = log_integral(log_integrand, np.minimum(x, min(bulk)) - 60.0, np.zeros(x.shape), [np.minimum(x, 0.0), *bulk])
            whole = np.logaddexp(inside, np.log(concrete.at_one) + closed_form.normal(size.ravel(), 1.0)) - math.log(base_scale)
        value = np.where(size == 0.0, math.inf, np.where(size == math.inf, -math.inf, whole.reshape(size.shape)))
        return np.where(np.isnan(size), math.nan, value)
