"""What of two fits is compared, block by block: coefficients where they mean something one by one, else what is identified."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from scalemix.comparison.distances import weight_sites

if TYPE_CHECKING:
    from scalemix.posterior import Posterior

__all__ = ["Blocks", "blocks_of"]


@dataclass(frozen=True)
class Blocks:
    """Draws (chain, draw, k) by block; ``noun`` is what their entries are called in a sentence, ``shared_unit`` whether they have one."""

    draws: dict[str, np.ndarray]
    noun: str
    shared_unit: bool

    @property
    def joined(self) -> np.ndarray:
        """All entries of all blocks, (chain, draw, k)."""
        return np.concatenate(list(self.draws.values()), axis=-1)

    def in_units_of(self, reference: Blocks) -> Blocks:
        """The reference's blocks of these; entries without a shared unit in sds of the reference, so that nats and scales can be averaged.

        An entry of the reference that never moves keeps its unit.
        """
        scales = {
            name: draws.std(axis=(0, 1)) if not reference.shared_unit else np.ones(draws.shape[-1])
            for name, draws in reference.draws.items()
        }
        found = {name: self.draws[name] / np.where(scale > 0, scale, 1.0) for name, scale in scales.items()}
        return Blocks(found, reference.noun, reference.shared_unit)


def blocks_of(posterior: Posterior) -> Blocks:
    """A block for each weight site. Of a model that says what is identified (``scalemix.identified``: a network, whose hidden units
    permute) a block for each of those quantities: function values at fixed inputs, the log likelihood, scales.

    Raises: ValueError if no site holds coefficients.
    """
    found = posterior.identified or {site: posterior.draws[site] for site in weight_sites(posterior)}
    values = {name: np.asarray(value, dtype=float) for name, value in found.items()}
    flat = {name: value.reshape(*value.shape[:2], -1) for name, value in values.items()}
    return Blocks(flat, "identified quantities" if posterior.identified else "coefficients", not posterior.identified)
