"""Every study by its one command at smoke size; one that is killed goes on with the cells it has not done."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
import pytest

from scalemix.data import data_folder
from scalemix.studies import STUDIES

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not (data_folder() / "uci").is_dir(), reason="SCALEMIX_DATA has no data sets")]


def begin(name: str, folder: Path, *options: str) -> subprocess.Popen:
    command = [sys.executable, "-m", "scalemix", "study", name, "--size", "smoke", "--workers", "1", "--output", str(folder), *options]
    environment = {**os.environ, "SCALEMIX_DATA": str(data_folder().resolve())}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


def cells(folder: Path) -> list[dict]:
    path = folder / "cells.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


@pytest.mark.parametrize("name", list(STUDIES))
def test_a_study_runs_by_one_command(name: str, tmp_path: Path) -> None:
    process = begin(name, tmp_path)
    out, err = process.communicate(timeout=900)
    assert process.returncode == 0, err
    assert "the paper's number and ours less the paper's" in out
    assert len(cells(tmp_path)) == len(STUDIES[name].cells("smoke", ()))
    table = pd.read_csv(tmp_path / "table.csv")
    assert len(table) > 0
    assert np.isfinite(table["mean"]).all()
    assert {"report.md", "table.csv", "settings.json", "figure.png", "cells.jsonl"} == {
        path.name for path in tmp_path.iterdir() if not path.name.startswith(".")
    }
    again = begin(name, tmp_path)
    again.communicate(timeout=300)
    assert again.returncode == 0
    assert len(cells(tmp_path)) == len({cell["key"] for cell in cells(tmp_path)})


def test_a_killed_study_goes_on_with_what_it_has_not_done(tmp_path: Path) -> None:
    process = begin("uci", tmp_path)
    started = time.monotonic()
    while len(cells(tmp_path)) < 2:
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() - started < 600
        time.sleep(0.2)
    workers = psutil.Process(process.pid).children(recursive=True)
    process.kill()
    process.communicate()
    assert len(workers) >= 1
    assert not psutil.wait_procs(workers, timeout=30)[1], "a worker goes on after its study was killed"
    before = cells(tmp_path)
    process = begin("uci", tmp_path)
    out, err = process.communicate(timeout=900)
    assert process.returncode == 0, err
    after = cells(tmp_path)
    assert after[: len(before)] == before
    assert len(after) == len(STUDIES["uci"].cells("smoke", ()))
    assert "Yacht" in out
