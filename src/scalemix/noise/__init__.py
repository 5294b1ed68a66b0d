"""Laws of the noise ξ that turns a Gaussian weight into a Gaussian scale mixture, w = ξ·z with z ~ N(0, σ₀²).

A noise is a frozen value: no arrays, no names, no sampling. It says

- ``law(dist)``: the distribution of ξ, written once against the distribution names that Pyro and NumPyro share,
- ``marginal(dist, scale, tied)``: the distribution of w with ξ integrated out, where a language can evaluate it,
- ``scipy()``, ``power_mean(k)`` and ``log_marginal(w, base_scale)``: the same law for NumPy and SciPy (what is missing goes by quadrature).

``noise.X(...).per("in")`` ties one ξ to each input unit; without ``per`` each weight has its own ξ. Some hyper-parameters may be laws
themselves: ``noise.Bernoulli(noise.Beta(1, 1).per("layer"))`` learns its inclusion probability.

To write your own noise, subclass :class:`Noise` and define ``law``; everything else has a default. Check it with
``scalemix.testing.check_noise``.

Source of the laws: Nalisnick and Smyth (2018), "Unifying the Dropout Family Through Structured Shrinkage Priors", Table 1, corrected.
"""

from __future__ import annotations

from scalemix.noise.base import Noise
from scalemix.noise.bottleneck import Bottleneck
from scalemix.noise.bounded import Beta, LogUniform, Uniform, UniformVariance
from scalemix.noise.gates import Bernoulli, Constant
from scalemix.noise.relaxed import HardConcrete, RelaxedBernoulli
from scalemix.noise.unbounded import Chi, Gaussian, HalfCauchy, HalfNormal, InverseNakagami, LogNormal, Rayleigh

__all__ = [
    "Bernoulli",
    "Beta",
    "Bottleneck",
    "Chi",
    "Constant",
    "Gaussian",
    "HalfCauchy",
    "HalfNormal",
    "HardConcrete",
    "InverseNakagami",
    "LogNormal",
    "LogUniform",
    "Noise",
    "Rayleigh",
    "RelaxedBernoulli",
    "Uniform",
    "UniformVariance",
]
