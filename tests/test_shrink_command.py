"""``scalemix shrink``: the network that it writes, what it counts and measures, and one sentence for whatever is wrong."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
import torch
from fit_command import QUICK, kinds, numbers, refused
from typer.testing import CliRunner

import scalemix.numpyro as in_numpyro
import scalemix.pyro as in_pyro
from scalemix import compress
from scalemix.cli import app
from scalemix.jobs import shrink as shrink_job
from scalemix.jobs.fit_folder import FitFolder


def run(*arguments: str | Path) -> Any:
    return CliRunner().invoke(app, ["shrink", *map(str, arguments)])


def fit(*arguments: str | Path) -> Any:
    result = CliRunner().invoke(app, ["fit", *map(str, arguments)])
    assert result.exit_code == 0, result.output
    return result


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fit")
    fit("--data", numbers(folder), "--target", "y", "--validation", "0.2", "--output", folder / "out", *QUICK)
    return folder / "out"


@pytest.fixture
def no_export(monkeypatch: pytest.MonkeyPatch) -> None:
    """torch.export takes many seconds; the slow test of a whole run has it."""
    import scalemix.pyro.exporting

    monkeypatch.setattr(scalemix.pyro.exporting, "export", lambda network, path, x: path)


def layered(arrays: dict[str, np.ndarray], x: np.ndarray) -> np.ndarray:
    """A network with one hidden layer of tanh, in plain NumPy."""
    hidden = np.tanh(x[:, arrays["inputs"]] @ arrays["w1.weight"] + arrays["w1.bias"])
    return (hidden @ arrays["w2.weight"] + arrays["w2.bias"])[:, 0]


@pytest.mark.usefixtures("no_export")
def test_what_is_written_is_the_network_of_what_is_kept(fitted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Eight of sixteen weights by magnitude: masked by hand from dense.safetensors, the outputs and RMSE are those of the smaller file."""
    monkeypatch.setattr(shrink_job, "COMPARED", 5)
    out = tmp_path / "small"
    result = run(fitted, "--rule", "magnitude", "--fraction", "0.52", "--output", out)
    assert result.exit_code == 0, result.output
    assert "Kept by magnitude: 8 of 16 weights" in result.output
    assert "the first 5 of the 12 rows held out" in (out / "report.md").read_text()
    data = FitFolder.open(fitted).data
    dense, small = (safetensors.numpy.load_file(out / f"{name}.safetensors") for name in ("dense", "shrunk"))
    sizes = np.concatenate([np.abs(dense[f"{name}.weight"]).reshape(-1) for name in ("w1", "w2")])
    least = np.sort(sizes)[-8]
    masked = dense | {f"{name}.weight": dense[f"{name}.weight"] * (np.abs(dense[f"{name}.weight"]) >= least) for name in ("w1", "w2")}
    x = data.test.x.astype(np.float32)
    np.testing.assert_allclose(layered(small, x), layered(masked, x), rtol=1e-5, atol=1e-5)
    errors = {
        name: data.target_scale * np.sqrt(np.mean((layered(arrays, x) - data.test.y) ** 2))
        for name, arrays in (("its means as weights", dense), ("shrunk", small))
    }
    for name, error in errors.items():
        printed = re.search(rf"\| {name} +\| +(\S+) \|", result.output)
        assert printed is not None
        np.testing.assert_allclose(float(printed[1]), error, rtol=1e-3)
    told = json.loads((out / "shrink.json").read_text())
    assert told["report"]["kept weights"] == 8
    assert told["bytes"] == {name: (out / f"{name}.safetensors").stat().st_size for name in ("dense", "shrunk")}
    assert all(value > 0 for by in told["median seconds"].values() for value in by.values())
    assert {path.name for path in out.iterdir()} == {
        *("shrunk.safetensors", "dense.safetensors", "shrink.json", "report.html", "report.md", "shrink.png")
    }
    for ppl, given in ((in_pyro, torch.as_tensor(x)), (in_numpyro, x)):
        output = compress.load(out / "shrunk.safetensors", ppl)(given)
        np.testing.assert_allclose(np.asarray(output.detach() if ppl is in_pyro else output)[:, 0], layered(small, x), rtol=1e-5, atol=1e-5)


@pytest.mark.usefixtures("no_export")
def test_fine_tuning_leaves_zeros_and_lowers_the_error_of_the_rows_it_sees(fitted: Path, tmp_path: Path) -> None:
    plain, tuned = tmp_path / "plain", tmp_path / "tuned"
    same = ["--rule", "magnitude", "--fraction", "0.6"]
    assert run(fitted, *same, "--output", plain).exit_code == 0
    result = run(fitted, *same, "--fine-tune", "200", "--learning-rate", "0.02", "--output", tuned)
    assert result.exit_code == 0, result.output
    assert "200 epochs further" in result.output
    one, other = (safetensors.numpy.load_file(folder / "shrunk.safetensors") for folder in (plain, tuned))
    data = FitFolder.open(fitted).data
    before, after = (np.mean((layered(arrays, data.train.x) - data.train.y) ** 2) for arrays in (one, other))
    assert after < before
    for name in ("w1.weight", "w2.weight"):
        np.testing.assert_array_equal(one[name] == 0, other[name] == 0)
        assert np.any(one[name] != other[name])
    assert not (tuned / "run").exists()


@pytest.mark.slow
@pytest.mark.usefixtures("no_export")
def test_the_least_network_by_a_loss_is_chosen_on_rows_kept_aside(fitted: Path) -> None:
    result = run(fitted, "--rule", "signal_to_noise", "--most-loss", "1000")
    assert result.exit_code == 0, result.output
    assert "the 10 rows that were kept aside" in result.output
    out = fitted / "shrunk-signal_to_noise-loss1000"
    told = json.loads((out / "shrink.json").read_text())["report"]
    assert 1 < told["kept weights"] <= 5  # one path from an input to the output is the least network that is not constant
    assert told["units after"].startswith("1-") and (out / "shrink.png").is_file()


def test_what_is_wrong_with_the_question(fitted: Path, tmp_path: Path) -> None:
    refused(run(tmp_path / "none"), "there is no fit in", "--output")
    refused(run(fitted, "--rule", "size"), "unknown rule 'size'", "log_alpha")
    refused(run(fitted, "--rule", "magnitude"), "magnitude has no threshold of its own", "--fraction")
    refused(run(fitted, "--threshold", "3", "--fraction", "0.5"), "--threshold and --fraction")
    refused(run(fitted, "--fraction", "1.5"), "--fraction 1.5")
    refused(run(fitted, "--rule", "gate_snr2", "--output", tmp_path / "gates"), "gate_snr2", "parametrization='expanded'")
    refused(run(fitted, "--learning-rate", "0.1"), "--learning-rate", "--fine-tune")
    refused(run(fitted, "--threshold", "nan"), "threshold=nan", "finite")
    refused(run(fitted, "--threshold", "-100", "--output", tmp_path / "gates"), "nothing is left of")  # refused before, so not taken
    assert not (tmp_path / "gates").exists()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").write_text("mine")
    refused(run(fitted, "--output", tmp_path / "full"), "not empty", "notes.txt", "--output")
    (tmp_path / "file").write_text("in the way")
    refused(run(fitted, "--output", tmp_path / "file" / "out"), "cannot write")
    assert run(fitted, "--fine-tune", "0").exit_code == 2


def test_a_refusal_keeps_what_there_is_to_go_on_with(tmp_path: Path) -> None:
    (tmp_path / "out" / "run").mkdir(parents=True)
    kept = [tmp_path / "out" / name for name in ("shrink.json", "run/training.json")]
    for path in kept:
        path.write_text("{}")
    shrink_job._release(tmp_path / "out")
    assert all(path.is_file() for path in kept)
    kept[1].unlink()
    shrink_job._release(tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
@pytest.mark.usefixtures("no_export")
def test_another_command_in_the_same_folder_is_refused_and_the_same_one_goes_on(fitted: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    asked = [fitted, "--rule", "magnitude", "--fraction", "0.7", "--output", out]
    assert run(*asked).exit_code == 0
    before = (out / "shrunk.safetensors").read_bytes()
    assert run(*asked).exit_code == 0
    assert (out / "shrunk.safetensors").read_bytes() == before
    refused(run(fitted, "--rule", "magnitude", "--fraction", "0.8", "--output", out), "another command", "--output")
    (out / "shrink.json").write_text("{")
    refused(run(*asked), "shrink.json is damaged", "--output")


# --- slow -------------------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_classes_by_the_rule_of_each_method(tmp_path: Path) -> None:
    """Fitted in NumPyro; what has no threshold of its own takes a fraction."""
    for method, more in (("spike_slab", []), ("horseshoe", ["--fraction", "0.5"]), ("mean_field", [])):
        out = tmp_path / method
        fit("--data", kinds(tmp_path), "--target", "kind", "--method", method, "--epochs", "400", "--network", "6", "--output", out)
        result = run(out, *more, "--fine-tune", "2")
        if result.exit_code == 2:  # few steps may leave nothing: that is said
            assert "nothing is left" in result.stderr
            continue
        assert result.exit_code == 0, result.output
        assert "error [%]" in result.output


@pytest.mark.slow
def test_images_lose_channels_in_pyro_and_become_a_program(tmp_path: Path) -> None:
    """VIBNet's gates on a small LeNet: whole filters go, and the .pt2 has the outputs of the .safetensors."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, size=120)
    x = rng.normal(size=(120, 12, 12)) * 0.3
    for row, kind in enumerate(y):
        x[row, 4 * kind : 4 * kind + 4] += 1.0
    np.savez(tmp_path / "images.npz", x=x[:90], y=y[:90], x_test=x[90:], y_test=y[90:])
    out = tmp_path / "out"
    shape = ["--filters", "4,6", "--kernel", "3", "--network", "8", "--backend", "pyro", "--batch-size", "30"]
    printed = fit("--data", tmp_path / "images.npz", "--method", "vib", "--epochs", "120", "--output", out, *shape).output
    held = re.search(r"\| held out +\| +30 \| +(\S+) \|", printed)
    assert held is not None
    assert float(held[1]) < 10.0
    result = run(out, "--fraction", "0.5", "--output", tmp_path / "small")
    assert result.exit_code == 0, result.output
    network = compress.load(tmp_path / "small" / "shrunk.safetensors", in_pyro)
    images = torch.as_tensor(FitFolder.open(out).data.test.x)
    program = torch.export.load(tmp_path / "small" / "shrunk.pt2").module()
    torch.testing.assert_close(program(images), network(images), rtol=1e-5, atol=1e-5)
    told = json.loads((tmp_path / "small" / "shrink.json").read_text())["report"]
    before, after = ([int(n) for n in told[f"units {when}"].split("-")] for when in ("before", "after"))
    assert before == [1, 4, 6, 8, 3] and sum(after) < sum(before)
