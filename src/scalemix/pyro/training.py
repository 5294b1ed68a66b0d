"""Gradient steps in torch. Contract: ``scalemix.language.Engine.train``.

A step is the loss, its gradient and one call of one optimizer for all parameters. Each epoch seeds torch's generator anew, from the seed and
its number, so that a run may be cut between two steps and go on with the same numbers.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyro
import torch

from scalemix.identity import versions
from scalemix.language import TrainRun
from scalemix.pyro.tensors import tensors
from scalemix.training.checkpoints import TrainFolder, train_identity
from scalemix.training.feed import Feed, mapped
from scalemix.training.loop import CAPACITY, Callbacks, Steps, Validation, loop
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

    feed = Feed(data, settings, num_data)
    with seeded(seed), pyro.validation_enabled(False):
        stepper = _Stepper(objective, feed, settings, seed)

        def identity() -> dict[str, Any]:
            return train_identity("pyro", objective, stepper.numpy(stepper.params), feed, settings, seed)

        found = TrainFolder.open(folder, resume, identity, versions("pyro"))
        return loop(stepper, feed, settings, validation=validation, callbacks=callbacks, folder=found)


class _Stepper:
    """``scalemix.training.loop.Stepper``: parameters, changed in place, and a torch optimizer."""

    def __init__(self, objective: Any, feed: Feed, settings: Settings, seed: int) -> None:
        self.objective, self.feed, self.settings, self.seed = objective, feed, settings, seed
        self.leaves = {name: value.detach().clone().requires_grad_() for name, value in objective.params.items()}
        self.device = next(iter(self.leaves.values())).device
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
        log = torch.empty(min(count, CAPACITY), 3, device=self.device)
        done = 0
        looking = self.device.type == "cpu"  # elsewhere each look would wait for the device
        while done < len(log):
            if (epoch, position) != (self.epoch, self.position):
                self._begin(epoch, position)
            batch = self._batch(position)
            if batch is None:
                break
            log[done] = self._step(batch, epoch, position)
            done, position = done + 1, position + 1
            if looking and not log[done - 1, 0].isfinite():
                break
            if position == self.feed.steps:
                epoch, position = epoch + 1, 0
            else:
                self.position = position
        return self._steps(log[:done])

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
            return kind(groups, lr=self.settings.learning_rate)
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
        torch.manual_seed(int(np.random.SeedSequence([self.seed, epoch]).generate_state(1, np.uint64)[0] >> 1))
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

    def _step(self, batch: tuple, epoch: int, position: int) -> torch.Tensor:
        settings = self.settings
        epochs = epoch + (position / self.feed.steps if self.feed.steps else 0.0)
        weight: Any = float(kl_weight(settings, epochs))
        if self.compiled:
            weight = torch.tensor(weight, device=self.device)  # a number would be compiled in
        row = None
        for _ in range(settings.num_particles):
            loss, parts = self._loss(batch, weight)
            (loss if settings.num_particles == 1 else loss / settings.num_particles).backward()
            found = torch.stack([loss.detach(), *(torch.as_tensor(parts[name], device=self.device).detach() for name in ("nll", "kl"))])
            row = found if row is None else row + found
        if settings.clip_norm is not None:
            torch.nn.utils.clip_grad_norm_(list(self.leaves.values()), settings.clip_norm)
        for group, rate in zip(self.optimizer.param_groups, self._rates(epochs), strict=True):
            group["lr"] = rate
        if row[0].isfinite():
            self.optimizer.step()
            self.optimizer.zero_grad(set_to_none=True)
            if (project := getattr(self.objective, "project", None)) is not None:
                with torch.no_grad():
                    for name, value in project(self.params).items():
                        self.leaves[name].copy_(value)
        return row / settings.num_particles

    def _loss(self, batch: tuple, weight: Any) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        return self.loss(self.leaves, batch, None, weight, self.feed.num_data)

    def _steps(self, log: torch.Tensor) -> Steps:
        found = log.cpu().numpy()
        broken = np.flatnonzero(~np.isfinite(found[:, 0]))
        values = [name for name, value in self.leaves.items() if not value.isfinite().all()]
        if not len(broken) and not values:
            return Steps(found)
        good = found[: broken[0]] if len(broken) else found
        if values and not len(broken):
            return Steps(good, f"the last step left the parameter {values[0]!r} not finite")
        if values:
            return Steps(good, f"the parameter {values[0]!r} is not a finite number")
        gradients = [name for name, value in self.leaves.items() if value.grad is not None and not value.grad.isfinite().all()]
        cause = f"and the gradient of {gradients[0]!r} is not finite" if gradients else "with finite parameters and gradients"
        return Steps(good, f"the loss is {found[broken[0], 0]}, {cause}")


def _cpu(value: Any) -> Any:
    return value.detach().cpu().numpy() if isinstance(value, torch.Tensor) else value
