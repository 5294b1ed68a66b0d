"""A convolutional network with scale-mixture priors on its weights: noise per filter, per kernel slice, or both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from scalemix.compress.layers import Affine, Elementwise, Flatten, Layer, Pool, read_as
from scalemix.identified import HiddenUnits, identified_by
from scalemix.layers import activation_named, add_bias, check_pooling
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
        weight = weights[f"w{layer}"]
        if layer > convolutions:
            weight = weight.reshape(-1, weight.shape[-1])  # (height, width, in, out) with flatten=False
        found.append(Affine(f"w{layer}", weight, weights[f"b{layer}"]))
        activation, pool = Elementwise(options["activation"]), Pool(2, options["pooling"])
        if layer <= convolutions:
            found += (pool, activation) if pool.how == "max" else (activation, pool)
        elif layer < count:
            found.append(activation)
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
    noise_on: str = "weight",
    noise_plate: str = "global",
    flatten: bool = True,
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
        noise_on: "weight", "input" or "output": where the noise is applied; the log joint is the same. On the input of a convolution a
            noise per ("in",) is one for all pixels of a channel, on its output per ("out",) one for all of a filter (``ppl.convolution``).
        noise_plate: "global", one noise for all images, or "example", a fresh one per image, as dropout training draws it.
        flatten: the first dense layer's weight has the axes ("in", "out"), and a noise per ("in",) is one per pixel and channel. False: it
            has ("height", "width", "in", "out"), and the noise is one per filter of the last convolution (VIBNet's gates).

    Sites: w1, b1, …, convolutions first, of shape (kernel, kernel, in, out) and (out,), then (fan_in, fan_out), the first of them
    (height, width, in, fan_out) with flatten=False; sigma; y. Returns y.

    Raises: ValueError if x is not (n, height, width, channel) or too small, y not (n,), an option is unknown, or a pattern of ``prior``
        matches no weight.

    Source: Nalisnick and Smyth (2018), eq. 21–22 (a noise per kernel slice), 23 (per filter) and 24–25 (both).

    Example:
        >>> gates = sm.ScaleMixture(noise.Bottleneck().per("in"))
        >>> model = partial(lenet, prior=gates, noise_on="input", noise_plate="example", flatten=False)  # for inference.vib
    """
    if x.ndim != 4:
        raise ValueError(f"x has shape {tuple(x.shape)}: give images of shape (n, height, width, channel), e.g. x[..., None]")
    check_pooling(pooling)
    nonlinearity = activation_named(ppl, activation)
    law = likelihood_named(likelihood)
    num_layers = len(filters) + len(widths) + 1
    sites = [f"w{layer}" for layer in range(1, num_layers + 1)]

    def options(layer: int, fan_in: int) -> dict[str, Any]:
        scale = fan_in**-0.5 if scale_by_fan_in else None
        return {"parametrization": parametrization, "scale": scale, "noise_on": noise_on, "noise_plate": noise_plate}

    def convolved(layer: int, images: Any, fan_out: int, size: int | tuple[int, int]) -> Any:
        height, width = (size, size) if isinstance(size, int) else size
        more = options(layer, height * width * images.shape[-1])
        out = ppl.convolution(sites[layer], images, fan_out, prior_for(prior, sites[layer], sites), kernel=size, **more)
        return add_bias(out, ppl.weight(f"b{layer + 1}", (fan_out,), bias_prior, axes=("out",)), pixel_axes=2)

    hidden = x
    for layer, fan_out in enumerate(filters):
        height, width = hidden.shape[-3:-1]
        if min(height, width) <= kernel:
            raise ValueError(
                f"the images are {height} × {width} before convolution {layer + 1} with kernel={kernel} and pooling by 2: "
                "give larger images, a smaller kernel or fewer filters="
            )
        hidden = convolved(layer, hidden, fan_out, kernel)
        if pooling == "max":  # activations increase
            hidden = nonlinearity(ppl.pool2d(hidden, how=pooling))
        else:
            hidden = ppl.pool2d(nonlinearity(hidden), how=pooling)
    hidden = hidden if not flatten else hidden.reshape((*hidden.shape[:-3], -1))
    for layer, fan_out in enumerate((*widths, num_outputs), start=len(filters)):
        if layer == len(filters) and not flatten:
            hidden = convolved(layer, hidden, fan_out, tuple(hidden.shape[-3:-1]))[..., 0, 0, :]
        else:
            weight_prior = prior_for(prior, sites[layer], sites)
            product = ppl.dense(sites[layer], hidden, fan_out, weight_prior, **options(layer, hidden.shape[-1]))
            hidden = add_bias(product, ppl.weight(f"b{layer + 1}", (fan_out,), bias_prior, axes=("out",)))
        if layer + 1 < num_layers:
            hidden = nonlinearity(hidden)
    output = hidden[..., 0] if num_outputs == 1 else hidden
    return sample_outcome(ppl, law, output, law.sigma(ppl), x, y)
