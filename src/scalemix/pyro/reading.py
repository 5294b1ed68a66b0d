"""Torch modules as lists of layers, by ``torch.fx``: what shrinking can work on."""

from __future__ import annotations

import operator
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import fx, nn
from torch.nn import functional

from scalemix.compress import Affine, Channelwise, Elementwise, Flatten, Layer, Lstm, Pool, Residual
from scalemix.compress.layers import ChannelsLast, channels_last, every, with_weights

__all__ = ["layers_of_module"]

IDLE = (nn.Identity, nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d)
BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)
MODULES: dict[type[nn.Module], str] = {nn.ReLU: "relu", nn.Tanh: "tanh", nn.Sigmoid: "sigmoid"}
FUNCTIONS = {torch.relu: "relu", functional.relu: "relu", torch.tanh: "tanh", torch.sigmoid: "sigmoid"}
METHODS = ("relu", "tanh", "sigmoid")
SUMS = (operator.add, operator.iadd, torch.add, "add", "add_")
ALIASES = (torch.flatten, "flatten")  # what they return may be the memory they were given
EVERYTHING = slice(None, None, None)
GATES = [0, 1, 3, 2]  # torch has i, f, g, o
KNOWN = (
    "it takes Linear, Conv2d, BatchNorm, ReLU, Tanh, Sigmoid, MaxPool2d, AvgPool2d, AdaptiveAvgPool2d(1), Flatten and what is idle in eval "
    "mode, one after the other or with a sum of two branches, and the last state of an LSTM"
)


def layers_of_module(module: nn.Module, values: Mapping[str, np.ndarray]) -> list[Layer]:
    """A module as layers, with ``values`` as its parameters, by their names.

    One output per row that ends in ``.squeeze(-1)`` or ``[:, 0]`` is read without that: the layers give (n, 1), not (n,).

    Raises: ValueError if it is not made of layers that shrinking knows.
    """
    try:
        graph = fx.symbolic_trace(module).graph
    except (fx.proxy.TraceError, TypeError, RuntimeError, NotImplementedError) as error:
        raise ValueError(f"shrinking cannot read {type(module).__name__}, whose forward looks at values ({error}): {KNOWN}") from error
    _refuse_changes(module, graph)
    first, output = next(iter(graph.nodes)), next(node for node in graph.nodes if node.op == "output")
    end = _with_column(output.args[0])
    found = _Reader(module, values).chain(end, first)
    if end is not output.args[0] and not _one_column(found):
        raise ValueError(f"shrinking cannot read {type(module).__name__}, which takes one of several outputs at its end: {KNOWN}")
    names = [layer.name for layer in with_weights(found)]
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise ValueError(f"shrinking cannot read {type(module).__name__}, which uses {twice[0]!r} twice: {KNOWN}")
    layers = channels_last(found, images=any(isinstance(each, nn.BatchNorm2d) for each in module.modules()))
    if _by_step(layers):
        raise ValueError(f"shrinking cannot read {type(module).__name__}, which normalizes the steps of sequences: {KNOWN}")
    return layers


class _Reader:
    """A module's layers between two nodes of its graph."""

    def __init__(self, module: nn.Module, values: Mapping[str, np.ndarray]) -> None:
        self.kind, self.owners, self.values = type(module).__name__, dict(module.named_modules()), values

    def chain(self, end: Any, start: fx.Node) -> list[Layer]:
        """The layers behind ``start``, up to ``end``."""
        found: list[Layer] = []
        while end is not start:
            before = self.before(end)
            if before is None:
                raise ValueError(f"shrinking cannot read {self.kind}: {end!s} is not one layer after another; {KNOWN}")
            if _is_sum(end):
                sides = sorted((self.chain(side, before) for side in end.args), key=lambda layers: len(list(with_weights(layers))))
                step: list[Layer] | None = [Residual(tuple(sides[1]), tuple(sides[0]))]
            else:
                step = self.step(end)
            if step is None or _misplaced(step, found):
                raise ValueError(f"shrinking cannot read the layer {end.name!r} of {self.kind}: {KNOWN}")
            found, end = step + found, before
        return found

    def before(self, node: Any) -> fx.Node | None:
        """The node that this one reads; of a sum, the last that both sides come from."""
        if not isinstance(node, fx.Node):
            return None
        if _is_sum(node):
            one, two = (self.path(side) for side in node.args)
            return next((each for each in one if each in two), None)
        source = _state_of(node)
        node = node if source is None else source
        others = [each for each in node.all_input_nodes if each is not node.args[0]] if node.args else [node]
        return node.args[0] if not others and isinstance(node.args[0], fx.Node) else None

    def path(self, node: fx.Node | None) -> list[fx.Node]:
        found = []
        while node is not None:
            found.append(node)
            node = self.before(node)
        return found

    def step(self, node: fx.Node) -> list[Layer] | None:
        """The layer of a node; ``None`` for one that is not known."""
        source = _state_of(node)
        if source is not None:
            return self.recurrent(str(source.target))
        if node.op == "call_module":
            return self.module(str(node.target))
        if node.op == "call_function" and node.target in FUNCTIONS:
            return [Elementwise(FUNCTIONS[node.target])]
        if node.op == "call_method" and node.target in METHODS:
            return [Elementwise(str(node.target))]
        if node.target in ALIASES and (node.args[1:] == (1,) or node.kwargs == {"start_dim": 1}):
            return [Flatten()]
        if node.target is functional.max_pool2d and len(node.args) == 2 and not node.kwargs:
            return _pool(node.args[1], node.args[1], True)
        if node.target is functional.adaptive_avg_pool2d and node.args[1:] in ((1,), ((1, 1),)):
            return [Pool(None, "mean")]
        return None

    def module(self, name: str) -> list[Layer] | None:
        layer = self.owners[name]
        if isinstance(layer, IDLE):
            return []
        if type(layer) in MODULES:
            return [Elementwise(MODULES[type(layer)])]
        if isinstance(layer, nn.Flatten):
            return [Flatten()] if (layer.start_dim, layer.end_dim) == (1, -1) else None
        if isinstance(layer, nn.MaxPool2d | nn.AvgPool2d):
            plain = layer.padding == 0 and not layer.ceil_mode and getattr(layer, "dilation", 1) == 1
            plain = plain and getattr(layer, "divisor_override", None) is None
            return _pool(layer.kernel_size, layer.stride, isinstance(layer, nn.MaxPool2d)) if plain else None
        if isinstance(layer, nn.AdaptiveAvgPool2d):
            return [Pool(None, "mean")] if layer.output_size in (1, (1, 1)) else None
        if isinstance(layer, BATCH_NORMS):
            return self.normalization(name, layer)
        return self.affine(name, layer) if isinstance(layer, nn.Linear | nn.Conv2d) else None

    def value(self, name: str) -> np.ndarray:
        if name not in self.values:
            raise ValueError(
                f"shrinking cannot read {self.kind}, in which {name!r} is no parameter of its own but tied to another or made from others "
                "(weight_norm, parametrize): fold it into a plain parameter before lift, e.g. by parametrize.remove_parametrizations"
            )
        return np.asarray(self.values[name])

    def affine(self, name: str, layer: Any) -> list[Layer] | None:
        weight = self.value(f"{name}.weight")
        bias = self.value(f"{name}.bias") if layer.bias is not None else np.zeros(weight.shape[0], weight.dtype)
        if isinstance(layer, nn.Linear):
            return [Affine(f"{name}.weight", weight.T, bias)]
        if layer.groups != 1 or layer.dilation != (1, 1) or layer.padding_mode != "zeros" or isinstance(layer.padding, str):
            return None
        if len(set(layer.stride)) > 1 or len(set(layer.padding)) > 1:
            return None
        return [Affine(f"{name}.weight", weight.transpose(2, 3, 1, 0), bias, layer.stride[0], layer.padding[0])]

    def normalization(self, name: str, layer: Any) -> list[Layer] | None:
        """(h − m)/√(v + ε) γ + β with the running mean and variance."""
        if layer.running_mean is None:
            return None
        mean, variance = (each.detach().cpu().double().numpy() for each in (layer.running_mean, layer.running_var))
        gamma, beta = (self.value(f"{name}.{each}") for each in ("weight", "bias")) if layer.affine else (1.0, 0.0)
        scale = np.asarray(gamma) / np.sqrt(variance + layer.eps)
        return [Channelwise(scale, beta - mean * scale)]

    def recurrent(self, name: str) -> list[Layer] | None:
        layer: Any = self.owners[name]
        if not layer.batch_first or layer.num_layers > 1 or layer.bidirectional or layer.proj_size > 0:
            return None
        found = {key: self.value(f"{name}.{key}_l0") for key in ("weight_ih", "weight_hh")}
        weights = [weight.reshape(4, layer.hidden_size, -1)[GATES].transpose(2, 0, 1) for weight in found.values()]
        bias = sum((self.value(f"{name}.bias_{key}_l0") for key in ("ih", "hh")), 0.0) if layer.bias else 0.0
        bias = np.broadcast_to(bias, (4 * layer.hidden_size,)) if np.ndim(bias) < 1 else bias
        return [Lstm(f"{name}.weight_ih_l0", f"{name}.weight_hh_l0", *weights, bias.reshape(4, -1)[GATES])]


def _refuse_changes(module: nn.Module, graph: fx.Graph) -> None:
    """Raise ValueError where something is changed in place that is read elsewhere: the graph tells who reads what, not when.

    What nobody reads can only be there for what it changes; items of a tuple aside.
    """
    owners = dict(module.named_modules())
    for node in graph.nodes:
        if not node.users and node.op not in ("placeholder", "output") and not _is_item(node):
            raise ValueError(
                f"shrinking cannot read {type(module).__name__}: nothing reads {node.name!r}, which is dead code or works in place; "
                "assign what it returns and use that, or take it away"
            )
        changed = node.args[0] if node.args and _in_place(node, owners) else None
        while isinstance(changed, fx.Node):
            if len(changed.users) > 1:
                raise ValueError(
                    f"shrinking cannot read {type(module).__name__}: {node.name!r} changes {changed.name!r} in place, which others read "
                    "too; take inplace=True (or the name with _) away"
                )
            changed = changed.args[0] if changed.args and _is_alias(changed, owners) else None


def _in_place(node: fx.Node, owners: Mapping[str, nn.Module]) -> bool:
    if node.op == "call_module":
        layer = owners[str(node.target)]
        return bool(getattr(layer, "inplace", False)) and not isinstance(layer, IDLE)
    positional = node.target is functional.relu and node.args[1:] == (True,)
    named = node.op == "call_method" and str(node.target).endswith("_")
    return positional or named or node.target is operator.iadd or bool(node.kwargs.get("inplace")) or "out" in node.kwargs


def _is_alias(node: fx.Node, owners: Mapping[str, nn.Module]) -> bool:
    if node.op == "call_module":
        return isinstance(owners[str(node.target)], (*IDLE, nn.Flatten))
    return node.target in ALIASES


def _is_sum(node: Any) -> bool:
    known = isinstance(node, fx.Node) and node.target in SUMS and len(node.args) == 2 and not node.kwargs
    return known and all(isinstance(side, fx.Node) for side in node.args)


def _misplaced(step: list[Layer], after: list[Layer]) -> bool:
    """What is flattened has to go into a Linear: nothing else knows its channels."""
    return step == [Flatten()] and any(isinstance(layer, Channelwise | Residual) for layer in _to_weights(after))


def _by_step(layers: list[Layer]) -> bool:
    """A normalization is in front of what takes sequences (n, T, p), so its factors are those of T steps, not of p columns."""
    kinds = [type(layer) for layer in every(layers)]
    after = kinds[kinds.index(Channelwise) :] if Channelwise in kinds and ChannelsLast not in kinds else []
    return Lstm in after or Flatten in after


def _to_weights(layers: list[Layer]) -> list[Layer]:
    found: list[Layer] = []
    for layer in layers:
        if isinstance(layer, Affine):
            break
        found.append(layer)
    return found


def _state_of(node: Any) -> fx.Node | None:
    """The LSTM whose last state the node is: ``out[:, -1]``, or ``h[-1]`` of ``out, (h, c) = lstm(x)``."""
    if not _is_item(node):
        return None
    inner, index = node.args
    if index == (EVERYTHING, -1) and _is_item(inner) and inner.args[1] == 0:
        source = inner.args[0]
    elif index in (-1, 0) and _is_item(inner) and inner.args[1] == 0 and _is_item(inner.args[0]) and inner.args[0].args[1] == 1:
        source = inner.args[0].args[0]
    else:
        return None
    graph_module = source.graph.owning_module
    called = source.op == "call_module" and isinstance(graph_module.get_submodule(source.target), nn.LSTM)
    return source if called else None


def _with_column(node: Any) -> Any:
    """(n, 1) of which the node makes (n,); else the node."""
    squeezes = isinstance(node, fx.Node) and node.target in (torch.squeeze, "squeeze") and (*node.args[1:], *node.kwargs.values()) == (-1,)
    picks = _is_item(node) and node.args[1] in ((EVERYTHING, 0), (..., 0))
    return node.args[0] if squeezes or picks else node


def _one_column(layers: list[Layer]) -> bool:
    """What comes out has the shape (n, 1)."""
    last = list(with_weights(layers))[-1:]
    return all(layer.weight.shape[-1] == 1 and layer.weight.ndim != 4 for layer in last) and bool(last)


def _is_item(node: Any) -> bool:
    return isinstance(node, fx.Node) and node.target is operator.getitem


def _pool(size: Any, stride: Any, largest: bool) -> list[Layer] | None:
    sizes = {*(size if isinstance(size, tuple) else (size,)), *(stride if isinstance(stride, tuple) else (stride,))}
    return [Pool(int(sizes.pop()), "max" if largest else "mean")] if len(sizes) == 1 else None
