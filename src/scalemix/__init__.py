"""scalemix: dropout is a prior. Gaussian scale mixtures w = ξ·z for Pyro and NumPyro, fitted by SVI and by NUTS, and compared.

Importing this loads neither torch nor jax; ``import scalemix.pyro`` or ``import scalemix.numpyro`` brings a language.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from scalemix import likelihoods, noise
from scalemix.hyper import ExpectedActive
from scalemix.language import native
from scalemix.marginal import atom, inclusion_prob, log_marginal
from scalemix.posterior import Posterior, Prediction
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

if TYPE_CHECKING:
    from scalemix.comparison import Comparison, compare

__version__ = "0.1.0"
__all__ = [
    "Comparison",
    "ExpectedActive",
    "GaussianUniform",
    "GaussianUniformMaximized",
    "Horseshoe",
    "Laplace",
    "LogUniform",
    "Normal",
    "NormalMixture",
    "Posterior",
    "Prediction",
    "ScaleMixture",
    "SmoothLogUniform",
    "SpikeAndSlab",
    "StudentT",
    "atom",
    "compare",
    "inclusion_prob",
    "likelihoods",
    "log_marginal",
    "native",
    "noise",
]


def __getattr__(name: str) -> Any:
    """``compare`` and ``Comparison`` bring pandas, and so are imported when first asked for."""
    if name in ("Comparison", "compare"):
        from scalemix import comparison

        return getattr(comparison, name)
    raise AttributeError(f"module 'scalemix' has no attribute {name!r}")
