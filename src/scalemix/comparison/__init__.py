"""Comparing fits: diagnostics and the rule of a reference, distances, predictive scores, the table, verdicts and figures.

``compare`` is also ``scalemix.compare``. Matplotlib is imported only when a figure is asked for.
"""

from __future__ import annotations

from scalemix.comparison.calibration import Calibration, calibrate
from scalemix.comparison.contrasts import BlockContrast, Contrast, Measured, contrast
from scalemix.comparison.diagnostics import Diagnostics, ReferenceRule, diagnose, energy_bfmi
from scalemix.comparison.distances import (
    Kernel,
    coefficient_draws,
    gaussian_kernel,
    mmd,
    monte_carlo_floor,
    sliced_wasserstein,
    wasserstein,
    weight_sites,
)
from scalemix.comparison.inclusion import inclusion_draws
from scalemix.comparison.loo import Loo
from scalemix.comparison.predictive import HeldOut, held_out, loo
from scalemix.comparison.psis import khat_threshold, psis
from scalemix.comparison.scores import calibration_error, coverage, crps, pit
from scalemix.comparison.table import Comparison, compare
from scalemix.comparison.variational import ElboTrend, block_khats, elbo, elbo_trend, functional_khat, guide_khat, guide_loo

__all__ = [
    "BlockContrast",
    "Calibration",
    "Comparison",
    "Contrast",
    "Diagnostics",
    "ElboTrend",
    "HeldOut",
    "Kernel",
    "Loo",
    "Measured",
    "ReferenceRule",
    "block_khats",
    "calibrate",
    "calibration_error",
    "coefficient_draws",
    "compare",
    "contrast",
    "coverage",
    "crps",
    "diagnose",
    "elbo",
    "elbo_trend",
    "energy_bfmi",
    "functional_khat",
    "gaussian_kernel",
    "guide_khat",
    "guide_loo",
    "held_out",
    "inclusion_draws",
    "khat_threshold",
    "loo",
    "mmd",
    "monte_carlo_floor",
    "pit",
    "psis",
    "sliced_wasserstein",
    "wasserstein",
    "weight_sites",
]
