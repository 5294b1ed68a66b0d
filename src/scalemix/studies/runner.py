"""Runs the cells of a study side by side, and leaves away those that are done."""

from __future__ import annotations

import hashlib
import shutil
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from contextlib import contextmanager, suppress
from fnmatch import fnmatchcase
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import psutil
from filelock import FileLock, Timeout

from scalemix.files import writing
from scalemix.identity import versions
from scalemix.studies.cell import Cell, Result, Study
from scalemix.studies.ledger import Ledger

__all__ = ["LEDGER", "code_hash", "pending", "run_study"]

LEDGER, CHECKPOINTS, LOCK = "cells.jsonl", ".checkpoints", ".lock"
FORGET_ABOVE = 2.5e9  # bytes; a cell compiles for half a minute what the one before it may have left


def run_study(
    study: Study,
    size: str,
    folder: Path,
    *,
    executor: Executor | None = None,
    only: Collection[str] = (),
    num_workers: int = 1,
    on_total: Callable[[int], object] = lambda total: None,
) -> Iterator[Result]:
    """Run what is not done of ``study``; yields each result once it is on the disk.

    Args:
        study: which.
        size: one of its sizes.
        folder: where its ledger lies, and the checkpoints of the cells that are under way.
        executor: what the cells run on, side by side: processes of this machine, or anything with the interface of
            ``concurrent.futures`` (``dask.distributed.Client().get_executor()``). ``None``: here, one after the other. With other
            machines, ``folder`` has to be one that all of them see.
        only: patterns of names of cells; those that none matches are left out. Empty: all.
        num_workers: cells that are handed to the executor at a time.
        on_total: is told how many cells there are to do, each time that becomes known.

    Raises: ValueError if the ledger is damaged, a size unknown, a pattern matches nothing, or another study is at work in the folder;
        RuntimeError that names a cell which failed and says why; OSError if the folder cannot be written to.
    """
    if size not in study.sizes:
        raise ValueError(f"the study {study.name} has no size {size!r}: give one of {', '.join(study.sizes)}")
    with writing("the study", folder):
        folder.mkdir(parents=True, exist_ok=True)
    with _alone(folder):
        ledger = Ledger(folder / LEDGER)
        total = 0
        while todo := _checked(study, size, ledger, only):
            total += len(todo)
            on_total(total)
            for result in _run(study, todo, folder, executor, num_workers):
                ledger.add(result)
                yield result
        with suppress(OSError):  # of cells that were stopped something is left
            (folder / CHECKPOINTS).rmdir()


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Nobody else writes into the folder meanwhile."""
    try:
        with FileLock(folder / LOCK, timeout=0):
            yield
    except Timeout as error:
        raise ValueError(f"another study is at work in {folder}: wait until it is done, or give another folder") from error


def pending(study: Study, size: str, ledger: Ledger, only: Collection[str] = ()) -> list[Cell]:
    """The cells that can be run now and are not done."""
    cells = study.cells(size, done(study, size, ledger))
    return [cell for cell in cells if _chosen(cell, only) and cell.key not in ledger.results]


def _checked(study: Study, size: str, ledger: Ledger, only: Collection[str]) -> list[Cell]:
    """The cells ``pending``.

    Raises: ValueError for a pattern that matches no known cell, unless a later stage may follow: all that is known is chosen or done.
    """
    todo, known = pending(study, size, ledger, only), study.cells(size, done(study, size, ledger))
    may_follow = bool(todo) and all(_chosen(cell, only) or cell.key in ledger.results for cell in known)
    for pattern in only:
        if not may_follow and not any(fnmatchcase(cell.name, pattern) for cell in known):
            raise ValueError(f"no cell of the study {study.name} has a name like {pattern!r}: give another pattern")
    return todo


def _chosen(cell: Cell, only: Collection[str]) -> bool:
    return not only or any(fnmatchcase(cell.name, pattern) for pattern in only)


def done(study: Study, size: str, ledger: Ledger) -> list[Result]:
    """The results that belong to this size of the study: those of the cells it asks for, stage by stage."""
    found: list[Result] = []
    while True:
        cells = study.cells(size, found)
        now = [ledger.results[cell.key] for cell in cells if cell.key in ledger.results]
        if len(now) == len(found):
            return now
        found = now


def _run(study: Study, todo: Sequence[Cell], folder: Path, executor: Executor | None, num_workers: int) -> Iterator[Result]:
    if executor is None:
        for cell in todo:
            yield _cell(study.name, cell, folder)
        return
    waiting, running, failed = list(reversed(todo)), set[Future[Result]](), list[BaseException]()
    try:
        while running or (waiting and not failed):  # what runs beside a cell that fails is not lost
            while waiting and not failed and len(running) < num_workers:
                running.add(executor.submit(_cell, study.name, waiting.pop(), folder))
            ready, running = wait(running, return_when=FIRST_COMPLETED)
            for future in ready:
                if (error := future.exception()) is None:
                    yield future.result()
                else:
                    failed.append(error)
    finally:
        for future in running:
            future.cancel()
    if failed:
        raise failed[0]


def _cell(study: str, cell: Cell, folder: Path) -> Result:
    """Run in a worker; a cell that was killed goes on from its last checkpoint, where its recipe writes any."""
    from scalemix.studies import STUDIES

    start = time.perf_counter()
    own = folder / CHECKPOINTS / cell.key
    own.mkdir(parents=True, exist_ok=True)
    try:
        numbers = STUDIES[study].run(cell.spec, own)
    except (ValueError, RuntimeError, FloatingPointError) as error:
        raise RuntimeError(f"the cell {cell.name!r} of the study {study} failed: {error}") from error
    shutil.rmtree(own, ignore_errors=True)
    if psutil.Process().memory_info().rss > FORGET_ABOVE and find_spec("numpyro") is not None:
        from scalemix.numpyro.compiling import forget_compiled

        forget_compiled()
    return Result(cell, numbers, time.perf_counter() - start, code_hash(), versions(cell.spec.get("language", "numpyro")))


@cache
def code_hash() -> str:
    """Of all Python sources of scalemix, models and recipes among them."""
    digest = hashlib.sha256()
    for package in ("scalemix", "scalemix.models", "scalemix.inference"):
        root = Path(import_module(package).__file__ or "").parent
        for path in sorted(root.rglob("*.py")):
            digest.update(path.relative_to(root).as_posix().encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()[:12]
