"""Comparing fits: diagnostics and the rule of a reference, distances, predictive scores, the table, verdicts and figures.

``compare`` is also ``scalemix.compare``. Matplotlib is imported only when a figure is asked for.
"""

from __future__ import annotations

from scalemix.comparison.diagnostics import Diagnostics, ReferenceRule, diagnose, energy_bfmi
from scalemix.comparison.distances import coefficient_draws, monte_carlo_floor, wasserstein, weight_sites
from scalemix.comparison.loo import Loo
from scalemix.comparison.predictive import HeldOut, held_out, loo
from scalemix.comparison.psis import khat_threshold, psis
from scalemix.comparison.table import Comparison, compare
from scalemix.comparison.variational import ElboTrend, elbo_trend, guide_khat, guide_loo

__all__ = [
    "Comparison",
    "Diagnostics",
    "ElboTrend",
    "HeldOut",
    "Loo",
    "ReferenceRule",
    "coefficient_draws",
    "compare",
    "diagnose",
    "elbo_trend",
    "energy_bfmi",
    "guide_khat",
    "guide_loo",
    "held_out",
    "khat_threshold",
    "loo",
    "monte_carlo_floor",
    "psis",
    "wasserstein",
    "weight_sites",
]
