"""How well a fit predicts: leave-one-out on its own data; error, log density, CRPS, coverage and calibration on held-out data."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import logsumexp

from scalemix.comparison.loo import Loo, leave_one_out, log_likelihood_matrix
from scalemix.comparison.scores import calibration_error, coverage, crps, pit
from scalemix.comparison.variational import functional_khat, guide_log_ratios, guide_loo

if TYPE_CHECKING:
    from scalemix.posterior import Posterior

__all__ = ["COVERAGES", "HeldOut", "held_out", "loo"]

COVERAGES = (0.5, 0.9)
NAN = float("nan")


@dataclass(frozen=True)
class HeldOut:
    """Prediction of data the fit has not seen, in original units. What needs a number as outcome is nan where it is a class.

    Attributes:
        rmse: root mean squared error of the predictive mean, units of y.
        log_density: mean over cases of log p(yᵢ | data), nats per case, density per unit of y.
        crps: mean over cases of the continuous ranked probability score, units of y; down is better.
        coverage: by probability, the share of outcomes in the central predictive interval (``scores.coverage``).
        calibration_error: mean over all levels of how far a predictive probability is off (``scores.calibration_error``).
        pit: (n,) the predictive distribution function at the outcomes.
        khat: of a guide, the k-hat of its draws reweighted for these predictive densities (``functional_khat``); nan for a sampler.
    """

    rmse: float = NAN
    log_density: float = NAN
    crps: float = NAN
    coverage: dict[float, float] = field(default_factory=lambda: dict.fromkeys(COVERAGES, NAN))
    calibration_error: float = NAN
    pit: np.ndarray = field(default_factory=lambda: np.empty(0), repr=False)
    khat: float = NAN


def loo(posterior: Posterior, *, khat: float | None = None) -> Loo:
    """PSIS-LOO of the fit ``posterior``: of a sampler by the weights 1/p(yᵢ | θ) of Vehtari, Gelman and Gabry (2017), of a guide by
    p(θ, y)/q(θ)/p(yᵢ | θ) (:func:`guide_loo`, blank if its ``khat`` is too high), of one without a density blank.

    Raises: ValueError if the fit holds no pointwise log-likelihood.
    """
    if posterior.log_guide is not None:
        return guide_loo(posterior, khat=khat)
    if posterior.is_variational:
        return Loo.blank()
    return leave_one_out(log_likelihood_matrix(posterior))


def held_out(posterior: Posterior, data: Sequence[Any], *, target_scale: tuple[float, float] = (0.0, 1.0)) -> HeldOut:
    """Error, log density, CRPS, coverage and calibration on held-out data.

    log p(yᵢ | data) = log (1/S) Σₛ p(yᵢ | θₛ), the density of the predictive law, not a mean of log densities. CRPS and what
    follows are from one draw of yᵢ for each θₛ. Noises that belong to the rows of the fit are drawn anew from their prior, as MC dropout
    predicts.

    Args:
        posterior: a fit with its model.
        data: what the fit was given, for other cases: inputs, then the outcome, in the units of the fit.
        target_scale: (location, scale) that took the outcome to those units, y_fit = (y - location)/scale; results are in units of y:
            the error and CRPS times scale, the log density minus log(scale).

    Raises: ValueError for data without an outcome, a scale that is not positive, or a posterior loaded without its model.
    """
    if not isinstance(data, Sequence) or len(data) < 2:
        raise ValueError("data= is the held-out (inputs, outcome), e.g. data=(x_test, y_test)")
    scale = float(target_scale[1])
    if not (scale > 0 and math.isfinite(scale)):
        raise ValueError(f"target_scale={tuple(target_scale)!r}: give (location, scale) with a positive scale")
    *inputs, outcome = data
    noise = posterior.noise_of_new_rows
    pointwise = posterior.pointwise_log_likelihood(*inputs, outcome, noise=noise)
    sites = [np.asarray(value, dtype=float).reshape(value.shape[0] * value.shape[1], -1) for value in pointwise.values()]
    log_likelihood = np.concatenate(sites, axis=1)
    densities = np.asarray(logsumexp(log_likelihood, axis=0)) - math.log(log_likelihood.shape[0])
    khat = NAN
    if posterior.log_guide is not None:
        khat = functional_khat(np.exp(log_likelihood - densities), guide_log_ratios(posterior).reshape(-1))
    log_density = float(densities.mean()) - math.log(scale)
    prediction = posterior.predict(*inputs, seed=posterior.info.seed, noise=noise)
    mean, target = np.asarray(prediction.mean, dtype=float), np.asarray(outcome, dtype=float)
    if mean.shape != target.shape:
        return HeldOut(log_density=log_density, khat=khat)
    draws, target = np.asarray(prediction.draws).reshape(len(prediction.draws), -1), target.reshape(-1)
    transforms = pit(draws, target)
    return HeldOut(
        scale * math.sqrt(float(np.mean(np.square(mean.reshape(-1) - target)))),
        log_density,
        scale * float(crps(draws, target).mean()),
        {prob: coverage(draws, target, prob) for prob in COVERAGES},
        calibration_error(transforms),
        transforms,
        khat,
    )
