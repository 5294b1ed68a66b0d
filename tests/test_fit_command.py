"""``scalemix fit``: what it writes, that a killed fit ends with the numbers of one that was not."""

from __future__ import annotations

import json
import math
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from fit_command import QUICK, frame, kinds, numbers, refused, run
from typer.testing import CliRunner

import scalemix as sm
from scalemix.cli import app
from scalemix.jobs.fit_folder import FitFolder


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    folder = tmp_path_factory.mktemp("fit")
    result = run("--data", numbers(folder), "--target", "y", "--validation", "0.2", "--output", folder / "out", *QUICK)
    assert result.exit_code == 0, result.output
    return folder / "out", result.output


def test_what_is_written(fitted: tuple[Path, str]) -> None:
    folder, printed = fitted
    assert {path.name for path in folder.iterdir()} == {*("fit.json", "data.npz", "posterior.nc", "report.html", "report.md", "fit.png")}
    for text in ((folder / "report.md").read_text(), (folder / "report.html").read_text()):
        for words in ("held out", "kept aside", "no posterior", "Empirical Bayes", "mine.csv", "GaussianUniformMaximized"):
            assert words in text or words.capitalize() in text, words
    assert "Written to" in printed and "held out" in printed


def test_the_rows_and_the_score_are_those_of_the_file(fitted: tuple[Path, str]) -> None:
    """The rows put back into their units are those of the CSV, none of them twice; RMSE, coverage and log density are recomputed."""
    folder, printed = fitted
    found = FitFolder.open(folder)
    data, posterior = found.data, found.posterior()
    assert data.validation is not None
    parts = (data.train, data.validation, data.test)
    assert [len(part.y) for part in parts] == [38, 10, 12]
    rows = np.concatenate(
        [np.column_stack([data.input_mean + data.input_scale * part.x, data.target_mean + data.target_scale * part.y]) for part in parts]
    )
    wanted = frame().drop(columns="kind").to_numpy()
    np.testing.assert_allclose(rows[np.lexsort(rows.T)], wanted[np.lexsort(wanted.T)], rtol=1e-10, atol=1e-12)
    both = np.concatenate([data.train.y, data.validation.y])
    np.testing.assert_allclose([both.mean(), both.std()], [0.0, 1.0], atol=1e-12)
    w1, b1, w2, b2, sigma = (np.asarray(posterior.draws[name][0], dtype=float) for name in ("w1", "b1", "w2", "b2", "sigma"))
    hidden = np.tanh(np.einsum("np,dpu->dnu", data.test.x, w1) + b1[:, None])
    mean = np.einsum("dnu,du->dn", hidden, w2[..., 0]) + b2
    error = data.target_scale * math.sqrt(np.mean((mean.mean(0) - data.test.y) ** 2))
    each = -0.5 * np.log(2 * np.pi * sigma[:, None] ** 2) - 0.5 * ((data.test.y - mean) / sigma[:, None]) ** 2
    density = np.mean(np.log(np.mean(np.exp(each), axis=0))) - math.log(data.target_scale)
    cells = re.search(r"\| held out +\| +12 \| +(\S+) \| +(\S+) \|", printed)
    assert cells is not None
    np.testing.assert_allclose([float(cells[1]), float(cells[2])], [error, density], rtol=1e-3)


def test_a_finished_fit_is_not_fitted_again(fitted: tuple[Path, str]) -> None:
    folder, printed = fitted
    before = (folder / "posterior.nc").stat().st_mtime_ns
    result = run("--resume", "--output", folder)
    assert result.exit_code == 0, result.output
    assert "is finished" in result.output
    assert (folder / "posterior.nc").stat().st_mtime_ns == before
    assert [line for line in printed.splitlines() if "held out" in line] == [
        line for line in result.output.splitlines() if "held out" in line
    ]


def test_the_folder_of_another_fit_is_refused(fitted: tuple[Path, str], tmp_path: Path) -> None:
    folder, _ = fitted
    again = ["--data", numbers(tmp_path), "--target", "y", "--output", folder, *QUICK]
    refused(run(*again), "holds a finished fit", "--resume", "another --output")
    refused(run("--resume", "--output", folder, "--epochs", "61"), "begun with --epochs 60, not with --epochs 61", "another --output")
    refused(run("--resume", "--output", folder, "--seed", "3"), "begun with --seed 0, not with --seed 3")
    refused(run("--resume", "--output", folder, "--target", "a"), "begun with --target y, not with --target a")
    refused(run("--resume", "--output", tmp_path / "none"), "there is no fit in", "--data")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").write_text("mine")
    refused(run("--data", numbers(tmp_path), "--target", "y", "--output", tmp_path / "full", *QUICK), "not empty", "notes.txt", "--output")


@pytest.mark.parametrize("name", ["fit.json", "data.npz", "posterior.nc"])
@pytest.mark.parametrize("damage", ["bit", "cut", "gone"])
def test_a_damaged_folder_is_refused(name: str, damage: str, fitted: tuple[Path, str], tmp_path: Path) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    for path in fitted[0].iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    content = bytearray((folder / name).read_bytes())
    if damage == "gone":
        (folder / name).unlink()
    elif damage == "cut":
        (folder / name).write_bytes(content[: len(content) // 2])
    else:
        content[len(content) // 2] ^= 0x80
        (folder / name).write_bytes(content)
    result = run("--resume", "--output", folder)
    refused(result, str(folder))
    assert "give" in result.stderr or "restore it from a copy" in result.stderr


# --- slow: classes, images, a sampler, kill -9 ------------------------------------------------------------------------------------


@pytest.mark.slow
def test_text_is_a_class(tmp_path: Path) -> None:
    out = tmp_path / "out"
    result = run("--data", kinds(tmp_path), "--target", "kind", "--output", out, "--method", "map", "--epochs", "300", "--network", "8")
    assert result.exit_code == 0, result.output
    found = json.loads((out / "fit.json").read_text())["data"]
    assert found["classes"] == ["high", "low"]
    errors = re.findall(r"\| held out[^|]*\| +12 \| +(\S+) \|", result.output)
    assert float(errors[0]) < float(errors[1])  # than the commonest class


@pytest.mark.slow
def test_a_sampler_tells_its_diagnostics_and_goes_on(tmp_path: Path) -> None:
    out = tmp_path / "out"
    few = ["--method", "nuts", "--network", "2", "--draws", "40", "--warmup", "40", "--chains", "2", "--noise", "0.3"]
    result = run("--data", numbers(tmp_path), "--target", "y", "--output", out, *few)
    assert result.exit_code == 0, result.output
    assert "Sampler: " in result.output and "R-hat" in result.output
    posterior = sm.Posterior.load(out / "posterior.nc")
    assert posterior.draws["w1"].shape == (2, 40, 3, 2)
    assert not (out / "run").exists()


def command(path: Path, out: Path, *more: str) -> list[str]:
    fixed = ["--network", "4", "--method", "vbd", "--batch-size", "8", "--draws", "20", "--checkpoint-minutes", "0.0001"]
    return [sys.executable, "-m", "scalemix", "fit", "--data", str(path), "--target", "y", "--output", str(out), *fixed, *more]


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["pyro", "numpyro"])
def test_a_fit_that_is_killed_goes_on_to_the_same_numbers(backend: str, tmp_path: Path) -> None:
    path, more = numbers(tmp_path), ["--backend", backend, "--epochs", "400" if backend == "pyro" else "30000"]
    killed = tmp_path / "killed"
    child = subprocess.Popen(command(path, killed, *more), stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    deadline = time.monotonic() + 300
    manifest = killed / "run" / "training.json"

    def epoch() -> int:
        record = json.loads(manifest.read_text())["checkpoint"] if manifest.is_file() else None
        return 0 if record is None else record["epoch"]

    while child.poll() is None and epoch() == 0 and time.monotonic() < deadline:
        time.sleep(0.01)
    child.send_signal(signal.SIGKILL)
    output = child.communicate()[0].decode()
    assert child.returncode == -signal.SIGKILL, output
    reached = epoch()
    assert 0 < reached < int(more[-1])
    refused(run("--data", path, "--target", "y", "--output", killed, *QUICK), "a fit that is not finished", "--resume")
    refused(CliRunner().invoke(app, ["shrink", str(killed)]), "is not finished", "--resume")
    for out, arguments in (
        (killed, ["--resume", "--output", str(killed)]),
        (tmp_path / "whole", command(path, tmp_path / "whole", *more)[4:]),
    ):
        done = subprocess.run(
            [sys.executable, "-m", "scalemix", "fit", *arguments], capture_output=True, text=True, check=False, env=os.environ
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert not (out / "run").exists()
    one, other = sm.Posterior.load(killed / "posterior.nc"), sm.Posterior.load(tmp_path / "whole" / "posterior.nc")
    assert one.losses is not None and other.losses is not None
    np.testing.assert_array_equal(one.losses, other.losses)
    for name, value in other.draws.items():
        np.testing.assert_array_equal(one.draws[name], value)
