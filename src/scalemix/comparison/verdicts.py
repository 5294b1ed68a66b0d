"""The table in words: of each prior, whether its reference holds; of each other fit, what it made of the same posterior."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from scalemix.comparison.contrasts import Contrast
from scalemix.comparison.fits import Fit
from scalemix.comparison.references import Reference

__all__ = ["verdicts_of"]

# Expected W1 of a fit of ESS a to a reference of ESS b is sqrt((1/a + 1/b)/(4/b)) floors: 1.7 for a = 400, b = 4000, and 0.7 for a = b.
WITHIN_NOISE = 2.5
# A guide is judged by its worst tenth of coefficients: a median over many columns of noise says nothing of the few that matter.
NARROW, WIDE, TAIL = 0.9, 1.1, 0.1
MISSES = 3.0  # binomial standard errors by which the coverage of the 90 % intervals must be off to be told: once in 370 rows by chance


def verdicts_of(
    prior: str, label: str, fits: Sequence[Fit], reference: Reference, contrasts: Mapping[str, Contrast], *, has_guide_only: bool
) -> list[str]:
    """Sentences on the fits of one prior, the reference first."""
    proper = fits[0].posterior.info.proper
    sentences = [_on_reference(prior, label, reference, has_guide_only=has_guide_only, proper=proper)]
    for fit in fits:
        if reference.fit is not None and fit.name == reference.fit.name:
            continue
        found = contrasts.get(fit.name)
        told = [*(_on_guide(fit, found) if fit.is_variational else _on_sampler(fit, found)), *_on_gates(found), *_on_coverage(fit)]
        sentences.append(f"{fit.name}: {'; '.join(told)}.")
    return sentences


def _on_reference(prior: str, label: str, reference: Reference, *, has_guide_only: bool, proper: bool) -> str:
    named = label if label == prior else f"{label}, w = {prior}"
    if reference.fit is None and not proper:
        return f"{named}: distances are blank, as there is no posterior."
    if reference.fit is None:
        remedy = "fit it by NUTS" if has_guide_only else "fit it by NUTS with parametrization='expanded'"
        return f"{named}: distances are blank, as {reference.reason}; {remedy}."
    if not reference.valid:
        return f"{named}: distances are blank, as {reference.fit.name} is {reference.reason}."
    return f"{named}: {reference.fit.name} is a {reference.reason}."


def _on_sampler(fit: Fit, found: Contrast | None) -> list[str]:
    if fit.diagnostics is None or not fit.diagnostics.is_reference:
        told = "no statistics of the sampler" if fit.diagnostics is None else "; ".join(fit.diagnostics.reasons)
        remedy = f". Remedy: {fit.diagnostics.remedy}" if fit.diagnostics is not None else ""
        return [f"not converged: {told}{remedy}"]
    if found is None:
        return ["passes every check of the sampler"]
    if found.times_floor > WITHIN_NOISE:
        return [f"differs from the reference: {_distance(found)}"]
    joint = _on_joint(found)
    return [f"agrees with the reference{f', {found.noun} one by one' * bool(joint)}: {_distance(found)}", *joint]


def _on_guide(fit: Fit, found: Contrast | None) -> list[str]:
    if fit.trend is None:
        parts = ["convergence unknown, as no losses were kept"]
    else:
        parts = ["converged" if fit.trend.converged else f"not converged: {fit.trend.reason}"]
    if found is not None:
        parts.append(_spread(found))
        noise = ", on average within Monte Carlo noise" if found.times_floor <= WITHIN_NOISE else ""
        parts += [f"{_distance(found)}{noise}", *(_on_joint(found) if noise else [])]
    if not fit.has_density:
        return [*parts, _why_no_density(fit)]
    if fit.khat <= fit.khat_limit:
        parts.append(f"k-hat {fit.khat:.2f} allows its draws to be reweighted to the posterior")
        beyond = {site: khat for site, khat in fit.khat_blocks.items() if not khat <= fit.khat_limit}
        parts += [f"but not for the mean of {site}, whose k-hat is {khat:.2f}" for site, khat in beyond.items()]
    else:
        parts.append(f"k-hat {fit.khat:.2f} is above {fit.khat_limit:.2f}, so its elpd_loo is blank")
        if fit.held_out.khat <= fit.khat_limit:
            parts.append(f"k-hat {fit.held_out.khat:.2f} allows its held-out predictive densities to be reweighted all the same")
    if fit.loo.pareto_k > fit.khat_limit:
        parts.append(f"pareto k {fit.loo.pareto_k:.2f} is above {fit.khat_limit:.2f}, so its elpd_loo is not to be trusted")
    return parts


def _why_no_density(fit: Fit) -> str:
    reasons = [note for note in fit.posterior.info.notes if note.startswith("no posterior")]
    return f"{reasons[0] if reasons else 'its draws have no density'}, so k-hat, ELBO and elpd_loo are blank"


def _on_joint(found: Contrast) -> list[str]:
    """Of a fit whose marginals agree with the reference's: do the joint laws?"""
    if not found.mmd.times_floor > WITHIN_NOISE:
        return []
    return [f"but not jointly: MMD {found.mmd.value:.2g} is {found.mmd.times_floor:.1f} times its floor"]


def _on_gates(found: Contrast | None) -> list[str]:
    if found is None or found.inclusion is None or not found.inclusion.times_floor > WITHIN_NOISE:
        return []
    return [f"inclusion probabilities are off by up to {found.inclusion.value:.2f} (floor {found.inclusion.floor:.2g})"]


def _on_coverage(fit: Fit) -> list[str]:
    held, number = fit.held_out.coverage[0.9], fit.held_out.pit.size
    if not number or not abs(held - 0.9) > MISSES * math.sqrt(0.9 * 0.1 / number):
        return []
    return [f"its 90 % intervals hold {100 * held:.0f} % of {number} held-out outcomes"]


def _distance(found: Contrast) -> str:
    return f"distance {found.distance:.2g} is {found.times_floor:.1f} times the Monte Carlo floor"


def _spread(found: Contrast) -> str:
    ratio = found.sd_ratio[np.isfinite(found.sd_ratio)]
    if ratio.size == 0:
        return f"the sds of its {found.noun} cannot be compared"
    low, median, high = (float(each) for each in np.quantile(ratio, (TAIL, 0.5, 1 - TAIL)))
    judgments = {
        (True, True): f"too narrow for some {found.noun} and too wide for others",
        (True, False): "too narrow",
        (False, True): "too wide",
        (False, False): "about as wide as NUTS",
    }
    shift = float(np.max(np.abs(found.shift[np.isfinite(found.shift)]), initial=0.0))
    told = f"its {found.noun} have {ratio.min():.2f} to {ratio.max():.2f} times the sd of NUTS (median {median:.2f})"
    return f"{judgments[low < NARROW, high > WIDE]}: {told}, means off by at most {shift:.2f} sd"
