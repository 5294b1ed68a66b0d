"""scalemix: dropout is a prior. Gaussian scale mixtures w = ξ·z for Pyro and NumPyro, fitted by SVI and by NUTS, and compared.

Importing this loads neither torch nor jax; ``import scalemix.pyro`` or ``import scalemix.numpyro`` brings a language.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from scalemix import divergences, likelihoods, noise
from scalemix.effects import effect_cdf, effect_quantile, effect_sd
from scalemix.elicitation import elicit_active, elicit_scale
from scalemix.hyper import ExpectedActive
from scalemix.jensen import JensenGap, hierarchical_gap, jensen_gap
from scalemix.language import native
from scalemix.marginal import atom, inclusion_prob, log_marginal
from scalemix.posterior import Posterior, Prediction
from scalemix.predictive import PriorPredictive, prior_predictive
from scalemix.priors import (
    GaussianUniform,
    GaussianUniformMaximized,
    Horseshoe,
    Laplace,
    LogUniform,
    Normal,
    NormalMixture,
    ScaleMixture,
    SmoothLogUniform,
    SpikeAndSlab,
    StudentT,
)
from scalemix.shrinkage import num_effective, shrinkage_factor

if TYPE_CHECKING:
    from scalemix.comparison import Comparison, compare
    from scalemix.prior_figure import plot_prior
    from scalemix.variance_figure import plot_noise_variances

__version__ = "0.1.0"
__all__ = [
    "Comparison",
    "ExpectedActive",
    "GaussianUniform",
    "GaussianUniformMaximized",
    "Horseshoe",
    "JensenGap",
    "Laplace",
    "LogUniform",
    "Normal",
    "NormalMixture",
    "Posterior",
    "Prediction",
    "PriorPredictive",
    "ScaleMixture",
    "SmoothLogUniform",
    "SpikeAndSlab",
    "StudentT",
    "atom",
    "compare",
    "divergences",
    "effect_cdf",
    "effect_quantile",
    "effect_sd",
    "elicit_active",
    "elicit_scale",
    "hierarchical_gap",
    "inclusion_prob",
    "jensen_gap",
    "likelihoods",
    "log_marginal",
    "native",
    "noise",
    "num_effective",
    "plot_noise_variances",
    "plot_prior",
    "prior_predictive",
    "shrinkage_factor",
]


def __getattr__(name: str) -> Any:
    """What brings pandas (``compare``, ``Comparison``, figures) is imported when first asked for."""
    if name in ("Comparison", "compare"):
        from scalemix import comparison

        return getattr(comparison, name)
    if name == "plot_prior":
        from scalemix.prior_figure import plot_prior

        return plot_prior
    if name == "plot_noise_variances":
        from scalemix.variance_figure import plot_noise_variances

        return plot_noise_variances
    raise AttributeError(f"module 'scalemix' has no attribute {name!r}")
