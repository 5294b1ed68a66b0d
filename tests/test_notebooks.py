"""The notebooks run from top to bottom, at their small size, and what they conclude is asserted in their own cells."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("*.ipynb"))


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_runs(path, tmp_path):
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    code = "\n\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
    assert "assert " in code, "a notebook ends in conclusions that its cells assert"
    small = os.environ | {"SCALEMIX_SMALL": "1", "MPLBACKEND": "agg"}
    result = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=small, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
