"""Weights of a spike-and-slab net: q(w, z) = N(m, σ²) Bern(p) for each, p collapsed or refreshed in turn with m and σ."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from scalemix.arrays import arrays
from scalemix.divergences import collapsed_spike_slab, inclusion, spike_slab
from scalemix.guides.component import REALS, Target
from scalemix.guides.gaussian import Gaussian

if TYPE_CHECKING:
    from scalemix.language import PPL

__all__ = ["SpikeSlab"]


@dataclass(frozen=True)
class SpikeSlab(Gaussian):
    """q(w) = N(m, σ²), q(z) = Bern(p), the divergence that of both to π(w, z): Saha, Liu and Liang (2024), eq. 3.7 and 3.8.

    Parameters ``{site}_loc``, ``{site}_log_variance``; where p is refreshed also ``{site}_inclusion_prob`` and ``{site}_steps``, which no
    gradient moves.

    Args:
        log_variance, mask_above, monte_carlo: as for ``Gaussian``.
        prior_inclusion, slab_scale, spike_scale: π, τ₁, τ₀ of the site's prior, its scale in τ₁ and τ₀.
        first_inclusion: ``None`` collapses p. A number is where p begins; it is then a parameter, put to its best value after a step.
        hold_steps: steps before p is refreshed for the first time.
        refresh_every: steps from one refresh to the next; after each step it is, by the envelope theorem, the collapsed objective.
    """

    prior_inclusion: float = 0.5
    slab_scale: float = 1.0
    spike_scale: float = 0.05
    first_inclusion: float | None = None
    hold_steps: int = 0
    refresh_every: int = 1

    def refusal(self, target: Target) -> str | None:
        return None if target.support == REALS else "its values are not all the reals"

    def how(self, target: Target) -> str:
        return "closed"

    def initial(self, target: Target, rng: np.random.Generator) -> dict[str, np.ndarray]:
        found = super().initial(target, rng)
        if self.first_inclusion is not None:
            found |= {"inclusion_prob": np.full(target.shape, float(self.first_inclusion)), "steps": np.zeros(())}
        return found

    def sample(self, ppl: PPL, target: Target, param: Callable[[str], Any], data: tuple, lazy: bool) -> Any:
        xp, loc, log_variance = arrays(param("loc"), param("log_variance"))
        scale, prior = xp.exp(0.5 * log_variance), self._prior
        if self.first_inclusion is None:
            penalty = collapsed_spike_slab(loc, scale, **prior).sum()
        else:
            given = param("inclusion_prob"), param("steps")
            held = xp.stop_gradient(given[0])
            penalty = spike_slab(loc, scale, held, **prior).sum() + 0.0 * (given[0].sum() + given[1])
        law = ppl.dist.WeightNormal(loc, log_variance, lazy=lazy, mask_above=self.mask_above).to_event(len(target.shape))
        return ppl.sample(target.site, ppl.dist.WithDivergence(law, penalty), infer={"divergence": "closed"})

    def after_step(self, target: Target, params: dict[str, Any]) -> dict[str, Any]:
        if self.first_inclusion is None:
            return {}
        xp, steps, held = arrays(params["steps"] + 1.0, params["inclusion_prob"])
        due = (steps > self.hold_steps) & (steps - self.refresh_every * xp.floor(steps / self.refresh_every) == 0.0)
        return {"steps": steps, "inclusion_prob": xp.where(due, self.inclusion(params), held)}

    def inclusion(self, params: dict[str, Any]) -> Any:
        """p at its best value given m and σ in ``params``: a number of the variational law, no posterior inclusion probability."""
        xp, loc, log_variance = arrays(params["loc"], params["log_variance"])
        return inclusion(loc, xp.exp(0.5 * log_variance), **self._prior)

    @property
    def _prior(self) -> dict[str, float]:
        return {"prior_inclusion": self.prior_inclusion, "slab_scale": self.slab_scale, "spike_scale": self.spike_scale}
