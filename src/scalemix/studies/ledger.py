"""The results of a study on the disk: one line of JSON a cell, written whole when the cell is done.

A study that is killed goes on with the cells it has not done. A cell whose spec has changed is another cell. Text alone: nothing in a
ledger is ever run.
"""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any

from scalemix.files import writing
from scalemix.studies.cell import Cell, Result

__all__ = ["Ledger"]

PARTS = {"cell": str, "key": str, "spec": dict, "numbers": dict, "seconds": (int, float), "code": str, "versions": dict}
REMEDY = "make room or choose another folder; the cells that are done are kept, and the same command goes on from them"


class Ledger:
    """The file ``cells.jsonl`` of a folder.

    Args:
        path: of the file, which need not be there yet.

    Attributes:
        results: of the cells that are done, by ``Cell.key``.
        torn: bytes at the end of the file that a kill has cut off; the next result takes their place.

    Raises: ValueError if a line of it is damaged, naming the line; a last line without its end was cut off by a kill and is left out.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.results: dict[str, Result] = {}
        self.torn = 0  # bytes at the end that a kill has cut off
        if not path.is_file():
            return
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError as error:
            raise ValueError(f"{path} is damaged ({error}): restore it from a copy, or give another folder") from error
        *lines, torn = text.split("\n")
        for number, line in enumerate(lines, start=1):
            result = self._read(line, number)
            self.results[result.cell.key] = result
        self.torn = len(torn.encode())

    def add(self, result: Result) -> None:
        """Write the line of a ``result``; once this returns, neither kill -9 nor a full disk takes it away."""
        line = json.dumps(
            {
                "cell": result.cell.name,
                "key": result.cell.key,
                "spec": dict(result.cell.spec),
                "numbers": result.numbers,
                "seconds": round(result.seconds, 2),
                "code": result.code,
                "versions": dict(result.versions),
            }
        )
        with writing("the study", self.path, REMEDY):
            size = self.path.stat().st_size - self.torn if self.path.exists() else 0
            if self.torn:
                os.truncate(self.path, size)
                self.torn = 0
            try:
                with open(self.path, "a", encoding="utf-8") as file:
                    file.write(line + "\n")
                    file.flush()
                    os.fsync(file.fileno())
            except OSError:
                if self.path.exists():
                    os.truncate(self.path, size)  # a part of a line
                raise
        self.results[result.cell.key] = result

    def _read(self, line: str, number: int) -> Result:
        def damaged(why: str) -> ValueError:
            return ValueError(f"line {number} of {self.path} is damaged ({why}): remove the line, and its cell is done again")

        try:
            read: Any = json.loads(line)
        except (json.JSONDecodeError, RecursionError) as error:
            raise damaged(str(error)) from error
        if not isinstance(read, dict):
            raise damaged("it is no object")
        for part, kind in PARTS.items():
            if not isinstance(read.get(part), kind):
                raise damaged(f"its part {part!r} is missing or of another kind")
        for name, value in read["numbers"].items():
            if not isinstance(value, (int, float)):
                raise damaged(f"{name!r} is {value!r} and no number")
        cell = Cell(read["cell"], read["spec"])
        if cell.key != read["key"]:
            raise damaged("its settings are not those that it was written with")
        if not math.isfinite(read["seconds"]):
            raise damaged("its time is no number")
        return Result(
            cell, {name: float(value) for name, value in read["numbers"].items()}, read["seconds"], read["code"], read["versions"]
        )
