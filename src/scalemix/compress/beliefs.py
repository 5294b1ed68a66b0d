"""What a posterior says of each weight of a network: mean, standard deviation, and those of the noises its weights share.

Of a guide's own normals these are its parameters; of everything else, of MCMC too, they are those of the draws.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from scalemix.guides import Gate, Gaussian, Point
from scalemix.guides.component import unmasked
from scalemix.lower import Site
from scalemix.tying import noise_view

if TYPE_CHECKING:
    from scalemix.posterior import Posterior

__all__ = ["Belief", "GateBelief", "beliefs"]

CASE = "case"


@dataclass(frozen=True, eq=False)
class GateBelief:
    """A noise ξ of a weight, its arrays in the shape in which they broadcast against the weight.

    Attributes:
        mean, scale: E[ξ] and its standard deviation.
        log_mean: E[log |ξ|].
        site: what it is.
    """

    mean: np.ndarray
    scale: np.ndarray
    log_mean: np.ndarray
    site: Site


@dataclass(frozen=True, eq=False)
class Belief:
    """A weight w of a network under a posterior.

    Attributes:
        name: its site.
        axes: names of its dimensions.
        mean, scale: E[w] and its standard deviation, of the shape of w; under gates that belong to rows, of w times the gates' mean.
        draws: (S, *shape) of w, without such gates.
        exact: mean and scale are those of a guide's normal, whose log α = log scale² − log mean² is exact; both 0 where it is masked.
        gates: of its noises that are sites, by their names.
        site: what it is.
        component, params: of the guide, where the weight is its site; ``None`` and {} elsewhere.
    """

    name: str
    axes: tuple[str, ...]
    mean: np.ndarray
    scale: np.ndarray
    draws: np.ndarray
    exact: bool
    gates: dict[str, GateBelief]
    site: Site
    component: Any
    params: dict[str, np.ndarray]


def beliefs(posterior: Posterior) -> dict[str, Belief]:
    """What the ``posterior`` says of each of its weights and biases, by site.

    Raises: ValueError if the posterior was loaded without its model, or a weight was dropped from its draws.
    """
    structure = posterior.structure()
    found = {}
    for name, site in structure.sites.items():
        if site.role != "weight":
            continue
        if name not in posterior.draws:
            raise ValueError(f"the posterior has no draws of {name!r}: fit with keep= or drop= that keep it")
        draws = np.asarray(posterior.draws[name], dtype=float)
        draws = draws.reshape(-1, *draws.shape[2:])
        part = None if posterior.guide is None else posterior.guide.parts.get(name)
        params = {} if part is None else posterior.guide.params_of(name, posterior.params)
        exact = isinstance(part, Gaussian)
        if exact:
            mean, scale = _normal(part, params)
        elif isinstance(part, Point):
            mean, scale = np.asarray(params["loc"], dtype=float), np.zeros(draws.shape[1:])
        else:
            mean, scale = draws.mean(axis=0), draws.std(axis=0)
        gates = {
            each: _gate(posterior, each, noise, site, draws.shape[1:])
            for each, noise in structure.sites.items()
            if noise.role == "noise" and noise.weight == name and each in posterior.draws
        }
        for gate in gates.values():
            if gate.site.axes[:1] == (CASE,):  # such a weight's site is z alone
                scale = np.sqrt((mean * gate.scale) ** 2 + (scale * gate.mean) ** 2 + (scale * gate.scale) ** 2)
                mean = mean * gate.mean
        found[name] = Belief(name, site.axes, mean, scale, draws, exact, gates, site, part, params)
    return found


def _normal(part: Gaussian | Gate, params: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of the draws; both 0 where they are masked."""
    drawn = unmasked(params, part.mask_above)
    return drawn * np.asarray(params["loc"], dtype=float), drawn * np.exp(0.5 * np.asarray(params["log_variance"], dtype=float))


def _gate(posterior: Posterior, name: str, site: Site, weight: Site, shape: tuple[int, ...]) -> GateBelief:
    part = None if posterior.guide is None else posterior.guide.parts.get(name)
    dims = tuple(axis for axis in site.axes if axis != CASE)
    view = noise_view(dims, weight.axes, shape)
    if isinstance(part, Gate):
        params = posterior.guide.params_of(name, posterior.params)
        mean, scale = _normal(part, params)
        with np.errstate(divide="ignore"):
            return GateBelief(mean.reshape(view), scale.reshape(view), np.log(np.abs(mean)).reshape(view), site)
    draws = np.asarray(posterior.draws[name], dtype=float)
    draws = draws.reshape(-1, *(draws.shape[3:] if site.axes[:1] == (CASE,) else draws.shape[2:]))
    with np.errstate(divide="ignore"):
        log_mean = np.log(np.abs(draws)).mean(axis=0)
    return GateBelief(draws.mean(axis=0).reshape(view), draws.std(axis=0).reshape(view), log_mean.reshape(view), site)
