"""Running a model in Pyro: NumPy arrays in, NumPy arrays out. Contracts: ``scalemix.language.Engine``."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import numpy as np
import pyro
import torch
from pyro import poutine
from pyro.poutine.messenger import Messenger

from scalemix.language import Evaluation, Model, Predictive, Structure
from scalemix.lower import recorded_sites
from scalemix.pyro.gates_summed import gates_summed, layer_summed
from scalemix.pyro.gibbs import collapsed_gibbs, log_joint, nuts_within_gibbs, quadratic
from scalemix.pyro.mcmc import chain_method, mcmc
from scalemix.pyro.objective import draw_guide, objective
from scalemix.pyro.primitives import Given
from scalemix.pyro.svi import sample_sites, svi
from scalemix.pyro.tensors import tensors
from scalemix.pyro.training import train
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

arrays = tensors


@contextmanager
def precision(dtype: str, device: str) -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype({"float32": torch.float32, "float64": torch.float64}[dtype])
    try:
        with torch.device("cuda") if device == "gpu" else nullcontext():  # on the CPU the mode would only slow each operation
            yield
    finally:
        torch.set_default_dtype(before)


def has_gpu() -> bool:
    return torch.cuda.is_available()


def structure(model: Model, data: tuple, *, seed: int) -> Structure:
    args = tensors(data)
    with recorded_sites() as sites, seeded(seed), poutine.trace() as tracer:  # get_trace would add the shapes to our errors' sentence
        model(_ppl(), *args)
    trace = tracer.trace
    samples = sample_sites(trace)
    deterministic = {name for name, site in samples.items() if site["infer"].get("_deterministic")}
    latents = {name: tuple(site["value"].shape) for name, site in samples.items() if not site["is_observed"]}
    return Structure(
        latents,
        tuple(name for name in latents if getattr(samples[name]["fn"].support, "is_discrete", False)),
        {name: tuple(samples[name]["value"].shape) for name in samples if name in deterministic},
        {name: tuple(site["value"].shape) for name, site in samples.items() if site["is_observed"] and name not in deterministic},
        sites,
        {name: interval(samples[name]["fn"].support) for name in latents},
    )


def evaluate(model: Model, data: tuple, draws: dict[str, np.ndarray], *, chunk: int) -> Evaluation:
    args = tensors(data)

    def one(values: dict[str, Any]) -> tuple:
        with Given(values):
            trace = poutine.trace(model).get_trace(_ppl(), *args)
        log_joint = trace.log_prob_sum()
        sites = {name: site for name, site in trace.nodes.items() if site["type"] == "sample" and name not in values}
        deterministic = {name for name, site in sites.items() if site["infer"].get("_deterministic")}
        observed = {
            name: site["fn"].log_prob(site["value"]) for name, site in sites.items() if site["is_observed"] and name not in deterministic
        }
        return {name: sites[name]["value"] for name in deterministic}, log_joint, observed

    return Evaluation(*_over_draws(one, draws, chunk))


def predict(model: Model, inputs: tuple, draws: dict[str, np.ndarray], *, site: str, seed: int, chunk: int) -> Predictive:
    args = tensors(inputs)

    def one(values: dict[str, Any]) -> tuple:
        with _Drawn(), Given(values):
            trace = poutine.trace(model).get_trace(_ppl(), *args)
        return trace.nodes[site]["value"], *_moments(trace.nodes[site]["fn"])

    with seeded(seed):
        return Predictive(*_over_draws(one, draws, chunk))


def mean(model: Model, inputs: tuple, draws: dict[str, np.ndarray], *, site: str, seed: int, chunk: int) -> np.ndarray:
    return predict(model, inputs, draws, site=site, seed=seed, chunk=chunk).mean


def sample_prior(model: Model, inputs: tuple, *, num_draws: int, seed: int) -> dict[str, np.ndarray]:
    args = tensors(inputs)

    with seeded(seed), torch.no_grad(), pyro.validation_enabled(False):  # in turn: vmap cannot sample every law
        traces = [poutine.trace(model).get_trace(_ppl(), *args) for _ in range(num_draws)]
        sites = [{name: site["value"] for name, site in trace.nodes.items() if site["type"] == "sample"} for trace in traces]
        return _stack([_to_numpy(values) for values in sites])


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Pyro's random numbers from ``seed`` inside; the caller's generators go on afterwards where they were."""
    state = pyro.util.get_rng_state()
    pyro.set_rng_seed(seed)
    try:
        yield
    finally:
        pyro.util.set_rng_state(state)


class _Drawn(Messenger):
    """Draws what has no value by ``sample``: ``rsample`` of a normal fills new memory in place, which ``torch.func.vmap`` refuses."""

    def _pyro_sample(self, msg: Any) -> None:
        if msg["value"] is None and not poutine.util.site_is_subsample(msg):
            msg["value"] = msg["fn"].sample()


def _over_draws(function: Callable, draws: dict[str, np.ndarray], chunk: int) -> Any:
    """``function`` of each draw as NumPy arrays with the draws in front: vectorized, or in turn where the model cannot be.

    A model cannot where it looks at a value (``.item()``, ``if w > 0``), which ``torch.func.vmap`` refuses with an error that names itself,
    or has an operation without a batching rule (``nn.LSTM``).
    """
    values = tensors({name: np.asarray(value, dtype=float) for name, value in draws.items()})  # Pyro wants gates as floats, too
    num_draws = len(next(iter(draws.values())))
    with torch.no_grad(), pyro.validation_enabled(False):
        try:
            return _to_numpy(torch.func.vmap(function, chunk_size=chunk, randomness="different")(values))
        except RuntimeError as error:
            if not any(sign in str(error) for sign in ("vmap", "Batching rule")):
                raise
        return _stack([_to_numpy(function({name: value[i] for name, value in values.items()})) for i in range(num_draws)])


def _to_numpy(result: Any) -> Any:
    if isinstance(result, dict):
        return {name: _to_numpy(value) for name, value in result.items()}
    if isinstance(result, tuple):
        return tuple(_to_numpy(value) for value in result)
    return result.detach().cpu().numpy()


def _stack(results: list) -> Any:
    first = results[0]
    if isinstance(first, dict):
        return {name: _stack([result[name] for result in results]) for name in first}
    if isinstance(first, tuple):
        return tuple(_stack([result[i] for result in results]) for i in range(len(first)))
    return np.stack(results)


def _moments(law: Any) -> tuple[Any, Any]:
    """Mean and variance of y; of a categorical y, of the indicator of each class."""
    probs = getattr(law, "probs", None)
    if probs is not None and probs.dim() > len(law.batch_shape):
        return probs, probs * (1.0 - probs)
    return law.mean, law.variance


def _ppl() -> Any:
    return sys.modules["scalemix.pyro"]
