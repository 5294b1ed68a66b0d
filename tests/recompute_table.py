"""An independent reading of the comparison table: every cell again, from the saved netCDF files alone.

    python tests/recompute_table.py results/compare                               # the diabetes data, the default of `scalemix compare`
    python tests/recompute_table.py results/mine --data mine.csv --target y

Nothing of scalemix's comparison is used: R-hat, ESS, E-BFMI and PSIS are ArviZ's, distances and line fits SciPy's, predictions are written
out from the draws. Only the split into training and held-out cases is scalemix's own (``scalemix.data``), as it is no result. Prints for
each cell OK or both values; exit code 1 if a cell differs, a column has no rule here, or table and files do not match one to one.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import arviz
import numpy as np
import pandas as pd
import xarray
from scipy.special import logsumexp
from scipy.stats import linregress, norm, wasserstein_distance

from scalemix.data import Regression, diabetes, read_csv

NAN = float("nan")
RELATIVE = 1e-6
# Two implementations of PSIS may disagree on a draw at the edge of the tail, which moves k in the third decimal and elpd in the second.
ABSOLUTE = {"pareto_k": 1e-3, "khat": 1e-3, "elpd_loo": 1e-2, "elpd_loo_se": 1e-3}


@dataclass
class Saved:
    """One fit as its file has it; properties are what the table says of it alone."""

    name: str
    tree: dict[str, xarray.Dataset]
    data: Regression

    @cached_property
    def info(self) -> dict[str, Any]:
        return json.loads(self.tree["posterior"].attrs["scalemix"])["info"]

    @cached_property
    def latents(self) -> list[str]:
        return json.loads(self.tree["posterior"].attrs["scalemix"])["latents"]

    @cached_property
    def is_guide(self) -> bool:
        return "log_guide" in self.tree["sample_stats"]

    def draws(self, site: str) -> np.ndarray:
        """(chain × draw, *event)."""
        values = self.tree["posterior"][site].to_numpy()
        return values.reshape(-1, *values.shape[2:])

    @cached_property
    def log_likelihood(self) -> np.ndarray:
        """(chain, draw, n)."""
        return self.tree["log_likelihood"]["y"].to_numpy()

    # --- the sampler: issue by issue of the rule R-hat <= 1.01, ESS >= 400, E-BFMI > 0.3, divergences <= 0.1 %

    def _extreme(self, statistic: Callable[..., xarray.Dataset], largest: bool, stuck: float, **options: Any) -> float:
        """Worst value over all scalars; one that never moves is ``stuck`` if sampled, and left out if deterministic."""
        posterior = self.tree["posterior"].drop_vars([dim for dim in self.tree["posterior"].coords if dim not in ("chain", "draw")])
        values = statistic(posterior, **options)
        found = []
        for site in posterior.data_vars:
            still = np.ptp(posterior[site].to_numpy(), axis=(0, 1)) == 0
            number = np.where(still, stuck if site in self.latents else NAN, values[site].to_numpy())
            found += [each for each in np.ravel(number) if not np.isnan(each)]
        return float((max if largest else min)(found))

    @cached_property
    def worst_rhat(self) -> float:
        return NAN if self.is_guide else self._extreme(arviz.rhat, True, np.inf, method="rank")

    @cached_property
    def min_ess_bulk(self) -> float:
        return NAN if self.is_guide else self._extreme(arviz.ess, False, 0.0, method="bulk")

    @cached_property
    def min_ess_tail(self) -> float:
        return NAN if self.is_guide else self._extreme(arviz.ess, False, 0.0, method="tail")

    @cached_property
    def e_bfmi(self) -> float:
        return NAN if self.is_guide else float(np.min(arviz.bfmi(self.tree["sample_stats"]["energy"].to_numpy())))

    @cached_property
    def divergences(self) -> float:
        return NAN if self.is_guide else float(self.tree["sample_stats"]["diverging"].sum())

    @cached_property
    def converged(self) -> bool:
        if self.is_guide:
            return self._elbo_stands_still()
        ess = min(self.min_ess_bulk, self.min_ess_tail)
        share = self.divergences / self.tree["sample_stats"]["diverging"].size
        return bool(self.worst_rhat <= 1.01 and ess >= 400 and self.e_bfmi > 0.3 and share <= 1e-3)

    def _elbo_stands_still(self) -> bool:
        """Over the last tenth of the steps the ELBO, a line through 20 batch means, moves by at most 0.1 nat or 4 standard errors."""
        losses = self.tree["sample_stats"]["loss"].to_numpy()
        tenth = int(np.ceil(len(losses) / 10))
        batches = min(20, tenth // 2)
        if batches < 5:
            return False
        means = losses[-batches * (tenth // batches) :].reshape(batches, -1).mean(axis=1)
        line = linregress(np.arange(batches) / batches, means)
        return bool(abs(line.slope) <= 0.1 or abs(line.slope) <= 4 * line.stderr)

    # --- prediction

    @cached_property
    def _predicted(self) -> np.ndarray:
        """x w1 + b1 of the held-out cases, (S, n), standardized units."""
        return self.draws("w1") @ self.data.x_test.to_numpy().T + self.draws("b1")[:, None]

    @cached_property
    def test_rmse(self) -> float:
        errors = self.data.target_scale * (self._predicted.mean(axis=0) - self.data.y_test)
        return float(np.sqrt(np.mean(errors**2)))

    @cached_property
    def test_log_density(self) -> float:
        scale = self.data.target_scale
        density = norm.logpdf(scale * self.data.y_test, scale * self._predicted, scale * self.draws("sigma")[:, None])
        return float(np.mean(logsumexp(density, axis=0) - np.log(len(density))))

    @cached_property
    def _log_ratios(self) -> np.ndarray:
        stats = self.tree["sample_stats"]
        return (stats["lp"] - stats["log_guide"]).to_numpy().ravel() if self.is_guide else np.zeros(stats["lp"].size)

    @cached_property
    def khat(self) -> float:
        return float(arviz.psislw(self._log_ratios)[1]) if self.is_guide else NAN

    @cached_property
    def _loo(self) -> tuple[np.ndarray, np.ndarray]:
        """elpd and k-hat of each case; of a guide nothing where its k-hat is above min(1 - 1/log10 S, 0.7)."""
        flat = self.log_likelihood.reshape(-1, self.log_likelihood.shape[-1])
        size, n = flat.shape
        if self.is_guide and not self.khat <= min(1 - 1 / np.log10(size), 0.7):
            return np.full(n, NAN), np.full(n, NAN)
        elpd, shapes = np.empty(n), np.empty(n)
        for i in range(n):
            likelihood = np.exp(self.log_likelihood[..., i] - self.log_likelihood[..., i].max())
            efficiency = 1.0 if self.is_guide else arviz.ess(likelihood, method="mean") / size
            weights, shapes[i] = arviz.psislw(self._log_ratios - flat[:, i], reff=efficiency)
            elpd[i] = logsumexp(weights + flat[:, i])
        return elpd, shapes

    @cached_property
    def elpd_loo(self) -> float:
        return float(self._loo[0].sum())

    @cached_property
    def elpd_loo_se(self) -> float:
        return float(np.sqrt(len(self._loo[0]) * self._loo[0].var()))

    @cached_property
    def pareto_k(self) -> float:
        return float(self._loo[1].max())


def w1(first: np.ndarray, second: np.ndarray) -> float:
    """Mean over the columns of draws (S, p) of the 1-Wasserstein distance."""
    return float(np.mean([wasserstein_distance(a, b) for a, b in zip(first.T, second.T, strict=True)]))


def floor(reference: Saved) -> float:
    """The first half of the reference's draws, in every chain, against the second."""
    draws = reference.tree["posterior"]["w1"].to_numpy()
    half, p = draws.shape[1] // 2, draws.shape[2]
    return w1(draws[:, :half].reshape(-1, p), draws[:, -half:].reshape(-1, p))


def reference_of(fit: Saved, fits: list[Saved]) -> Saved | None:
    """The NUTS fit of the same prior in the marginal form, else the expanded one, else the only one there is, if it keeps the rule."""
    for form in ("marginal", "expanded", "single"):
        same = [other for other in fits if other.info["prior"] == fit.info["prior"] and other.info["parametrization"] == form]
        found = [other for other in same if not other.is_guide]
        if found:
            best = max(found, key=lambda each: (each.converged, min(each.min_ess_bulk, each.min_ess_tail)))
            return best if best.converged else None
    return None


def recomputed(fit: Saved, fits: list[Saved]) -> dict[str, Any]:
    """The row of ``fit`` by column."""
    reference, info = reference_of(fit, fits), fit.info
    chains, draws, _ = fit.log_likelihood.shape
    own = {name: getattr(fit, name) for name in ("converged", "test_rmse", "test_log_density", "elpd_loo", "elpd_loo_se", "pareto_k")}
    own |= {name: getattr(fit, name) for name in ("khat", "worst_rhat", "min_ess_bulk", "min_ess_tail", "e_bfmi", "divergences")}
    is_distance = reference is not None and reference is not fit
    return own | {
        "prior": re.sub(rf"(-{info['parametrization']})?-(nuts|svi)-{info['backend']}$", "", fit.name),
        **{name: info[name] for name in ("parametrization", "method", "backend", "seconds_compile", "seconds_run")},
        "reference": reference is fit,
        "ess_per_second": fit.min_ess_bulk / info["seconds_run"],
        "w1_to_reference": w1(fit.draws("w1"), reference.draws("w1")) if is_distance and reference is not None else NAN,
        "w1_floor": floor(reference) if reference is not None else NAN,
        "chains": chains,
        "draws": draws,
    }


def same(column: str, told: Any, found: Any) -> bool:
    """Words, flags and counts exactly, blanks blank, numbers to the tolerance of their column."""
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
    for fit in fits:
        row, cells = recomputed(fit, fits), []
        for column in [*table.columns, *(each for each in row if each not in table.columns)]:
            told, found = table.at[fit.name, column] if column in table else "no such column", row.get(column, "no rule here")
            cells.append(f"{column} OK" if same(column, told, found) else f"{column} differs ({told} in the table, {found} recomputed)")
            if not cells[-1].endswith("OK"):
                wrong.append(f"{fit.name}: {cells[-1]}")
        tell(f"{fit.name}: {', '.join(cells)}")
    return wrong


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
