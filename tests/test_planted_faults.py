"""Every planted fault fails a test: each is put into a copy of the sources, whose tests must then not pass."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from planted_faults import FAULTS, Fault

TESTS = Path(__file__).parent
ROOT = TESTS.parent
FAILED = 1  # pytest's exit code for "tests ran and some failed"; a test file that cannot be imported, or no test at all, is 2 to 5


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


def python(folder: Path, *args: str) -> subprocess.CompletedProcess[str]:
    """Python with ``folder`` first on its path, and not the folder it is started in (-P)."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    env["PYTHONPATH"] = str(folder)
    return subprocess.run([sys.executable, "-P", *args], cwd=ROOT, env=env, capture_output=True, text=True, check=False, timeout=900)


def run(folder: Path, tests: tuple[str, ...]) -> subprocess.CompletedProcess[str]:
    quick = ("-q", "-x", "-p", "no:xdist", "-p", "no:cacheprovider", "-m", "not slow", "--tb", "line")
    return python(folder, "-m", "pytest", *quick, str(TESTS / tests[0]), *tests[1:])


def test_the_list_is_in_order() -> None:
    """At least 20 faults, each a change of something that stands once in its file, no two the same."""
    assert len(FAULTS) >= 20
    for name, fault in FAULTS.items():
        assert source(fault.file).read_text().count(fault.old) == 1, f"{name}: {fault.old!r} must stand once in {fault.file}"
        assert fault.new != fault.old, name
        assert (TESTS / fault.tests[0]).is_file(), name
    assert len({(fault.file, fault.old, fault.new) for fault in FAULTS.values()}) == len(FAULTS)


@pytest.mark.slow
def test_the_copy_is_what_is_tested(tmp_path: Path) -> None:
    package = copy(tmp_path)
    found = python(tmp_path, "-c", "import scalemix, scalemix.models; print(scalemix.__file__, scalemix.models.__file__, sep='\\n')")
    assert found.stdout.split("\n")[:2] == [str(package / "__init__.py"), str(package / "models" / "__init__.py")], found.stderr


@pytest.mark.slow
@pytest.mark.parametrize("file", sorted({fault.tests[0] for fault in FAULTS.values()}))
def test_without_a_fault_they_pass(file: str, tmp_path: Path) -> None:
    copy(tmp_path)
    chosen = " or ".join(f"({expression})" for expression in sorted({f.tests[2] for f in FAULTS.values() if f.tests[0] == file}))
    result = run(tmp_path, (file, "-k", chosen))
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-1000:]


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS.values(), ids=list(FAULTS))
def test_a_fault_is_found(fault: Fault, tmp_path: Path) -> None:
    file = copy(tmp_path) / fault.file
    file.write_text(file.read_text().replace(fault.old, fault.new))
    result = run(tmp_path, fault.tests)
    assert result.returncode == FAILED, f"{fault.mistake}: not found\n{result.stdout[-3000:]}{result.stderr[-1000:]}"
