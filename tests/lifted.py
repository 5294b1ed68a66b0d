"""One small network of the same numbers in torch and in Equinox, which the tests of ``ppl.lift`` give priors."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import torch
from plain_torch import Mlp

from scalemix import noise
from scalemix.priors import ScaleMixture

__all__ = ["NAMES", "PER_IN", "X", "Y", "draws_of_mlp", "mlp_of"]

RNG = np.random.default_rng(5)
X = RNG.normal(size=(6, 3))
Y = RNG.normal(size=6)
PER_IN = ScaleMixture(noise.Rayleigh().per("in"))
NAMES = {
    "pyro": {"w1": "fc1.weight", "b1": "fc1.bias", "w2": "fc2.weight", "b2": "fc2.bias"},
    "numpyro": {"w1": "layers.0.weight", "b1": "layers.0.bias", "w2": "layers.1.weight", "b2": "layers.1.bias"},
}


def mlp_of(values: dict[str, np.ndarray]) -> dict[str, Any]:
    """A network of the same numbers in each language."""
    module = Mlp()
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            parameter.copy_(torch.as_tensor(values[name]))
    net = eqx.nn.MLP(3, "scalar", 4, 1, activation=jnp.tanh, key=jax.random.PRNGKey(0))
    tree = [values["fc1.weight"], values["fc1.bias"], values["fc2.weight"], values["fc2.bias"]]
    where = lambda n: [n.layers[0].weight, n.layers[0].bias, n.layers[1].weight, n.layers[1].bias]  # noqa: E731
    return {"pyro": module, "numpyro": eqx.tree_at(where, net, [jnp.asarray(each) for each in tree])}


def draws_of_mlp() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(1)
    shapes = {"fc1.weight": (4, 3), "fc1.bias": (4,), "fc2.weight": (1, 4), "fc2.bias": (1,)}
    return {name: rng.normal(size=shape) for name, shape in shapes.items()}
