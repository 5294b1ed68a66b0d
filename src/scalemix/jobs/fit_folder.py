"""A fitted network in a folder: what was asked for, the data, the run while it goes on, the posterior when it is done.

    fit.json        what was asked for, how the data were scaled, and whether the fit is finished, with checksums
    data.npz        the rows as they are fitted and scored
    run/            checkpoints or segments of draws, until the fit is finished
    posterior.nc    the posterior, which ArviZ opens, too

Arrays and JSON alone: nothing in a folder is ever run. The model is rebuilt from what was asked for.
"""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from scalemix.files import check_written, checksum, replacing, writing
from scalemix.jobs.languages import language_named
from scalemix.jobs.supervised import Supervised
from scalemix.jobs.wanted_fit import IN_FOLDER, Wanted
from scalemix.posterior import Posterior
from scalemix.variational_scope import variational

__all__ = ["FitFolder"]

SCHEMA = "scalemix fit 1"
MANIFEST, DATA, RESULT, RUN = "fit.json", "data.npz", "posterior.nc", "run"
# Stands in the manifest until the rows are written: what says that data.npz is ours.
CLAIM = {"schema": SCHEMA, "data": None, "finished": None}


class FitFolder:
    """An open folder.

    Attributes:
        path: of it.
        wanted: what was asked for.
        data: what is fitted.
    """

    def __init__(self, path: Path, manifest: dict[str, Any], wanted: Wanted, data: Supervised) -> None:
        self.path, self.manifest, self.wanted, self.data = path, manifest, wanted, data
        self._written: dict[str, str] = {}  # checksums of what this process wrote
        self._made = False  # this process made the folder

    @classmethod
    def begin(cls, path: Path, wanted: Wanted, data: Supervised) -> FitFolder:
        """A new fit in a new or empty folder.

        Raises: ValueError if something else is in it, OSError if it cannot be written to.
        """
        if Path(wanted.source).resolve() == (path / DATA).resolve():
            raise ValueError(f"{wanted.source} is where the fit in {path} would write its own rows: give --output another folder")
        made = not path.exists()
        with writing("the fit", path):
            path.mkdir(parents=True, exist_ok=True)
        ours = (MANIFEST, DATA) if _only_claimed(path) else ()  # of a fit that was killed before it began
        if stranger := next((each.name for each in path.iterdir() if each.name not in ours and not each.name.endswith(".tmp")), None):
            raise ValueError(f"{path} is not a fit of scalemix and not empty (it has {stranger}): give --output a new folder")
        found = cls(path, CLAIM, wanted, data)
        found._made = made
        try:
            found._write()
            told = data.save(path / DATA)
            record = {"file": DATA, "sha256": checksum(path / DATA), **told}
            found._written[DATA] = record["sha256"]
            found.manifest = {"schema": SCHEMA, "wanted": dataclasses.asdict(wanted), "data": record, "finished": None}
            found._write()
        except OSError:
            found.forget()
            raise
        return found

    @classmethod
    def open(cls, path: Path) -> FitFolder:
        """The fit in a folder.

        Raises: ValueError if there is none, or a file is missing or damaged.
        """
        file = path / MANIFEST
        if not cls.there(path):
            raise ValueError(f"there is no fit in {path}: give the folder that scalemix fit wrote with --output")
        try:
            manifest = json.loads(file.read_text())
            if manifest["schema"] != SCHEMA:
                raise ValueError(
                    f"{file} was written as {manifest['schema']!r}, and this one reads {SCHEMA!r}: use the version that wrote it"
                )
            told: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in manifest["wanted"].items()}
            wanted, record, finished = Wanted(**told), manifest["data"], manifest["finished"]
            if finished is not None and not all(isinstance(finished[name], str) for name in ("file", "sha256")):
                raise TypeError("'finished' names no file")
            _check(path, record)
            data = Supervised.load(path / record["file"], record)
        except (OSError, json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise ValueError(f"{file} is damaged ({error}): restore it from a copy, or fit anew in another folder") from error
        return cls(path, manifest, wanted, data)

    @classmethod
    def there(cls, path: Path) -> bool:
        """Whether a fit was begun in the folder."""
        return (path / MANIFEST).is_file() and not _only_claimed(path)

    @property
    def finished(self) -> bool:
        """Its posterior is there."""
        return self.manifest["finished"] is not None

    @property
    def model(self) -> Callable[..., Any]:
        """What is fitted."""
        return self.wanted.model(self.data)

    def fit(self, *, checkpoint_minutes: float = 1.0, progress: bool = False) -> Posterior:
        """Fit, or go on where a killed fit stopped, or read what is finished.

        Raises: ValueError as the recipe does, FloatingPointError where training ceases to be finite.
        """
        from scalemix import inference

        if self.finished:
            return self.posterior()
        ppl, train, run = language_named(self.wanted.backend), self.data.train, self.path / RUN
        settings = self.wanted.settings(self.data, checkpoint_minutes=checkpoint_minutes, progress=progress)
        recipe: Any = getattr(inference, self.wanted.method)
        if not _begun(run):
            shutil.rmtree(run, ignore_errors=True)  # killed before its first file was whole
        kept = {"folder": run, "resume": True} if self.wanted.method in IN_FOLDER else {}
        found = recipe.fit(ppl, self.model, train.x, train.y, seed=self.wanted.seed, settings=settings, **kept)
        found.save(self.path / RESULT)
        self.manifest["finished"] = {"file": RESULT, "sha256": checksum(self.path / RESULT)}
        self._write()
        shutil.rmtree(run, ignore_errors=True)
        return self.posterior()

    def posterior(self) -> Posterior:
        """The finished posterior, with its model and its data.

        Raises: ValueError if the fit is not finished, or its file is missing or damaged.
        """
        if not self.finished:
            raise ValueError(f"the fit in {self.path} is not finished: go on with scalemix fit --resume --output {self.path}")
        _check(self.path, self.manifest["finished"])
        language_named(self.wanted.backend)
        found = Posterior.load(self.path / RESULT, model=variational(self.model))
        rows = found.log_likelihood["y"].shape[-1]  # of large data with noises by row the first rows alone
        found.data = (self.data.train.x[:rows], self.data.train.y[:rows])
        return found

    def forget(self) -> None:
        """Take away what this process made of a fit that was refused before it had a checkpoint, so that the folder can be used again."""
        if self.finished or _begun(self.path / RUN) or not self._is_mine(MANIFEST):
            return
        shutil.rmtree(self.path / RUN, ignore_errors=True)
        for name in (DATA, MANIFEST):
            if self._is_mine(name):
                (self.path / name).unlink()
        if self._made:
            with suppress(OSError):  # somebody else put something into it
                self.path.rmdir()

    def _is_mine(self, name: str) -> bool:
        """The file is the one that this process wrote."""
        path = self.path / name
        return name in self._written and path.is_file() and checksum(path) == self._written[name]

    def differs(self, asked: dict[str, Any]) -> str:
        """A sentence on the first thing ``asked`` for that is not what this fit was begun with, or ""."""
        mine = dataclasses.asdict(self.wanted) | {"target": self.data.target}
        for name, value in asked.items():
            if mine[name] != value:
                option = "--data" if name == "source" else f"--{name.replace('_', '-')}"
                begun = "without it" if mine[name] is None else f"with {option} {_shown(mine[name])}"
                return (
                    f"the fit in {self.path} was begun {begun}, not with {option} {_shown(value)}: leave {option} away, or give another "
                    "--output"
                )
        return ""

    def _write(self) -> None:
        path = self.path / MANIFEST
        with writing("the fit", path), replacing(path) as temporary:
            temporary.write_text(json.dumps(self.manifest, indent=1))
        self._written[MANIFEST] = checksum(path)


def _only_claimed(path: Path) -> bool:
    """A fit was killed before its rows were whole: the folder was empty before it."""
    try:
        return json.loads((path / MANIFEST).read_text()) == CLAIM
    except (OSError, ValueError, RecursionError):  # no manifest, or a damaged one, which open refuses
        return False


def _begun(run: Path) -> bool:
    """There is something to go on from."""
    return (run / "training.json").is_file() or (run / "manifest.json").is_file()


def _check(path: Path, record: dict[str, Any]) -> None:
    check_written(path / record["file"], record["sha256"], "fit anew in another folder")


def _shown(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
