"""Low-rank variational inference: one normal over all sites on the unconstrained space, its covariance a diagonal and a few directions.

q(θ) = N(u; m, W Wᵀ + diag(s²)), θ = T(u), W (d, r) with r = √d, the language's own choice: between ``mean_field``, which has no
correlations, and ``full_rank``, which has all of them and d²/2 parameters (Ong, Nott and Smith, 2018, equation 2).
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
    """Fit q(u) = N(u; m, W Wᵀ + diag(s²)) on the unconstrained space, θ = T(u): Ong, Nott and Smith (2018).

    Arguments and errors as in ``scalemix.inference.svi.fit``, which is given the guide.
    """
    guide = ppl.autoguide.AutoLowRankMultivariateNormal
    return svi.fit(ppl, model, *data, guide=guide, seed=seed, settings=settings, num_data=num_data, method="low_rank")
