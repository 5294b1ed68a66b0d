"""XLA's compilation: how long it took inside a block, how to make it shorter, and how to keep what it made."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import jax

__all__ = ["CompileClock", "cache_compilation", "compile_clock", "forget_compiled", "prefer_fast_compilation"]

FAST_COMPILE_FLAGS = "--xla_backend_optimization_level=1 --xla_cpu_use_fusion_emitters=false"
FLAGS_KNOWN_BY = "0.10."  # XLA aborts on a flag it does not know, so they are set only for the releases they were tried with

COMPILE_EVENTS = frozenset(
    {
        "/jax/core/compile/jaxpr_trace_duration",
        "/jax/core/compile/jaxpr_to_mlir_module_duration",
        "/jax/core/compile/backend_compile_duration",
    }
)


@dataclass
class CompileClock:
    """Time covered by the spans JAX reports; nested ones (a jitted function traced inside another) count once."""

    spans: list[tuple[float, float]] = field(default_factory=list)

    def __call__(self, event: str, start: float, end: float, **_: object) -> None:
        if event in COMPILE_EVENTS:
            self.spans.append((start, end))

    @property
    def seconds(self) -> float:
        total, reached = 0.0, float("-inf")
        for start, end in sorted(self.spans):
            total += max(end - max(start, reached), 0.0)
            reached = max(reached, end)
        return total


@contextmanager
def compile_clock() -> Iterator[CompileClock]:
    """Collect JAX's own reports of tracing, lowering and compiling."""
    clock = CompileClock()
    jax.monitoring.register_event_time_span_listener(clock)
    try:
        yield clock
    finally:
        jax.monitoring.unregister_event_time_span_listener(clock)


def cache_compilation(folder: Path | None = None) -> None:
    """Keep compiled programs on the disk, where later runs of one model on data of the same shapes find them; ``scalemix compare`` does.

    It is JAX's own cache, for the whole process. One that JAX has already (``JAX_COMPILATION_CACHE_DIR``) stays.

    Args:
        folder: where; ``None`` for a folder of scalemix among the user's caches.
    """
    from platformdirs import user_cache_path

    if jax.config.jax_compilation_cache_dir is None:
        jax.config.update("jax_compilation_cache_dir", str(user_cache_path("scalemix") / "jax" if folder is None else folder))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.5)


def prefer_fast_compilation() -> None:
    """Have XLA compile in half the time for CPU programs of about the same speed; for many short fits of different models.

    NUTS on a regression with 50 columns: compilation 14.5 s → 7.3 s, 11 000 leapfrogs 0.75 s → 0.75 s on one slow core. Takes effect
    for the whole process, and only before its first computation in JAX.
    """
    if jax.__version__.startswith(FLAGS_KNOWN_BY):
        os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {FAST_COMPILE_FLAGS}".strip()


def forget_compiled() -> None:
    """Let go of the programs that this process has compiled: each fit has some of its own, and many fits would fill the memory."""
    jax.clear_caches()
