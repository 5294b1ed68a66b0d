"""How well a fit predicts: leave-one-out on its own data, error and log density on held-out data."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import logsumexp

from scalemix.comparison.loo import Loo, leave_one_out, log_likelihood_matrix
from scalemix.comparison.variational import guide_loo

if TYPE_CHECKING:
    from scalemix.posterior import Posterior

__all__ = ["HeldOut", "held_out", "loo"]


@dataclass(frozen=True)
class HeldOut:
    """Prediction of data the fit has not seen, in original units.

    Attributes:
        rmse: root mean squared error of the predictive mean, units of y; nan for an outcome that is no number (class probabilities).
        log_density: mean over cases of log p(yᵢ | data), nats per case, density per unit of y.
    """

    rmse: float
    log_density: float


def loo(posterior: Posterior) -> Loo:
    """PSIS-LOO of the fit ``posterior``: of a sampler by the weights 1/p(yᵢ | θ) of Vehtari, Gelman and Gabry (2017), of a guide by
    p(θ, y)/q(θ)/p(yᵢ | θ) (:func:`guide_loo`, blank if its k-hat is too high).

    Raises: ValueError if the fit holds no pointwise log-likelihood.
    """
    if posterior.log_guide is not None:
        return guide_loo(posterior)
    return leave_one_out(log_likelihood_matrix(posterior))


def held_out(posterior: Posterior, data: Sequence[Any], *, target_scale: tuple[float, float] = (0.0, 1.0)) -> HeldOut:
    """Error and log density on held-out data.

    log p(yᵢ | data) = log (1/S) Σₛ p(yᵢ | θₛ), the density of the predictive law, not a mean of log densities.

    Args:
        posterior: a fit with its model.
        data: what the fit was given, for other cases: inputs, then the outcome, in the units of the fit.
        target_scale: (location, scale) that took the outcome to those units, y_fit = (y - location)/scale; results are in units of y:
            the error times scale, the log density minus log(scale).

    Raises: ValueError for data without an outcome, a scale that is not positive, or a posterior loaded without its model.
    """
    if not isinstance(data, Sequence) or len(data) < 2:
        raise ValueError("data= is the held-out (inputs, outcome), e.g. data=(x_test, y_test)")
    scale = float(target_scale[1])
    if not (scale > 0 and math.isfinite(scale)):
        raise ValueError(f"target_scale={tuple(target_scale)!r}: give (location, scale) with a positive scale")
    *inputs, outcome = data
    pointwise = posterior.pointwise_log_likelihood(*inputs, outcome)
    sites = [np.asarray(value, dtype=float).reshape(value.shape[0] * value.shape[1], -1) for value in pointwise.values()]
    log_likelihood = np.concatenate(sites, axis=1)
    densities = np.asarray(logsumexp(log_likelihood, axis=0)) - math.log(log_likelihood.shape[0])
    mean = np.asarray(posterior.predict(*inputs, seed=posterior.info.seed).mean, dtype=float)
    target = np.asarray(outcome, dtype=float)
    rmse = scale * math.sqrt(float(np.mean(np.square(mean - target)))) if mean.shape == target.shape else math.nan
    return HeldOut(rmse, float(densities.mean()) - math.log(scale))
