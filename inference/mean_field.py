"""Mean-field variational inference: an independent normal for each entry of each site on the unconstrained space.

q(θ) = Πᵢ N(uᵢ; mᵢ, sᵢ²), θ = T(u): cheap, and too narrow wherever the posterior is correlated. The ELBO depends on the parametrization:
global scales are often steadier in the hierarchical form (Kucukelbir et al., 2017, section 4).
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
    """Fit q(u) = Πᵢ N(uᵢ; mᵢ, sᵢ²) on the unconstrained space, θ = T(u): Kucukelbir et al. (2017), mean-field.

    Arguments and errors as in ``scalemix.inference.svi.fit``, which is given the guide.
    """
    guide = ppl.autoguide.AutoDiagonalNormal  # one vector of all sites: the same family as AutoNormal, compiled in half the time
    return svi.fit(ppl, model, *data, guide=guide, seed=seed, settings=settings, num_data=num_data, method="mean_field")
