"""What of two fits is compared, block by block: coefficients where they mean something one by one, else what is identified."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from scalemix.comparison.distances import weight_sites

if TYPE_CHECKING:
    from scalemix.posterior import Posterior

__all__ = ["Blocks", "blocks_of"]

HIDDEN = 2  # a weight of two or more axes feeds hidden units, which permute


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
    """Every weight site of a model that is linear in its weights, a block each; of a network, whose hidden units permute, what does not
    depend on their order (``identified``).

    Raises: ValueError if no site holds coefficients.
    """
    sites = weight_sites(posterior)
    values = {site: np.asarray(posterior.draws[site], dtype=float) for site in sites}
    return Blocks({site: value.reshape(*value.shape[:2], -1) for site, value in values.items()}, "coefficients")
