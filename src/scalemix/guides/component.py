"""What a guide is made of: one component for each latent site of a model. The base class, and what it knows of a site."""

from __future__ import annotations

import math
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from scalemix.arrays import arrays
from scalemix.cases import first_array
from scalemix.noise import Noise

if TYPE_CHECKING:
    from collections.abc import Callable

    from scalemix.language import PPL
    from scalemix.runs import Structure

__all__ = ["Component", "Target", "constrain", "he_normal", "rows_of", "targets", "unmasked"]

REALS = (-math.inf, math.inf)
INPUT_AXES = ("in", "height", "width")


@dataclass(frozen=True)
class Target:
    """A latent site, as a component sees it.

    Attributes:
        site, shape: its name, and the shape of one draw.
        role: "weight", "bias" (a weight without an input axis), "base", "noise", "hyper", "slab", or "other" (not made by ``ppl.weight``).
        weight: the weight it belongs to, "" for none.
        axes: names of its dimensions; the first is "case" for a site with one row per case of the data.
        support: between which numbers its values lie; ``None`` for a site that is discrete or no product of intervals.
        scale: the number that multiplies it in the weight.
        noise: the law of a noise, of a hyper-parameter or of a slab.
        initial: what the weight is at first, of a weight or its base; ``None``: random.
    """

    site: str
    shape: tuple[int, ...]
    role: str = "other"
    weight: str = ""
    axes: tuple[str, ...] = ()
    support: tuple[float, float] | None = REALS
    scale: float = 1.0
    noise: Noise | None = None
    initial: np.ndarray | None = field(default=None, compare=False, repr=False)

    @property
    def fan_in(self) -> int:
        """Weights that go into one output."""
        return math.prod(size for axis, size in zip(self.axes, self.shape, strict=False) if axis in INPUT_AXES)

    @property
    def per_case(self) -> bool:
        """It has a row for each case of the data."""
        return self.axes[:1] == ("case",)

    @property
    def row_shape(self) -> tuple[int, ...]:
        """The shape of one row, where there is a row per case; else that of the site."""
        return self.shape[1:] if self.per_case else self.shape


def rows_of(ppl: PPL, target: Target, data: tuple) -> AbstractContextManager[Any]:
    """The plate over the cases of ``data`` in which a site with a row per case stands; for others nothing."""
    if not target.per_case:
        return nullcontext()
    return ppl.data_plate(first_array(data), name=f"{target.weight}_data")


def targets(structure: Structure) -> dict[str, Target]:
    """The latent sites of a model, in order."""
    found = {}
    for site, shape in structure.latents.items():
        support = structure.supports.get(site)
        made = structure.sites.get(site)
        if made is None:
            found[site] = Target(site, shape, support=support)
            continue
        role = "bias" if made.role == "weight" and not set(made.axes) & set(INPUT_AXES) else made.role
        of_weight = structure.sites[made.weight] if role in ("weight", "bias", "base") else made
        outer = of_weight.scale if made.role == "base" else 1.0
        found[site] = Target(site, shape, role, made.weight, made.axes, support, outer or 1.0, made.noise, of_weight.initial)
    return found


def unmasked(params: dict[str, np.ndarray], mask_above: float | None) -> np.ndarray:
    """1 where log α = log_variance − log loc² of a component's ``params`` is at most ``mask_above``, 0 where a draw is 0."""
    if mask_above is None:
        return np.ones_like(params["loc"])
    with np.errstate(divide="ignore"):
        return (params["log_variance"] <= mask_above + 2.0 * np.log(np.abs(params["loc"]))).astype(params["loc"].dtype)


def constrain(u: Any, support: tuple[float, float]) -> Any:
    """From a real number to the interval ``support``: eᵘ above a lower end, or a logistic function between two."""
    low, high = support
    if support == REALS:
        return u
    xp, u = arrays(u)
    if high == math.inf:
        return low + xp.exp(u)
    return high - xp.exp(u) if low == -math.inf else low + (high - low) * xp.sigmoid(u)


@dataclass(frozen=True)
class Component:
    """The law that a guide gives a site. A subclass says which parameters it has, how it is sampled, and its quantiles.

    Its parameters are unconstrained reals of the shape of the site, named ``{site}_{suffix}``.

    Attributes:
        divergence: how its term of the objective is found. "closed": a KL the language dispatches; "point": −log p at the value;
            "prior": 0, since the law is the prior's own; "monte_carlo": log q − log p at the draw.
        noise_suffixes: endings of the parameters that say how wide it is, which may have a step size of their own.
        reads_sites: ``sample`` takes ``values=``, the sites that the guide has sampled before it.
        one_law: of a site with a row per case, the law is the same for all rows: at other rows it is drawn anew.
    """

    divergence: ClassVar[str] = "closed"
    noise_suffixes: ClassVar[tuple[str, ...]] = ()
    reads_sites: ClassVar[bool] = False
    one_law: ClassVar[bool] = False

    def refusal(self, target: Target) -> str | None:
        """Why it cannot be the law of the site ``target`` (``None``: it can)."""
        return None if target.support is not None else "its values are discrete, or no product of intervals"

    def how(self, target: Target) -> str:
        """``divergence`` for the site ``target``."""
        return self.divergence

    def initial(self, target: Target, rng: np.random.Generator) -> dict[str, np.ndarray]:
        """First values of its parameters for the site ``target``, suffix to array; by ``rng`` where they are random."""
        return {}

    def sample(self, ppl: PPL, target: Target, param: Callable[[str], Any], data: tuple, lazy: bool) -> Any:
        """Sample the site ``target`` in ``ppl``.

        Args:
            ppl, target: the language and the site.
            param: ``param(suffix)`` gives a parameter.
            data: of the model.
            lazy: leave a weight to its layer.

        Raises: TypeError if a subclass does not define it, or cannot for want of the law of a noise.
        """
        raise TypeError(f"{type(self).__name__} does not say how it is sampled: define sample(ppl, target, param, data, lazy)")

    def mean(self, target: Target, params: dict[str, np.ndarray]) -> np.ndarray:
        """Mean of the site ``target`` under ``params``, of one row where it has a row per case: for those with ``one_law``.

        Raises: TypeError for a component without one.
        """
        raise TypeError(f"{type(self).__name__} does not say its mean: define mean(target, params)")

    def after_step(self, target: Target, params: dict[str, Any]) -> dict[str, Any]:
        """New values, suffix to array of a language, of its parameters that are no matter of gradients, given the ``params`` of the site
        ``target`` by suffix."""
        return {}

    def quantiles(self, target: Target, params: dict[str, np.ndarray], probs: np.ndarray) -> np.ndarray:
        """(len(probs), *shape) quantiles of each entry.

        Args:
            target: the site.
            params: its parameters by suffix.
            probs: (k,) probabilities.

        Raises: TypeError if a subclass does not define it, or cannot for want of the law of a noise.
        """
        raise TypeError(f"{type(self).__name__} does not say its quantiles: define quantiles(target, params, probs)")


def he_normal(target: Target, rng: np.random.Generator) -> np.ndarray:
    """N(0, 2/fan_in) for weights (He, Zhang, Ren and Sun, 2015), 0 for all else, where the site says no first value.

    The base of a weight begins at the weight's first value over its scale: where its noises are 1.
    """
    if target.initial is not None:
        return np.array(target.initial, dtype=float) / target.scale
    if target.role not in ("weight", "base"):
        return np.zeros(target.shape)
    return rng.normal(size=target.shape) * (2.0 / target.fan_in) ** 0.5 / target.scale
