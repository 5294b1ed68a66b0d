"""Weights whose prior variance is a parameter too: q(w) = N(θ, σ²) and a point γ for each, against w ~ N(0, γ)."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from scalemix.arrays import arrays, clip
from scalemix.divergences import gaussian_uniform_variance, normal
from scalemix.guides.component import REALS, Target
from scalemix.guides.gaussian import Gaussian

if TYPE_CHECKING:
    from scalemix.language import PPL

__all__ = ["PriorVariance"]


@dataclass(frozen=True)
class PriorVariance(Gaussian):
    """q(w) = N(θ, σ²) and q(γ) = δ, the divergence KL(N(θ, σ²) ‖ N(0, γ)) less the constant of a point: Liu et al. (2019), eq. 12-14.

    γ moves by its gradient and is held within [low, high] after each step; where it is least, at θ² + σ² held so, stands what
    ``sm.divergences.bounded_gaussian_uniform`` has. Parameters ``{site}_loc``, ``{site}_log_variance`` and ``{site}_log_gamma``, the last
    first at its best value.

    Args:
        log_variance, mask_above, monte_carlo: as for ``Gaussian``.
        low, high: bounds of γ, a variance, with the layer's scale in them.
    """

    low: float = 0.0
    high: float = math.inf

    noise_suffixes: ClassVar[tuple[str, ...]] = ("log_variance", "log_gamma")

    def refusal(self, target: Target) -> str | None:
        return None if target.support == REALS else "its values are not all the reals"

    def how(self, target: Target) -> str:
        return "closed"

    def initial(self, target: Target, rng: np.random.Generator) -> dict[str, np.ndarray]:
        found = super().initial(target, rng)
        best = gaussian_uniform_variance(found["loc"], np.exp(0.5 * found["log_variance"]), low=self.low, high=self.high)
        return found | {"log_gamma": np.log(best)}

    def sample(self, ppl: PPL, target: Target, param: Callable[[str], Any], data: tuple, lazy: bool) -> Any:
        loc, log_variance = param("loc"), param("log_variance")
        xp, log_gamma = arrays(self._bounded(param("log_gamma")))
        penalty = normal(loc, xp.exp(0.5 * log_variance), prior_scale=xp.exp(0.5 * log_gamma)).sum()
        law = ppl.dist.WeightNormal(loc, log_variance, lazy=lazy, mask_above=self.mask_above).to_event(len(target.shape))
        return ppl.sample(target.site, ppl.dist.WithDivergence(law, penalty), infer={"divergence": "closed"})

    def after_step(self, target: Target, params: dict[str, Any]) -> dict[str, Any]:
        return {"log_gamma": self._bounded(params["log_gamma"])}

    def _bounded(self, log_gamma: Any) -> Any:
        xp, log_gamma = arrays(log_gamma)
        low, high = (math.log(end) if end > 0.0 else -math.inf for end in (self.low, self.high))
        return clip(xp, log_gamma, low, high)
