"""Running a model in NumPyro: NumPy arrays in, NumPy arrays out. Contracts: ``scalemix.language.Engine``."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpyro import handlers
from numpyro.infer.util import compute_log_probs

from scalemix.language import Evaluation, Model, Predictive, Structure
from scalemix.lower import recorded_sites
from scalemix.numpyro.data import arrays
from scalemix.numpyro.gates_summed import gates_summed, layer_summed
from scalemix.numpyro.gibbs import collapsed_gibbs, log_joint, nuts_within_gibbs, quadratic
from scalemix.numpyro.mcmc import chain_method, mcmc
from scalemix.numpyro.objective import draw_guide, objective
from scalemix.numpyro.svi import svi
from scalemix.numpyro.training import train
from scalemix.runs import interval

__all__ = [
    "arrays",
    "chain_method",
    "collapsed_gibbs",
    "draw_guide",
    "evaluate",
    "gates_summed",
    "has_gpu",
    "layer_summed",
    "log_joint",
    "mcmc",
    "mean",
    "nuts_within_gibbs",
    "objective",
    "precision",
    "predict",
    "quadratic",
    "sample_prior",
    "structure",
    "svi",
    "train",
]


@contextmanager
def precision(dtype: str, device: str) -> Iterator[None]:
    platforms = {"cpu": "cpu", "gpu": "gpu"}
    x64 = dtype == "float64"
    with jax.enable_x64(x64), _in_other_threads(x64), jax.default_device(jax.devices(platforms[device])[0]):
        yield


@contextmanager
def _in_other_threads(x64: bool) -> Iterator[None]:
    """``jax.enable_x64`` holds for this thread, and XLA may call a progress bar back from another, which then returns the other int."""
    with ThreadPoolExecutor(1) as other:
        before = other.submit(lambda: jax.config.jax_enable_x64).result()
    jax.config.update("jax_enable_x64", x64)
    try:
        yield
    finally:
        jax.effects_barrier()
        jax.config.update("jax_enable_x64", before)


def has_gpu() -> bool:
    try:
        return bool(jax.devices("gpu"))
    except RuntimeError:  # how JAX says that there is none
        return False


def structure(model: Model, data: tuple, *, seed: int) -> Structure:
    trace: dict[str, Any] = {}

    def run(key: Any, args: tuple) -> None:
        trace.update(handlers.trace(handlers.seed(model, key)).get_trace(_ppl(), *args))

    with recorded_sites() as sites:
        jax.eval_shape(run, jax.random.PRNGKey(seed), arrays(data))  # shapes alone: nothing is compiled
    samples = {name: site for name, site in trace.items() if site["type"] == "sample"}
    latents = {name: np.shape(site["value"]) for name, site in samples.items() if not site["is_observed"]}
    return Structure(
        latents,
        tuple(name for name in latents if samples[name]["fn"].is_discrete),
        {name: np.shape(site["value"]) for name, site in trace.items() if site["type"] == "deterministic"},
        {name: np.shape(site["value"]) for name, site in samples.items() if site["is_observed"]},
        sites,
        {name: interval(samples[name]["fn"].support) for name in latents},
    )


def evaluate(model: Model, data: tuple, draws: dict[str, np.ndarray], *, chunk: int) -> Evaluation:
    def one(values: dict[str, Any], args: tuple) -> tuple:
        log_probs, trace = compute_log_probs(handlers.seed(model, 0), (_ppl(), *args), {}, values, sum_log_prob=False)
        log_joint = sum((jnp.sum(log_prob) for log_prob in log_probs.values()), jnp.zeros(()))
        deterministics = {name: site["value"] for name, site in trace.items() if site["type"] == "deterministic"}
        observed = {
            name: site["fn"].log_prob(site["value"]) for name, site in trace.items() if site["type"] == "sample" and site["is_observed"]
        }
        return deterministics, log_joint, observed

    return Evaluation(*_compiled_over_draws(one, draws, arrays(data), chunk))


def predict(model: Model, inputs: tuple, draws: dict[str, np.ndarray], *, site: str, seed: int, chunk: int) -> Predictive:
    args = arrays(inputs)

    def one(keyed: tuple[Any, dict[str, Any]]) -> tuple:
        outcome = _outcome(model, args, keyed, site)
        return outcome["value"], *_moments(outcome["fn"])

    return Predictive(*_over_draws(one, (_keys(seed, draws), draws), chunk))


def mean(model: Model, inputs: tuple, draws: dict[str, np.ndarray], *, site: str, seed: int, chunk: int) -> np.ndarray:
    def one(keyed: tuple[Any, dict[str, Any]], args: tuple) -> Any:
        return _moments(_outcome(model, args, keyed, site)["fn"])[0]  # XLA leaves out what nothing depends on: the outcome's own draw

    return _compiled_over_draws(one, (_keys(seed, draws), draws), arrays(inputs), chunk)


def sample_prior(model: Model, inputs: tuple, *, num_draws: int, seed: int) -> dict[str, np.ndarray]:
    args = (_ppl(), *arrays(inputs))

    def one(key: Any) -> dict[str, Any]:
        trace = handlers.trace(handlers.seed(model, key)).get_trace(*args)
        return {name: site["value"] for name, site in trace.items() if site["type"] in ("sample", "deterministic")}

    return _over_draws(one, jax.random.split(jax.random.PRNGKey(seed), num_draws), num_draws)


def _outcome(model: Model, args: tuple, keyed: tuple[Any, dict[str, Any]], site: str) -> dict[str, Any]:
    """The observed ``site`` of the model at one draw of the others."""
    key, values = keyed
    return handlers.trace(handlers.substitute(handlers.seed(model, key), data=values)).get_trace(_ppl(), *args)[site]


def _keys(seed: int, draws: dict[str, np.ndarray]) -> np.ndarray:
    return np.asarray(jax.random.split(jax.random.PRNGKey(seed), len(next(iter(draws.values())))))


def _compiled_over_draws(function: Callable, draws: Any, args: tuple, chunk: int) -> Any:
    """``_over_draws`` of ``function(draw, args)`` as one program, for what a fit does once: operation by operation there are some hundred
    little ones to compile, which takes ten times as long."""
    program = jax.jit(jax.vmap(function, in_axes=(0, None)))
    return _over_chunks(lambda part: program(part, args), draws, chunk)


def _over_draws(function: Callable, draws: Any, chunk: int) -> Any:
    """``function`` of each draw, at most ``chunk`` draws at a time, as NumPy arrays with the draws in front.

    Operation by operation, for what a person does again and again with one posterior: XLA keeps the compiled operations, where a program
    would be compiled anew in each call.
    """
    return _over_chunks(jax.vmap(function), draws, chunk)


def _over_chunks(function: Callable, draws: Any, chunk: int) -> Any:
    draws = jax.tree.map(np.asarray, draws)
    num_draws = len(jax.tree.leaves(draws)[0])
    even = next(size for size in range(chunk, 0, -1) if num_draws % size == 0)  # all chunks of one shape
    parts = []
    for start in range(0, num_draws, even):
        part = jax.tree.map(lambda values, start=start: jnp.asarray(values[start : start + even]), draws)
        parts.append(jax.tree.map(np.asarray, function(part)))
    return jax.tree.map(lambda *pieces: np.concatenate(pieces), *parts)


def _moments(law: Any) -> tuple[Any, Any]:
    """Mean and variance of y; of a categorical y, of the indicator of each class."""
    if hasattr(law, "probs") and jnp.ndim(law.probs) > len(law.batch_shape):
        return law.probs, law.probs * (1.0 - law.probs)
    return law.mean, law.variance


def _ppl() -> Any:
    return sys.modules["scalemix.numpyro"]
