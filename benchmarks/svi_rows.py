"""The training steps that ``svi.py`` times: written by hand in torch and in JAX, and by scalemix's engine on the same arithmetic."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

NOISE_SD, RATE = 0.5, 1e-3


class Net(NamedTuple):
    """Layers, rows of the data, rows of a batch, and steps of a round."""

    sizes: tuple[int, ...]
    rows: int
    batch: int
    steps: int


NETS = {
    "LeNet-300-100, batch 128": Net((784, 300, 100, 10), 5120, 128, 40),
    "8-50-1, 1000 rows, full batch": Net((8, 50, 1), 1000, 1000, 200),
}


def make_data(net: Net) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    x = random.uniform(size=(net.rows, net.sizes[0])).astype(np.float32)
    if net.sizes[-1] > 1:
        return x, random.integers(0, net.sizes[-1], size=net.rows)
    return x, random.normal(size=net.rows).astype(np.float32)


def first_values(net: Net, *, variances: bool) -> dict[str, np.ndarray]:
    random, found = np.random.default_rng(1), {}
    for i, shape in enumerate(pairwise(net.sizes)):
        found[f"w{i}_loc"] = (random.normal(size=shape) * np.sqrt(2 / shape[0])).astype(np.float32)
        found[f"b{i}"] = np.zeros(shape[1], np.float32)
        if variances:
            found[f"w{i}_log_variance"] = np.full(shape, -10.0, np.float32)
    return found


# --- the arithmetic, written once: ``xp`` is torch or jax.numpy, ``own`` the four functions that the two do not share


def forward(xp: Any, own: Any, params: dict[str, Any], x: Any, noise: Callable[[int, Any], Any], *, draw: str) -> tuple[Any, Any]:
    """Outputs, and the KL; ``noise(i, like)`` gives normals for layer i, or the mask of dropout.

    ``draw`` is what is random: "rows" of pre-activations (local reparametrization), "weights", or nothing but the "mask" of dropout.
    """
    h, kl, layers = x, 0.0, sum(name.endswith("_loc") for name in params)
    for i in range(layers):
        w = params[f"w{i}_loc"]
        if draw == "mask":
            h = h @ w + params[f"b{i}"]
        else:
            log_variance = params[f"w{i}_log_variance"]
            if draw == "rows":
                mean = h @ w + params[f"b{i}"]
                h = mean + xp.sqrt((h * h) @ xp.exp(log_variance) + 1e-16) * noise(i, mean)
            else:
                h = h @ (w + xp.exp(0.5 * log_variance) * noise(i, w)) + params[f"b{i}"]
            kl = kl + 0.5 * xp.sum(xp.log1p(w * w * xp.exp(-log_variance)))
        if i < layers - 1:
            h = own.relu(h)
            if draw == "mask":
                h = h * noise(i, h)
    return h, kl


def nll(xp: Any, own: Any, h: Any, y: Any, num_data: int) -> Any:
    if h.shape[1] > 1:
        return num_data * own.cross_entropy(h, y)
    return num_data * xp.mean(0.5 * ((y - h[:, 0]) / NOISE_SD) ** 2)


class Objective:
    """As the engines take it: ``params`` and ``loss``."""

    def __init__(self, language: str, net: Net, *, draw: str = "rows") -> None:
        self.draw = draw
        values = first_values(net, variances=draw != "mask")
        if language == "torch":
            import torch

            functional = torch.nn.functional
            self.xp: Any = torch
            self.own: Any = argparse.Namespace(relu=torch.relu, cross_entropy=functional.cross_entropy)
            self.params = {name: torch.as_tensor(value) for name, value in values.items()}
        else:
            import jax
            import jax.numpy as jnp

            def cross_entropy(h: Any, y: Any) -> Any:
                return -jnp.mean(jnp.take_along_axis(jax.nn.log_softmax(h), y[:, None], axis=1))

            self.xp, self.own = jnp, argparse.Namespace(relu=jax.nn.relu, cross_entropy=cross_entropy)
            self.params = {name: jnp.asarray(value) for name, value in values.items()}

    def noise(self, key: Any, i: int, like: Any) -> Any:
        if key is None:
            import torch

            return 2.0 * (torch.rand_like(like) < 0.5) if self.draw == "mask" else torch.randn_like(like)
        import jax

        key = jax.random.fold_in(key, i)
        mask = self.draw == "mask"
        return 2.0 * jax.random.bernoulli(key, 0.5, like.shape) if mask else jax.random.normal(key, like.shape, like.dtype)

    def loss(self, params: dict[str, Any], batch: tuple, key: Any, kl_weight: Any, num_data: int) -> tuple[Any, dict[str, Any]]:
        x, y = batch
        h, kl = forward(self.xp, self.own, params, x, partial(self.noise, key), draw=self.draw)
        fit = nll(self.xp, self.own, h, y, num_data)
        return fit + kl_weight * kl, {"nll": fit, "kl": kl}


# --- rows: each is a function of a net that gives a function of no arguments, which takes the steps of a round


def torch_by_hand(net: Net, *, draw: str = "rows", compiled: bool = False) -> Callable[[], None]:
    import torch

    objective = Objective("torch", net, draw=draw)
    options = {"fallback_random": True}
    loss_of = torch.compile(objective.loss, fullgraph=True, dynamic=False, options=options) if compiled else objective.loss
    params = {name: value.requires_grad_() for name, value in objective.params.items()}
    optimizer = torch.optim.Adam(params.values(), lr=RATE, fused=True)
    x, y = (torch.as_tensor(each) for each in make_data(net))

    def steps() -> None:
        per_epoch = net.rows // net.batch
        for step in range(net.steps):
            if step % per_epoch == 0 and net.batch < net.rows:
                order = torch.randperm(net.rows)
            batch = (x, y)
            if net.batch < net.rows:
                index = order[step % per_epoch * net.batch :][: net.batch]
                batch = (x[index], y[index])
            loss, _ = loss_of(params, batch, None, 1.0, net.rows)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()

    return steps


def jax_by_hand(net: Net, *, draw: str = "rows") -> Callable[[], None]:
    import jax
    import optax

    objective = Objective("jax", net, draw=draw)
    optimizer = optax.adam(RATE)
    x, y = (jax.numpy.asarray(each) for each in make_data(net))
    per_epoch = net.rows // net.batch

    def step(carry: Any, start: Any) -> tuple[Any, Any]:
        params, state, key, order = carry
        key, own = jax.random.split(key)
        batch = (x, y)
        if net.batch < net.rows:
            index = jax.lax.dynamic_slice(order, (start * net.batch,), (net.batch,))
            batch = (x[index], y[index])
        (value, _), gradient = jax.value_and_grad(objective.loss, has_aux=True)(params, batch, own, 1.0, net.rows)
        updates, state = optimizer.update(gradient, state, params)
        return (optax.apply_updates(params, updates), state, key, order), value

    def epoch(carry: Any, _: Any) -> tuple[Any, Any]:
        params, state, key = carry
        key, own = jax.random.split(key)
        order = jax.random.permutation(own, net.rows) if net.batch < net.rows else None
        (params, state, key, _), losses = jax.lax.scan(step, (params, state, key, order), jax.numpy.arange(per_epoch))
        return (params, state, key), losses

    program = jax.jit(lambda carry: jax.lax.scan(epoch, carry, None, length=net.steps // per_epoch), donate_argnums=0)
    carry = (objective.params, optimizer.init(objective.params), jax.random.PRNGKey(0))

    def steps() -> None:
        nonlocal carry
        carry, losses = program(carry)
        losses.block_until_ready()

    return steps


def own_network(language: str, net: Net) -> Any:
    """A network as somebody has it: a module of torch, or of Equinox."""
    pairs = list(pairwise(net.sizes))
    if language == "pyro":
        from torch import nn

        layers = [part for pair in pairs for part in (nn.Linear(*pair), nn.ReLU())]
        return nn.Sequential(*layers[:-1])
    import equinox as eqx
    import jax

    keys = jax.random.split(jax.random.PRNGKey(0), len(pairs))
    steps = [part for pair, key in zip(pairs, keys, strict=True) for part in (eqx.nn.Linear(*pair, key=key), eqx.nn.Lambda(jax.nn.relu))]
    return eqx.nn.Sequential(steps[:-1])


def recipe(language: str, net: Net, *, lift: bool = False) -> Any:
    """The objective that ``scalemix.inference.vbd`` trains for ``scalemix.models.mlp``, or for a network of one's own that was lifted:
    model, guide and divergence as a user has them."""
    from importlib import import_module

    import scalemix as sm
    from scalemix.guides import Gaussian, Guide, Point
    from scalemix.likelihoods import Gaussian as GaussianOutcome
    from scalemix.models import lifted, mlp
    from scalemix.variational_scope import variational_scope

    ppl = import_module(f"scalemix.{language}")
    likelihood = "categorical" if net.sizes[-1] > 1 else GaussianOutcome(scale=NOISE_SD)
    sizes = {"widths": net.sizes[1:-1], "num_outputs": net.sizes[-1]}
    if lift:
        priors = {"*weight": sm.GaussianUniformMaximized(), "*bias": sm.Normal(1.0)}
        described = partial(lifted, net=ppl.lift(own_network(language, net), priors), likelihood=likelihood)
    else:
        described = partial(mlp, prior=sm.GaussianUniformMaximized(), likelihood=likelihood, activation="relu", **sizes)
    model = sm.variational(described)
    x, y = make_data(net)
    with ppl.engine.precision("float32", "cpu"):
        with variational_scope(placeholders=True):
            structure = ppl.engine.structure(model, (x, y), seed=0)
        guide = Guide.build(
            structure,
            lambda target: Gaussian(log_variance=-10) if target.role == "weight" else Point(),
            seed=0,
            local_reparametrization=True,
        )
        return ppl.engine.objective(model, guide, (x[: net.batch], y[: net.batch]), seed=0)


def engine(net: Net, turns: Callable[[], None], language: str, *, whole: bool = False, lift: bool = False, **options: Any) -> None:
    """The engine trains, and waits for its turn at the end of each round, where it would look at a validation score.

    It is given the arithmetic of the rows by hand, or the ``whole`` recipe, which may ``lift`` its network.
    """
    from importlib import import_module

    from scalemix.training import Settings

    ppl = import_module(f"scalemix.{language}")
    per_epoch = net.rows // net.batch
    settings = Settings(
        num_epochs=10**7, batch_size=net.batch, learning_rate=RATE, check_every=net.steps // per_epoch, progress=False, **options
    )
    objective = recipe(language, net, lift=lift) if whole else Objective("torch" if language == "pyro" else "jax", net)

    def wait(_: dict[str, Any]) -> float:
        turns()
        return 0.0

    with ppl.engine.precision("float32", "cpu"):
        ppl.engine.train(objective, make_data(net), settings, seed=0, validation=wait)


BY_HAND: dict[str, Callable[[Net], Callable[[], None]]] = {
    "torch, plain dropout": partial(torch_by_hand, draw="mask"),
    "torch, by hand": torch_by_hand,
    "JAX, plain dropout": partial(jax_by_hand, draw="mask"),
    "JAX, by hand": jax_by_hand,
}
ENGINES: dict[str, tuple[str, dict[str, Any]]] = {
    "torch, engine, eager": ("pyro", {"compile": False}),
    "torch, engine, compiled": ("pyro", {"compile": True}),
    "torch, vbd, eager": ("pyro", {"compile": False, "whole": True}),
    "torch, vbd, compiled": ("pyro", {"compile": True, "whole": True}),
    "JAX, engine": ("numpyro", {}),
    "JAX, vbd": ("numpyro", {"whole": True}),
}
