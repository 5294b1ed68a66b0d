"""Generalized linear regression with a scale-mixture prior on the coefficients."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from scalemix.likelihoods import Likelihood, sample_outcome
from scalemix.likelihoods import likelihood as likelihood_named
from scalemix.plan import Parametrization
from scalemix.priors import Normal, ScaleMixture

if TYPE_CHECKING:
    from scalemix.language import PPL

__all__ = ["linear"]


def linear(
    ppl: PPL,
    x: Any,
    y: Any | None = None,
    *,
    prior: ScaleMixture,
    bias_prior: ScaleMixture | None = Normal(1.0),  # noqa: B008  (priors are frozen values)
    likelihood: str | Likelihood = "gaussian",
    parametrization: Parametrization = None,
    scale_by_sigma: bool = False,
) -> Any:
    """y ~ likelihood(x w1 + b1), w1 ~ prior, one weight per column of x.

    Nalisnick and Smyth (2018), eq. 1 without a hidden layer; ``scale_by_sigma`` is the prior of Piironen and Vehtari (2017), eq. 3.12.

    Args:
        ppl: ``scalemix.pyro`` or ``scalemix.numpyro``.
        x: (n, p), columns standardized (the priors are on that scale).
        y: (n,), or ``None`` to predict.
        prior: of ``w1``, shape (p,), axes ("in",).
        bias_prior: of ``b1``, a scalar; ``None`` for no intercept.
        likelihood: by name, or a value of ``scalemix.likelihoods``.
        parametrization: of w1: "expanded", "hierarchical", "marginal" or a dict (``ppl.weight``).
        scale_by_sigma: multiply the prior's scale by the observation scale sigma (the σ-scaled horseshoe).

    Sites: w1 (and w1_noise, …), b1, sigma, y. Returns y, shape (n,).

    Raises: ValueError if x is not (n, p), y not (n,), or sigma is to scale a prior of a likelihood without one.
    """
    law = likelihood_named(likelihood)
    if x.ndim != 2:
        raise ValueError(f"x has shape {tuple(x.shape)}: give a matrix of shape (n, p), one row per case")
    if scale_by_sigma and not law.has_scale:
        raise ValueError(f"scale_by_sigma needs a likelihood with an observation scale, and {law} has none: leave it False")
    sigma = law.sigma(ppl)
    w = ppl.weight("w1", (x.shape[1],), prior, parametrization=parametrization, scale=sigma if scale_by_sigma else None)
    output = ppl.linear(x, w[..., None])[..., 0]
    if bias_prior is not None:
        output = output + ppl.weight("b1", (), bias_prior)
    return sample_outcome(ppl, law, output, sigma, x, y)
