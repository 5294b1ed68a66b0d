"""What every recipe with one of our guides does: choose the guide by the model's sites, train it, draw from it.

loss = (N/B) Σ_batch −log p(y | θ) + kl_weight · Σ_sites D(q_site, p_site)        nats; ``scalemix.objective`` says what D is
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scalemix.cases import mapped
from scalemix.fitting import build_posterior, inspect, place
from scalemix.guides import Component, Guide, Target
from scalemix.lifting import batch_statistics, normalizes
from scalemix.lower import Site
from scalemix.noise import Bernoulli, Bottleneck, HalfCauchy
from scalemix.posterior import Posterior
from scalemix.priors import ScaleMixture, VariationalPrior
from scalemix.runs import Structure, SviRun, TrainRun
from scalemix.training.feed import Feed, batches_in
from scalemix.training.settings import Settings
from scalemix.variational_scope import variational, variational_scope

if TYPE_CHECKING:
    from scalemix.language import PPL

__all__ = ["GuideSettings", "fit_guide", "is_two_normals", "recipe_for", "refuse_unless", "rows_in"]

MOST_NUMBERS = 2e7  # of the draws of noises that belong to rows: 160 MB


@dataclass(frozen=True, kw_only=True)
class GuideSettings(Settings):
    """How to train a guide, and how many draws of it to keep. Further arguments as in ``scalemix.training.Settings``.

    Args:
        num_draws: draws of the fitted guide in the posterior.
        local_reparametrization: draw a layer's pre-activations instead of its weights: True, False, or "auto", where a batch has fewer rows
            than the layer has inputs.

    Raises: ValueError for a number or a choice out of range.
    """

    num_draws: int = 100
    local_reparametrization: bool | str = "auto"


def fit_guide(
    ppl: PPL,
    model: Callable[..., Any],
    data: tuple,
    choose: Callable[[Target], Component | None],
    *,
    check: Callable[[Structure], list[str]],
    settings: GuideSettings,
    seed: int,
    num_data: int | None,
    method: str,
    divergence: str = "exact",
    no_posterior: str | None = None,
    train: Callable[..., TrainRun] | None = None,
    validation: Callable[[dict[str, Any]], float] | None = None,
    callbacks: Iterable[Callable[[int, dict[str, Any]], object]] = (),
    folder: Path | str | None = None,
    resume: bool = False,
) -> Posterior:
    """Train the guide of components ``choose(target)`` for ``model(ppl, *data)``.

    Args:
        ppl, model, data, seed, num_data: as for every recipe; the data may be one iterable of batches.
        choose: the component of a site.
        check: refuses what the recipe cannot treat, given the model's sites, and returns what a person should know of the result.
        settings, validation, callbacks, folder, resume: of the training (``ppl.engine.train``).
        method: what the result calls itself.
        divergence: how the log-uniform prior's is computed (``divergences.log_uniform``).
        no_posterior: why the result is none, where that is not the prior's doing.
        train: used in place of ``ppl.engine.train``, with the same arguments.

    Returns: num_draws draws of the guide as one chain; ``losses`` has one number per epoch, ``params`` and ``guide`` what was trained.
    """
    read = variational(model, method=divergence)
    batches, data = batches_in(data)
    with variational_scope(placeholders=True), batch_statistics():
        settings, placed = place(ppl, read, data, settings, seed=seed)
    with ppl.engine.precision(settings.dtype, settings.device):
        with batch_statistics():
            with variational_scope(placeholders=True):
                arrays, structure = inspect(ppl, read, data, seed=seed, method=method, gates=True)
            notes = check(structure)
            guide = Guide.build(structure, choose, seed=seed, local_reparametrization=settings.local_reparametrization)
            first = mapped(lambda array: array[: settings.batch_size], arrays)
            objective = ppl.engine.objective(model, guide, first, seed=seed, method=divergence)
            run = (ppl.engine.train if train is None else train)(
                objective,
                arrays if batches is None else batches,
                settings,
                seed=seed,
                num_data=num_data,
                validation=validation,
                callbacks=callbacks,
                folder=folder,
                resume=resume,
            )
            if normalizes(model):
                medians = guide.median(run.params)
                if batches is None or hasattr(batches, "__next__"):
                    model = ppl.recalibrate(model, medians, *arrays, batch_size=settings.batch_size)
                else:
                    model = ppl.recalibrate(model, medians, batches=Feed(batches, settings, num_data).batches(0, 0))
                if batches is not None and hasattr(batches, "__next__"):
                    notes = [
                        *notes,
                        "batch normalization has the statistics of the first batch: the iterator is used up",
                    ]
                read = variational(model, method=divergence)
        kept, structure, more = _rows_to_keep(ppl, read, arrays, structure, settings, seed)
        draws, log_guide = guide.sample_posterior(ppl, run.params, kept, num_draws=settings.num_draws, seed=seed)
        made = SviRun(draws, log_guide, run.history["loss"], run.params, run.seconds_compile, run.seconds_run)
        posterior = build_posterior(ppl, read, kept, kept, structure, made, method=method, seed=seed, settings=settings)
    if settings.kl_weight != 1.0:
        notes = [*notes, f"tempered: the divergence has the weight {settings.kl_weight:g}, so this is no posterior of the model"]
    posterior.info.notes += [placed, run.stopped, *run.notes, *notes, *more]
    posterior.info.settings["optimizer"] = str(settings.optimizer)  # a function is no JSON
    posterior.params, posterior.guide = run.params, guide
    if batches is not None:
        posterior.log_joint[...], posterior.log_guide = math.nan, None
        posterior.info.notes.append("the data came as batches: log likelihoods are those of the first of them, log_joint is nan")
    if no_posterior is None and any(not site.prior.proper for site in structure.sites.values()):
        no_posterior = "the prior has a divergence from the guide, and no density"
    if no_posterior is not None:
        posterior.info.proper = False
        posterior.log_joint[...], posterior.log_guide = math.nan, None
        posterior.info.notes.append(f"no posterior: {no_posterior}; log_joint is nan")
    elif guide.points:
        posterior.log_guide = None
        posterior.info.notes.append(f"no posterior: {', '.join(guide.points)} {'is a point' if len(guide.points) == 1 else 'are points'}")
    return posterior


def refuse_unless(treated: Callable[[Any], bool], structure: Structure, method: str, wants: str) -> dict[str, Site]:
    """The weights with an input axis.

    Raises: ValueError unless there is one and each has a prior that the recipe treats; the error names the recipe that does.
    """
    weights = {name: site for name, site in structure.sites.items() if site.role == "weight" and "in" in site.axes}
    if not weights:
        raise ValueError(f"{method} needs a weight with an axis 'in' made by ppl.weight or ppl.dense, and the model has none")
    for name, site in weights.items():
        if not treated(site.prior):
            raise ValueError(f"{method} is for {wants}, and {name!r} has {site.prior}: use scalemix.inference.{recipe_for(site.prior)}")
    return weights


def recipe_for(prior: Any) -> str:
    """The recipe with a guide made for that prior."""
    if isinstance(prior, VariationalPrior):
        return "variational_dropout" if prior.name.startswith("LogUniform") else "vbd"
    if is_two_normals(prior):
        return "bayes_by_backprop or scalemix.inference.spike_slab"
    noises = [factor.noise for factor in prior.random_factors]
    if any(isinstance(noise, Bottleneck) for noise in noises):
        return "vib"
    if any(isinstance(noise, HalfCauchy) for noise in noises):
        return "horseshoe"
    if any(isinstance(noise, Bernoulli) for noise in noises):
        return "mc_dropout or scalemix.inference.concrete"
    return "mean_field"


def is_two_normals(prior: Any) -> bool:
    """One gate per weight between two normals with positive scales: ``sm.NormalMixture``, a continuous ``sm.SpikeAndSlab``."""
    if not isinstance(prior, ScaleMixture) or len(prior.random_factors) != 1 or prior.slab is not None:
        return False
    factor = prior.random_factors[0]
    return isinstance(factor.noise, Bernoulli) and factor.axes is None and factor.noise.low > 0.0 and not factor.noise.hyper_laws


def rows_in(structure: Structure) -> int:
    """Rows of the outcome."""
    return max(shape[0] for shape in structure.observed.values() if shape)


def _rows_to_keep(
    ppl: PPL, model: Callable[..., Any], arrays: tuple, structure: Structure, settings: GuideSettings, seed: int
) -> tuple[tuple, Structure, list[str]]:
    """A noise per row has a draw for each row of the data: of large data the posterior keeps the first rows alone."""
    per_row = sum(math.prod(structure.latents[name][1:]) for name, site in structure.sites.items() if site.axes[:1] == ("case",))
    rows = rows_in(structure)
    most = int(MOST_NUMBERS // (per_row * settings.num_draws)) if per_row else rows
    if most >= rows:
        return arrays, structure, []
    kept = mapped(lambda array: array[: max(most, 1)], arrays)
    with variational_scope(placeholders=True):
        structure = ppl.engine.structure(model, kept, seed=seed)
    return kept, structure, [f"the draws are for the first {max(most, 1)} of {rows} rows: each row has noises of its own"]
