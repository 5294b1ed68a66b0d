"""How long XLA took to trace and compile inside a block, apart from the rest."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import jax

__all__ = ["CompileClock", "compile_clock"]

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
