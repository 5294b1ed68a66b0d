"""Penalties that look like priors and that only a variational objective can use: no sampler is given them.

A variational objective needs of a prior its divergence D(q) = KL(q(w) ‖ p(w)) alone, and that can exist (up to a constant, or with a
parameter of p put where it is least) where the posterior does not.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field
from typing import Any

from scalemix import divergences
from scalemix.arrays import arrays
from scalemix.checks import check_nonnegative

__all__ = ["GaussianUniformMaximized", "LogUniform", "VariationalPrior"]


@dataclass(frozen=True)
class VariationalPrior:
    """A penalty that looks like a prior and that only a variational objective can use: no sampler is given it.

    Attributes:
        name: how it is called.
        reason: why it has no posterior to sample.
        remedy: the proper prior nearest to it.
    """

    name: str = field(repr=False)
    reason: str = field(repr=False)
    remedy: str = field(repr=False)

    proper = False
    parametrizations: tuple[str, ...] = ()
    sampleable: tuple[str, ...] = ()

    def divergence(self, mean: Any, log_variance: Any) -> Any:
        """D(N(mean, e^log_variance)), elementwise, of arrays of any language.

        Raises: TypeError if a subclass does not define it.
        """
        raise TypeError(f"{type(self).__name__} does not say its divergence: define divergence(mean, log_variance)")

    def divergence_at(self, log_alpha: Any) -> Any:
        """D(N(θ, α θ²)) where it depends on α alone, elementwise, of log α as an array of any language.

        Raises: NotImplementedError for a prior that has no such form.
        """
        raise NotImplementedError(f"the divergence of {self} is no function of α alone: let each weight have a variance of its own")

    def log_density(self, xp: Any, w: Any) -> Any:
        """log p(w) of a plain array ``w`` up to a constant, in the array functions ``xp``; 0 where a point has none of its own."""
        return 0.0 * w

    def scaled(self, scale: float | None) -> VariationalPrior:
        """The prior of scale · w."""
        return self

    def with_method(self, method: str) -> VariationalPrior:
        """The prior whose divergence is computed by ``method``, where it has several."""
        return self

    def __repr__(self) -> str:
        return self.name


@dataclass(frozen=True, repr=False)
class _LogUniform(VariationalPrior):
    method: str = "exact"

    def divergence(self, mean: Any, log_variance: Any) -> Any:
        xp, mean, log_variance = arrays(mean, log_variance)
        return self.divergence_at(divergences.log_alpha(mean, xp.exp(0.5 * log_variance)))

    def divergence_at(self, log_alpha: Any) -> Any:
        return divergences.log_uniform(log_alpha, self.method)

    def log_density(self, xp: Any, w: Any) -> Any:
        return -xp.log(xp.abs(w))

    def with_method(self, method: str) -> VariationalPrior:
        return dataclasses.replace(self, method=method)


@dataclass(frozen=True, repr=False)
class _GaussianUniformMaximized(VariationalPrior):
    low: float = 0.0
    high: float = math.inf

    def divergence(self, mean: Any, log_variance: Any) -> Any:
        return divergences.bounded_gaussian_uniform(mean, log_variance=log_variance, low=self.low, high=self.high)

    def divergence_at(self, log_alpha: Any) -> Any:
        return divergences.gaussian_uniform(log_alpha) if (self.low, self.high) == (0.0, math.inf) else super().divergence_at(log_alpha)

    def scaled(self, scale: float | None) -> VariationalPrior:
        return self if scale is None else dataclasses.replace(self, low=self.low * scale**2, high=self.high * scale**2)


def LogUniform() -> VariationalPrior:  # noqa: N802
    """p(w) ∝ 1/|w|: the improper log-uniform prior of variational dropout (Kingma, Salimans and Welling, 2015; eq. 8 of Liu et al., 2019).

    Its posterior is improper too: all mass is at w = 0, and a sampler drifts there silently.
    """
    return _LogUniform(
        "LogUniform()",
        "its posterior is improper (all mass at w = 0)",
        "sm.SmoothLogUniform(low, high), whose bounds the posterior depends on",
    )


def GaussianUniformMaximized(low: float = 0.0, high: float = math.inf) -> VariationalPrior:  # noqa: N802
    """w ~ N(0, γ) with γ maximized over [low, high]: what VBD optimizes (Liu et al., 2019, eq. 12-17).

    The profile max_γ N(w; 0, γ) = 1/(|w| √(2πe)) is the log-uniform prior again, and there the sparsity comes from. Not a prior with a
    posterior: γ is a point. In a layer whose weights have a further scale s, γ is maximized over [low s², high s²].

    Raises: ValueError unless 0 ≤ low < high.
    """
    check_nonnegative("GaussianUniformMaximized(low=)", low)
    if not low < high:
        raise ValueError(f"GaussianUniformMaximized(low={low}, high={high}) is empty: give low < high")
    return _GaussianUniformMaximized(
        f"GaussianUniformMaximized(low={low:g}, high={high:g})",
        "γ is maximized, not sampled, and the profile is the improper log-uniform prior",
        "sm.GaussianUniform(low, high), which samples γ and does not make sparse, or sm.SmoothLogUniform(low, high), which does",
        low=low,
        high=high,
    )
