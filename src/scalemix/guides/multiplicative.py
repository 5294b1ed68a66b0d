"""Weights with multiplicative noise: q(w) = N(θ, α θ²), one α for each weight, each input unit or the whole layer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from scipy import stats

from scalemix.guides.component import REALS, Component, Target, he_normal
from scalemix.tying import noise_view

if TYPE_CHECKING:
    from scalemix.language import PPL

__all__ = ["SHARED", "Multiplicative"]

SHARED = ("weight", "in", "layer")


@dataclass(frozen=True)
class Multiplicative(Component):
    """q(w) = N(θ, α θ²), independent entries: Gaussian dropout with a learned rate (Kingma, Salimans and Welling, 2015, section 3).

    Its divergence is that of a prior which sees α alone, the log-uniform one. Parameters ``{site}_loc``, first N(0, 2/fan_in), and
    ``{site}_log_alpha``, whose shape broadcasts to that of the weight: (in, 1) or (1, 1) for a matrix.

    Args:
        per: "weight", "in" or "layer": what has an α of its own. Of a convolution an input unit is a channel.
        log_alpha: its first value.
        mask_above: weights are 0 where log α is above this number, as for ``Gaussian``; ``None``: none.
    """

    per: str = "weight"
    log_alpha: float = -4.0
    mask_above: float | None = None

    noise_suffixes: ClassVar[tuple[str, ...]] = ("log_alpha",)

    def refusal(self, target: Target) -> str | None:
        if self.per not in SHARED:
            return f"per={self.per!r} is none of {', '.join(map(repr, SHARED))}"
        if target.support != REALS:
            return "its values are not all the reals"
        return f"it has no axis 'in' but {target.axes}, and per='in' wants one" if self.per == "in" and "in" not in target.axes else None

    def initial(self, target: Target, rng: np.random.Generator) -> dict[str, np.ndarray]:
        dims = {"weight": target.axes, "in": ("in",), "layer": ()}[self.per]
        shape = target.shape if self.per == "weight" else noise_view(dims, target.axes, target.shape)
        return {"loc": he_normal(target, rng), "log_alpha": np.full(shape, float(self.log_alpha))}

    def sample(self, ppl: PPL, target: Target, param: Callable[[str], Any], data: tuple, lazy: bool) -> Any:
        law = ppl.dist.MultiplicativeNormal(param("loc"), param("log_alpha"), lazy=lazy, mask_above=self.mask_above)
        return ppl.sample(target.site, law.to_event(len(target.shape)), infer={"divergence": "closed"})

    def quantiles(self, target: Target, params: dict[str, np.ndarray], probs: np.ndarray) -> np.ndarray:
        most = np.inf if self.mask_above is None else self.mask_above
        loc = params["loc"] * (params["log_alpha"] <= most)
        return loc + np.exp(0.5 * params["log_alpha"]) * np.abs(loc) * stats.norm.ppf(probs.reshape(-1, *(1,) * len(target.shape)))
