"""A recipe's own folder inside that of a cell."""

from __future__ import annotations

from pathlib import Path
from typing import Any

__all__ = ["folder_of"]


def folder_of(cell: Path) -> dict[str, Any]:
    """``folder=`` and ``resume=`` of a recipe, which goes on where it was killed."""
    fit = cell / "fit"
    return {"folder": fit, "resume": fit.is_dir()}
