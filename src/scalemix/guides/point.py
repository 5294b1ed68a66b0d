"""A point: the site is a parameter. With points everywhere the objective is −log p(θ, y), whose minimum is the MAP."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from scalemix.guides.component import REALS, Component, Target, constrain, he_normal

if TYPE_CHECKING:
    from scalemix.language import PPL

__all__ = ["Point"]


@dataclass(frozen=True)
class Point(Component):
    """q = δ at a parameter: its term of the objective is −log p(value), the density on the site's own scale, not the unconstrained one.

    Parameter ``{site}_loc``, an unconstrained real: the value is e^loc of a positive site, a logistic function of it between bounds.

    Args:
        penalized: False leaves −log p away, which then is maximum likelihood.
    """

    penalized: bool = True

    divergence: ClassVar[str] = "point"

    def how(self, target: Target) -> str:
        return "point" if self.penalized else "prior"

    def initial(self, target: Target, rng: np.random.Generator) -> dict[str, np.ndarray]:
        return {"loc": he_normal(target, rng)}

    def sample(self, ppl: PPL, target: Target, param: Callable[[str], Any], data: tuple, lazy: bool) -> Any:
        value = constrain(param("loc"), target.support or REALS)
        return ppl.sample(target.site, ppl.dist.Delta(value, event_dim=len(target.shape)), infer={"divergence": self.how(target)})

    def quantiles(self, target: Target, params: dict[str, np.ndarray], probs: np.ndarray) -> np.ndarray:
        value = constrain(params["loc"], target.support or REALS)
        return np.broadcast_to(value, (len(probs), *target.shape)).copy()
