"""Training that is stopped, killed or goes wrong: what a folder keeps, and what is refused."""

from __future__ import annotations

import importlib
import json
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trained
from trained import make_data, regression, run_in

from scalemix.training import Settings
from scalemix.training.checkpoints import TrainFolder

X, Y = make_data()
quiet = partial(Settings, progress=False, dtype="float64")
SAMPLED = partial(regression, sampled=True)


@pytest.fixture(params=["numpyro", "pyro"], scope="module")
def language(request: pytest.FixtureRequest) -> str:
    return request.param


def train(language: str, data: Any, settings: Settings, *, make: Any = SAMPLED, seed: int = 0, **options: Any) -> Any:
    engine = importlib.import_module(f"scalemix.{language}").engine
    with engine.precision(settings.dtype, "cpu"):
        return engine.train(make(language), data, settings, seed=seed, **options)


def same_bits(one: Any, other: Any) -> None:
    for name, value in one.params.items():
        np.testing.assert_array_equal(value, other.params[name])
    for name, value in one.history.items():
        np.testing.assert_array_equal(value, other.history[name])
    assert one.stopped == other.stopped


class StoppedError(Exception):
    pass


def stop_after(monkeypatch: pytest.MonkeyPatch, writes: int) -> None:
    """The process ends, as it were, after so many checkpoints."""
    write, left = TrainFolder.write, [writes]

    def then_stop(self: TrainFolder, *parts: Any) -> None:
        write(self, *parts)
        left[0] -= 1
        if left[0] == 0:
            raise StoppedError

    monkeypatch.setattr(TrainFolder, "write", then_stop)


# --- resume ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("batches", [False, True], ids=["arrays", "batches"])
def test_a_stopped_run_goes_on_to_the_same_bits(language: str, batches: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # 60 steps to an epoch, of which the first call takes 16 and the others 50 at most: the first checkpoint lies inside of an epoch.
    monkeypatch.setattr("scalemix.training.loop.CAPACITY", 50)
    data: Any = [(X[i : i + 1], Y[i : i + 1]) for i in range(60)] if batches else (X, Y)
    options = {"num_data": 60} if batches else {}
    settings = quiet(
        num_epochs=4,
        batch_size=None if batches else 1,
        schedule="cosine",
        noise_learning_rate=0.01,
        checkpoint_minutes=1e-9,
        clip_norm=100.0,
    )
    whole = train(language, data, settings, **options)
    for writes in (1, 2):
        with monkeypatch.context() as patch:
            stop_after(patch, writes)
            with pytest.raises(StoppedError):
                train(language, data, settings, folder=tmp_path / "run", resume=True, **options)
        record = json.loads((tmp_path / "run" / "training.json").read_text())["checkpoint"]
        assert record["epoch"] < 4 and (writes > 1 or (record["epoch"], record["position"]) == (0, 16))
    same_bits(whole, train(language, data, settings, folder=tmp_path / "run", resume=True, **options))
    assert sorted(path.name.split("-")[0] for path in (tmp_path / "run").iterdir()) == ["checkpoint", "training.json"]
    same_bits(whole, train(language, data, settings, folder=tmp_path / "run", resume=True, **options))  # it is finished


def test_early_stopping_goes_on_where_it_was(language: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = quiet(num_epochs=60, learning_rate=0.2, patience=4, checkpoint_minutes=1e-9)

    def validation(params: dict[str, Any]) -> float:
        return float(abs(params["w_loc"][0] + 0.9))

    whole = train(language, (X, Y), settings, validation=validation)
    assert len(whole.history["loss"]) < 60
    best = int(np.argmin(whole.history["validation"]))
    stop_after(monkeypatch, best + 3)
    with pytest.raises(StoppedError):
        train(language, (X, Y), settings, validation=validation, folder=tmp_path / "run")
    monkeypatch.undo()
    same_bits(whole, train(language, (X, Y), settings, validation=validation, folder=tmp_path / "run", resume=True))


def reached(folder: Path) -> int:
    manifest = folder / "training.json"
    record = json.loads(manifest.read_text())["checkpoint"] if manifest.is_file() else None
    return -1 if record is None else record["epoch"]


def kill_until_done(folder: Path, language: str, kills: int, num_epochs: int) -> None:
    """Child after child goes on with the run; each but the last is killed at a random time after its first checkpoint."""
    random = np.random.default_rng(0)
    for _ in range(kills):
        before = reached(folder)
        child = subprocess.Popen([sys.executable, trained.__file__, str(folder), language, str(num_epochs)], stderr=subprocess.PIPE)
        while child.poll() is None and reached(folder) <= before:
            time.sleep(0.005)
        time.sleep(random.uniform(0.0, 0.1))
        promised = reached(folder)
        child.send_signal(signal.SIGKILL)
        errors = child.communicate()[1].decode()
        assert child.returncode == -signal.SIGKILL, errors
        assert before < promised <= reached(folder) < num_epochs
    same_bits(run_in(None, language, num_epochs), run_in(folder, language, num_epochs))


@pytest.mark.slow
def test_kill_once(tmp_path: Path) -> None:
    kill_until_done(tmp_path / "run", "numpyro", kills=1, num_epochs=100)


@pytest.mark.slow
def test_kill_five_times(language: str, tmp_path: Path) -> None:
    kill_until_done(tmp_path / "run", language, kills=5, num_epochs=300)


# --- what goes wrong ------------------------------------------------------------------------------------------------------------


def refused(*words: str, kind: type[Exception] = ValueError) -> Any:
    return pytest.raises(kind, match="^[^\n]*" + "[^\n]*".join(words) + "[^\n]*$")


def test_nan_stops_with_the_step_the_parameter_and_the_last_checkpoint(language: str, tmp_path: Path) -> None:
    # √(0.5 − |w|) ceases to be real as w moves from 0 to ±1.
    broken = partial(regression, broken_after=0.5)
    settings = quiet(num_epochs=60, learning_rate=0.02, checkpoint_minutes=1e-9)
    with refused(
        "step 0 of epoch [0-9]+: the loss is nan",
        "gradient of 'w_loc'",
        "no checkpoint was written",
        "learning_rate",
        kind=FloatingPointError,
    ):
        train(language, (X, Y), settings, make=broken)
    with refused("last good checkpoint is .*checkpoint-[0-9]+.npz .step 0 of epoch", kind=FloatingPointError):
        train(language, (X, Y), settings, make=broken, folder=tmp_path / "run")
    with np.load(next((tmp_path / "run").glob("*.npz"))) as file:
        assert all(np.isfinite(file[key]).all() for key in file.files if key.startswith("state/"))


def test_a_rate_that_blows_up_names_the_parameter(language: str) -> None:
    with refused("epoch [0-9]+: the (loss|last step|parameter)", "'w_", kind=FloatingPointError):
        train(language, (X, Y), quiet(num_epochs=50, batch_size=20, optimizer="sgd", learning_rate=1e6))


@pytest.mark.parametrize("damage", ["bit", "cut", "gone", "pickled"])
def test_a_damaged_checkpoint_is_refused_and_never_unpickled(damage: str, tmp_path: Path) -> None:
    settings = quiet(num_epochs=2)
    train("pyro", (X, Y), settings, folder=tmp_path)
    file = next(tmp_path.glob("*.npz"))
    content = bytearray(file.read_bytes())
    if damage == "bit":
        content[len(content) // 2] ^= 1
    file.write_bytes(content[: len(content) // 2] if damage == "cut" else content)
    if damage == "gone":
        file.unlink()
    if damage == "pickled":  # with the checksum that fits
        from scalemix.files import checksum

        np.savez(file, **{"state/x": np.array([Trap()], dtype=object)})
        manifest = json.loads((tmp_path / "training.json").read_text())
        manifest["checkpoint"]["sha256"] = checksum(file)
        (tmp_path / "training.json").write_text(json.dumps(manifest))
    with refused(file.name, "missing|damaged", "restore it from a copy"):
        train("pyro", (X, Y), settings, folder=tmp_path, resume=True)


class Trap:
    def __reduce__(self) -> tuple:
        return pytest.fail, ("it was unpickled",)


def test_a_damaged_manifest_and_a_strange_folder_are_refused(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "training.json").write_text("{")
    with refused("training.json is damaged"):
        train("pyro", (X, Y), quiet(num_epochs=1), folder=tmp_path / "run", resume=True)
    with refused("not empty .it has run"):
        train("pyro", (X, Y), quiet(num_epochs=1), folder=tmp_path)
    with refused("resume=True needs folder="):
        train("pyro", (X, Y), quiet(num_epochs=1), resume=True)


def test_another_run_is_not_gone_on_with(language: str, tmp_path: Path) -> None:
    train(language, (X, Y), quiet(num_epochs=1), folder=tmp_path)
    with refused("holds a training run", "resume=True"):
        train(language, (X, Y), quiet(num_epochs=1), folder=tmp_path)
    for settings, data, seed, words in (
        (quiet(num_epochs=2), (X, Y), 0, "num_epochs=1 and this one has num_epochs=2"),
        (quiet(num_epochs=1), (X, Y), 1, "seed=0 and this one has seed=1"),
        (quiet(num_epochs=1), (X, Y + 1), 0, "has data="),
    ):
        with refused(words):
            train(language, data, settings, seed=seed, folder=tmp_path, resume=True)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"num_epochs": 0}, "num_epochs"),
        ({"batch_size": 0}, "batch_size"),
        ({"batch_size": 2.5}, "batch_size"),
        ({"last_batch": "pad"}, "'drop' or 'smaller'"),
        ({"learning_rate": 0.0}, "learning_rate"),
        ({"noise_learning_rate": -1.0}, "noise_learning_rate"),
        ({"optimizer": "adamw"}, "'adam', 'sgd'"),
        ({"schedule": "step"}, "'cosine'"),
        ({"schedule": "exponential", "decay": 0}, "never reaches 0"),
        ({"decay": 2}, "from 0 to 1"),
        ({"hold": 1.5}, "from 0 to 1"),
        ({"kl_schedule": (5, 3)}, "start <= full"),
        ({"kl_schedule": (5, 200)}, "never has its full weight"),
        ({"kl_weight": 0.0}, "kl_weight"),
        ({"clip_norm": 0}, "clip_norm"),
        ({"patience": 0}, "patience"),
        ({"checkpoint_minutes": 0.0}, "checkpoint_minutes"),
        ({"compile": "yes"}, "True, False or 'auto'"),
    ],
)
def test_settings_out_of_range_are_refused(options: dict[str, Any], words: str) -> None:
    with refused(words):
        quiet(**options)


@pytest.mark.parametrize(
    ("data", "options", "words", "kind"),
    [
        ((X, Y[:-1]), {}, "60, 59.*one row per case", ValueError),
        ((X[:0], Y[:0]), {}, "no rows", ValueError),
        ((), {}, "no array with rows", ValueError),
        (3.0, {}, "a float: give a tuple of arrays", TypeError),
        ([(X, Y)], {}, "give num_data=", ValueError),
        ([(X, Y)], {"num_data": 0}, "num_data", ValueError),
        ([], {"num_data": 60}, "no batch", ValueError),
        (iter([(X, Y)]), {"num_data": 60}, "used up after one epoch", ValueError),
        (lambda epoch: iter([]), {"num_data": 60}, "no batch in epoch 0", ValueError),
        ((X, Y), {"seed": -1}, "seed", ValueError),
        ((X, Y), {"make": lambda _: object()}, "params, a dict", TypeError),
        ((X, Y), {"settings": quiet(patience=2)}, "give validation=", ValueError),
        ((X, Y), {"settings": quiet(noise_parameters=("*_rate",))}, "'.*_rate' fits none of", ValueError),
        ((X, Y), {"settings": quiet(optimizer=lambda *_, **__: 3)}, "made a int", TypeError),
        ([(X, Y)], {"settings": quiet(batch_size=5), "num_data": 60}, "batch_size", ValueError),
    ],
)
def test_what_does_not_fit_is_refused(language: str, data: Any, options: dict[str, Any], words: str, kind: type[Exception]) -> None:
    with refused(words, kind=kind):
        train(language, data, **{"settings": quiet(num_epochs=2), "make": regression} | options)
