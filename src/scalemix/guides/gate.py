"""Gates of units: q(ξ) = N(μ, σ²) for each unit, drawn for each row or once, with a penalty that is counted once in either case."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from scipy import stats

from scalemix.arrays import arrays
from scalemix.divergences import vibnet
from scalemix.guides.component import Component, Target, rows_of, unmasked

if TYPE_CHECKING:
    from scalemix.language import PPL

__all__ = ["Gate"]


@dataclass(frozen=True)
class Gate(Component):
    """ξ ~ N(μ, σ²) for each unit, its divergence weight · Σ ½ log(1 + μ²/σ²): Dai, Zhu and Wipf (2018), eq. 9 and 10.

    In a plate over N rows, with a ξ of its own for each, the objective adds the divergence up over the rows, as a language does: it then
    counts N · weight times. For one ξ for all rows it counts ``weight`` times.

    Parameters ``{site}_loc``, first 1, and ``{site}_log_variance``, of the shape of one row.

    Args:
        log_variance: its first value.
        mask_above: gates are 0 where log α = log σ² − log μ² is above this number; ``None``: none.
        weight: of the divergence.
    """

    log_variance: float = -9.0
    mask_above: float | None = None
    weight: float = 1.0

    noise_suffixes: ClassVar[tuple[str, ...]] = ("loc", "log_variance")
    one_law: ClassVar[bool] = True

    def refusal(self, target: Target) -> str | None:
        return None if target.role == "noise" else "it is no noise"

    def initial(self, target: Target, rng: np.random.Generator) -> dict[str, np.ndarray]:
        return {"loc": np.ones(target.row_shape), "log_variance": np.full(target.row_shape, float(self.log_variance))}

    def sample(self, ppl: PPL, target: Target, param: Callable[[str], Any], data: tuple, lazy: bool) -> Any:
        loc, log_variance = param("loc"), param("log_variance")
        xp, loc, log_variance = arrays(loc, log_variance)
        law = ppl.dist.WeightNormal(loc, log_variance, mask_above=self.mask_above).to_event(len(target.row_shape))
        penalty = vibnet(loc, xp.exp(0.5 * log_variance), kl_scale=self.weight).sum()
        with rows_of(ppl, target, data):
            return ppl.sample(target.site, ppl.dist.WithDivergence(law, penalty), infer={"divergence": "closed"})

    def mean(self, target: Target, params: dict[str, np.ndarray]) -> np.ndarray:
        """Mean of the gates of one row of the site ``target`` under ``params``."""
        return params["loc"] * unmasked(params, self.mask_above)

    def quantiles(self, target: Target, params: dict[str, np.ndarray], probs: np.ndarray) -> np.ndarray:
        at = stats.norm.ppf(probs).reshape(-1, *(1,) * len(target.row_shape))
        values = unmasked(params, self.mask_above) * (params["loc"] + np.exp(0.5 * params["log_variance"]) * at)
        if target.per_case:
            values = values[:, None]
        return np.broadcast_to(values, (len(probs), *target.shape)).copy()
