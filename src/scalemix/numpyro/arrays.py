"""JAX's array functions, under the names with which formulas are written."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp

from scalemix.arrays import register

__all__ = ["array_functions"]


def _asarray(value: Any, like: jax.Array | None) -> jax.Array:
    return jnp.asarray(value, dtype=jnp.result_type(float) if like is None else like.dtype)


array_functions = SimpleNamespace(
    abs=jnp.abs,
    argsort=lambda x: jnp.argsort(x, axis=-1, stable=True),
    asarray=_asarray,
    clip=jnp.clip,
    concatenate=jnp.concatenate,
    erfc=jax.scipy.special.erfc,
    exp=jnp.exp,
    floor=jnp.floor,
    lgamma=jax.scipy.special.gammaln,
    log=jnp.log,
    log1p=jnp.log1p,
    logaddexp=jnp.logaddexp,
    logsumexp=lambda x: jax.nn.logsumexp(x, axis=-1, keepdims=True),
    sigmoid=jax.nn.sigmoid,
    softplus=jax.nn.softplus,
    sqrt=jnp.sqrt,
    stop_gradient=jax.lax.stop_gradient,
    sum=jnp.sum,
    take=lambda tables, index: [table[index.astype(jnp.int32)] for table in tables],
    where=jnp.where,
)
register(array_functions, "jax", "jaxlib")
