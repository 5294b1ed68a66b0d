"""A shrunk network in a file: read again in either language with the same outputs, and refused in one sentence where it is damaged."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
import safetensors.numpy
import torch
from test_shrinking import random_layers
from untrained_fits import LANGUAGES, X, by_log_uniform

import scalemix.pyro as in_pyro
from scalemix import compress
from scalemix.compress import Affine, ChannelsLast, Channelwise, Elementwise, Flatten, Layer, Lstm, Network, Residual, load, removed
from scalemix.compress.layers import Images
from scalemix.compress.network import save_layers
from scalemix.pyro.exporting import export


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    shrunk = in_pyro.shrink(by_log_uniform(), "magnitude", fraction=0.3)
    return shrunk.save(tmp_path_factory.mktemp("network") / "small.safetensors")


def by_hand(arrays: dict[str, np.ndarray], x: np.ndarray) -> np.ndarray:
    """The network of the file in plain NumPy: three layers, tanh between them."""
    hidden = x[:, arrays["inputs"]]
    for layer in ("w1", "w2", "w3"):
        hidden = hidden @ arrays[f"{layer}.weight"] + arrays[f"{layer}.bias"]
        hidden = np.tanh(hidden) if layer != "w3" else hidden
    return hidden


@pytest.mark.parametrize("name", LANGUAGES)
def test_a_file_is_the_network_in_either_language(saved: Path, name: str) -> None:
    network = load(saved, LANGUAGES[name])
    x = X.astype(np.float32)
    got = network(torch.as_tensor(x)).detach() if name == "pyro" else network(x)
    np.testing.assert_allclose(np.asarray(got), by_hand(safetensors.numpy.load_file(saved), x), rtol=1e-5, atol=1e-5)
    assert 0 < len(network.inputs) <= network.num_inputs == 5


@pytest.mark.parametrize("name", LANGUAGES)
def test_inputs_of_another_number_are_refused(saved: Path, name: str) -> None:
    """JAX would read the last column in place of those that are not there."""
    network = load(saved, LANGUAGES[name])
    for width in (network.num_inputs - 1, network.num_inputs + 4):
        with pytest.raises(ValueError, match=rf"takes {network.num_inputs} inputs and x has {width}"):
            network(LANGUAGES[name].array(np.zeros((3, width), dtype=np.float32)))


FILTERS = Affine("w", np.ones((3, 3, 2, 1)), np.zeros(1))
SHAPED: dict[str, tuple[list[Layer], int, tuple[int, ...], tuple[int, ...]]] = {
    "channels last": ([Images(2), FILTERS], 2, (3, 5, 4, 2), (3, 2, 5, 4)),
    "channels last, as models tell them": ([FILTERS], 2, (3, 5, 4, 2), (3, 2, 5, 4)),
    "channels first": ([ChannelsLast(2), FILTERS], 2, (3, 2, 5, 4), (3, 5, 4, 2)),
    "flattened": ([Flatten(), Affine("w", np.ones((40, 1)), np.zeros(1))], 40, (3, 2, 5, 4), (3, 2, 5, 3)),
    "sequences": ([Lstm("w", "u", np.ones((5, 4, 1)), np.ones((1, 4, 1)), np.zeros((4, 1)))], 5, (3, 4, 5), (3, 5, 4)),
}


@pytest.mark.parametrize("case", SHAPED)
@pytest.mark.parametrize("name", LANGUAGES)
def test_inputs_of_every_shape_are_counted(name: str, case: str) -> None:
    ppl, (layers, count, shape, other) = LANGUAGES[name], SHAPED[case]
    network = Network(ppl.build(layers, None), tuple(layers), np.arange(count), count)
    take = network if name == "pyro" else jax.jit(network)  # shapes are known before values are
    with ppl.engine.precision("float32", "cpu"):
        assert take(ppl.array(np.zeros(shape, np.float32))).shape[0] == 3
        with pytest.raises(ValueError, match=f"takes {count} inputs and x has"):
            take(ppl.array(np.zeros(other, np.float32)))
        if case == "sequences":
            assert take({"x": ppl.array(np.zeros(shape, np.float32)), "lengths": ppl.array(np.array([4, 1, 0]))}).shape == (3, 1)
            with pytest.raises(ValueError, match="takes 5 inputs and x has 4"):
                take({"x": ppl.array(np.zeros(other, np.float32)), "lengths": ppl.array(np.array([4, 1, 0]))})


def test_a_file_written_again_is_the_same(saved: Path, tmp_path: Path) -> None:
    again = load(saved, in_pyro).save(tmp_path / "again.safetensors")
    one, other = safetensors.numpy.load_file(saved), safetensors.numpy.load_file(again)
    assert one.keys() == other.keys()
    for name, value in one.items():
        np.testing.assert_array_equal(value, other[name])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["again.safetensors"]


@pytest.mark.parametrize("name", ["pyro", pytest.param("numpyro", marks=pytest.mark.slow)])
def test_images_with_groups_of_channels(name: str, tmp_path: Path) -> None:
    """Convolutions with padding and stride of pooling, flattened; some of the three channels of the input are not read."""
    ppl, rng = LANGUAGES[name], np.random.default_rng(7)
    layers, inputs = removed(random_layers(rng, padding=1, activation="relu", how="mean"))
    module = ppl.build(layers, inputs if len(inputs) < 3 else None)
    network = load(Network(module, tuple(layers), inputs, 3).save(tmp_path / "images.safetensors"), ppl)
    x = rng.normal(size=(3, 12, 12, 3)).astype(np.float32)
    given = torch.as_tensor(x) if name == "pyro" else x
    wanted, got = (np.asarray(each(given).detach() if name == "pyro" else each(given)) for each in (module, network))
    np.testing.assert_allclose(got, wanted, rtol=1e-6, atol=1e-6)


def test_blocks_channel_factors_and_an_lstm_come_back(tmp_path: Path) -> None:
    """A residual network with a frozen normalization, and an LSTM, against NumPy."""
    rng = np.random.default_rng(3)
    branch = (Affine("w1", rng.normal(size=(4, 4)), rng.normal(size=4)), Elementwise("relu"))
    block = Residual(branch, (Channelwise(rng.normal(size=4), rng.normal(size=4)),))
    layers = (block, Affine("w2", rng.normal(size=(4, 2)), rng.normal(size=2)))
    x = rng.normal(size=(5, 4)).astype(np.float32)
    wanted = np.maximum(x @ branch[0].weight + branch[0].bias, 0.0) + block.shortcut[0].scale * x + block.shortcut[0].shift
    wanted = wanted @ layers[1].weight + layers[1].bias
    network = load(Network(None, layers, np.arange(4), 4).save(tmp_path / "blocks.safetensors"), in_pyro)
    np.testing.assert_allclose(network(torch.as_tensor(x)).detach(), wanted, rtol=1e-5, atol=1e-5)

    sizes = {"weight": (3, 4, 2), "recurrent": (2, 4, 2), "bias": (4, 2)}
    lstm = Lstm("w", "u", **{name: rng.normal(size=size) for name, size in sizes.items()})
    read = load(Network(None, (lstm,), np.arange(3), 3).save(tmp_path / "lstm.safetensors"), in_pyro).layers[0]
    for name in sizes:
        np.testing.assert_allclose(getattr(read, name), getattr(lstm, name), rtol=1e-6)


@pytest.mark.slow
def test_a_program_of_torch_has_the_outputs(saved: Path, tmp_path: Path) -> None:
    network, x = load(saved, in_pyro), torch.as_tensor(X, dtype=torch.float32)
    path = export(network, tmp_path / "small.pt2", x)
    program = torch.export.load(path).module()
    torch.testing.assert_close(program(x[:1]), network(x[:1]), rtol=1e-6, atol=1e-6)  # another number of rows than it was traced by
    with pytest.raises(ValueError, match=r"ends in .pt2"):
        export(network, tmp_path / "small.bin", x)
    with pytest.raises(ValueError, match="two rows"):
        export(network, tmp_path / "one.pt2", x[:1])
    with pytest.raises(TypeError, match="Pyro's kitchen"):
        export(Network(np.tanh, network.layers, network.inputs, 5), tmp_path / "other.pt2", x)


def test_a_program_with_sparse_tensors_is_refused(tmp_path: Path) -> None:
    shrunk = in_pyro.shrink(by_log_uniform(), "magnitude", fraction=0.3, sparse=1.0)
    with pytest.raises(ValueError, match="shrink without sparse="):
        export(shrunk, tmp_path / "small.pt2", torch.as_tensor(X, dtype=torch.float32))
    assert not list(tmp_path.iterdir())


class Boom:
    """Unpickling it would make a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, tuple]:
        return Path.touch, (self.path,)


def header(path: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    """Write the file with another header."""
    with safetensors.safe_open(path, framework="numpy") as file:
        told, arrays = json.loads(file.metadata()["scalemix"]), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    change(told)
    safetensors.numpy.save_file(arrays, path, metadata={"scalemix": json.dumps(told)})


def header_text(path: Path, text: str) -> None:
    """Write a file with this text for a header."""
    safetensors.numpy.save_file({"a": np.ones(2)}, path, metadata={"scalemix": text})


def nested(depth: int) -> dict[str, Any]:
    """So many residual blocks within one another."""
    told: dict[str, Any] = {"kind": "flatten"}
    for _ in range(depth):
        told = block(told)
    return told


def block(told: dict[str, Any]) -> dict[str, Any]:
    """A residual block around a layer."""
    return {"kind": "residual", "branch": [told], "shortcut": []}


def arrays_of(path: Path, change: Callable[[dict[str, np.ndarray]], Any]) -> None:
    """Write the file with other arrays."""
    with safetensors.safe_open(path, framework="numpy") as file:
        told, arrays = file.metadata(), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    change(arrays)
    safetensors.numpy.save_file(arrays, path, metadata=told)


DAMAGE: dict[str, tuple[str, Callable[[Path], Any]]] = {
    "missing": ("there is no file", lambda path: path.unlink()),
    "cut": ("damaged", lambda path: path.write_bytes(path.read_bytes()[:-20])),
    "text": ("damaged", lambda path: path.write_text("not a network")),
    "pickle": ("damaged", lambda path: path.write_bytes(pickle.dumps(Boom(path.with_name("boom"))))),
    "stranger": ("no network of scalemix", lambda path: safetensors.numpy.save_file({"a": np.ones(2)}, path)),
    "no_json": ("damaged", lambda path: safetensors.numpy.save_file({"a": np.ones(2)}, path, metadata={"scalemix": "{"})),
    "version": ("scalemix network 9", lambda path: header(path, lambda told: told.update(schema="scalemix network 9"))),
    "kind": ("no layer 'exec'", lambda path: header(path, lambda told: told["layers"].append({"kind": "exec"}))),
    "function": (
        "no function 'eval'",
        lambda path: header(path, lambda told: told["layers"].append({"kind": "elementwise", "name": "eval"})),
    ),
    "option": ("damaged", lambda path: header(path, lambda told: told["layers"].append({"kind": "flatten", "size": 2}))),
    "no_weights": ("no weights", lambda path: header(path, lambda told: told.update(layers=[]))),
    "no_array": ("w2.weight", lambda path: arrays_of(path, lambda arrays: arrays.pop("w2.weight"))),
    "shape": (
        "'w2' reads 9 numbers",
        lambda path: arrays_of(path, lambda arrays: arrays.update({"w2.weight": np.ones((9, 2), np.float32)})),
    ),
    "bias": ("'w1' has a weight", lambda path: arrays_of(path, lambda arrays: arrays.update({"w1.bias": np.ones(11, np.float32)}))),
    "images_later": (
        "images begin behind another layer",
        lambda path: header(path, lambda told: told["layers"].append({"kind": "channels_last", "channels": 1})),
    ),
    "images_in_a_block": (
        "images begin behind another layer",
        lambda path: header(path, lambda told: told["layers"].insert(0, block({"kind": "images", "channels": 5}))),
    ),
    "channels": (
        "the images have 5.0 channels",
        lambda path: header(path, lambda told: told["layers"].insert(0, {"kind": "images", "channels": 5.0})),
    ),
    "infinite": ("num_inputs is inf", lambda path: header(path, lambda told: told.update(num_inputs=float("inf")))),
    "no_whole_number": ("num_inputs is 2.7", lambda path: header(path, lambda told: told.update(num_inputs=2.7))),
    "stride": ("has stride True", lambda path: header(path, lambda told: told["layers"][0].update(stride=True))),
    "deep": ("more than 16 residual blocks", lambda path: header(path, lambda told: told["layers"].append(nested(40)))),
    "deeper": ("damaged", lambda path: header_text(path, '{"a":' * 100_000 + "1" + "}" * 100_000)),
    "twice": ("two layers are called 'w1'", lambda path: header(path, lambda told: told["layers"].insert(0, told["layers"][0]))),
    "inputs": ("no indices below 5", lambda path: arrays_of(path, lambda arrays: arrays.update(inputs=np.array([7])))),
}


@pytest.mark.parametrize("case", DAMAGE)
def test_a_damaged_file_is_refused_in_one_sentence(saved: Path, tmp_path: Path, case: str) -> None:
    message, damage = DAMAGE[case]
    path = tmp_path / "small.safetensors"
    path.write_bytes(saved.read_bytes())
    damage(path)
    with pytest.raises(ValueError, match=message) as refusal:
        load(path, in_pyro)
    sentence = str(refusal.value)
    assert "small.safetensors" in sentence and "Shrunk.save" in sentence + "Shrunk.save" * ("version" in sentence)
    assert "\n" not in sentence
    assert not (tmp_path / "boom").exists()


def test_two_layers_of_one_name_are_not_written(tmp_path: Path) -> None:
    layers = [Affine("w", value * np.eye(2), np.zeros(2)) for value in (1.0, 2.0)]
    with pytest.raises(ValueError, match="two layers are called 'w'"):
        save_layers(layers, tmp_path / "small.safetensors", inputs=np.arange(2), num_inputs=2)


def test_where_it_cannot_be_written(saved: Path, tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"the network cannot be written to .*nowhere"):
        load(saved, in_pyro).save(tmp_path / "nowhere" / "small.safetensors")
    assert "load" in compress.__all__
