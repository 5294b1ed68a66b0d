"""Checkpoints of a training run: a manifest and the last checkpoint's arrays, each whole or not there.

    training.json          what is trained (objective, data, seed, settings), and which checkpoint is the last, with its checksum
    checkpoint-00007.npz   parameters, optimizer and history

Arrays and JSON alone: nothing in a folder is ever run.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from scalemix.files import check_written, checksum, load_arrays, replacing, writing
from scalemix.identity import changed_versions, check_identity, data_hash, text
from scalemix.training.feed import Feed
from scalemix.training.settings import Settings

__all__ = ["TrainFolder", "train_identity"]

SCHEMA, MANIFEST = "scalemix training 1", "training.json"
NOT_COMPARED = ("progress", "checkpoint_minutes")  # they change no number
REMEDY = "make room or choose another folder; the last checkpoint is kept, and resume=True goes on from it"


def train_identity(
    language: str, objective: Any, params: dict[str, np.ndarray], feed: Feed, settings: Settings, seed: int
) -> dict[str, Any]:
    """What decides the numbers of a run; an objective may add its own in ``identity``, a dict of texts and numbers."""
    options = {each.name: getattr(settings, each.name) for each in dataclasses.fields(settings)}
    return {
        "language": language,
        "seed": int(seed),
        "settings": {name: text(value) if callable(value) else value for name, value in options.items() if name not in NOT_COMPARED},
        "objective": {"class": type(objective).__qualname__, **getattr(objective, "identity", {})},
        "parameters": {name: list(value.shape) for name, value in params.items()},
        "first values": data_hash(params),
        "data": "batches" if feed.arrays is None else data_hash(feed.arrays),
        "num_data": feed.num_data,
    }


class TrainFolder:
    """An open folder."""

    def __init__(self, path: Path, manifest: dict[str, Any]) -> None:
        self.path, self.manifest = path, manifest
        self.notes: list[str] = []

    @classmethod
    def open(
        cls, folder: Path | str | None, resume: bool, identity: Callable[[], dict[str, Any]], versions: dict[str, str]
    ) -> TrainFolder | None:
        """The folder to write into; with ``resume`` the run in it goes on.

        Raises: ValueError if there is a run and it is not to go on, is another one, or is damaged.
        """
        if folder is None:
            if resume:
                raise ValueError("resume=True needs folder=, the folder of the run to go on with")
            return None
        path = Path(folder)
        if (path / MANIFEST).is_file():
            if not resume:
                raise ValueError(f"{path} holds a training run: give resume=True to go on with it, or another folder")
            found = cls(path, _manifest(path / MANIFEST))
            check_identity(path, found.manifest["identity"], identity())
            found.notes = changed_versions(path, found.manifest["versions"], versions)
            return found
        with writing("the training run", path):
            path.mkdir(parents=True, exist_ok=True)
        if stranger := next((entry.name for entry in path.iterdir() if not entry.name.endswith(".tmp")), None):
            raise ValueError(f"{path} is not a training run of scalemix and not empty (it has {stranger}): give a new folder")
        found = cls(path, {"schema": SCHEMA, "identity": identity(), "versions": versions, "checkpoint": None})
        found._write_manifest()
        return found

    @property
    def has_checkpoint(self) -> bool:
        return self.manifest["checkpoint"] is not None

    @property
    def where(self) -> str:
        """The last checkpoint, in words."""
        record = self.manifest["checkpoint"]
        return f"{self.path / record['file']} (step {record['position']} of epoch {record['epoch']})"

    def last(self) -> tuple[dict[str, dict[str, np.ndarray]], dict[str, Any]]:
        """Arrays and numbers of the last checkpoint.

        Raises: ValueError if it is missing or not what was written.
        """
        record = self.manifest["checkpoint"]
        file = self.path / record["file"]
        check_written(file, record["sha256"])
        return load_arrays(file), record

    def write(self, state: dict[str, np.ndarray], arrays: dict[str, np.ndarray], numbers: dict[str, Any]) -> None:
        """Write a checkpoint, then forget the one before; a kill at any moment leaves one of the two."""
        before = self.manifest["checkpoint"]
        number = 0 if before is None else before["number"] + 1
        path = self.path / f"checkpoint-{number:05d}.npz"
        with writing("the checkpoint", path, REMEDY), replacing(path) as temporary:
            with open(temporary, "wb") as file:
                np.savez(file, **{f"state/{name}": value for name, value in state.items()}, **arrays)  # type: ignore[arg-type]
            digest = checksum(temporary)
        self.manifest["checkpoint"] = {"file": path.name, "number": number, "sha256": digest, **numbers}
        try:
            self._write_manifest()
        except OSError:
            self.manifest["checkpoint"] = before
            raise
        for old in self.path.glob("checkpoint-*.npz"):
            if old != path:
                old.unlink(missing_ok=True)

    def _write_manifest(self) -> None:
        path = self.path / MANIFEST
        with writing("the training run", path, REMEDY), replacing(path) as temporary:
            temporary.write_text(json.dumps(self.manifest, indent=1))


def _manifest(file: Path) -> dict[str, Any]:
    try:
        manifest = json.loads(file.read_text())
        if manifest["schema"] != SCHEMA:
            raise ValueError(f"{file} was written as {manifest['schema']!r}, and this one reads {SCHEMA!r}: use the version that wrote it")
        for part in ("identity", "versions", "checkpoint"):
            manifest[part]
    except (OSError, json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError) as error:
        raise ValueError(f"{file} is damaged ({error}): restore it from a copy, or start anew in another folder") from error
    return manifest
