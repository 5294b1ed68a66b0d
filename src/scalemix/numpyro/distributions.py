"""Distributions that NumPyro lacks, and ``dist``: NumPyro's own with them."""

from __future__ import annotations

import copy
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpyro.distributions as numpyro_dist
from jax import lax
from numpyro.distributions import constraints
from numpyro.distributions.batch_util import promote_batch_shape

from scalemix.numpyro.arrays import array_functions
from scalemix.numpyro.scannable import FoldedDistribution, TransformedDistribution
from scalemix.special import two_scale_normal_log_prob

__all__ = ["OnInterval", "ScaleMixture", "TwoScaleNormal", "dist", "dist_like"]


class ScaleMixture(numpyro_dist.Distribution):
    """Law of w = scale · ξ z with z ~ N(0, 1) and ξ of the law ``noise`` integrated out, elementwise.

    ``log_density(xp, w, *params)`` is log p(w) for scale 1; formulas: ``scalemix.special``.
    """

    arg_constraints = {"scale": constraints.positive}
    support = constraints.real
    reparametrized_params = ["scale"]
    pytree_data_fields = ("noise",)
    pytree_aux_fields = ("log_density", "params")

    def __init__(
        self, noise: Any, log_density: Callable[..., Any], scale: Any, params: tuple[float, ...] = (), *, validate_args: bool | None = None
    ) -> None:
        self.noise, self.log_density, self.params = noise, log_density, params
        self.scale = jnp.asarray(scale) * 1.0
        super().__init__(batch_shape=jnp.shape(self.scale), validate_args=validate_args)

    def sample(self, key: jax.Array, sample_shape: tuple[int, ...] = ()) -> jax.Array:
        key_noise, key_base = jax.random.split(key)
        shape = sample_shape + self.batch_shape
        return self.scale * self.noise.sample(key_noise, shape) * jax.random.normal(key_base, shape)

    def log_prob(self, value: Any) -> jax.Array:
        return self.log_density(array_functions, value / self.scale, *self.params) - jnp.log(self.scale)


class OnInterval(TransformedDistribution):
    """Law of transform(x), x ~ base, for an increasing transform that takes the support of ``base`` to (low, high)."""

    pytree_data_fields = ("_support",)

    def __init__(self, base: Any, transform: Any, low: float, high: float, *, validate_args: bool | None = None) -> None:
        self._support = constraints.interval(low, high)
        super().__init__(base, transform, validate_args=validate_args)

    @property
    def support(self) -> Any:
        return self._support


class TwoScaleNormal(numpyro_dist.Distribution):
    """Law of w = ξ z with ξ = high_scale with probability π, else low_scale, and z ~ N(0, 1); one ξ over the axes ``tied``.

    The event reaches to the leftmost tied axis; without tied axes it is univariate. Formula: ``scalemix.special``.
    """

    arg_constraints = {
        "inclusion_prob": constraints.unit_interval,
        "low_scale": constraints.positive,
        "high_scale": constraints.positive,
    }
    reparametrized_params = ["low_scale", "high_scale"]
    pytree_aux_fields = ("tied",)

    def __init__(
        self, inclusion_prob: Any, low_scale: Any, high_scale: Any, *, tied: tuple[int, ...] = (), validate_args: bool | None = None
    ) -> None:
        self.tied = tuple(tied)
        self.inclusion_prob = inclusion_prob
        shape = lax.broadcast_shapes(jnp.shape(inclusion_prob), jnp.shape(low_scale), jnp.shape(high_scale))
        self.low_scale, self.high_scale = jnp.broadcast_to(low_scale, shape), jnp.broadcast_to(high_scale, shape)
        split = len(shape) - max((-axis for axis in self.tied), default=0)
        super().__init__(batch_shape=shape[:split], event_shape=shape[split:], validate_args=validate_args)

    @property
    def support(self) -> Any:
        return constraints.independent(constraints.real, self.event_dim) if self.event_dim else constraints.real

    @property
    def mean(self) -> jax.Array:
        return jnp.zeros_like(self.low_scale)

    @property
    def variance(self) -> jax.Array:
        return self.inclusion_prob * self.high_scale**2 + (1.0 - self.inclusion_prob) * self.low_scale**2

    def sample(self, key: jax.Array, sample_shape: tuple[int, ...] = ()) -> jax.Array:
        key_gate, key_base = jax.random.split(key)
        shape = sample_shape + self.batch_shape + self.event_shape
        gate_shape = [1 if axis - len(shape) in self.tied else size for axis, size in enumerate(shape)]
        gate = jax.random.bernoulli(key_gate, self.inclusion_prob, gate_shape)
        return jnp.where(gate, self.high_scale, self.low_scale) * jax.random.normal(key_base, shape)

    def log_prob(self, value: Any) -> jax.Array:
        return two_scale_normal_log_prob(
            array_functions, value, jnp.asarray(self.inclusion_prob) * 1.0, self.low_scale, self.high_scale, self.tied, self.event_dim
        )


@promote_batch_shape.register
def _promote_two_scales(law: TwoScaleNormal) -> Any:
    """With an axis put in front of its parameters by ``scan``; the inclusion probability, where it is one number, has that axis alone."""
    promoted = copy.copy(law)
    promoted._batch_shape = law.low_scale.shape[: law.low_scale.ndim - law.event_dim]
    prob = jnp.asarray(law.inclusion_prob)
    promoted.inclusion_prob = prob.reshape(prob.shape + (1,) * (law.low_scale.ndim - prob.ndim))
    return promoted


dist = SimpleNamespace(**{name: getattr(numpyro_dist, name) for name in dir(numpyro_dist) if not name.startswith("_")})
dist.OnInterval, dist.ScaleMixture, dist.TwoScaleNormal = OnInterval, ScaleMixture, TwoScaleNormal
dist.TransformedDistribution, dist.FoldedDistribution = TransformedDistribution, FoldedDistribution


def dist_like(like: Any) -> Any:
    """``dist`` whose Python numbers become arrays of the dtype and on the device of ``like``."""
    return dist  # in JAX a Python number takes the dtype and device of what it meets
