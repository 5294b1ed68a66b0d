"""Where chains start: a point, or draws of a fitted posterior; by name ("uniform", "prior") the language draws the start itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from scalemix.language import PPL, Model, Structure
from scalemix.posterior import Posterior

__all__ = ["INITS", "Start", "starting_points"]

INITS = ("uniform", "prior")
Start = str | Mapping[str, Any] | Posterior | None
"""What ``init_from`` may be: "uniform", "prior", site to value, a fitted posterior, or ``None`` for what the settings say."""


def starting_points(
    ppl: PPL, model: Model, arrays: tuple, structure: Structure, start: Start, *, num_chains: int, seed: int
) -> dict[str, np.ndarray]:
    """Latent site to (chain, *event); empty where the language draws the start.

    Raises: ValueError for sites that the model does not have or the posterior lacks, for other shapes, and where the density is 0.
    """
    if start is None or isinstance(start, str):
        return {}
    if isinstance(start, Posterior):
        points = _from_posterior(start, structure, num_chains, seed)
    elif isinstance(start, Mapping):
        points = _from_point(start, structure, num_chains)
    else:
        raise TypeError(f"init_from is a {type(start).__name__}: give 'uniform', 'prior', a dict from site to value, or a fitted Posterior")
    for name, value in points.items():
        if not np.all(np.isfinite(value)):
            raise ValueError(f"init_from has values of {name!r} that are not finite numbers: give others")
    if set(points) == set(structure.latents):
        log_joint = ppl.engine.evaluate(model, arrays, points, chunk=num_chains).log_joint
        if not np.all(np.isfinite(log_joint)):
            chain = int(np.flatnonzero(~np.isfinite(log_joint))[0])
            raise ValueError(f"the log density at the start of chain {chain} is {log_joint[chain]}: give init_from a point in the support")
    return points


def _from_point(point: Mapping[str, Any], structure: Structure, num_chains: int) -> dict[str, np.ndarray]:
    unknown = [name for name in point if name not in structure.latents]
    if unknown:
        raise ValueError(f"init_from names {unknown[0]!r}, which the model does not sample: give values of {_listed(structure.latents)}")
    points = {}
    for name, value in point.items():
        array, shape = np.asarray(value, dtype=float), structure.latents[name]
        if array.shape not in (shape, (num_chains, *shape)):
            raise ValueError(
                f"init_from has {name!r} of shape {array.shape}, and the site is {shape}: give that shape, or {(num_chains, *shape)} for "
                "a start of each chain"
            )
        points[name] = np.broadcast_to(array, (num_chains, *shape)).copy()
    return points


def _from_posterior(posterior: Posterior, structure: Structure, num_chains: int, seed: int) -> dict[str, np.ndarray]:
    """Draws without replacement. Deterministic sites will do: the marginal form can start from a fit of the expanded one."""
    flat = {}
    for name, shape in structure.latents.items():
        if name not in posterior.draws:
            raise ValueError(
                f"init_from is a posterior without the site {name!r}: fit it with the same model and parametrization, or give a dict"
            )
        values = np.asarray(posterior.draws[name])
        if values.shape[2:] != shape:
            raise ValueError(f"init_from has {name!r} of shape {values.shape[2:]}, and the site is {shape}: fit it with the same data")
        flat[name] = values.reshape(-1, *shape)
    available = posterior.num_draws
    if available < num_chains:
        raise ValueError(f"init_from has {available} draws for {num_chains} chains: give a posterior with a draw for each chain")
    chosen = np.random.default_rng(seed).choice(available, num_chains, replace=False)
    return {name: values[chosen].astype(float) for name, values in flat.items()}


def _listed(names: Mapping[str, Any]) -> str:
    return ", ".join(map(repr, names))
