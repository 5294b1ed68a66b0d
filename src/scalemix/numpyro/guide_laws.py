"""In JAX: a law of a guide that brings its divergence along."""

from __future__ import annotations

from typing import Any

import jax
import numpyro.distributions as numpyro_dist
from numpyro.distributions.distribution import Distribution, ExpandedDistribution
from numpyro.distributions.kl import kl_divergence

from scalemix.numpyro.distributions import dist

__all__ = ["WithDivergence"]


class WithDivergence(Distribution):
    """The law ``base``, whose KL to whatever stands in the model is ``divergence``, of its batch shape: a bound, or a penalty."""

    arg_constraints: dict[str, Any] = {}
    reparametrized_params: list[str] = []
    pytree_data_fields = ("base", "divergence")

    def __init__(self, base: Any, divergence: Any, *, validate_args: Any = None) -> None:
        self.base, self.divergence = base, divergence
        super().__init__(batch_shape=base.batch_shape, event_shape=base.event_shape, validate_args=False)

    @property
    def support(self) -> Any:
        return self.base.support

    def sample(self, key: jax.Array | None, sample_shape: tuple[int, ...] = ()) -> Any:
        return self.base.sample(key, sample_shape)

    def log_prob(self, value: Any) -> jax.Array:
        return self.base.log_prob(value)


@kl_divergence.register(WithDivergence, Distribution)
def _divergence(q: Any, p: Any) -> jax.Array:
    return q.divergence


@kl_divergence.register(WithDivergence, ExpandedDistribution)
def _of_expanded(q: Any, p: Any) -> jax.Array:
    return q.divergence


@kl_divergence.register(WithDivergence, numpyro_dist.MaskedDistribution)
def _of_masked(q: Any, p: Any) -> jax.Array:
    return q.divergence


dist.WithDivergence = WithDivergence
