"""Somebody's network with priors on its weights: which array gets which prior, and the site it becomes. Knows no language.

``ppl.lift`` lists the arrays of a network with the names of their axes; here patterns are matched, and inside a model the arrays that have
a prior are sampled by ``ppl.weight``. An array's site has its own name (``fc1.weight``), and its axes in the order in which it is stored.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from scalemix.identity import data_hash
from scalemix.lower import start_at
from scalemix.plan import Parametrization, make_plan
from scalemix.priors import ScaleMixture, VariationalPrior

if TYPE_CHECKING:
    from scalemix.compress import Layer
    from scalemix.language import PPL

__all__ = ["Lifted", "LiftedArray", "batch_statistics", "generic_axes", "matched", "normalizes", "with_networks"]

Prior = ScaleMixture | VariationalPrior
_BATCHES: ContextVar[bool] = ContextVar("scalemix_batch_statistics", default=False)


@contextmanager
def batch_statistics() -> Iterator[None]:
    """Inside, normalization layers in training mode may normalize by the batch: a guide is trained, and nothing is asked of single rows."""
    token = _BATCHES.set(True)
    try:
        yield
    finally:
        _BATCHES.reset(token)


def normalizes(model: Callable[..., Any]) -> bool:
    """A lifted network among the options of the ``model`` normalizes by the batch."""
    if not isinstance(model, partial):
        return False
    return normalizes(model.func) or any(isinstance(net, Lifted) and bool(net.normalizing) for net in model.keywords.values())


def with_networks(model: Callable[..., Any], change: Callable[[Lifted], Lifted]) -> Callable[..., Any]:
    """The ``model`` with ``change(net)`` for each lifted network among its options."""
    if not isinstance(model, partial):
        return model
    options = {name: change(value) if isinstance(value, Lifted) else value for name, value in model.keywords.items()}
    return partial(with_networks(model.func, change), *model.args, **options)


@dataclass(frozen=True, eq=False)
class LiftedArray:
    """One array of a network.

    Attributes:
        name: where it is in the network, and its site.
        value: what the network has there.
        axes, shape: of its site: names of the dimensions, and the shape (an LSTM's (4 out, in) is sampled as (4, out, in)).
        tied: it stands at several places, and has to be the same draw at all of them.
        prior: ``None`` for one that is left alone.
        pattern: by which it was matched, ``None`` for none.
        floating: its numbers are floating; others are left alone.
    """

    name: str
    value: np.ndarray = field(repr=False)
    axes: tuple[str, ...]
    shape: tuple[int, ...]
    tied: bool = False
    prior: Prior | None = None
    pattern: str | None = None
    floating: bool = True


class Lifted:
    """A network whose weights are random: ``net(x)`` inside a model samples those with a prior and applies the network to x.

    Made by ``ppl.lift``; ``str(net)`` is a table of what got which prior. Guides of scalemix's recipes begin at the values that the network
    had, ``net.initial`` are these by site, for ``init_from=`` of a sampler.

    Attributes:
        arrays: every array of the network.
        parametrization: of those with a prior, as for ``ppl.weight``.
    """

    def __init__(self, arrays: tuple[LiftedArray, ...], kind: str, parametrization: Parametrization) -> None:
        self.arrays, self.kind, self.parametrization = arrays, kind, parametrization

    def __call__(self, *inputs: Any, **options: Any) -> Any:
        """Sample the weights, and apply the network with them to ``inputs`` and ``options``.

        Raises: ValueError where values with draws in front (Pyro's ``Predictive(parallel=True)``) are put at the sites, and for batch
            normalization in training mode outside of the training of a guide.
        """
        ppl = self.language()
        if self.normalizing and not _BATCHES.get():
            raise ValueError(
                f"{self.normalizing[0]} is in training mode, where each row's output depends on the whole batch: call module.eval() before "
                "lift, which freezes it, or fit models.lifted by a recipe that trains a guide, as vbd or map, which freezes it afterwards"
            )
        values = {array.name: self._sampled(ppl, array) for array in self.arrays if array.prior is not None}
        return self.apply(values, *inputs, **options)

    def language(self) -> PPL:
        """What samples the sites."""
        raise TypeError(f"{type(self).__name__} belongs to no language: use ppl.lift")

    def apply(self, values: dict[str, Any], *inputs: Any, **options: Any) -> Any:
        """The network with the arrays ``values`` in place of its own, applied to ``inputs`` and ``options``."""
        raise TypeError(f"{type(self).__name__} belongs to no language: use ppl.lift")

    def layers(self, weights: Mapping[str, np.ndarray]) -> list[Layer]:
        """The network with ``weights`` in place of its own as a list of layers, for shrinking.

        Raises: ValueError if it is none.
        """
        raise ValueError(f"{self.kind} cannot be read as a list of layers, which shrinking needs: lift a torch module, or use models.mlp")

    @property
    def normalizing(self) -> tuple[str, ...]:
        """Its layers that normalize by the batch."""
        return ()

    @property
    def priors(self) -> dict[str, Prior]:
        """Site to prior."""
        return {array.name: array.prior for array in self.arrays if array.prior is not None}

    @property
    def left_alone(self) -> tuple[str, ...]:
        """Names of the arrays without a prior, which stay at their values."""
        return tuple(array.name for array in self.arrays if array.prior is None)

    @property
    def initial(self) -> dict[str, np.ndarray]:
        """The network's own values by latent site: ``fc1.weight``, or ``fc1.weight_base`` (with the noises at 1) where that is one."""
        found = {}
        for array in self.arrays:
            if array.prior is None:
                continue
            plan = None if isinstance(array.prior, VariationalPrior) else self._plan(array)
            site = array.name if plan is None or plan.direct else f"{array.name}_base"
            found[site] = array.value.reshape(array.shape)
        return found

    def __str__(self) -> str:
        rows = [("array", "axes", "shape", "prior", "from")]
        for array in self.arrays:
            alone = "left alone" if array.floating else f"left alone, {array.value.dtype}"
            prior = alone if array.prior is None else str(array.prior)
            shape = " × ".join(map(str, array.shape)) or "1"
            rows.append((array.name, ", ".join(array.axes), shape, prior, repr(array.pattern) if array.pattern else ""))
        widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
        lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
        total, random = (sum(math.prod(a.shape) for a in self.arrays if a.prior is not None or every) for every in (True, False))
        return "\n".join([f"{self.kind}: {random} of {total} numbers have a prior", *lines])

    def __repr__(self) -> str:
        given = {name: str(prior) for name, prior in self.priors.items()}
        values = data_hash({array.name: array.value for array in self.arrays})[:12]
        return f"Lifted({self.kind}, {given}, parametrization={self.parametrization!r}, values {values})"

    def _plan(self, array: LiftedArray) -> Any:
        return make_plan(array.prior, array.shape, array.axes, self.parametrization)  # type: ignore[arg-type]

    def _sampled(self, ppl: PPL, array: LiftedArray) -> Any:
        value = ppl.weight(array.name, array.shape, array.prior, axes=array.axes, parametrization=self.parametrization)  # type: ignore[arg-type]
        start_at(array.name, array.value.reshape(array.shape))
        if tuple(value.shape) != array.shape:
            raise ValueError(
                f"{array.name!r} has the shape {tuple(value.shape)} and the network wants {array.shape}: it takes one draw at a "
                "time, so leave plates around it away, and give Predictive(parallel=False)"
            )
        return value if array.shape == array.value.shape else value.reshape(array.value.shape)


def matched(
    arrays: Sequence[LiftedArray],
    priors: Mapping[str, Prior | None],
    *,
    axes: Mapping[str, Sequence[str]] | None,
    parametrization: Parametrization,
) -> tuple[LiftedArray, ...]:
    """The ``arrays`` with their priors: the first pattern that matches an array's name counts, ``None`` leaves it alone.

    Raises: ValueError for a pattern that matches nothing, or nothing that an earlier one does not, and for a prior that does not fit.
    """
    if not isinstance(priors, Mapping) or not priors:
        raise TypeError(f"lift wants a dict from pattern to prior, e.g. {{'*.weight': sm.Laplace()}}, not {priors!r}")
    names = [array.name for array in arrays]
    by_name = {name: next((pattern for pattern in priors if fnmatchcase(name, pattern)), None) for name in names}
    _check_patterns("lift has", priors, names)
    for pattern in priors:
        if pattern not in by_name.values():
            raise ValueError(f"lift has the pattern {pattern!r} after one that takes all it matches: put {pattern!r} before that")
        if priors[pattern] is not None and not any(array.floating for array in arrays if by_name[array.name] == pattern):
            raise ValueError(f"lift gives a prior to {pattern!r}, which holds no floating numbers: give it None")
    _check_patterns("lift(axes=) has", axes or {}, names)
    found = []
    for array in arrays:
        pattern = by_name[array.name]
        named = next((tuple(axes[each]) for each in axes or {} if axes and fnmatchcase(array.name, each)), None)
        if named is not None:
            array = replace(array, axes=named, shape=array.value.shape)
        prior = None if pattern is None or not array.floating else priors[pattern]
        array = replace(array, prior=prior, pattern=pattern)
        if prior is not None:
            _check_prior(array, parametrization)
        found.append(array)
    if all(array.prior is None for array in found):
        raise ValueError("lift gives no array a prior, so the network is not random: give e.g. {'*.weight': sm.Laplace()}")
    return tuple(found)


def generic_axes(ndim: int) -> tuple[str, ...]:
    """Names for dimensions of which nothing is known."""
    return tuple(f"axis{index}" for index in range(ndim))


def _check_prior(array: LiftedArray, parametrization: Parametrization) -> None:
    """Raise now what ``ppl.weight`` would raise in the model, with the array's name."""
    if isinstance(array.prior, VariationalPrior):
        if len(array.axes) != len(array.shape):
            raise ValueError(f"lift(axes=) gives {array.name!r} the axes {array.axes}, and its shape is {array.shape}: name each of them")
        return
    try:
        make_plan(array.prior, array.shape, array.axes, parametrization)  # type: ignore[arg-type]
    except (TypeError, ValueError) as error:
        raise type(error)(f"{array.name!r}: {error}") from error


def _check_patterns(what: str, patterns: Mapping[str, Any], names: Sequence[str]) -> None:
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in names):
            raise ValueError(f"{what} the pattern {pattern!r}, which matches none of the arrays {', '.join(names)}: correct or remove it")
