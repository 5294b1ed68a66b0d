"""The notebooks run from top to bottom, at their small size, and what they conclude is asserted in their own cells."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

DATA = Path(os.environ.get("SCALEMIX_DATA", Path(__file__).parents[2] / "shared" / "data"))
NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("*.ipynb"))


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_runs(path, tmp_path):
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    code = "\n\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
    assert "assert " in code, "a notebook ends in conclusions that its cells assert"
    if "SCALEMIX_DATA" in code and not (DATA / "uci").is_dir():
        pytest.skip(f"the UCI sets are not at {DATA}: set SCALEMIX_DATA to the folder in which uci lies")
    small = os.environ | {"SCALEMIX_SMALL": "1", "MPLBACKEND": "agg", "SCALEMIX_DATA": str(DATA)}
    result = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=small, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
