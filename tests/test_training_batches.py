"""Batches in the training engine: how many there are is what they say, or it is refused."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
import pytest
from trained import make_data, regression

from scalemix.training import Settings

X, Y = make_data()


@pytest.fixture(params=["numpyro", "pyro"], scope="module")
def language(request: pytest.FixtureRequest) -> str:
    return request.param


def train(language: str, batches: Any, *, num_epochs: int) -> Any:
    engine, settings = (
        importlib.import_module(f"scalemix.{language}").engine,
        Settings(num_epochs=num_epochs, dtype="float64", progress=False),
    )
    with engine.precision("float64", "cpu"):
        return engine.train(regression(language), batches, settings, seed=0, num_data=60)


class Batches:
    """So many batches of 20 rows in each epoch, and a length."""

    def __init__(self, given: list[int], length: int) -> None:
        self.given, self.length = list(given), length

    def __len__(self) -> int:
        return self.length

    def __iter__(self) -> Any:
        count = self.given.pop(0) if self.given else 0
        return ((X[:20], Y[:20]) for _ in range(count))


@pytest.mark.parametrize(("given", "said"), [([2, 2], "len 3 and gave only 2 in epoch 0"), ([3], "len 3 and gave only 0 in epoch 1")])
def test_batches_that_are_fewer_than_their_length_are_refused(language: str, given: list[int], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        train(language, Batches(given, 3), num_epochs=2)


def test_an_epoch_has_no_more_batches_than_their_length(language: str) -> None:
    """What an epoch brings beyond them is not looked at: here it is not finite."""

    class Longer(Batches):
        def __iter__(self) -> Any:
            return ((X[:20] * (np.nan if index >= 3 else 1.0), Y[:20]) for index in range(self.given.pop(0)))

    batches = Longer([5, 5], 3)
    run = train(language, batches, num_epochs=2)
    assert len(run.history["loss"]) == 2 and not batches.given


def test_a_loader_without_a_length_of_its_own_brings_batches(language: str) -> None:
    """A ``DataLoader`` of an ``IterableDataset`` has ``__len__``, which raises TypeError."""

    class Endless(Batches):
        def __len__(self) -> int:
            raise TypeError("object of type 'Rows' has no len()")

    run = train(language, Endless([3, 2], 0), num_epochs=2)
    assert len(run.history["loss"]) == 2
