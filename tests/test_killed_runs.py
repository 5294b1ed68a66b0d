"""A run in a folder whose process is killed: nothing that was promised is lost, and its bits are those of a run in memory."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import runs
from runs import SEGMENT, Y, brief, model, same_bits

import scalemix as sm
import scalemix.numpyro
from scalemix.inference import nuts

KILLED_DRAWS = 160


def kill_until_done(folder: Path, kills: int, seed: int, longest: float) -> None:
    """Child after child goes on with the run; each but the last is killed, a random time after it was first seen to have a segment."""
    rng = np.random.default_rng(seed)
    command = [sys.executable, runs.__file__, str(folder), str(KILLED_DRAWS)]
    expected = nuts.fit(scalemix.numpyro, model, Y, seed=3, settings=brief(num_draws=KILLED_DRAWS), segment_draws=SEGMENT)
    for _ in range(kills):
        before = reported(folder)
        child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        while child.poll() is None and len(reported(folder)) == len(before):
            time.sleep(0.005)
        time.sleep(rng.uniform(0.0, longest))
        promised = reported(folder)
        child.send_signal(signal.SIGKILL)
        errors = child.communicate()[1].decode()
        assert child.returncode in (-signal.SIGKILL, 0), errors
        found = {record["file"]: record for record in reported(folder)}
        if not json.loads((folder / "manifest.json").read_text())["finished"]:
            assert [found[record["file"]] for record in promised] == promised
            assert all((folder / name).is_file() for name in found)
        if any(record["draws"][1] for record in found.values()):
            part = sm.Posterior.load(folder)
            count = part.log_joint.shape[1]
            assert count >= max(record["draws"][1] for record in promised)
            for name in part.draws:
                np.testing.assert_array_equal(part.draws[name], expected.draws[name][:, :count])
    same_bits(expected, runs.run(folder, KILLED_DRAWS))


def reported(folder: Path) -> list[dict[str, Any]]:
    manifest = folder / "manifest.json"
    return json.loads(manifest.read_text())["segments"] if manifest.is_file() else []


def test_kill_once(tmp_path: Path) -> None:
    kill_until_done(tmp_path / "run", kills=1, seed=0, longest=0.4)


@pytest.mark.slow
def test_kill_twenty_times(tmp_path: Path) -> None:
    kill_until_done(tmp_path / "run", kills=20, seed=1, longest=0.2)
