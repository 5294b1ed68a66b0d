"""A multilayer perceptron with scale-mixture priors on its weights: dropout networks as Bayesian models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from scalemix.compress.layers import Affine, Elementwise, Layer, read_as
from scalemix.identified import HiddenUnits, identified_by
from scalemix.layers import activation_named, add_bias
from scalemix.likelihoods import Likelihood, sample_outcome
from scalemix.likelihoods import likelihood as likelihood_named
from scalemix.plan import Parametrization
from scalemix.priors import Normal, ScaleMixture, prior_for

if TYPE_CHECKING:
    from scalemix.language import PPL

__all__ = ["mlp"]


def _layers(weights: Mapping[str, Any], options: Mapping[str, Any]) -> list[Layer]:
    found: list[Layer] = []
    count = len(options["widths"]) + 1
    for layer in range(1, count + 1):
        found.append(Affine(f"w{layer}", weights[f"w{layer}"], weights[f"b{layer}"]))
        if layer < count:
            found.append(Elementwise(options["activation"]))
    return found


@read_as(_layers)
@identified_by(HiddenUnits(first="w1"))
def mlp(
    ppl: PPL,
    x: Any,
    y: Any | None = None,
    *,
    prior: ScaleMixture | Mapping[str, ScaleMixture],
    widths: Sequence[int] = (50,),
    num_outputs: int = 1,
    bias_prior: ScaleMixture = Normal(1.0),  # noqa: B008  (priors are frozen values)
    likelihood: str | Likelihood = "gaussian",
    activation: str = "tanh",
    parametrization: Parametrization = None,
    scale_by_fan_in: bool = True,
    noise_on: str = "weight",
    noise_plate: str = "global",
) -> Any:
    """h₀ = x, hₗ = activation(hₗ₋₁ wₗ + bₗ), y ~ likelihood(h_L w_{L+1} + b_{L+1}); wₗ ~ prior / √fan_in.

    One noise per input unit, ``noise.X().per("in")``, is the structure of dropout; the noise multiplies the weight, which for the rows of a
    layer is the same as multiplying its input: Nalisnick and Smyth (2018), eq. 1 and 6–8.

    Args:
        ppl: ``scalemix.pyro`` or ``scalemix.numpyro``.
        x: (n, p), columns standardized.
        y: (n,), or ``None`` to predict.
        prior: of all weights, or a dict from site or pattern ("w1", "w*") to prior.
        widths: hidden units per layer.
        num_outputs: size of the output; 1 for all likelihoods but "categorical".
        bias_prior: of b1, b2, ….
        likelihood: by name, or a value of ``scalemix.likelihoods``.
        activation: "tanh", "relu" or "sigmoid".
        parametrization: of the weights: "expanded", "hierarchical", "marginal" or a dict (``ppl.weight``).
        scale_by_fan_in: divide each weight's scale by √fan_in, so that the output's prior scale does not grow with the widths.
        noise_on: "weight", "input" or "output": where the noise is applied; the log joint is the same (``ppl.dense``).
        noise_plate: "global", one noise for all rows, or "example", a fresh one per row, as dropout training draws it (``ppl.dense``).

    Sites: w1, b1, w2, …, of shape (fan_in, fan_out) and (fan_out,), axes ("in", "out") and ("out",); sigma; y. Returns y.

    Raises: ValueError if x is not (n, p), y not (n,), the activation is unknown, or a pattern of ``prior`` matches no weight.
    """
    if x.ndim != 2:
        raise ValueError(f"x has shape {tuple(x.shape)}: give a matrix of shape (n, p), one row per case")
    nonlinearity = activation_named(ppl, activation)
    law = likelihood_named(likelihood)
    sizes = (x.shape[1], *widths, num_outputs)
    sites = [f"w{layer}" for layer in range(1, len(sizes))]
    hidden = x
    for layer, (site, fan_in, fan_out) in enumerate(zip(sites, sizes[:-1], sizes[1:], strict=True), start=1):
        scale = fan_in**-0.5 if scale_by_fan_in else None
        weight_prior = prior_for(prior, site, sites)
        product = ppl.dense(
            site, hidden, fan_out, weight_prior, parametrization=parametrization, scale=scale, noise_on=noise_on, noise_plate=noise_plate
        )
        hidden = add_bias(product, ppl.weight(f"b{layer}", (fan_out,), bias_prior, axes=("out",)))
        if layer < len(sites):
            hidden = nonlinearity(hidden)
    output = hidden[..., 0] if num_outputs == 1 else hidden
    return sample_outcome(ppl, law, output, law.sigma(ppl), x, y)
