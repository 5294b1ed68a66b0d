"""From a posterior to a smaller dense network of a language, with what it saves."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from scalemix.compress.layers import Layer, layers_of, num_inputs
from scalemix.compress.network import Network, unless_all
from scalemix.compress.removal import removed
from scalemix.compress.report import Report, report
from scalemix.compress.rules import Rule
from scalemix.compress.selection import Pruning, made_of, prune

if TYPE_CHECKING:
    from scalemix.posterior import Posterior

__all__ = ["Shrunk", "shrink"]


@dataclass(frozen=True, eq=False)
class Shrunk(Network):
    """A smaller dense network: call it as ``shrunk(x)``, with the same inputs as the network before; ``save`` writes it to a file.

    Attributes:
        module: a ``torch.nn.Module``, or in JAX a function of x.
        layers: it as a list of layers; the first one reads ``inputs`` alone.
        inputs: indices of the inputs (columns, channels, or pixels of a flattened image) that are left.
        num_inputs: how many x has.
        report: what was saved.
        pruning: by which it was made.
        masked: the layers of the network before, what was dropped 0.
    """

    report: Report
    pruning: Pruning = field(repr=False)
    masked: tuple[Layer, ...] = field(repr=False)


def shrink(
    posterior: Posterior,
    rule: Rule | str | Pruning,
    build: Callable[[Sequence[Layer], np.ndarray | None, float], Callable[..., Any]],
    sparse: float,
    **options: Any,
) -> Shrunk:
    """``PPL.shrink`` with ``build(layers, inputs, sparse)``, which makes the module; its inputs are ``None`` where all are left.

    Raises: ValueError as ``PPL.shrink`` does.
    """
    if not 0.0 <= sparse <= 1.0:
        raise ValueError(f"shrink(sparse={sparse!r}): give the largest part not 0 of a matrix that is to be a sparse tensor, from 0 to 1")
    if isinstance(rule, Pruning) and any(value is not None for value in options.values()):
        raise ValueError("shrink got a Pruning, which has chosen already, and options for choosing: leave them away")
    if isinstance(rule, Pruning) and not made_of(rule, posterior):
        raise ValueError("shrink got a Pruning of another posterior: give that posterior, or prune this one")
    pruning = rule if isinstance(rule, Pruning) else prune(posterior, rule, **options)
    layers = None if posterior.model is None else layers_of(posterior.model, {**pruning.means, **pruning.gates})
    if layers is None:
        raise ValueError("shrink knows models.mlp, lenet, resnet, lstm and lifted: give ppl.lift a torch module, and fit models.lifted")
    smaller, inputs = removed(layers)
    first = posterior.data[0]
    rows = first["x"] if isinstance(first, Mapping) else first
    saved = report(layers, smaller, rows.shape[1:], pruning.kept, inputs)
    count = num_inputs(layers)
    module = build(smaller, unless_all(inputs, count), sparse)
    return Shrunk(module, tuple(smaller), inputs, count, saved, pruning, tuple(layers))
