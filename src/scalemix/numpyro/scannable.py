"""NumPyro's transformed and folded laws, mended where ``scan`` and a fresh draw need it (NumPyro 0.22).

``scan`` puts an axis of time in front of the parameters of a law, and then has the law say its new batch shape; a transformed law does not.
"""

from __future__ import annotations

import copy
from typing import Any

import jax
import numpyro.distributions as numpyro_dist
from numpyro.distributions.batch_util import promote_batch_shape

__all__ = ["FoldedDistribution", "TransformedDistribution"]


class TransformedDistribution(numpyro_dist.TransformedDistribution):
    """Law of transform(x), x ~ base, whose batch shape follows that of its base."""


class FoldedDistribution(numpyro_dist.FoldedDistribution):
    """Law of |x|, x ~ base, whose batch shape follows that of its base, and whose log density takes what every transformed law's does."""

    def log_prob(self, value: Any, intermediates: Any = None) -> jax.Array:
        return super().log_prob(value)


@promote_batch_shape.register(TransformedDistribution)
@promote_batch_shape.register(FoldedDistribution)
def _promote(law: Any) -> Any:
    promoted = copy.copy(law)
    promoted.base_dist = promote_batch_shape(law.base_dist)
    promoted._batch_shape = promoted.base_dist.batch_shape
    return promoted
