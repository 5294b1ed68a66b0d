"""The dropout family on a network: for each recipe with a guide of its own the prior that it treats, and where its noise stands."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from scalemix import noise
from scalemix.priors import (
    GaussianUniformMaximized,
    Horseshoe,
    LogUniform,
    Normal,
    NormalMixture,
    ScaleMixture,
    SpikeAndSlab,
    VariationalPrior,
)

__all__ = ["FAMILY", "Member"]

DROPOUT_RATE = 0.05
BY_ROW = {"noise_on": "input", "noise_plate": "example"}


@dataclass(frozen=True)
class Member:
    """One recipe on ``scalemix.models.mlp``.

    Attributes:
        prior_name: of its rows.
        prior: of the weights.
        model: further arguments of the model.
        settings: further arguments of ``scalemix.inference.<recipe>.Settings``.
    """

    prior_name: str
    prior: ScaleMixture | VariationalPrior
    model: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def by_row(self) -> bool:
        """It draws noises for each row of the data, so that a draw of it is large."""
        return self.model.get("noise_plate") == "example"


# Scales as in the papers, or such that a draw's output is of the size of standardized data.
FAMILY: dict[str, Member] = {
    "map": Member("normal", Normal()),
    "dynamic_regularizer": Member("dynamic", Normal(), settings={"fraction": 0.5}),
    "mc_dropout": Member("dropout", ScaleMixture(noise.Bernoulli.from_dropout_rate(DROPOUT_RATE).per("in")), BY_ROW),
    "concrete": Member("gates", ScaleMixture(noise.Bernoulli(1 - DROPOUT_RATE).per("in")), BY_ROW),
    "variational_dropout": Member("log-uniform", LogUniform()),
    "vbd": Member("gaussian-uniform", GaussianUniformMaximized()),
    "bayes_by_backprop": Member("two-normals", NormalMixture(0.5, 1.0, 0.1)),
    "spike_slab": Member("spike-and-slab", SpikeAndSlab(0.5, slab_scale=1.0, spike_scale=0.05)),
    "horseshoe": Member("horseshoe", Horseshoe(slab_scale=2.0, per="in")),
    "vib": Member("bottleneck", ScaleMixture(noise.Bottleneck().per("in")), BY_ROW),
}
