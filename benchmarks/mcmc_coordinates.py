"""The coordinate picker against always-expanded and always-hierarchical: effective draws per gradient.

Networks with one hidden layer of eight tanh units on 80 rows, and two models of eight means with one scale, of which each is a funnel in
one of the two forms. The figure of a run is the least bulk ESS over the identified quantities, over the leapfrog steps of its kept draws.
A round is two chains of each form, as long as the recipe's own pilots, by which the picker takes one. What it took is judged by as many
further chains of each form, those of all rounds together: the ESS of two such chains is itself known to a factor of two only. All chains
run in one program. Draws of a run that diverges often are not of the posterior, whatever their ESS: beyond the picker's own limit a form
counts as the worse one.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from mcmc_tables import Section, said_so, spread, table

import scalemix as sm
import scalemix.numpyro as ppl
from scalemix import noise
from scalemix.inference import coordinates, nuts
from scalemix.models import mlp
from scalemix.numpyro.compiling import prefer_fast_compilation
from scalemix.posterior import Posterior

prefer_fast_compilation()

OF_THE_BETTER, OF_THE_WORSE = 0.8, 5.0
FORMS = ("expanded", "hierarchical")
ALL: tuple[str | float, ...] = ("expanded", coordinates.HALF_CENTERED, "hierarchical")
RECIPE = coordinates.Settings()
PILOTS = RECIPE.num_pilot_chains
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


def measure(quick: bool) -> Section:
    rounds, warmup, draws = (2, 30, 30) if quick else (5, RECIPE.num_pilot_warmup, RECIPE.num_pilot_draws)
    settings = nuts.Settings(
        num_warmup=warmup,
        num_draws=draws,
        num_chains=2 * rounds * PILOTS,
        max_tree_depth=7,
        chain_method="sequential",
        progress=False,
    )
    rows, holds = [], True
    for name, problem in problems().items():
        runs = {form: nuts.fit(ppl, sm.reparam(problem.model, form), *problem.data, seed=0, settings=settings) for form in ALL}
        said_so(name)
        taken = [picked(runs, slice(index * PILOTS, (index + 1) * PILOTS)) for index in range(rounds)]
        judges = slice(rounds * PILOTS, None)
        earnest = {pilot.form: pilot for pilot in coordinates.judged({form: some_chains(run, judges) for form, run in runs.items()})}
        better, worse = ratios(taken, earnest)
        kept = np.median(better) >= OF_THE_BETTER and (not problem.funnel or np.median(worse) >= OF_THE_WORSE)
        holds &= bool(kept)
        forms = ", ".join(f"{form} ({taken.count(form)})" for form in dict.fromkeys(taken))
        rows.append([name, *(cell(earnest[form]) for form in ALL), forms, spread(better), spread(worse), "yes" if kept else "NO"])
    head = ["model", "expanded", "halfway (0.5)", "hierarchical", "taken (rounds)", "of the better", "times the worse", "holds"]
    said = (
        f"ESS of the slowest identified quantity per 1000 gradients, and divergences, of {rounds * PILOTS} chains; {rounds} rounds of "
        f"{PILOTS} pilot chains, all of {warmup} + {draws} iterations. Targets: {OF_THE_BETTER} of the better, on funnels "
        f"{OF_THE_WORSE:g} times the worse.\n\n"
    )
    return Section(said + table(head, rows), holds)


def picked(runs: dict[str | float, Posterior], chains: slice) -> str | float:
    return coordinates.judged({form: some_chains(run, chains) for form, run in runs.items()})[0].form


def ratios(taken: list[str | float], runs: dict[str | float, coordinates.Pilot]) -> tuple[list[float], list[float]]:
    """What was taken in each round, over the better and over the worse of always-expanded and always-hierarchical.

    The worse form's own ESS counts, even if it diverges.
    """
    limit = coordinates.divergence_limit(list(runs.values()))
    count = {form: run.ess_per_gradient if run.divergence_fraction <= limit else 1e-12 for form, run in runs.items()}
    best, worst = sorted(FORMS, key=lambda form: count[form], reverse=True)
    return [count[form] / count[best] for form in taken], [count[form] / runs[worst].ess_per_gradient for form in taken]


def some_chains(run: Posterior, chains: slice) -> Posterior:
    parts = {part: {name: value[chains] for name, value in getattr(run, part).items()} for part in ("draws", "sample_stats", "identified")}
    return dataclasses.replace(run, log_joint=run.log_joint[chains], log_likelihood={}, **parts)


def cell(run: coordinates.Pilot) -> str:
    return f"{1e3 * run.ess_per_gradient:.3g}, {100 * run.divergence_fraction:.2g} %"
