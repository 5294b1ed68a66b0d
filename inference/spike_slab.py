"""Spike-and-slab nets (sBNN): q(w, z) = N(m, σ²) Bern(p) for each weight against a continuous spike and slab.

    minimize (N/B) Σ_batch E_q[−log p(y | w)] + Σ_w KL(q(w, z) ‖ π(w, z))

For given m and σ the best p has a closed form. Put in (collapsed, the default) one optimizer trains m and σ; refreshed in turn
(alternating, algorithm 1 of the paper) p is sticky: which optimum is found depends on where it began. Two starts remedy that.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from scalemix.checks import check_between, check_number, check_positive_int
from scalemix.guided import GuideSettings, fit_guide, is_two_normals, refuse_unless, rows_in
from scalemix.guides import Component, Point, SpikeSlab, Target
from scalemix.posterior import Posterior
from scalemix.runs import Structure
from scalemix.training.feed import steps_in

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
        method: "collapsed", or "alternating".
        two_starts: fit twice, p held at 0 and at 1 for ``start_epochs`` at first, and keep the fit whose objective ends lower.
        start_epochs: of the two starts; ``None`` for a quarter of ``num_epochs``.
        first_inclusion: where p begins in "alternating" with one start; ``None`` for 0.5.
        refresh_every: steps from one refresh of p to the next in "alternating".
        log_variance: first value of log σ².

    Raises: ValueError for a number or a choice out of range.
    """

    method: str = "collapsed"
    two_starts: bool = False
    start_epochs: int | None = None
    first_inclusion: float | None = None
    refresh_every: int = 1
    log_variance: float = -8

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.method not in ("collapsed", "alternating"):
            raise ValueError(f"Settings(method={self.method!r}): give 'collapsed' or 'alternating'")
        if self.start_epochs is not None:
            check_positive_int("Settings(start_epochs=)", self.start_epochs)
        check_positive_int("Settings(refresh_every=)", self.refresh_every)
        if self.first_inclusion is not None:
            check_between("Settings(first_inclusion=)", self.first_inclusion, 0.0, 1.0)
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
    """Fit q(w, z) = N(m, σ²) Bern(p) under a continuous ``sm.SpikeAndSlab``: Saha, Liu and Liang (2024), eq. 3.7 and 3.8, algorithm 1.

    Args:
        ppl: ``scalemix.pyro`` or ``scalemix.numpyro``.
        model: ``model(ppl, *data)`` whose weights with an input axis have the prior ``sm.SpikeAndSlab(spike_scale=...)``, marginal form.
        data: arrays, data frames or dicts of arrays, the last one the outcome; or one iterable of batches of them, with ``num_data``.
        seed: a whole number; the same seed gives the same fit.
        settings: how; ``None`` for the defaults.
        num_data: the size of the whole data set if ``data`` is a part of it, or batches.
        training: ``validation``, ``callbacks``, ``folder``, ``resume``, as for ``scalemix.language.Engine.train``.

    Returns: draws of the guide, with log q(w) of each; ``posterior.params`` has ``w1_loc``, ``w1_log_variance``, … and
        ``w1_variational_inclusion_prob``, p of each weight, no calibrated inclusion probability: mean field makes it 0 or 1 where a
        posterior hesitates. Biases and scales are points.

    Raises: ValueError for a model with another prior, naming the recipe that treats it, and for discrete sites.
    """
    settings = Settings() if settings is None else settings
    if not settings.two_starts:
        return _fit(ppl, model, data, seed, settings, num_data, None, training)
    fits, folder = [], training.pop("folder", None)
    for start in (0.0, 1.0):
        own = training if folder is None else {**training, "folder": Path(folder) / f"start_{start:g}"}
        fits.append(_fit(ppl, model, data, seed, settings, num_data, start, own))
    ends = [float(np.mean(each.losses[-max(1, len(each.losses) // 10) :])) for each in fits if each.losses is not None]
    best = fits[int(np.argmin(ends))]
    best.info.notes.append(
        f"two starts: the objective ended at {ends[0]:.6g} from p = 0 and at {ends[1]:.6g} from p = 1; the lower one is kept"
    )
    return best


def _fit(
    ppl: PPL,
    model: Callable[..., Any],
    data: tuple,
    seed: int,
    settings: Settings,
    num_data: int | None,
    start: float | None,
    training: dict[str, Any],
) -> Posterior:
    priors: dict[str, Any] = {}
    held = 0

    def check(structure: Structure) -> list[str]:
        nonlocal held
        wants = "weights with a continuous sm.SpikeAndSlab(spike_scale=...) in its marginal form"
        refuse_unless(is_two_normals, structure, "spike_slab", wants)
        for name, site in structure.sites.items():
            if site.role in ("noise", "base"):
                raise ValueError(f"spike_slab is for {wants}, and {name!r} is a site of its own: leave parametrization= open")
            if site.scale is None:
                raise ValueError(f"spike_slab needs numbers for the scales, and that of {name!r} is a site: leave scale_by_sigma away")
            priors[name] = site.prior, site.scale
        epochs = max(settings.num_epochs // 4, 1) if settings.start_epochs is None else settings.start_epochs
        held = 0 if start is None else epochs * steps_in(data, rows_in(structure), settings)
        return ["inclusion probabilities are those of the variational law, p* of E[w²]: not calibrated"]

    def choose(target: Target) -> Component:
        prior, scale = priors.get(target.site, (None, 1.0))
        if target.role != "weight" or not is_two_normals(prior):
            return Point()
        gate, scale = prior.random_factors[0].noise, prior.base_scale * scale
        alternating = settings.method == "alternating"
        wanted = 0.5 if settings.first_inclusion is None else settings.first_inclusion
        first = wanted if start is None and alternating else start
        return SpikeSlab(
            log_variance=settings.log_variance,
            prior_inclusion=gate.inclusion_prob,
            slab_scale=scale * gate.high,
            spike_scale=scale * gate.low,
            first_inclusion=first,
            hold_steps=held,
            refresh_every=settings.refresh_every if alternating else 1,
        )

    posterior = fit_guide(
        ppl, model, data, choose, check=check, settings=settings, seed=seed, num_data=num_data, method="spike_slab", **training
    )
    for site, part in posterior.guide.parts.items():
        if isinstance(part, SpikeSlab):
            own = {suffix: value.astype(float) for suffix, value in posterior.guide.params_of(site, posterior.params).items()}
            posterior.params[f"{site}_variational_inclusion_prob"] = part.inclusion(own)
    return posterior
