"""Every planted fault fails a test: each is put into a copy of the sources, whose tests must then not pass."""

from __future__ import annotations

from pathlib import Path

import pytest
from faulty_package import TESTS, copy, run, source
from planted_faults import FAULTS, Fault

FAILED = 1  # pytest's exit code for "tests ran and some failed"; a test file that cannot be imported, or no test at all, is 2 to 5


def test_the_list_is_in_order() -> None:
    """At least 20 faults, each a change of something that stands once in its file, no two the same."""
    assert len(FAULTS) >= 20
    for name, fault in FAULTS.items():
        assert source(fault.file).read_text().count(fault.old) == 1, f"{name}: {fault.old!r} must stand once in {fault.file}"
        assert fault.new != fault.old, name
        assert (TESTS / fault.tests[0]).is_file(), name
    assert len({(fault.file, fault.old, fault.new) for fault in FAULTS.values()}) == len(FAULTS)


@pytest.mark.slow
@pytest.mark.parametrize("file", sorted({fault.tests[0] for fault in FAULTS.values()}))
def test_without_a_fault_they_pass(file: str, tmp_path: Path) -> None:
    copy(tmp_path)
    chosen = " or ".join(f"({expression})" for expression in sorted({f.tests[2] for f in FAULTS.values() if f.tests[0] == file}))
    code, output = run(tmp_path, (file, "-k", chosen))
    assert code == 0, output


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS.values(), ids=list(FAULTS))
def test_a_fault_is_found(fault: Fault, tmp_path: Path) -> None:
    file = copy(tmp_path) / fault.file
    file.write_text(file.read_text().replace(fault.old, fault.new))
    code, output = run(tmp_path, fault.tests)
    assert code == FAILED, f"{fault.mistake}: not found\n{output}"
    assert " failed" in output, output
