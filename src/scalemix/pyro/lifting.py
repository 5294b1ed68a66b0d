"""Torch modules with priors on their weights, by ``torch.func.functional_call``. Contract: ``scalemix.language.PPL.lift``."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyro
import torch
from torch import nn
from torch.utils._pytree import tree_leaves

from scalemix.cases import mapped
from scalemix.compress import Layer
from scalemix.language import PPL
from scalemix.lifting import Lifted, LiftedArray, generic_axes, matched, with_networks
from scalemix.local_reparametrization import Unsampled
from scalemix.plan import Parametrization
from scalemix.pyro.lazy_weights import LazyWeight
from scalemix.pyro.lean import running
from scalemix.pyro.primitives import Given
from scalemix.pyro.reading import layers_of_module
from scalemix.pyro.tensors import tensors
from scalemix.variational_scope import variational_scope

__all__ = ["LiftedModule", "lift", "recalibrate"]

SPATIAL = {1: ("width",), 2: ("height", "width"), 3: ("depth", "height", "width")}
CONVOLUTIONS: dict[type[nn.Module], int] = {nn.Conv1d: 1, nn.Conv2d: 2, nn.Conv3d: 3}
TRANSPOSED: dict[type[nn.Module], int] = {nn.ConvTranspose1d: 1, nn.ConvTranspose2d: 2, nn.ConvTranspose3d: 3}
GATES = {"LSTM": 4, "GRU": 3, "LSTMCell": 4, "GRUCell": 3}
BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)
INSTANCE_NORMS = (nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d)
DROPOUTS = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, nn.FeatureAlphaDropout)


class LiftedModule(Lifted):
    """A ``torch.nn.Module`` with priors on its weights; the module itself is not touched, its running statistics included."""

    def __init__(self, module: nn.Module, arrays: tuple[LiftedArray, ...], function: Any, parametrization: Parametrization) -> None:
        super().__init__(arrays, type(module).__name__, parametrization)
        self.module = _Applied(module, function)
        self._fixed: dict[Any, dict[str, torch.Tensor]] = {}
        for layer in self._normalizations().values():
            layer.track_running_stats = False

    @property
    def normalizing(self) -> tuple[str, ...]:
        return tuple(_called(name, layer) for name, layer in self._normalizations().items() if not layer.track_running_stats)

    def collecting(self) -> LiftedModule:
        """A copy that normalizes by the batch and averages the statistics; ``frozen`` puts an end to it."""
        made = copy.deepcopy(self)
        made._fixed = {}
        for layer in made._normalizations().values():
            layer.track_running_stats, layer.momentum = True, None  # the mean over batches
            layer.reset_running_stats()
        return made

    def frozen(self) -> None:
        """Keep the statistics that were found."""
        buffers = dict(self.module.named_buffers())
        for fixed in self._fixed.values():
            for name, value in fixed.items():
                if name in buffers:
                    buffers[name].copy_(value)
        self._fixed = {}
        for layer in self._normalizations().values():
            layer.eval()

    def _normalizations(self) -> dict[str, Any]:
        """Batch normalization in training mode."""
        named = self.module.module.named_modules()
        return {name: layer for name, layer in named if isinstance(layer, BATCH_NORMS) and layer.training}

    def language(self) -> PPL:
        return running()

    def apply(self, values: dict[str, Any], *inputs: Any, **options: Any) -> Any:
        like = next(iter(values.values()))
        tied = {array.name for array in self.arrays if array.tied}
        chosen = self._others(like.dtype, like.device) | {f"module.{name}": _tensor(w, name in tied) for name, w in values.items()}
        return torch.func.functional_call(self.module, chosen, inputs, options)

    def layers(self, weights: Mapping[str, Any]) -> list[Layer]:
        if self.module.function is not None:
            raise ValueError(f"{self.kind} was lifted with apply=, so shrinking cannot read it: put what apply does into the module")
        values = {array.name: weights.get(array.name, array.value) for array in self.arrays}
        return layers_of_module(self.module.module, values)

    def _others(self, dtype: torch.dtype, device: torch.device) -> dict[str, torch.Tensor]:
        """What has no prior, and the buffers, with floating numbers in the precision and on the device of the weights."""
        if (dtype, device) not in self._fixed:
            random = self.priors
            stored = dict(self.module.named_parameters()) | dict(self.module.named_buffers())
            self._fixed[dtype, device] = {
                name: value.detach().to(device=device, dtype=dtype if value.is_floating_point() else None)
                for name, value in stored.items()
                if name.removeprefix("module.") not in random
            }
        return self._fixed[dtype, device]


class _Applied(nn.Module):
    """The module, or a function of it and the inputs, as a module: what ``functional_call`` wants."""

    def __init__(self, module: nn.Module, function: Callable[..., Any] | None) -> None:
        super().__init__()
        self.module, self.function = module, function

    def forward(self, *inputs: Any, **options: Any) -> Any:
        return self.module(*inputs, **options) if self.function is None else self.function(self.module, *inputs, **options)


def lift(
    module: Any,
    priors: Mapping[str, Any],
    *,
    apply: Callable[..., Any] | None = None,
    parametrization: Parametrization = None,
    axes: Mapping[str, Sequence[str]] | None = None,
) -> Lifted:
    if not isinstance(module, nn.Module):
        raise TypeError(f"lift in Pyro wants a torch.nn.Module, not {type(module).__name__}: in NumPyro it takes a pytree of weights")
    _refuse_noise(module)
    module = copy.deepcopy(module)
    arrays = matched(_arrays(module), priors, axes=axes, parametrization=parametrization)
    return LiftedModule(module, arrays, apply, parametrization)


lift.__doc__ = PPL.lift.__doc__


def recalibrate(
    model: Callable[..., Any],
    values: Mapping[str, Any],
    *data: Any,
    batch_size: int | None = None,
    batches: Iterable[tuple] | None = None,
) -> Callable[..., Any]:
    found: list[LiftedModule] = []

    def collecting(net: Lifted) -> Lifted:
        if not isinstance(net, LiftedModule) or not net._normalizations():
            return net
        found.append(net.collecting())
        return found[-1]

    collected = with_networks(model, collecting)
    if not found:
        return model
    at = tensors({name: np.asarray(value) for name, value in values.items()})
    with torch.no_grad(), variational_scope(placeholders=True), pyro.validation_enabled(False), Given(at):
        for batch in _batches(data, batch_size) if batches is None else batches:
            collected(running(), *tensors(batch))
    for net in found:
        net.frozen()
    return collected


recalibrate.__doc__ = PPL.recalibrate.__doc__


def _batches(data: tuple, batch_size: int | None) -> Iterator[tuple]:
    """Of equal size."""
    rows = len(tree_leaves(data)[0])
    size = min(batch_size or rows, rows)
    for start in range(0, rows - size + 1, size):
        yield mapped(lambda each, start=start: each[start : start + size], data)


def _called(name: str, layer: nn.Module) -> str:
    return f"{type(layer).__name__} {name!r}" if name else type(layer).__name__


def _tensor(weight: Any, tied: bool) -> torch.Tensor:
    """A weight that is not drawn as a tensor whose layer draws; one that stands at several places is drawn here."""
    if not isinstance(weight, Unsampled):
        return weight
    return weight.drawn() if tied else LazyWeight.of(weight)


def _arrays(module: nn.Module) -> list[LiftedArray]:
    owners = dict(module.named_modules())
    uses: dict[int, int] = {}
    for _, parameter in module.named_parameters(remove_duplicate=False):
        uses[id(parameter)] = uses.get(id(parameter), 0) + 1
    found = []
    for name, parameter in module.named_parameters():
        if isinstance(parameter, nn.UninitializedParameter):
            raise ValueError(f"{name!r} has no shape yet: call the module on data once before it is lifted")
        owner, _, own = name.rpartition(".")
        axes, shape = _axes(owners[owner], own, tuple(parameter.shape))
        value = parameter.detach().cpu().numpy().copy()
        found.append(LiftedArray(name, value, axes, shape, uses[id(parameter)] > 1, floating=parameter.is_floating_point()))
    return found


def _axes(owner: nn.Module, own: str, shape: tuple[int, ...]) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """Names of the axes of a parameter, and the shape of its site, in which the gates of a recurrent layer are an axis."""
    if isinstance(owner, nn.RNNBase | nn.RNNCellBase):
        gates = 1 if own.startswith("weight_hr") else GATES.get(getattr(owner, "mode", type(owner).__name__), 1)
        rest, others = (("in",), shape[1:]) if len(shape) > 1 else ((), ())
        return (("out", *rest), shape) if gates == 1 else (("gate", "out", *rest), (gates, shape[0] // gates, *others))
    for table, units in ((CONVOLUTIONS, ("out", "in")), (TRANSPOSED, ("in", "out"))):
        spatial = next((SPATIAL[ndim] for kind, ndim in table.items() if isinstance(owner, kind)), None)
        if spatial is not None and len(shape) > 1:
            return (*units, *spatial), shape
    if isinstance(owner, nn.Embedding | nn.EmbeddingBag):
        return ("in", "out"), shape
    return {0: (), 1: ("out",), 2: ("out", "in")}.get(len(shape), generic_axes(len(shape))), shape


def _refuse_noise(module: nn.Module) -> None:
    """Raise ValueError for layers that tie the rows of a batch together, or draw noise that no site holds."""
    for name, layer in module.named_modules():
        called = _called(name, layer)
        if isinstance(layer, BATCH_NORMS) and layer.running_mean is None:
            raise ValueError(
                f"{called} keeps no running statistics, so each row's output depends on the batch and there is no log likelihood by row: "
                "give it track_running_stats=True, train, and call module.eval() before lift"
            )
        if isinstance(layer, INSTANCE_NORMS) and layer.training and layer.running_mean is not None:
            raise ValueError(
                f"{called} is in training mode, where each row's output depends on the whole batch: call module.eval() before lift, which "
                "freezes it at its running statistics"
            )
        drops = isinstance(layer, DROPOUTS) and layer.p > 0.0
        drops = drops or (isinstance(layer, nn.RNNBase | nn.MultiheadAttention) and layer.dropout > 0.0)
        if drops and layer.training:
            raise ValueError(
                f"{called} is in training mode and draws noise that no site holds: call module.eval() before lift, and give the weights a "
                "prior with that noise, e.g. sm.ScaleMixture(noise.Bernoulli(0.5).per('in'))"
            )
