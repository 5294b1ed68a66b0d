"""A network through the command line: the UCI sets, the methods, the rows, and the figure of what is identified."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from made_up_fits import network
from typer.testing import CliRunner

from scalemix import inference
from scalemix.cli import app
from scalemix.comparison import block_khats, compare, functional_khat
from scalemix.data import DataError
from scalemix.jobs.compare import METHODS, NETWORK, network_cells
from scalemix.uci import UCI_SETS, uci_regression

ROWS, HELD = 40, 4


@pytest.fixture
def values(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> np.ndarray:
    """The numbers of a set in the form of yacht's, which is where the environment says: six inputs, the target last."""
    rng = np.random.default_rng(3)
    x = 5.0 + rng.normal(size=(ROWS, 6)) * np.arange(1.0, 7.0)
    numbers = np.column_stack([x, 10.0 + 3.0 * np.tanh(x[:, 0] - 5.0) + 0.3 * rng.normal(size=ROWS)])
    folder = tmp_path / "data" / "uci" / "yacht"
    folder.mkdir(parents=True)
    with gzip.open(folder / "data.txt.gz", "wt") as file:
        np.savetxt(file, numbers)
    orders = [rng.permutation(ROWS) for _ in range(2)]
    parts = {f"train_{k}": order[HELD:] for k, order in enumerate(orders)} | {f"test_{k}": order[:HELD] for k, order in enumerate(orders)}
    np.savez(folder / "splits.npz", n_splits=2, index_features=np.arange(6), index_target=np.array([6]), **parts)
    monkeypatch.setenv("SCALEMIX_DATA", str(tmp_path / "data"))
    return numbers


def run(*arguments: str | Path) -> Any:
    return CliRunner().invoke(app, ["compare", *map(str, arguments)])


def test_a_split_is_standardized_by_the_part_to_fit(values: np.ndarray, tmp_path: Path) -> None:
    found = uci_regression("yacht", 1)
    splits = np.load(tmp_path / "data" / "uci" / "yacht" / "splits.npz")
    train, test = values[splits["train_1"]], values[splits["test_1"]]
    assert found.x_train.to_numpy() == pytest.approx((train[:, :6] - train[:, :6].mean(0)) / train[:, :6].std(0))
    assert found.x_test.to_numpy() == pytest.approx((test[:, :6] - train[:, :6].mean(0)) / train[:, :6].std(0))
    assert found.target_mean + found.target_scale * found.y_test == pytest.approx(test[:, 6])
    assert found.target == "residuary resistance"
    assert list(found.x_train.columns)[-1] == "Froude"


def test_what_is_not_there_is_refused(values: np.ndarray, tmp_path: Path) -> None:
    for name, split, words in (("boat", 0, "yacht"), ("yacht", 2, "0 to 1"), ("energy", 0, "SCALEMIX_DATA")):
        with pytest.raises(DataError, match=words):
            uci_regression(name, split)
    for arguments, words in (
        (("--data", "yacht", "--split", "7"), "no split 7"),
        (("--split", "0"), "--split goes with a UCI set"),
        (("--data", "yacht", "--target", "y"), "--target goes with a CSV file"),
        (("--data", "yacht", "--network", "3", "--methods", "nuts,laplace"), "unknown method 'laplace'"),
        (("--data", "yacht", "--network", "3", "--prior", "ridge"), "unknown prior 'ridge'"),
        (("--data", "yacht", "--methods", "vbd"), "vbd has a prior of its own: give --network too"),
    ):
        result = run(*arguments, "--output", tmp_path / "out")
        assert result.exit_code == 2
        assert words in result.stderr


def test_every_method_is_a_recipe_and_a_cell() -> None:
    for method in METHODS:
        recipe = getattr(inference, method)
        assert callable(recipe.fit)
        assert recipe.Settings().dtype == "float64"
    cells = network_cells(7, ("numpyro",), METHODS)
    assert [cell.methods for cell in cells] == [(method,) for method in METHODS]
    assert len({cell.fit_name(method) for cell in cells for method in cell.methods}) == len(METHODS)


def test_the_help_tells_the_budget_of_a_network() -> None:
    text = " ".join(CliRunner().invoke(app, ["compare", "--help"], env={"COLUMNS": "300"}).output.split())
    for number in (NETWORK.draws, NETWORK.warmup, NETWORK.svi_steps):
        assert f"of a network {number}." in text
    assert all(method in text for method in METHODS)


def check_report(folder: Path, rows: list[str]) -> pd.DataFrame:
    table = pd.read_csv(folder / "table.csv", index_col="fit")
    assert list(table.index) == rows
    html = (folder / "report.html").read_text(encoding="utf-8")
    assert html.count("<tr") > 2 * len(rows)
    assert "yacht, split 0: 36 cases to fit, 4 held out, 6 inputs." in html
    assert "residuary resistance, mean " in html
    assert (folder / "identified.png").is_file()
    assert not (folder / "coefficients.png").exists(), "the weights of a network mean nothing one by one"
    return table


@pytest.mark.slow
@pytest.mark.parametrize("method", ["mean_field"])
def test_a_network_by_a_guide(values: np.ndarray, tmp_path: Path, method: str) -> None:
    out = tmp_path / "out"
    result = run("--data", "yacht", "--network", 2, "--methods", method, "--steps", 300, "--workers", 1, "--output", out)
    assert result.exit_code == 0, result.output
    table = check_report(out, [f"normal-{method}-numpyro"])
    assert 0.0 < table["test_rmse"].iloc[0] < 6.0, "in the units of the target, whose sd is about 2.5"
    blocks = pd.read_csv(out / "blocks.csv")
    assert set(blocks["block"]) == {"y_mean", "y_log_likelihood"}, "the noise is known"
    assert "distances are blank" in result.output


@pytest.mark.slow
def test_a_network_by_nuts_and_guides_on_two_cores(values: np.ndarray, tmp_path: Path) -> None:
    out, own = tmp_path / "out", {"vbd": "gaussian-uniform", "mc_dropout": "dropout"}
    methods, short = [*METHODS, *own], ("--draws", 200, "--warmup", 200, "--steps", 300)
    result = run("--data", "yacht", "--network", 2, "--methods", ",".join(methods), *short, "--workers", 2, "--output", out)
    assert result.exit_code == 0, result.output
    table = check_report(out, [f"{own.get(method, 'normal')}-{method}-numpyro" for method in methods])
    assert table["method"].tolist() == list(methods)
    assert table["divergences"].notna().tolist() == [True, *[False] * 5]
    assert table["test_rmse"].between(0.0, 6.0, inclusive="neither").all()
    assert table.loc["gaussian-uniform-vbd-numpyro", ["khat", "elbo", "w1_to_reference"]].isna().all()


def test_khats_of_a_network_are_of_what_is_identified() -> None:
    posterior = network(1, 1.0, 0.0)
    posterior.log_guide = np.random.default_rng(0).standard_normal(posterior.log_joint.shape)
    found = block_khats(posterior)
    ratios = (posterior.log_joint - posterior.log_guide).reshape(-1)
    assert set(found) == {"y_mean", "y_log_likelihood"}
    assert found["y_mean"] == functional_khat(posterior.identified["y_mean"].reshape(ratios.size, -1), ratios)


def test_the_figure_shows_identified_quantities_in_sds_of_the_reference() -> None:
    first, second = network(1, 1.0, 0.0), network(2, 2.0, 1.0)
    second.info.method = "hmc"
    third = network(3, 2.0, 1.0)
    third.info.prior, third.info.parametrization = "another", "hierarchical"  # it has no reference to be measured by, and so no panel
    found = compare({"net nuts": first, "net hmc": second, "other hmc": third}, reference="net nuts")
    (ax,) = found.plot()["identified"].axes
    assert [label.get_text() for label in ax.get_yticklabels()] == ["y_mean[0]", "y_mean[1]", "y_mean[2]", "y_log_likelihood"]
    medians = [line.get_xdata() for line in ax.lines if line.get_marker() == "o"]
    assert medians[0] == pytest.approx(np.zeros(4), abs=0.1)
    assert medians[1] == pytest.approx([0.0, 0.0, 0.0, 1.0], abs=0.15)
    thin = [np.asarray(each.get_segments())[:, :, 0] for each in ax.collections][2]  # of the second: N(0, 2²), 90 %
    assert thin[:3] == pytest.approx(np.tile([-3.29, 3.29], (3, 1)), rel=0.08)


def test_the_sets_are_those_of_the_papers() -> None:
    assert {name: len(columns) for name, (_, columns) in UCI_SETS.items()} == {
        "bostonHousing": 13,
        "concrete": 8,
        "energy": 8,
        "kin8nm": 8,
        "naval-propulsion-plant": 16,
        "power-plant": 4,
        "protein-tertiary-structure": 9,
        "wine-quality-red": 11,
        "yacht": 6,
    }
