"""Bayes by Backprop: q(w) = N(m, σ²) for each weight against a mixture of two normals, its divergence estimated at the draw.

minimize (N/B) Σ_batch −log p(y | w) + log q(w) − log p(w),   w ~ q
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from scalemix.guided import GuideSettings, fit_guide, is_two_normals, refuse_unless
from scalemix.guides import Component, Gaussian, Point, Target
from scalemix.posterior import Posterior
from scalemix.runs import Structure

if TYPE_CHECKING:
    from scalemix.language import PPL

__all__ = ["Settings", "fit"]


@dataclass(frozen=True, kw_only=True)
class Settings(GuideSettings):
    """How to train; further arguments as in ``scalemix.training.Settings``.

    Args:
        num_draws: draws of the fitted guide in the posterior.
        local_reparametrization: has no meaning here: the divergence needs the draw of the weights.
        log_variance: first value of log σ².

    Raises: ValueError for a number or a choice out of range.
    """

    log_variance: float = -8


def fit(
    ppl: PPL,
    model: Callable[..., Any],
    *data: Any,
    seed: int,
    settings: Settings | None = None,
    num_data: int | None = None,
    **training: Any,
) -> Posterior:
    """Fit q(w) = N(m, σ²) under ``sm.NormalMixture``: minimize (N/B) Σ −log p(y | w) + log q(w) − log p(w) at draws w of q.

    Blundell, Cornebise, Kavukcuoglu and Wierstra (2015), eq. 2 and 7.

    Args:
        ppl: ``scalemix.pyro`` or ``scalemix.numpyro``.
        model: ``model(ppl, *data)`` whose weights have the prior ``sm.NormalMixture`` (or a continuous ``sm.SpikeAndSlab``), marginal form.
        data: arrays, data frames or dicts of arrays, the last one the outcome; or one iterable of batches of them, with ``num_data``.
        seed: a whole number; the same seed gives the same fit.
        settings: how; ``None`` for the defaults.
        num_data: the size of the whole data set if ``data`` is a part of it, or batches.
        training: ``validation``, ``callbacks``, ``folder``, ``resume``, as for ``scalemix.language.Engine.train``.

    Returns: draws of the guide, with log q of each; ``posterior.params`` has ``w1_loc``, ``w1_log_variance``, …. Scales are points.

    Raises: ValueError for a model with another prior, naming the recipe that treats it, and for discrete sites.
    """
    settings = Settings() if settings is None else settings

    def check(structure: Structure) -> list[str]:
        refuse_unless(is_two_normals, structure, "bayes_by_backprop", "weights with the prior sm.NormalMixture")
        return []

    def choose(target: Target) -> Component:
        if target.role in ("weight", "bias"):
            return Gaussian(log_variance=settings.log_variance, monte_carlo=True)
        return Point()

    return fit_guide(
        ppl, model, data, choose, check=check, settings=settings, seed=seed, num_data=num_data, method="bayes_by_backprop", **training
    )
