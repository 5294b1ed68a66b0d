"""What a planted fault is."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["Fault"]


class Fault(NamedTuple):
    """``old``, which stands once in ``file`` (below the package), becomes ``new``; ``tests`` are arguments of pytest, within ``tests/``."""

    file: str
    old: str
    new: str
    mistake: str
    tests: tuple[str, ...]
