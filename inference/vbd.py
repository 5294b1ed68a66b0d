"""Variational Bayesian dropout: q(w) = N(θ, σ²) for each weight against N(0, γ), γ at its best value for each weight.

    minimize (N/B) Σ_batch E_q[−log p(y | w)] + Σ_w ½ log(1 + θ²/σ²)

With γ* = θ² + σ² put in, its divergence is what stands there (collapsed). With γ as a point of the guide (gamma="point") it is
Σ_w KL(N(θ, σ²) ‖ N(0, γ)), whose least value over γ is the same. For one weight the optimum is the non-negative garrote.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from scalemix.guided import GuideSettings, fit_guide, refuse_unless
from scalemix.guides import Component, Gaussian, Point, PriorVariance, Target
from scalemix.posterior import Posterior
from scalemix.priors import GaussianUniformMaximized
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
        log_variance: first value of log σ².
        mask_above: weights whose log α = log σ² − log θ² is above this number are 0 already during training (3 is a dropout rate of .953);
            ``None``: none. Without it weights that should vanish keep wandering, and short runs end several times larger.
        gamma: "collapsed", each γ at its best value at every step, or "point", a parameter that is trained with the others, within the
            bounds of the prior. Both have one optimum; the second has a third more parameters and takes longer to get there.

    Raises: ValueError for a number or a choice out of range.
    """

    log_variance: float = -10
    mask_above: float | None = None
    gamma: str = "collapsed"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.gamma not in ("collapsed", "point"):
            raise ValueError(f"Settings(gamma={self.gamma!r}): give 'collapsed' or 'point'")


def fit(
    ppl: PPL,
    model: Callable[..., Any],
    *data: Any,
    seed: int,
    settings: Settings | None = None,
    num_data: int | None = None,
    **training: Any,
) -> Posterior:
    """Fit q(w) = N(θ, σ²) under ``sm.GaussianUniformMaximized(low, high)``: minimize (N/B) Σ E_q[−log p(y | w)] + Σ ½ log(1 + θ²/σ²).

    Liu, Dong, Zhang, Gong and Shi (2019), eq. 17 and 18.

    Args:
        ppl: ``scalemix.pyro`` or ``scalemix.numpyro``.
        model: ``model(ppl, *data)`` whose weights with an input axis have the prior ``sm.GaussianUniformMaximized()``.
        data: arrays, data frames or dicts of arrays, the last one the outcome; or one iterable of batches of them, with ``num_data``.
        seed: a whole number; the same seed gives the same fit.
        settings: how; ``None`` for the defaults.
        num_data: the size of the whole data set if ``data`` is a part of it, or batches.
        training: ``validation``, ``callbacks``, ``folder``, ``resume``, as for ``scalemix.language.Engine.train``.

    Returns: draws of the guide; ``posterior.params`` has ``w1_loc``, ``w1_log_variance``, …, with gamma="point" ``w1_log_gamma``. It is
        empirical Bayes for γ, no posterior.

    Raises: ValueError for a model with another prior, naming the recipe that treats it, and for data that are not finite numbers.
    """
    settings = Settings() if settings is None else settings
    kind = type(GaussianUniformMaximized())
    bounds: dict[str, tuple[float, float]] = {}

    def check(structure: Structure) -> list[str]:
        weights = refuse_unless(
            lambda prior: isinstance(prior, kind), structure, "vbd", "weights with the prior sm.GaussianUniformMaximized()"
        )
        for name, site in weights.items():
            prior = site.prior.scaled(site.scale)  # type: ignore[union-attr]
            bounds[name] = prior.low, prior.high  # type: ignore[attr-defined]
        return ["empirical Bayes: the prior variance of each weight is a point, put where the objective is least"]

    def choose(target: Target) -> Component:
        if target.role == "weight":
            if settings.gamma == "point":
                low, high = bounds[target.site]
                return PriorVariance(log_variance=settings.log_variance, mask_above=settings.mask_above, low=low, high=high)
            return Gaussian(log_variance=settings.log_variance, mask_above=settings.mask_above)
        return Point()

    return fit_guide(ppl, model, data, choose, check=check, settings=settings, seed=seed, num_data=num_data, method="vbd", **training)
