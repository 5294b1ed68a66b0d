"""Did the sampler sample? The numbers of one MCMC fit, and the rule by which it may stand as a reference for others.

A fit is a reference if R-hat <= 1.01, bulk and tail ESS >= 400 (both over every scalar entry of every site), E-BFMI > 0.3 in every chain,
and at most 0.1 % of the draws diverged. A model that says what is identified (``scalemix.identified``: networks, whose hidden units
permute) is judged by that, and the R-hat of its other sites is shown and called not identified. Sources: Vehtari et al. (2021) for R-hat
and ESS; M. Betancourt, arXiv:1604.00695, for E-BFMI.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from scalemix.comparison.chains import MIN_DRAWS, Convergence, convergence
from scalemix.comparison.pathologies import Symptoms, finding

if TYPE_CHECKING:
    from collections.abc import Iterable

    from scalemix.posterior import Posterior

__all__ = ["Diagnostics", "ReferenceRule", "diagnose", "energy_bfmi"]

COLUMNS_AT_ONCE = 256
WITHOUT_ENERGY = ("enumeration", "collapsed_gibbs")  # exact, or without a Hamiltonian of its own
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
        unidentified_rhat, unidentified_rhat_at: largest R-hat of the sampled sites by which the model is not judged, nan if it is judged by
            all; and of which scalar.
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
    unidentified_rhat: float
    unidentified_rhat_at: str
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
            energy = "" if math.isnan(self.e_bfmi) else f"E-BFMI {self.e_bfmi:.2f}, "
            return (
                f"valid reference (R-hat {self.worst_rhat:.3f}, least ESS {min(self.min_ess_bulk, self.min_ess_tail):.0f}, "
                f"{energy}{_count(self.divergences, 'divergence')} in {self.num_chains} × {self.num_draws} draws"
                f"{self._unidentified})"
            )
        return f"not a reference: {'; '.join(self.reasons)}{self._unidentified}. Remedy: {self.remedy}"

    @property
    def _unidentified(self) -> str:
        if math.isnan(self.unidentified_rhat):
            return ""
        return f"; R-hat of {self.unidentified_rhat_at} is {self.unidentified_rhat:.2f}, which is not identified"


def diagnose(posterior: Posterior, *, rule: ReferenceRule | None = None, sites: Iterable[str] | None = None) -> Diagnostics:
    """Judge the draws of a sampler.

    Args:
        posterior: a fit by MCMC.
        rule: the limits; ``None`` for the defaults.
        sites: which sites to look at; ``None`` for the identified quantities of a model that says what they are, else for all.

    A scalar that never moves is left out if its site is deterministic or a gate, and counts as a stuck sampler if it is sampled otherwise.

    Raises: ValueError for a variational fit (its draws are independent: there is nothing to diagnose), or an unknown site.
    """
    if posterior.is_variational:
        raise ValueError("R-hat and ESS say nothing of a variational fit, whose draws are independent: use guide_khat and elbo_trend")
    rule = ReferenceRule() if rule is None else rule
    judged, others = _judged(posterior, sites)
    num_chains, num_draws = posterior.log_joint.shape
    rhat, bulk, tail = _worst(posterior, judged)
    unidentified = _worst(posterior, others)[0]
    stats = posterior.sample_stats
    divergences = int(np.sum(stats["diverging"])) if "diverging" in stats else 0
    bfmi = float(np.min(energy_bfmi(stats["energy"]))) if "energy" in stats and num_draws >= MIN_DRAWS else math.nan
    found = Diagnostics(
        worst_rhat=rhat.number,
        worst_rhat_at=rhat.label,
        min_ess_bulk=bulk.number,
        min_ess_bulk_at=bulk.label,
        min_ess_tail=tail.number,
        min_ess_tail_at=tail.label,
        unidentified_rhat=unidentified.number,
        unidentified_rhat_at=unidentified.label,
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
    reasons, causes = _violations(found, rule, needs_energy=posterior.info.method not in WITHOUT_ENERGY)
    if not np.isfinite(posterior.log_joint).all():
        causes.add("finite")
    if not causes:
        return replace(found, is_reference=True)
    kept = rhat.number <= rule.max_rhat, bulk.number >= rule.min_ess, tail.number >= rule.min_ess
    at = next((place for place, fine in zip((rhat, bulk, tail), kept, strict=True) if place.site and not fine), NOWHERE)
    cause = finding(posterior, Symptoms(frozenset(causes), at.site, at.label, judged.get(at.site), at.index, found.saturation))
    return replace(found, reasons=tuple(filter(None, (*reasons, cause.clause))), remedy=cause.remedy)


def energy_bfmi(energy: np.ndarray) -> np.ndarray:
    """Bayesian fraction of missing information E-BFMI = E[(Eₜ − Eₜ₋₁)²]/Var(E) of each chain, (chain,): Betancourt (2016).

    Args:
        energy: of each draw, (chain, draw).
    """
    energy = np.asarray(energy, dtype=float)
    variance = energy.var(axis=1, ddof=1)
    steps = np.mean(np.diff(energy, axis=1) ** 2, axis=1)
    return np.divide(steps, variance, out=np.zeros_like(variance), where=variance > 0)


def _judged(posterior: Posterior, sites: Iterable[str] | None) -> tuple[dict[str, Any], dict[str, Any]]:
    """The draws by which a fit is judged, and those of the sampled sites by which it is not."""
    if sites is None and posterior.identified:
        return posterior.identified, {name: posterior.draws[name] for name in posterior.latents if name not in posterior.identified}
    if sites is None:
        return posterior.draws, {}
    known, names = posterior.identified | posterior.draws, list(sites)
    for name in names:
        if name not in known:
            raise ValueError(f"unknown site {name!r}: give some of {', '.join(known)}")
    return {name: known[name] for name in names}, {}


class _Place(NamedTuple):
    """A number and the scalar it is of: a site, and an index into its flattened event."""

    number: float
    site: str = ""
    index: int = 0
    label: str = ""


NOWHERE = _Place(math.nan)


def _worst(posterior: Posterior, draws: dict[str, Any]) -> list[_Place]:
    """The largest R-hat, the least bulk and the least tail ESS over all entries of the sites; nan if nothing moves, and for too few draws
    or, of R-hat, too few chains."""
    num_chains, num_draws = posterior.log_joint.shape
    if num_draws < MIN_DRAWS:
        return [NOWHERE] * 3
    found: list[list[_Place]] = [[], [], []]
    for site, sampled in draws.items():
        values = np.asarray(sampled, dtype=float)
        is_gate = np.issubdtype(np.asarray(sampled).dtype, np.integer)  # one that is open at every draw has the probability 1 so far
        moves = not is_gate and site in (*posterior.latents, *posterior.identified)
        values = values.reshape(*values.shape[:2], -1)
        for start in range(0, values.shape[-1], COLUMNS_AT_ONCE):
            numbers = _of_block(values[..., start : start + COLUMNS_AT_ONCE], moves=moves)
            for places, column, sign in zip(found, numbers, (1, -1, -1), strict=True):
                if not np.isnan(column).all():
                    index = int(np.nanargmax(sign * column))
                    label = _label(posterior, site, draws[site].shape[2:], start + index)
                    places.append(_Place(float(column[index]), site, start + index, label))
    rhat, bulk, tail = (worst(places, default=NOWHERE) for worst, places in zip((max, min, min), found, strict=True))
    return [rhat if num_chains > 1 else NOWHERE, bulk, tail]


def _of_block(draws: np.ndarray, *, moves: bool) -> Convergence:
    """Numbers of draws (chain, draw, k). A scalar that never moves is the worst there is in a site that ``moves``, and no statement (nan)
    in another; one that is not finite is the worst in either."""
    numbers = convergence(draws)
    broken = ~np.isfinite(draws).all(axis=(0, 1))
    with np.errstate(invalid="ignore"):
        still = np.ptp(draws, axis=(0, 1)) == 0
    worst = broken | (still & moves)
    skipped = still & ~worst
    rhat = np.where(worst, math.inf, np.where(skipped, math.nan, numbers.rhat))
    return Convergence(rhat, *(np.where(worst, 0.0, np.where(skipped, math.nan, each)) for each in numbers[1:]))


def _label(posterior: Posterior, site: str, shape: tuple[int, ...], flat: int) -> str:
    """``w1[3]``, followed by the entry's labels where the axes have some: ``w1[3] (bmi)``."""
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


def _violations(found: Diagnostics, rule: ReferenceRule, *, needs_energy: bool) -> tuple[list[str], set[str]]:
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
    if math.isnan(found.e_bfmi) and needs_energy:
        reasons.append("E-BFMI is unknown, as the sampler reported no energy")
        causes.add("unknown energy")
    elif found.e_bfmi <= rule.min_bfmi:
        reasons.append(f"E-BFMI is {found.e_bfmi:.2f} (above {rule.min_bfmi:g})")
        causes.add("mixing")
    if not found.divergence_fraction <= rule.max_divergence_fraction:
        share = f"{100 * found.divergence_fraction:.2g} % of the draws"
        reasons.append(f"{_count(found.divergences, 'divergence')}, {share} (at most {100 * rule.max_divergence_fraction:g} %)")
        causes.add("divergences")
    return reasons, causes


def _count(number: int, noun: str) -> str:
    return f"{number or 'no'} {noun}{'' if number == 1 else 's'}"
