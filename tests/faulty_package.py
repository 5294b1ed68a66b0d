"""A copy of the package, and tests that run on it in a process of their own."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import sys
from pathlib import Path

import pytest

__all__ = ["TESTS", "copy", "run", "source"]

TESTS = Path(__file__).parent
ROOT = TESTS.parent
WRONG_PACKAGE = 70  # exit code, which no pytest has
FORKED = multiprocessing.get_context("forkserver")
FORKED.set_forkserver_preload(["arviz", "jax", "numpyro", "pandas", "pyro", "pytest", "scipy.stats", "torch"])


def source(file: str) -> Path:
    """Where a file of the package is kept: ``models/`` and ``inference/`` stand beside ``src/``."""
    return ROOT / file if file.startswith(("models/", "inference/")) else ROOT / "src" / "scalemix" / file


def copy(folder: Path) -> Path:
    """The package as it is installed, under ``folder``."""
    unread = shutil.ignore_patterns("__pycache__")
    package = shutil.copytree(ROOT / "src" / "scalemix", folder / "scalemix", ignore=unread)
    for part in ("models", "inference"):
        shutil.copytree(ROOT / part, package / part, ignore=unread)
    return package


def run(folder: Path, tests: tuple[str, ...]) -> tuple[int, str]:
    """Exit code and output of the ``tests`` on the package under ``folder``.

    In a process that is forked from one that has imported the libraries and no scalemix: they take longer to import than most tests.
    """
    output = folder / "output.txt"
    quick = ("-q", "-x", "-p", "no:xdist", "-p", "no:cacheprovider", "-m", "not slow", "--tb", "line")
    process = FORKED.Process(target=_run, args=(folder, (*quick, str(TESTS / tests[0]), *tests[1:]), output))
    process.start()
    process.join(900)
    if process.exitcode is None:
        process.kill()
        process.join()
    assert process.exitcode is not None
    return process.exitcode, output.read_text()[-3000:]


def _run(folder: Path, arguments: tuple[str, ...], output: Path) -> None:
    file = os.open(output, os.O_WRONLY | os.O_CREAT)
    os.dup2(file, 1)
    os.dup2(file, 2)
    for name in [name for name in os.environ if name.startswith("PYTEST_")]:
        del os.environ[name]
    os.environ["PYTHONPATH"] = str(folder)
    sys.path.insert(0, str(folder))
    os.chdir(ROOT)
    code = pytest.main(list(arguments))
    import scalemix
    import scalemix.models

    tested = {Path(str(module.__file__)).parents[depth] for depth, module in enumerate((scalemix, scalemix.models), 1)}
    print(f"the package under {tested} was tested")
    sys.exit(code if tested == {folder} else WRONG_PACKAGE)
