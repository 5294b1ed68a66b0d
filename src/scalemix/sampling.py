"""What NUTS and HMC share: settings, the loop over pieces of draws, and where the draws go (memory, or the folder of a run)."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from scalemix.checks import check_positive_int
from scalemix.fitting import PrecisionSettings, identified_quantities, in_force, inspect, place, skeleton
from scalemix.footprint import Footprint, check_disk, check_memory, kept_sites
from scalemix.identity import run_identity, versions
from scalemix.language import PPL, Model, NutsRun, Piece, Structure
from scalemix.merge import Block, filled, gathered
from scalemix.posterior import CHUNK, Posterior
from scalemix.run_folder import RunFolder, has_run
from scalemix.starts import INITS, Start, starting_points

__all__ = ["SamplingSettings", "nuts_run", "sample_posterior"]

CHAIN_METHODS = ("auto", "parallel", "vectorized", "sequential")
SEGMENT_DRAWS, SEGMENT_BYTES = 1000, 2.0**27  # a segment is evaluated at once; 128 MB of it is little to lose and little to hold

logger = logging.getLogger("scalemix")


@dataclass(frozen=True, kw_only=True)
class SamplingSettings(PrecisionSettings):
    """How to sample.

    Args:
        num_warmup, num_draws, num_chains: iterations per chain, and chains.
        target_accept_prob: higher takes smaller steps, for posteriors with funnels.
        dense_mass: adapt a full mass matrix rather than a diagonal one.
        init: "uniform" (within ±2 on the unconstrained space) or "prior"; ``init_from`` of ``fit`` overrules it.
        chain_method: "auto", "parallel", "vectorized" or "sequential" (NumPyro; Pyro runs chains in sequence).
    """

    num_warmup: int = 1000
    num_draws: int = 1000
    num_chains: int = 4
    target_accept_prob: float = 0.9
    dense_mass: bool = False
    init: str = "uniform"
    chain_method: str = "auto"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.target_accept_prob >= 1.0:
            raise ValueError(f"Settings(target_accept_prob={self.target_accept_prob}): give a probability below 1, e.g. 0.9")
        if self.init not in INITS:
            raise ValueError(f"Settings(init={self.init!r}): give 'uniform' or 'prior'")
        if self.chain_method not in CHAIN_METHODS:
            raise ValueError(f"Settings(chain_method={self.chain_method!r}): give 'auto', 'parallel', 'vectorized' or 'sequential'")


@dataclass
class _Plan:
    """All that is decided before the first draw."""

    ppl: PPL
    model: Model
    arrays: tuple
    structure: Structure
    kernel: str
    seed: int
    settings: Any
    initial: dict[str, np.ndarray]
    kept: tuple[str, ...]
    footprint: Footprint
    segment: int
    skeleton: Posterior

    def blocks(self, chain_method: str, last: Piece | None) -> Iterator[tuple[Piece, Block]]:
        """The pieces of the sampler, each with the model evaluated at its draws."""
        with _progress(self.kernel, chain_method, self.settings, last) as advance:
            for piece in self.ppl.engine.mcmc(
                self.model,
                self.arrays,
                kernel=self.kernel,
                seed=self.seed,
                settings=self.settings,
                chain_method=chain_method,
                initial=self.initial,
                segment=self.segment,
                last=last,
                advance=advance,
            ):
                yield piece, self.evaluated(piece)

    def evaluated(self, piece: Piece) -> Block:
        """Deterministic sites, log joint and log likelihood at the draws; what is not kept goes."""
        shape = (piece.chains[1] - piece.chains[0], piece.draws[1] - piece.draws[0])
        if shape[1] == 0:
            return Block(piece.chains, piece.draws, {})
        flat = {name: piece.values[name].reshape(-1, *piece.values[name].shape[2:]) for name in self.structure.latents}
        found = self.ppl.engine.evaluate(self.model, self.arrays, flat, chunk=min(CHUNK, shape[0] * shape[1]))
        sites = {name: value.reshape(*shape, *value.shape[1:]) for name, value in (flat | found.deterministics).items()}
        log_likelihood = {name: value.reshape(*shape, *value.shape[1:]) for name, value in found.log_likelihood.items()}
        return Block(
            piece.chains,
            piece.draws,
            {
                "posterior": {name: value for name, value in sites.items() if name in self.kept},
                "sample_stats": {"lp": found.log_joint.reshape(shape), **piece.stats},
                "log_likelihood": log_likelihood,
                "identified": identified_quantities(
                    self.ppl, self.model, self.arrays, self.structure, sites, log_likelihood, seed=self.seed
                ),
            },
        )


def sample_posterior(
    ppl: PPL,
    model: Model,
    data: tuple,
    *,
    kernel: str,
    seed: int,
    settings: Any,
    num_data: int | None,
    init_from: Start = None,
    keep: Sequence[str] | None = None,
    drop: Sequence[str] | None = None,
    folder: str | Path | None = None,
    segment_draws: int | None = None,
    resume: bool = False,
) -> Posterior:
    """Sample with ``kernel`` ("nuts" or "hmc"); the arguments are those of ``scalemix.inference.nuts.fit``."""
    if isinstance(init_from, str):
        if init_from not in INITS:
            raise ValueError(f"init_from={init_from!r}: give 'uniform', 'prior', a dict from site to value, or a fitted Posterior")
        settings = dataclasses.replace(settings, init=init_from)
    if resume and folder is None:
        raise ValueError("resume=True needs folder=, the folder of the run to go on with")
    settings, placed = place(ppl, model, data, settings, seed=seed)
    with in_force(ppl, settings, num_data):
        arrays, structure = inspect(ppl, model, data, seed=seed, method=kernel.upper())
        kept = kept_sites(structure, keep, drop)
        base = skeleton(ppl, model, data, arrays, structure, method=kernel, seed=seed, settings=settings)
        base.latents = tuple(name for name in structure.latents if name in kept)
        base.info.dropped = [name for name in structure.latents if name not in kept]
        base.info.notes = [placed]
        initial = starting_points(ppl, model, arrays, structure, init_from, num_chains=settings.num_chains, seed=seed)
        footprint = Footprint.of(structure, kept, np.dtype(settings.dtype).itemsize)
        segment = _segment(segment_draws, footprint, settings)
        plan = _Plan(ppl, model, arrays, structure, kernel, seed, settings, initial, kept, footprint, segment, base)
        if folder is None:
            return _in_memory(plan)
        return _in_folder(plan, Path(folder), resume, num_data)


def nuts_run(ppl: PPL, model: Model, arrays: tuple, *, seed: int, settings: Any) -> NutsRun:
    """All draws of NUTS at once: for recipes of which it is a part."""
    method, _ = ppl.engine.chain_method(settings.chain_method, settings.num_chains)
    run = NutsRun({}, {}, method, 0.0, 0.0)

    def counted() -> Iterator[Block]:
        with _progress("nuts", method, settings, None) as advance:
            for piece in ppl.engine.mcmc(
                model,
                arrays,
                kernel="nuts",
                seed=seed,
                settings=settings,
                chain_method=method,
                initial={},
                segment=settings.num_draws,
                last=None,
                advance=advance,
            ):
                run.seconds_compile += piece.seconds_compile
                run.seconds_run += piece.seconds_run
                yield Block(piece.chains, piece.draws, {"posterior": piece.values, "sample_stats": piece.stats})

    found = gathered(counted(), settings.num_chains, settings.num_draws)
    run.draws, run.stats = found["posterior"], found["sample_stats"]
    return run


def _in_memory(plan: _Plan) -> Posterior:
    settings, info = plan.settings, plan.skeleton.info
    total = settings.num_chains * settings.num_draws
    check_memory(plan.footprint, settings.num_chains * plan.segment, total, in_folder=False)
    method = _chain_method(plan, settings.chain_method)
    info.seconds_compile = info.seconds_run = 0.0

    def counted() -> Iterator[Block]:
        for piece, block in plan.blocks(method, None):
            info.seconds_compile += piece.seconds_compile
            info.seconds_run += piece.seconds_run
            yield block

    return filled(plan.skeleton, gathered(counted(), settings.num_chains, settings.num_draws))


def _in_folder(plan: _Plan, path: Path, resume: bool, num_data: int | None) -> Posterior:
    settings, total = plan.settings, plan.settings.num_chains * plan.settings.num_draws
    identity = run_identity(
        plan.ppl, plan.model, plan.arrays, plan.structure, settings, plan.kernel, plan.seed, plan.initial, plan.kept, plan.segment, num_data
    )
    if has_run(path):
        run = RunFolder.open(path)
        if not resume:
            raise ValueError(f"{path} holds a run ({run.progress}): give resume=True to go on with it, or another folder")
        run.check(identity)
    else:
        run = None
    if run is None or not run.finished:
        check_memory(plan.footprint, settings.num_chains * plan.segment, total, in_folder=True)
        method = _chain_method(plan, settings.chain_method if run is None else run.chain_method)
        check_disk(plan.footprint, total, path)
        if run is None:
            run = RunFolder.begin(path, identity, plan.skeleton, versions(plan.ppl.name))
        for note in run.prepare(versions(plan.ppl.name)):
            logger.warning("%s", note)
        for piece, block in plan.blocks(method, run.last()):
            run.add(block, piece)
        run.finish()
    result = run.posterior()
    result.model, result.data = plan.model, plan.arrays
    return result


def _chain_method(plan: _Plan, asked: str) -> str:
    """Decides how the chains run, says so in the log, and notes it."""
    info = plan.skeleton.info
    info.chain_method, why = plan.ppl.engine.chain_method(asked, plan.settings.num_chains)
    info.notes.append(f"chains {info.chain_method}: {why}")
    for note in info.notes:
        logger.info("%s %s", plan.kernel.upper(), note)
    return info.chain_method


def _segment(asked: int | None, footprint: Footprint, settings: Any) -> int:
    """Draws per chain in one piece."""
    if asked is not None:
        check_positive_int("segment_draws", asked)
        return min(asked, settings.num_draws)
    fitting = int(SEGMENT_BYTES / (settings.num_chains * (footprint.kept + footprint.passing)))
    return min(max(fitting, 1), SEGMENT_DRAWS, settings.num_draws)


@contextmanager
def _progress(kernel: str, chain_method: str, settings: Any, last: Piece | None) -> Iterator[Callable[[int], None]]:
    """A bar over the iterations of all chains that says how they run; yields what moves it."""
    if not settings.progress:
        yield lambda count: None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    per_chain = settings.num_warmup + settings.num_draws
    done = 0 if last is None else last.chains[0] * per_chain + (last.chains[1] - last.chains[0]) * (settings.num_warmup + last.draws[1])
    text = f"{kernel.upper()}, {settings.num_chains} chain{'s' * (settings.num_chains > 1)} ({chain_method})"
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, transient=True) as bar:
        task = bar.add_task(text, total=settings.num_chains * per_chain, completed=done)
        yield lambda count: bar.advance(task, count)
