"""From what is known of a fit to the columns of the table; what cannot be said is nan."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from scalemix.comparison.contrasts import Contrast, Measured
from scalemix.comparison.predictive import COVERAGES

if TYPE_CHECKING:
    from scalemix.comparison.fits import Fit
    from scalemix.comparison.references import Reference

__all__ = ["block_table", "fit_row"]

NAN = float("nan")


def fit_row(fit: Fit, label: str, reference: Reference, found: Contrast | None) -> dict[str, Any]:
    """One row of ``Comparison.table``; ``draws`` is per chain, ``w1_to_reference`` of the reference itself is blank."""
    info, diagnostics, size = fit.posterior.info, fit.diagnostics, fit.posterior.log_joint.shape
    is_reference = reference.valid and reference.fit is not None and reference.fit.name == fit.name
    held, khats = fit.held_out, list(fit.khat_blocks.values())
    ess = NAN if diagnostics is None else diagnostics.min_ess_bulk
    return {
        "prior": label,
        "parametrization": info.parametrization,
        "method": info.method,
        "backend": info.backend,
        "reference": is_reference,
        "converged": fit.converged,
        "test_rmse": held.rmse,
        "test_log_density": held.log_density,
        "test_crps": held.crps,
        **{f"coverage_{100 * prob:.0f}": held.coverage[prob] for prob in COVERAGES},
        "calibration_error": held.calibration_error,
        "elpd_loo": fit.loo.elpd,
        "elpd_loo_se": fit.loo.standard_error,
        "pareto_k": fit.loo.pareto_k,
        "elbo": fit.elbo,
        "elbo_se": fit.elbo_se,
        "khat": fit.khat,
        "khat_blocks": max(khats) if khats else NAN,
        "khat_predictive": held.khat,
        "worst_rhat": NAN if diagnostics is None else diagnostics.worst_rhat,
        "min_ess_bulk": ess,
        "min_ess_tail": NAN if diagnostics is None else diagnostics.min_ess_tail,
        "ess_per_second": ess / info.seconds_run if info.seconds_run > 0 else NAN,
        "e_bfmi": NAN if diagnostics is None else diagnostics.e_bfmi,
        "divergences": NAN if diagnostics is None else float(diagnostics.divergences),
        **_distances(found, is_reference),
        "chains": size[0],
        "draws": size[1],
        "seconds_compile": info.seconds_compile,
        "seconds_run": info.seconds_run,
    }


def block_table(fits: Mapping[str, Fit], contrasts: Mapping[str, Contrast]) -> pd.DataFrame:
    """``Comparison.blocks`` from the fits and the contrasts by name."""
    rows: dict[tuple[str, str], dict[str, float]] = {}
    for name, fit in fits.items():
        blocks = contrasts[name].blocks if name in contrasts else {}
        for block in dict.fromkeys([*fit.khat_blocks, *blocks]):
            row = {"khat": fit.khat_blocks.get(block, NAN)}
            each = blocks.get(block)
            measured = (None,) * 4 if each is None else (each.marginal, each.sliced, each.mmd, each.inclusion)
            for column, value in zip(("w1", "sliced", "mmd", "inclusion"), measured, strict=True):
                row["inclusion_error" if column == "inclusion" else column] = NAN if value is None else value.value
                row[f"{column}_floor"] = NAN if value is None else value.floor
            rows[name, block] = row
    index = pd.MultiIndex.from_arrays([[name for name, _ in rows], [block for _, block in rows]], names=["fit", "block"])
    return pd.DataFrame(list(rows.values()), index=index)


def _distances(found: Contrast | None, is_reference: bool) -> dict[str, float]:
    """Values are blank for the reference itself, in whose row stand the floors alone; all is blank where there is no valid reference."""
    measured = {
        "w1": None if found is None else Measured(found.distance, found.floor),
        "sliced": None if found is None else found.sliced,
        "mmd": None if found is None else found.mmd,
        "inclusion_error": None if found is None else found.inclusion,
    }
    row = {}
    for name, each in measured.items():
        row[name if name == "inclusion_error" else f"{name}_to_reference"] = NAN if each is None or is_reference else each.value
        row["inclusion_floor" if name == "inclusion_error" else f"{name}_floor"] = NAN if each is None else each.floor
    ratio = np.empty(0) if found is None or is_reference else found.sd_ratio[np.isfinite(found.sd_ratio)]
    row |= {
        f"sd_ratio_{name}": float(of(ratio)) if ratio.size else NAN
        for name, of in (("min", np.min), ("median", np.median), ("max", np.max))
    }
    return row | {"sd_ratio_floor": NAN if found is None else found.sd_floor}
