"""Did the sampler sample? The numbers of one MCMC fit, and the rule by which it may stand as a reference for others.

A fit is a reference if R-hat <= 1.01, bulk and tail ESS >= 400 (both over every scalar entry of every site), E-BFMI > 0.3 in every chain,
and at most 0.1 % of the draws diverged. Sources: Vehtari et al. (2021) for R-hat and ESS; M. Betancourt, arXiv:1604.00695, for E-BFMI.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from scalemix.comparison.chains import MIN_DRAWS, Convergence, convergence

if TYPE_CHECKING:
    from collections.abc import Iterable

    from scalemix.posterior import Posterior

__all__ = ["Diagnostics", "ReferenceRule", "diagnose", "energy_bfmi"]

COLUMNS_AT_ONCE = 256
# More draws alone are a remedy up to this R-hat and from this ESS per draw on; beyond, the geometry is at fault.
NEARLY_MIXED, SLOW_MIXING = 1.05, 0.05


@dataclass(frozen=True, kw_only=True)
class ReferenceRule:
    """The limits of a reference: R-hat ≤ max_rhat, ESS ≥ min_ess, E-BFMI > min_bfmi, divergences ≤ max_divergence_fraction of the draws.

    R-hat and ESS: Vehtari, Gelman, Simpson, Carpenter and Bürkner (2021); E-BFMI: Betancourt (2016).
    """

    max_rhat: float = 1.01
    min_ess: float = 400.0
    min_bfmi: float = 0.3
    max_divergence_fraction: float = 1e-3


@dataclass(frozen=True, kw_only=True)
class Diagnostics:
    """The numbers of one MCMC fit.

    Attributes:
        worst_rhat: largest rank-normalized split R-hat; inf if something never moves, nan if there is but one chain.
        min_ess_bulk, min_ess_tail: least effective numbers of draws.
        worst_rhat_at, min_ess_bulk_at, min_ess_tail_at: the scalar that number belongs to, e.g. ``w1_noise[3]``.
        e_bfmi: least over chains; nan if the sampler reports no energy.
        divergences, divergence_fraction: their number, all chains, and of all draws.
        saturation: fraction of draws whose trajectory was cut at the largest tree depth; nan if unknown.
        num_chains, num_draws: chains, and draws of each.
        is_reference: whether the rule holds.
        reasons: what breaks the rule, one clause each; empty if nothing does.
        remedy: what to do about it; empty if nothing is wrong.
    """

    worst_rhat: float
    worst_rhat_at: str
    min_ess_bulk: float
    min_ess_bulk_at: str
    min_ess_tail: float
    min_ess_tail_at: str
    e_bfmi: float
    divergences: int
    divergence_fraction: float
    saturation: float
    num_chains: int
    num_draws: int
    is_reference: bool
    reasons: tuple[str, ...]
    remedy: str

    @property
    def sentence(self) -> str:
        """The judgment in one sentence."""
        if self.is_reference:
            return (
                f"valid reference (R-hat {self.worst_rhat:.3f}, least ESS {min(self.min_ess_bulk, self.min_ess_tail):.0f}, "
                f"E-BFMI {self.e_bfmi:.2f}, {_count(self.divergences, 'divergence')} in {self.num_chains} × {self.num_draws} draws)"
            )
        return f"not a reference: {'; '.join(self.reasons)}. Remedy: {self.remedy}"


def diagnose(posterior: Posterior, *, rule: ReferenceRule | None = None, sites: Iterable[str] | None = None) -> Diagnostics:
    """Judge the draws of a sampler.

    Args:
        posterior: a fit by MCMC.
        rule: the limits; ``None`` for the defaults.
        sites: which sites to look at; ``None`` for all. A network's hidden units permute, so name identified sites there.

    A scalar that never moves is left out if its site is deterministic, and counts as a stuck sampler if it is sampled.

    Raises: ValueError for a variational fit (its draws are independent: there is nothing to diagnose), or an unknown site.
    """
    if posterior.log_guide is not None:
        raise ValueError("R-hat and ESS say nothing of a variational fit, whose draws are independent: use guide_khat and elbo_trend")
    rule = ReferenceRule() if rule is None else rule
    names = list(posterior.draws) if sites is None else list(sites)
    for name in names:
        if name not in posterior.draws:
            raise ValueError(f"unknown site {name!r}: give some of {', '.join(posterior.draws)}")
    num_chains, num_draws = posterior.log_joint.shape
    worst = _worst(posterior, names) if num_draws >= MIN_DRAWS else dict.fromkeys(("rhat", "bulk", "tail"), (math.nan, ""))
    stats = posterior.sample_stats
    divergences = int(np.sum(stats["diverging"])) if "diverging" in stats else 0
    bfmi = float(np.min(energy_bfmi(stats["energy"]))) if "energy" in stats and num_draws >= MIN_DRAWS else math.nan
    found = Diagnostics(
        worst_rhat=worst["rhat"][0] if num_chains > 1 else math.nan,
        worst_rhat_at=worst["rhat"][1],
        min_ess_bulk=worst["bulk"][0],
        min_ess_bulk_at=worst["bulk"][1],
        min_ess_tail=worst["tail"][0],
        min_ess_tail_at=worst["tail"][1],
        e_bfmi=bfmi,
        divergences=divergences,
        divergence_fraction=divergences / (num_chains * num_draws),
        saturation=_saturation(posterior),
        num_chains=num_chains,
        num_draws=num_draws,
        is_reference=False,
        reasons=(),
        remedy="",
    )
    reasons, causes = _violations(found, rule)
    remedy = _remedy(posterior, causes, found.saturation) if reasons else ""
    return replace(found, is_reference=not reasons, reasons=tuple(reasons), remedy=remedy)


def energy_bfmi(energy: np.ndarray) -> np.ndarray:
    """Bayesian fraction of missing information E-BFMI = E[(Eₜ − Eₜ₋₁)²]/Var(E) of each chain, (chain,): Betancourt (2016).

    Args:
        energy: of each draw, (chain, draw).
    """
    energy = np.asarray(energy, dtype=float)
    variance = energy.var(axis=1, ddof=1)
    steps = np.mean(np.diff(energy, axis=1) ** 2, axis=1)
    return np.divide(steps, variance, out=np.zeros_like(variance), where=variance > 0)


def _worst(posterior: Posterior, names: Iterable[str]) -> dict[str, tuple[float, str]]:
    """The largest R-hat, the least bulk and the least tail ESS over all entries of the sites, each with its place; nan if nothing moves."""
    found: dict[str, list[tuple[float, str, int]]] = {"rhat": [], "bulk": [], "tail": []}
    for site in names:
        values = np.asarray(posterior.draws[site], dtype=float)
        values = values.reshape(*values.shape[:2], -1)
        for start in range(0, values.shape[-1], COLUMNS_AT_ONCE):
            numbers = _of_block(values[..., start : start + COLUMNS_AT_ONCE], sampled=site in posterior.latents)
            for key, column, sign in zip(found, numbers, (1, -1, -1), strict=True):
                if not np.isnan(column).all():
                    index = int(np.nanargmax(sign * column))
                    found[key].append((float(column[index]), site, start + index))
    result = {}
    for key, entries in found.items():
        number, site, index = (max if key == "rhat" else min)(entries, default=(math.nan, "", 0))
        result[key] = number, _label(posterior, site, index) if site else ""
    return result


def _of_block(draws: np.ndarray, *, sampled: bool) -> Convergence:
    """Numbers of draws (chain, draw, k). A scalar that never moves is the worst there is in a sampled site, and no statement (nan) in a
    deterministic one; one that is not finite is the worst in either."""
    numbers = convergence(draws)
    broken = ~np.isfinite(draws).all(axis=(0, 1))
    with np.errstate(invalid="ignore"):
        still = np.ptp(draws, axis=(0, 1)) == 0
    worst = broken | (still & sampled)
    skipped = still & ~worst
    rhat = np.where(worst, math.inf, np.where(skipped, math.nan, numbers.rhat))
    return Convergence(rhat, *(np.where(worst, 0.0, np.where(skipped, math.nan, each)) for each in numbers[1:]))


def _label(posterior: Posterior, site: str, flat: int) -> str:
    """``w1[3]``, followed by the entry's labels where the axes have some: ``w1[3] (bmi)``."""
    shape = posterior.draws[site].shape[2:]
    if not shape:
        return site
    index = [int(i) for i in np.unravel_index(flat, shape)]
    dims = posterior.dims.get(site, ())
    labels = [str(posterior.coords[dim][i]) for dim, i in zip(dims, index, strict=False) if dim in posterior.coords]
    told = f" ({', '.join(labels)})" if labels and labels != [str(i) for i in index] else ""
    return f"{site}[{', '.join(map(str, index))}]{told}"


def _saturation(posterior: Posterior) -> float:
    """A full tree has 2^depth - 1 steps; trees that end earlier at the last doubling stopped by themselves."""
    depth = posterior.info.settings.get("max_tree_depth")
    if not isinstance(depth, int):
        return math.nan
    if "n_steps" in posterior.sample_stats:
        return float(np.mean(posterior.sample_stats["n_steps"] >= 2**depth - 1))
    return float(np.mean(posterior.sample_stats["tree_depth"] >= depth)) if "tree_depth" in posterior.sample_stats else math.nan


def _violations(found: Diagnostics, rule: ReferenceRule) -> tuple[list[str], set[str]]:
    """Clauses for people, and what kind of trouble they are."""
    reasons, causes = [], set()
    if found.num_chains < 2:
        reasons.append("one chain cannot show that chains agree")
        causes.add("chains")
    elif not found.worst_rhat <= rule.max_rhat:
        reasons.append(f"R-hat of {found.worst_rhat_at or 'the draws'} is {found.worst_rhat:.3f} (limit {rule.max_rhat:g})")
        causes.add("few" if found.worst_rhat <= NEARLY_MIXED else "mixing")
    numbers = ("bulk", found.min_ess_bulk, found.min_ess_bulk_at), ("tail", found.min_ess_tail, found.min_ess_tail_at)
    for kind, number, place in numbers:
        if not number >= rule.min_ess:
            reasons.append(f"{kind} ESS of {place or 'the draws'} is {number:.0f} (at least {rule.min_ess:.0f})")
            causes.add("few" if number >= SLOW_MIXING * found.num_chains * found.num_draws else "mixing")
    if math.isnan(found.e_bfmi):
        reasons.append("E-BFMI is unknown, as the sampler reported no energy")
        causes.add("energy")
    elif not found.e_bfmi > rule.min_bfmi:
        reasons.append(f"E-BFMI is {found.e_bfmi:.2f} (above {rule.min_bfmi:g})")
        causes.add("mixing")
    if not found.divergence_fraction <= rule.max_divergence_fraction:
        share = f"{100 * found.divergence_fraction:.2g} % of the draws"
        reasons.append(f"{_count(found.divergences, 'divergence')}, {share} (at most {100 * rule.max_divergence_fraction:g} %)")
        causes.add("divergences")
    return reasons, causes


def _remedy(posterior: Posterior, causes: set[str], saturation: float) -> str:
    """The first thing to try; the geometry comes before the number of draws."""
    geometry = causes & {"mixing", "divergences"}
    if geometry and posterior.info.parametrization == "hierarchical":
        return "the hierarchical form has a funnel where the noise is small, use parametrization='expanded'"
    if geometry and "HalfCauchy" in posterior.info.prior and "slab=" not in posterior.info.prior:
        return "bound the half-Cauchy's tail with a slab (Horseshoe(slab_scale=...)), or raise target_accept_prob"
    if saturation > 0.01:
        return f"{100 * saturation:.0f} % of the draws hit max_tree_depth={posterior.info.settings['max_tree_depth']}: raise it"
    if "divergences" in causes:
        return "raise target_accept_prob (e.g. to 0.95 or 0.99)"
    if "chains" in causes:
        return "run num_chains=4"
    if "energy" in causes:
        return "keep the statistic 'energy' of the sampler"
    return "run more draws (num_draws=)" if causes == {"few"} else "run a longer num_warmup and more num_draws"


def _count(number: int, noun: str) -> str:
    return f"{number or 'no'} {noun}{'' if number == 1 else 's'}"
