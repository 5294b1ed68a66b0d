"""VIBNet: a gate N(μ, σ²) on each input unit or channel of a layer, drawn anew for each row; weights are points.

    minimize (1/N) Σ E[−log p(y | W, ξ)] + kl_scale · Σ_layers layer_weight · Σ_units ½ log(1 + μ²/σ²)        (times N: nats)

A regularizer that began as a bound on mutual information, and no posterior. With one gate for all rows (noise_plate="global") and
kl_scale = 1/N it is structured variational Bayesian dropout. A unit with μ² < σ² can be dropped.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from scalemix.checks import check_number, check_positive
from scalemix.divergences import vibnet_kl_scale
from scalemix.guided import GuideSettings, fit_guide, recipe_for, rows_in
from scalemix.guides import Component, Gate, Point, Target
from scalemix.noise import Bottleneck
from scalemix.posterior import Posterior
from scalemix.runs import Structure

if TYPE_CHECKING:
    from scalemix.language import PPL

__all__ = ["Settings", "fit"]


@dataclass(frozen=True, kw_only=True)
class Settings(GuideSettings):
    """How to train; further arguments as in ``scalemix.training.Settings``.

    Args:
        num_draws: draws of the gates in the result.
        local_reparametrization: has no meaning here: weights are points.
        kl_scale: weight of Σ ½ log(1 + μ²/σ²) beside the MEAN loss of a row; ``None`` is 1/N, 1 is a latent gate per row.
        gamma: instead of it γ of eq. 10, from which kl_scale = 2γ/L follows with L gated layers (``sm.divergences.vibnet_kl_scale``).
        layer_weights: a factor of the penalty for each gated layer in turn; ``None`` for 1.
        ridge: keep the weights' and biases' own priors, as weight decay; False: none.
        log_variance: first value of log σ²; μ begins at 1.
        mask_above: gates whose log α = log σ² − log μ² is above this number are 0 already during training; ``None``: none.

    Raises: ValueError for a number or a choice out of range.
    """

    kl_scale: float | None = None
    gamma: float | None = None
    layer_weights: tuple[float, ...] | None = None
    ridge: bool = False
    log_variance: float = -9
    mask_above: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.kl_scale is not None and self.gamma is not None:
            raise ValueError("Settings(kl_scale=, gamma=) says the penalty twice: give one of them")
        for name in ("kl_scale", "gamma"):
            if getattr(self, name) is not None:
                check_positive(f"Settings({name}=)", getattr(self, name))
        for weight in self.layer_weights or ():
            check_positive("Settings(layer_weights=)", weight)
        check_number("Settings(log_variance=)", self.log_variance)


def fit(
    ppl: PPL,
    model: Callable[..., Any],
    *data: Any,
    seed: int,
    settings: Settings | None = None,
    num_data: int | None = None,
    **training: Any,
) -> Posterior:
    """Train points under gates N(μ, σ²) with VIBNet's penalty: Dai, Zhu and Wipf (2018), eq. 10.

    loss = (N/B) Σ E[−log p(y | W, ξ)] + N · kl_scale · Σ_layers layer_weight · Σ_units ½ log(1 + μ²/σ²), nats.

    Args:
        ppl: ``scalemix.pyro`` or ``scalemix.numpyro``.
        model: ``model(ppl, *data)`` whose gates have the law ``noise.Bottleneck()``, e.g. ``functools.partial(scalemix.models.mlp,
            noise_on="input", noise_plate="example", prior=sm.ScaleMixture(noise.Bottleneck().per("in")))``: inputs are gated too. Of
            ``scalemix.models.lenet``, with flatten=False, gates are one per filter, for all its pixels.
        data: arrays, data frames or dicts of arrays, the last one the outcome; or one iterable of batches of them, with ``num_data``.
        seed: a whole number; the same seed gives the same fit.
        settings: how; ``None`` for the defaults.
        num_data: the size of the whole data set if ``data`` is a part of it, or batches.
        training: ``validation``, ``callbacks``, ``folder``, ``resume``, as for ``scalemix.language.Engine.train``.

    Returns: the trained weights beside draws of the gates; ``posterior.params`` has ``w1_loc``, ``w1_noise_loc``,
        ``w1_noise_log_variance``, …. Predict at other rows with noise="posterior", or "mean" for gates at μ. It is no posterior.

    Raises: ValueError for a model without such gates, naming the recipe that treats it, and for layer weights of another number.
    """
    settings = Settings() if settings is None else settings
    weights: dict[str, float] = {}

    def check(structure: Structure) -> list[str]:
        gates = [name for name, site in structure.sites.items() if site.role == "noise"]
        for name, site in structure.sites.items():
            if site.role == "noise" and not isinstance(site.noise, Bottleneck):
                raise ValueError(f"vib is for gates with the law noise.Bottleneck(), and {name!r} has {site.noise}: use mc_dropout")
        if not gates:
            prior = next((site.prior for site in structure.sites.values() if "in" in site.axes), None)
            other = f", and the weights have {prior}: use scalemix.inference.{recipe_for(prior)}" if prior is not None else ""
            raise ValueError(f"vib is for gates with the law noise.Bottleneck(), of which the model has none{other}")
        factors = settings.layer_weights or (1.0,) * len(gates)
        if len(factors) != len(gates):
            raise ValueError(f"Settings(layer_weights=) has {len(factors)} numbers for the {len(gates)} gated layers {', '.join(gates)}")
        rows = rows_in(structure) if num_data is None else num_data
        scale = 1.0 / rows if settings.kl_scale is None else settings.kl_scale
        scale = scale if settings.gamma is None else vibnet_kl_scale(settings.gamma, num_layers=len(gates))
        for name, factor in zip(gates, factors, strict=True):
            per_row = structure.sites[name].axes[:1] == ("case",)
            weights[name] = scale * factor * (1.0 if per_row else rows)
        return [f"VIBNet with kl_scale={scale:.3g}: a regularizer, and the weights are points"]

    def choose(target: Target) -> Component:
        if target.role == "noise":
            return Gate(log_variance=settings.log_variance, mask_above=settings.mask_above, weight=weights[target.site])
        return Point(penalized=settings.ridge or target.role not in ("weight", "base", "bias"))

    return fit_guide(ppl, model, data, choose, check=check, settings=settings, seed=seed, num_data=num_data, method="vib", **training)
