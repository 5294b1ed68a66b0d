"""Everything the comparison knows of one fit, and of two fits of one prior."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from scalemix.comparison.diagnostics import Diagnostics, ReferenceRule, diagnose
from scalemix.comparison.distances import coefficient_draws, monte_carlo_floor, wasserstein, weight_sites
from scalemix.comparison.loo import Loo
from scalemix.comparison.predictive import HeldOut, held_out, loo
from scalemix.comparison.psis import khat_threshold
from scalemix.comparison.variational import ElboTrend, elbo_trend, guide_khat, guide_loo

if TYPE_CHECKING:
    from scalemix.posterior import Posterior

__all__ = ["Contrast", "Fit", "contrast", "judge"]

NAN = float("nan")


@dataclass(frozen=True)
class Fit:
    """One row of the table before it is a row.

    Attributes:
        diagnostics: of a sampler's fit; ``None`` for a guide.
        trend: of the ELBO; ``None`` for a sampler, and for a guide that kept no losses.
        khat: of the guide; nan for a sampler.
    """

    name: str
    posterior: Posterior
    diagnostics: Diagnostics | None
    trend: ElboTrend | None
    khat: float
    loo: Loo
    held_out: HeldOut

    @property
    def is_guide(self) -> bool:
        return self.posterior.log_guide is not None

    @property
    def converged(self) -> bool | None:
        """A sampler's fit: the reference rule holds. A guide's: the ELBO stands still; ``None`` if unknown."""
        if self.diagnostics is not None:
            return self.diagnostics.is_reference
        return None if self.trend is None else self.trend.converged

    @property
    def khat_limit(self) -> float:
        """The largest k-hat at which this many draws can be reweighted."""
        return khat_threshold(self.posterior.log_joint.size)


@dataclass(frozen=True)
class Contrast:
    """One fit against the reference of its prior, over all coefficients.

    Attributes:
        distance: mean 1-Wasserstein distance of the marginals, units of the coefficients.
        floor: the same between two halves of the reference.
        sd_ratio: (k,) sd of the fit over sd of the reference.
        shift: (k,) difference of means over sd of the reference.
    """

    distance: float
    floor: float
    sd_ratio: np.ndarray
    shift: np.ndarray

    @property
    def times_floor(self) -> float:
        return self.distance / self.floor if self.floor > 0 else math.inf


def judge(
    name: str,
    posterior: Posterior,
    *,
    data: Sequence[Any] | None = None,
    target_scale: tuple[float, float] = (0.0, 1.0),
    rule: ReferenceRule | None = None,
) -> Fit:
    """All that can be said of one fit without looking at another; what cannot be said is nan or ``None``."""
    is_guide = posterior.log_guide is not None
    khat = guide_khat(posterior) if is_guide else NAN
    return Fit(
        name,
        posterior,
        None if is_guide else diagnose(posterior, rule=rule),
        elbo_trend(posterior.losses) if is_guide and posterior.losses is not None else None,
        khat,
        guide_loo(posterior, khat=khat) if is_guide else loo(posterior),
        HeldOut(NAN, NAN) if data is None else held_out(posterior, data, target_scale=target_scale),
    )


def contrast(posterior: Posterior, reference: Posterior) -> Contrast:
    """Compare the coefficients of two fits of one model; both must hold the reference's weight sites.

    Raises: ValueError if a site is missing or of another shape.
    """
    sites = weight_sites(reference)
    for site in sites:
        if site not in posterior.draws:
            raise ValueError(f"the fits share no site {site!r}: compare fits of one model")
        if posterior.draws[site].shape[2:] != reference.draws[site].shape[2:]:
            shapes = f"{posterior.draws[site].shape[2:]} and {reference.draws[site].shape[2:]}"
            raise ValueError(f"{site!r} has shapes {shapes}: compare fits of one model and one data set")
    ours, theirs = coefficient_draws(posterior, sites), coefficient_draws(reference, sites)
    sd = theirs.std(axis=(0, 1))
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = ours.std(axis=(0, 1)) / sd
        shift = (ours.mean(axis=(0, 1)) - theirs.mean(axis=(0, 1))) / sd
    return Contrast(float(wasserstein(ours, theirs).mean()), monte_carlo_floor(theirs), ratio, shift)
