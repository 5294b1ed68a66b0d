"""Concrete dropout: a Bernoulli gate on each input of a layer, drawn anew for each row, with a rate that is learned for each layer.

    minimize (N/B) Σ_batch E[−log p(y | M, ξ)] + Σ_layers [½ ℓ²(1 − p)‖M‖² − K H(p)]

The gates are relaxed, ξ = σ((logit(1 − p) + ℓ)/T) with a logistic ℓ, so that a gradient reaches p. H is the entropy of a Bernoulli gate, K
the number of inputs: without it all rates fall to 0.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from scalemix.guided import GuideSettings, fit_guide, recipe_for, rows_in
from scalemix.guides import Component, Concrete, Point, Target
from scalemix.noise import Bernoulli
from scalemix.posterior import Posterior
from scalemix.runs import Structure

if TYPE_CHECKING:
    from scalemix.language import PPL

__all__ = ["Settings", "fit"]

WANTS = "noise.Bernoulli(keep).per('in'), noise_on='input' and noise_plate='example'"


@dataclass(frozen=True, kw_only=True)
class Settings(GuideSettings):
    """How to train; further arguments as in ``scalemix.training.Settings``.

    Args:
        num_draws: draws of the gates in the result.
        local_reparametrization: has no meaning here: weights are points.
        temperature: T of the relaxed gates.
        inverted: divide the gates by 1 − p, as the released code does; the stored weight is then M(1 − p).

    Raises: ValueError for a number or a choice out of range.
    """

    temperature: float = 0.1
    inverted: bool = False


def fit(
    ppl: PPL,
    model: Callable[..., Any],
    *data: Any,
    seed: int,
    settings: Settings | None = None,
    num_data: int | None = None,
    **training: Any,
) -> Posterior:
    """Train points and dropout rates: Gal, Hron and Kendall (2017), eq. 3 and 4, their ℓ one over the weights' prior scale.

    loss = (N/B) Σ −log p(y | W, z̃) + Σ_layers [ridge of the layer − K H(p)], z̃ the relaxed gates, K the layer's inputs, H the entropy of a
    gate's rate p, nats.

    Args:
        ppl: ``scalemix.pyro`` or ``scalemix.numpyro``.
        model: ``model(ppl, *data)`` with a gate per input and row, e.g. ``functools.partial(scalemix.models.mlp, noise_on="input",
            noise_plate="example", prior=sm.ScaleMixture(noise.Bernoulli(0.9).per("in")))``; its inclusion probability is where 1 − p
            begins.
        data: arrays, data frames or dicts of arrays, the last one the outcome; or one iterable of batches of them, with ``num_data``.
        seed: a whole number; the same seed gives the same fit.
        settings: how; ``None`` for the defaults.
        num_data: the size of the whole data set if ``data`` is a part of it, or batches.
        training: ``validation``, ``callbacks``, ``folder``, ``resume``, as for ``scalemix.language.Engine.train``.

    Returns: the trained weights beside draws of the relaxed gates; ``posterior.params`` has ``w1_loc``, ``w1_noise_rate_logit``, ….
        Predict at other rows with noise="posterior", or "mean". It is labelled no posterior: the gates of the guide are relaxed, those of
        the model are not, and the divergence is up to a constant.

    Raises: ValueError for a model with other noises, naming the recipe that treats it.
    """
    settings = Settings() if settings is None else settings
    scales: dict[str, float] = {}
    rows = 1

    def check(structure: Structure) -> list[str]:
        nonlocal rows
        rows = rows_in(structure) if num_data is None else num_data
        gates = {name: site for name, site in structure.sites.items() if site.role == "noise"}
        weights = {name: site for name, site in structure.sites.items() if site.role == "weight"}
        for name, site in {**gates, **({} if gates else weights)}.items():
            if not isinstance(site.noise, Bernoulli) or site.noise.hyper_laws:
                raise ValueError(f"concrete is for {WANTS}, and {name!r} has {site.prior}: use scalemix.inference.{recipe_for(site.prior)}")
        for name, site in gates.items():
            scale = weights[site.weight].scale
            if scale is None:
                raise ValueError(f"concrete needs a number for the prior scale, and that of {site.weight!r} is a site of the model")
            scales[name] = scale * site.prior.base_scale  # type: ignore[union-attr]
        return ["concrete dropout: weights are points, gates are relaxed, and the rates are learned"]

    def choose(target: Target) -> Component:
        if target.site in scales and isinstance(target.noise, Bernoulli):
            return Concrete(
                temperature=settings.temperature,
                length_scale=1.0 / scales[target.site],
                inverted=settings.inverted,
                first_rate=min(max(1.0 - float(target.noise.inclusion_prob), 1e-3), 0.999),  # type: ignore[arg-type]
                num_data=rows,
            )
        return Point(penalized=target.role != "weight")

    return fit_guide(
        ppl,
        model,
        data,
        choose,
        check=check,
        settings=settings,
        seed=seed,
        num_data=num_data,
        method="concrete",
        no_posterior="relaxed gates stand for Bernoulli gates, and the divergence is up to a constant",
        **training,
    )
