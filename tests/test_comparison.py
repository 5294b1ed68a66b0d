"""Distances, the table, its verdicts and figures, judged from outside: closed forms of Gaussian models."""

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
from made_up_fits import NUM_COLUMNS, Regression, chains_of
from scipy import stats as scipy_stats

from scalemix.comparison import (
    compare,
    monte_carlo_floor,
    wasserstein,
    weight_sites,
)
from scalemix.comparison.contrasts import contrast

stats: Any = scipy_stats  # its frozen laws carry no types


# --- distances --------------------------------------------------------------------------------------------------------------


def test_wasserstein_of_shifted_and_of_scaled_draws() -> None:
    draws = np.random.default_rng(40).standard_normal((4, 1000, 3))
    assert wasserstein(draws, draws + np.array([0.0, 0.5, -2.0])) == pytest.approx([0.0, 0.5, 2.0])
    scaled = wasserstein(draws, 3 * draws[:, ::2])  # W1 of N(0, 1) and N(0, 9) is 2 E|z|
    assert scaled == pytest.approx(2 * math.sqrt(2 / math.pi), abs=0.1)
    with pytest.raises(ValueError, match="3 and 2 coefficients"):
        wasserstein(draws, draws[..., :2])


def test_the_floor_is_noise_for_good_chains_and_sees_a_drift() -> None:
    draws = np.random.default_rng(41).standard_normal((4, 1000, 30))
    repeats = [np.random.default_rng(seed).standard_normal((2, 2000)) for seed in range(60)]
    expected = np.mean([stats.wasserstein_distance(*each) for each in repeats])
    assert monte_carlo_floor(draws) == pytest.approx(expected, rel=0.25)
    drift = draws + np.linspace(0, 1, 1000)[:, None]
    assert monte_carlo_floor(drift) == pytest.approx(0.5, abs=0.05)


def test_weight_sites_leave_out_auxiliary_sites_and_scalars() -> None:
    matrix, scalar = np.zeros((1, 2, 3)), np.zeros((1, 2))
    sites = {"w1_noise": matrix, "w1": matrix, "w1_tau": scalar, "sigma": scalar, "w10": matrix, "b1": scalar}
    assert weight_sites(chains_of(sites)) == ("w1", "w10")
    with pytest.raises(ValueError, match="no site holds coefficients"):
        weight_sites(chains_of({"sigma": scalar}))


def test_mean_field_is_too_narrow_by_the_analytical_ratio() -> None:
    regression = Regression()
    found = contrast(regression.guide(), regression.nuts())
    expected = np.sqrt(np.diag(regression.mean_field_cov) / np.diag(regression.cov))
    assert found.sd_ratio == pytest.approx(expected, rel=0.1)
    assert found.shift == pytest.approx(np.zeros(NUM_COLUMNS), abs=0.15)
    sds = np.sqrt(np.diag(regression.cov))
    assert found.distance == pytest.approx(np.mean(np.abs(1 - expected) * sds) * math.sqrt(2 / math.pi), rel=0.15)


# --- the table --------------------------------------------------------------------------------------------------------------


LAPLACE, HALF_CAUCHY = "Rayleigh(scale=1) × N(0, 1²)", "HalfCauchy(scale=1) × N(0, 1²)"


def fits() -> dict[str, Any]:
    regression = Regression()
    sick = regression.nuts(seed=5, prior=HALF_CAUCHY, parametrization="hierarchical")
    sick.draws["w1"][1] += 1.0
    sick.sample_stats["diverging"][:, :50] = True
    moving = regression.guide(prior=HALF_CAUCHY, parametrization="hierarchical", cov=0.2 * regression.cov)
    moving.losses = moving.losses - 0.02 * np.arange(5000)
    return {
        "ridge-single-nuts": regression.nuts(seed=1, parametrization="single"),
        "ridge-single-svi": regression.guide(parametrization="single"),
        "laplace-expanded-nuts": regression.nuts(seed=2, prior=LAPLACE),
        "laplace-marginal-nuts": regression.nuts(seed=3, prior=LAPLACE, parametrization="marginal", backend="pyro"),
        "laplace-expanded-svi": regression.guide(prior=LAPLACE),
        "horseshoe-hierarchical-nuts": sick,
        "horseshoe-hierarchical-svi": moving,
    }


@pytest.fixture(scope="module")
def comparison() -> Any:
    regression = Regression()
    return compare(fits(), data=(regression.x_test, regression.y_test), target_scale=(0.0, 2.0))


def test_the_table_has_a_row_a_fit_in_the_given_order(comparison: Any) -> None:
    table = comparison.table
    assert list(table.index) == list(fits())
    assert list(table["prior"]) == ["ridge"] * 2 + ["laplace"] * 3 + ["horseshoe"] * 2
    assert list(table["converged"]) == [True, True, True, True, True, False, False]
    numeric = table.drop(columns=["prior", "parametrization", "method", "backend", "reference", "converged"])
    assert all(np.issubdtype(dtype, np.number) for dtype in numeric.dtypes)
    assert table["test_rmse"].notna().all()
    assert table.loc["laplace-expanded-nuts", "ess_per_second"] == pytest.approx(table.loc["laplace-expanded-nuts", "min_ess_bulk"] / 4.0)
    assert table.loc["horseshoe-hierarchical-nuts", "divergences"] == 200


def test_the_marginal_form_is_the_reference_and_distances_stand_over_the_floor(comparison: Any) -> None:
    table = comparison.table
    assert list(table.index[table["reference"]]) == ["ridge-single-nuts", "laplace-marginal-nuts"]
    assert math.isnan(table.loc["laplace-marginal-nuts", "w1_to_reference"])
    same, narrow = table.loc["laplace-expanded-nuts"], table.loc["laplace-expanded-svi"]
    assert same["w1_to_reference"] < 2 * same["w1_floor"]
    assert narrow["w1_to_reference"] > 5 * narrow["w1_floor"]


def test_without_a_valid_reference_distances_are_blank_and_a_verdict_says_why(comparison: Any) -> None:
    rows = comparison.table.loc[["horseshoe-hierarchical-nuts", "horseshoe-hierarchical-svi"]]
    assert rows[["w1_to_reference", "w1_floor"]].isna().all().all()
    told = [sentence for sentence in comparison.verdicts if "horseshoe" in sentence]
    assert "distances are blank, as none of its fits is by NUTS in the marginal or the expanded form" in told[0]
    for part in ("not converged", "R-hat of w1[", "200 divergences, 5 % of the draws", "use parametrization='expanded'"):
        assert part in told[1]
    for part in ("not converged: the ELBO still rises", "its elpd_loo is blank"):
        assert part in told[2]
    assert math.isnan(comparison.table.loc["horseshoe-hierarchical-svi", "elpd_loo"])


def test_verdicts_on_healthy_fits(comparison: Any) -> None:
    told = {sentence.split(":")[0].split(",")[0]: sentence for sentence in comparison.verdicts}
    assert "laplace-marginal-nuts is a valid reference" in told["laplace"]
    assert "agrees with the reference" in told["laplace-expanded-nuts"]
    assert "converged; too narrow" in told["ridge-single-svi"]


def test_a_reference_that_fails_the_rule_is_none_even_if_asked_for() -> None:
    found: Any = compare(fits(), reference={"horseshoe": "horseshoe-hierarchical-nuts", LAPLACE: "laplace-expanded-nuts"})
    assert list(found.table.index[found.table["reference"]]) == ["ridge-single-nuts", "laplace-expanded-nuts"]
    assert any("horseshoe-hierarchical-nuts is not a reference: R-hat" in sentence for sentence in found.verdicts)
    assert found.table["test_rmse"].isna().all()
    found = compare(fits(), reference="laplace-expanded-nuts")
    assert found.table.loc["laplace-expanded-nuts", "reference"]


@pytest.mark.parametrize(
    ("reference", "match"),
    [
        ("nothing", "'nothing' is none of the fits"),
        ("ridge-single-svi", "is a variational fit"),
        ({"lasso": "ridge-single-nuts"}, "names the prior 'lasso'"),
        ({"laplace": "ridge-single-nuts"}, "distances need the same prior"),
    ],
)
def test_impossible_references_are_refused(reference: Any, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        compare(fits(), reference=reference)


def test_bad_input_is_refused() -> None:
    with pytest.raises(ValueError, match="dict from name to posterior"):
        compare({})
    with pytest.raises(ValueError, match="'a' and 'b' were fitted to different data"):
        compare({"a": Regression(0).nuts(), "b": Regression(1).nuts()})


def test_what_moves_is_an_elbo_where_the_guide_has_a_density() -> None:
    regression, found = Regression(), []
    for settings, has_density in (({}, True), ({"num_epochs": 5000}, False), ({"num_epochs": 5000, "kl_weight": 0.1}, True)):
        guide = regression.guide()
        guide.losses, guide.info.settings = -0.02 * np.arange(5000), settings
        guide.log_guide = guide.log_guide if has_density else None
        found.append(compare({"guide": guide}).verdicts[-1])
    for told, words in zip(found, ("the ELBO still rises", "the loss still falls", "the loss still falls"), strict=True):
        assert words in told
    assert ["epochs" in told for told in found] == [False, True, True]


def test_a_label_does_not_end_in_a_word_that_leads_to_the_method() -> None:
    names = {"dynamic by dynamic_regularizer": "dynamic_regularizer", "ridge by NUTS in numpyro": "nuts", "lasso with map": "map"}
    fits = {name: Regression().nuts(prior=name, method=method) for name, method in names.items()}
    assert compare(fits).table["prior"].tolist() == ["dynamic", "ridge", "lasso"]


def test_guides_alone_can_be_compared() -> None:
    found: Any = compare({"a": Regression().guide(), "b": Regression().guide(seed=5)})
    assert found.table["w1_to_reference"].isna().all()
    assert found.table["prior"].tolist() == ["N(0, 1²)"] * 2
    assert set(found.plot()) == {"coefficients", "shrinkage"}


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
    expected = np.sort(np.median(fits()["ridge-single-nuts"].draws["w1"], axis=(0, 1)))
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
