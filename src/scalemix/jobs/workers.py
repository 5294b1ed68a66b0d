"""Processes that fit: one core each, or all cores for the chains of one fit; begun afresh, and ended at once when asked to."""

from __future__ import annotations

import multiprocessing
import os
import signal
from concurrent.futures import ProcessPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from threading import Thread

__all__ = ["compile_fast", "executor", "stop_workers"]


def executor(workers: int, *, one_fit_at_a_time: bool = False, long_fits: bool = False) -> ProcessPoolExecutor:
    """So many workers of one core, or one that has all the cores for the chains of its fit.

    Programs of long fits are compiled for their speed: what compiles fast takes a seventh longer per step (VBD, LeNet-300-100).
    """
    context = multiprocessing.get_context("spawn")
    if one_fit_at_a_time:
        return ProcessPoolExecutor(1, mp_context=context, initializer=_chains_on, initargs=(workers,))
    return ProcessPoolExecutor(workers, mp_context=context, initializer=_one_core, initargs=(not long_fits,))


def stop_workers(folder: Path) -> None:
    """End the workers at once and remove the files they were in the middle of."""
    for worker in multiprocessing.active_children():
        worker.terminate()
        worker.join()
        for unfinished in folder.glob(f".*.{worker.pid}.tmp"):
            unfinished.unlink()


def _chains_on(cores: int) -> None:
    """A worker has so many devices of XLA, over which NUTS shares its chains out, each on one core.

    Its programs are few and long, so they are compiled for their speed: what compiles fast takes twice as long per gradient of a network.
    """
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count={cores}".strip()
    _single_threaded()
    _compile(fast=False)


def _one_core(fast: bool) -> None:
    """A worker computes on one core, so that workers do not fight over them."""
    _single_threaded()
    _compile(fast=fast)


def _single_threaded() -> None:
    Thread(target=_end_with_parent, daemon=True).start()
    for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "NPROC"):
        os.environ[variable] = "1"
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which cancels what has not begun


def _end_with_parent() -> None:
    """A worker whose parent was killed would go on with what nobody waits for."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def compile_fast() -> None:
    """Where NumPyro is installed, and keep what was compiled; a comparison in Pyro needs no JAX."""
    _compile(fast=True)


def _compile(*, fast: bool) -> None:
    if find_spec("numpyro") is not None:
        from scalemix.numpyro.compiling import cache_compilation, prefer_fast_compilation

        if fast:
            prefer_fast_compilation()
        cache_compilation()
