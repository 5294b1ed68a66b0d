"""Gradient steps in JAX. Contract: ``scalemix.language.Engine.train``.

One program takes any number of steps: a loop over epochs, each with its own permutation of the rows, around a loop over minibatches. The
random numbers of a step follow from the seed, its epoch and its number, so that a run may be cut anywhere.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from scalemix.identity import versions
from scalemix.language import TrainRun
from scalemix.numpyro.compiling import compile_clock
from scalemix.training.checkpoints import TrainFolder, train_identity
from scalemix.training.feed import Feed
from scalemix.training.loop import CAPACITY, Callbacks, Steps, Validation, check_objective, loop
from scalemix.training.schedules import kl_weight, noise_names, rates
from scalemix.training.settings import Settings

__all__ = ["train"]


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
    check_objective(objective, seed)
    feed = Feed(data, settings, num_data)
    stepper = _Stepper(objective, feed, settings, seed)

    def identity() -> dict[str, Any]:
        return train_identity("numpyro", objective, stepper.numpy(stepper.params), feed, settings, seed)

    found = TrainFolder.open(folder, resume, identity, versions("numpyro"))
    return loop(stepper, feed, settings, validation=validation, callbacks=callbacks, folder=found)


class _Stepper:
    """``scalemix.training.loop.Stepper``: parameters and optax's state, given away to each call of the program and replaced by what it
    returns."""

    def __init__(self, objective: Any, feed: Feed, settings: Settings, seed: int) -> None:
        from scalemix.numpyro.engine import _arrays

        self.objective, self.feed, self.settings, self.on_device = objective, feed, settings, _arrays
        self.names = tuple(objective.params)
        self.noise = noise_names(settings, objective)
        params = {name: jnp.array(value, copy=True) for name, value in objective.params.items()}  # what is given away is gone
        self.carry = (params, self._optimizer(*rates(settings, 0.0)).init(params))
        self.arrays = None if feed.arrays is None else _arrays(feed.arrays)
        self.key = jax.random.PRNGKey(seed)
        self.program = jax.jit(self._many, donate_argnums=0)
        self.single = jax.jit(self._one, donate_argnums=0)
        self.source: tuple[int, int, Any] | None = None  # epoch, position and the iterator that stands there
        self.seconds_compile, self.notes = 0.0, []

    @property
    def params(self) -> dict[str, Any]:
        return self.carry[0]

    def run(self, epoch: int, position: int, count: int) -> Steps:
        start = time.perf_counter()
        with compile_clock() as clock:
            steps = self._on_arrays(epoch, position, count) if self.arrays is not None else self._on_batches(epoch, position, count)
        self.seconds_compile += min(clock.seconds, time.perf_counter() - start)
        return steps

    def state(self) -> dict[str, np.ndarray]:
        return {f"{i:04d}": np.asarray(leaf) for i, leaf in enumerate(jax.tree.leaves(self.carry))}

    def restore(self, state: dict[str, np.ndarray]) -> None:
        leaves, tree = jax.tree.flatten(self.carry)
        given = [jnp.array(state[f"{i:04d}"], dtype=leaf.dtype) for i, leaf in enumerate(leaves)]
        self.carry = jax.tree.unflatten(tree, given)

    def numpy(self, params: dict[str, Any]) -> dict[str, np.ndarray]:
        return {name: np.array(value) for name, value in params.items()}

    def _on_arrays(self, epoch: int, position: int, count: int) -> Steps:
        self.carry, log, done, bad, finite = self.program(self.carry, self.arrays, self.key, epoch, position, count)
        return self._steps(np.asarray(log)[: int(done)], np.asarray(bad), np.asarray(finite))

    def _on_batches(self, epoch: int, position: int, count: int) -> Steps:
        if self.source is None or self.source[:2] != (epoch, position):
            self.source = (epoch, position, self.feed.batches(epoch, position))
        batches, log = self.source[2], []
        bad = finite = np.zeros(0)
        for batch in batches:
            self.carry, row, bad, finite = self.single(self.carry, self.on_device(batch), self.key, epoch, position + len(log))
            log.append(row)
            if len(log) == count or (len(log) % 16 == 0 and np.asarray(bad)[0]):
                break
        if not log:
            return Steps(np.empty((0, 3)))
        self.source = (epoch, position + len(log), batches)
        return self._steps(np.stack([np.asarray(row) for row in log]), np.asarray(bad), np.asarray(finite))

    def _steps(self, log: np.ndarray, bad: np.ndarray, finite: np.ndarray) -> Steps:
        """Of the first step that went wrong only what came before it counts."""
        if not bad[0] and finite.all():
            return Steps(log)
        broken = np.flatnonzero(~np.isfinite(log[:, 0]))
        good = log[: broken[0]] if len(broken) else log
        names = np.array(self.names)
        values, gradients = names[bad[1 : len(names) + 1]], names[bad[len(names) + 1 :]]
        if len(values):
            return Steps(good, f"the parameter {str(values[0])!r} is not a finite number")
        if len(gradients):
            return Steps(good, f"the loss is {log[-1, 0]}, and the gradient of {str(gradients[0])!r} is not finite")
        if bad[0]:
            return Steps(good, f"the loss is {log[-1, 0]}, with finite parameters and gradients")
        return Steps(good, f"the last step left the parameter {str(names[~finite][0])!r} not finite")

    # --- traced --------------------------------------------------------------------------------------------------------------------

    def _optimizer(self, rate: Any, noise_rate: Any) -> optax.GradientTransformation:
        """Made anew in each trace, with rates that are traced: an optimizer's state does not depend on them."""
        settings = self.settings
        make: Any = (
            {"adam": optax.adam, "sgd": optax.sgd}[settings.optimizer] if isinstance(settings.optimizer, str) else settings.optimizer
        )
        found = make(learning_rate=rate)
        if not hasattr(found, "update") or not hasattr(found, "init"):
            raise TypeError(
                f"Settings(optimizer=) made a {type(found).__name__}: in NumPyro give a function of learning_rate= that makes an optax "
                "transformation"
            )
        if settings.noise_learning_rate is not None:
            labels = {name: "noise" if name in self.noise else "weights" for name in self.names}
            found = optax.multi_transform({"weights": found, "noise": make(learning_rate=noise_rate)}, labels)
        return found if settings.clip_norm is None else optax.chain(optax.clip_by_global_norm(settings.clip_norm), found)

    def _step(self, carry: Any, batch: tuple, key: Any, epochs: Any) -> tuple[Any, Any, Any]:
        """One step: the new carry, its loss, nll and kl, and which numbers were not finite (nothing is looked at while the loss is)."""
        params, state = carry
        settings, weight = self.settings, kl_weight(self.settings, epochs, jnp)

        def loss(params: dict[str, Any], key: Any) -> Any:
            return self.objective.loss(params, batch, key, weight, self.feed.num_data)

        def mean_loss(params: dict[str, Any]) -> Any:
            if settings.num_particles == 1:
                return loss(params, key)
            each = jax.vmap(lambda own: loss(params, own))(jax.random.split(key, settings.num_particles))
            return jax.tree.map(lambda value: jnp.mean(value, axis=0), each)

        (value, parts), gradients = jax.value_and_grad(mean_loss, has_aux=True)(params)
        flags = [params[name] for name in self.names] + [gradients[name] for name in self.names]
        bad = jax.lax.cond(
            jnp.isfinite(value),
            lambda: jnp.zeros(1 + len(flags), bool),
            lambda: jnp.stack([jnp.array(True)] + [~jnp.all(jnp.isfinite(each)) for each in flags]),
        )
        updates, state = self._optimizer(*rates(settings, epochs, jnp)).update(gradients, state, params)
        params = optax.apply_updates(params, updates)
        if (project := getattr(self.objective, "project", None)) is not None:
            params = project(params)
        return (params, state), jnp.stack([value, parts["nll"], parts["kl"]]), bad

    def _one(self, carry: Any, batch: tuple, key: Any, epoch: Any, position: Any) -> tuple[Any, Any, Any, Any]:
        """A step on a batch that was brought."""
        _, key = jax.random.split(jax.random.fold_in(key, epoch))
        epochs = epoch + (position / self.feed.steps if self.feed.steps else 0.0)
        carry, row, bad = self._step(carry, batch, jax.random.fold_in(key, position), epochs)
        return carry, row, bad, self._finite(carry)

    def _many(self, carry: Any, arrays: tuple, key: Any, first_epoch: Any, position: Any, count: Any) -> tuple:
        """``count`` steps on shuffled rows, or fewer if the loss ceases to be finite: the carry, their log, how many, and what was not."""
        feed, size = self.feed, len(self.names)
        steps = feed.full + (feed.rest > 0)
        last = position + count  # counted from the beginning of the first epoch

        def epoch(state: tuple) -> tuple:
            number, carry, log, done, bad = state
            order_key, step_key = jax.random.split(jax.random.fold_in(key, first_epoch + number))
            order = None if feed.whole else jax.random.permutation(order_key, feed.count)

            def step(state: tuple, rows: int = feed.rows) -> tuple:
                s, carry, log, done, bad = state
                batch = arrays
                if order is not None:
                    index = jax.lax.dynamic_slice(order, (s * feed.rows,), (rows,))
                    batch = jax.tree.map(lambda array: jnp.take(array, index, axis=0, mode="clip"), arrays)
                epochs = first_epoch + number + s / steps
                carry, row, bad = self._step(carry, batch, jax.random.fold_in(step_key, s), epochs)
                return s + 1, carry, log.at[done].set(row), done + 1, bad

            start = jnp.where(number == 0, position, 0)
            stop = jnp.minimum(steps, last - number * steps)
            state = (start, carry, log, done, bad)
            state = jax.lax.while_loop(lambda state: (state[0] < jnp.minimum(stop, feed.full)) & ~state[-1][0], step, state)
            if feed.rest:
                state = jax.lax.cond((stop == steps) & ~state[-1][0], lambda state: step(state, feed.rest), lambda state: state, state)
            return number + 1, *state[1:]

        log = jnp.zeros((CAPACITY, 3), jnp.result_type(float))
        state = (0, carry, log, 0, jnp.zeros(1 + 2 * size, bool))
        _, carry, log, done, bad = jax.lax.while_loop(lambda state: (state[0] * steps < last) & ~state[-1][0], epoch, state)
        return carry, log, done, bad, self._finite(carry)

    def _finite(self, carry: Any) -> Any:
        return jnp.stack([jnp.all(jnp.isfinite(carry[0][name])) for name in self.names])
