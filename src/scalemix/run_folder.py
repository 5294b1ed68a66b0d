"""A run on the disk: a manifest and segments of draws, each whole or not there, so that a killed run loses nothing it has reported.

    manifest.json          what is run (model, data, seed, settings), and the segments that are done, with their checksums
    data.npz               the data
    segment-00000.npz ...  draws, and the sampler's state after them; number 0 is the state after the warm-up
    posterior.nc           at the end, in place of the segments

Arrays and JSON alone: nothing in a folder is ever run.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from scalemix.arviz_groups import load
from scalemix.files import check_written, checksum, load_arrays, replacing, writing
from scalemix.identity import changed_versions, check_identity
from scalemix.language import Piece
from scalemix.merge import Block, filled, gathered, write_blocks
from scalemix.posterior import Info, Posterior

__all__ = ["RunFolder", "has_run", "load_folder"]

SCHEMA = "scalemix run 1"
MANIFEST, DATA, RESULT = "manifest.json", "data.npz", "posterior.nc"
REMEDY = "make room or choose another folder; the draws so far are kept, and resume=True goes on from them"


class RunFolder:
    """An open run. ``identity`` is everything that decides its draws; a folder holds one run."""

    def __init__(self, path: Path, manifest: dict[str, Any]) -> None:
        self.path, self.manifest = path, manifest

    @classmethod
    def begin(cls, path: Path, identity: dict[str, Any], skeleton: Posterior, versions: dict[str, str]) -> RunFolder:
        """A new run in a new or empty folder."""
        with writing("the run", path):
            path.mkdir(parents=True, exist_ok=True)
        if stranger := next((entry.name for entry in path.iterdir() if not entry.name.endswith(".tmp")), None):
            raise ValueError(f"{path} is not a run of scalemix and not empty (it has {stranger}): give a new folder")
        spec = {"info": skeleton.info.to_dict(), "latents": list(skeleton.latents), "dims": skeleton.dims, "coords": skeleton.coords}
        data = {f"observed/{name}": value for name, value in skeleton.observed.items()}
        data |= {f"constant/{name}": value for name, value in skeleton.constant.items()}
        run = cls(path, {"schema": SCHEMA, "identity": identity, "versions": versions, "posterior": spec, "segments": [], "finished": None})
        run._write_arrays(DATA, data)
        run._write_manifest()
        return run

    @classmethod
    def open(cls, path: Path) -> RunFolder:
        """The run in a folder.

        Raises: ValueError if there is none, or its manifest is damaged.
        """
        file = path / MANIFEST
        if not file.is_file():
            raise ValueError(f"there is no run in {path}: give the folder that a recipe was given as folder=")
        try:
            manifest = json.loads(file.read_text())
            if manifest["schema"] != SCHEMA:
                raise ValueError(
                    f"{file} was written as {manifest['schema']!r}, and this one reads {SCHEMA!r}: use the version that wrote it"
                )
            for part in ("identity", "versions", "posterior", "segments", "finished"):
                manifest[part]
        except (OSError, json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError) as error:
            raise ValueError(f"{file} is damaged ({error}): restore it from a copy, or start anew in another folder") from error
        return cls(path, manifest)

    @property
    def finished(self) -> bool:
        return self.manifest["finished"] is not None

    @property
    def chain_method(self) -> str:
        return self.manifest["posterior"]["info"]["chain_method"]

    @property
    def progress(self) -> str:
        """How far it is, in words."""
        done = max((record["draws"][1] for record in self.manifest["segments"]), default=0)
        return "finished" if self.finished else f"stopped at draw {done} of {self.num_draws}"

    @property
    def num_chains(self) -> int:
        return self.manifest["identity"]["settings"]["num_chains"]

    @property
    def num_draws(self) -> int:
        return self.manifest["identity"]["settings"]["num_draws"]

    def check(self, identity: dict[str, Any]) -> None:
        """Raise ValueError that names the first thing in which another run differs from this one."""
        check_identity(self.path, self.manifest["identity"], identity)

    def prepare(self, versions: dict[str, str]) -> list[str]:
        """Check that the run can go on here, before anything is sampled; returns what a person should know.

        Raises: OSError if the folder cannot be written to, ValueError that names a segment which is missing or not what was written.
        """
        for record in self.manifest["segments"]:
            self._check(record)
        probe = self.path / f".probe.{os.getpid()}.tmp"
        with writing("the run", self.path, REMEDY):
            probe.touch()
            probe.unlink()
        return changed_versions(self.path, self.manifest["versions"], versions)

    def add(self, block: Block, piece: Piece) -> None:
        """Write a segment; once this returns, neither kill -9 nor a full disk takes it away."""
        arrays = {f"{group}/{name}": value for group, values in block.groups.items() for name, value in values.items()}
        arrays |= {f"state/{name}": value for name, value in piece.state.items()}
        number = len(self.manifest["segments"])
        record: dict[str, Any] = {"file": f"segment-{number:05d}.npz", "chains": list(piece.chains), "draws": list(piece.draws)}
        record["sha256"] = self._write_arrays(record["file"], arrays)
        record |= {"seconds_compile": piece.seconds_compile, "seconds_run": piece.seconds_run}
        self.manifest["segments"].append(record)
        try:
            self._write_manifest()
        except OSError:
            self.manifest["segments"].pop()
            raise

    def last(self) -> Piece | None:
        """Where to go on; the draws are left on the disk."""
        if not self.manifest["segments"]:
            return None
        record = self.manifest["segments"][-1]
        state = self._read(record, only="state/")["state"]
        return Piece(tuple(record["chains"]), tuple(record["draws"]), {}, {}, state)

    def blocks(self) -> Iterator[Block]:
        """The draws, a segment at a time."""
        for record in self.manifest["segments"]:
            if record["draws"][1] > record["draws"][0]:
                groups = self._read(record)
                groups.pop("state")
                yield Block(tuple(record["chains"]), tuple(record["draws"]), {"log_likelihood": {}, **groups})

    def skeleton(self) -> Posterior:
        """The posterior without its draws."""
        spec = self.manifest["posterior"]
        info = Info(**spec["info"])
        info.seconds_compile = sum(record["seconds_compile"] for record in self.manifest["segments"])
        info.seconds_run = sum(record["seconds_run"] for record in self.manifest["segments"])
        data = load_arrays(self.path / DATA)
        dims = {name: tuple(names) for name, names in spec["dims"].items()}
        return Posterior(
            {},
            tuple(spec["latents"]),
            info,
            np.empty((0, 0)),
            {},
            dims=dims,
            coords=spec["coords"],
            observed=data.get("observed", {}),
            constant=data.get("constant", {}),
        )

    def finish(self) -> None:
        """Merge the segments into one netCDF file and remove them."""
        path = self.path / RESULT
        with writing("the posterior", path, REMEDY), replacing(path) as temporary:
            write_blocks(temporary, self.skeleton(), self.blocks(), self.num_chains, self.num_draws)
        self.manifest["finished"] = {"file": RESULT, "sha256": checksum(path)}
        self._write_manifest()
        self.tidy()

    def tidy(self) -> None:
        """Remove what a finished run no longer needs; a run that was killed here is tidied when it is next opened."""
        if self.finished:
            for record in self.manifest["segments"]:
                (self.path / record["file"]).unlink(missing_ok=True)

    def posterior(self) -> Posterior:
        """All draws if the run is finished, mapped from the file; else those so far, in memory."""
        if self.finished:
            path = self.path / self.manifest["finished"]["file"]
            self._check(self.manifest["finished"])
            return load(path, mapped=True)
        reached = np.zeros(self.num_chains, dtype=int)
        for record in self.manifest["segments"]:
            reached[slice(*record["chains"])] = record["draws"][1]
        num_draws = int(reached.max())
        if num_draws == 0:
            raise ValueError(f"the run in {self.path} was stopped before its first draws: go on with resume=True")
        complete = np.flatnonzero(reached == num_draws)
        groups = gathered(self.blocks(), self.num_chains, self.num_draws)
        part = {group: {name: value[complete, :num_draws] for name, value in values.items()} for group, values in groups.items()}
        result = filled(self.skeleton(), part)
        result.info.notes.append(
            f"unfinished: {num_draws} of {self.num_draws} draws of {len(complete)} of {self.num_chains} chains; resume=True goes on"
        )
        return result

    def _check(self, record: dict[str, Any]) -> None:
        check_written(self.path / record["file"], record["sha256"])

    def _read(self, record: dict[str, Any], only: str = "") -> dict[str, dict[str, np.ndarray]]:
        self._check(record)
        return load_arrays(self.path / record["file"], only)

    def _write_arrays(self, name: str, arrays: dict[str, np.ndarray]) -> str:
        path = self.path / name
        with writing("the run", path, REMEDY), replacing(path) as temporary:
            with open(temporary, "wb") as file:
                np.savez(file, **arrays)  # type: ignore[arg-type]
            return checksum(temporary)

    def _write_manifest(self) -> None:
        path = self.path / MANIFEST
        with writing("the run", path, REMEDY), replacing(path) as temporary:
            temporary.write_text(json.dumps(self.manifest, indent=1))


def has_run(path: Path) -> bool:
    """Whether a run was begun in the folder."""
    return (path / MANIFEST).is_file()


def load_folder(path: Path) -> Posterior:
    """The draws that a run has, finished or not."""
    return RunFolder.open(path).posterior()
