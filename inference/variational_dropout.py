"""Variational dropout: q(w) = N(θ, σ²) for each weight against the improper log-uniform prior, by local reparametrization.

    minimize (N/B) Σ_batch E_q[−log p(y | w)] + Σ_w D(log α),   α = σ²/θ²

A weight whose α grows without bound is noise and can be dropped (sparse variational dropout). With one α for an input unit or a layer,
q(w) = N(θ, α θ²), it is Gaussian dropout whose rate is learned. Biases and scales are points.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from scalemix.divergences.variational_dropout import METHODS
from scalemix.guided import GuideSettings, fit_guide, refuse_unless
from scalemix.guides import Component, Gaussian, Multiplicative, Point, Target
from scalemix.guides.multiplicative import SHARED
from scalemix.posterior import Posterior
from scalemix.priors import LogUniform
from scalemix.runs import Structure

if TYPE_CHECKING:
    from scalemix.language import PPL

__all__ = ["Settings", "fit"]


@dataclass(frozen=True, kw_only=True)
class Settings(GuideSettings):
    """How to train; further arguments as in ``scalemix.training.Settings``.

    Args:
        num_draws: draws of the fitted guide in the posterior.
        local_reparametrization: draw a layer's pre-activations instead of its weights: True, False, or "auto", where a batch has fewer rows
            than the layer has inputs.
        method: of the divergence: "exact", "molchanov", "code2017" or "kingma" (``sm.divergences.log_uniform``).
        per: what has an α of its own: "weight", with σ² as the parameter, "in" (an input unit, of a convolution a channel) or "layer", with
            log α as the parameter.
        log_variance: first value of log σ², for per="weight".
        log_alpha: first value of log α, for the others.
        mask_above: weights whose log α is above this number are 0 already during training (3 is a dropout rate of .953); ``None``: none.

    Raises: ValueError for a number or a choice out of range.
    """

    method: str = "exact"
    per: str = "weight"
    log_variance: float = -10
    log_alpha: float = -4
    mask_above: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.method not in METHODS:
            raise ValueError(f"Settings(method={self.method!r}): give one of {', '.join(map(repr, METHODS))}")
        if self.per not in SHARED:
            raise ValueError(f"Settings(per={self.per!r}): give one of {', '.join(map(repr, SHARED))}")


def fit(
    ppl: PPL,
    model: Callable[..., Any],
    *data: Any,
    seed: int,
    settings: Settings | None = None,
    num_data: int | None = None,
    **training: Any,
) -> Posterior:
    """Fit q(w) = N(θ, σ²) under ``sm.LogUniform()``: minimize (N/B) Σ E_q[−log p(y | w)] + Σ D(log α), α = σ²/θ².

    Kingma, Salimans and Welling (2015), eq. 6 and 8, with a shared α section 3.2; with σ² as the parameter Molchanov, Ashukha and Vetrov
    (2017), section 4.2.

    Args:
        ppl: ``scalemix.pyro`` or ``scalemix.numpyro``.
        model: ``model(ppl, *data)`` whose weights with an input axis have the prior ``sm.LogUniform()``.
        data: arrays, data frames or dicts of arrays, the last one the outcome; or one iterable of batches of them, with ``num_data``.
        seed: a whole number; the same seed gives the same fit.
        settings: how; ``None`` for the defaults.
        num_data: the size of the whole data set if ``data`` is a part of it, or batches.
        training: ``validation``, ``callbacks``, ``folder``, ``resume``, as for ``scalemix.language.Engine.train``.

    Returns: draws of the guide; ``posterior.params`` has ``w1_loc``, ``w1_log_variance``, …, or ``w1_log_alpha`` where α is shared. It is
        no posterior: the prior is improper.

    Raises: ValueError for a model with another prior, naming the recipe that treats it, and for data that are not finite numbers.
    """
    settings = Settings() if settings is None else settings
    law = LogUniform()

    def check(structure: Structure) -> list[str]:
        refuse_unless(lambda prior: prior == law, structure, "variational_dropout", "weights with the prior sm.LogUniform()")
        return []

    def choose(target: Target) -> Component:
        if target.role == "weight":
            if settings.per != "weight":
                return Multiplicative(per=settings.per, log_alpha=settings.log_alpha, mask_above=settings.mask_above)
            return Gaussian(log_variance=settings.log_variance, mask_above=settings.mask_above)
        return Point()

    return fit_guide(
        ppl,
        model,
        data,
        choose,
        check=check,
        settings=settings,
        seed=seed,
        num_data=num_data,
        method="variational_dropout",
        divergence=settings.method,
        **training,
    )
