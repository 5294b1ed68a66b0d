"""The loop that is the same in both languages: it asks a stepper for steps, and looks at what they did between them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from tqdm.auto import tqdm

from scalemix.identity import versions
from scalemix.runs import TrainRun
from scalemix.training.checkpoints import TrainFolder, train_identity
from scalemix.training.feed import Feed
from scalemix.training.schedules import kl_weight, rates
from scalemix.training.settings import Settings
from scalemix.training.stopping import Stopping

__all__ = ["CAPACITY", "Callbacks", "Stepper", "Steps", "Validation", "run"]

CAPACITY = 4096  # most steps in one call of a stepper
SECONDS = 1.0  # what a call should take: how often the progress bar moves and the clock of the checkpoints is looked at
FIRST = 16  # steps of the first call, which shows how long one takes

Callbacks = Iterable[Callable[[int, dict[str, Any]], object]]
Validation = Callable[[dict[str, Any]], float]


@dataclass
class Steps:
    """What a stepper did.

    Attributes:
        losses: loss, nll and kl of each step, (n, 3).
        trouble: which number ceased to be finite at step number n, and ``None`` while all is well.
    """

    losses: np.ndarray
    trouble: str | None = None


class Stepper(Protocol):
    """Parameters and an optimizer of a language."""

    seconds_compile: float
    notes: list[str]

    @property
    def params(self) -> dict[str, Any]:
        """The parameters, arrays of the language."""
        ...

    def run(self, epoch: int, position: int, count: int) -> Steps:
        """At most ``count`` steps from number ``position`` of an epoch on; those on arrays may go on into the next epochs, those on
        batches end with the epoch."""
        ...

    def state(self) -> dict[str, np.ndarray]:
        """All that decides the next steps, beside where they are."""
        ...

    def restore(self, state: dict[str, np.ndarray]) -> None:
        """Go on from there."""
        ...

    def numpy(self, params: dict[str, Any]) -> dict[str, np.ndarray]:
        """Copies as NumPy arrays."""
        ...


def run(
    language: str,
    make_stepper: Callable[[Any, Feed, Settings, int], Stepper],
    objective: Any,
    data: Any,
    settings: Settings,
    *,
    seed: int,
    num_data: int | None,
    validation: Validation | None,
    callbacks: Callbacks,
    folder: Path | str | None,
    resume: bool,
) -> TrainRun:
    """``scalemix.language.Engine.train`` of a language, given its stepper and a seed that has been checked."""
    _check_objective(objective)
    feed = Feed(data, settings, num_data)
    stepper = make_stepper(objective, feed, settings, seed)

    def identity() -> dict[str, Any]:
        return train_identity(language, objective, stepper.numpy(stepper.params), feed, settings, seed)

    found = TrainFolder.open(folder, resume, identity, versions(language))
    return _loop(stepper, feed, settings, validation=validation, callbacks=callbacks, folder=found)


def _loop(
    stepper: Stepper,
    feed: Feed,
    settings: Settings,
    *,
    validation: Validation | None,
    callbacks: Callbacks,
    folder: TrainFolder | None,
) -> TrainRun:
    """Train to the end, or to where it stops by itself.

    Raises: FloatingPointError where a number ceases to be finite; it names the step, the parameter and the last good checkpoint.
    """
    callbacks = tuple(callbacks)
    state = Progress(Stopping(settings, validated=validation is not None))
    if folder is not None and folder.has_checkpoint:
        stepper.restore(state.restore(*folder.last()))
    every = 1 if callbacks else settings.check_every
    looks = bool(callbacks) or state.stopping.active or validation is not None
    pace = 1 / FIRST
    began, carried = time.perf_counter(), state.seconds
    written = began
    total = None if feed.steps is None else feed.steps * settings.num_epochs
    at = 0 if feed.steps is None else feed.steps * state.epoch + state.position
    with tqdm(total=total, initial=at, desc="training", unit="step", disable=not settings.progress, leave=False) as bar:
        while state.stopped is None and state.epoch < settings.num_epochs:
            count = _count(feed, settings, state, every if looks else None, pace)
            before = time.perf_counter()
            steps = stepper.run(state.epoch, state.position, count)
            pace = max(time.perf_counter() - before, 1e-6) / max(len(steps.losses), 1)
            if steps.trouble is not None:
                _fail(steps, state, feed, folder)
            if feed.arrays is None and feed.steps is not None and len(steps.losses) < count:
                _check_length(state, len(steps.losses), feed.steps)
            state.add(steps.losses, feed, settings, ended=feed.steps is None and len(steps.losses) < count)
            state.seconds = carried + time.perf_counter() - began
            if looks and state.position == 0 and state.epoch > state.looked:
                _look(stepper, state, settings, validation, callbacks)
            if settings.progress and state.last is not None:
                bar.set_postfix_str(f"epoch {state.epoch}/{settings.num_epochs}, loss {state.last:.6g}", refresh=False)
            bar.update(len(steps.losses))
            bar.refresh()  # a call takes about a second; a short training would end before the bar moved by itself
            if folder is not None and time.perf_counter() - written >= 60 * settings.checkpoint_minutes:
                folder.write(stepper.state(), *state.saved())
                written = time.perf_counter()
    stopped = state.stopped or f"all {settings.num_epochs} epochs are done"
    if folder is not None:
        folder.write(stepper.state(), *state.saved())
    params = state.stopping.best_params or stepper.numpy(stepper.params)
    seconds = max(state.seconds - stepper.seconds_compile, 0.0)
    notes = [*stepper.notes, *(folder.notes if folder is not None else [])]
    return TrainRun(params, state.columns(), stopped, stepper.seconds_compile, seconds, notes)


def _check_objective(objective: Any) -> None:
    """Raise TypeError unless the objective has parameters and a loss."""
    params = getattr(objective, "params", None)
    if not isinstance(params, dict) or not params or not callable(getattr(objective, "loss", None)):
        raise TypeError(
            f"the objective is a {type(objective).__name__}: give one with params, a dict of arrays that is not empty, and a function "
            "loss(params, batch, key, kl_weight, num_data)"
        )


class Progress:
    """How far a run is."""

    def __init__(self, stopping: Stopping) -> None:
        self.epoch = self.position = self.looked = 0
        self.partial: list[np.ndarray] = []
        self.history: dict[str, list[float]] = {name: [] for name in HISTORY}
        self.stopping, self.stopped, self.seconds = stopping, None, 0.0

    @property
    def last(self) -> float | None:
        """The last loss there is."""
        if self.partial:
            return float(self.partial[-1][-1, 0])
        return self.history["loss"][-1] if self.history["loss"] else None

    def add(self, losses: np.ndarray, feed: Feed, settings: Settings, *, ended: bool) -> None:
        """Count the steps, and close each epoch that they complete."""
        while len(losses):
            room = len(losses) if feed.steps is None else feed.steps - self.position
            self.partial.append(losses[:room])
            self.position += len(losses[:room])
            losses = losses[room:]
            if self.position == feed.steps:
                self._close(feed, settings)
        if ended:
            if self.position == 0:
                raise ValueError(f"the data gave no batch in epoch {self.epoch}: give a list, a loader, or a function of the epoch")
            self._close(feed, settings)

    def _close(self, feed: Feed, settings: Settings) -> None:
        rows = np.concatenate(self.partial).astype(float)
        weights = np.ones(len(rows))
        if feed.arrays is not None and feed.rest:
            weights[-1] = feed.rest / feed.rows
        loss, nll, kl = np.average(rows, axis=0, weights=weights)
        done = self.epoch + 1 - 1 / len(rows)
        record = {"loss": loss, "nll": nll, "kl": kl, "kl_weight": kl_weight(settings, done), "learning_rate": rates(settings, done)[0]}
        for name, value in (record | {"validation": np.nan}).items():
            self.history[name].append(float(value))
        self.partial, self.position, self.epoch = [], 0, self.epoch + 1

    def columns(self) -> dict[str, np.ndarray]:
        """The history as arrays."""
        return {name: np.array(values) for name, values in self.history.items()}

    def saved(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Arrays and numbers of a checkpoint."""
        arrays = {f"history/{name}": value for name, value in self.columns().items()}
        arrays["partial/losses"] = np.concatenate([np.empty((0, 3)), *self.partial])
        arrays |= {f"best/{name}": value for name, value in (self.stopping.best_params or {}).items()}
        numbers = {"epoch": self.epoch, "position": self.position, "looked": self.looked, "seconds": self.seconds, "stopped": self.stopped}
        return arrays, numbers | self.stopping.numbers()

    def restore(self, groups: dict[str, dict[str, np.ndarray]], numbers: dict[str, Any]) -> dict[str, np.ndarray]:
        """Go on from a checkpoint; returns the stepper's part of it."""
        self.epoch, self.position, self.looked = numbers["epoch"], numbers["position"], numbers["looked"]
        self.seconds, self.stopped = numbers["seconds"], numbers["stopped"]
        self.history = {name: list(groups["history"][name]) for name in HISTORY}
        self.partial = [groups["partial"]["losses"]] if len(groups["partial"]["losses"]) else []
        self.stopping.restore(numbers, groups.get("best"))
        return groups["state"]


HISTORY = ("loss", "nll", "kl", "kl_weight", "learning_rate", "validation")


def _count(feed: Feed, settings: Settings, state: Progress, every: int | None, pace: float) -> int:
    """Steps of the next call: about a second of them, whole epochs if these are short, and none beyond the next look."""
    wanted = max(int(SECONDS / pace), 1)
    if feed.steps is None:
        return min(wanted, CAPACITY)
    end = settings.num_epochs if every is None else min((state.epoch // every + 1) * every, settings.num_epochs)
    left = (end - state.epoch) * feed.steps - state.position
    to_close = feed.steps - state.position
    if to_close <= 2 * wanted and wanted > FIRST:
        wanted = to_close + max(wanted - to_close, 0) // feed.steps * feed.steps
    return min(wanted, left, CAPACITY)


def _check_length(state: Progress, steps: int, length: int) -> None:
    """Raise ValueError if the batches ended within an epoch, after that many ``steps`` of the last call."""
    more, gave = divmod(state.position + steps, length)
    if gave or not steps:
        raise ValueError(
            f"the batches have len {length} and gave only {gave} in epoch {state.epoch + more}: give them the length that they have, or a "
            "function of the epoch"
        )


def _look(stepper: Stepper, state: Progress, settings: Settings, validation: Validation | None, callbacks: tuple) -> None:
    """At the end of an epoch: the validation score, early stopping, callbacks."""
    state.looked = state.epoch
    if state.epoch % settings.check_every == 0:
        score = None if validation is None else float(validation(stepper.params))
        if score is not None:
            state.history["validation"][-1] = score
        state.stopped = state.stopping.look(state.epoch, score, state.history["loss"], lambda: stepper.numpy(stepper.params))
    record = {name: values[-1] for name, values in state.history.items()} | {"params": stepper.params}
    for callback in callbacks:
        callback(state.epoch - 1, record)


def _fail(steps: Steps, state: Progress, feed: Feed, folder: TrainFolder | None) -> None:
    done = state.position + len(steps.losses)
    more, step = (0, done) if feed.steps is None else divmod(done, feed.steps)
    kept = "no checkpoint was written" if folder is None or not folder.has_checkpoint else f"the last good checkpoint is {folder.where}"
    raise FloatingPointError(
        f"training ceased to be finite at step {step} of epoch {state.epoch + more}: {steps.trouble}; {kept}: lower "
        "Settings(learning_rate=), set clip_norm=, or standardize the data"
    )
