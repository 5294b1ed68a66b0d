"""Which fit the others of its prior are measured against."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from scalemix.comparison.fits import Fit

__all__ = ["Reference", "choose_references", "group_by_prior", "prior_labels", "prior_of"]

FORMS = ("marginal", "expanded", "single")  # in order of preference; "single": a prior without noise has one form only
SEPARATORS = "-/|,_"
LINKS = ("by", "with", "in")  # words before the method or the language: of no meaning at the end of a label


@dataclass(frozen=True)
class Reference:
    """The reference of one prior: ``fit`` is the candidate (``None`` if there is none), ``valid`` whether the rule holds for it."""

    fit: Fit | None
    valid: bool
    reason: str


def group_by_prior(fits: Sequence[Fit]) -> dict[str, list[Fit]]:
    """Fits by what they are fits of, in the order of first appearance: the text of the prior, and what has no posterior each by itself."""
    groups: dict[str, list[Fit]] = {}
    for fit in fits:
        groups.setdefault(prior_of(fit), []).append(fit)
    return groups


def prior_of(fit: Fit) -> str:
    """What the rows of a group have in common: the text of the prior, and for what has no posterior the method."""
    info = fit.posterior.info
    return info.prior if info.proper else f"{info.prior} by {info.method}"


def prior_labels(groups: Mapping[str, Sequence[Fit]]) -> dict[str, str]:
    """A short name for each prior: the words with which the names of all its fits begin (``laplace`` for ``laplace-expanded-nuts`` and
    ``laplace-expanded-svi``); the prior's own text where there are none, or where two priors would be called the same."""
    labels = {prior: _common_start(fits) or prior for prior, fits in groups.items()}
    taken = list(labels.values())
    return {prior: label if taken.count(label) == 1 else prior for prior, label in labels.items()}


def choose_references(groups: Mapping[str, Sequence[Fit]], wanted: str | Mapping[str, str] | None) -> dict[str, Reference]:
    """The reference of each prior.

    Args:
        wanted: ``None``: NUTS in the marginal form where there is such a fit, else in the expanded one (of several, a valid one with the
            largest least ESS). A fit's name: the reference of its own prior, the others as for ``None``. Or a dict from prior to name.

    Raises: ValueError for an unknown prior or name, a fit of another prior, or a variational fit.
    """
    by_name = {fit.name: (prior, fit) for prior, fits in groups.items() for fit in fits}
    labels = {label: prior for prior, label in prior_labels(groups).items()}
    chosen: dict[str, Fit] = {}
    pairs = [(None, wanted)] if isinstance(wanted, str) else list((wanted or {}).items())
    for key, name in pairs:
        if name not in by_name:
            raise ValueError(f"reference={name!r} is none of the fits: give one of {', '.join(by_name)}")
        prior, fit = by_name[name]
        if key is not None and key not in groups and key not in labels:
            raise ValueError(f"reference= names the prior {key!r}, which no fit has: give some of {', '.join(labels)}")
        if key is not None and labels.get(key, key) != prior:
            raise ValueError(f"reference= gives {name!r} to {key!r}, and that is a fit under {prior}: distances need the same prior")
        if fit.is_variational:
            raise ValueError(f"reference={name!r} is a variational fit: a reference is a fit by NUTS")
        chosen[prior] = fit
    return {prior: _judged(chosen.get(prior) or _candidate(fits)) for prior, fits in groups.items()}


def _candidate(fits: Sequence[Fit]) -> Fit | None:
    for form in FORMS:
        found = [fit for fit in fits if not fit.is_variational and fit.posterior.info.parametrization == form]
        if found:
            return max(found, key=_merit)
    return None


def _merit(fit: Fit) -> tuple[bool, float]:
    if fit.diagnostics is None:
        return False, 0.0
    ess = min(fit.diagnostics.min_ess_bulk, fit.diagnostics.min_ess_tail)
    return fit.diagnostics.is_reference, ess if ess == ess else 0.0


def _judged(fit: Fit | None) -> Reference:
    if fit is None or fit.diagnostics is None:
        return Reference(None, False, "none of its fits is by NUTS in the marginal or the expanded form")
    return Reference(fit, fit.diagnostics.is_reference, fit.diagnostics.sentence)


def _common_start(fits: Sequence[Fit]) -> str:
    """The leading words shared by all names, up to those that tell form, method or language."""
    shared = _before_told(fits[0])
    for fit in fits[1:]:
        same = [a == b for a, b in zip(shared, _before_told(fit), strict=False)]
        shared = shared[: same.index(False) if False in same else len(same)]
    while shared and shared[-1].lower() in LINKS:
        shared = shared[:-1]
    if not shared:
        return ""
    name, end = fits[0].name, 0
    for word in shared:
        end = name.index(word, end) + len(word)
    return name[:end].strip()


def _before_told(fit: Fit) -> list[str]:
    """The words of a name before its form, method and language, each of which is told once: ``horseshoe-horseshoe-numpyro`` is a fit of
    ``horseshoe`` by a recipe of the same name."""
    info, words = fit.posterior.info, _words(fit.name)
    method = _words(info.method.lower())
    told = [*method, info.parametrization.lower(), info.backend.lower(), *({"nuts", "svi", "mcmc", "vi"} - set(method))]
    stop = len(words)
    for index, word in reversed(list(enumerate(words))):
        if word.lower() in told:
            told.remove(word.lower())
            stop = index
    return words[:stop]


def _words(name: str) -> list[str]:
    for separator in SEPARATORS:
        name = name.replace(separator, " ")
    return name.split()
