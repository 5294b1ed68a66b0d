"""The comparison table is what the saved posteriors say: every cell recomputed by ``recompute_table.py`` without the comparison's code."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import recompute_table

import scalemix as sm
from scalemix.data import Regression, split
from scalemix.jobs.compare import Budget, cells, load_posteriors, run_cells

pytestmark = pytest.mark.slow  # fits two priors by NUTS and SVI before the first assertion

SMALL = Budget(warmup=300, draws=600, chains=4, svi_steps=2000, svi_draws=500)


@pytest.fixture(scope="module")
def comparison(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Regression]:
    """Two priors on a small regression, as `scalemix compare` would leave them."""
    rng = np.random.default_rng(3)
    frame = pd.DataFrame(rng.normal(size=(80, 4)), columns=list("abcd"))
    frame["y"] = 10.0 + 5.0 * (frame["a"] - frame["b"] + rng.normal(size=80))
    data, folder = split(frame, "y"), tmp_path_factory.mktemp("compare")
    todo = [cell for cell in cells(4, 64, ("numpyro",)) if cell.prior_name in ("ridge", "spike-and-slab")]
    done = list(run_cells(todo, data, folder, budget=SMALL, seed=0, executor=None))
    target_scale = (data.target_mean, data.target_scale)
    found = sm.compare(load_posteriors(done, folder), data=(data.x_test, data.y_test), target_scale=target_scale)
    found.table.to_csv(folder / "table.csv")
    found.blocks.to_csv(folder / "blocks.csv")
    return folder, data


def test_every_cell_of_a_small_comparison(comparison):
    folder, data = comparison
    lines: list[str] = []
    assert recompute_table.differences(folder, data, tell=lines.append) == []
    assert len(lines) == 4
    table = pd.read_csv(folder / "table.csv", index_col="fit")
    assert not table.isna().all().any(), "each column has something in it"
    assert table.loc[table["method"] == "mean_field", "elpd_loo"].notna().any(), "the reweighted elpd of a guide is tried too"


def test_changed_cells_are_found(comparison, tmp_path):
    folder, data = comparison
    for file in folder.glob("*.nc"):
        (tmp_path / file.name).symlink_to(file)
    table = pd.read_csv(folder / "table.csv", index_col="fit").astype(object)
    changed = []
    for column in table.columns:
        fit = table.index[table[column].notna()][0]
        told = table.at[fit, column]
        more = 0.5 if column.startswith("coverage") else 0.1  # a few of the 16 held-out cases stand at the end of an interval
        table.at[fit, column] = f"{told}!" if isinstance(told, str) else not told if isinstance(told, bool) else told + more
        changed.append(f"{fit}: {column} differs")
    table.to_csv(tmp_path / "table.csv")
    (tmp_path / "blocks.csv").symlink_to(folder / "blocks.csv")
    wrong = recompute_table.differences(tmp_path, data, tell=lambda line: None)
    assert [each.split(" (")[0] for each in wrong] == sorted(changed, key=lambda each: list(table.index).index(each.split(":")[0]))


def test_a_column_without_a_rule_and_a_row_without_a_file_are_found(comparison, tmp_path):
    folder, data = comparison
    (tmp_path / "ridge-nuts-numpyro.nc").symlink_to(folder / "ridge-nuts-numpyro.nc")
    table = pd.read_csv(folder / "table.csv", index_col="fit").loc[["ridge-nuts-numpyro", "ridge-mean_field-numpyro"]]
    table.assign(luck=7.0).to_csv(tmp_path / "table.csv")
    wrong = recompute_table.differences(tmp_path, data, tell=lambda line: None)
    assert any("ridge-mean_field-numpyro is in the table alone" in each for each in wrong)
    assert any("luck differs" in each for each in wrong)
    assert "there is no blocks.csv" in wrong
    blocks = pd.read_csv(folder / "blocks.csv", index_col=["fit", "block"])
    (blocks * 1.01).to_csv(tmp_path / "blocks.csv")
    for file in folder.glob("*mean_field*.nc"):
        (tmp_path / file.name).symlink_to(file)
    pd.read_csv(folder / "table.csv").to_csv(tmp_path / "table.csv", index=False)
    for file in folder.glob("spike*nuts*.nc"):
        (tmp_path / file.name).symlink_to(file)
    wrong = recompute_table.differences(tmp_path, data, tell=lambda line: None)
    assert any("blocks.csv, ridge-mean_field-numpyro: mmd_floor differs" in each for each in wrong)
    assert all("blocks.csv" in each for each in wrong)


@pytest.mark.slow
def test_every_cell_of_the_default_comparison(tmp_path):
    """As a user would: `scalemix compare`, then the script."""
    subprocess.run([sys.executable, "-m", "scalemix", "compare", "--output", tmp_path], check=True)
    result = subprocess.run([sys.executable, recompute_table.__file__, tmp_path], capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr
    assert result.stdout.count("test_rmse OK") == len(pd.read_csv(tmp_path / "table.csv"))
