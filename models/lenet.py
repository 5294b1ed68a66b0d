"""A convolutional network with scale-mixture priors on its weights: noise per filter, per kernel slice, or both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from scalemix.compress.layers import Affine, Elementwise, Flatten, Layer, Pool, read_as
from scalemix.identified import HiddenUnits, identified_by
from scalemix.layers import activation_named, add_bias, pool2d
from scalemix.likelihoods import Likelihood, sample_outcome
from scalemix.likelihoods import likelihood as likelihood_named
from scalemix.plan import Parametrization
from scalemix.priors import Normal, ScaleMixture, prior_for

if TYPE_CHECKING:
    from scalemix.language import PPL

__all__ = ["lenet"]


def _layers(weights: Mapping[str, Any], options: Mapping[str, Any]) -> list[Layer]:
    found: list[Layer] = []
    convolutions = len(options["filters"])
    count = convolutions + len(options["widths"]) + 1
    for layer in range(1, count + 1):
        if layer == convolutions + 1:
            found.append(Flatten())
        found.append(Affine(f"w{layer}", weights[f"w{layer}"], weights[f"b{layer}"]))
        if layer < count:
            found.append(Elementwise(options["activation"]))
        if layer <= convolutions:
            found.append(Pool(2, options["pooling"]))
    return found


@read_as(_layers)
@identified_by(HiddenUnits(first="w1"))
def lenet(
    ppl: PPL,
    x: Any,
    y: Any | None = None,
    *,
    prior: ScaleMixture | Mapping[str, ScaleMixture],
    filters: Sequence[int] = (20, 50),
    kernel: int = 5,
    widths: Sequence[int] = (500,),
    num_outputs: int = 10,
    bias_prior: ScaleMixture = Normal(1.0),  # noqa: B008  (priors are frozen values)
    likelihood: str | Likelihood = "categorical",
    activation: str = "relu",
    pooling: str = "max",
    parametrization: Parametrization = None,
    scale_by_fan_in: bool = True,
) -> Any:
    """Convolutions hₗ = pool(activation(hₗ₋₁ * wₗ + bₗ)) without padding, then dense layers as in ``mlp``; wₗ ~ prior / √fan_in.

    The defaults are LeNet-5 in the shape of Caffe's example: 20 filters 5 × 5, pool, 50 filters 5 × 5, pool, 500, 10.
    On a convolution's weight, of axes ("height", "width", "in", "out"), ``noise.X().per("out")`` is a noise per filter (what
    SpatialDropout does), ``.per("in", "out")`` one per kernel slice, and two factors in one ``ScaleMixture`` are filter × kernel.

    Args:
        ppl: ``scalemix.pyro`` or ``scalemix.numpyro``.
        x: (n, height, width, channel); images of one channel end in an axis of size 1.
        y: (n,), or ``None`` to predict.
        prior: of all weights, or a dict from site or pattern ("w1", "w*") to prior.
        filters: filters of each convolution.
        kernel: height and width of each filter.
        widths: hidden units of each dense layer.
        num_outputs: size of the output; 1 for all likelihoods but "categorical".
        bias_prior: of b1, b2, ….
        likelihood: by name, or a value of ``scalemix.likelihoods``.
        activation: "relu", "tanh" or "sigmoid".
        pooling: "max" or "mean", over patches of 2 × 2.
        parametrization: of the weights: "expanded", "hierarchical", "marginal" or a dict (``ppl.weight``).
        scale_by_fan_in: divide each weight's scale by √fan_in, which is kernel² channels for a convolution.

    Sites: w1, b1, …, convolutions first, of shape (kernel, kernel, in, out) and (out,), then (fan_in, fan_out); sigma; y. Returns y.

    Raises: ValueError if x is not (n, height, width, channel) or too small, y not (n,), an option is unknown, or a pattern of ``prior``
        matches no weight.

    Source: Nalisnick and Smyth (2018), eq. 21–22 (a noise per kernel slice), 23 (per filter) and 24–25 (both).
    """
    if x.ndim != 4:
        raise ValueError(f"x has shape {tuple(x.shape)}: give images of shape (n, height, width, channel), e.g. x[..., None]")
    if pooling not in ("max", "mean"):
        raise ValueError(f"unknown pooling {pooling!r}: give 'max' or 'mean'")
    nonlinearity = activation_named(ppl, activation)
    law = likelihood_named(likelihood)
    num_layers = len(filters) + len(widths) + 1
    sites = [f"w{layer}" for layer in range(1, num_layers + 1)]

    def weights(layer: int, shape: tuple[int, ...], axes: tuple[str, ...], fan_in: int) -> tuple[Any, Any]:
        site, scale = sites[layer], fan_in**-0.5 if scale_by_fan_in else None
        w = ppl.weight(site, shape, prior_for(prior, site, sites), axes=axes, parametrization=parametrization, scale=scale)
        return w, ppl.weight(f"b{layer + 1}", shape[-1:], bias_prior, axes=("out",))

    hidden = x
    for layer, fan_out in enumerate(filters):
        height, width, fan_in = hidden.shape[-3:]
        if min(height, width) <= kernel:
            raise ValueError(
                f"the images are {height} × {width} before convolution {layer + 1} with kernel={kernel} and pooling by 2: "
                "give larger images, a smaller kernel or fewer filters="
            )
        w, b = weights(layer, (kernel, kernel, fan_in, fan_out), ("height", "width", "in", "out"), kernel**2 * fan_in)
        hidden = pool2d(ppl, nonlinearity(ppl.conv2d(hidden, w, b)), how=pooling)
    hidden = hidden.reshape((*hidden.shape[:-3], -1))
    for layer, fan_out in enumerate((*widths, num_outputs), start=len(filters)):
        w, b = weights(layer, (hidden.shape[-1], fan_out), ("in", "out"), hidden.shape[-1])
        hidden = add_bias(ppl.linear(hidden, w), b)
        if layer + 1 < num_layers:
            hidden = nonlinearity(hidden)
    output = hidden[..., 0] if num_outputs == 1 else hidden
    return sample_outcome(ppl, law, output, law.sigma(ppl), x, y)
