"""A noise drawn from its own prior: what Monte Carlo dropout does. Its divergence is 0, whatever the law."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from scalemix.guides.component import Component, Target, rows_of

if TYPE_CHECKING:
    from scalemix.language import PPL

__all__ = ["FromPrior"]


@dataclass(frozen=True)
class FromPrior(Component):
    """q(ξ) = p(ξ): no parameters (Nalisnick and Smyth, 2018, eq. 3 and 9). For the noises of ``ppl.weight`` and of layers."""

    divergence: ClassVar[str] = "prior"

    def refusal(self, target: Target) -> str | None:
        if target.noise is None:
            return "it is no noise of ppl.weight or of a layer, whose law would be known"
        return f"the law {target.noise} has hyper-parameters that are sites themselves" if target.noise.hyper_laws else None

    def sample(self, ppl: PPL, target: Target, param: Callable[[str], Any], data: tuple, lazy: bool) -> Any:
        if target.noise is None:
            raise TypeError(f"the law of the site {target.site!r} is not known: load the guide with structure=, from its model")
        shape, law = target.row_shape, target.noise.law(ppl.dist)
        law = law.expand(shape).to_event(len(shape)) if shape else law
        with rows_of(ppl, target, data):
            return ppl.sample(target.site, law, infer={"divergence": "prior"})

    def quantiles(self, target: Target, params: dict[str, np.ndarray], probs: np.ndarray) -> np.ndarray:
        if target.noise is None:
            raise TypeError(f"the law of the site {target.site!r} is not known: load the guide with structure=, from its model")
        values = np.asarray(target.noise.scipy().ppf(probs))
        return np.broadcast_to(values.reshape(-1, *(1,) * len(target.shape)), (len(probs), *target.shape)).copy()
