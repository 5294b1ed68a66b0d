"""Prior predictive draws: the functions and the data that a model expects before it has seen any y."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from scalemix.cases import plain_data
from scalemix.checks import check_positive_int
from scalemix.language import PPL, Model
from scalemix.posterior import CHUNK

__all__ = ["PriorPredictive", "prior_predictive"]


@dataclass(frozen=True)
class PriorPredictive:
    """S draws from the prior.

    Attributes:
        mean: (S, n) function values, E[y | θ] at each draw (probabilities for a Bernoulli y, (S, n, K) for a categorical one).
        draws: (S, n) outcomes y, in the units of y.
        sites: every other site, weights and noises, (S, *event).
    """

    mean: np.ndarray
    draws: np.ndarray
    sites: dict[str, np.ndarray] = field(repr=False)


def prior_predictive(
    ppl: PPL,
    model: Model,
    *inputs: Any,
    num_draws: int = 500,
    seed: int,
    site: str = "y",
    dtype: str = "float64",
    device: str = "cpu",
) -> PriorPredictive:
    """Draws of the function and of the outcome under the prior, at given inputs: what the prior on the weights says about the data.

    Args:
        ppl: ``scalemix.pyro`` or ``scalemix.numpyro``.
        model: ``model(ppl, *inputs, y=None)``, with its prior.
        inputs: what the model takes before y, e.g. x.
        num_draws: S.
        seed: a whole number; the same seed gives the same draws.
        site: name of the outcome's site.
        dtype: "float32" or "float64".
        device: "cpu" or "gpu".

    Raises: ValueError if the model has no such site.

    Example:
        >>> found = prior_predictive(ppl, partial(mlp, prior=Laplace()), x, num_draws=200, seed=0)
        >>> found.mean.std(axis=0)  # how far the functions spread at each row of x
    """
    check_positive_int("num_draws", num_draws)
    inputs = plain_data(inputs)
    with ppl.engine.precision(dtype, device):
        structure = ppl.engine.structure(model, inputs, seed=seed)
        if site not in structure.latents:
            names = ", ".join(map(repr, structure.latents))
            raise ValueError(f"the model samples no site {site!r} from the prior: give site= one of {names}, and no y among the inputs")
        draws = ppl.engine.sample_prior(model, inputs, num_draws=num_draws, seed=seed)
        latents = {name: draws[name] for name in structure.latents if name != site}
        law = ppl.engine.predict(model, inputs, latents, site=site, seed=seed, chunk=min(CHUNK, num_draws))
    sites = {name: draws[name] for name in (*latents, *structure.deterministics)}
    return PriorPredictive(law.mean, law.draws, sites)
