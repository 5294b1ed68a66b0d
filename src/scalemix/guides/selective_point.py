"""A point with the penalty of the dynamic regularizer: weights that a softmax of random sharpness selects are shrunk."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from scalemix.arrays import arrays
from scalemix.divergences import dynamic_regularizer
from scalemix.guides.component import REALS, Target
from scalemix.guides.point import Point

if TYPE_CHECKING:
    from scalemix.language import PPL

__all__ = ["SelectivePoint"]


@dataclass(frozen=True)
class SelectivePoint(Point):
    """A weight at ``{site}_loc`` with λ Σₛ ‖Iₛ∘w‖² in place of −log p(w): Kori and Sharma (2019), eq. 3-6, algorithm 1.

    Each step draws p ~ U(0, 1) anew at the auxiliary sites ``{site}_rates``. With ``momentum`` below 1 the weights of an earlier step are
    the parameter ``{site}_previous`` (beside ``{site}_last`` and ``{site}_steps``), which no gradient moves.

    Args:
        strength, momentum, score, select, fraction, threshold, form: as for ``sm.divergences.dynamic_regularizer``.
        penalized: has no meaning here: the regularizer stands where −log p(w) stood.
        num_draws: S.
        elementwise: a draw of p for each weight; False: one for all.
        refresh_every: w_old is that of the step before for 1, else of the last step whose number is a multiple.
        sites: with these a softmax over all of them, whose penalty stands at the last one.
    """

    strength: float = 1e-4
    num_draws: int = 1
    momentum: float = 1.0
    score: str = "abs"
    select: str = "topk"
    fraction: float | None = None
    threshold: float | None = None
    form: str = "squared"
    elementwise: bool = True
    refresh_every: int = 1
    sites: tuple[str, ...] = ()

    reads_sites: ClassVar[bool] = True

    def refusal(self, target: Target) -> str | None:
        return None if target.support == REALS else "its values are not all the reals"

    def initial(self, target: Target, rng: np.random.Generator) -> dict[str, np.ndarray]:
        found = super().initial(target, rng)
        if self.momentum < 1.0:
            found |= {"previous": found["loc"].copy(), "last": found["loc"].copy(), "steps": np.zeros(())}
        return found

    def sample(
        self, ppl: PPL, target: Target, param: Callable[[str], Any], data: tuple, lazy: bool, *, values: Mapping[str, Any] | None = None
    ) -> Any:
        """Sample the site ``target`` in ``ppl`` with the parameters ``param`` gives; ``values`` are those of the sites before it. ``data``
        and ``lazy`` as for every component."""
        xp, loc = arrays(param("loc"))
        group = self.sites or (target.site,)
        idle = 0.0 * loc.sum()
        if self.momentum < 1.0:
            idle = idle + 0.0 * (param("previous").sum() + param("last").sum() + param("steps"))
        layers = {site: loc if site == target.site else (values or {})[site] for site in group} if target.site == group[-1] else {}
        penalty = idle + self._penalty(ppl, xp, layers) if layers else idle
        law = ppl.dist.WithDivergence(ppl.dist.Delta(loc, event_dim=len(target.shape)), penalty)
        return ppl.sample(target.site, law, infer={"divergence": "closed"})

    def _penalty(self, ppl: PPL, xp: Any, layers: Mapping[str, Any]) -> Any:
        rates, previous = [], []
        for site, loc in layers.items():
            shape = (self.num_draws, *loc.shape) if self.elementwise else (self.num_draws,)
            if self.elementwise or not rates:
                low = ppl.full(shape, 0.0, loc)
                law = ppl.dist.Uniform(low, low + 1.0).to_event(len(shape))
                rates.append(ppl.sample(f"{site}_rates", law, infer={"is_auxiliary": True}))
            else:
                rates.append(rates[0])
            if self.momentum < 1.0:
                previous.append(xp.stop_gradient(ppl.param(f"{site}_previous", loc)))
        return dynamic_regularizer(
            list(layers.values()),
            rates,
            strength=self.strength,
            previous=previous or None,
            form=self.form,
            scope="global" if len(layers) > 1 else "layer",
            momentum=self.momentum,
            score=self.score,
            select=self.select,
            fraction=self.fraction,
            threshold=self.threshold,
        )

    def after_step(self, target: Target, params: dict[str, Any]) -> dict[str, Any]:
        if self.momentum == 1.0:
            return {}
        xp, steps, previous, last = arrays(params["steps"] + 1.0, params["previous"], params["last"])
        due = steps - self.refresh_every * xp.floor(steps / self.refresh_every) == 0.0
        # after step t the weights are θ_{t+1}, and w_old of the next penalty is θ_t, which ``last`` holds
        return {
            "steps": steps,
            "previous": xp.where(due, last if self.refresh_every == 1 else params["loc"], previous),
            "last": params["loc"] + 0.0 * last,
        }
