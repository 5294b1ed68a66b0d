"""A layer whose noise is applied to the weight or to the activation, once for the whole data set or once per example.

With w = ξ∘z the pre-activation h w is, to rounding, what dropout code computes by scaling activations instead of weights:

    noise_on="weight"   h (ξ∘z)     every tying
    noise_on="input"    (h∘ξ) z     ξ per ("in",) or ("layer",)
    noise_on="output"   (h z)∘ξ     ξ per ("out",) or ("layer",)

So for a dense layer, whose h w is a product of matrices, and for a convolution, where ξ per ("in",) is one for all pixels of a channel.

One ξ for all rows (``noise_plate="global"``) is the Bayesian model. A fresh ξ for each row (``"example"``) is what dropout training draws;
it is another model, in which w is not random given z and the marginal likelihood is a product over rows.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from scalemix.lower import Parts, Site, hyper_sites, noise_site, record_site, split_weight, weight
from scalemix.plan import Parametrization, Plan, make_plan
from scalemix.priors import ScaleMixture

if TYPE_CHECKING:
    from scalemix.language import PPL

__all__ = ["convolution", "dense", "layer_noise", "split_per_example"]

AXES = ("in", "out")
IMAGE_AXES = ("height", "width", "in", "out")
APPLIED_TO = {"input": "in", "output": "out"}


def dense(
    ppl: PPL,
    name: str,
    h: Any,
    num_outputs: int,
    prior: ScaleMixture,
    *,
    parametrization: Parametrization = None,
    scale: Any = None,
    noise_on: str = "weight",
    noise_plate: str = "global",
) -> Any:
    """Pre-activations h w under a prior; the contract is at ``scalemix.language.PPL.dense``."""
    options = {"parametrization": parametrization, "scale": scale, "noise_on": noise_on, "noise_plate": noise_plate}
    return _layer(ppl, name, h, (h.shape[-1], num_outputs), prior, AXES, ppl.linear, **options)


def convolution(
    ppl: PPL,
    name: str,
    x: Any,
    num_outputs: int,
    prior: ScaleMixture,
    *,
    kernel: int | tuple[int, int],
    stride: int = 1,
    padding: int = 0,
    parametrization: Parametrization = None,
    scale: Any = None,
    noise_on: str = "weight",
    noise_plate: str = "global",
) -> Any:
    """x * w under a prior; the contract is at ``scalemix.language.PPL.convolution``."""
    height, width = (kernel, kernel) if isinstance(kernel, int) else kernel
    if x.ndim < 4 or any(size + 2 * padding < length for size, length in zip(x.shape[-3:-1], (height, width), strict=True)):
        raise ValueError(
            f"the convolution {name!r} has x of shape {tuple(x.shape)}, kernel={kernel} and padding={padding}: give images "
            "(n, height, width, channel), with the padding no smaller than the kernel"
        )

    def convolve(x: Any, w: Any) -> Any:
        return ppl.conv2d(x, w, stride=stride, padding=padding)

    options = {"parametrization": parametrization, "scale": scale, "noise_on": noise_on, "noise_plate": noise_plate}
    return _layer(ppl, name, x, (height, width, x.shape[-1], num_outputs), prior, IMAGE_AXES, convolve, **options)


def _layer(
    ppl: PPL,
    name: str,
    h: Any,
    shape: tuple[int, ...],
    prior: ScaleMixture,
    axes: tuple[str, ...],
    apply: Callable[[Any, Any], Any],
    *,
    parametrization: Parametrization,
    scale: Any,
    noise_on: str,
    noise_plate: str,
) -> Any:
    """``apply(h, w)``, linear in h and in w, for a weight of that ``shape``; a row of h has one axis less than w, and "in" last."""
    if noise_on not in ("weight", *APPLIED_TO):
        raise ValueError(f"noise_on={noise_on!r} of {name!r}: give 'weight', 'input' or 'output'")
    if noise_plate not in ("global", "example"):
        raise ValueError(f"noise_plate={noise_plate!r} of {name!r}: give 'global' or 'example'")
    form = {"axes": axes, "parametrization": parametrization, "scale": scale}
    if noise_on == "weight":
        if noise_plate == "example":
            raise ValueError(
                f"noise_plate='example' of {name!r} draws a noise per row, which no weight holds: give noise_on='input' or 'output'"
            )
        return apply(h, weight(ppl, name, shape, prior, **form))
    plan = make_plan(prior, shape, axes, parametrization)
    _check(name, prior, plan, noise_on)
    if noise_plate == "example":
        rows = h[(0,) * (h.ndim - len(axes))]  # without draws in front
        z, noises = split_per_example(ppl, name, rows, plan.shape, prior, **form)
        return _applied(apply, h, z, noises, noise_on)
    parts = split_weight(ppl, name, plan.shape, prior, **form)
    return _applied(apply, h, parts.base, [*parts.noises, *parts.rest], noise_on)


def layer_noise(name: str, parts: Parts, *, apart: bool) -> tuple[Any | None, Any]:
    """τ, the product of a weight's noises per ("layer",), and with ``apart`` the weight without it: w = τ v.

    Returns: τ (``None`` where the prior has none), a scalar or (*, 1, 1) for draws in front, and v, or w where not ``apart``.

    Raises: ValueError if τ is integrated out, bounded by a slab or, where v is wanted, not expanded.
    """
    plan = parts.plan
    if plan.slab is not None:
        raise ValueError(
            f"the layer's noise of {name!r} is bounded by a slab, so that the weight is not a multiple of it: leave the slab out"
        )
    if plan.integrated is not None and plan.integrated.dims == ():
        raise ValueError(
            f"the layer's noise of {name!r} is integrated out and cannot multiply anything else: use parametrization='expanded'"
        )
    tau, rest = None, parts.rest[0] if parts.rest else None  # without a slab there is the scale alone
    for factor, xi in zip(plan.factors, parts.noises, strict=True):
        if factor.dims == ():
            if apart and factor.centering > 0.0:
                raise ValueError(f"the layer's noise of {name!r} is in the scale of the weight: use parametrization='expanded'")
            tau = xi if tau is None else tau * xi
        elif factor.centering < 1.0:
            rest = xi ** (1.0 - factor.centering) if rest is None else rest * xi ** (1.0 - factor.centering)
    if tau is None or not apart:
        return _without_rows(tau), parts.weight
    return _without_rows(tau), parts.base if rest is None else rest * parts.base


def _without_rows(tau: Any) -> Any:
    """Draws in front of a plate of rows give (*, 1, 1, 1), where the weight (*, 1, in, out) loses its first 1 in ``ppl.linear``."""
    return tau.squeeze(-3) if getattr(tau, "ndim", 0) > 3 and tau.shape[-3] == 1 else tau


def split_per_example(
    ppl: PPL,
    name: str,
    rows: Any,
    shape: tuple[int, ...],
    prior: ScaleMixture,
    *,
    axes: tuple[str, ...] = AXES,
    parametrization: Parametrization = None,
    scale: Any = None,
) -> tuple[Any, list[Any]]:
    """z, whose site is ``name``, and for each factor one ξ per row, (n, *view), drawn in a plate over the rows; scale is in z.

    Raises: ValueError if the prior is not in its expanded form or has a slab.
    """
    plan = make_plan(prior, shape, axes, parametrization)
    _check_form(name, plan, "a noise per example")
    if plan.slab is not None:
        raise ValueError(f"noise_plate='example' of {name!r}: the slab of {prior} bounds one weight, not one per row; leave the slab out")
    z = weight(ppl, name, plan.shape, ScaleMixture(base_scale=plan.base_scale), axes=axes, scale=scale)
    fixed = 1.0 if scale is None else float(scale) if isinstance(scale, int | float) else None
    record_site(name, Site(name, "weight", axes, prior, "expanded", scale=fixed))
    hypers = [hyper_sites(ppl, ppl.dist, name, factor, against_weight=False) for factor in plan.factors]  # one for all rows
    noises = []
    with ppl.data_plate(rows, name=f"{name}_data"):  # a name of its own: Pyro opens a plate of one name once
        for factor, hyper in zip(plan.factors, hypers, strict=True):
            site = f"{name}_{factor.label}"
            for plan_of in factor.hypers:
                record_site(f"{name}_{plan_of.label}", Site(name, "hyper", plan_of.dims, prior, "expanded", plan_of.noise))
            record_site(site, Site(name, "noise", ("case", *factor.dims), prior, "expanded", factor.noise))
            noises.append(noise_site(ppl, ppl.dist, name, factor, hyper))
    return z, noises


def _applied(apply: Callable[[Any, Any], Any], h: Any, z: Any, factors: list[Any], noise_on: str) -> Any:
    """(h∘ξ) z or (h z)∘ξ; each ξ broadcasts against the weight, so one of its last two axes has size 1 and is dropped."""
    if noise_on == "input":
        for xi in factors:
            h = h * _without(xi, -1)
        return apply(h, z)
    output = apply(h, z)
    for xi in factors:
        output = output * _without(xi, -2)
    return output


def _without(xi: Any, axis: int) -> Any:
    if getattr(xi, "ndim", 0) == 0:
        return xi
    return xi[..., 0] if axis == -1 else xi[..., 0, :]


def _check(name: str, prior: ScaleMixture, plan: Plan, noise_on: str) -> None:
    axis = APPLIED_TO[noise_on]
    for factor in plan.factors:
        if set(factor.dims) - {axis}:
            raise ValueError(
                f"noise_on={noise_on!r} of {name!r}: the noise {factor.label!r} of {prior} varies along {factor.dims}, and only one per "
                f"({axis!r},) or ('layer',) can leave the weight: tie it so, or use noise_on='weight'"
            )
    _check_form(name, plan, f"noise_on={noise_on!r}")


def _check_form(name: str, plan: Plan, what: str) -> None:
    if plan.form not in ("expanded", "single"):
        raise ValueError(
            f"{what} of {name!r} needs the noise and the base apart, and the form is {plan.form!r}: give parametrization='expanded'"
        )
