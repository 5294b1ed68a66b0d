"""The coordinate picker against always-expanded and always-hierarchical: effective draws per gradient.

Networks with one hidden layer of eight tanh units on 80 rows, and two models of eight means with one scale, of which each is a funnel in
one of the two forms. The figure of a run is the least bulk ESS over the identified quantities, over the leapfrog steps of its kept draws.
The picker is judged by the run in earnest of the form it took, which is one of the two forms' own where it took one of these. Draws of a
run that diverges often are not of the posterior, whatever their ESS: beyond the picker's own limit a form counts as the worse one.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from mcmc_tables import Section, compiled_once, spread, table

import scalemix as sm
import scalemix.numpyro as ppl
from scalemix import noise
from scalemix.comparison import diagnose
from scalemix.inference import coordinates, nuts
from scalemix.models import mlp

OF_THE_BETTER, OF_THE_WORSE = 0.8, 5.0
FORMS = ("expanded", "hierarchical")
WIDTH, ROWS = 8, 80


class Problem(NamedTuple):
    model: Callable[..., Any]
    data: tuple[np.ndarray, ...]
    funnel: bool = False


def problems() -> dict[str, Problem]:
    rng = np.random.default_rng(4)
    x = rng.standard_normal((ROWS, 3))
    y = np.sin(1.5 * x[:, 0]) + 0.5 * x[:, 1] + 0.3 * rng.standard_normal(ROWS)
    priors = {
        "horseshoe": sm.Horseshoe(expected_active=1, num_data=ROWS, slab_scale=2.0, per="in"),
        "Rayleigh": sm.ScaleMixture(noise.Rayleigh().per("in")),
        "half-Cauchy": sm.ScaleMixture(noise.HalfCauchy().per("in")),
    }
    networks = {f"net 3-{WIDTH}-1, {name}": Problem(partial(mlp, prior=prior, widths=(WIDTH,)), (x, y)) for name, prior in priors.items()}
    truth = rng.standard_normal(8)
    few, many = np.full(8, 10.0), np.full(8, 0.05)
    return networks | {
        "funnel, expanded the better": Problem(means, (few, truth + few * rng.standard_normal(8)), funnel=True),
        "funnel, hierarchical the better": Problem(means, (many, truth + many * rng.standard_normal(8)), funnel=True),
    }


def means(ppl: Any, sd: Any, y: Any = None) -> None:
    """Eight means with one scale, an observation of each."""
    w = ppl.weight("w", (8,), sm.ScaleMixture(noise.HalfNormal(2.0).per("layer")))
    ppl.sample("y", ppl.dist.Normal(w, sd).to_event(1), obs=y)


class Judged(NamedTuple):
    rate: float
    divergence_fraction: float

    @property
    def counted(self) -> float:
        return self.rate if self.divergence_fraction <= coordinates.MAX_DIVERGENCE_FRACTION else 0.0


def measure(quick: bool) -> Section:
    seeds = 1 if quick else 5
    pilot = 50 if quick else 300
    earnest = (100, 100) if quick else (500, 500)
    settings = coordinates.Settings(
        num_pilot_warmup=pilot,
        num_pilot_draws=pilot,
        num_warmup=earnest[0],
        num_draws=earnest[1],
        max_tree_depth=8,
        chain_method="sequential",
        progress=False,
    )
    rows, holds = [], True
    with compiled_once():
        for name, problem in problems().items():
            found = [judge(problem, seed, settings) for seed in range(seeds)]
            worse_than = [better_and_worse(runs) for runs, _ in found]
            picked = [runs[form].counted for runs, form in found]
            better = [mine / max(best, 1e-12) for mine, (best, _) in zip(picked, worse_than, strict=True)]
            worse = [mine / max(worst, 1e-12) for mine, (_, worst) in zip(picked, worse_than, strict=True)]
            kept = np.median(better) >= OF_THE_BETTER and (not problem.funnel or np.median(worse) >= OF_THE_WORSE)
            holds &= bool(kept)
            cells = [cell([runs[form] for runs, _ in found]) for form in FORMS]
            chosen = [f"{form:g}" if isinstance(form, float) else form for _, form in found]
            forms = ", ".join(f"{form} {chosen.count(form)}" for form in dict.fromkeys(chosen))
            rows.append([name, *cells, forms, spread(better), spread(worse), "yes" if kept else "NO"])
    head = ["model", "expanded", "hierarchical", "taken, seeds", "of the better", "times the worse", "holds"]
    said = (
        f"ESS of the slowest identified quantity per 1000 gradients (and divergences); {seeds} seeds, pilots of {pilot} + {pilot} iterations "
        f"in 2 chains, runs of {earnest[0]} + {earnest[1]} in 4. Targets: {OF_THE_BETTER} of the better, on funnels {OF_THE_WORSE:g} times "
        "the worse.\n\n"
    )
    return Section(said + table(head, rows), holds)


def judge(problem: Problem, seed: int, settings: coordinates.Settings) -> tuple[dict[str | float, Judged], str | float]:
    """Runs in earnest by form, and the form the picker took, by pilots of another seed."""
    chosen = coordinates.pilots(ppl, problem.model, *problem.data, seed=1000 + seed, settings=settings)[0].form
    runs = {}
    for form in dict.fromkeys((*FORMS, chosen)):
        runs[form] = nuts.fit(ppl, sm.reparam(problem.model, form), *problem.data, seed=seed, settings=settings)
    shared = sorted(set.intersection(*(set(run.identified or run.draws) for run in runs.values())))
    judged = {}
    for form, run in runs.items():
        numbers = diagnose(run, sites=shared)
        judged[form] = Judged(float(np.nan_to_num(numbers.min_ess_bulk)) / int(run.sample_stats["n_steps"].sum()), numbers.divergence_fraction)
    return judged, chosen


def better_and_worse(runs: dict[str | float, Judged]) -> tuple[float, float]:
    """The figures of the better and of the worse of the two forms; the worse's own ESS, even if it diverges."""
    best = max(FORMS, key=lambda form: runs[form].counted)
    (other,) = set(FORMS) - {best}
    return runs[best].counted, runs[other].rate


def cell(runs: list[Judged]) -> str:
    divergences = 100 * float(np.median([run.divergence_fraction for run in runs]))
    return f"{spread([1e3 * run.rate for run in runs])}, {divergences:.2g} %"
