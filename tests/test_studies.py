"""Studies: a ledger of cells that survives kills and refuses damage, stages, any executor, and tables beside the paper's numbers."""

from __future__ import annotations

import json
import math
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from scalemix import studies
from scalemix.cli import app
from scalemix.studies import Cell, Entry, Ledger, Study, run_study, summary, to_markdown, write_report

ran: list[int] = []


def run(spec, folder):
    """Counts its calls; leaves a file, as a training leaves checkpoints."""
    ran.append(spec["seed"])
    (folder / "checkpoint").write_text("x")
    if spec.get("fails"):
        raise ValueError("the loss is nan: take smaller steps")
    return {"error": float(spec["seed"]) ** 2}


def cells(size, done):
    """A second stage depends on the first."""
    first = [Cell(f"seed {seed}", {"seed": seed}) for seed in range(3)]
    if len(done) < len(first):
        return first
    best = max(result.numbers["error"] for result in done if result.cell.spec["seed"] < 3)
    return [*first, Cell("the best, again", {"seed": 10, "from": best})]


TOY = Study(
    name="toy",
    title="A toy",
    source="Nobody (2000)",
    cells=cells,
    run=run,
    entries=lambda result: [Entry("Errors", "ours" if result.cell.spec["seed"] < 3 else "best", "error", result.numbers["error"])],
    paper={("Errors", "ours", "error"): 1.5},
    settings=("Nothing is known.",),
    sizes={"full": "four cells"},
)


@pytest.fixture(autouse=True)
def toy(monkeypatch):
    ran.clear()
    monkeypatch.setitem(studies.STUDIES, "toy", TOY)


def test_cells_run_in_stages_and_those_that_are_done_are_not_run_again(tmp_path: Path) -> None:
    totals: list[int] = []
    results = list(run_study(TOY, "full", tmp_path, on_total=totals.append))
    assert [result.cell.name for result in results] == ["seed 0", "seed 1", "seed 2", "the best, again"]
    assert results[-1].cell.spec["from"] == 4.0
    assert totals == [3, 4]
    assert list(run_study(TOY, "full", tmp_path)) == []
    assert len(ran) == 4
    assert not (tmp_path / ".checkpoints").exists()


def test_any_executor_gives_the_same_results(tmp_path: Path) -> None:
    with ThreadPoolExecutor(3) as executor:
        results = list(run_study(TOY, "full", tmp_path, executor=executor, num_workers=3))
    assert sorted(result.numbers["error"] for result in results) == [0.0, 1.0, 4.0, 100.0]


def test_only_runs_what_a_pattern_matches(tmp_path: Path) -> None:
    assert [result.cell.name for result in run_study(TOY, "full", tmp_path, only=["seed 1", "seed 2"])] == ["seed 1", "seed 2"]
    assert sorted(result.cell.name for result in run_study(TOY, "full", tmp_path)) == ["seed 0", "the best, again"]


def test_a_pattern_that_matches_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no cell of the study toy has a name like 'zzz': give another pattern"):
        list(run_study(TOY, "full", tmp_path, only=["zzz"]))


def test_a_pattern_among_others_that_matches_nothing_is_refused_before_anything_runs(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"has a name like 'sede \*': give another pattern"):
        list(run_study(TOY, "full", tmp_path, only=["seed 1", "sede *"]))
    assert ran == []


def test_a_pattern_may_match_a_later_stage_alone(tmp_path: Path) -> None:
    found = [result.cell.name for result in run_study(TOY, "full", tmp_path, only=["seed *", "the best*"])]
    assert found == ["seed 0", "seed 1", "seed 2", "the best, again"]
    with pytest.raises(ValueError, match="has a name like 'the worst"):
        list(run_study(TOY, "full", tmp_path, only=["seed *", "the worst*"]))


def test_two_studies_in_one_folder_are_refused_and_neither_takes_the_others_checkpoints(tmp_path: Path) -> None:
    under_way = tmp_path / ".checkpoints" / "another"
    under_way.mkdir(parents=True)
    first = run_study(TOY, "full", tmp_path)
    next(first)
    with pytest.raises(ValueError, match="another study is at work in"):
        list(run_study(TOY, "full", tmp_path))
    assert len(list(first)) == 3
    assert under_way.is_dir()


def test_a_reader_leaves_a_line_that_is_being_written(tmp_path: Path) -> None:
    list(run_study(TOY, "full", tmp_path, only=["seed 0"]))
    path = tmp_path / "cells.jsonl"
    before = path.read_text()
    path.write_text(before + '{"cell": "se')
    assert len(Ledger(path).results) == 1
    assert path.read_text() == before + '{"cell": "se'


def test_a_line_that_a_kill_has_cut_off_is_done_again(tmp_path: Path) -> None:
    list(run_study(TOY, "full", tmp_path))
    path = tmp_path / "cells.jsonl"
    text = path.read_text()
    path.write_text(text[:-20])
    ran.clear()
    assert [result.cell.name for result in run_study(TOY, "full", tmp_path)] == ["the best, again"]
    assert ran == [10]
    assert [json.loads(line)["cell"] for line in path.read_text().splitlines()] == [json.loads(line)["cell"] for line in text.splitlines()]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('"seed 1"', '"seed 1', "Expecting|delimiter|control"),
        ('"error": 1.0', '"error": "much"', "no number"),
        ('{"seed": 1}', '{"seed": 7}', "not those that it was written with"),
        ('"numbers": {"error": 1.0}', '"nombers": {"error": 1.0}', "'numbers' is missing"),
    ],
)
def test_a_damaged_line_is_refused_by_its_number(tmp_path: Path, old: str, new: str, said: str) -> None:
    list(run_study(TOY, "full", tmp_path))
    path = tmp_path / "cells.jsonl"
    assert path.read_text().count(old) == 1
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(ValueError, match=rf"line 2 of .*cells.jsonl is damaged .*({said}).*: remove the line"):
        Ledger(path)


def test_a_cell_that_fails_is_named_and_the_others_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = [Cell("seed 0", {"seed": 0}), Cell("seed 1", {"seed": 1, "fails": True})]
    study = Study(**{**vars(TOY), "cells": lambda size, done: broken})
    monkeypatch.setitem(studies.STUDIES, "toy", study)
    with pytest.raises(RuntimeError, match=r"'seed 1' of the study toy failed: the loss is nan: take smaller steps"):
        list(run_study(study, "full", tmp_path))
    assert [result.cell.name for result in Ledger(tmp_path / "cells.jsonl").results.values()] == ["seed 0"]


def test_cells_that_run_beside_one_that_fails_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mixed = [Cell("seed 1", {"seed": 1, "fails": True}), Cell("seed 0", {"seed": 0}), Cell("seed 2", {"seed": 2})]
    study = Study(**{**vars(TOY), "cells": lambda size, done: mixed})
    monkeypatch.setitem(studies.STUDIES, "toy", study)
    with ThreadPoolExecutor(2) as executor, pytest.raises(RuntimeError, match="'seed 1' of the study toy failed"):
        list(run_study(study, "full", tmp_path, executor=executor, num_workers=2))
    assert "seed 0" in {result.cell.name for result in Ledger(tmp_path / "cells.jsonl").results.values()}


def test_a_spec_that_has_changed_is_another_cell() -> None:
    assert Cell("a", {"seed": 0, "rate": 0.1}).key == Cell("b", {"rate": 0.1, "seed": 0}).key
    assert Cell("a", {"seed": 0, "rate": 0.1}).key != Cell("a", {"seed": 0, "rate": 0.2}).key


def test_tables_have_means_standard_errors_and_differences_from_the_paper(tmp_path: Path) -> None:
    results = list(run_study(TOY, "full", tmp_path))
    table = summary(TOY, results).set_index("row")
    ours = table.loc["ours"]
    values = np.array([0.0, 1.0, 4.0])
    assert ours["mean"] == pytest.approx(values.mean())
    assert ours["se"] == pytest.approx(values.std(ddof=1) / math.sqrt(3))
    assert (ours["n"], ours["paper"]) == (3, 1.5)
    assert ours["difference"] == pytest.approx(5 / 3 - 1.5)
    assert math.isnan(table.loc["best"]["paper"])
    assert math.isnan(table.loc["best"]["se"])
    text = to_markdown(TOY, "full", results, figure=None)
    assert "| ours | 1.7 ± 1.2, n=3 (1.5; +0.2) |" in text
    assert "Nothing is known." in text
    path = write_report(TOY, "full", results, tmp_path)
    assert path.read_text().startswith("# A toy")
    assert (tmp_path / "figure.png").stat().st_size > 1000
    settings = json.loads((tmp_path / "settings.json").read_text())
    assert [entry["cells"] for entry in settings.values()] == [["seed 0", "seed 1", "seed 2"], ["the best, again"]]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["study", "uci2"], "unknown study 'uci2': give one of uci, mnist-weights"),
        (["study", "uci", "--size", "huge"], "no size 'huge': give --size one of smoke, choose, full"),
    ],
)
def test_bad_input_is_one_sentence(arguments: list[str], said: str) -> None:
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 2
    assert said in result.stderr


def test_the_list_names_every_study_and_its_sizes() -> None:
    shown = " ".join(CliRunner().invoke(app, ["study"]).stdout.split())
    for name in ("uci", "mnist-weights", "mnist-units", "mnist-dropout"):
        assert name in shown
    assert "full:" in shown


@pytest.mark.parametrize("name", ["uci", "mnist-weights", "mnist-units", "mnist-dropout"])
def test_cells_of_a_study_differ_and_their_specs_are_json(name: str) -> None:
    study = studies.STUDIES[name]
    for size in study.sizes:
        found = study.cells(size, [])
        assert len({cell.key for cell in found}) == len({cell.name for cell in found}) == len(found) > 0
        for cell in found:
            assert json.loads(json.dumps(cell.spec)) == cell.spec  # what is read from a ledger is the spec that was run


@pytest.mark.parametrize("name", ["uci", "mnist-weights", "mnist-units", "mnist-dropout"])
def test_each_number_of_a_paper_stands_beside_one_of_ours(name: str) -> None:
    """A row or a column that is called otherwise would lose the paper's number without a word."""

    class Numbers(dict):
        def __contains__(self, key: object) -> bool:
            return True

        def __missing__(self, key: str) -> float:
            return 1.0

    study, made = studies.STUDIES[name], set()
    for cell in study.cells("full", []):
        at = f" at {cell.spec['thresholds'][0]:g}" if "thresholds" in cell.spec else ""
        units = {f"units {layer}{at}": 1.0 for layer in range(4)}
        made |= {(entry.table, entry.row, entry.column) for entry in study.entries(studies.Result(cell, Numbers(units), 1.0, "code"))}
    assert set(study.paper) <= made
