"""In JAX: the law of a guide's weights, the law of a prior that has a divergence and no draws, and the divergence between them."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from typing import Any

import jax
import jax.numpy as jnp
import numpyro.distributions as numpyro_dist
from numpyro.distributions import constraints
from numpyro.distributions.kl import kl_divergence

from scalemix.local_reparametrization import Unsampled
from scalemix.numpyro.arrays import array_functions
from scalemix.numpyro.distributions import dist
from scalemix.variational_priors import VariationalPrior
from scalemix.variational_scope import current_scope

__all__ = ["MultiplicativeNormal", "VariationalLaw", "WeightNormal", "kl_divergence", "standard_normal"]


def standard_normal(key: Any, like: Any) -> jax.Array:
    """Standard normals in the shape of ``like``, by a JAX key.

    Drawn in a row: the same numbers, and XLA compiles them in a third of the time (3.4 s → 1.2 s for 4 × 13 on a slow core).
    """
    return jax.random.normal(key, (jnp.size(like),), jnp.result_type(like)).reshape(jnp.shape(like))


class UnsampledArray(Unsampled):
    """In JAX: functions of ``jax.numpy`` and operators draw it first, by ``__jax_array__``; others want ``ppl.array(w)``."""

    def __jax_array__(self) -> jax.Array:
        return self.drawn()

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)  # protocols that are asked for by name
        return getattr(self.drawn(), name)


class WeightNormal(numpyro_dist.Normal):
    """N(loc, e^log_variance) of a guide's weights, whose draws may be left to the layers (``lazy``).

    Where log α = log_variance − log loc² is above ``mask_above``, draws are 0: the weight is pruned already during training.
    """

    pytree_data_fields = ("log_variance",)
    pytree_aux_fields = ("lazy", "mask_above")

    def __init__(
        self, loc: Any, log_variance: Any, *, lazy: bool = False, mask_above: float | None = None, validate_args: Any = None
    ) -> None:
        self.log_variance, self.lazy, self.mask_above = log_variance, lazy, mask_above
        super().__init__(loc, jnp.exp(0.5 * log_variance), validate_args=False)

    def sample(self, key: jax.Array | None, sample_shape: tuple[int, ...] = ()) -> Any:
        masked = self._masked()
        if self.lazy and not sample_shape:
            uses = count()
            normal = lambda like: standard_normal(jax.random.fold_in(key, next(uses)), like)  # noqa: E731
            return UnsampledArray(masked(self.loc), masked(self.variance), normal, scale=masked(self.scale))
        loc = masked(self.loc)
        return loc + masked(self.scale) * standard_normal(key, jnp.broadcast_to(loc, sample_shape + self.batch_shape))

    @property
    def variance(self) -> jax.Array:
        return jnp.exp(self.log_variance)

    def log_prob(self, value: Any) -> jax.Array:
        return super().log_prob(value.drawn() if isinstance(value, Unsampled) else value)

    def _masked(self) -> Callable[[jax.Array], jax.Array]:
        """Puts 0 where a weight is masked."""
        if self.mask_above is None:
            return lambda values: values
        kept = self._kept(self.mask_above)
        return lambda values: values * kept

    def _kept(self, above: float) -> jax.Array:
        log_variance, size = jax.lax.stop_gradient((self.log_variance, jnp.abs(self.loc)))
        return log_variance <= above + 2.0 * jnp.log(size)


class MultiplicativeNormal(WeightNormal):
    """N(loc, e^log_alpha loc²) of a guide's weights, else as ``WeightNormal``; the shape of ``log_alpha`` broadcasts to that of ``loc``."""

    pytree_data_fields = ("log_alpha",)

    def __init__(self, loc: Any, log_alpha: Any, *, lazy: bool = False, mask_above: float | None = None, validate_args: Any = None) -> None:
        self.log_alpha, self.lazy, self.mask_above = log_alpha, lazy, mask_above
        numpyro_dist.Normal.__init__(self, loc, jnp.exp(0.5 * log_alpha) * jnp.abs(loc), validate_args=False)

    @property
    def variance(self) -> jax.Array:
        return self.scale * self.scale

    def _kept(self, above: float) -> jax.Array:
        return jax.lax.stop_gradient(self.log_alpha) <= above


class VariationalLaw(numpyro_dist.Distribution):
    """Law of weights of that ``shape`` under a prior that has a divergence from a normal and no draws."""

    arg_constraints: dict[str, Any] = {}
    support = constraints.real
    reparametrized_params: list[str] = []
    pytree_aux_fields = ("prior",)

    def __init__(self, prior: VariationalPrior, shape: tuple[int, ...], *, validate_args: Any = None) -> None:
        self.prior = prior
        super().__init__(batch_shape=tuple(shape), validate_args=False)

    def sample(self, key: jax.Array | None, sample_shape: tuple[int, ...] = ()) -> jax.Array:
        scope = current_scope()
        if scope is None or not scope.placeholders:
            raise ValueError(f"{self.prior} cannot be sampled: {self.prior.reason}; use {self.prior.remedy}")
        return jnp.zeros(sample_shape + self.batch_shape)

    def log_prob(self, value: Any) -> jax.Array:
        """Up to a constant; of a weight that was not drawn, 0: the divergence stands for it."""
        if isinstance(value, Unsampled):
            return jnp.zeros(())
        return self.prior.log_density(array_functions, jnp.asarray(value))


@kl_divergence.register(numpyro_dist.Normal, VariationalLaw)
def _divergence_of_normal(q: Any, p: VariationalLaw) -> jax.Array:
    return p.prior.divergence(q.loc, q.log_variance if isinstance(q, WeightNormal) else 2.0 * jnp.log(q.scale))


@kl_divergence.register(MultiplicativeNormal, VariationalLaw)
def _divergence_of_multiplicative(q: Any, p: VariationalLaw) -> jax.Array:
    return jnp.broadcast_to(p.prior.divergence_at(q.log_alpha), q.batch_shape)


dist.WeightNormal, dist.MultiplicativeNormal, dist.VariationalLaw = WeightNormal, MultiplicativeNormal, VariationalLaw
