"""A network that stands alone: layers with their numbers, callable in a language, in a file that any language reads again.

The file is one of safetensors: arrays (float32) and a header of JSON. The header's entry ``scalemix`` lists the layers in order. Reading
takes arrays and JSON alone, so nothing in such a file is ever run, whoever wrote it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from scalemix.compress.layer_text import check_layers, described, in_single_precision, read_layers
from scalemix.compress.layers import Layer, inputs_in
from scalemix.files import replacing, writing

if TYPE_CHECKING:
    from scalemix.language import PPL

__all__ = ["Network", "load", "save_layers", "unless_all"]

SCHEMA = "scalemix network 2"
REMEDY = "give a file that Shrunk.save wrote, or write it again"


@dataclass(frozen=True, eq=False)
class Network:
    """A dense network: call it as ``network(x)``, with the inputs of the network that it was made from.

    Attributes:
        module: a ``torch.nn.Module``, or in JAX a function of x.
        layers: it as a list of layers; the first one reads ``inputs`` alone.
        inputs: indices of the inputs (columns, channels, or pixels of a flattened image) that it reads.
        num_inputs: how many x has.
    """

    module: Callable[..., Any]
    layers: tuple[Layer, ...] = field(repr=False)
    inputs: np.ndarray = field(repr=False)
    num_inputs: int

    def __call__(self, x: Any) -> Any:
        """The output for x.

        Raises: ValueError if x has another number of inputs than the network before.
        """
        if (found := inputs_in(self.layers, x)) != self.num_inputs:
            raise ValueError(f"the network takes {self.num_inputs} inputs and x has {found}: give it those of the network it was made from")
        return self.module(x)

    @property
    def chosen(self) -> np.ndarray | None:
        """``inputs``, or ``None`` where it reads them all."""
        return unless_all(self.inputs, self.num_inputs)

    def save(self, path: str | Path) -> Path:
        """Write the file ``path`` (safetensors, float32), which ``scalemix.compress.load`` reads in either language.

        Written beside and renamed, so never half there.

        Raises: ImportError if safetensors is not installed, OSError if the file cannot be written.
        """
        return save_layers(self.layers, Path(path), inputs=self.inputs, num_inputs=self.num_inputs)


def unless_all(inputs: np.ndarray, num_inputs: int) -> np.ndarray | None:
    """The inputs that are read, ``None`` where it is all of them and nothing is to be chosen."""
    return inputs if len(inputs) < num_inputs else None


def save_layers(layers: Sequence[Layer], path: Path, *, inputs: np.ndarray, num_inputs: int) -> Path:
    """``Network.save`` of layers that no language has built."""
    numpy_of_safetensors = _safetensors().numpy
    arrays = {"inputs": np.asarray(inputs, dtype=np.int64)}
    told = described(in_single_precision(layers), arrays)
    header = {"scalemix": json.dumps({"schema": SCHEMA, "num_inputs": int(num_inputs), "layers": told})}
    with writing("the network", path), replacing(path) as temporary:
        temporary.write_bytes(numpy_of_safetensors.save(arrays, metadata=header))
    return path


def load(path: str | Path, ppl: PPL) -> Network:
    """Read a network that ``Shrunk.save`` wrote, and build it in the language ``ppl``, whichever it came from.

    Args:
        path: of the file.
        ppl: ``scalemix.pyro`` or ``scalemix.numpyro``.

    Only arrays and JSON are read, so a file from anywhere is safe to load.

    Raises: ValueError with one sentence if the file is missing, damaged, or not such a network; ImportError if safetensors is not
        installed.
    """
    path = Path(path)
    header, arrays = _read(path)
    try:
        layers = read_layers(header["layers"], arrays)
        num_inputs, inputs = header["num_inputs"], arrays["inputs"]
        check_layers(layers, inputs, num_inputs)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path} is damaged ({type(error).__name__}: {error}): {REMEDY}") from error
    module = ppl.build(layers, unless_all(inputs, num_inputs))
    return Network(module, layers, inputs, num_inputs)


def _read(path: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Header and arrays of the file."""
    safetensors = _safetensors()
    if not path.is_file():
        raise ValueError(f"there is no file {path}: {REMEDY}")
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            if "scalemix" not in metadata:
                raise ValueError(f"{path} is a file of safetensors, and holds no network of scalemix: {REMEDY}")
            header = json.loads(metadata["scalemix"])
            if not isinstance(header, dict) or header.get("schema") != SCHEMA:
                found = header.get("schema") if isinstance(header, dict) else header
                raise ValueError(
                    f"{path} was written as {found!r}, and this version reads {SCHEMA!r}: load it with the version that wrote it"
                )
            return header, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (no dict)
    except (OSError, safetensors.SafetensorError, json.JSONDecodeError, RecursionError, TypeError) as error:
        raise ValueError(f"{path} is no network that scalemix wrote, or is damaged ({error}): {REMEDY}") from error


def _safetensors() -> Any:
    try:
        import safetensors.numpy
    except ImportError as error:
        raise ImportError("networks are written and read by safetensors: install scalemix[export]") from error
    return safetensors
