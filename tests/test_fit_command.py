"""``scalemix fit``: what it writes, that a killed fit ends with the numbers of one that was not, and one sentence for whatever is wrong."""

from __future__ import annotations

import json
import math
import os
import re
import signal
import subprocess
import sys
import time
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

import scalemix as sm
from scalemix.cli import app
from scalemix.files import load_arrays
from scalemix.jobs.fit_folder import FitFolder
from scalemix.jobs.supervised import read_supervised
from scalemix.jobs.wanted_fit import Wanted

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


def refused(result: Any, *words: str) -> None:
    assert result.exit_code == 2, result.output
    sentence = result.stderr.strip()
    assert sentence.startswith("Error: ") and "\n" not in sentence
    for word in words:
        assert word in sentence, sentence


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


def plain_npz(path: Path, **more: np.ndarray) -> Path:
    rng = np.random.default_rng(2)
    np.savez_compressed(path, **({"x": rng.normal(size=(30, 2)), "y": rng.normal(size=30)} | more))  # type: ignore[arg-type]
    return path


@pytest.mark.parametrize("more", [("--method", "mc_dropout", "--prior", "normal"), ("--method", "map", "--epochs", "2"), ("--resume",)])
def test_a_file_of_the_user_s_own_under_our_name_is_left_alone(more: tuple[str, ...], tmp_path: Path) -> None:
    folder = tmp_path / "n1"
    folder.mkdir()
    path = plain_npz(folder / "data.npz")
    before = path.read_bytes()
    refused(run("--data", path, "--output", folder, *QUICK, *more), "data.npz", "--output")
    assert path.read_bytes() == before
    refused(run("--data", plain_npz(tmp_path / "d.npz"), "--output", folder, *QUICK, *more), "not empty (it has data.npz)", "--output")
    assert path.read_bytes() == before


def test_a_fit_killed_before_its_rows_were_whole_begins_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, source = tmp_path / "out", str(plain_npz(tmp_path / "d.npz"))
    wanted, data = Wanted(method="map", source=source), read_supervised(source)
    with monkeypatch.context() as patch:
        write = FitFolder._write
        patch.setattr(FitFolder, "_write", lambda self: write(self) if self.manifest["data"] is None else 1 / 0)
        with pytest.raises(ZeroDivisionError):
            FitFolder.begin(folder, wanted, data)
    assert {path.name for path in folder.iterdir()} == {"fit.json", "data.npz"}
    assert not FitFolder.there(folder)
    with pytest.raises(ValueError, match="there is no fit in"):
        FitFolder.open(folder)
    FitFolder.begin(folder, wanted, data)
    assert FitFolder.open(folder).wanted == wanted


def test_what_another_process_wrote_is_not_forgotten(tmp_path: Path) -> None:
    folder, source = tmp_path / "out", str(plain_npz(tmp_path / "d.npz"))
    mine = FitFolder.begin(folder, Wanted(method="map", source=source), read_supervised(source))
    FitFolder.open(folder).forget()
    assert (folder / "data.npz").is_file() and (folder / "fit.json").is_file()
    plain_npz(folder / "data.npz")
    mine.forget()
    assert [path.name for path in folder.iterdir()] == ["data.npz"]


@pytest.mark.parametrize("change", [{"finished": 5}, {"finished": {"file": 5, "sha256": 5}}, {"wanted": [1]}])
def test_a_manifest_of_other_things_is_refused(change: dict[str, Any], tmp_path: Path) -> None:
    folder, source = tmp_path / "out", str(plain_npz(tmp_path / "d.npz"))
    FitFolder.begin(folder, Wanted(method="map", source=source), read_supervised(source))
    manifest = json.loads((folder / "fit.json").read_text())
    (folder / "fit.json").write_text(json.dumps(manifest | change))
    refused(run("--resume", "--output", folder), "fit.json is damaged", "restore it from a copy")


def test_what_is_wrong_with_the_question(tmp_path: Path) -> None:
    path, out = numbers(tmp_path), tmp_path / "out"

    def asked(*more: str | Path, quick: list[str] = QUICK) -> Any:
        return run("--data", path, "--target", "y", "--output", out, *quick, *more)

    refused(run("--method", "vbd", "--output", out), "give --data")
    refused(run("--data", path, "--target", "y", "--output", out), "give --method")
    refused(run("--data", path, "--output", out, *QUICK), "--target")
    refused(run("--data", tmp_path / "none.csv", "--target", "y", "--output", out, *QUICK), "no file")
    refused(run("--data", path, "--target", "z", "--output", out, *QUICK), "no column 'z'", "a, b, c, y")
    refused(run("--data", "yacht", "--target", "y", "--output", out, *QUICK), "--target goes with a CSV file")
    refused(asked("--split", "1"), "--split goes with a UCI set")
    refused(asked("--method", "vdb"), "unknown method 'vdb'", "vbd")
    refused(asked("--network", "4,x"), "--network '4,x'", "whole numbers")
    refused(asked("--prior", "lasso"), "unknown prior 'lasso'", "laplace")
    refused(asked("--prior", " "), "--prior is empty", "scalemix prior")
    refused(asked("--prior", "laplace 3"), "'3' is not a setting")
    refused(asked("--prior", "log-uniform", "--method", "mean_field"), "--prior log-uniform", "give --method variational_dropout")
    refused(asked("--prior", "gaussian-uniform-maximized", "--method", "map"), "give --method vbd")
    refused(asked("--warmup", "10"), "--warmup is of a sampler", "vbd")
    refused(asked("--method", "nuts", "--epochs", "9"), "--epochs is of training", "nuts")
    refused(asked("--method", "mean_field", "--batch-size", "9"), "--batch-size", "all rows at once")
    refused(asked("--noise", "0.1", "--classify"), "--noise is of a number")
    refused(asked("--validation", "0.001"), "--validation 0.001 of 48 rows")
    refused(asked("--prior", "laplace"), "vbd is for weights with the prior sm.GaussianUniformMaximized()", "scalemix.inference.mean_field")
    assert not out.exists() or not list(out.iterdir())  # what a recipe refuses leaves nothing behind
    for wrong in (["--epochs", "0"], ["--backend", "stan"], ["--validation", "2"]):
        assert asked(*wrong).exit_code == 2


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"x": np.ones((20, 2))}, ("no array 'y'",)),
        ({"x": np.ones((20, 2)), "y": np.arange(19.0)}, ("y of", "(19,)", "20 rows")),
        ({"x": np.ones((20, 2, 2, 2, 2)), "y": np.arange(20.0)}, ("x of", "images (n, height, width, channel)")),
        ({"x": np.full((20, 2), np.nan), "y": np.arange(20.0)}, ("x of", "NaN")),
        ({"x": np.ones((20, 2)), "y": np.arange(20.0), "x_test": np.ones((3, 2))}, ("no array 'y_test'",)),
        ({"x": np.ones((20, 2)), "y": np.arange(20.0), "x_test": np.ones((3, 3)), "y_test": np.ones(3)}, ("x_test of", "both alike")),
        ({"x": np.arange(40.0).reshape(20, 2), "y": np.zeros(20, int)}, ("one class alone",)),
        ({"x": np.ones((20, 4, 4)), "y": np.arange(20.0)}, ("images", "constant")),
        ({"x": np.ones((3, 2)), "y": np.arange(3.0)}, ("3 rows", "at least 10")),
        (
            {"x": np.ones((20, 2)), "y": np.ones(20), "x_test": np.ones((0, 2)), "y_test": np.ones(0)},
            ("x_test of", "(0, 2)", "leave x_test"),
        ),
        ({"x": np.ones((20, 0)), "y": np.ones(20)}, ("x of", "(20, 0)", "columns")),
        ({"x": np.ones((20, 2)), "y": np.arange(20) + 1j}, ("y of", "complex128", "real numbers")),
        ({"x": np.ones((20, 2)), "y": np.array([b"\xff", b"a"] * 10)}, ("y of", "no UTF-8 text")),
        ({"x": np.ones((20, 2)), "y": np.array(["1"] * 20), "x_test": np.ones((2, 2)), "y_test": np.ones(2)}, ("y_test", "both as text")),
        ({"x": np.ones((20, 2)), "y": np.array([{}] * 20)}, ("no npz file of plain arrays",)),
    ],
)
def test_bad_npz(arrays: dict[str, np.ndarray], words: tuple[str, ...], tmp_path: Path) -> None:
    path = tmp_path / "mine.npz"
    np.savez(path, **arrays)  # type: ignore[arg-type]
    refused(run("--data", path, "--output", tmp_path / "out", *QUICK), "mine.npz" if "at least" not in words[-1] else "3 rows", *words)


def test_bytes_are_classes_by_their_text(tmp_path: Path) -> None:
    found = read_supervised(str(plain_npz(tmp_path / "d.npz", y=np.array(["ä".encode(), b"b"] * 15))))
    assert found.classes == ("b", "ä")


@pytest.mark.parametrize("error", [zlib.error, EOFError])
def test_a_damaged_npz(error: type[Exception], tmp_path: Path) -> None:
    """A bad first byte of a compressed array; a plain one of which the sizes are too large, so that the file ends before it."""
    path = plain_npz(tmp_path / "d.npz")
    if error is EOFError:
        np.savez(path, x=np.ones((30, 2)), y=np.ones(30))
    content = bytearray(path.read_bytes())
    if error is zlib.error:
        start = 30 + int.from_bytes(content[26:28], "little") + int.from_bytes(content[28:30], "little")
        content[start] = 0xFF
    else:
        directory = content.index(b"PK\x01\x02")
        content[directory + 20 : directory + 28] = 2 * (10**8).to_bytes(4, "little")
        content = content.replace(b"(30, 2), }    ", b"(300000, 2), }", 1)
    path.write_bytes(content)
    with pytest.raises(error), np.load(path) as file:
        file["x"]
    refused(run("--data", path, "--output", tmp_path / "out", *QUICK), "d.npz is no npz file of plain arrays")
    with pytest.raises(ValueError, match=r"d.npz is damaged"):
        load_arrays(path)


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
