"""NUTS and HMC in Pyro, chain by chain and piece by piece. Contract: ``scalemix.language.Engine.mcmc``.

Tens of times slower per leapfrog than NumPyro's on small models: a check in a second language rather than the reference. Pyro's ``MCMC``
cannot be stopped and continued, so its kernels are called here one iteration after the other, as ``MCMC`` calls them.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import pyro
import torch
from pyro.infer import HMC, NUTS
from pyro.infer.autoguide import init_to_sample, init_to_uniform
from pyro.infer.autoguide.initialization import init_to_value

from scalemix.language import Model, Piece
from scalemix.pyro.tensors import tensors

__all__ = ["chain_method", "mcmc"]

INITS = {"uniform": init_to_uniform, "prior": init_to_sample}


class _Counting:
    """Notes per iteration the Hamiltonian and the leapfrog steps that Pyro computes and drops."""

    leapfrogs = 0
    energy = float("nan")

    def sample(self: Any, params: Any) -> Any:
        self.leapfrogs, self.energy = 0, float("nan")
        return super().sample(params)  # type: ignore[misc]

    def _kinetic_energy(self: Any, r_unscaled: Any) -> Any:
        kinetic = super()._kinetic_energy(r_unscaled)  # type: ignore[misc]
        if np.isnan(self.energy) and self._potential_energy_last is not None:
            self.energy = float(kinetic + self._potential_energy_last)
        return kinetic


class _NUTS(_Counting, NUTS):
    def _build_basetree(self, *args: Any, **kwargs: Any) -> Any:
        self.leapfrogs += 1
        return super()._build_basetree(*args, **kwargs)


class _HMC(_Counting, HMC):
    fixed_steps: int | None = None

    @property
    def num_steps(self) -> int:
        """Pyro's own ``num_steps=`` fixes the length at the first step size, and the number changes with the adaptation."""
        return self.fixed_steps or super().num_steps

    def sample(self, params: Any) -> Any:
        steps = self.num_steps
        result = super().sample(params)
        self.leapfrogs = steps
        return result


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
    args = tensors(data)
    bound = partial(model, sys.modules["scalemix.pyro"])
    first = 0 if last is None else last.chains[0] + (last.draws[1] == settings.num_draws)
    for chain in range(first, settings.num_chains):
        starts = tensors({name: value[chain] for name, value in initial.items()})
        resumed = last if last is not None and chain == last.chains[0] else None
        stream = seed * 1009 + chain  # 1009: more chains than anybody runs, so no two (seed, chain) share a stream
        yield from _chain(_kernel(kernel, bound, settings, starts), args, settings, chain, stream, segment, resumed, advance)


def chain_method(method: str, num_chains: int) -> tuple[str, str]:
    return "sequential", "Pyro runs chains one after the other"


def _kernel(kernel: str, model: Any, settings: Any, starts: dict[str, Any]) -> Any:
    options = {
        "target_accept_prob": settings.target_accept_prob,
        "full_mass": settings.dense_mass,
        "init_strategy": init_to_value(values=starts) if starts else INITS[settings.init](),
    }
    if kernel == "nuts":
        return _NUTS(model, max_tree_depth=settings.max_tree_depth, **options)
    sampler = _HMC(model, trajectory_length=settings.trajectory_length, **options)
    sampler.fixed_steps = settings.num_steps
    return sampler


def _chain(
    sampler: Any, args: tuple, settings: Any, chain: int, stream: int, segment: int, last: Piece | None, advance: Callable
) -> Iterator[Piece]:
    """The pieces of one chain; between them Pyro's random numbers are the caller's."""
    from scalemix.pyro.engine import seeded

    start = time.perf_counter()
    with pyro.get_param_store().scope(), pyro.validation_enabled(False), seeded(stream):
        sampler.setup(settings.num_warmup, *args)
        if last is None:
            params = sampler.initial_params
            for _ in range(settings.num_warmup):
                params = sampler.sample(params)
                advance(1)
            state = _state(sampler)
        else:
            state = _go_on(sampler, last, settings.num_warmup)
    done = 0 if last is None else last.draws[1]
    if last is None:
        yield Piece((chain, chain + 1), (0, 0), {}, {}, state, 0.0, time.perf_counter() - start)
    while done < settings.num_draws:
        stop = min(done + segment, settings.num_draws)
        start = time.perf_counter()
        with pyro.get_param_store().scope(), pyro.validation_enabled(False), seeded(stream):
            _set_random(state)
            values, stats = _draw(sampler, settings.num_warmup, done, stop, advance)
            state = _state(sampler)
        yield Piece((chain, chain + 1), (done, stop), values, stats, state, 0.0, time.perf_counter() - start)
        done = stop


def _draw(sampler: Any, num_warmup: int, first: int, stop: int, advance: Callable) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    params, rows, points = sampler._z_last, [], []
    for _ in range(first, stop):
        params = sampler.sample(params)
        points.append(params)
        rows.append((sampler.energy, sampler.leapfrogs, float(sampler.step_size)))
        advance(1)
    unconstrained = {name: torch.stack([point[name] for point in points]) for name in params}
    values = {name: sampler.transforms[name].inv(z) if name in sampler.transforms else z for name, z in unconstrained.items()}
    energy, steps, step_size = (np.array(column)[None] for column in zip(*rows, strict=True))
    diverging = np.zeros((1, stop - first), dtype=bool)
    diverging[0, [index - first for index in sampler._divergences if first <= index < stop]] = True
    stats = {"energy": energy, "diverging": diverging, "n_steps": steps, "step_size": step_size}
    if isinstance(sampler, NUTS):
        stats["tree_depth"] = np.floor(np.log2(np.maximum(steps, 1))).astype(int) + 1
    return {name: value.detach().cpu().numpy()[None] for name, value in values.items()}, stats


def _state(sampler: Any) -> dict[str, np.ndarray]:
    """Position, potential and gradient there, step size, inverse mass matrix, and the stream of random numbers."""
    z, potential, gradients = sampler._fetch_from_cache()
    state = {"potential": potential, "step_size": torch.as_tensor(sampler.step_size, dtype=torch.float64, device="cpu")}
    state |= {f"z {name}": value for name, value in z.items()} | {f"gradient {name}": value for name, value in gradients.items()}
    state |= {f"mass {index}": value for index, value in enumerate(sampler.inverse_mass_matrix.values())}
    state["random"] = torch.get_rng_state()
    if potential.device.type == "cuda":
        state["random cuda"] = torch.cuda.get_rng_state()
    return {name: value.detach().cpu().numpy().copy() for name, value in state.items()}


def _go_on(sampler: Any, last: Piece, num_warmup: int) -> dict[str, np.ndarray]:
    """Put a fresh sampler where the saved one was."""
    state = last.state
    names = list(sampler.initial_params)
    if {f"z {name}" for name in names} != {name for name in state if name.startswith("z ")}:
        raise ValueError("the saved state belongs to another model: start anew in another folder")
    like = sampler._potential_energy_last
    put = {name: torch.as_tensor(value.copy(), device=like.device) for name, value in state.items() if not name.startswith("random")}
    sampler._t = num_warmup + last.draws[1]
    sampler._adapter.step_size = float(put["step_size"])
    sampler.mass_matrix_adapter.inverse_mass_matrix = {
        block: put[f"mass {index}"] for index, block in enumerate(sampler.inverse_mass_matrix)
    }
    sampler._cache({name: put[f"z {name}"] for name in names}, put["potential"], {name: put[f"gradient {name}"] for name in names})
    return state


def _set_random(state: dict[str, np.ndarray]) -> None:
    torch.set_rng_state(torch.as_tensor(state["random"].copy(), device="cpu"))
    if "random cuda" in state:
        torch.cuda.set_rng_state(torch.as_tensor(state["random cuda"].copy(), device="cpu"))
