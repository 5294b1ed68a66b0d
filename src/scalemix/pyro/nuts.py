"""NUTS in Pyro. Contract: ``scalemix.language.Engine.nuts``; the recipe a user calls is ``scalemix.inference.nuts``.

Tens of times slower per leapfrog than NumPyro's on small models: a check in a second language rather than the reference.
"""

from __future__ import annotations

import sys
import time
from functools import partial
from typing import Any

import numpy as np
import pyro
from pyro.infer import MCMC, NUTS
from pyro.infer.autoguide import init_to_sample, init_to_uniform

from scalemix.language import Model, NutsRun
from scalemix.pyro.tensors import tensors

__all__ = ["nuts"]

INITS = {"uniform": init_to_uniform, "prior": init_to_sample}


class _CountingNUTS(NUTS):
    """Pyro's NUTS, noting per iteration the Hamiltonian and the leapfrog steps that Pyro computes and drops."""

    num_steps = 0
    energy = float("nan")

    def sample(self, params: Any) -> Any:
        self.num_steps, self.energy = 0, float("nan")
        return super().sample(params)

    def _build_basetree(self, *args: Any, **kwargs: Any) -> Any:
        self.num_steps += 1
        return super()._build_basetree(*args, **kwargs)

    def _kinetic_energy(self, r_unscaled: Any) -> Any:
        kinetic = super()._kinetic_energy(r_unscaled)
        if np.isnan(self.energy) and self._potential_energy_last is not None:
            self.energy = float(kinetic + self._potential_energy_last)
        return kinetic


def nuts(model: Model, data: tuple, *, seed: int, settings: Any) -> NutsRun:
    from scalemix.pyro.engine import seeded

    args = tensors(data)
    bound = partial(model, sys.modules["scalemix.pyro"])
    start = time.perf_counter()
    chains = []
    with pyro.get_param_store().scope(), pyro.validation_enabled(False):
        for chain in range(settings.num_chains):
            with seeded(seed * 1009 + chain):  # 1009: more chains than anybody runs, so no two (seed, chain) share a stream
                chains.append(_chain(bound, args, settings, chain))
    draws = {name: np.stack([chain[0][name] for chain in chains]) for name in chains[0][0]}
    stats = {name: np.stack([chain[1][name] for chain in chains]) for name in chains[0][1]}
    return NutsRun(draws, stats, "sequential", 0.0, time.perf_counter() - start)


def _chain(model: Any, args: tuple, settings: Any, chain: int) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    kernel = _CountingNUTS(
        model,
        target_accept_prob=settings.target_accept_prob,
        max_tree_depth=settings.max_tree_depth,
        full_mass=settings.dense_mass,
        init_strategy=INITS[settings.init](),
    )
    rows: list[tuple] = []

    def note(kernel: Any, params: Any, stage: str, i: int) -> None:
        if stage.lower().startswith("sample"):
            rows.append((kernel.energy, kernel.num_steps, float(kernel.step_size)))

    mcmc = MCMC(
        kernel,
        num_samples=settings.num_draws,
        warmup_steps=settings.num_warmup,
        num_chains=1,
        hook_fn=note,
        disable_progbar=not settings.progress,
    )
    mcmc.run(*args)
    draws = {name: value[0].detach().cpu().numpy() for name, value in mcmc.get_samples(group_by_chain=True).items()}
    energy, steps, step_size = (np.array(column) for column in zip(*rows[-settings.num_draws :], strict=True))
    diverging = np.zeros(settings.num_draws, dtype=bool)
    diverging[[i for i in mcmc.diagnostics()["divergences"]["chain 0"] if 0 <= i < settings.num_draws]] = True
    depth = np.floor(np.log2(np.maximum(steps, 1))).astype(int) + 1
    return draws, {"energy": energy, "diverging": diverging, "n_steps": steps, "tree_depth": depth, "step_size": step_size}
