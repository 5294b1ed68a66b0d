"""A language as ``scalemix.pyro``, without poutine: its sample statements add up the terms of the objective as they are run.

A guide, then a model, is given one of these as its ``ppl``. What a step of Pyro spends on handlers, traces, its parameter store and
log densities that nobody needs is several times the arithmetic of a small model. Models that call ``pyro.sample`` themselves do not see it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
from torch.distributions import biject_to

from scalemix import dense as dense_layer
from scalemix import lower
from scalemix.objective import Terms, divergence

__all__ = ["Lean", "running"]

_RUNNING: ContextVar[Lean | None] = ContextVar("scalemix_lean", default=None)


def running() -> Any:
    """The ``Lean`` under which a guide or a model runs, else ``scalemix.pyro``: for what is not given a ``ppl``."""
    lean = _RUNNING.get()
    return sys.modules["scalemix.pyro"] if lean is None else lean


class Lean:
    """One run of a guide, and then of a model given what the guide drew.

    Args:
        params: values of the parameters, unconstrained; one that is not there takes the first value its ``param`` statement gives.
        num_data: N, of which the data are a batch.
        values: of the sites; what is not there is drawn.
    """

    def __init__(self, params: dict[str, Any], *, num_data: int | None = None, values: dict[str, Any] | None = None) -> None:
        self.params, self.num_data = dict(params), num_data
        self.values = {} if values is None else values
        self.drawn: dict[str, tuple[Any, Any, Any]] = {}  # of the guide: law, value, infer
        self.terms = Terms()
        self.latents: list[str] = []
        self.auxiliary: list[str] = []
        self.in_model = False
        self._plates: list[tuple[int, int]] = []
        self._scale = 1.0

    def __getattr__(self, name: str) -> Any:
        return getattr(sys.modules["scalemix.pyro"], name)

    def sample(self, name: str, fn: Any, *args: Any, obs: Any = None, infer: dict | None = None, **kwargs: Any) -> Any:
        if self._plates:
            fn = self._in_plates(fn)
        if obs is not None:
            log_prob = fn.log_prob(obs).sum()
            self.terms.nll[name] = -log_prob if self._scale == 1.0 else -self._scale * log_prob
            return obs
        if name in self.drawn and self.in_model:
            q, value, how = self.drawn[name]
            self.terms.divergences[name] = divergence(self, name, q, fn, value, how, self._scale)  # type: ignore[arg-type]
            self.latents.append(name)
            return value
        value = self.values[name] if name in self.values else fn()
        if self.in_model:
            self.latents.append(name)
        else:
            self.drawn[name] = fn, value, infer
            if (infer or {}).get("is_auxiliary"):
                self.auxiliary.append(name)
                self.terms.divergences[name] = fn.log_prob(value).sum()
        return value

    def param(self, name: str, init: Any = None, *, constraint: Any = None, **kwargs: Any) -> Any:
        transform = None if constraint is None else biject_to(constraint)
        if name not in self.params:
            first = torch.as_tensor(init() if callable(init) else init)
            self.params[name] = first if transform is None else transform.inv(first)
        value = self.params[name]
        return value if transform is None else transform(value)

    def deterministic(self, name: str, value: Any, event_dim: int | None = None) -> Any:
        return value

    def factor(self, name: str, log_factor: Any) -> None:
        self.terms.nll[name] = -self._scale * log_factor.sum()

    @contextmanager
    def plate(self, name: str, size: int, *, dim: int | None = None, **kwargs: Any) -> Iterator[Any]:
        if kwargs:
            raise TypeError(f"the plate {name!r} has {next(iter(kwargs))}=: an objective takes its batches itself, so leave it away")
        taken = {each for each, _ in self._plates}
        free = next(each for each in range(-1, -len(taken) - 2, -1) if each not in taken)
        self._plates.append((free if dim is None else dim, size))
        try:
            yield None
        finally:
            self._plates.pop()

    @contextmanager
    def data_plate(self, data: Any, name: str = "data") -> Iterator[None]:
        size, before = data.shape[0], self._scale
        self._scale = before * ((self.num_data or size) / size)
        try:
            with self.plate(name, size):
                yield
        finally:
            self._scale = before

    def _in_plates(self, fn: Any) -> Any:
        shape = list(fn.batch_shape)
        for dim, size in self._plates:
            shape = [1] * (-dim - len(shape)) + shape
            if shape[dim] == 1:
                shape[dim] = size
        return fn if tuple(shape) == tuple(fn.batch_shape) else fn.expand(torch.Size(shape))

    def weight(self, name: str, shape: int | Sequence[int], prior: Any, **options: Any) -> Any:
        return lower.weight(self, name, shape, prior, **options)  # type: ignore[arg-type]

    def dense(self, name: str, h: Any, num_outputs: int, prior: Any, **options: Any) -> Any:
        return dense_layer.dense(self, name, h, num_outputs, prior, **options)  # type: ignore[arg-type]

    def convolution(self, name: str, x: Any, num_outputs: int, prior: Any, **options: Any) -> Any:
        return dense_layer.convolution(self, name, x, num_outputs, prior, **options)  # type: ignore[arg-type]

    def run(self, guide: Callable[..., Any], model: Callable[..., Any], batch: tuple) -> Terms:
        """Run both; the terms of the objective."""
        token = _RUNNING.set(self)
        try:
            guide(self, *batch)
            self.in_model = True
            model(self, *batch)
        finally:
            _RUNNING.reset(token)
        return self.terms
