"""Images stay images when every convolution goes: pooled and flattened over the right axes in both languages, saved and loaded too."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from test_shrinking_streams import IMAGES, shrunk
from torch import nn
from untrained_fits import LANGUAGES

import scalemix as sm
import scalemix.numpyro as in_numpyro
import scalemix.pyro as in_pyro
from scalemix.compress import Affine, Elementwise, Flatten, Pool, Residual, apply_layers, costs, load, removed
from scalemix.compress.layer_text import in_single_precision
from scalemix.compress.network import save_layers


class OneBlock(nn.Module):
    """x + b(a(x)), pooled and flattened: without the block no convolution is left to say that these are images."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(2, 3, 3, padding=1), nn.Conv2d(3, 2, 3, padding=1, bias=False)
        self.pool, self.out = nn.AvgPool2d(2), nn.Linear(32, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.out(torch.flatten(self.pool(x + self.b(torch.relu(self.a(x)))), 1))


@pytest.mark.parametrize("without_a_channel", [False, True])
def test_images_whose_convolutions_all_go(without_a_channel: bool, tmp_path: Path) -> None:
    torch.manual_seed(3)
    module = OneBlock().eval()
    with torch.no_grad():
        module.b.weight.zero_()
        if without_a_channel:
            module.out.weight[:, :16] = 0.0
    small, layers, inputs = shrunk(module)
    wanted = module(IMAGES)
    torch.testing.assert_close(small(IMAGES), wanted, rtol=1e-5, atol=1e-5)
    assert len(inputs) == (1 if without_a_channel else 2)
    told = costs(in_pyro.lift(module, {"*.weight": sm.Normal()}).layers({}), (2, 8, 8))
    assert told.units == (2, 3, 2, 3)
    path = save_layers(layers, tmp_path / "small.safetensors", inputs=inputs, num_inputs=2)
    torch.testing.assert_close(load(path, in_pyro)(IMAGES), wanted, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(load(path, in_numpyro)(IMAGES.numpy()), wanted.detach().numpy(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("added", [0.0, 0.5])
@pytest.mark.parametrize("name", LANGUAGES)
def test_images_with_the_channels_last_whose_convolutions_all_go(name: str, added: float, tmp_path: Path) -> None:
    """The middle one of three channels is not read, and the block adds a number to each; against NumPy."""
    ppl, rng = LANGUAGES[name], np.random.default_rng(0)
    filters, weight, x = rng.normal(size=(3, 3, 3, 4)), rng.normal(size=(4, 4, 3, 2)), rng.normal(size=(5, 8, 8, 3)).astype(np.float32)
    weight[:, :, 1] = 0.0
    branch = (Affine("a", filters, np.zeros(4), 1, 1), Elementwise("relu"), Affine("b", np.zeros((1, 1, 4, 3)), np.full(3, added)))
    last = Affine("out", weight.reshape(-1, 2), np.zeros(2))
    smaller, inputs = removed([Elementwise("tanh"), Residual(branch), Pool(2, "mean"), Flatten(), last])
    np.testing.assert_array_equal(inputs, [0, 2])
    pooled = (np.tanh(x) + added).reshape(5, 4, 2, 4, 2, 3).mean((2, 4))
    wanted = np.einsum("nhwc,hwco->no", pooled, weight)
    path = save_layers(smaller, tmp_path / "small.safetensors", inputs=inputs, num_inputs=3)
    with ppl.engine.precision("float32", "cpu"):
        given = ppl.array(x)
        for network in (
            partial(apply_layers, ppl, in_single_precision(smaller), inputs=inputs),
            ppl.build(smaller, inputs),
            load(path, ppl),
        ):
            got = network(given)
            np.testing.assert_allclose(np.asarray(got.detach() if name == "pyro" else got), wanted, rtol=1e-4, atol=1e-5)


class Pools(nn.Module):
    """The sum of two poolings, flattened."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.other, self.out = nn.MaxPool2d(2), nn.AvgPool2d(2), nn.Linear(32, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.out(torch.flatten(self.one(x) + self.other(x), 1))


@pytest.mark.parametrize("pool", [nn.AvgPool2d(2), nn.Identity()])
def test_a_batch_normalization_says_how_many_channels_there_are(pool: nn.Module) -> None:
    module = nn.Sequential(nn.BatchNorm2d(2), pool, nn.Flatten(), nn.Linear(32 if isinstance(pool, nn.AvgPool2d) else 128, 1)).eval()
    with torch.no_grad():
        module[0].weight[:] = torch.tensor([2.0, -1.0])
    small, layers, _ = shrunk(module)
    torch.testing.assert_close(small(IMAGES), module(IMAGES), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(in_numpyro.build(layers, None)(IMAGES.numpy()), module(IMAGES).detach().numpy(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("module", [nn.Sequential(nn.AvgPool2d(2), nn.Flatten(), nn.Linear(32, 1)), Pools()], ids=["one", "two"])
def test_poolings_alone_do_not_say_how_many_channels_there_are(module: nn.Module) -> None:
    with pytest.raises(ValueError, match="tells nowhere their channels"):
        shrunk(module)
