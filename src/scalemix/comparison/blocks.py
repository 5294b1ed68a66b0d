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
    """Draws (chain, draw, k) by block; ``noun`` is what their entries are called in a sentence."""

    draws: dict[str, np.ndarray]
    noun: str

    @property
    def joined(self) -> np.ndarray:
        """All entries of all blocks, (chain, draw, k)."""
        return np.concatenate(list(self.draws.values()), axis=-1)


def blocks_of(posterior: Posterior) -> Blocks:
    """A block for each weight site. Of a model that says what is identified (``scalemix.identified``: a network, whose hidden units
    permute) a block for each of those quantities: function values at fixed inputs, the log likelihood, scales.

    Raises: ValueError if no site holds coefficients.
    """
    found, noun = posterior.identified, "identified quantities"
    if not found:
        found, noun = {site: posterior.draws[site] for site in weight_sites(posterior)}, "coefficients"
    values = {name: np.asarray(value, dtype=float) for name, value in found.items()}
    return Blocks({name: value.reshape(*value.shape[:2], -1) for name, value in values.items()}, noun)
