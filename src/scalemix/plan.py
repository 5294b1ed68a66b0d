"""From a prior, a shape and a parametrization to a plan: which sites there are, of which shape, and what multiplies what.

A plan is plain Python and knows no language; ``lower.py`` carries it out. With centering cₖ ∈ [0, 1] of factor k,

    base ~ N(0, (σ₀ Πₖ ξₖ^{cₖ})²),   w = base · Πₖ ξₖ^{1 − cₖ},

so c = 0 for all is the expanded (non-centered) form, c = 1 the hierarchical (centered) one and w its own base. A slab enters as one more
factor, ρ = c/√(c² + s²), since s̃ = s ρ. In the marginal form one ξ is integrated out of the law of the base.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import lru_cache, partial, update_wrapper
from typing import Any, cast

from scalemix.noise import Constant, Noise
from scalemix.priors import ScaleMixture, VariationalPrior
from scalemix.tying import Factor, default_axes, noise_dims, noise_view

__all__ = ["FORMS", "FactorPlan", "Parametrization", "Plan", "forms", "make_plan", "reparam", "single_form"]

FORMS = ("expanded", "hierarchical", "marginal")
CENTERING = {"expanded": 0.0, "hierarchical": 1.0}
Parametrization = str | Mapping[str, str | float] | None

# The form of weights whose model leaves it open, where they have that form (``reparam``).
_WANTED: ContextVar[str | float | None] = ContextVar("scalemix_wanted_form", default=None)


@dataclass(frozen=True)
class HyperPlan:
    """A hyper-parameter that has a law: its field, its site, its shape there, and the shapes in which it broadcasts against ξ and w."""

    field: str
    label: str
    noise: Noise
    dims: tuple[str, ...]
    shape: tuple[int, ...]
    noise_view: tuple[int, ...]
    weight_view: tuple[int, ...]


@dataclass(frozen=True)
class FactorPlan:
    """One factor of a weight: its site, the shape of ξ there, the shape in which it broadcasts against w, and its form."""

    label: str
    noise: Noise
    dims: tuple[str, ...]
    shape: tuple[int, ...]
    view: tuple[int, ...]
    centering: float
    marginal: bool
    tied: tuple[int, ...]
    hypers: tuple[HyperPlan, ...]


@dataclass(frozen=True)
class Plan:
    """What ``lower.weight`` carries out. ``slab_centering`` is the centering of the slab's factor ρ."""

    shape: tuple[int, ...]
    axes: tuple[str, ...]
    base_scale: float
    factors: tuple[FactorPlan, ...]
    integrated: FactorPlan | None
    slab: Noise | None
    slab_centering: float

    @property
    def direct(self) -> bool:
        """The weight is itself a sample site (no ``_base`` beside it)."""
        return all(factor.centering == 1.0 for factor in self.factors) and (self.slab is None or self.slab_centering == 1.0)

    @property
    def form(self) -> str:
        """The parametrization in one word: "single" without noise, "mixed" where the factors differ."""
        centerings = {factor.centering for factor in self.factors} | ({self.slab_centering} if self.slab is not None else set())
        if self.integrated is not None:
            return "mixed" if centerings else "marginal"
        if not centerings:
            return "single"
        return "expanded" if centerings == {0.0} else "hierarchical" if centerings == {1.0} else "mixed"


def forms(prior: ScaleMixture, *, discrete: bool = True) -> tuple[str, ...]:
    """The parametrizations a prior has, by one name for all factors; with discrete=False those without a discrete site.

    A prior without noise is one site in every form, and has ("marginal",).
    """
    if single_form(prior):
        return ("marginal",)
    gates = any(factor.noise.discrete for factor in prior.factors)
    names = FORMS if discrete or not gates else ("marginal",)
    return tuple(form for form in names if _refusal(prior, form, tied=False) is None)


def reparam(model: Callable[..., Any], form: str | float) -> Callable[..., Any]:
    """The same model in other coordinates: each weight that leaves its parametrization open takes ``form`` where it has it.

    The law of every weight stays what it was; what changes is the geometry that a sampler or a guide sees.

    Args:
        model: ``model(ppl, *data)``, or a native model.
        form: "expanded", "hierarchical", "marginal", or a centering from 0 (expanded) to 1 (hierarchical) for all its noises.

    Raises: ValueError for another form.

    Example:
        >>> nuts.fit(ppl, sm.reparam(partial(mlp, prior=prior), "hierarchical"), x, y, seed=0)
    """
    if form not in FORMS if isinstance(form, str) else not 0.0 <= form <= 1.0:
        raise ValueError(f"reparam(model, {form!r}): give one of {', '.join(map(repr, FORMS))}, or a centering from 0 to 1")
    return update_wrapper(partial(_reparametrized, form if isinstance(form, str) else float(form), model), model)


def _reparametrized(form: str | float, model: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    with _wanting(form):
        return model(*args, **kwargs)


@contextmanager
def _wanting(form: str | float) -> Iterator[None]:
    token = _WANTED.set(form)
    try:
        yield
    finally:
        _WANTED.reset(token)


def _wanted(prior: ScaleMixture, shape: tuple[int, ...], axes: tuple[str, ...]) -> Parametrization:
    """What ``reparam`` asks of a weight that leaves its form open; ``None`` where it has no such form."""
    form = _WANTED.get()
    if form is None or (form if isinstance(form, str) else "hierarchical") not in forms(prior, discrete=False) or single_form(prior):
        return None
    if not isinstance(form, str):
        labels = [label for label, f in zip(prior.labels, prior.factors, strict=True) if not isinstance(f.noise, Constant)]
        return dict.fromkeys([*labels, "slab"] if prior.slab is not None else labels, form)
    if form == "marginal":
        dims = noise_dims(prior.random_factors[0], axes)
        shared = any(size > 1 for axis, size in zip(axes, shape, strict=True) if axis not in dims)
        if prior.random_factors[0].noise.marginal_refusal(shared) is not None:
            return None
    return form


def single_form(prior: ScaleMixture) -> bool:
    """A prior without noise is one site in every form, so its forms are one."""
    return not prior.random_factors and prior.slab is None


def make_plan(prior: ScaleMixture, shape: tuple[int, ...], axes: tuple[str, ...] | None, parametrization: Parametrization) -> Plan:
    """The plan for one weight; checks everything that can be wrong with prior, shape, axes and parametrization."""
    if isinstance(prior, VariationalPrior):
        raise ValueError(f"{prior} cannot be sampled: {prior.reason}; use {prior.remedy}")
    if not isinstance(prior, ScaleMixture):
        raise TypeError(f"a prior is a scalemix prior such as sm.Laplace() or sm.ScaleMixture(noise.Rayleigh()), not {prior!r}")
    if axes is None:
        axes = default_axes(shape)
    if any(size < 1 for size in shape):
        raise ValueError(f"a weight of shape {shape} has no entries: give sizes of at least 1 (do the data have a column?)")
    if len(axes) != len(shape) or len(set(axes)) < len(axes):
        raise ValueError(f"axes {axes} do not name the dimensions of a weight of shape {shape}: give one name for each, all different")
    if parametrization is None:
        parametrization = _wanted(prior, shape, axes)
    key = tuple(sorted(parametrization.items())) if isinstance(parametrization, Mapping) else parametrization
    return _make_plan(prior, shape, axes, key)


@lru_cache(maxsize=4096)
def _make_plan(prior: ScaleMixture, shape: tuple[int, ...], axes: tuple[str, ...], key: str | tuple | None) -> Plan:
    prior = prior.resolve(dict(zip(axes, shape, strict=True)))
    constants = math.prod(factor.noise.value for factor in prior.factors if isinstance(factor.noise, Constant))
    chosen = _choose(prior, key)
    plans = [
        _factor_plan(factor, label, chosen[label], axes, shape)
        for factor, label in zip(prior.factors, prior.labels, strict=True)
        if not isinstance(factor.noise, Constant)
    ]
    integrated = [plan for plan in plans if plan.marginal]
    slab_centering = chosen.get("slab", 0.0)
    _check_combination(prior, integrated)
    return Plan(
        shape,
        axes,
        prior.base_scale * constants,
        tuple(plan for plan in plans if not plan.marginal),
        integrated[0] if integrated else None,
        prior.slab,
        float(slab_centering),
    )


def _factor_plan(factor: Factor, label: str, form: str | float, axes: tuple[str, ...], shape: tuple[int, ...]) -> FactorPlan:
    dims = noise_dims(factor, axes)
    view = noise_view(dims, axes, shape)
    tied = tuple(i - len(axes) for i, axis in enumerate(axes) if axis not in dims)
    shared = any(shape[i] > 1 for i in tied)
    marginal = form == "marginal"
    refusal = factor.noise.marginal_refusal(shared) if marginal else None
    if refusal is not None:
        raise ValueError(f"parametrization='marginal' of the factor {label!r}: {refusal}; use 'expanded'")
    centering = 0.0 if marginal else float(form)
    if centering > 0.0 and factor.noise.atom > 0.0:
        raise ValueError(f"the factor {label!r}, {factor}, has an atom at 0 and so no hierarchical form: use 'expanded'")
    sizes = tuple(size for axis, size in zip(axes, shape, strict=True) if axis in dims)
    hypers = tuple(_hyper_plan(field, law, label, dims, sizes, axes, shape) for field, law in factor.noise.hyper_laws.items())
    return FactorPlan(label, factor.noise, dims, sizes, view, centering, marginal, tied, hypers)


def _hyper_plan(
    field: str, law: Factor, label: str, dims: tuple[str, ...], sizes: tuple[int, ...], axes: tuple[str, ...], shape: tuple[int, ...]
) -> HyperPlan:
    """A hyper-parameter varies along axes along which its noise does; a bare law has one value for each ξ."""
    own = noise_dims(law, dims)
    own_sizes = tuple(size for axis, size in zip(dims, sizes, strict=True) if axis in own)
    name = law.name or f"{label}_{field}"
    return HyperPlan(field, name, law.noise, own, own_sizes, noise_view(own, dims, sizes), noise_view(own, axes, shape))


def _choose(prior: ScaleMixture, key: str | tuple | None) -> dict[str, str | float]:
    """The form of each factor: 'marginal' or its centering."""
    labels = [label for label, f in zip(prior.labels, prior.factors, strict=True) if not isinstance(f.noise, Constant)]
    if prior.slab is not None:
        labels.append("slab")
    if key is None:
        noises = dict(zip(prior.labels, (factor.noise for factor in prior.factors), strict=True))
        gates = [label for label in labels if label != "slab" and noises[label].discrete]
        return {label: "marginal" if label in gates and noises[label].marginal_refusal(False) is None else 0.0 for label in labels}
    if isinstance(key, str):
        if key not in FORMS:
            raise ValueError(f"unknown parametrization {key!r}: give one of {', '.join(map(repr, FORMS))}, or a dict from factor to form")
        refusal = _refusal(prior, key, tied=False)
        if refusal is not None:
            raise ValueError(f"parametrization={key!r} does not exist for {prior}: {refusal}; it has {_listed(forms(prior))}")
        return dict.fromkeys(labels, "marginal" if key == "marginal" else CENTERING[key])
    chosen: dict[str, str | float] = dict.fromkeys(labels, 0.0)
    for label, form in cast("tuple[tuple[str, str | float], ...]", key):
        if label not in chosen:
            raise ValueError(f"parametrization names the factor {label!r}, and {prior} has {_listed(labels)}")
        if isinstance(form, str) and form in FORMS:
            chosen[label] = CENTERING.get(form, form)
        elif not isinstance(form, str) and 0.0 <= form <= 1.0:
            chosen[label] = float(form)
        else:
            raise ValueError(f"parametrization[{label!r}] is {form!r}: give one of {_listed(FORMS)} or a centering from 0 to 1")
    return chosen


def _refusal(prior: ScaleMixture, form: str, *, tied: bool) -> str | None:
    """Why all factors together do not have ``form`` (``None``: they have)."""
    if form == "hierarchical":
        atoms = [factor for factor in prior.factors if factor.noise.atom > 0.0]
        return f"{atoms[0]} has an atom at 0, where w has no density" if atoms else None
    if form == "marginal" and not single_form(prior):
        if len(prior.random_factors) > 1 or prior.slab is not None:
            return "several noises cannot be integrated out in closed form"
        return next(iter(prior.random_factors)).noise.marginal_refusal(tied)
    return None


def _check_combination(prior: ScaleMixture, integrated: list[FactorPlan]) -> None:
    if len(integrated) > 1:
        raise ValueError(f"parametrization integrates out {_listed([p.label for p in integrated])} of {prior}: only one factor can be")
    if integrated and prior.slab is not None:
        raise ValueError(f"{prior} has a slab, which depends on every noise: the factor {integrated[0].label!r} cannot be integrated out")


def _listed(names: tuple[str, ...] | list[str]) -> str:
    return ", ".join(map(repr, names)) if names else "none"
