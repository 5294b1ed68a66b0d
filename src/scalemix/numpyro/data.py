"""NumPy data as JAX arrays in the precision in force."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

__all__ = ["arrays"]


def arrays(data: Any) -> Any:
    """Arrays in tuples and dicts as JAX arrays; floating ones get JAX's default dtype."""
    dtype = jnp.result_type(float)
    return jax.tree.map(lambda x: jnp.asarray(x, dtype if np.issubdtype(np.asarray(x).dtype, np.floating) else None), data)
