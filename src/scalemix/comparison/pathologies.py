"""What is wrong with a sampler's run, in words: from numbers that broke a limit to the first cause that explains them, and its remedy.

The causes are tried in order, from those that make every other number meaningless to those that more draws would cure.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from scalemix.comparison.chains import convergence
from scalemix.comparison.psis import psis

if TYPE_CHECKING:
    from scalemix.posterior import Posterior

__all__ = ["Finding", "Symptoms", "finding"]

Array = np.ndarray
# A drift is one standard deviation from the first to the last third, the same way in every chain; modes are three apart.
DRIFT, APART = 1.0, 3.0
CORRELATED, UNEQUAL = 0.97, 1e3
HEAVY = 0.7  # Pareto k of a tail from which on a mean is not to be trusted (Vehtari et al., 2024, section 3.2.4)
SATURATED = 0.01
PERMUTED = 0.05  # excess of R-hat over 1 that is left when the entries are sorted, and at most a tenth of what it was
COLUMNS = 300  # at most so many scalars are looked at for correlations


@dataclass(frozen=True)
class Symptoms:
    """What a finding goes by.

    Attributes:
        causes: kinds of limits that were broken: "finite", "chains", "mixing", "few", "unknown energy", "divergences".
        site, label: of the worst scalar; ``label`` with its index. Empty if no scalar is at fault.
        values: (chain, draw, *event) draws of the site. ``index`` is the scalar's place in the flattened event.
        saturation: fraction of draws whose trajectory was cut at the largest tree depth; nan if unknown.
    """

    causes: frozenset[str]
    site: str
    label: str
    values: Array | None
    index: int
    saturation: float

    @property
    def scalar(self) -> Array:
        """Draws (chain, draw) of the worst scalar."""
        assert self.values is not None
        return self.values.reshape(*self.values.shape[:2], -1)[..., self.index].astype(float)


@dataclass(frozen=True)
class Finding:
    """A cause as a clause, ``""`` where the numbers say all there is to say, and what to do about it."""

    clause: str
    remedy: str


def finding(posterior: Posterior, symptoms: Symptoms) -> Finding:
    """The first cause that fits the symptoms."""
    for cause in CAUSES:
        found = cause(posterior, symptoms)
        if found is not None:
            return found
    return Finding("", "run more draws (num_draws=)" if symptoms.causes == {"few"} else "run a longer num_warmup and more num_draws")


def _not_finite(posterior: Posterior, symptoms: Symptoms) -> Finding | None:
    what = "the log density"
    broken = int(np.sum(~np.isfinite(posterior.log_joint)))
    if not broken and symptoms.values is not None:
        what, broken = symptoms.label, int(np.sum(~np.isfinite(symptoms.scalar)))
    if not broken:
        return None
    return Finding(
        f"{what} is not finite at {broken} of {posterior.log_joint.size} draws",
        "look for a logarithm, root or division that leaves its domain in the likelihood, or use dtype='float64'",
    )


def _stuck(posterior: Posterior, symptoms: Symptoms) -> Finding | None:
    if symptoms.values is None:
        return None
    still = np.flatnonzero(np.ptp(symptoms.scalar, axis=1) == 0)
    if not len(still):
        return None
    if len(still) == len(symptoms.scalar):
        return Finding(
            f"{symptoms.label} never moves",
            "make it a ppl.deterministic if it is meant to be fixed; otherwise the step size has collapsed: standardize the data",
        )
    return Finding(f"{_chains(still)} at {symptoms.label}", "start again from elsewhere (init='prior', or another seed)")


def _exchanged(posterior: Posterior, symptoms: Symptoms) -> Finding | None:
    """Two entries of a site that each chain, or each part of a chain, has in another order."""
    if symptoms.values is None or "mixing" not in symptoms.causes or symptoms.values.ndim < 3 or symptoms.values.shape[-1] < 2:
        return None
    flat = symptoms.values.shape[0], symptoms.values.shape[1], -1
    rhat, as_they_are = (
        float(np.max(convergence(values.reshape(flat)).rhat)) for values in (np.sort(symptoms.values, axis=-1), symptoms.values)
    )
    if not rhat - 1.0 <= min(PERMUTED, 0.1 * (as_they_are - 1.0)):
        return None
    return Finding(
        f"the entries of {symptoms.site} exchange places, and sorted they have R-hat {rhat:.3f}",
        "order them in the model, or say by sm.identified_by what is identified",
    )


def _funnel(posterior: Posterior, symptoms: Symptoms) -> Finding | None:
    if not symptoms.causes & {"mixing", "divergences"}:
        return None
    neck = _neck(posterior) if "divergences" in symptoms.causes else ""
    clause = f"the divergences lie where {neck} is small" if neck else ""
    if posterior.info.parametrization == "hierarchical":
        return Finding(clause, "the hierarchical form has a funnel where the noise is small, use parametrization='expanded'")
    if neck and "HalfCauchy" not in posterior.info.prior:
        return Finding(clause, "a funnel: write it non-centered (parametrization='expanded'), or raise target_accept_prob")
    return None


def _neck(posterior: Posterior) -> str:
    """The positive scalar that is smallest where trajectories diverge, if half a standard deviation of its logarithm below elsewhere."""
    diverging = np.asarray(posterior.sample_stats["diverging"], bool)
    found = ("", -0.5)
    for name, values, index in _scalars(posterior):
        if np.min(values) > 0.0 and np.ptp(values) > 0.0:
            logs = np.log(values)
            shift = (np.median(logs[diverging]) - np.median(logs[~diverging])) / logs.std()
            if shift < found[1]:
                found = (_place(name, index), shift)
    return found[0]


def _half_cauchy(posterior: Posterior, symptoms: Symptoms) -> Finding | None:
    if symptoms.causes & {"mixing", "divergences"} and "HalfCauchy" in posterior.info.prior and "slab=" not in posterior.info.prior:
        return Finding("", "bound the half-Cauchy's tail with a slab (Horseshoe(slab_scale=...)), or raise target_accept_prob")
    return None


def _drift(posterior: Posterior, symptoms: Symptoms) -> Finding | None:
    """Every chain moves the same way from its first third to its last."""
    if symptoms.values is None or not symptoms.causes & {"mixing", "few"}:
        return None
    third = symptoms.scalar.shape[1] // 3
    first, last = symptoms.scalar[:, :third], symptoms.scalar[:, -third:]
    change = (last.mean(axis=1) - first.mean(axis=1)) / max(last.std(axis=1).mean(), np.finfo(float).tiny)
    if np.abs(change).min() < DRIFT or len(set(np.sign(change))) > 1:
        return None
    way = "falls" if change[0] < 0 else "rises"
    return Finding(f"{symptoms.label} still {way} in every chain", "the warm-up ended before the chains arrived: raise num_warmup")


def _modes(posterior: Posterior, symptoms: Symptoms) -> Finding | None:
    if symptoms.values is None or "mixing" not in symptoms.causes:
        return None
    means = np.sort(symptoms.scalar.mean(axis=1))
    if len(means) < 2 or np.diff(means).max() < APART * symptoms.scalar.std(axis=1).max():
        return None
    return Finding(
        f"the chains sit in different modes of {symptoms.label}, their means from {means[0]:.3g} to {means[-1]:.3g}",
        "a sampler cannot weigh modes that it does not move between: exclude all but one by the prior, or compare them one by one",
    )


def _mass(posterior: Posterior, symptoms: Symptoms) -> Finding | None:
    """Scales or correlations, within the chains, to which the mass matrix has not adapted."""
    if not (symptoms.causes & {"mixing", "few"} or symptoms.saturation > SATURATED) or posterior.info.settings.get("dense_mass"):
        return None
    centered = ((name, values - values.mean(axis=1, keepdims=True), index) for name, values, index in _scalars(posterior))
    scalars = [(_place(name, index), values.ravel()) for name, values, index in centered if np.ptp(values) > 0.0][:COLUMNS]
    if len(scalars) < 2:
        return None
    names, columns = [name for name, _ in scalars], np.stack([values for _, values in scalars])
    sds = columns.std(axis=1)
    correlation = np.corrcoef(columns) - np.eye(len(names))
    i, j = np.unravel_index(np.argmax(np.abs(correlation)), correlation.shape)
    if abs(correlation[i, j]) >= CORRELATED:
        return Finding(
            f"{names[i]} and {names[j]} are correlated ({correlation[i, j]:.3f}), which a diagonal mass matrix cannot follow",
            "use dense_mass=True, or other coordinates",
        )
    if sds.max() > UNEQUAL * sds.min() and symptoms.saturation > SATURATED:
        small, large = names[int(np.argmin(sds))], names[int(np.argmax(sds))]
        return Finding(
            f"the standard deviations of {small} and {large} differ {sds.max() / sds.min():.0e}-fold, and the mass matrix has not adapted",
            "raise num_warmup, or standardize the data",
        )
    return None


def _saturated(posterior: Posterior, symptoms: Symptoms) -> Finding | None:
    if not symptoms.saturation > SATURATED:
        return None
    depth = posterior.info.settings["max_tree_depth"]
    return Finding(f"{100 * symptoms.saturation:.0f} % of the trajectories were cut short", f"they hit max_tree_depth={depth}: raise it")


def _heavy(posterior: Posterior, symptoms: Symptoms) -> Finding | None:
    if symptoms.values is None or not symptoms.causes & {"mixing", "few"}:
        return None
    size = np.abs(symptoms.scalar - np.median(symptoms.scalar)).ravel()
    khat = psis(np.log(np.maximum(size, np.finfo(float).tiny)))[1]
    if not khat > HEAVY:
        return None
    return Finding(
        f"the tails of {symptoms.label} are heavy (Pareto k {khat:.2f})",
        "a lighter prior (a slab, a half-normal), or report quantiles, as a mean of such draws does not settle",
    )


def _other(posterior: Posterior, symptoms: Symptoms) -> Finding | None:
    if "divergences" in symptoms.causes:
        return Finding("", "raise target_accept_prob (e.g. to 0.95 or 0.99)")
    if "chains" in symptoms.causes:
        return Finding("", "run num_chains=4")
    return Finding("", "keep the statistic 'energy' of the sampler") if symptoms.causes == {"unknown energy"} else None


CAUSES: tuple[Callable[[Posterior, Symptoms], Finding | None], ...] = (
    _not_finite,
    _stuck,
    _exchanged,
    _funnel,
    _half_cauchy,
    _drift,
    _mass,
    _saturated,
    _modes,
    _heavy,
    _other,
)


def _scalars(posterior: Posterior) -> Collection[tuple[str, Array, tuple[int, ...]]]:
    """Every scalar of the sampled sites: the site, draws (chain, draw) and the index."""
    return [
        (name, np.asarray(posterior.draws[name], float)[(slice(None), slice(None), *index)], index)
        for name in posterior.latents
        for index in np.ndindex(posterior.draws[name].shape[2:])
    ]


def _place(name: str, index: tuple[int, ...]) -> str:
    return f"{name}[{', '.join(map(str, index))}]" if index else name


def _chains(which: Array) -> str:
    """Chains are counted from 0, as in the draws."""
    numbers = ", ".join(map(str, which.tolist()))
    return f"chain {numbers} never moves" if len(which) == 1 else f"chains {numbers} never move"
