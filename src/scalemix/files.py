"""Files that are whole or not there: written under a temporary name in the same folder, forced to the disk, renamed."""

from __future__ import annotations

import hashlib
import os
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

__all__ = ["UNREADABLE", "check_written", "checksum", "load_arrays", "replacing", "writing"]

# What NumPy raises for a file that is no whole npz of plain arrays: TypeError for a single array, RuntimeError for a locked file.
UNREADABLE = (OSError, ValueError, TypeError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path beside ``path``, which takes its place at the end of the block and is removed if the block fails."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        _sync(temporary)
        os.replace(temporary, path)
        _sync(path.parent)  # the new name, too, has to survive a power cut
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def writing(what: str, path: Path, remedy: str = "choose a folder that you can write to") -> Iterator[None]:
    """An error of the system (full disk, read-only folder) inside becomes one sentence that names the file."""
    try:
        yield
    except OSError as error:
        raise OSError(f"{what} cannot be written to {path} ({error.strerror or error}): {remedy}") from error


def checksum(path: Path) -> str:
    """SHA-256 of a file, read in parts."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check_written(file: Path, sha256: str, anew: str = "start anew in another folder") -> None:
    """Raise ValueError if a ``file`` that was written with that checksum is missing or another; ``anew`` is the remedy without a copy."""
    if not file.is_file():
        raise ValueError(f"{file} is missing: restore it from a copy, or {anew}")
    if checksum(file) != sha256:
        raise ValueError(f"{file} is damaged (its checksum is another): restore it from a copy, or {anew}")


def load_arrays(path: Path, only: str = "") -> dict[str, dict[str, np.ndarray]]:
    """The arrays of an npz file by group and name, which were written as "group/name"; nothing in it is run.

    Raises: ValueError if the file is damaged.
    """
    groups: dict[str, dict[str, np.ndarray]] = {}
    try:
        with np.load(path, allow_pickle=False) as file:
            for key in file.files:
                if key.startswith(only):
                    group, name = key.split("/", 1)
                    groups.setdefault(group, {})[name] = file[key]
    except UNREADABLE as error:
        raise ValueError(f"{path} is damaged ({error}): restore it from a copy, or start anew in another folder") from error
    return groups


def _sync(path: Path) -> None:
    if path.is_dir() and os.name == "nt":
        return  # Windows opens no folders
    descriptor = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
