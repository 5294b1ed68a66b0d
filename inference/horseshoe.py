"""The horseshoe by variational inference: log-normal scales times normal weights, per weight or per unit.

    minimize (N/B) Σ_batch E_q[−log p(y | w)] + KL(q(z) ‖ N(0, σ₀²)) + Σ_scales KL(q(x) ‖ p(x)),   w = τ λ z

In the expanded form each divergence is closed: a half-Cauchy scale is split into a gamma and an inverse-gamma factor (or taken as it is).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from scalemix.checks import check_number
from scalemix.guided import GuideSettings, fit_guide, refuse_unless
from scalemix.guides import Component, Gaussian, LogNormal, Point, Target
from scalemix.noise import HalfCauchy
from scalemix.posterior import Posterior
from scalemix.priors import ScaleMixture
from scalemix.runs import Structure

if TYPE_CHECKING:
    from scalemix.language import PPL

__all__ = ["Settings", "fit"]


@dataclass(frozen=True, kw_only=True)
class Settings(GuideSettings):
    """How to train; further arguments as in ``scalemix.training.Settings``.

    Args:
        num_draws: draws of the fitted guide in the posterior.
        local_reparametrization: has no meaning here: the weight is a product of drawn sites.
        half_cauchy: "split" into a gamma and an inverse-gamma factor, or "direct", a lower (tighter) divergence by quadrature.
        log_variance: first value of log σ², of weights and log scales alike.
        log_scale: first value of the logarithm of each scale.

    Raises: ValueError for a number or a choice out of range.
    """

    half_cauchy: str = "split"
    log_variance: float = -4
    log_scale: float = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.half_cauchy not in ("split", "direct"):
            raise ValueError(f"Settings(half_cauchy={self.half_cauchy!r}): give 'split' or 'direct'")
        check_number("Settings(log_variance=)", self.log_variance)
        check_number("Settings(log_scale=)", self.log_scale)


def fit(
    ppl: PPL,
    model: Callable[..., Any],
    *data: Any,
    seed: int,
    settings: Settings | None = None,
    num_data: int | None = None,
    **training: Any,
) -> Posterior:
    """Fit log-normal scales and normal weights under ``sm.Horseshoe``: Louizos, Ullrich and Welling (2017), appendix A.

    q(ξ) = LogNormal(μ, s²), q(z) = N(m, σ²), w = ξ z; minimize (N/B) Σ E_q[−log p(y | w)] + KL(q ‖ p), nats.

    Args:
        ppl: ``scalemix.pyro`` or ``scalemix.numpyro``.
        model: ``model(ppl, *data)`` whose weights with an input axis have the prior ``sm.Horseshoe(...)``, with a slab or without, per
            weight or per unit (``per="in"``), in its expanded form.
        data: arrays, data frames or dicts of arrays, the last one the outcome; or one iterable of batches of them, with ``num_data``.
        seed: a whole number; the same seed gives the same fit.
        settings: how; ``None`` for the defaults.
        num_data: the size of the whole data set if ``data`` is a part of it, or batches.
        training: ``validation``, ``callbacks``, ``folder``, ``resume``, as for ``scalemix.language.Engine.train``.

    Returns: draws of the guide, with log q of each; ``posterior.params`` has ``w1_base_loc``, ``w1_noise_loc``, …. Biases and observation
        scales are points.

    Raises: ValueError for a model with another prior or form, naming the recipe that treats it.
    """
    settings = Settings() if settings is None else settings

    def check(structure: Structure) -> list[str]:
        for name, site in refuse_unless(_is_horseshoe, structure, "horseshoe", "weights with half-Cauchy scales").items():
            if site.form not in ("expanded", "single"):
                raise ValueError(f"horseshoe is for the expanded form, and {name!r} is {site.form}: leave parametrization= open")
        return ["mean field: scales and weights are independent in the guide, so a scale and its weights cannot shrink together"]

    def choose(target: Target) -> Component:
        if target.role in ("noise", "slab"):
            return LogNormal(split=settings.half_cauchy == "split", log_variance=settings.log_variance, log_scale=settings.log_scale)
        if target.role in ("base", "weight"):
            return Gaussian(log_variance=settings.log_variance)
        return Point()

    return fit_guide(ppl, model, data, choose, check=check, settings=settings, seed=seed, num_data=num_data, method="horseshoe", **training)


def _is_horseshoe(prior: Any) -> bool:
    """Each random scale is a half-Cauchy."""
    if not isinstance(prior, ScaleMixture) or not prior.random_factors:
        return False
    return all(isinstance(factor.noise, HalfCauchy) for factor in prior.random_factors)
