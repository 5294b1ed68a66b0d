"""How long networks take for a batch, side by side: measured only when it is asked for."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

__all__ = ["latency"]


def latency(
    networks: Mapping[str, Callable[[Any], Any]], x: Any, *, batches: Sequence[int] = (1, 128), num_rounds: int = 20
) -> dict[str, dict[int, float]]:
    """Median seconds of a call by network and batch, over rounds in which the networks take turns; the first call of each is left out.

    Args:
        networks: name to network, e.g. {"dense": module, "shrunk": shrunk.module}.
        x: inputs of the language, with at least as many rows as the largest batch.
        batches: rows of a call.
        num_rounds: how often each is called.

    Raises: ValueError if x has too few rows.
    """
    if len(x) < max(batches):
        raise ValueError(f"latency has {len(x)} rows for a batch of {max(batches)}: give more rows or smaller batches=")
    seconds: dict[str, dict[int, list[float]]] = {name: {batch: [] for batch in batches} for name in networks}
    for turn in range(num_rounds + 1):
        for batch in batches:
            for name, network in networks.items():
                rows = x[:batch]
                start = time.perf_counter()
                result = network(rows)
                getattr(result, "block_until_ready", lambda: None)()  # JAX returns before it is done
                if turn:
                    seconds[name][batch].append(time.perf_counter() - start)
    return {name: {batch: statistics.median(each) for batch, each in by.items()} for name, by in seconds.items()}
