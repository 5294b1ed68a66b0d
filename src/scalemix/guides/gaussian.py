"""Independent normals: q(u) = N(loc, e^log_variance) for each entry, on the reals; of a site with bounds, in its unconstrained values."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from scipy import stats

from scalemix.guides.component import REALS, Component, Target, constrain, he_normal, unmasked

if TYPE_CHECKING:
    from scalemix.language import PPL

__all__ = ["Gaussian"]


@dataclass(frozen=True)
class Gaussian(Component):
    """q(w) = N(loc, e^log_variance), independent entries (Kingma, Salimans and Welling, 2015; Molchanov, Ashukha and Vetrov, 2017).

    Parameters ``{site}_loc``, first N(0, 2/fan_in) for a weight and 0 else, and ``{site}_log_variance``.

    Args:
        log_variance: its first value.
        mask_above: draws are 0 where log α = log σ² − log θ² is above this number: pruned weights stay out during training already.
            ``None`` masks nothing; with a mask the draws are not those of the law that the divergence is of.
        monte_carlo: estimate the divergence by log q − log p at the draw, also where the language knows it in closed form.
    """

    log_variance: float = -10.0
    mask_above: float | None = None
    monte_carlo: bool = False

    noise_suffixes: ClassVar[tuple[str, ...]] = ("log_variance",)

    def how(self, target: Target) -> str:
        return "closed" if target.support == REALS and not self.monte_carlo else "monte_carlo"

    def initial(self, target: Target, rng: np.random.Generator) -> dict[str, np.ndarray]:
        return {"loc": he_normal(target, rng), "log_variance": np.full(target.shape, float(self.log_variance))}

    def sample(self, ppl: PPL, target: Target, param: Callable[[str], Any], data: tuple, lazy: bool) -> Any:
        lazy = lazy and self.how(target) == "closed"
        law = ppl.dist.WeightNormal(param("loc"), param("log_variance"), lazy=lazy, mask_above=self.mask_above)
        steps = _transforms(ppl, target.support or REALS)
        law = ppl.dist.TransformedDistribution(law, steps) if steps else law
        return ppl.sample(target.site, law.to_event(len(target.shape)), infer={"divergence": self.how(target)})

    def quantiles(self, target: Target, params: dict[str, np.ndarray], probs: np.ndarray) -> np.ndarray:
        at = probs.reshape(-1, *(1,) * len(target.shape))
        support = target.support or REALS
        at = 1.0 - at if support[0] == -math.inf and support[1] < math.inf else at  # falls in u
        values = params["loc"] + np.exp(0.5 * params["log_variance"]) * stats.norm.ppf(at)
        return constrain(values * unmasked(params, self.mask_above), support)


def _transforms(ppl: PPL, support: tuple[float, float]) -> list[Any]:
    """``constrain`` as the language's transforms."""
    low, high = support
    make = ppl.dist.transforms
    if support == REALS:
        return []
    if high == math.inf:
        return [make.ExpTransform()] if low == 0.0 else [make.ExpTransform(), make.AffineTransform(low, 1.0)]
    if low == -math.inf:
        return [make.ExpTransform(), make.AffineTransform(high, -1.0)]
    return [make.SigmoidTransform(), make.AffineTransform(low, high - low)]
