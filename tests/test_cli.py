"""The command line: what it prints, what it writes, and one sentence with exit code 2 for whatever is wrong."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

import scalemix as sm
from scalemix.cli import app

QUICK = ["--draws", "100", "--warmup", "100", "--steps", "100", "--workers", "1"]


def run(*arguments: str | Path):
    return CliRunner().invoke(app, ["compare", *map(str, arguments)])


@pytest.fixture
def frame() -> pd.DataFrame:
    rng = np.random.default_rng(5)
    x = rng.normal(size=(60, 3))
    return pd.DataFrame({"a": x[:, 0], "b": x[:, 1], "c": x[:, 2], "y": 3.0 + 2 * x[:, 0] + 0.5 * rng.normal(size=60)})


def write(frame: pd.DataFrame, folder: Path) -> Path:
    path = folder / "mine.csv"
    frame.to_csv(path, index=False)
    return path


def refused(result, *words: str) -> None:
    assert result.exit_code == 2
    sentence = result.stderr.strip()
    assert sentence.startswith("Error: ") and "\n" not in sentence
    for word in words:
        assert word in sentence


def test_own_data_end_to_end(frame, tmp_path):
    frame["still"] = 1.0
    out = tmp_path / "out"
    result = run("--data", write(frame, tmp_path), "--target", "y", "--output", out, "--prior", "ridge", *QUICK)
    assert result.exit_code == 0, result.output
    assert "'still'" in result.output and "constant" in result.output
    table = pd.read_csv(out / "table.csv")
    assert len(table) == 2
    assert (out / "table.md").read_text().count("\n") >= 4 and (out / "report.md").is_file()
    assert sorted(path.suffix for path in out.iterdir()).count(".nc") == 2
    assert {path.name for path in out.glob("*.png")} >= {"coefficients.png", "shrinkage.png"}  # the third needs a valid reference
    posterior = sm.Posterior.load(out / "ridge-nuts-numpyro.nc")
    assert posterior.coords["in"] == ["a", "b", "c"]
    assert abs(posterior.draws["w1"][..., 0].mean() * frame["y"].std() / frame["a"].std() - 2.0) < 0.3  # the slope the data were made with


def test_a_fit_that_ceases_to_be_finite_is_named(frame, tmp_path, monkeypatch):
    from scalemix.inference import mean_field

    def fit(*_, **__):
        raise FloatingPointError("the ELBO is not finite at step 3: lower Settings(learning_rate=)")

    monkeypatch.setattr(mean_field, "fit", fit)
    out = tmp_path / "out"
    result = run("--data", write(frame, tmp_path), "--target", "y", "--output", out, "--prior", "ridge", *QUICK)
    refused(result, "ridge-mean_field-numpyro: the ELBO is not finite at step 3", f"Finished and readable in {out}: none")


def test_help_teaches():
    result = CliRunner().invoke(app, ["compare", "--help"])
    assert result.exit_code == 0
    for word in ("--data", "--target", "--output", "--backend", "six priors", "Examples", "scalemix compare --data mine.csv --target y"):
        assert word in result.output


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda f: f.assign(b=["text", *["1"] * 59]), ("'b'", "text", "encode")),
        (lambda f: f.assign(b=f["b"].where(f.index != 7)), ("'b'", "missing", "line 9", "fill or remove")),
        (lambda f: f.head(1), ("1 row", "at least 10")),
        (lambda f: f.assign(y=4.0), ("'y'", "constant")),
        (lambda f: f[["y"]], ("no column beside", "'y'")),
        (lambda f: f.drop(columns="y"), ("no column 'y'", "a, b, c")),
        (lambda f: f.assign(a=1.0, b=2.0, c=3.0), ("every column is constant",)),
    ],
)
def test_bad_csv(frame, tmp_path, spoil, words):
    out = tmp_path / "out"
    refused(run("--data", write(spoil(frame), tmp_path), "--target", "y", "--output", out, *QUICK), *words)
    assert not out.exists()


def test_bad_arguments(frame, tmp_path):
    path = write(frame, tmp_path)
    refused(run("--data", tmp_path / "none.csv", "--target", "y"), "no file", "none.csv")
    refused(run("--data", path), "--target")
    refused(run("--target", "y"), "--data")
    refused(run("--data", path, "--target", "y", "--output", tmp_path / "out", "--prior", "lasso"), "'lasso'", "laplace")
    (tmp_path / "empty.csv").write_text("")
    refused(run("--data", tmp_path / "empty.csv", "--target", "y"), "not a CSV file")
    for methods, option in (("mean_field", "--draws"), ("mean_field", "--warmup"), ("nuts", "--steps")):
        refused(
            run("--data", path, "--target", "y", "--output", tmp_path / "out", "--methods", methods, option, "100"), option, "--methods"
        )
    assert run("--backend", "stan").exit_code == 2


def test_output_that_cannot_be_written(frame, tmp_path):
    (tmp_path / "file").write_text("in the way")
    refused(run("--data", write(frame, tmp_path), "--target", "y", "--output", tmp_path / "file" / "out"), "cannot write", "--output")


@pytest.mark.slow
@pytest.mark.parametrize("workers", ["1", "2"])
def test_interrupt_keeps_what_is_finished(tmp_path, workers):
    arguments = ["--prior", "ridge", "--prior", "laplace", "--output", str(tmp_path), "--draws", "200", "--warmup", "100", "--steps", "200"]
    command = [sys.executable, "-m", "scalemix", "compare", *arguments, "--workers", workers]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=os.environ | {"COLUMNS": "200"})
    deadline = time.monotonic() + 300
    while not list(tmp_path.glob("ridge*mean_field*.nc")) and time.monotonic() < deadline:
        time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=200)
    assert process.returncode == 130, output
    assert "Interrupted" in output and "ridge" in output
    assert not list(tmp_path.glob(".*tmp"))
    for path in tmp_path.glob("*.nc"):
        assert sm.Posterior.load(path).num_draws > 0
