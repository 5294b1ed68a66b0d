"""Gradient steps in JAX. Contract: ``scalemix.language.Engine.train``.

One program takes any number of steps: a loop over epochs, each with its own permutation of the rows, around a loop over minibatches. The
random numbers of a step follow from the seed, its epoch and its number, so that a run may be cut anywhere.
"""

from __future__ import annotations

import time
from itertools import islice
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from scalemix.fitting import check_seed
from scalemix.language import TrainRun
from scalemix.numpyro.compiling import compile_clock
from scalemix.training.feed import Feed
from scalemix.training.loop import CAPACITY, Callbacks, Steps, Validation, run
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
    check_seed(seed)
    return run(
        "numpyro",
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
    """``scalemix.training.loop.Stepper``: parameters and optax's state, replaced by what each call of the program returns.

    They are not given away to the program (donated): a call whose loss ceases to be finite is taken again up to the step before. To choose
    between old and new numbers inside of each step took 9 % of it (LeNet-300-100, batch 128).
    """

    def __init__(self, objective: Any, feed: Feed, settings: Settings, seed: int) -> None:
        from scalemix.numpyro.data import arrays

        self.objective, self.feed, self.settings, self.on_device = objective, feed, settings, arrays
        self.names = tuple(objective.params)
        self.noise = noise_names(settings, objective)
        params = {name: jnp.asarray(value) for name, value in objective.params.items()}
        self.carry = (params, jax.jit(self._optimizer(*rates(settings, 0.0)).init)(params))
        self.arrays = None if feed.arrays is None else arrays(feed.arrays)
        self.keys = tuple(jax.random.split(jax.random.PRNGKey(seed)))  # of the orders, and of the steps
        self.program = jax.jit(self._many)
        self.single = jax.jit(self._one)
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
        carry, log, done, well, finite = self.program(self.carry, self.arrays, self.keys, epoch, position, count)
        rows = np.asarray(log)[: int(done)]
        if bool(well):
            self.carry = carry
            return Steps(rows, self._unfinished(finite))
        if len(rows) > 1:
            self.carry = self.program(self.carry, self.arrays, self.keys, epoch, position, len(rows) - 1)[0]
        further, s = divmod(position + len(rows) - 1, self.feed.full + (self.feed.rest > 0))
        batch = self._rows(
            self._order(self.keys, epoch + further), self.arrays, s, self.feed.rows if s < self.feed.full else self.feed.rest
        )
        return Steps(rows[:-1], self._cause(rows[-1, 0], batch, epoch + further, s))

    def _on_batches(self, epoch: int, position: int, count: int) -> Steps:
        if self.source is None or self.source[:2] != (epoch, position):
            self.source = (epoch, position, self.feed.batches(epoch, position))
        batches, log, finite = self.source[2], np.empty((0, 3)), np.ones(1, bool)
        for batch in islice(batches, count if self.feed.steps is None else min(count, self.feed.steps - position)):
            arrays, s = self.on_device(batch), position + len(log)
            carry, row, well, finite = self.single(self.carry, arrays, self.keys, epoch, s)
            if not bool(well):
                return Steps(log, self._cause(float(row[0]), arrays, epoch, s))
            self.carry = carry
            log = np.concatenate([log, np.asarray(row)[None]])
        self.source = (epoch, position + len(log), batches)
        return Steps(log, self._unfinished(finite))

    def _unfinished(self, finite: Any) -> str | None:
        """What a last step that had a loss has left."""
        broken = np.flatnonzero(~np.asarray(finite))
        return f"the last step left the parameter {self.names[broken[0]]!r} not finite" if len(broken) else None

    def _cause(self, loss: float, batch: tuple, epoch: int, s: int) -> str:
        """Why the loss of a step is not finite: the parameters are still those that it began with."""
        broken = [name for name, value in self.numpy(self.params).items() if not np.isfinite(value).all()]
        if broken:
            return f"the parameter {broken[0]!r} is not a finite number"
        gradients = jax.jit(self._gradients)(self.params, batch, self._key(self.keys, epoch, s), self._epochs(epoch, s))[1]
        broken = [name for name in self.names if not np.isfinite(np.asarray(gradients[name])).all()]
        return f"the loss is {loss}, " + (
            f"and the gradient of {broken[0]!r} is not finite" if broken else "with finite parameters and gradients"
        )

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

    def _order(self, keys: Any, epoch: Any) -> Any:
        """The rows of an epoch in their order, ``None`` where each step takes them all."""
        return None if self.feed.whole else jax.random.permutation(jax.random.fold_in(keys[0], epoch), self.feed.count)

    def _key(self, keys: Any, epoch: Any, s: Any) -> Any:
        """Of a step: one derivation where the step has a number in the run, for it takes as long as a small net's matrix products."""
        if self.feed.arrays is not None:
            return jax.random.fold_in(keys[1], epoch * self.feed.steps + s)
        return jax.random.fold_in(jax.random.fold_in(keys[1], epoch), s)

    def _epochs(self, epoch: Any, s: Any) -> Any:
        """Epochs that are done, with a fraction where it is known how long one is."""
        return epoch + s / self.feed.steps if self.feed.steps else epoch * 1.0

    def _rows(self, order: Any, arrays: Any, s: Any, rows: int) -> Any:
        if order is None:
            return arrays
        index = jax.lax.dynamic_slice(order, (s * self.feed.rows,), (rows,))
        return jax.tree.map(lambda array: jnp.take(array, index, axis=0, mode="clip"), arrays)

    def _gradients(self, params: dict[str, Any], batch: tuple, key: Any, epochs: Any) -> tuple[Any, dict[str, Any]]:
        """Loss and parts, and the gradient, of the mean over particles."""
        weight, particles = kl_weight(self.settings, epochs, jnp), self.settings.num_particles

        def loss(params: dict[str, Any], key: Any) -> Any:
            return self.objective.loss(params, batch, key, weight, self.feed.num_data)

        def mean_loss(params: dict[str, Any]) -> Any:
            if particles == 1:
                return loss(params, key)
            each = jax.vmap(lambda own: loss(params, own))(jax.random.split(key, particles))
            return jax.tree.map(lambda value: jnp.mean(value, axis=0), each)

        return jax.value_and_grad(mean_loss, has_aux=True)(params)

    def _step(self, carry: Any, batch: tuple, key: Any, epochs: Any) -> tuple[Any, Any, Any]:
        """One step: the new carry, of which nothing is to be used unless the loss is finite; its loss, nll and kl; and whether it is."""
        params, state = carry
        (value, parts), gradients = self._gradients(params, batch, key, epochs)
        updates, state = self._optimizer(*rates(self.settings, epochs, jnp)).update(gradients, state, params)
        params = optax.apply_updates(params, updates)
        if (project := getattr(self.objective, "project", None)) is not None:
            params = project(params)
        return (params, state), jnp.stack([value, parts["nll"], parts["kl"]]), jnp.isfinite(value)

    def _one(self, carry: Any, batch: tuple, keys: Any, epoch: Any, s: Any) -> tuple[Any, Any, Any, Any]:
        """A step on a batch that was brought."""
        carry, row, well = self._step(carry, batch, self._key(keys, epoch, s), self._epochs(epoch, s))
        return carry, row, well, self._finite(carry)

    def _many(self, carry: Any, arrays: tuple, keys: Any, first_epoch: Any, position: Any, count: Any) -> tuple:
        """``count`` steps on shuffled rows, or fewer if the loss ceases to be finite: the carry, their log, how many there were, whether
        all is well, and which parameters are finite at the end."""
        feed = self.feed
        steps = feed.full + (feed.rest > 0)
        last = position + count  # counted from the beginning of the first epoch

        def epoch(state: tuple) -> tuple:
            number, *state = state
            order = self._order(keys, first_epoch + number)

            def step(state: tuple, rows: int = feed.rows) -> tuple:
                s, carry, log, done, _ = state
                batch = self._rows(order, arrays, s, rows)
                own = self._key(keys, first_epoch + number, s)
                carry, row, well = self._step(carry, batch, own, self._epochs(first_epoch + number, s))
                return s + 1, carry, log.at[done].set(row), done + 1, well

            if steps == 1:
                return number + 1, *step((0, *state))[1:]
            start = jnp.where(number == 0, position, 0)
            stop = jnp.minimum(steps, last - number * steps)
            state = (start, *state)
            state = jax.lax.while_loop(lambda state: (state[0] < jnp.minimum(stop, feed.full)) & state[-1], step, state)
            if feed.rest:
                state = jax.lax.cond((stop == steps) & state[-1], lambda state: step(state, feed.rest), lambda state: state, state)
            return number + 1, *state[1:]

        log = jnp.zeros((CAPACITY, 3), jnp.result_type(float))
        state = (0, carry, log, 0, jnp.array(True))
        _, carry, log, done, well = jax.lax.while_loop(lambda state: (state[0] * steps < last) & state[-1], epoch, state)
        return carry, log, done, well, self._finite(carry)

    def _finite(self, carry: Any) -> Any:
        return jnp.stack([jnp.all(jnp.isfinite(carry[0][name])) for name in self.names])
