"""The bridge: a prior value becomes sample statements, in each parametrization, in either language.

    expanded (non-centered):   ξₖ ~ law,  z ~ N(0, σ₀²),           w = scale · Πξₖ · z      sites w_noise, w_base; w deterministic
    hierarchical (centered):   ξₖ ~ law,  w ~ N(0, (scale σ₀ Πξₖ)²)                         sites w_noise, w
    marginal:                  w ~ p(w)                                                     site  w

The law of w is the same in each. Everything that can be decided without data is in the plan (``plan.py``), made once.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from scalemix.noise import Noise
from scalemix.plan import FactorPlan, Parametrization, Plan, make_plan
from scalemix.priors import ScaleMixture, VariationalPrior
from scalemix.tying import default_axes
from scalemix.variational_scope import current_scope

if TYPE_CHECKING:
    from scalemix.language import PPL

__all__ = [
    "Parts",
    "Site",
    "check_guide",
    "check_values",
    "distribution",
    "hyper_sites",
    "noise_site",
    "record_site",
    "recorded_sites",
    "split_weight",
    "start_at",
    "weight",
]


@dataclass(frozen=True)
class Site:
    """What a site made by ``ppl.weight`` is: of which weight, in which role, along which named axes.

    ``role`` is "weight", "base", "noise", "hyper" or "slab"; ``form`` the parametrization in words; ``noise`` the law of a noise site;
    ``scale`` the further scale of a weight, ``None`` where it is no fixed number (σ of a σ-scaled prior); ``initial`` where guides begin,
    ``None`` for what they choose.
    """

    weight: str
    role: str
    axes: tuple[str, ...]
    prior: ScaleMixture | VariationalPrior
    form: str
    noise: Noise | None = None
    scale: float | None = 1.0
    initial: Any = field(default=None, compare=False, repr=False)


@dataclass(frozen=True)
class Parts:
    """A sampled weight and its noises ξₖ, those of ``plan.factors`` in their order, in a shape that broadcasts against the weight.

    With centerings cₖ weight = Π rest · Πξₖ^{1 − cₖ} · base; ``rest`` holds the scale per cell and the slab's factor, where there are any.
    """

    plan: Plan
    weight: Any
    base: Any
    noises: tuple[Any, ...]
    rest: tuple[Any, ...]


_SITES: ContextVar[dict[str, Site] | None] = ContextVar("scalemix_sites", default=None)


@contextmanager
def recorded_sites() -> Iterator[dict[str, Site]]:
    """Collect what the sites of the weights sampled inside are, for dims and for prediction."""
    sites: dict[str, Site] = {}
    token = _SITES.set(sites)
    try:
        yield sites
    finally:
        _SITES.reset(token)


def weight(
    ppl: PPL,
    name: str,
    shape: int | Sequence[int],
    prior: ScaleMixture,
    *,
    axes: Sequence[str] | None = None,
    parametrization: Parametrization = None,
    scale: Any = None,
    like: Any = None,
) -> Any:
    """Sample a weight; the contract is at ``scalemix.language.PPL.weight``."""
    if isinstance(prior, VariationalPrior) and current_scope() is not None:
        return _variational_weight(ppl, name, (shape,) if isinstance(shape, int) else tuple(shape), prior, axes=axes, scale=scale)
    return split_weight(ppl, name, shape, prior, axes=axes, parametrization=parametrization, scale=scale, like=like).weight


def split_weight(
    ppl: PPL,
    name: str,
    shape: int | Sequence[int],
    prior: ScaleMixture,
    *,
    axes: Sequence[str] | None = None,
    parametrization: Parametrization = None,
    scale: Any = None,
    like: Any = None,
) -> Parts:
    """Sample a weight as ``weight`` does, and give its parts too: for layers that apply the noise elsewhere than on the weight."""
    shape = (shape,) if isinstance(shape, int) else tuple(shape)
    plan = make_plan(prior, shape, None if axes is None else tuple(axes), parametrization)
    dist = ppl.dist if like is None else ppl.dist_like(like)
    _record(name, prior, plan, scale)
    cell_scale = None if scale is None else _per_cell(scale, len(shape))
    hyper = hyper_sites(ppl, dist, name, plan.integrated, against_weight=True) if plan.integrated is not None else {}
    inner: Any = plan.base_scale
    outer: Any = None
    product: Any = None
    rest = () if cell_scale is None else (cell_scale,)
    noises = tuple(noise_site(ppl, dist, name, factor) for factor in plan.factors)
    for factor, xi in zip(plan.factors, noises, strict=True):
        inner = _times(inner, _power(xi, factor.centering))
        outer = _times(outer, _power(xi, 1.0 - factor.centering))
        product = _times(product, xi) if plan.slab is not None else None
    if plan.slab is not None:
        cap = _per_cell(ppl.sample(f"{name}_slab", plan.slab.law(dist)), len(shape))
        bound = cap if product is None else cap / ppl.sqrt(cap**2 + product**2)
        inner = _times(inner, _power(bound, plan.slab_centering))
        outer = _times(outer, _power(bound, 1.0 - plan.slab_centering))
        rest = (*rest, bound)
    if plan.direct:
        w = ppl.sample(name, _base_law(ppl, dist, plan, _times(inner, cell_scale), like, hyper))
        return Parts(plan, w, w, noises, ())
    base = ppl.sample(f"{name}_base", _base_law(ppl, dist, plan, inner, like, hyper))
    return Parts(plan, ppl.deterministic(name, _times(outer, cell_scale) * base, event_dim=len(shape)), base, noises, rest)


def _variational_weight(
    ppl: PPL, name: str, shape: tuple[int, ...], prior: VariationalPrior, *, axes: Sequence[str] | None, scale: Any
) -> Any:
    """The site of a weight whose prior has a divergence and no draws; its law is the same in every form."""
    if scale is not None and not isinstance(scale, int | float):
        raise ValueError(f"{name!r} has the prior {prior}, whose scale is no site of the model: leave scale_by_sigma and scale= away")
    axes = default_axes(shape) if axes is None else tuple(axes)
    record_site(name, Site(name, "weight", axes, prior, "single", scale=1.0 if scale is None else float(scale)))
    scope = current_scope()
    read = prior.scaled(scale).with_method(scope.method if scope is not None else "exact")
    return ppl.sample(name, ppl.dist.VariationalLaw(read, shape).to_event(len(shape)))


def distribution(ppl: PPL, prior: ScaleMixture, shape: int | Sequence[int], *, axes: Sequence[str] | None = None) -> Any:
    """The marginal law of a weight; the contract is at ``scalemix.language.PPL.distribution``."""
    shape = (shape,) if isinstance(shape, int) else tuple(shape)
    plan = make_plan(prior, shape, None if axes is None else tuple(axes), "marginal")
    if plan.integrated is not None and plan.integrated.hypers:
        names = ", ".join(hyper.field for hyper in plan.integrated.hypers)
        raise ValueError(f"{prior} has a law for {names}, a site of its own that a distribution cannot hold: use ppl.weight, or a number")
    return _base_law(ppl, ppl.dist, plan, plan.base_scale)


def check_values(values: Mapping[str, Any], latents: Collection[str], sites: Collection[str]) -> None:
    """Raise unless ``values`` has every latent site and no site that the model lacks."""
    missing = sorted(set(latents) - set(values))
    unknown = sorted(set(values) - set(sites))
    if missing:
        raise ValueError(f"log_density needs a value for the latent site {missing[0]!r} (missing: {', '.join(missing)}): add it to values")
    if unknown:
        raise ValueError(f"the model has no site {unknown[0]!r}: values may name {', '.join(sorted(sites))}")


def _base_law(ppl: PPL, dist: Any, plan: Plan, scale: Any, like: Any = None, hyper: Mapping[str, Any] | None = None) -> Any:
    """Law of the base: normal with ``scale``, or with one noise integrated out; its event is the whole weight."""
    ndim, integrated = len(plan.shape), plan.integrated
    noise = integrated.noise if integrated is not None else None
    if not isinstance(scale, float):
        scale = ppl.broadcast_to(scale, (*scale.shape[: scale.ndim - ndim], *plan.shape))
    elif integrated is not None and (integrated.tied or integrated.hypers):
        scale = ppl.full(plan.shape, scale, like)
    if noise is not None and hyper:
        noise = noise.given(**hyper)
    law = dist.Normal(0.0, scale) if noise is None or integrated is None else noise.marginal(dist, scale, integrated.tied)
    if isinstance(scale, float):
        law = law.expand(plan.shape)
    return law.to_event(ndim - len(law.event_shape))


def hyper_sites(ppl: PPL, dist: Any, name: str, factor: FactorPlan, *, against_weight: bool) -> dict[str, Any]:
    """Sample the hyper-parameters of a factor that have laws, viewed so that they broadcast against ξ, or against the weight."""
    values = {}
    for plan in factor.hypers:
        view = plan.weight_view if against_weight else plan.noise_view
        values[plan.field] = _viewed(ppl, f"{name}_{plan.label}", plan.noise, plan.noise.law(dist), plan.shape, view)
    return values


def noise_site(ppl: PPL, dist: Any, name: str, factor: FactorPlan, hyper: Mapping[str, Any] | None = None) -> Any:
    """Sample ξ and view it so that it broadcasts against the weight, batch dimensions of enclosing plates first.

    ``hyper`` are its hyper-parameters that have laws, where they were sampled before (outside of the plate in which ξ stands).
    """
    noise = factor.noise
    if factor.hypers:
        noise = noise.given(**(hyper_sites(ppl, dist, name, factor, against_weight=False) if hyper is None else hyper))
    law = noise.folded_law(dist) if factor.centering > 0.0 else noise.law(dist)
    return _viewed(ppl, f"{name}_{factor.label}", noise, law, factor.shape, factor.view)


def _viewed(ppl: PPL, site: str, noise: Noise, law: Any, shape: tuple[int, ...], view: tuple[int, ...]) -> Any:
    """Sample ``shape`` values of ``law`` at a site, and view them as ``view``; batch dimensions of plates stand before both."""
    if shape:
        plates = law.batch_shape[: -len(shape)]  # those of hyper-parameters that the law holds
        law = law.expand((*plates, *shape)).to_event(len(shape))
    value = noise.from_site(ppl, ppl.sample(site, law))
    if view == shape or value.ndim == 0:
        return value  # broadcasts as it is; in Pyro every operation counts
    return value.reshape((*value.shape[: value.ndim - len(shape)], *view))


def _per_cell(scale: Any, ndim: int) -> Any:
    """One scale per plate cell, viewed so that it broadcasts against weights of ``ndim`` dimensions."""
    if not hasattr(scale, "reshape"):
        return float(scale)
    return scale.reshape((*scale.shape, *(1,) * ndim)) if scale.ndim else scale


def _times(product: Any, term: Any) -> Any:
    if term is None:
        return product
    return term if product is None else product * term


def _power(xi: Any, exponent: float) -> Any:
    """ξ^exponent, ``None`` for 1."""
    if exponent == 0.0:
        return None
    return xi if exponent == 1.0 else xi**exponent


def _record(name: str, prior: ScaleMixture, plan: Plan, scale: Any) -> None:
    if _SITES.get() is None:
        return  # a sampler runs the model at every step, and wants no record
    fixed = 1.0 if scale is None else float(scale) if isinstance(scale, int | float) else None
    record_site(name, Site(name, "weight", plan.axes, prior, plan.form, scale=fixed))
    if not plan.direct:
        record_site(f"{name}_base", Site(name, "base", plan.axes, prior, plan.form))
    for factor in (*plan.factors, *([plan.integrated] if plan.integrated is not None else [])):
        for hyper in factor.hypers:
            record_site(f"{name}_{hyper.label}", Site(name, "hyper", hyper.dims, prior, plan.form, hyper.noise))
    for factor in plan.factors:
        record_site(f"{name}_{factor.label}", Site(name, "noise", factor.dims, prior, plan.form, factor.noise))
    if plan.slab is not None:
        record_site(f"{name}_slab", Site(name, "slab", (), prior, plan.form, plan.slab))


def record_site(name: str, site: Site) -> None:
    """Note what a site is, where somebody collects it."""
    sites = _SITES.get()
    if sites is not None:
        sites[name] = site


def start_at(weight: str, value: Any) -> None:
    """Note where guides begin with a ``weight`` that was just sampled, where somebody collects it."""
    sites = _SITES.get()
    if sites is not None:
        sites[weight] = replace(sites[weight], initial=value)


def check_guide(latents: Collection[str], guide_sites: Collection[str], auxiliary: Collection[str]) -> None:
    """Raise unless the guide has exactly the model's latent sites, beside those it marks auxiliary."""
    missing = sorted(set(latents) - set(guide_sites))
    extra = sorted(set(guide_sites) - set(latents) - set(auxiliary))
    if missing:
        raise ValueError(f"the guide has no site {missing[0]!r}, which would silently be drawn from its prior: add it to the guide")
    if extra:
        raise ValueError(
            f"the guide samples {extra[0]!r}, which the model does not have: mark it infer={{'is_auxiliary': True}} or rename it"
        )


def check_losses(losses: np.ndarray, first: int) -> None:
    """Raise FloatingPointError unless the losses of SVI's steps from step ``first`` on are finite."""
    if not np.isfinite(losses).all():
        step = first + int(np.argmin(np.isfinite(losses)))
        raise FloatingPointError(f"the ELBO is not finite at step {step}: lower Settings(learning_rate=) or standardize the data")
