"""Shrunk networks have the outputs of masked ones, and the report counts as the papers do."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from known_answers import KNOWN
from plain_torch import Images, Mlp
from torch import nn
from untrained_fits import IMAGES, LANGUAGES, MLP, RNG, X, Y, by_log_uniform, made, normals, outputs

import scalemix as sm
import scalemix.numpyro as in_numpyro
import scalemix.pyro as in_pyro
from scalemix import models
from scalemix.compress import Affine, Elementwise, Flatten, Layer, Pool, apply_layers, costs, latency, removed, report
from scalemix.posterior import Posterior

# --- known answers -------------------------------------------------------------------------------------------------------------


def dense(widths: tuple[int, ...]) -> list[Layer]:
    return [Affine(f"w{i}", np.ones((a, b), np.float32), np.zeros(b, np.float32)) for i, (a, b) in enumerate(pairwise(widths))]


def lenet5(c1: int = 20, c2: int = 50, f1: int = 800, f2: int = 500) -> list[Layer]:
    one, two = np.ones((5, 5, 1, c1), np.float32), np.ones((5, 5, c1, c2), np.float32)
    layers: list[Layer] = [Affine("w1", one, np.zeros(c1)), Pool(), Affine("w2", two, np.zeros(c2)), Pool(), Flatten()]
    return [*layers, *(Affine(layer.name + "d", layer.weight, layer.bias) for layer in dense((f1, f2, 10)) if isinstance(layer, Affine))]


def test_f6_weights_of_a_shrunk_lenet_300_100() -> None:
    before, after = dense((784, 300, 100, 10)), dense((97, 71, 33, 10))
    found = report(before, after, (784,), {}, np.arange(97))
    assert sum(found.before.weights) == 266_200
    np.testing.assert_allclose(100.0 * found.weight_ratio, KNOWN["F6"].value, rtol=1e-9)
    assert found.feature_ratio == (97 + 71 + 33) / 1184
    assert "784-300-100-10" in str(found)


def test_f7_weights_and_multiplications_of_lenet_5() -> None:
    found = costs(lenet5(), (28, 28, 1))
    assert sum(found.weights) + sum(found.multiplications) == KNOWN["F7"].value
    assert sum(found.multiplications) == 576 * 25 * 20 + 64 * 25 * 20 * 50 + 800 * 500 + 10 * 500
    smaller = costs(lenet5(7, 9, 144, 30), (28, 28, 1))
    assert sum(smaller.multiplications) == 576 * 25 * 7 + 64 * 25 * 7 * 9 + 144 * 30 + 10 * 30
    assert smaller.features == (784, 576 * 7, 64 * 9, 30)


@pytest.mark.slow
def test_the_multiplications_of_torch() -> None:
    """torch's own counter of a forward pass counts 2 for a multiplication and an addition."""
    from torch.utils.flop_counter import FlopCounterMode

    module = Images()
    layers = in_pyro.lift(module, {"*": sm.Normal()}).layers({})
    with FlopCounterMode(display=False) as counter:
        module(torch.zeros(1, 1, 8, 8))
    assert 2 * sum(costs(layers, (1, 8, 8)).multiplications) == counter.get_total_flops()


def random_layers(rng: np.random.Generator, *, padding: int, activation: str, how: str) -> list[Layer]:
    """A network of convolutions and dense layers in which whole rows and columns are 0."""

    def sparse(name: str, *shape: int, padding: int = 0) -> Affine:
        weight = rng.normal(size=shape) * (rng.random(shape) < 0.7)
        weight *= (rng.random(shape[-1]) < 0.6) * (rng.random(shape[-2]) < 0.6)[:, None]
        weight[..., 0, 0] = 1.0  # a path that stays
        return Affine(name, weight, rng.normal(size=shape[-1]), 1, padding)

    act, pool = Elementwise(activation), Pool(2, how)
    first: list[Layer] = [sparse("a", 3, 3, 3, 6, padding=padding), act, pool, sparse("b", 3, 3, 6, 5, padding=padding), act, Flatten()]
    rows = 5 * ((12 - 2 + 2 * padding) // 2 - 2 + 2 * padding) ** 2
    return [*first, sparse("c", rows, 8), act, sparse("d", 8, 7), act, Affine("e", rng.normal(size=(7, 2)), rng.normal(size=2))]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(
    ("padding", "activation", "how"), [(0, "tanh", "max"), (0, "sigmoid", "mean"), (1, "relu", "max"), (1, "tanh", "mean")]
)
def test_shrunk_outputs_are_those_of_the_masked_network(seed: int, padding: int, activation: str, how: str) -> None:
    rng = np.random.default_rng(seed)
    layers = random_layers(rng, padding=padding, activation=activation, how=how)
    smaller, inputs = removed(layers)
    x = torch.as_tensor(rng.normal(size=(3, 12, 12, 3)))
    with in_pyro.engine.precision("float64", "cpu"):
        wanted, got = apply_layers(in_pyro, layers, x), apply_layers(in_pyro, smaller, x, inputs=inputs)
        torch.testing.assert_close(got, wanted, rtol=1e-12, atol=1e-12)
    module = in_pyro.shrinking.build(smaller, inputs)
    torch.testing.assert_close(module(x.float()).double(), wanted, rtol=1e-5, atol=1e-5)
    if seed == padding == 0:
        got = in_numpyro.shrinking.build(smaller, inputs)(x.numpy())
        np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-5)
    before, after = costs(layers, (12, 12, 3)), costs(smaller, (12, 12, len(inputs)))
    assert sum(after.weights) < 0.6 * sum(before.weights)
    _nothing_idle_is_left([layer for layer in smaller if isinstance(layer, Affine)], padding)


def _nothing_idle_is_left(affine: list[Affine], padding: int) -> None:
    """Each unit is read, and reads something (or is a constant in front of padding)."""
    for layer, after in pairwise(affine):
        units = layer.weight.shape[-1]
        read = (
            np.abs(after.weight).reshape(*after.weight.shape[:-2], -1, units, after.weight.shape[-1]).sum(axis=-1).reshape(-1, units).sum(0)
        )
        assert np.all(read > 0)
        if after.padding == 0:
            assert np.all(np.abs(layer.weight).reshape(-1, units).sum(0) > 0)


def test_latency_is_by_network_and_batch() -> None:
    calls: list[int] = []
    found = latency({"a": lambda x: calls.append(len(x)), "b": lambda x: x.sum()}, np.ones((4, 2)), batches=(1, 4), num_rounds=3)
    assert calls == [1, 4] * 4
    assert all(seconds > 0.0 for by in found.values() for seconds in by.values())
    with pytest.raises(ValueError, match="4 rows for a batch of 8"):
        latency({}, np.ones((4, 2)), batches=(8,))


def test_what_is_folded_by_hand() -> None:
    """Unit 0 reads nothing: tanh(0.5) times its outgoing weight goes into the bias. Unit 1 is read by nothing. Input 2 feeds it alone."""
    w1 = np.array([[0.0, 1.0, 2.0], [0.0, 1.0, -1.0], [0.0, 3.0, 0.0]])
    w2 = np.array([[4.0], [0.0], [1.0]])
    layers: list[Layer] = [Affine("w1", w1, np.array([0.5, 1.0, 0.25])), Elementwise("tanh"), Affine("w2", w2, np.array([1.0]))]
    smaller, inputs = removed(layers)
    first, last = smaller[0], smaller[2]
    assert isinstance(first, Affine) and isinstance(last, Affine)
    np.testing.assert_array_equal(inputs, [0, 1])
    np.testing.assert_array_equal(first.weight, [[2.0], [-1.0]])
    np.testing.assert_allclose(last.bias, [1.0 + 4.0 * np.tanh(0.5)])


@pytest.mark.parametrize("name", ["pyro", pytest.param("numpyro", marks=pytest.mark.slow)])
def test_our_models_shrink(name: str) -> None:
    """An mlp and a lenet: the shrunk network is the model with the dropped weights at 0."""
    ppl = LANGUAGES[name]
    lenet = partial(models.lenet, prior=sm.LogUniform(), filters=(4, 3), kernel=3, widths=(5,), num_outputs=3)
    for model, data in ((partial(MLP, prior=sm.LogUniform()), (X, Y)), (lenet, (IMAGES, np.array([0, 1, 2, 1])))):
        posterior = made(ppl, model, data, normals)
        shrunk = ppl.shrink(posterior, "magnitude", fraction=0.2)
        assert shrunk.report.kept_weights == shrunk.pruning.kept_weights < 0.25 * sum(shrunk.report.before.weights)
        wanted = outputs(ppl, posterior, shrunk.pruning.means)
        with ppl.engine.precision("float32", "cpu"):
            got = np.asarray(
                shrunk(ppl.array(data[0].astype(np.float32))).detach() if name == "pyro" else shrunk(data[0].astype(np.float32))
            )
        np.testing.assert_allclose(probs(got), wanted, rtol=1e-5, atol=1e-5)


def probs(output: np.ndarray) -> np.ndarray:
    if output.shape[1] == 1:
        return output[:, 0]
    weights = np.exp(output - output.max(axis=1, keepdims=True))
    return weights / weights.sum(axis=1, keepdims=True)


def test_a_lifted_module_shrinks_to_a_module_that_torch_exports() -> None:
    """Convolution, pooling, flattening in torch's order of axes; groups of filters; the file is read again in plain torch."""
    module = Images()
    net = in_pyro.lift(module, {"*.weight": sm.LogUniform(), "*.bias": sm.Normal(5.0)})
    x = RNG.normal(size=(6, 1, 8, 8))
    posterior = made(in_pyro, partial(models.lifted, net=net, likelihood="categorical"), (x, np.array([0, 1, 2, 0, 1, 2])), normals)
    shrunk = in_pyro.shrink(posterior, "magnitude", fraction=0.15)
    masked = {name: torch.as_tensor(value).float() for name, value in shrunk.pruning.means.items()}
    images = torch.as_tensor(x).float()
    wanted = torch.func.functional_call(module, masked, images)
    torch.testing.assert_close(shrunk(images), wanted, rtol=1e-5, atol=1e-5)
    assert shrunk.report.weight_ratio < 0.8
    assert sum(p.numel() for p in shrunk.module.parameters()) * 4 == shrunk.report.after.bytes


@pytest.mark.parametrize("name", LANGUAGES)
def test_matrices_with_few_numbers_may_be_sparse_tensors(name: str) -> None:
    rng = np.random.default_rng(0)
    layers = [
        Affine("a", rng.normal(size=(40, 30)) * (rng.random((40, 30)) < 0.04), rng.normal(size=30)),
        Elementwise("relu"),
        Affine("b", rng.normal(size=(30, 2)), rng.normal(size=2)),
    ]
    x = rng.normal(size=(3, 40)).astype(np.float32)
    found = LANGUAGES[name].shrinking.build(layers, None, 0.05)
    got = found(torch.as_tensor(x)).detach() if name == "pyro" else found(x)
    wanted = np.maximum(x @ layers[0].weight + layers[0].bias, 0.0) @ layers[2].weight + layers[2].bias
    np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-5)
    if name == "pyro":
        assert [str(step.weight.layout) for step in (found[0], found[2])] == ["torch.sparse_csr", "torch.strided"]


@pytest.mark.slow
def test_a_lifted_equinox_module_shrinks() -> None:
    keys = jax.random.split(jax.random.PRNGKey(0), 2)
    net = eqx.nn.Sequential(
        [
            eqx.nn.Conv2d(1, 4, 3, padding=1, key=keys[0]),
            eqx.nn.Lambda(jax.nn.relu),
            eqx.nn.MaxPool2d(2, 2),
            eqx.nn.Lambda(jnp.ravel),
            eqx.nn.Linear(36, 1, key=keys[1]),
        ]
    )
    lifted = in_numpyro.lift(net, {"*.weight": sm.LogUniform(), "*.bias": sm.Normal(5.0)})
    posterior = made(in_numpyro, partial(models.lifted, net=lifted), (RNG.normal(size=(5, 1, 6, 6)), Y[:5]), normals)
    shrunk = in_numpyro.shrink(posterior, "magnitude", fraction=0.1)
    wanted = outputs(in_numpyro, posterior, shrunk.pruning.means)
    np.testing.assert_allclose(shrunk(posterior.data[0].astype(np.float32))[:, 0], wanted, rtol=1e-5, atol=1e-5)
    mlp = in_numpyro.lift(eqx.nn.MLP(3, 1, 4, 1, key=keys[0]), {"*": sm.Normal()}).layers({})
    assert [type(layer).__name__ for layer in mlp] == ["Affine", "Elementwise", "Affine"]


class Product(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(5, 5), nn.Linear(5, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.b(x * self.a(x))


def of_lifted(module: nn.Module, **options: Any) -> Posterior:
    net = in_pyro.lift(module, {"*.weight": sm.LogUniform()}, **options)
    return made(in_pyro, partial(models.lifted, net=net), (X, Y), normals)


REFUSED: dict[str, tuple[str, Callable[[], Any]]] = {
    "all_gone": ("nothing is left of the layer 'w", lambda: in_pyro.shrink(by_log_uniform(), "magnitude", fraction=0.01)),
    "not_one_after_the_other": (
        "mul is not one layer after|cannot read the layer 'mul'",
        lambda: in_pyro.shrink(of_lifted(Product()), "log_alpha"),
    ),
    "sparse": (r"shrink\(sparse=2.0\)", lambda: in_pyro.shrink(by_log_uniform(), "magnitude", fraction=0.5, sparse=2.0)),
    "applied": ("lifted with apply=", lambda: in_pyro.shrink(of_lifted(Mlp(5), apply=lambda m, x: m(x)), "log_alpha")),
    "layer": (
        "cannot read the layer 'softplus|cannot read the layer '_1'",
        lambda: in_pyro.shrink(of_lifted(nn.Sequential(nn.Linear(5, 1), nn.Softplus())), "log_alpha"),
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused(case: str) -> None:
    message, call = REFUSED[case]
    with pytest.raises(ValueError, match=message):
        call()
