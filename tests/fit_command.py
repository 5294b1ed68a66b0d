"""What the tests of ``scalemix fit`` share: the command, small data sets, and what a refusal looks like."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from typer.testing import CliRunner

from scalemix.cli import app

__all__ = ["QUICK", "frame", "kinds", "numbers", "plain_npz", "refused", "run"]

QUICK = ["--network", "4", "--method", "vbd", "--backend", "pyro", "--epochs", "60", "--draws", "20"]


def run(*arguments: str | Path) -> Any:
    return CliRunner().invoke(app, ["fit", *map(str, arguments)])


def frame() -> pd.DataFrame:
    rng = np.random.default_rng(5)
    x = rng.normal(size=(60, 3)) * [1.0, 10.0, 0.1] + [0.0, 5.0, -2.0]
    y = 30.0 + 4.0 * np.tanh(x[:, 0]) + 0.5 * rng.normal(size=60)
    return pd.DataFrame({"a": x[:, 0], "b": x[:, 1], "c": x[:, 2], "kind": np.where(y > 30.0, "high", "low"), "y": y})


def numbers(folder: Path) -> Path:
    path = folder / "mine.csv"
    frame().drop(columns="kind").to_csv(path, index=False)
    return path


def kinds(folder: Path) -> Path:
    path = folder / "kinds.csv"
    frame().drop(columns="y").to_csv(path, index=False)
    return path


def plain_npz(path: Path, **more: np.ndarray) -> Path:
    rng = np.random.default_rng(2)
    np.savez_compressed(path, **({"x": rng.normal(size=(30, 2)), "y": rng.normal(size=30)} | more))  # type: ignore[arg-type]
    return path


def refused(result: Any, *words: str) -> None:
    assert result.exit_code == 2, result.output
    sentence = result.stderr.strip()
    assert sentence.startswith("Error: ") and "\n" not in sentence
    for word in words:
        assert word in sentence, sentence
