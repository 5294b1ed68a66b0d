"""scalemix: dropout is a prior. Gaussian scale mixtures w = ξ·z for Pyro and NumPyro, fitted by SVI and by NUTS, and compared.

Importing this loads neither torch nor jax; ``import scalemix.pyro`` or ``import scalemix.numpyro`` brings a language.

Where to look: the priors below, the laws of ξ in ``scalemix.noise``, ready models in ``scalemix.models``, ways to fit in
``scalemix.inference``, what a model of one's own may use in ``scalemix.language.PPL``, and what is made of the fits in
``scalemix.comparison``. Cited most:

- Nalisnick and Smyth (2018), "Unifying the Dropout Family Through Structured Shrinkage Priors", arXiv:1810.04045v1: the noises, the tyings.
- Liu, Dong, Zhang, Gong and Shi (2019), "Variational Bayesian Dropout with a Hierarchical Prior", CVPR: the Gaussian-uniform prior.
- Piironen and Vehtari (2017), "Sparsity information and regularization in the horseshoe and other shrinkage priors", EJS 11.
- Saha, Liu and Liang (2024), "Efficient Model Compression for Bayesian Neural Networks", arXiv:2411.00273: spike and slab with two scales.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from scalemix import divergences, likelihoods, noise
from scalemix.effects import effect_cdf, effect_quantile, effect_sd
from scalemix.elicitation import elicit_active, elicit_scale
from scalemix.hyper import ExpectedActive
from scalemix.identified import HiddenUnits, identified_by
from scalemix.jensen import JensenGap, hierarchical_gap, jensen_gap
from scalemix.language import native
from scalemix.marginal import atom, inclusion_prob, log_marginal
from scalemix.plan import reparam
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
from scalemix.variational_scope import variational

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
    "HiddenUnits",
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
    "identified_by",
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
    "reparam",
    "shrinkage_factor",
    "variational",
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
