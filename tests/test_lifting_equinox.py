"""``ppl.lift`` of Equinox modules and other pytrees: the axes of their layers, and sampling from their own weights."""

from __future__ import annotations

from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from lifted import X, Y, draws_of_mlp, mlp_of

import scalemix.numpyro as in_numpyro
from scalemix import models
from scalemix.inference import nuts
from scalemix.priors import Laplace, Normal

RNG = np.random.default_rng(5)


def test_every_layer_of_equinox_has_its_axes() -> None:
    keys = jax.random.split(jax.random.PRNGKey(0), 4)
    tree = {
        "conv": eqx.nn.Conv2d(2, 3, (4, 5), key=keys[0]),
        "lstm": eqx.nn.LSTMCell(2, 3, key=keys[1]),
        "words": eqx.nn.Embedding(7, 2, key=keys[2]),
        "kernel": np.zeros((5, 2)),
        "filters": np.zeros((3, 3, 1, 2)),
    }
    net = in_numpyro.lift(tree, {"*": Normal(1.0)}, apply=lambda tree, x: x)
    found = {array.name: (array.axes, array.shape) for array in net.arrays}
    assert found["conv.weight"] == (("out", "in", "height", "width"), (3, 2, 4, 5))
    assert found["conv.bias"] == (("out",), (3,))
    assert found["lstm.weight_ih"] == (("gate", "out", "in"), (4, 3, 2))
    assert found["lstm.bias"] == (("gate", "out"), (4, 3))
    assert found["words.weight"] == (("in", "out"), (7, 2))
    assert found["kernel"] == (("in", "out"), (5, 2))
    assert found["filters"] == (("height", "width", "in", "out"), (3, 3, 1, 2))


def test_an_equinox_cell_under_the_weights_of_a_site() -> None:
    cell = eqx.nn.LSTMCell(2, 3, key=jax.random.PRNGKey(0))
    x, state = jnp.ones((5, 2)), (jnp.zeros(3), jnp.zeros(3))
    net = in_numpyro.lift(cell, {"weight_ih": Normal(1.0)}, apply=lambda cell, x: jax.vmap(lambda row: cell(row, state)[0])(x))
    weight = RNG.normal(size=(12, 2))
    evaluated = in_numpyro.engine.evaluate(
        lambda ppl, x: ppl.deterministic("h", net(x)), (np.asarray(x),), {"weight_ih": weight.reshape(1, 4, 3, 2)}, chunk=1
    )
    other = eqx.tree_at(lambda cell: cell.weight_ih, cell, jnp.asarray(weight, dtype=jnp.float32))
    np.testing.assert_allclose(evaluated.deterministics["h"][0][0], other(x[0], state)[0], rtol=1e-4)


@pytest.mark.slow
def test_equinox_is_sampled_from_its_own_weights() -> None:
    net = in_numpyro.lift(mlp_of(draws_of_mlp())["numpyro"], {"*.weight": Laplace(), "*.bias": Normal(3.0)}, parametrization="marginal")
    settings = nuts.Settings(num_warmup=5, num_draws=3, num_chains=1, max_tree_depth=2, progress=False)
    draws = nuts.fit(in_numpyro, partial(models.lifted, net=net), X, Y, seed=0, settings=settings, init_from=net.initial)
    assert draws.draws["layers.0.weight"].shape == (1, 3, 4, 3)
    assert draws.predict(X, seed=0).mean.shape == (6,)
