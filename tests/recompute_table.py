"""An independent reading of the comparison table: every cell again, from the saved netCDF files alone.

    python tests/recompute_table.py results/compare                               # the diabetes data, the default of `scalemix compare`
    python tests/recompute_table.py results/mine --data mine.csv --target y

Nothing of scalemix's comparison is used: R-hat, ESS, E-BFMI and PSIS are ArviZ's, distances and line fits SciPy's, predictions are written
out from the draws. Only the split into training and held-out cases is scalemix's own (``scalemix.data``), as it is no result. What the
comparison has from draws of new outcomes (CRPS, coverage, calibration) is computed here from the predictive distribution function itself,
by quadrature, and the table has to be within Monte Carlo error of it. ``blocks.csv`` is read too. Prints for each cell OK or both values;
exit code 1 if a cell differs, a column has no rule here, or table and files do not match one to one.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray
from recompute_fit import NAN, Between, Saved
from scipy.spatial.distance import cdist, pdist
from scipy.stats import wasserstein_distance

from scalemix.data import Regression, diabetes, read_csv

RELATIVE = 1e-6
# Two implementations of PSIS may disagree on a draw at the edge of the tail, which moves k in the third decimal and elpd in the second.
ABSOLUTE = {"pareto_k": 1e-3, "elpd_loo": 1e-2, "elpd_loo_se": 1e-3} | dict.fromkeys(("khat", "khat_blocks", "khat_predictive"), 1e-3)


def w1(first: np.ndarray, second: np.ndarray) -> float:
    """Mean over the columns of draws (S, p) of the 1-Wasserstein distance."""
    return float(np.mean([wasserstein_distance(a, b) for a, b in zip(first.T, second.T, strict=True)]))


def sliced(first: np.ndarray, second: np.ndarray) -> float:
    """Mean W₁ along the 128 directions that the comparison's docstring names."""
    directions = np.random.default_rng(0).standard_normal((first.shape[1], 128))
    return w1(first @ (directions / np.linalg.norm(directions, axis=0)), second @ (directions / np.linalg.norm(directions, axis=0)))


def mmd(first: np.ndarray, second: np.ndarray, reference: np.ndarray) -> float:
    """Gaussian kernel on coordinates in sds of the reference, bandwidth their median distance; 2000 draws of each, evenly spaced."""
    scale = reference.std(axis=0)
    few = [draws[np.arange(min(len(draws), 2000)) * len(draws) // min(len(draws), 2000)] / scale for draws in (first, second, reference)]
    gamma = 1 / (2 * np.median(pdist(few[2])) ** 2)
    kernel = [np.exp(-gamma * cdist(a, b, "sqeuclidean")).mean() for a, b in (few[:1] * 2, few[1:2] * 2, few[:2])]
    return float(np.sqrt(kernel[0] + kernel[1] - 2 * kernel[2]))


def halves(reference: Saved, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The first half of the reference's draws, in every chain, and the second, of values (chain × draw, k)."""
    values = values.reshape(*reference.log_likelihood.shape[:2], -1)
    half, k = values.shape[1] // 2, values.shape[2]
    return values[:, :half].reshape(-1, k), values[:, -half:].reshape(-1, k)


def distances(fit: Saved, reference: Saved | None) -> dict[str, float]:
    """The columns that measure a fit against the reference, blank without one; of the reference itself the floors alone."""
    names = ["w1_to_reference", "w1_floor", "sliced_to_reference", "sliced_floor", "mmd_to_reference", "mmd_floor"]
    names += ["sd_ratio_min", "sd_ratio_median", "sd_ratio_max", "sd_ratio_floor", "inclusion_error", "inclusion_floor"]
    found = dict.fromkeys(names, NAN)
    if reference is None:
        return found
    ours, theirs = fit.draws("w1"), reference.draws("w1")
    parts = halves(reference, theirs)
    found |= {"w1_floor": w1(*parts), "sliced_floor": sliced(*parts), "mmd_floor": mmd(*parts, theirs)}
    factor = parts[0].std(axis=0) / parts[1].std(axis=0)
    found["sd_ratio_floor"] = float(np.maximum(factor, 1 / factor).max())
    gates = fit.gates, reference.gates
    if gates[1] is not None:
        one, other = halves(reference, gates[1])
        found["inclusion_floor"] = float(np.abs(one.mean(axis=0) - other.mean(axis=0)).max())
    if reference is fit:
        return found
    found |= {
        "w1_to_reference": w1(ours, theirs),
        "sliced_to_reference": sliced(ours, theirs),
        "mmd_to_reference": mmd(ours, theirs, theirs),
    }
    ratio = ours.std(axis=0) / theirs.std(axis=0)
    found |= {"sd_ratio_min": float(ratio.min()), "sd_ratio_median": float(np.median(ratio)), "sd_ratio_max": float(ratio.max())}
    if gates[0] is not None and gates[1] is not None:
        found["inclusion_error"] = float(np.abs(gates[0].mean(axis=0) - gates[1].mean(axis=0)).max())
    return found


def reference_of(fit: Saved, fits: list[Saved]) -> Saved | None:
    """The NUTS fit of the same prior in the marginal form, else the expanded one, else the only one there is, if it keeps the rule."""
    for form in ("marginal", "expanded", "single"):
        same = [other for other in fits if other.info["prior"] == fit.info["prior"] and other.info["parametrization"] == form]
        found = [other for other in same if not other.is_guide]
        if found:
            best = max(found, key=lambda each: (each.converged, min(each.min_ess_bulk, each.min_ess_tail)))
            return best if best.converged else None
    return None


OWN = (
    *("converged", "test_rmse", "test_log_density", "test_crps", "coverage_50", "coverage_90", "calibration_error"),
    *("elpd_loo", "elpd_loo_se", "pareto_k", "elbo", "elbo_se", "khat", "khat_blocks", "khat_predictive"),
    *("worst_rhat", "min_ess_bulk", "min_ess_tail", "e_bfmi", "divergences"),
)


def recomputed(fit: Saved, fits: list[Saved]) -> dict[str, Any]:
    """The row of ``fit`` by column."""
    reference, info = reference_of(fit, fits), fit.info
    chains, draws, _ = fit.log_likelihood.shape
    own = {name: getattr(fit, name) for name in OWN}
    return own | {
        "prior": re.sub(rf"(-{info['parametrization']})?-[a-z_]+-{info['backend']}$", "", fit.name),
        **{name: info[name] for name in ("parametrization", "method", "backend", "seconds_compile", "seconds_run")},
        "reference": reference is fit,
        "ess_per_second": fit.min_ess_bulk / info["seconds_run"],
        **distances(fit, reference),
        "chains": chains,
        "draws": draws,
    }


def blocks_differ(path: Path, rows: dict[str, dict[str, Any]]) -> list[str]:
    """``blocks.csv`` has the one block w1 of every fit that has a k-hat or a distance, with the numbers of its row."""
    if not path.is_file():
        return [f"there is no {path.name}"]
    table = pd.read_csv(path, index_col=["fit", "block"])
    columns = {"khat": "khat_blocks", "inclusion_error": "inclusion_error", "inclusion_floor": "inclusion_floor"}
    columns |= {name: f"{name}_to_reference" for name in ("w1", "sliced", "mmd")} | {
        f"{name}_floor": f"{name}_floor" for name in ("w1", "sliced", "mmd")
    }
    expected = {name: row for name, row in rows.items() if not np.isnan(row["khat_blocks"]) or not np.isnan(row["w1_to_reference"])}
    if list(table.index) != [(name, "w1") for name in expected] or list(table.columns) != sorted(columns, key=list(table.columns).index):
        return [f"{path.name} has other rows or columns than the fits"]
    return [
        f"{path.name}, {name}: {column} differs ({table.at[(name, 'w1'), column]} in the file, {row[of]} recomputed)"
        for name, row in expected.items()
        for column, of in columns.items()
        if not same(of, table.at[(name, "w1"), column], row[of])
    ]


def same(column: str, told: Any, found: Any) -> bool:
    """Words, flags and counts exactly, blanks blank, numbers to the tolerance of their column or between their bounds."""
    if isinstance(found, Between):
        return bool(found.low <= told <= found.high)
    if isinstance(found, bool | str) or isinstance(told, str):
        return str(told) == str(found)
    if np.isnan(told) or np.isnan(found) or isinstance(found, int):
        return bool(told == found or (np.isnan(told) and np.isnan(found)))
    return bool(np.isclose(told, found, rtol=RELATIVE, atol=ABSOLUTE.get(column, 0.0)))


def differences(folder: Path, data: Regression | None = None, *, tell: Callable[[str], None] = print) -> list[str]:
    """Every cell that differs, in words; ``tell`` gets a line per fit. ``data`` as given to the fits; by default diabetes."""
    table = pd.read_csv(folder / "table.csv", index_col="fit")
    files = {path.stem: path for path in sorted(folder.glob("*.nc"))}
    wrong = [f"{name} is in {'the table' if name in table.index else 'the folder'} alone" for name in set(table.index) ^ set(files)]
    fits = []
    for name in table.index.intersection(list(files)):
        with xarray.open_datatree(files[name], engine="h5netcdf") as tree:
            datasets = {group: node.to_dataset().load() for group, node in tree.children.items()}
        seed = json.loads(datasets["posterior"].attrs["scalemix"])["info"]["seed"]
        data = diabetes(seed=seed) if data is None else data
        given = {"x_train": datasets["constant_data"]["x0"].to_numpy(), "y_train": datasets["observed_data"]["y"].to_numpy()}
        pairs = [(values, np.asarray(getattr(data, key))) for key, values in given.items()]
        if all(one.shape == other.shape and np.allclose(one, other) for one, other in pairs):
            fits.append(Saved(name, datasets, data))
        else:
            wrong.append(f"{name} was fitted to other data than these: give its --data, --target and --seed")
    rows = {fit.name: recomputed(fit, fits) for fit in fits}
    for fit in fits:
        row, cells = rows[fit.name], []
        for column in [*table.columns, *(each for each in row if each not in table.columns)]:
            told, found = table.at[fit.name, column] if column in table else "no such column", row.get(column, "no rule here")
            cells.append(f"{column} OK" if same(column, told, found) else f"{column} differs ({told} in the table, {found} recomputed)")
            if not cells[-1].endswith("OK"):
                wrong.append(f"{fit.name}: {cells[-1]}")
        tell(f"{fit.name}: {', '.join(cells)}")
    return wrong + blocks_differ(folder / "blocks.csv", rows)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="what `scalemix compare` wrote")
    parser.add_argument("--data", type=Path, help="the CSV file it was given")
    parser.add_argument("--target", help="the column it predicted")
    parser.add_argument("--seed", type=int, default=0, help="the seed of the split of --data")
    options = parser.parse_args()
    data = read_csv(options.data, options.target, seed=options.seed) if options.data is not None else None
    wrong = differences(options.folder, data)
    print(f"\n{len(wrong)} differences" + "".join(f"\n- {each}" for each in wrong) if wrong else "\nevery cell OK")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
