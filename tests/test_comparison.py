"""Distances, the table, its references and its verdicts, judged from outside: closed forms of Gaussian models."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from made_up_fits import LAPLACE, NUM_COLUMNS, Regression, chains_of, compared, many_fits
from scipy import stats as scipy_stats

from scalemix.comparison import (
    compare,
    monte_carlo_floor,
    wasserstein,
    weight_sites,
)
from scalemix.comparison.contrasts import contrast

stats: Any = scipy_stats  # its frozen laws carry no types


# --- distances ----------------------------------------------------------------------------------------------------------------------------


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


# --- the table ----------------------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def comparison() -> Any:
    return compared()


def test_the_table_has_a_row_a_fit_in_the_given_order(comparison: Any) -> None:
    table = comparison.table
    assert list(table.index) == list(many_fits())
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
    fits = {name: fit for name, fit in many_fits().items() if name.endswith("nuts")}
    found: Any = compare(fits, reference={"horseshoe": "horseshoe-hierarchical-nuts", LAPLACE: "laplace-expanded-nuts"})
    assert list(found.table.index[found.table["reference"]]) == ["ridge-single-nuts", "laplace-expanded-nuts"]
    assert any("horseshoe-hierarchical-nuts is not a reference: R-hat" in sentence for sentence in found.verdicts)
    assert found.table["test_rmse"].isna().all()
    found = compare({name: fit for name, fit in fits.items() if "laplace" in name}, reference="laplace-expanded-nuts")
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
        compare(many_fits(), reference=reference)


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
    fits = {name: Regression().guide(prior=name, method=method) for name, method in names.items()}
    assert compare(fits).table["prior"].tolist() == ["dynamic", "ridge", "lasso"]


def test_guides_alone_can_be_compared() -> None:
    found: Any = compare({"a": Regression().guide(), "b": Regression().guide(seed=5)})
    assert found.table["w1_to_reference"].isna().all()
    assert found.table["prior"].tolist() == ["N(0, 1²)"] * 2
    assert set(found.plot()) == {"coefficients", "shrinkage"}
