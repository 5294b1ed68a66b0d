"""From what a person knows to the scale of a prior: "95 % of the effects lie below 0.5", "about 5 of the 50 matter".

scale     σ₀ with P(|w| ≤ below) = probability; |w| is proportional to σ₀, so σ₀ = below / (the quantile of |w| at σ₀ = 1)
active    E[m_eff] = Σⱼ E[1 − κⱼ] = expected_active, with κ as in ``scalemix.shrinkage``
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from scipy.optimize import root_scalar

from scalemix.checks import check_between, check_positive, check_positive_int
from scalemix.effects import effect_quantile
from scalemix.hyper import ExpectedActive
from scalemix.marginal import atom
from scalemix.noise import Bernoulli, Constant, HalfCauchy
from scalemix.noise_nodes import product_nodes
from scalemix.priors import ScaleMixture
from scalemix.tying import LAYER

__all__ = ["elicit_active", "elicit_scale"]


def elicit_scale(prior: ScaleMixture, *, below: float, probability: float = 0.95) -> ScaleMixture:
    """The prior of the same family under which P(|w| ≤ below) = probability: its ``base_scale`` is replaced.

    |w| is proportional to σ₀, so σ₀ = below / (the quantile of |w| at σ₀ = 1).

    Args:
        prior: the family; its own base scale does not matter.
        below: a size, in the units of the weight.
        probability: with which |w| is below it.

    Raises: ValueError if the atom at 0 alone has that probability, so that no scale does.

    Example:
        >>> elicit_scale(StudentT(df=3), below=0.5, probability=0.95)
    """
    check_positive("below", below)
    check_between("probability", probability, 0.0, 1.0)
    if not atom(prior) < probability < 1.0:
        raise ValueError(
            f"P(|w| ≤ {below:g}) = {probability:g} holds at no scale of {prior}, whose atom at 0 has the probability {atom(prior):g}: "
            "give a probability between that and 1"
        )
    return _with(prior, base_scale=prior.base_scale * below / float(effect_quantile(prior, probability)))


def elicit_active(
    prior: ScaleMixture, *, expected_active: float, num_weights: int, num_data: int, noise_scale: float = 1.0
) -> ScaleMixture:
    """The prior of the same family under which about ``expected_active`` of ``num_weights`` weights matter.

    What is replaced is what says it in the family: the inclusion probability of a gate, p₀/p; the scale of the half-Cauchy that a whole
    array shares, tau0 = σ p₀ / ((p − p₀) √N) (Piironen and Vehtari, 2017, eq. 3.12); in any other family ``base_scale``, so that the
    expected effective number of weights Σⱼ E[1 − κⱼ] is p₀ (:func:`shrinkage_factor` for κ).

    Args:
        prior: the family.
        expected_active: p₀.
        num_weights: p.
        num_data: N.
        noise_scale: σ, in the units of y.

    Raises: ValueError if p₀ is not below p, or below what an atom at 0 leaves.

    Example:
        >>> elicit_active(SpikeAndSlab(slab_scale=2.0), expected_active=5, num_weights=50, num_data=100)
    """
    check_positive_int("num_weights", num_weights)
    check_positive("noise_scale", noise_scale)
    tau0 = ExpectedActive(expected_active, num_data).resolve(num_weights) * noise_scale
    gates = [factor for factor in prior.factors if isinstance(factor.noise, Bernoulli)]
    if len(gates) == 1 and isinstance(gates[0].noise, Bernoulli):
        return _replaced(prior, gates[0], replace(gates[0].noise, inclusion_prob=expected_active / num_weights))
    shared = [factor for factor in prior.factors if isinstance(factor.noise, HalfCauchy) and factor.axes == (LAYER,)]
    if len(shared) == 1:
        others = math.prod(factor.noise.value for factor in prior.factors if isinstance(factor.noise, Constant))
        return _replaced(prior, shared[0], HalfCauchy(tau0 / (prior.base_scale * others)))
    return _with(prior, base_scale=_base_scale(prior, expected_active / num_weights, num_data, noise_scale))


def _base_scale(prior: ScaleMixture, share: float, num_data: int, noise_scale: float) -> float:
    """σ₀ with E[1 − κ] = share."""
    if share >= 1.0 - atom(prior):
        raise ValueError(f"{prior} leaves only {1.0 - atom(prior):.3g} of the weights off 0: lower expected_active or its atom")
    noises = [noise for factor in prior.factors for noise in factor.noise.unfolded()]
    slab = [prior.slab] if prior.slab is not None else []
    values, probs = product_nodes([*noises, *slab])
    log_square = 2 * np.sum(np.log(np.maximum(np.abs(values[:, : len(noises)]), 1e-300)), axis=1)
    if prior.slab is not None:
        log_square = -np.logaddexp(-log_square, -2 * np.log(values[:, -1]))
    start = math.log(noise_scale) - 0.5 * math.log(num_data)

    def excess(log_scale: float) -> float:
        return float(probs @ (0.5 + 0.5 * np.tanh(0.5 * (log_square + 2 * (log_scale - start))))) - share

    return math.exp(root_scalar(excess, bracket=(start - 60.0, start + 60.0), xtol=1e-13).root)


def _replaced(prior: ScaleMixture, old: object, noise: Bernoulli | HalfCauchy) -> ScaleMixture:
    factors = [replace(factor, noise=noise) if factor is old else factor for factor in prior.factors]
    return ScaleMixture(*factors, base_scale=prior.base_scale, slab=prior.slab)


def _with(prior: ScaleMixture, *, base_scale: float) -> ScaleMixture:
    return ScaleMixture(*prior.factors, base_scale=base_scale, slab=prior.slab)
