"""Data as minibatches: arrays that are shuffled anew in each epoch, or an iterable that brings its own batches."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain, islice
from typing import Any

import numpy as np

from scalemix.cases import leaves, plain_data
from scalemix.checks import check_positive_int
from scalemix.training.settings import Settings

__all__ = ["Feed", "batches_in", "steps_in"]


class Feed:
    """Where the rows come from.

    Attributes:
        arrays: the data as NumPy arrays, or ``None`` if ``batches`` brings them.
        num_data: N.
        rows: B, for arrays.
        full: steps of B rows in an epoch, for arrays.
        rest: rows of one further step, 0 if there is none.
        steps: steps in an epoch, ``None`` if that is not known before it has ended.
        whole: each step takes all rows.
    """

    def __init__(self, data: Any, settings: Settings, num_data: int | None) -> None:
        self.arrays = plain_data(data) if _is_arrays(data) else None
        if num_data is not None:
            check_positive_int("num_data", num_data)
        if self.arrays is not None:
            count = _num_rows(self.arrays)
            self.num_data = count if num_data is None else num_data
            self.rows, self.full, self.rest = _cut(count, settings)
            self.count, self.whole = count, self.rows == count
            self.steps: int | None = self.full + (self.rest > 0)
            return
        if not callable(data) and not hasattr(data, "__iter__"):
            raise TypeError(f"the data are a {type(data).__name__}: give a tuple of arrays, or an iterable of batches with num_data=")
        if num_data is None:
            raise ValueError("batches do not tell how many data there are: give num_data=, the rows of all of them together")
        if settings.batch_size is not None:
            raise ValueError("Settings(batch_size=) has no meaning where the data come as batches: leave it away, or give the arrays")
        if hasattr(data, "__next__"):
            if settings.num_epochs > 1:
                raise ValueError("an iterator of batches is used up after one epoch: give a list, a loader, or a function of the epoch")
            used = data
            data = lambda _: used  # noqa: E731
        self._source, self.num_data = data, num_data
        self.steps = _length(data)
        if self.steps == 0:
            raise ValueError("the data hold no batch")

    def batches(self, epoch: int, skip: int) -> Iterator[tuple]:
        """The batches of an epoch from number ``skip`` on."""
        found = self._source(epoch) if callable(self._source) else self._source
        for batch in islice(found, skip, None):
            arrays = plain_data(_as_tuple(batch))
            _num_rows(arrays)
            yield arrays


def batches_in(data: tuple) -> tuple[Any, tuple]:
    """(batches, first batch) where ``data`` is one iterable of batches, e.g. a ``DataLoader``, or a function of the epoch that gives one;
    (``None``, ``data``) where it is arrays.

    Raises: ValueError if there is no batch, and for a list of arrays, which are neither arguments nor batches.
    """
    if len(data) == 1 and isinstance(data[0], list):
        _refuse_packed(data[0])
    if len(data) != 1 or not _is_batches(data[0]):
        return None, data
    source = data[0]
    found = iter(source(0) if callable(source) else source)
    first = next(found, None)
    if first is None:
        raise ValueError("the data hold no batch")
    return (chain([first], found) if hasattr(source, "__next__") else source), plain_data(_as_tuple(first))


def steps_in(data: tuple, count: int, settings: Settings) -> int:
    """Steps in an epoch of ``data`` of ``count`` rows, or of batches.

    Raises: ValueError for batches whose number is not known.
    """
    if len(data) == 1 and _is_batches(data[0]):
        length = _length(data[0])
        if length is None:
            raise ValueError("the steps of an epoch have to be known here: give batches that have a length, or the arrays")
        return length
    _, full, rest = _cut(count, settings)
    return full + (rest > 0)


def _refuse_packed(data: list) -> None:
    if not data:
        raise ValueError("the data hold no batch: they are empty")
    if all(len(getattr(each, "shape", ())) > 0 for each in data):
        raise ValueError(f"the data are one list of {len(data)} arrays: give the arrays as arguments, fit(ppl, model, x, y)")


def _length(data: Any) -> int | None:
    """How many batches there are; ``None`` where that is not known, as of a ``DataLoader`` of an ``IterableDataset`` without a length."""
    try:
        return len(data)
    except TypeError:
        return None


def _is_batches(data: Any) -> bool:
    if data is None or isinstance(data, dict | str) or hasattr(data, "shape"):
        return False
    if isinstance(data, list | tuple):
        batch = isinstance(data[0], list | tuple | dict) if data else False
        return batch and all(hasattr(leaf, "shape") for leaf in leaves(_as_tuple(data[0])))
    return callable(data) or hasattr(data, "__iter__")


def _as_tuple(batch: Any) -> tuple:
    return tuple(batch) if isinstance(batch, list | tuple) else (batch,)


def _cut(count: int, settings: Settings) -> tuple[int, int, int]:
    """Rows of a step, how many such steps there are, and the rows of one further step."""
    rows = min(settings.batch_size or count, count)
    full, rest = divmod(count, rows)
    return rows, full, rest if settings.last_batch == "smaller" else 0


def _is_arrays(data: Any) -> bool:
    return isinstance(data, tuple) and all(each is None or isinstance(each, dict) or hasattr(each, "shape") for each in data)


def _num_rows(arrays: tuple) -> int:
    shapes = [np.shape(leaf) for leaf in leaves(arrays)]
    if not shapes or not all(shapes):
        raise ValueError("the data hold no array with rows: give arrays whose first axis is the case")
    if len({shape[0] for shape in shapes}) > 1:
        raise ValueError(
            f"the arrays of the data differ in their rows, {', '.join(str(shape[0]) for shape in shapes)}: give one row per case"
        )
    if shapes[0][0] == 0:
        raise ValueError("the data have no rows")
    return shapes[0][0]
