"""Logistic regression with a scale-mixture prior on the coefficients."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from scalemix.models.linear import linear
from scalemix.plan import Parametrization
from scalemix.priors import Normal, ScaleMixture

if TYPE_CHECKING:
    from scalemix.language import PPL

__all__ = ["logistic"]


def logistic(
    ppl: PPL,
    x: Any,
    y: Any | None = None,
    *,
    prior: ScaleMixture,
    bias_prior: ScaleMixture | None = Normal(1.0),  # noqa: B008  (priors are frozen values)
    parametrization: Parametrization = None,
) -> Any:
    """y ~ Bernoulli(p), log p/(1 − p) = x w1 + b1, w1 ~ prior: ``linear`` with a Bernoulli likelihood.

    Nalisnick and Smyth (2018), eq. 1 with a logit link and without a hidden layer.

    Args:
        ppl: ``scalemix.pyro`` or ``scalemix.numpyro``.
        x: (n, p), columns standardized (the priors are on that scale).
        y: (n,) of 0 and 1, or ``None`` to predict.
        prior: of ``w1``, shape (p,), axes ("in",), in log odds per unit of x.
        bias_prior: of ``b1``, a scalar; ``None`` for no intercept.
        parametrization: of w1: "expanded", "hierarchical", "marginal" or a dict (``ppl.weight``).

    Sites: w1 (and w1_noise, …), b1, y. Returns y, shape (n,).

    Raises: ValueError if x is not (n, p) or y not (n,).
    """
    return linear(ppl, x, y, prior=prior, bias_prior=bias_prior, likelihood="bernoulli", parametrization=parametrization)
