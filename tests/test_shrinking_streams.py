"""Shrinking where layers do not stand one after the other: residual networks, batch normalization and LSTMs, against plain torch."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from plain_torch import Residual, Sequences
from torch import nn
from untrained_fits import LANGUAGES, RNG, X, Y, made, normals, outputs

import scalemix as sm
import scalemix.numpyro as in_numpyro
import scalemix.pyro as in_pyro
from scalemix import models, noise
from scalemix.compress import Channelwise, costs, removed
from scalemix.compress import Residual as ResidualLayer

IMAGES = torch.as_tensor(RNG.normal(size=(5, 2, 8, 8))).float()
SEQUENCES = torch.as_tensor(RNG.normal(size=(4, 7, 5))).float()


def normalized() -> nn.Module:
    """A residual network whose running statistics, factors and shifts are no round numbers."""
    torch.manual_seed(0)
    module = Residual()
    for layer in module.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.eps = 0.05
            nn.init.uniform_(layer.weight, 0.5, 1.5)
            nn.init.normal_(layer.bias)
    for _ in range(3):
        module(torch.randn(8, 2, 8, 8) + 1.0)
    return module.eval()


def masked(module: nn.Module, seed: int, keep: float) -> nn.Module:
    """The module with some rows and columns of its weights at 0."""
    rng = np.random.default_rng(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            if parameter.ndim > 1:
                rows, columns = (torch.as_tensor(rng.random(parameter.shape[axis]) < keep) for axis in (0, 1))
                rows[0] = columns[0] = True  # a path that stays
                parameter *= (rows[:, None] & columns).reshape(*parameter.shape[:2], *(1,) * (parameter.ndim - 2))
    return module


def shrunk(module: nn.Module) -> tuple[nn.Module, list[Any], np.ndarray]:
    layers = in_pyro.lift(module, {"*.weight": sm.Normal()}).layers({})
    smaller, inputs = removed(layers)
    return in_pyro.shrinking.build(smaller, inputs), smaller, inputs


@pytest.mark.parametrize("seed", range(4))
def test_a_residual_network_has_the_outputs_of_the_masked_one(seed: int) -> None:
    module = masked(normalized(), seed, keep=0.6)
    small, layers, inputs = shrunk(module)
    torch.testing.assert_close(small(IMAGES), module(IMAGES), rtol=1e-5, atol=1e-5)
    before = in_pyro.lift(module, {"*.weight": sm.Normal()}).layers({})
    assert sum(costs(layers, (8, 8, len(inputs))).weights) < 0.8 * sum(costs(before, (2, 8, 8)).weights)
    assert not any(isinstance(layer, nn.BatchNorm2d) for layer in small.modules())


def test_blocks_with_nothing_left_are_removed_and_a_stream_s_channel_with_no_reader_and_no_writer() -> None:
    module = normalized()
    with torch.no_grad():
        module.blocks[0].conv2.weight.zero_()  # this block adds the shift of its normalization
        module.blocks[1].conv2.weight.zero_()
        module.blocks[1].bn2.running_mean.zero_()  # and this one 0
        module.blocks[1].bn2.bias.zero_()
        module.blocks[2].conv1.weight[:, 4] = module.blocks[2].down[0].weight[:, 4] = 0.0  # nothing reads channel 4 of the stream
    small, layers, _ = shrunk(module)
    torch.testing.assert_close(small(IMAGES), module(IMAGES), rtol=1e-5, atol=1e-5)
    assert sum(isinstance(layer, ResidualLayer) for layer in layers) == 1
    assert [layer.shift.size for layer in layers if isinstance(layer, Channelwise)] == [5]
    assert small[1].weight.shape == (5, 2, 3, 3)
    with torch.no_grad():
        module.blocks[1].conv1.weight[0, 4] = module.blocks[1].conv2.weight[1, 0] = 1.0  # now the second block reads it
    small, _, _ = shrunk(module)
    torch.testing.assert_close(small(IMAGES), module(IMAGES), rtol=1e-5, atol=1e-5)
    assert small[1].weight.shape == (6, 2, 3, 3)


def test_a_channel_that_is_read_before_the_last_block_writes_it_stays() -> None:
    """x + a(x), then y + b(y): channel 0 is written by both and read by b and the output; channel 1 by a alone, and read by no one."""
    module = Adding()
    small, layers, inputs = shrunk(module)
    x = torch.randn(4, 3)
    torch.testing.assert_close(small(x), module(x), rtol=1e-6, atol=1e-6)
    np.testing.assert_array_equal(inputs, [0, 2])
    assert [layer.branch[0].weight.shape for layer in layers if isinstance(layer, ResidualLayer)] == [(2, 2), (2, 2)]


class Adding(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.out = nn.Linear(3, 3), nn.Linear(3, 3), nn.Linear(3, 1)
        with torch.no_grad():
            for layer in (self.a, self.b, self.out):
                layer.weight[:, 1] = 0.0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = x + torch.tanh(self.a(x))
        y = torch.add(torch.tanh(self.b(y)), y)
        return self.out(y)


@pytest.mark.parametrize("seed", range(3))
def test_an_lstm_loses_inputs_and_units(seed: int) -> None:
    torch.manual_seed(seed)
    module, rng = Sequences(), np.random.default_rng(seed)
    with torch.no_grad():
        module.lstm.weight_ih_l0[:, [1, 3]] = 0.0  # inputs that nothing reads
        module.lstm.weight_hh_l0[:, 2] = 0.0
        module.out.weight[:, 2] = 0.0  # a unit that nothing reads
        module.out.weight[:, 3] = 0.0  # a unit that only other units read
        module.lstm.weight_ih_l0[:, 4] *= torch.as_tensor(np.arange(24) % 6 == 2)  # an input that it alone reads
        cell = slice(2 * 6, 3 * 6)
        for each in (module.lstm.weight_ih_l0, module.lstm.weight_hh_l0, module.lstm.bias_ih_l0, module.lstm.bias_hh_l0):
            each[cell][5] = 0.0  # a unit whose cell stays 0
        if seed:
            module.lstm.weight_hh_l0 *= torch.as_tensor(rng.random((24, 6)) < 0.3)
    small, _, inputs = shrunk(module)
    torch.testing.assert_close(small(SEQUENCES), module(SEQUENCES), rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(inputs, [0, 2])
    state = next(layer for layer in small.modules() if isinstance(layer, nn.LSTM))
    assert (state.input_size, state.hidden_size) == (2, 4)


def test_a_lifted_lstm_shrinks_after_a_fit() -> None:
    """Its gates are an axis of the site, and its masks those of the site."""
    module = Sequences()
    net = in_pyro.lift(module, {"lstm.weight_ih*": sm.ScaleMixture(noise.HalfCauchy().per("in"))}, parametrization="expanded")
    posterior = made(in_pyro, partial(models.lifted, net=net), (SEQUENCES.double().numpy(), Y[:4]), normals)
    found = in_pyro.shrink(posterior, "group_scale", fraction=0.6)
    weight = torch.as_tensor(found.pruning.means["lstm.weight_ih_l0"]).float().reshape(24, 5)
    wanted = torch.func.functional_call(module, {"lstm.weight_ih_l0": weight}, SEQUENCES)
    torch.testing.assert_close(found(SEQUENCES), wanted, rtol=1e-5, atol=1e-5)
    assert len(found.inputs) == 3 and found.report.kept_weights == 3 * 24 + 36 * 4 + 6
    assert found.report.after.multiplications == (7 * 3 * 24, 7 * 6 * 24, 6)


@pytest.mark.parametrize("name", ["pyro", pytest.param("numpyro", marks=pytest.mark.slow)])
def test_our_lstm_shrinks_with_padded_sequences(name: str) -> None:
    ppl = LANGUAGES[name]
    model = partial(models.lstm, prior=sm.LogUniform(), width=3)
    data = {"x": RNG.normal(size=(4, 6, 3)), "lengths": np.array([6, 0, 3, 1])}
    posterior = made(ppl, model, (data, Y[:4]), normals)
    found = ppl.shrink(posterior, "magnitude", fraction=0.3)
    with ppl.engine.precision("float32", "cpu"):
        got = found({"x": ppl.array(data["x"].astype(np.float32)), "lengths": ppl.array(data["lengths"])})
    got = np.asarray(got.detach() if name == "pyro" else got)[:, 0]
    np.testing.assert_allclose(got, outputs(ppl, posterior, found.pruning.means), rtol=1e-5, atol=1e-5)


RESNET = partial(models.resnet, width=5, num_blocks=3)


@pytest.mark.parametrize("position", ["pre", "post"])
@pytest.mark.parametrize("name", ["pyro", pytest.param("numpyro", marks=pytest.mark.slow)])
def test_our_resnet_loses_blocks_whose_gate_is_dropped(name: str, position: str) -> None:
    """Against NumPy: h + relu(h w + τ b), the same function as h + τ relu(h v + b)."""
    ppl = LANGUAGES[name]
    prior = sm.ScaleMixture(noise.HalfCauchy().per("layer"))
    posterior = made(ppl, partial(RESNET, prior=prior, position=position, parametrization="expanded"), (X, Y), normals)
    posterior.draws["w2_noise"] = 3.0 * posterior.draws["w2_noise"]
    found = ppl.shrink(posterior, "group_scale", fraction=1 / 3)
    mean, gates = found.pruning.means, {site: value.item() for site, value in found.pruning.gates.items()}
    assert sorted(value != 0.0 for value in gates.values()) == [False, False, True]
    h = X @ mean["w_in"] + mean["b_in"]
    for block in (1, 2, 3):
        h = h + np.maximum(h @ mean[f"w{block}"] + gates[f"w{block}_noise"] * mean[f"b{block}"], 0.0)
    wanted = h @ mean["w_out"] + mean["b_out"]
    with ppl.engine.precision("float32", "cpu"):
        got = found(ppl.array(X.astype(np.float32)))
    np.testing.assert_allclose(np.asarray(got.detach() if name == "pyro" else got), wanted, rtol=1e-5, atol=1e-5)
    assert sum(isinstance(layer, ResidualLayer) for layer in found.layers) == 1


class Twice(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(3, 3), nn.Linear(3, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.b(torch.tanh(self.a(torch.tanh(self.a(x)))))


class Dense(Twice):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.b(torch.cat([x[:, :1], self.a(x)], 1)[:, :3])


class Sequence(nn.Module):
    """An LSTM on x + b(a(x)), or on normalized x."""

    def __init__(self, *, normalized: bool = False) -> None:
        super().__init__()
        self.first = nn.BatchNorm1d(5) if normalized else nn.Identity()
        self.a, self.b = nn.Linear(5, 3), nn.Linear(3, 5)
        self.lstm, self.out = nn.LSTM(5, 4, batch_first=True), nn.Linear(4, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = self.first(x)
        return self.out(self.lstm(h + self.b(torch.relu(self.a(h))))[0][:, -1])


def test_a_block_of_sequences_that_goes_leaves_what_it_adds_to_each_column() -> None:
    """With as many steps as columns, so that a wrong axis fits too."""
    torch.manual_seed(0)
    module, x = Sequence().eval(), SEQUENCES[:, :5]
    with torch.no_grad():
        module.b.weight.zero_()
    small, layers, _ = shrunk(module)
    assert isinstance(layers[0], Channelwise)
    torch.testing.assert_close(small(x), module(x), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(in_numpyro.build(layers, None)(x.numpy()), module(x).detach().numpy(), rtol=1e-5, atol=1e-5)


REFUSED = {
    "cannot read Sequence, which normalizes the steps of sequences": lambda: Sequence(normalized=True).eval(),
    "cannot read Sequential, which normalizes the steps": partial(
        nn.Sequential, nn.BatchNorm1d(3).eval(), nn.Linear(5, 2), nn.Flatten(), nn.Linear(6, 1)
    ),
    "uses 'a.weight' twice": Twice,
    "cannot read the layer 'getitem_1'": Dense,
    "cannot read the layer '_0'": partial(nn.Sequential, nn.Flatten(), nn.BatchNorm1d(3).eval(), nn.Linear(3, 1)),
}


@pytest.mark.parametrize("message", REFUSED)
def test_what_cannot_be_read_is_named(message: str) -> None:
    with pytest.raises(ValueError, match=message):
        shrunk(REFUSED[message]())
