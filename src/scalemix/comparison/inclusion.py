"""Inclusion probabilities of a fit, draw by draw: of gates that were summed out by their weights, of sampled gates as they are."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np

from scalemix.language import kitchens
from scalemix.lower import Site
from scalemix.marginal import inclusion_prob
from scalemix.noise import Bernoulli

if TYPE_CHECKING:
    from scalemix.posterior import Posterior

__all__ = ["inclusion_draws"]


def inclusion_draws(posterior: Posterior) -> dict[str, np.ndarray]:
    """P(gate = high | θ) at every draw of ``posterior``, by weight: (chain, draw, gates).

    Its mean over the draws is the posterior inclusion probability. Of a gate that was summed out it is ``inclusion_prob`` at the weight,
    whatever the fit; of a gate that was sampled it is the gate, 0 or 1. Empty where the prior has no gates, where they cannot be told from
    the weights (a learned rate, a further shared scale), and where the posterior was loaded without its model.
    """
    found = {}
    for name, site in _sites(posterior).items():
        if site.role == "noise" and isinstance(site.noise, Bernoulli) and name in posterior.draws:
            found[site.weight] = _flat(posterior.draws[name])
        elif site.role == "weight" and "marginal" in site.form and site.scale is not None and name in posterior.draws:
            values = _responsibilities(site, np.asarray(posterior.draws[name], dtype=float) / site.scale)
            if values is not None:
                found.setdefault(name, _flat(values))
    return found


def _responsibilities(site: Site, w: np.ndarray) -> np.ndarray | None:
    if sum(isinstance(factor.noise, Bernoulli) for factor in site.prior.factors) != 1:
        return None
    try:
        return inclusion_prob(site.prior, w, site.axes or None)
    except ValueError:
        return None  # the weight alone does not settle the gate


def _sites(posterior: Posterior) -> dict[str, Site]:
    """What the sites of the posterior's model are; nothing without the model, its language or its data."""
    model, ppl = posterior.model, kitchens.get(posterior.info.backend)
    data = tuple(posterior.data) or _saved_data(posterior)
    if model is None or ppl is None or not data:
        return {}
    with ppl.engine.precision(posterior.info.settings["dtype"], posterior.info.settings["device"]):
        return ppl.engine.structure(model, data, seed=0).sites


def _saved_data(posterior: Posterior) -> tuple[Any, ...]:
    """The arrays x0, x1, … and the outcome of a posterior that was saved and loaded."""
    inputs = sorted((name for name in posterior.constant if re.fullmatch(r"x\d+", name)), key=lambda name: int(name[1:]))
    if len(inputs) != len(posterior.constant) or not posterior.observed:
        return ()
    return (*(posterior.constant[name] for name in inputs), next(iter(posterior.observed.values())))


def _flat(values: Any) -> np.ndarray:
    array = np.asarray(values, dtype=float)
    return array.reshape(*array.shape[:2], -1)
