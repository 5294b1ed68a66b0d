"""The scope in which a model is read by a variational objective: there, and only there, priors without a posterior are let in.

Outside of it ``ppl.weight`` refuses ``sm.LogUniform()`` and ``sm.GaussianUniformMaximized()``; inside it samples a site whose law has no
density that a sampler could use, and a divergence from the guide's law.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import update_wrapper
from typing import Any

__all__ = ["Scope", "current_scope", "variational", "variational_scope"]


@dataclass(frozen=True)
class Scope:
    """How priors without a posterior are read.

    Attributes:
        method: how the log-uniform prior's divergence is computed (``divergences.log_uniform``).
        placeholders: a site is 0 where it would have to be drawn: to look at a model's structure.
    """

    method: str = "exact"
    placeholders: bool = False


_SCOPE: ContextVar[Scope | None] = ContextVar("scalemix_variational_scope", default=None)


def current_scope() -> Scope | None:
    """The scope in force, ``None`` outside of any."""
    return _SCOPE.get()


@contextmanager
def variational_scope(*, method: str = "exact", placeholders: bool = False) -> Iterator[None]:
    """Let priors without a posterior in; arguments as the attributes of ``Scope``."""
    token = _SCOPE.set(Scope(method, placeholders))
    try:
        yield
    finally:
        _SCOPE.reset(token)


def variational(model: Callable[..., Any], *, method: str = "exact") -> Callable[..., Any]:
    """The ``model`` read by a variational objective, in which priors without a posterior may stand.

    What a recipe for such a prior fits, and what to give ``Posterior.load(path, model=...)`` to predict from its result.

    Args:
        model: ``model(ppl, *data)``.
        method: how the log-uniform prior's divergence is computed (``sm.divergences.log_uniform``).
    """

    def read(*args: Any, **kwargs: Any) -> Any:
        placeholders = getattr(_SCOPE.get(), "placeholders", False)
        with variational_scope(method=method, placeholders=placeholders):
            return model(*args, **kwargs)

    return update_wrapper(read, model)
