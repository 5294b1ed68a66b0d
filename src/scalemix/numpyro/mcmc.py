"""NUTS and HMC in NumPyro, piece by piece. Contract: ``scalemix.language.Engine.mcmc``; the recipes are in ``scalemix.inference``.

One program runs ``count`` iterations of all chains and is compiled once: the warm-up and every piece are calls of it.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpyro.infer import HMC, NUTS, init_to_sample, init_to_uniform, init_to_value

from scalemix.language import Model, Piece
from scalemix.numpyro.compiling import compile_clock

__all__ = ["chain_method", "mcmc"]

INITS = {"uniform": init_to_uniform, "prior": init_to_sample}
TICKS = 50  # updates of the progress bar in a run


def mcmc(
    model: Model,
    data: tuple,
    *,
    kernel: str,
    seed: int,
    settings: Any,
    chain_method: str,
    initial: dict[str, np.ndarray],
    segment: int,
    last: Piece | None,
    advance: Callable[[int], None],
) -> Iterator[Piece]:
    from scalemix.numpyro.data import arrays as as_arrays

    bound = partial(model, sys.modules["scalemix.numpyro"])
    args, starts = as_arrays(data), as_arrays(initial)
    key = jax.random.PRNGKey(seed)
    keys = jax.random.split(key, settings.num_chains) if settings.num_chains > 1 else key[None]  # as numpyro.infer.MCMC has them
    begin = partial(_begin, bound, kernel, settings)
    shapes = jax.eval_shape(lambda *own: begin(args, *own)[1:], keys[0], jax.tree.map(lambda value: value[0], starts))
    state, buffers = (_zeros(each, lead) for each, lead in zip(shapes, [(len(keys),), (len(keys), segment)], strict=True))
    if last is not None:
        state = _restored(state, last.state)
    program = _over_chains(chain_method, partial(_iterate, begin), len(keys))
    tick = max((settings.num_warmup + settings.num_draws) // TICKS, 1) if settings.progress else settings.num_warmup + settings.num_draws
    resumed = last is not None

    def run(state: Any, buffers: Any, first: int, count: int) -> tuple[Any, Any]:
        nonlocal resumed
        for done in range(0, count, tick):
            now = min(tick, count - done)
            state, buffers = jax.block_until_ready(program((args, resumed, first + done, now), (keys, starts, state, buffers)))
            resumed = True
            advance(now * len(keys))
        return state, buffers

    start = 0 if last is None else last.draws[1]
    if last is None:
        seconds, (state, _) = _timed(run, state, buffers, segment, settings.num_warmup)  # beyond the buffers: nothing is kept
        yield Piece((0, len(keys)), (0, 0), {}, {}, _flat(state), *seconds)
    while start < settings.num_draws:
        stop = min(start + segment, settings.num_draws)
        seconds, (state, buffers) = _timed(run, state, buffers, 0, stop - start)
        values, stats = jax.tree.map(lambda value, size=stop - start: np.asarray(value)[:, :size].copy(), buffers)
        if kernel == "nuts":
            stats["tree_depth"] = np.floor(np.log2(np.maximum(stats["n_steps"], 1))).astype(int) + 1
        yield Piece((0, len(keys)), (start, stop), values, stats, _flat(state), *seconds)
        start = stop


def chain_method(method: str, num_chains: int) -> tuple[str, str]:
    """On a CPU the fastest is parallel, then sequential; vectorized chains all wait for the deepest tree, which pays on a GPU alone."""
    devices = _devices(num_chains)
    if method == "parallel" and num_chains > 1 and devices == 1:
        raise ValueError(
            f"chain_method='parallel' shares {num_chains} chains out to devices, and XLA has {jax.local_device_count()}: call "
            f"numpyro.set_host_device_count({num_chains}) before the first computation, or take 'auto'"
        )
    if method != "auto":
        return method, "as asked for"
    if jax.default_backend() != "cpu":
        return "vectorized", "one program moves all chains, which is what a GPU wants"
    if devices > 1:
        return "parallel", f"XLA has {jax.local_device_count()} devices, {devices} run {num_chains // devices} chains each"
    return "sequential", "one chain" if num_chains == 1 else "XLA has no devices to share the chains out to"


def _devices(num_chains: int) -> int:
    """The most devices among which the chains divide evenly."""
    return next(count for count in range(min(num_chains, jax.local_device_count()), 0, -1) if num_chains % count == 0)


def _begin(model: Model, kernel: str, settings: Any, args: tuple, key: Any, starts: dict[str, Any]) -> tuple[Any, Any, Any]:
    """The sampler of one chain, its first state, and what is collected from a state."""
    options = {
        "target_accept_prob": settings.target_accept_prob,
        "dense_mass": settings.dense_mass,
        "init_strategy": init_to_value(values=starts) if starts else INITS[settings.init],
    }
    if kernel == "nuts":
        sampler: Any = NUTS(model, max_tree_depth=settings.max_tree_depth, **options)
    else:
        length = None if settings.num_steps else settings.trajectory_length
        sampler = HMC(model, num_steps=settings.num_steps, trajectory_length=length, **options)
    state = sampler.init(key, settings.num_warmup, None, model_args=args, model_kwargs={})
    return (sampler, args), state, _collect((sampler, args), state)


def _collect(sampling: tuple[Any, tuple], state: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """Constrained values, and the statistics under ArviZ's names."""
    sampler, args = sampling
    return sampler.get_constrain_fn(args, {})(state.z), {
        "energy": state.energy,
        "diverging": state.diverging,
        "n_steps": state.num_steps,
        "acceptance_rate": state.accept_prob,
        "step_size": state.adapt_state.step_size,
    }


def _iterate(begin: Callable, shared: tuple, own: tuple) -> tuple[Any, Any]:
    """``count`` iterations of one chain, from its beginning or from ``state``; iteration i goes into the buffers at ``first`` + i."""
    args, resumed, first, count = shared
    key, starts, state, buffers = own
    sampling, fresh, _ = begin(args, key, starts)  # in each call: a sampler of NumPyro keeps arrays of the program that began it
    state = jax.tree.map(lambda given, new: jnp.where(resumed, given, new), state, fresh)

    def step(i: Any, carry: tuple) -> tuple:
        state, buffers = carry
        state = sampling[0].sample(state, args, {})
        return state, jax.tree.map(lambda buffer, value: buffer.at[first + i].set(value, mode="drop"), buffers, _collect(sampling, state))

    return jax.lax.fori_loop(0, count, step, (state, buffers))


def _over_chains(method: str, one: Callable, num_chains: int) -> Callable:
    """The program of all chains. (NumPyro's own "sequential" compiles the same loop anew for each chain.)"""
    if method == "vectorized":
        return jax.jit(lambda shared, own: jax.vmap(partial(one, shared))(own))
    if method == "sequential" or num_chains == 1:
        return jax.jit(lambda shared, own: jax.lax.map(partial(one, shared), own))
    devices = _devices(num_chains)
    mapped = jax.pmap(lambda shared, own: jax.lax.map(partial(one, shared), own), in_axes=(None, 0))

    def program(shared: tuple, own: tuple) -> Any:
        split = jax.tree.map(lambda value: value.reshape(devices, -1, *value.shape[1:]), own)
        return jax.tree.map(lambda value: value.reshape(num_chains, *value.shape[2:]), mapped(shared, split))

    return program


def _timed(run: Callable, *arguments: Any) -> tuple[tuple[float, float], Any]:
    """Seconds of compiling and of running, and the result."""
    start = time.perf_counter()
    with compile_clock() as clock:
        result = run(*arguments)
    return (clock.seconds, max(time.perf_counter() - start - clock.seconds, 0.0)), result


def _zeros(shapes: Any, lead: tuple[int, ...]) -> Any:
    return jax.tree.map(lambda shape: jnp.asarray(np.zeros((*lead, *shape.shape), shape.dtype)), shapes)


def _flat(state: Any) -> dict[str, np.ndarray]:
    return {f"{index:03d}": np.asarray(leaf) for index, leaf in enumerate(jax.tree.leaves(state))}


def _restored(state: Any, saved: dict[str, np.ndarray]) -> Any:
    """The saved arrays in the place of those of a state that has their shapes."""
    leaves, tree = jax.tree.flatten(state)
    arrays = [saved[name] for name in sorted(saved)]
    if [(leaf.shape, leaf.dtype) for leaf in leaves] != [(array.shape, array.dtype) for array in arrays]:
        raise ValueError("the saved state belongs to another model or another version of NumPyro: start anew in another folder")
    return jax.tree.unflatten(tree, [jnp.asarray(array) for array in arrays])
