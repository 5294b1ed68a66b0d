"""Ways to answer, one per file: ``recipe.fit(ppl, model, *data, seed=..., settings=recipe.Settings(...)) -> Posterior``."""

from __future__ import annotations

from scalemix.inference import (
    bayes_by_backprop,
    concrete,
    coordinates,
    dynamic_regularizer,
    enumeration,
    full_rank,
    gibbs,
    hmc,
    horseshoe,
    low_rank,
    map,
    mc_dropout,
    mean_field,
    nuts,
    spike_slab,
    svi,
    variational_dropout,
    vbd,
    vib,
)

__all__ = [
    "bayes_by_backprop",
    "concrete",
    "coordinates",
    "dynamic_regularizer",
    "enumeration",
    "full_rank",
    "gibbs",
    "hmc",
    "horseshoe",
    "low_rank",
    "map",
    "mc_dropout",
    "mean_field",
    "nuts",
    "spike_slab",
    "svi",
    "variational_dropout",
    "vbd",
    "vib",
]
