"""Which coordinates? Short pilot chains of NUTS in each parametrization the model has; the best one is then sampled in earnest.

The law of the weights is the same in each form, the geometry is not: expanded (non-centered) for noises that the data say little of,
hierarchical (centered) for those they pin down, and partially centered in between (Papaspiliopoulos, Roberts and Sköld, 2007). A form is
judged by the effective draws of its slowest identified quantity for each gradient, warm-up left out.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from scalemix.fitting import inspect
from scalemix.inference import nuts
from scalemix.plan import FORMS, reparam
from scalemix.posterior import Posterior

if TYPE_CHECKING:
    from scalemix.language import PPL

__all__ = ["Pilot", "Settings", "divergence_limit", "fit", "judged", "pilots", "ranked"]

HALF_CENTERED = 0.5
# Diverging pilots leave out a part of the posterior, and what is left out costs no gradients: such a form is taken only if all are.
MAX_DIVERGENCE_FRACTION, TIMES_THE_LEAST = 0.02, 3.0


@dataclass(frozen=True, kw_only=True)
class Settings(nuts.Settings):
    """How to sample in earnest, and how long to try.

    Args:
        num_pilot_warmup, num_pilot_draws, num_pilot_chains: iterations and chains of each pilot.

    Other arguments as in ``scalemix.inference.nuts.Settings``.

    Raises: as there, ValueError for a number or a choice out of range.
    """

    num_pilot_warmup: int = 300
    num_pilot_draws: int = 300
    num_pilot_chains: int = 2


@dataclass(frozen=True)
class Pilot:
    """One form tried.

    Attributes:
        form: "expanded", "hierarchical", "marginal", or a centering between 0 and 1.
        ess_per_gradient: least bulk ESS of what all forms share, over the leapfrog steps of the kept draws.
        slowest: where the ESS is least.
        num_gradients: leapfrog steps of the kept draws, all chains.
        divergence_fraction: of the kept draws.
    """

    form: str | float
    ess_per_gradient: float
    slowest: str
    num_gradients: int
    divergence_fraction: float

    def __str__(self) -> str:
        form = self.form if isinstance(self.form, str) else f"centering {self.form:g}"
        return (
            f"{form}: {1e3 * self.ess_per_gradient:.3g} effective draws of {self.slowest} in 1000 gradients, "
            f"{100 * self.divergence_fraction:.2g} % divergences"
        )


def pilots(
    ppl: PPL,
    model: Callable[..., Any],
    *data: Any,
    seed: int,
    settings: Settings | None = None,
    num_data: int | None = None,
    forms: Sequence[str | float] | None = None,
) -> list[Pilot]:
    """Try each form in short chains; the best comes first.

    Other arguments as in ``scalemix.inference.nuts.fit``.

    Args:
        forms: which to try; ``None`` for every form that changes the model, and the centering halfway. Weights whose parametrization the
            model itself says keep it.

    Raises: as ``nuts.fit``.
    """
    settings = Settings() if settings is None else settings
    short = dataclasses.replace(
        settings,
        num_warmup=settings.num_pilot_warmup,
        num_draws=settings.num_pilot_draws,
        num_chains=settings.num_pilot_chains,
    )
    chosen = _distinct(ppl, model, data, (*FORMS, HALF_CENTERED), seed=seed, settings=settings) if forms is None else list(forms)
    return judged({form: nuts.fit(ppl, reparam(model, form), *data, seed=seed, settings=short, num_data=num_data) for form in chosen})


def judged(runs: Mapping[str | float, Posterior]) -> list[Pilot]:
    """``runs`` of one model in several forms (form to run), the best first: the most effective draws of the slowest identified quantity
    for each gradient among those that diverge within ``divergence_limit`` (Papaspiliopoulos, Roberts and Sköld, 2007, for the forms)."""
    shared = set.intersection(*(set(run.identified or run.draws) for run in runs.values()))
    return ranked([_pilot(form, run, sorted(shared)) for form, run in runs.items()])


def ranked(pilots: Sequence[Pilot]) -> list[Pilot]:
    """The best of ``pilots`` first: of those within ``divergence_limit`` the one with the most effective draws for a gradient."""
    limit = divergence_limit(pilots)
    return sorted(pilots, key=lambda each: (each.divergence_fraction > limit, -each.ess_per_gradient))


def divergence_limit(pilots: Sequence[Pilot]) -> float:
    """The share of divergences up to which a form may be taken: 0.02, or three times the least among ``pilots`` where all have more than a
    few. Where they are alike they cannot tell the forms apart (Betancourt and Girolami, 2015, for what they tell)."""
    return max(MAX_DIVERGENCE_FRACTION, TIMES_THE_LEAST * min(pilot.divergence_fraction for pilot in pilots))


def fit(
    ppl: PPL,
    model: Callable[..., Any],
    *data: Any,
    seed: int,
    settings: Settings | None = None,
    num_data: int | None = None,
    forms: Sequence[str | float] | None = None,
) -> Posterior:
    """Sample p(θ | y) ∝ p(y | θ) p(θ) by NUTS in the form whose pilot was best. ``info.notes`` has a line for each pilot, the best first.

    The forms: Papaspiliopoulos, Roberts and Sköld (2007). Arguments and errors as in ``pilots``; ``posterior.model`` is the model in the
    chosen form.
    """
    settings = Settings() if settings is None else settings
    tried = pilots(ppl, model, *data, seed=seed, settings=settings, num_data=num_data, forms=forms)
    posterior = nuts.fit(ppl, reparam(model, tried[0].form), *data, seed=seed, settings=settings, num_data=num_data)
    posterior.info.notes += [f"coordinates: {pilot}" for pilot in tried]
    return posterior


def _distinct(
    ppl: PPL, model: Callable[..., Any], data: tuple, forms: Sequence[str | float], *, seed: int, settings: nuts.Settings
) -> list[str | float]:
    """The forms that differ in the sites they make, and the centerings between; a form that no weight has is another's double."""
    found: dict[tuple, str | float] = {}
    with ppl.engine.precision(settings.dtype, settings.device):
        for form in forms:
            _, structure = inspect(ppl, reparam(model, form), data, seed=seed, method="NUTS")
            words = tuple(sorted((name, site.form) for name, site in structure.sites.items()))
            found.setdefault((tuple(structure.latents), words), form)
    return list(found.values())


def _pilot(form: str | float, run: Posterior, shared: list[str]) -> Pilot:
    from scalemix.comparison import diagnose

    numbers = diagnose(run, sites=shared)
    gradients = int(run.sample_stats["n_steps"].sum())
    ess = 0.0 if math.isnan(numbers.min_ess_bulk) else numbers.min_ess_bulk
    return Pilot(form, ess / gradients, numbers.min_ess_bulk_at, gradients, numbers.divergence_fraction)
