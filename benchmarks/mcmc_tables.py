"""What the sections of ``mcmc.py`` share: medians and quartiles as Markdown, effective draws, and programs compiled once a section."""

from __future__ import annotations

import os
import platform
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["Section", "compiled_once", "least_ess", "machine", "said_so", "sampling", "spread", "table"]


@dataclass(frozen=True)
class Section:
    """What one section found, as Markdown, and whether its targets hold."""

    text: str
    holds: bool


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    return "\n".join("| " + " | ".join(cells) + " |" for cells in [head, ["---"] * len(head), *rows])


def spread(values: Sequence[float]) -> str:
    """Median and quartiles."""
    low, middle, high = np.quantile(values, [0.25, 0.5, 0.75])
    return f"{middle:.3g} ({low:.3g}-{high:.3g})"


def least_ess(draws: Mapping[str, Any]) -> float:
    """Least bulk ESS over all entries of draws (chain, draw, *event); 0 if one never moves."""
    from scalemix.comparison.chains import convergence

    flat = np.concatenate([np.asarray(each).reshape(*np.shape(each)[:2], -1) for each in draws.values()], axis=-1)
    return float(np.nan_to_num(convergence(flat).bulk_ess).min())


def said_so(what: str) -> None:
    """For who waits."""
    print(f"sampled {what}, load {os.getloadavg()[0]:.1f}", file=sys.stderr, flush=True)


def sampling(model: Any, data: tuple, seed: int, settings: Any) -> Iterator[Any]:
    """What ``nuts.fit`` runs: a piece for the warm-up, whose call compiles, and one for the draws; the model is not evaluated at them."""
    import scalemix.numpyro as ppl

    return ppl.engine.mcmc(
        model,
        data,
        kernel="nuts",
        seed=seed,
        settings=settings,
        chain_method=settings.chain_method,
        initial={},
        segment=settings.num_draws,
        last=None,
        advance=lambda count: None,
    )


def machine() -> str:
    names = (line.split(":", 1)[1].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name"))
    versions = ", ".join(f"{each} {version(each)}" for each in ("jax", "numpyro"))
    return f"{next(names, platform.machine())}, {os.cpu_count()} cores; {versions}"


def _lines(path: str) -> list[str]:
    return Path(path).read_text().splitlines() if Path(path).is_file() else []


@contextmanager
def compiled_once() -> Iterator[None]:
    """The runs of other seeds find their programs in JAX's own cache, a folder that goes when the section ends."""
    import jax

    with tempfile.TemporaryDirectory() as folder:
        jax.config.update("jax_compilation_cache_dir", folder)
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
        jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
        yield
