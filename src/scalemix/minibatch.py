"""How many data there are of which a model sees a minibatch: set by a recipe or an objective, read by ``ppl.data_plate``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

__all__ = ["minibatch_of", "num_data_scope"]

num_data_scope: ContextVar[int | None] = ContextVar("scalemix_num_data", default=None)
"""Total number of data of which a recipe's data are a minibatch; ``data_plate`` scales the log likelihood by num_data / len(data)."""


@contextmanager
def minibatch_of(num_data: int | None) -> Iterator[None]:
    """Inside: data are a minibatch of ``num_data`` cases; ``None``: all there are."""
    token = num_data_scope.set(num_data)
    try:
        yield
    finally:
        num_data_scope.reset(token)
