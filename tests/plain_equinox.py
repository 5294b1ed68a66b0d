"""Networks that somebody wrote and trained in plain Equinox: nothing here knows of scalemix."""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp
import optax

__all__ = ["images", "perceptron", "trained"]


def perceptron(columns: int, width: int, *, seed: int = 0) -> eqx.nn.MLP:
    """Two layers with tanh between them, one output."""
    return eqx.nn.MLP(columns, 1, width, 1, activation=jnp.tanh, key=jax.random.PRNGKey(seed))


def images(*, seed: int = 0) -> eqx.nn.Sequential:
    """Convolution, pooling and a linear layer, for images (1, 6, 6), one output."""
    keys = jax.random.split(jax.random.PRNGKey(seed), 2)
    return eqx.nn.Sequential(
        [
            eqx.nn.Conv2d(1, 4, 3, padding=1, key=keys[0]),
            eqx.nn.Lambda(jax.nn.relu),
            eqx.nn.MaxPool2d(2, 2),
            eqx.nn.Lambda(jnp.ravel),
            eqx.nn.Linear(36, 1, key=keys[1]),
        ]
    )


def trained(net: eqx.Module, x: jax.Array, y: jax.Array, *, steps: int = 300, rate: float = 0.02) -> eqx.Module:
    """The network after some steps of Adam on the squared error."""
    optimizer = optax.adam(rate)
    params, rest = eqx.partition(net, eqx.is_inexact_array)

    def loss(params: eqx.Module) -> jax.Array:
        return jnp.mean((jax.vmap(eqx.combine(params, rest))(x)[:, 0] - y) ** 2)

    @jax.jit
    def run(params: eqx.Module) -> eqx.Module:
        def step(_: int, carry: tuple) -> tuple:
            params, state = carry
            updates, state = optimizer.update(jax.grad(loss)(params), state)
            return eqx.apply_updates(params, updates), state

        return jax.lax.fori_loop(0, steps, step, (params, optimizer.init(params)))[0]

    return eqx.combine(run(params), rest)
