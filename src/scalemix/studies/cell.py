"""What a study is made of: cells, each one fit with the numbers it gives, and the paper's table they are set beside."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

__all__ = ["Cell", "Entry", "Numbers", "Result", "Study"]

Numbers = dict[str, float]
"""What a cell gives, by the name of a column."""


@dataclass(frozen=True)
class Cell:
    """One fit of a study.

    Attributes:
        name: of a person's choosing, unique in its study, e.g. "yacht, vbd, split 3".
        spec: everything that decides its numbers: texts, numbers, lists and dicts of them.
    """

    name: str
    spec: Mapping[str, Any]

    @property
    def key(self) -> str:
        """Of its spec: cells with one key have the same numbers."""
        return hashlib.sha256(json.dumps(self.spec, sort_keys=True).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Result:
    """A cell that is done.

    Attributes:
        cell: which.
        numbers: what it gave.
        seconds: how long that took.
        code: hash of the sources that made it.
        versions: of the libraries.
    """

    cell: Cell
    numbers: Numbers
    seconds: float
    code: str
    versions: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Entry:
    """One of the numbers that a table takes the mean of.

    Attributes:
        table, row, column: where it stands.
        value: in one replicate.
    """

    table: str
    row: str
    column: str
    value: float


@dataclass(frozen=True)
class Study:
    """A table of a paper, from the data to our numbers beside the paper's.

    Attributes:
        name: as the command line knows it.
        title: what it is, one line.
        source: paper and tables.
        cells: (size, results so far) → the cells; asked again when those are done, so that later ones may depend on earlier ones.
        run: (spec of a cell, folder for checkpoints) → its numbers; a function of a module, for it goes to other processes.
        entries: a result → what it adds to the tables.
        paper: the paper's numbers, (table, row, column) → value; what it does not have is left away.
        settings: sentences about how it was run, and every departure from the paper's protocol.
        sizes: what "smoke", "choose" and "full" are, in words.
        verdicts: results → sentences on what the paper claims, and what these results say of it.
        units: of each table, where it has one.
        long_fits: whether a cell takes minutes of training, so that its programs are compiled for their speed.
    """

    name: str
    title: str
    source: str
    cells: Callable[[str, Sequence[Result]], list[Cell]]
    run: Callable[[Mapping[str, Any], Path], Numbers]
    entries: Callable[[Result], list[Entry]]
    paper: Mapping[tuple[str, str, str], float]
    settings: tuple[str, ...]
    sizes: Mapping[str, str]
    verdicts: Callable[[Sequence[Result]], list[str]] = lambda results: []
    units: Mapping[str, str] = field(default_factory=dict)
    long_fits: bool = False
