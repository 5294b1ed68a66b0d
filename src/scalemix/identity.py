"""What decides the draws of a run, as plain text and numbers: two runs with the same identity and versions have the same draws."""

from __future__ import annotations

import hashlib
import json
import platform
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from scalemix.language import PPL, Structure

__all__ = ["changed_versions", "check_identity", "data_hash", "model_text", "run_identity", "text", "versions"]

PACKAGES = {"numpyro": ("jax", "jaxlib", "numpyro"), "pyro": ("torch", "pyro-ppl")}


def run_identity(
    ppl: PPL,
    model: Callable[..., Any],
    arrays: tuple,
    structure: Structure,
    settings: Any,
    kernel: str,
    seed: int,
    initial: Mapping[str, np.ndarray],
    kept: Sequence[str],
    segment: int,
    num_data: int | None,
) -> dict[str, Any]:
    """Goes into the manifest of a run's folder, and is compared when the run is resumed."""
    shapes = structure.latents | structure.observed
    return {
        "language": ppl.name,
        "kernel": kernel,
        "seed": int(seed),
        "settings": {name: value for name, value in asdict(settings).items() if name != "progress"},
        "model": model_text(model),
        "sites": {name: list(shape) for name, shape in shapes.items()},
        "priors": {name: str(site.prior) for name, site in structure.sites.items() if site.role == "weight"},
        "data": data_hash(arrays),
        "num_data": num_data,
        "init_from": data_hash(dict(initial)) if initial else settings.init,
        "kept sites": list(kept),
        "segment_draws": segment,
    }


def check_identity(path: Path, ours: dict[str, Any], theirs: dict[str, Any]) -> None:
    """Raise ValueError that names the first thing in which a run (``theirs``) differs from the one in the folder ``path`` (``ours``)."""
    for name, other, mine in _differences(json.loads(json.dumps(theirs)), ours):
        raise ValueError(
            f"the run in {path} has {name}{_shown(mine)} and this one has {name}{_shown(other)}: resume with what it was started "
            "with, or give another folder"
        )


def model_text(model: Callable[..., Any]) -> str:
    """A model's name and the options it was bound to, without what changes from one process to the next (addresses)."""
    if isinstance(model, partial):
        options = [text(value) for value in model.args] + [f"{name}={text(value)}" for name, value in model.keywords.items()]
        return f"{model_text(model.func)}({', '.join(options)})"
    return getattr(model, "__qualname__", type(model).__qualname__)


def data_hash(data: Any) -> str:
    """SHA-256 of arrays in tuples and dicts: names, shapes, dtypes and bytes."""
    digest = hashlib.sha256()

    def add(value: Any) -> None:
        if isinstance(value, tuple):
            digest.update(f"tuple {len(value)}".encode())
            for each in value:
                add(each)
        elif isinstance(value, dict):
            digest.update(f"dict {len(value)}".encode())
            for name in sorted(value):
                digest.update(name.encode())
                add(value[name])
        elif value is None:
            digest.update(b"none")
        else:
            digest.update(f"{value.dtype.str} {value.shape}".encode())
            digest.update(np.ascontiguousarray(value).tobytes())

    add(data)
    return digest.hexdigest()


def versions(language: str) -> dict[str, str]:
    """Of Python, the processor's kind, scalemix and the language: with others the last digits may differ."""
    found = {"python": platform.python_version(), "machine": platform.machine()}
    for package in ("scalemix", "numpy", *PACKAGES.get(language, ())):
        try:
            found[package] = version(package)
        except PackageNotFoundError:  # run from the sources, not installed
            found[package] = "unknown"
    return found


def changed_versions(path: Path, began: dict[str, str], now: dict[str, str]) -> list[str]:
    """What a person should know before the run in the folder ``path`` goes on with other versions than it began with; else nothing."""
    changed = [f"{name} {began.get(name)} is now {found}" for name, found in now.items() if began.get(name) != found]
    if not changed:
        return []
    return [f"the run in {path} goes on with other versions, and its draws may differ in the last digits: {', '.join(changed)}"]


def text(value: Any) -> str:
    """An option without what changes from one process to the next (addresses)."""
    if isinstance(value, np.ndarray):
        return f"array {data_hash(value)}"
    if isinstance(value, partial):
        return model_text(value)
    if callable(value) and hasattr(value, "__qualname__"):
        return value.__qualname__
    return re.sub(r" at 0x[0-9a-f]+", "", repr(value))


def _differences(theirs: Any, mine: Any, name: str = "") -> Iterator[tuple[str, Any, Any]]:
    if isinstance(theirs, dict) and isinstance(mine, dict):
        for key in dict.fromkeys([*theirs, *mine]):
            inner = key if name in ("", "settings") else f"{name}[{key!r}]"
            yield from _differences(theirs.get(key), mine.get(key), inner)
    elif theirs != mine:
        yield name, theirs, mine


def _shown(value: Any) -> str:
    shown = str(value) if not isinstance(value, str) else repr(value)
    return f"={shown if len(shown) <= 60 else shown[:60] + '…'}"
