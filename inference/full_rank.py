"""Full-rank variational inference: one normal with any covariance over all sites on the unconstrained space.

q(θ) = N(u; m, L Lᵀ), θ = T(u), L lower triangular: exact where the posterior of u is normal, as in linear regression with known scales.
A gradient step costs d² for d unconstrained numbers, so it is for models up to some hundreds of them; beyond, ``low_rank`` (Kucukelbir et
al., 2017, section 2.4).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from scalemix.inference import svi
from scalemix.inference.svi import Settings
from scalemix.posterior import Posterior

if TYPE_CHECKING:
    from scalemix.language import PPL

__all__ = ["Settings", "fit"]


def fit(
    ppl: PPL, model: Callable[..., Any], *data: Any, seed: int, settings: Settings | None = None, num_data: int | None = None
) -> Posterior:
    """Fit q(u) = N(u; m, L Lᵀ) on the unconstrained space, θ = T(u): Kucukelbir et al. (2017), full-rank.

    Arguments and errors as in ``scalemix.inference.svi.fit``, which is given the guide.
    """
    guide = ppl.autoguide.AutoMultivariateNormal
    return svi.fit(ppl, model, *data, guide=guide, seed=seed, settings=settings, num_data=num_data, method="full_rank")
