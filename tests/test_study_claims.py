"""What studies say of the papers' claims, on made-up fits."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from scalemix.studies import STUDIES
from scalemix.studies.cell import Cell, Result
from scalemix.studies.claims import difference

SEEDS = np.array([-1.0, 0.0, 1.0, 0.5, -0.5])


def test_difference_is_welch_s_by_its_formula() -> None:
    one, other = [1.0, 2.0, 4.0], [3.0, 3.5, 5.0, 4.5]
    parts = np.var(one, ddof=1) / 3, np.var(other, ddof=1) / 4
    freedom = sum(parts) ** 2 / (parts[0] ** 2 / 2 + parts[1] ** 2 / 3)
    half = stats.t.ppf(0.975, freedom) * np.sqrt(sum(parts))
    found = difference(one, other)
    np.testing.assert_allclose((found.mean, found.low, found.high), (-5 / 3, -5 / 3 - half, -5 / 3 + half))
    assert not found.below
    assert not found.above
    assert difference(np.add(one, 9.0), other).above
    assert difference(np.subtract(one, 9.0), other).below


def weights(method: str, error: float, factor: float) -> list[Result]:
    cells = [cell for cell in STUDIES["mnist-weights"].cells("full", ()) if cell.name.startswith(f"LeNet-300-100, {method}, seed")]
    made = []
    for cell, noise in zip(cells, SEEDS, strict=True):
        numbers = {f"{name} at {at}": value + 0.01 * noise for at in (0, 1) for name, value in (("error", error), ("compression", factor))}
        made.append(Result(cell, numbers, 1.0, "code"))
    return made


@pytest.mark.parametrize(
    ("error", "factor", "said"),
    [
        (1.7, 80.0, "VBD is better"),
        (1.9, 90.0, "VBD is better"),
        (2.0, 80.0, "VD is better"),
        (1.7, 70.0, "A trade: neither is better"),
        (1.9, 80.0, "No difference is shown"),
    ],
)
def test_vbd_against_vd(error: float, factor: float, said: str) -> None:
    study = STUDIES["mnist-weights"]
    sentences = study.verdicts([*weights("VD", 1.9, 80.0), *weights("VBD", error, factor)])
    assert len(sentences) == 3
    assert all(sentence.endswith(f"{said}.") for sentence in sentences)


def test_nothing_is_said_of_one_seed() -> None:
    study = STUDIES["mnist-weights"]
    assert study.verdicts([*weights("VD", 1.9, 80.0)[:1], *weights("VBD", 1.7, 90.0)]) == []


def regressions(name: str, method: str, values: list[float]) -> list[Result]:
    cells = [Cell(f"{name}, {method}, {k}", {"data": name, "method": method, "split": k, "validation": False}) for k in range(len(values))]
    return [Result(cell, {"rmse": value, "log_density": 0.0}, 1.0, "code") for cell, value in zip(cells, values, strict=True)]


def test_uci_counts_sets_after_rounding_or_within_a_standard_error() -> None:
    """Boston is better than 2.97, power 4.004 rounds to 4.00, concrete 5.33 ± .10 reaches 5.23; energy .80 ± .01 is not .69."""
    results = [
        *regressions("bostonHousing", "VBD", [2.8, 2.6]),
        *regressions("bostonHousing", "MC dropout", [3.8, 3.6]),
        *regressions("power-plant", "VBD", [4.0039, 4.0041]),
        *regressions("concrete", "VBD", [5.23, 5.43]),
        *regressions("energy", "VBD", [0.79, 0.8, 0.81]),
        *regressions("energy", "NUTS", [0.1, 0.2]),  # of fewer splits
        *regressions("yacht", "VBD", [0.1]),  # of one split there is no standard error
    ]
    reached, missed = STUDIES["uci"].verdicts(results)
    assert "methods on 3 of 4 sets: " in reached
    assert "Boston (VBD, n=2: 2.7 ± 0.1 against 2.97)" in reached
    assert missed == "It is not on Energy (VBD, n=3: 0.8 ± 0.0058 against 0.69)."
    assert STUDIES["uci"].verdicts([]) == []


def test_uci_says_where_the_chains_of_nuts_do_not_agree() -> None:
    study, fits = STUDIES["uci"], regressions("yacht", "NUTS", [0.3, 0.4])
    assert len(study.verdicts(fits)) == 1
    for result, rhat in zip(fits, (1.004, 1.5), strict=True):
        result.numbers["rhat"] = rhat
    assert "The chains of NUTS do not agree" in study.verdicts(fits)[-1]
    assert "Yacht 1.50" in study.verdicts(fits)[-1]
    assert len(study.verdicts(fits[:1])) == 0
    fits[1].numbers["rhat"] = 1.006
    assert len(study.verdicts(fits)) == 1


def dropout(width: int, method: str, values: list[float]) -> list[Result]:
    cells = [cell for cell in STUDIES["mnist-dropout"].cells("full", ()) if cell.name.startswith(f"{width} units, {method}, seed")]
    return [Result(cell, {"error": value}, 1.0, "code") for cell, value in zip(cells, values, strict=False)]


def test_dropout_says_from_which_kinds_vbd_differs() -> None:
    study = STUDIES["mnist-dropout"]
    fits = [
        *dropout(340, "VBD, per input", [1.40, 1.41, 1.39]),
        *dropout(340, "none", [1.80, 1.81, 1.79]),
        *dropout(340, "Bernoulli", [1.20, 1.21, 1.19]),
        *dropout(340, "VD", [1.35, 1.40, 1.47]),
        *dropout(340, "concrete", [0.90]),  # of one seed nothing is said
        *dropout(100, "none", [1.80, 1.81, 1.79]),
    ]
    (said,) = study.verdicts(fits)
    assert said.startswith("340 units, error of VBD, per input ")
    assert said.endswith("Less than none (-0.40). More than Bernoulli (+0.20). Not shown to differ from VD (-0.01).")
    first, second = study.verdicts([*fits, *dropout(340, "VBD", [1.70, 1.71])])
    assert first == said
    assert second.startswith("340 units, error of VBD (")
    assert "More than none" not in second
