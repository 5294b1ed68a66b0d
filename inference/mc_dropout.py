"""Monte Carlo dropout: the noise is drawn from its prior at each step, weights are points. Any noise, not only the Bernoulli.

    minimize (N/B) Σ_batch E_{p(ξ)}[−log p(y | W, ξ)] − log p(W),    −log p(W) = Σ w²/(2σ₀²) + constant

It is a bound of marginal MAP (the point W with the noise integrated out), by Jensen's inequality. One noise per input of a layer
(noise_on="input", ``.per("in")``) is Srivastava's dropout, type A, whose outputs are correlated; one per weight (no ``.per``) is type B,
whose outputs are not. noise_on="output" multiplies whole pre-activations, which is neither.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from scalemix.guided import GuideSettings, fit_guide, recipe_for
from scalemix.guides import Component, FromPrior, Point, Target
from scalemix.posterior import Posterior
from scalemix.priors import VariationalPrior
from scalemix.runs import Structure

if TYPE_CHECKING:
    from scalemix.language import PPL

__all__ = ["Settings", "fit"]


@dataclass(frozen=True, kw_only=True)
class Settings(GuideSettings):
    """How to train; further arguments as in ``scalemix.training.Settings``.

    Args:
        num_draws: draws of the noise in the posterior.
        local_reparametrization: has no meaning here.

    Raises: ValueError for a number or a choice out of range.
    """


def fit(
    ppl: PPL,
    model: Callable[..., Any],
    *data: Any,
    seed: int,
    settings: Settings | None = None,
    num_data: int | None = None,
    **training: Any,
) -> Posterior:
    """Train the weights W under multiplicative noise: minimize loss = (N/B) Σ E_{p(ξ)}[−log p(y | W, ξ)] + Σ w²/(2σ₀²).

    Nalisnick and Smyth (2018), eq. 3 and 9-11.

    Args:
        ppl: ``scalemix.pyro`` or ``scalemix.numpyro``.
        model: ``model(ppl, *data)`` whose noises are sites, e.g. ``functools.partial(scalemix.models.mlp, noise_on="input",
            noise_plate="example", prior=sm.ScaleMixture(noise.Bernoulli.from_dropout_rate(0.5).per("in")))``: a fresh noise per row.
        data: arrays, data frames or dicts of arrays, the last one the outcome; or one iterable of batches of them, with ``num_data``.
        seed: a whole number; the same seed gives the same fit.
        settings: how; ``None`` for the defaults.
        num_data: the size of the whole data set if ``data`` is a part of it, or batches.
        training: ``validation``, ``callbacks``, ``folder``, ``resume``, as for ``scalemix.language.Engine.train``.

    Returns: the trained weights beside draws of the noise. Predict at other rows with noise="prior", or "mean" as dropout networks do.

    Raises: ValueError for a model without noises, or with a prior that has none, naming the recipe that treats it.
    """
    settings = Settings() if settings is None else settings

    def check(structure: Structure) -> list[str]:
        for name, site in structure.sites.items():
            if isinstance(site.prior, VariationalPrior):
                raise ValueError(f"mc_dropout draws noises, and {name!r} has {site.prior}: use scalemix.inference.{recipe_for(site.prior)}")
        if not any(site.role == "noise" for site in structure.sites.values()):
            raise ValueError(
                "mc_dropout needs noises that are sites, and the model has none: give a prior with a noise, noise_on='input' and "
                "noise_plate='example' (for a prior without noise use scalemix.inference.map)"
            )
        return ["a bound of marginal MAP: the weights are points, and the noise keeps its prior"]

    def choose(target: Target) -> Component:
        return FromPrior() if target.role == "noise" else Point()

    return fit_guide(
        ppl, model, data, choose, check=check, settings=settings, seed=seed, num_data=num_data, method="mc_dropout", **training
    )
