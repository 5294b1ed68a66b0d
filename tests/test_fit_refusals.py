"""What ``scalemix fit`` refuses: in one sentence, with the remedy, and with nothing of the user's own lost or half of ours left behind."""

from __future__ import annotations

import json
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from fit_command import QUICK, numbers, plain_npz, refused, run

from scalemix.files import load_arrays
from scalemix.jobs.fit_folder import FitFolder
from scalemix.jobs.supervised import read_supervised
from scalemix.jobs.wanted_fit import Wanted


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


def test_a_full_disk_at_the_beginning_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, source = tmp_path / "out", str(plain_npz(tmp_path / "d.npz"))
    data = read_supervised(source)

    def full(path: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(type(data), "save", lambda self, path: full(path))
    with pytest.raises(OSError, match="No space left"):
        FitFolder.begin(folder, Wanted(method="map", source=source), data)
    assert not folder.exists()


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
    refused(asked("--network", "²"), "--network '²'", "whole numbers")
    refused(asked("--filters", "٣"), "--filters '٣'", "whole numbers")
    refused(asked("--filters", "3,4", "--kernel", "2"), "--filters is of images", "leave it away")
    refused(asked("--kernel", "2"), "--kernel is of images", "npz file")
    refused(asked("--checkpoint-minutes", "3", "--method", "mean_field"), "--checkpoint-minutes: mean_field", "leave it away")
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
    assert not out.exists()  # what a recipe refuses leaves nothing behind
    out.mkdir()
    refused(asked("--prior", "laplace"), "vbd is for weights with the prior")
    assert not list(out.iterdir())  # a folder that was there before stays
    (tmp_path / "file").write_text("")
    refused(run("--data", path, "--target", "y", "--output", tmp_path / "file" / "out", *QUICK), "cannot be written to", "folder")
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
        ({"x": np.ones((1500, 2)), "y": np.arange(1500)}, ("1500 classes", "write y as decimals")),
    ],
)
def test_bad_npz(arrays: dict[str, np.ndarray], words: tuple[str, ...], tmp_path: Path) -> None:
    path = tmp_path / "mine.npz"
    np.savez(path, **arrays)  # type: ignore[arg-type]
    refused(run("--data", path, "--output", tmp_path / "out", *QUICK), "mine.npz" if "at least" not in words[-1] else "3 rows", *words)


def test_too_many_classes(tmp_path: Path) -> None:
    """The remedy is of what made them classes."""
    count = 1500
    for name, values, more in (("word", [f"n{i}" for i in range(count)], ()), ("whole", np.arange(count), ("--classify",))):
        path = tmp_path / f"{name}.csv"
        pd.DataFrame({"a": np.arange(count), name: values}).to_csv(path, index=False)
        result = run("--data", path, "--target", name, "--output", tmp_path / "out", *QUICK, *more)
        refused(
            result, f"{name!r} has 1500 classes, more than 1000", "leave --classify away" if more else "correct its entries that are text"
        )
        assert ("--classify" in result.stderr) == bool(more)
    decimals = plain_npz(tmp_path / "decimals.npz", x=np.ones((count, 2)), y=np.arange(count) / 2)
    refused(run("--data", decimals, "--output", tmp_path / "out", "--classify", *QUICK), "leave --classify away")


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
