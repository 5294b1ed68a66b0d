"""Gradient steps in torch. Contract: ``scalemix.language.Engine.train``.

A step is the loss, its gradient and one call of one optimizer for all parameters. Each epoch seeds torch's generator anew, from the seed
and its number, so that a run may be cut between two steps and go on with the same numbers.
"""

from __future__ import annotations

import math
import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyro
import torch

from scalemix.cases import mapped
from scalemix.fitting import check_seed
from scalemix.language import TrainRun
from scalemix.pyro.tensors import tensors
from scalemix.training.feed import Feed
from scalemix.training.loop import CAPACITY, Callbacks, Steps, Validation, run
from scalemix.training.schedules import kl_weight, noise_names, rates
from scalemix.training.settings import Settings

__all__ = ["train"]

# A compiled step saves some tenths of a millisecond to two milliseconds, and compiling takes 5 to 25 seconds.
WORTH_COMPILING = 20_000
COMPILERS = ("c++", "g++", "clang++", "cl")


def train(
    objective: Any,
    data: Any,
    settings: Settings,
    *,
    seed: int,
    num_data: int | None = None,
    validation: Validation | None = None,
    callbacks: Callbacks = (),
    folder: Path | str | None = None,
    resume: bool = False,
) -> TrainRun:
    from scalemix.pyro.engine import seeded

    check_seed(seed)
    with seeded(seed), pyro.validation_enabled(False):
        return run(
            "pyro",
            _Stepper,
            objective,
            data,
            settings,
            seed=seed,
            num_data=num_data,
            validation=validation,
            callbacks=callbacks,
            folder=folder,
            resume=resume,
        )


class _Stepper:
    """``scalemix.training.loop.Stepper``: parameters, changed in place, and a torch optimizer."""

    def __init__(self, objective: Any, feed: Feed, settings: Settings, seed: int) -> None:
        self.objective, self.feed, self.settings, self.seed = objective, feed, settings, seed
        self.leaves = {name: value.detach().clone().requires_grad_() for name, value in objective.params.items()}
        self.device = next(iter(self.leaves.values())).device
        self.on_cpu, self.project = self.device.type == "cpu", getattr(objective, "project", None)
        noise = noise_names(settings, objective)
        self.all_noise = settings.noise_learning_rate is not None and noise == frozenset(self.leaves)
        self.groups = self._groups(noise)
        self.optimizer = self._optimizer()
        self.arrays = None if feed.arrays is None else tensors(feed.arrays)
        self.loss, self.compiled = objective.loss, False
        self.seconds_compile, self.notes = 0.0, []
        if self._compiles():
            own = getattr(objective, "compiled", None)
            options = {"fallback_random": True}
            self.loss = own() if own is not None else torch.compile(objective.loss, fullgraph=True, dynamic=False, options=options)
            self.compiled = True
        self.epoch = self.position = -1  # the epoch that the generator, the order and the batches belong to, and where it stands
        self.order: torch.Tensor | None = None
        self.batches: Any = None

    @property
    def params(self) -> dict[str, torch.Tensor]:
        return {name: value.detach() for name, value in self.leaves.items()}

    def run(self, epoch: int, position: int, count: int) -> Steps:
        log: list[Any] = []
        while len(log) < min(count, CAPACITY):
            if (epoch, position) != (self.epoch, self.position):
                self._begin(epoch, position)
            batch = self._batch(position)
            if batch is None:
                break
            log.append(self._step(batch, epoch, position))
            if self.on_cpu and not math.isfinite(log[-1][0]):  # elsewhere each look would wait for the device
                break
            position += 1
            if position == self.feed.steps:
                epoch, position = epoch + 1, 0
            else:
                self.position = position
        return self._steps(np.array(log if self.on_cpu else [row.tolist() for row in log], dtype=float).reshape(-1, 3))

    def state(self) -> dict[str, np.ndarray]:
        found = {f"params/{name}": value for name, value in self.numpy(self.leaves).items()}
        for index, values in self.optimizer.state_dict()["state"].items():
            found |= {f"optimizer/{index}/{name}": np.array(_cpu(value)) for name, value in values.items() if value is not None}
        generator = torch.cuda.get_rng_state() if self.device.type == "cuda" else torch.get_rng_state()
        return found | {"generator": generator.numpy().copy(), "place": np.array([self.epoch, self.position])}

    def restore(self, state: dict[str, np.ndarray]) -> None:
        with torch.no_grad():
            for name, leaf in self.leaves.items():
                leaf.copy_(torch.as_tensor(state[f"params/{name}"]))
        found: dict[int, dict[str, torch.Tensor]] = {}
        for key, value in state.items():
            if key.startswith("optimizer/"):
                _, index, name = key.split("/", 2)
                found.setdefault(int(index), {})[name] = torch.as_tensor(value)
        self.optimizer.load_state_dict({"state": found, "param_groups": self.optimizer.state_dict()["param_groups"]})
        epoch, position = map(int, state["place"])
        if epoch >= 0 and position > 0:
            self._begin(epoch, position)
            set_state = torch.cuda.set_rng_state if self.device.type == "cuda" else torch.set_rng_state
            set_state(torch.as_tensor(state["generator"]))

    def numpy(self, params: dict[str, Any]) -> dict[str, np.ndarray]:
        return {name: value.detach().cpu().numpy().copy() for name, value in params.items()}

    def _groups(self, noise: frozenset[str]) -> list[list[str]]:
        if self.settings.noise_learning_rate is None:
            return [list(self.leaves)]
        return [group for group in ([name for name in self.leaves if name not in noise], sorted(noise)) if group]

    def _rates(self, epochs: float) -> list[float]:
        both = [float(rate) for rate in rates(self.settings, epochs)]
        return both[-len(self.groups) :] if len(self.groups) == 1 and self.all_noise else both[: len(self.groups)]

    def _optimizer(self) -> torch.optim.Optimizer:
        groups = [
            {"params": [self.leaves[name] for name in group], "lr": rate} for group, rate in zip(self.groups, self._rates(0.0), strict=True)
        ]
        kind = self.settings.optimizer
        if not isinstance(kind, str):
            found = kind(groups, lr=self.settings.learning_rate)
            if not isinstance(found, torch.optim.Optimizer):
                raise TypeError(
                    f"Settings(optimizer=) made a {type(found).__name__}: in Pyro give a class of torch.optim, or a function of the "
                    "parameters and lr= that makes one"
                )
            return found
        return {"adam": torch.optim.Adam, "sgd": torch.optim.SGD}[kind](groups, lr=self.settings.learning_rate, fused=True)

    def _compiles(self) -> bool:
        """Decided by what is known before the first step, so that a seed gives the same numbers each time."""
        wanted = self.settings.compile
        if wanted is False or not getattr(self.objective, "compilable", True):
            return False
        if wanted == "auto" and (self.feed.steps or 0) * self.settings.num_epochs < WORTH_COMPILING:
            return False
        found = self.device.type != "cpu" or any(shutil.which(name) for name in COMPILERS)
        if wanted is True and not found:
            raise ValueError("Settings(compile=True): torch.compile finds no C++ compiler here: install g++, or give compile='auto'")
        return found

    def _begin(self, epoch: int, position: int) -> None:
        seed = epoch_seed(self.seed, epoch)
        if self.on_cpu:
            torch.default_generator.manual_seed(seed)  # torch.manual_seed looks at every kind of device, which takes longer than a step
        else:
            torch.cuda.manual_seed(seed)
        self.epoch, self.position = epoch, position
        if self.arrays is None:
            self.batches = self.feed.batches(epoch, position)
        elif not self.feed.whole:
            self.order = torch.randperm(self.feed.count, device=self.device)

    def _batch(self, position: int) -> tuple | None:
        if self.arrays is None:
            batch = next(self.batches, None)
            return None if batch is None else tensors(batch)
        if self.order is None:
            return self.arrays
        index = self.order[position * self.feed.rows : (position + 1) * self.feed.rows]
        return mapped(lambda array: array.index_select(0, index), self.arrays)

    def _step(self, batch: tuple, epoch: int, position: int) -> Any:
        """One step; its loss, nll and kl, numbers on the CPU and a tensor elsewhere. Parameters stay where the loss is not finite."""
        settings = self.settings
        epochs = epoch + (position / self.feed.steps if self.feed.steps else 0.0)
        weight: Any = float(kl_weight(settings, epochs))
        if self.compiled:
            weight = torch.tensor(weight, device=self.device)  # a number would be compiled in
        total: Any = None
        for _ in range(settings.num_particles):
            loss, parts = self._loss(batch, weight)
            (loss if settings.num_particles == 1 else loss / settings.num_particles).backward()
            row = self._row(loss, parts["nll"], parts["kl"])
            total = row if total is None else total + row
        row = total if settings.num_particles == 1 else total / settings.num_particles
        if self.on_cpu and not math.isfinite(row[0]):
            return row
        if settings.clip_norm is not None:
            torch.nn.utils.clip_grad_norm_(list(self.leaves.values()), settings.clip_norm)
        for group, rate in zip(self.optimizer.param_groups, self._rates(epochs), strict=True):
            group["lr"] = rate
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        if self.project is not None:
            with torch.no_grad():
                for name, value in self.project(self.params).items():
                    self.leaves[name].copy_(value)
        return row

    def _row(self, *values: Any) -> Any:
        if self.on_cpu:
            return np.array([value.item() if isinstance(value, torch.Tensor) else float(value) for value in values])
        return torch.stack([torch.as_tensor(value, device=self.device).detach() for value in values])

    def _loss(self, batch: tuple, weight: Any) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        if not self.compiled or self.seconds_compile:
            return self.loss(self.leaves, batch, None, weight, self.feed.num_data)
        from torch._dynamo.exc import TorchDynamoException  # some seconds, which only those pay who compile

        start, generator = time.perf_counter(), torch.get_rng_state()
        try:
            return self.loss(self.leaves, batch, None, weight, self.feed.num_data)
        except TorchDynamoException as error:
            if self.settings.compile is True:
                raise
            self.loss, self.compiled = self.objective.loss, False
            self.notes.append(f"torch.compile cannot take this objective ({str(error).splitlines()[0]}): its steps are eager")
            torch.set_rng_state(generator)
            return self.loss(self.leaves, batch, None, weight, self.feed.num_data)
        finally:
            self.seconds_compile = time.perf_counter() - start if self.compiled else 0.0

    def _steps(self, log: np.ndarray) -> Steps:
        """Of the first step that went wrong only what came before it counts."""
        broken = np.flatnonzero(~np.isfinite(log[:, 0]))
        values = [name for name, value in self.leaves.items() if not value.isfinite().all()]
        if not len(broken):
            return Steps(log, f"the last step left the parameter {values[0]!r} not finite" if values else None)
        good, loss = log[: broken[0]], log[broken[0], 0]
        if values:
            return Steps(good, f"the parameter {values[0]!r} is not a finite number")
        gradients = [name for name, value in self.leaves.items() if value.grad is not None and not value.grad.isfinite().all()]
        if gradients:
            return Steps(good, f"the loss is {loss}, and the gradient of {gradients[0]!r} is not finite")
        return Steps(good, f"the loss is {loss}, with finite parameters and gradients")


def epoch_seed(seed: int, epoch: int) -> int:
    """A seed of 63 bits for an epoch: the finalizer of SplitMix64 (Steele, Lea and Flood, 2014) of the two numbers."""
    mixed = (seed * 0x9E3779B97F4A7C15 + epoch * 0xBF58476D1CE4E5B9 + 0x94D049BB133111EB) & 0xFFFFFFFFFFFFFFFF
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        mixed = ((mixed ^ (mixed >> shift)) * factor) & 0xFFFFFFFFFFFFFFFF
    return (mixed ^ (mixed >> 31)) >> 1


def _cpu(value: Any) -> Any:
    return value.detach().cpu().numpy() if isinstance(value, torch.Tensor) else value
