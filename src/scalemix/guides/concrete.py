"""Concrete dropout: gates that are dropped with a learned rate, relaxed so that a gradient reaches it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from scipy import special

from scalemix.arrays import arrays
from scalemix.divergences import concrete_dropout
from scalemix.guides.component import Component, Target, rows_of
from scalemix.noise import Bernoulli

if TYPE_CHECKING:
    from scalemix.language import PPL

__all__ = ["Concrete"]


@dataclass(frozen=True)
class Concrete(Component):
    """ξ = σ((logit(1 − p) + ℓ)/T), ℓ ~ Logistic(0, 1), for each input and row, with one dropout rate p for the layer.

    Its divergence is that of the layer, the ridge of its weights among it: ½ ℓ²(1 − p)‖M‖² − K H(p), Gal, Hron and Kendall (2017), eq. 3
    and 4. Parameter ``{site}_rate_logit``, that of p.

    Args:
        temperature: T.
        length_scale: ℓ, one over the standard deviation of the weights' prior.
        inverted: ξ is divided by 1 − p.
        first_rate: where p begins.
        num_data: N rows, over which the objective adds the divergence of a row up.
    """

    temperature: float = 0.1
    length_scale: float = 1.0
    inverted: bool = False
    first_rate: float = 0.1
    num_data: int = 1

    noise_suffixes: ClassVar[tuple[str, ...]] = ("rate_logit",)
    reads_sites: ClassVar[bool] = True
    one_law: ClassVar[bool] = True

    def refusal(self, target: Target) -> str | None:
        if not isinstance(target.noise, Bernoulli) or (target.noise.low, target.noise.high) != (0.0, 1.0):
            return f"its law {target.noise} is not noise.Bernoulli(keep): a gate that is 0 or 1"
        return None if target.per_case else "it is drawn once for all rows: give noise_on='input' and noise_plate='example'"

    def initial(self, target: Target, rng: np.random.Generator) -> dict[str, np.ndarray]:
        return {"rate_logit": np.full((), special.logit(self.first_rate))}

    def sample(
        self, ppl: PPL, target: Target, param: Callable[[str], Any], data: tuple, lazy: bool, *, values: Mapping[str, Any] | None = None
    ) -> Any:
        """Sample the site ``target`` in ``ppl`` with the parameters ``param`` gives; ``values`` are those of the sites before it. ``data``
        and ``lazy`` as for every component."""
        xp, logit = arrays(param("rate_logit"))
        rate, shape = xp.sigmoid(logit), target.row_shape
        weight = (values or {})[target.weight]
        penalty = concrete_dropout(
            (weight * weight).sum(),
            rate,
            length_scale=self.length_scale,
            num_inputs=int(np.prod(shape)),
            num_data=self.num_data,
            inverted=self.inverted,
        )
        gates = ppl.dist.Logistic(-logit / self.temperature, 0.0 * logit + 1.0 / self.temperature).expand(shape)
        make = ppl.dist.transforms
        steps = [make.SigmoidTransform(), *([make.AffineTransform(0.0, 1.0 / (1.0 - rate))] if self.inverted else [])]
        law = ppl.dist.TransformedDistribution(gates, steps).to_event(len(shape))
        with rows_of(ppl, target, data):
            return ppl.sample(target.site, ppl.dist.WithDivergence(law, penalty), infer={"divergence": "closed"})

    def mean(self, target: Target, params: dict[str, np.ndarray]) -> np.ndarray:
        """Mean of the gates of one row of the site ``target`` under ``params``."""
        kept = special.expit(-params["rate_logit"])
        return np.full(target.row_shape, 1.0 if self.inverted else kept)

    def quantiles(self, target: Target, params: dict[str, np.ndarray], probs: np.ndarray) -> np.ndarray:
        logit = params["rate_logit"]
        values = special.expit((special.logit(probs) - logit) / self.temperature) / (special.expit(-logit) if self.inverted else 1.0)
        return np.broadcast_to(values.reshape(-1, *(1,) * len(target.shape)), (len(probs), *target.shape)).copy()
