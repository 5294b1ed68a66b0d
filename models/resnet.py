"""A residual network whose blocks a noise can switch off: automatic depth determination, and stochastic depth as its Bernoulli case."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from scalemix.checks import check_positive_int
from scalemix.compress.layers import Affine, Channelwise, Elementwise, Layer, Residual, read_as
from scalemix.dense import layer_noise
from scalemix.identified import HiddenUnits, identified_by
from scalemix.layers import activation_named, add_bias
from scalemix.likelihoods import Likelihood, sample_outcome
from scalemix.likelihoods import likelihood as likelihood_named
from scalemix.lower import Parts, split_weight
from scalemix.plan import Parametrization
from scalemix.priors import Normal, ScaleMixture, prior_for

if TYPE_CHECKING:
    from scalemix.language import PPL

__all__ = ["resnet"]


def _layers(weights: Mapping[str, Any], options: Mapping[str, Any]) -> list[Layer]:
    found: list[Layer] = [Affine("w_in", weights["w_in"], weights["b_in"])]
    sites = [f"w{block}" for block in range(1, options["num_blocks"] + 1)]
    for site in sites:
        prior = prior_for(options["prior"], site, sites)
        factors = zip(getattr(prior, "labels", ()), getattr(prior, "factors", ()), strict=True)
        noises = [f"{site}_{label}" for label, factor in factors if factor.axes == ("layer",)]
        tau = float(np.prod([weights[noise].item() for noise in noises if noise in weights]))
        w, b, f = weights[site], weights[site.replace("w", "b")], Elementwise(options["activation"])
        if options["position"] == "post":
            branch: list[Layer] = [Affine(site, w / tau if tau else 0.0 * w, b), f, Channelwise(np.full(b.shape, tau), np.zeros(b.shape))]
        else:
            branch = [Affine(site, w, tau * b if options["scale_bias"] else b), f]
        found.append(Residual(tuple(branch)))
    return [*found, Affine("w_out", weights["w_out"], weights["b_out"])]


@read_as(_layers)
@identified_by(HiddenUnits(first="w_in"))
def resnet(
    ppl: PPL,
    x: Any,
    y: Any | None = None,
    *,
    prior: ScaleMixture | Mapping[str, ScaleMixture],
    width: int = 50,
    num_blocks: int = 2,
    num_outputs: int = 1,
    end_prior: ScaleMixture = Normal(1.0),  # noqa: B008  (priors are frozen values)
    bias_prior: ScaleMixture = Normal(1.0),  # noqa: B008
    likelihood: str | Likelihood = "gaussian",
    activation: str = "relu",
    parametrization: Parametrization = None,
    scale_by_fan_in: bool = True,
    position: str = "pre",
    scale_bias: bool = True,
    noise_on: str = "weight",
    noise_plate: str = "global",
) -> Any:
    """h₀ = x w_in + b_in, hₗ = hₗ₋₁ + blockₗ(hₗ₋₁), y ~ likelihood(h_L w_out + b_out); wₗ = τₗ vₗ ~ prior / √width.

    τₗ is the product of the prior's factors per ("layer",), vₗ the weight without them. With f the activation a block is

        position="pre"                      f(h wₗ + τₗ bₗ) = f(τₗ (h vₗ + bₗ))    automatic depth determination (ADD)
        position="pre", scale_bias=False    f(h wₗ + bₗ)
        position="post"                     τₗ f(h vₗ + bₗ)                        stochastic depth, where τₗ is Bernoulli

    The first and the last are the same function if f(c a) = c f(a) for c ≥ 0, as for "relu", and τₗ ≥ 0; for "tanh" they are not.
    ``noise.X().per("layer")`` is ADD; beside ``noise.Y().per("in")`` in one ``ScaleMixture`` it is ARD × ADD.

    Args:
        ppl: ``scalemix.pyro`` or ``scalemix.numpyro``.
        x: (n, p), columns standardized.
        y: (n,), or ``None`` to predict.
        prior: of the weights of the blocks, or a dict from site or pattern ("w1", "w*") to prior.
        width: units of each block.
        num_blocks: L.
        num_outputs: size of the output; 1 for all likelihoods but "categorical".
        end_prior: of w_in and w_out, the maps into and out of the blocks.
        bias_prior: of the biases.
        likelihood: by name, or a value of ``scalemix.likelihoods``.
        activation: "relu", "tanh" or "sigmoid".
        parametrization: of the blocks' weights; position="post" needs one in which τₗ is a site and the weight is expanded.
        scale_by_fan_in: divide each weight's scale by √fan_in.
        position: of τₗ, "pre" or "post" the activation, as above.
        scale_bias: multiply the bias of a block by τₗ as its weights are, so that τₗ = 0 switches the block off.
        noise_on: of the blocks, "weight", "input" or "output": where the noise is applied (``ppl.dense``); on the last two per unit.
        noise_plate: "global", one noise for all rows, or "example", a fresh one per row (``ppl.dense``).

    Sites: w_in, b_in, w1, b1, …, w_out, b_out (and w1_noise, …), axes ("in", "out") and ("out",); sigma; y. Returns y.

    Raises: ValueError if x is not (n, p), y not (n,), an option is unknown, a pattern of ``prior`` matches no block, or τₗ is wanted apart
        from the weight and has been integrated out, is bounded by a slab or is on the activation.

    Source: Nalisnick and Smyth (2018), eq. 13–15; stochastic depth, Huang et al. (2016).
    """
    if x.ndim != 2:
        raise ValueError(f"x has shape {tuple(x.shape)}: give a matrix of shape (n, p), one row per case")
    if position not in ("pre", "post"):
        raise ValueError(f"position={position!r}: give 'pre' (the noise inside the activation) or 'post' (outside, on the branch)")
    if position == "post" and not scale_bias:
        raise ValueError("scale_bias=False needs position='pre': with position='post' the noise multiplies the branch, bias and all")
    check_positive_int("width", width)
    check_positive_int("num_blocks", num_blocks)
    nonlinearity = activation_named(ppl, activation)
    law = likelihood_named(likelihood)
    sites = [f"w{block}" for block in range(1, num_blocks + 1)]

    def dense(name: str, h: Any, fan_out: int) -> Any:
        scale = h.shape[-1] ** -0.5 if scale_by_fan_in else None
        product = ppl.dense(f"w_{name}", h, fan_out, end_prior, scale=scale)
        return add_bias(product, ppl.weight(f"b_{name}", (fan_out,), bias_prior, axes=("out",)))

    hidden = dense("in", x, width)
    for site in sites:
        block_prior = prior_for(prior, site, sites)
        options = {"parametrization": parametrization, "scale": width**-0.5 if scale_by_fan_in else None}
        if (noise_on, noise_plate) != ("weight", "global"):
            _check_units(site, block_prior, noise_on)
            product = ppl.dense(site, hidden, width, block_prior, noise_on=noise_on, noise_plate=noise_plate, **options)
            bias = ppl.weight(site.replace("w", "b"), (width,), bias_prior, axes=("out",))
            hidden = hidden + nonlinearity(add_bias(product, bias))
            continue
        parts = split_weight(ppl, site, (width, width), block_prior, **options)
        bias = ppl.weight(site.replace("w", "b"), (width,), bias_prior, axes=("out",))
        hidden = hidden + _branch(ppl, site, hidden, parts, bias, nonlinearity, position, scale_bias)
    hidden = dense("out", hidden, num_outputs)
    output = hidden[..., 0] if num_outputs == 1 else hidden
    return sample_outcome(ppl, law, output, law.sigma(ppl), x, y)


def _check_units(site: str, prior: ScaleMixture, noise_on: str) -> None:
    if any(factor.axes == ("layer",) for factor in getattr(prior, "factors", ())):
        raise ValueError(
            f"noise_on={noise_on!r} of the block {site!r}: {prior} has a noise per ('layer',), which multiplies the bias too: give "
            "noise_on='weight' and noise_plate='global', or a noise per ('in',) or ('out',) alone"
        )


def _branch(
    ppl: PPL, site: str, h: Any, parts: Parts, bias: Any, nonlinearity: Callable[[Any], Any], position: str, scale_bias: bool
) -> Any:
    """What a block adds to its input h (n, width)."""
    if position == "post":
        tau, v = layer_noise(site, parts, apart=True)
        branch = nonlinearity(add_bias(ppl.linear(h, v), bias))
        return branch if tau is None else tau * branch
    tau = layer_noise(site, parts, apart=False)[0] if scale_bias else None
    return nonlinearity(add_bias(ppl.linear(h, parts.weight), bias, tau))
