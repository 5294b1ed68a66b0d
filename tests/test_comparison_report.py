"""A comparison as people read it: Markdown, the report in one file, and the figures."""

from __future__ import annotations

import base64
import math
import subprocess
import sys
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from made_up_fits import Regression, chains_of, compared, many_fits

from scalemix.comparison import compare


@pytest.fixture(scope="module")
def comparison() -> Any:
    return compared()


def test_each_part_of_the_markdown_table_reads_like_the_table(comparison: Any) -> None:
    found = {}
    for part in ("prediction", "inference", "reference"):
        lines = comparison.to_markdown(part).splitlines()
        assert len(lines) == 2 + len(comparison.table)
        assert len({len(line) for line in lines}) == 1
        cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
        found[part] = pd.DataFrame(cells[2:], columns=cells[0])
        assert found[part]["prior"].tolist() == comparison.table["prior"].tolist()
        assert f"\n\n{comparison.to_markdown(part)}" in comparison.to_markdown()
    assert found["inference"]["converged"].tolist() == ["yes"] * 5 + ["no"] * 2
    assert found["reference"]["W₁"].tolist()[3] == "ref"
    assert found["inference"]["draws"].tolist()[:2] == ["4 × 1000", "1 × 2000"]
    assert found["inference"]["R-hat"].tolist()[1] == ""
    assert float(found["prediction"]["elpd_loo"][0]) == pytest.approx(comparison.table["elpd_loo"].iloc[0], abs=0.05)
    assert "E-BFMI" in found["inference"] and "incl. error" not in found["reference"], "a column without an entry is left out"
    with pytest.raises(ValueError, match="no part 'all': give one of 'prediction', 'inference', 'reference'"):
        comparison.to_markdown("all")


def test_every_column_is_in_one_part_of_the_printed_table(comparison: Any) -> None:
    from scalemix.comparison.report import HEADINGS, PARTS

    printed = [name for part in PARTS.values() for name in part]
    assert sorted({*printed, "prior", "parametrization", "method", "backend", "reference", "chains", "draws"} - {"size"}) == sorted(
        comparison.table.columns
    )
    assert len(printed) == len(set(printed)) and set(printed) <= set(HEADINGS)


def test_fits_that_differ_in_nothing_but_their_name_are_named() -> None:
    found = compare({"one": Regression().guide(), "other": Regression().guide(seed=5)})
    assert found.to_markdown("inference").splitlines()[2].split("|")[1].strip() == "one"


def test_blocks_repeat_the_table_where_there_is_one_block(comparison: Any) -> None:
    blocks, table = comparison.blocks, comparison.table
    assert ("laplace-marginal-nuts", "w1") not in blocks.index, "the reference is not measured against itself"
    row = blocks.loc[("laplace-expanded-svi", "w1")]
    pairs = {"khat": "khat_blocks", "w1": "w1_to_reference", "sliced": "sliced_to_reference", "mmd": "mmd_to_reference"}
    for name, column in (pairs | {f"{each}_floor": f"{each}_floor" for each in ("w1", "sliced", "mmd")}).items():
        assert row[name] == pytest.approx(table.loc["laplace-expanded-svi", column])
    assert math.isnan(blocks.loc[("horseshoe-hierarchical-svi", "w1"), "mmd"])


class Page(HTMLParser):
    """The text of each cell by table, the sources of pictures, what else is fetched; tags have to match."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open, self.tables, self.images, self.fetched = [], [], [], []
        self.items = 0
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        if tag not in ("meta", "img", "link"):
            self.open.append(tag)
        if tag == "img":
            self.images.append(dict(attrs)["src"])
        self.fetched += [
            value for name, value in attrs if name in ("href", "src") and not value.startswith(("#", "data:image/png;base64,"))
        ]
        self.items += tag == "li"
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self.tables[-1][-1].append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] in ("td", "th"):
            self.tables[-1][-1][-1] += data


def test_the_report_holds_everything(comparison: Any, tmp_path: Path) -> None:
    path = comparison.report(tmp_path / "new")
    text = path.read_text(encoding="utf-8")
    figures = {"coefficients.png", "shrinkage.png", "variational.png", "calibration.png", "distances.png"}
    assert {each.name for each in path.parent.iterdir()} == figures | {"report.md", "report.html", "table.csv", "table.md", "blocks.csv"}
    assert all(comparison.to_markdown(part) in text for part in ("prediction", "inference", "reference"))
    assert all(sentence in text for sentence in comparison.verdicts)
    table = pd.read_csv(path.parent / "table.csv", index_col="fit")
    for name in comparison.table.columns:
        if np.issubdtype(comparison.table[name].to_numpy().dtype, np.floating):
            assert table[name].to_numpy() == pytest.approx(comparison.table[name].to_numpy(), rel=1e-12, nan_ok=True)
    html = (path.parent / "report.html").read_text(encoding="utf-8")
    page = Page(html)
    assert page.fetched == [], "the file stands alone"
    assert page.items == len(comparison.verdicts)
    assert [base64.b64decode(each.split(",")[1])[:8] for each in page.images] == [b"\x89PNG\r\n\x1a\n"] * len(figures)
    for part, cells in zip(("prediction", "inference", "reference"), page.tables, strict=True):
        lines = comparison.to_markdown(part).splitlines()
        assert cells == [[cell.strip() for cell in line.strip("|").split("|")] for line in (lines[0], *lines[2:])]


def test_names_cannot_break_the_report(tmp_path: Path) -> None:
    regression = Regression()
    found = compare({"a <b>|& nuts": regression.nuts(prior="N(0, 1²) <i>"), "a <b>|& svi": regression.guide(prior="N(0, 1²) <i>")})
    path = found.report(tmp_path)
    page = Page((path.parent / "report.html").read_text(encoding="utf-8"))
    assert page.tables[0][1][0] == "a <b>|&"
    lines = found.to_markdown("inference").splitlines()
    assert len({line.replace("\\|", "").count("|") for line in lines}) == 1


def test_each_figure_asks_a_question_and_nothing_overlaps(comparison: Any) -> None:
    for figure in comparison.plot().values():
        assert figure.get_suptitle().endswith("?")
        figure.canvas.draw()
        legend = figure.subfigs[1].legends[0].get_window_extent()
        assert 0 <= legend.x0 < legend.x1 <= figure.bbox.width
        for axes in figure.axes:
            boxes = [label.get_window_extent() for label in axes.get_xticklabels() if label.get_text() and label.get_visible()]
            assert all(left.x1 <= right.x0 for left, right in pairwise(boxes))
            assert axes.get_tightbbox().y0 >= legend.y1


def test_coefficient_figure_shows_the_right_medians(comparison: Any) -> None:
    axes = comparison.plot()["coefficients"].axes
    assert [each.get_title() for each in axes] == ["ridge", "laplace", "horseshoe\n(no valid reference)"]
    medians = [each for each in axes[0].collections if type(each).__name__ == "PathCollection"]
    drawn = np.sort(np.concatenate([np.asarray(each.get_offsets())[:, 0] for each in medians]))
    expected = np.sort(np.median(many_fits()["ridge-single-nuts"].draws["w1"], axis=(0, 1)))
    assert drawn == pytest.approx(expected)
    assert [label.get_text() for label in axes[0].get_yticklabels()][-1] == "3 noise\ncolumns"


def test_figures_of_unlabeled_and_of_matrix_weights() -> None:
    posterior = Regression().nuts()
    posterior.dims, posterior.coords = {}, {}
    figures = compare({"only": posterior}).plot()
    assert set(figures) == {"coefficients", "shrinkage"}
    assert figures["coefficients"].axes[0].get_yticklabels()[0].get_text().startswith("w1[")
    matrix = chains_of(
        {"w1": np.random.default_rng(50).standard_normal((4, 100, 3, 2)), "w2": np.random.default_rng(51).random((4, 100, 2))}
    )
    assert set(compare({"net": matrix}).plot()) == {"coefficients"}


def test_importing_the_comparison_loads_neither_a_language_nor_matplotlib() -> None:
    heavy = "{'torch', 'jax', 'pyro', 'numpyro', 'arviz', 'matplotlib'}"
    code = f"import sys, scalemix.comparison; found = {heavy} & set(sys.modules); assert not found, found"
    subprocess.run([sys.executable, "-c", code], check=True)
