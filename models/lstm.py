"""A long short-term memory network whose input weights carry the noise: tied over the gates or not, the same at every step."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from scalemix.checks import check_positive_int
from scalemix.compress.layers import Affine, Layer, Lstm, read_as
from scalemix.dense import split_per_example
from scalemix.identified import HiddenUnits, identified_by
from scalemix.layers import add_bias
from scalemix.likelihoods import Likelihood, sample_outcome
from scalemix.likelihoods import likelihood as likelihood_named
from scalemix.plan import Parametrization
from scalemix.priors import Normal, ScaleMixture
from scalemix.recurrent import last_state

if TYPE_CHECKING:
    from scalemix.language import PPL

__all__ = ["lstm"]

AXES = ("in", "gate", "out")


def _layers(weights: Mapping[str, Any], options: Mapping[str, Any]) -> list[Layer]:
    return [Lstm("w", "u", weights["w"], weights["u"], weights["b"]), Affine("w_out", weights["w_out"], weights["b_out"])]


@read_as(_layers)
@identified_by(HiddenUnits(first="w"))
def lstm(
    ppl: PPL,
    x: Any,
    y: Any | None = None,
    *,
    prior: ScaleMixture,
    width: int = 20,
    num_outputs: int = 1,
    recurrent_prior: ScaleMixture = Normal(1.0),  # noqa: B008  (priors are frozen values)
    end_prior: ScaleMixture = Normal(1.0),  # noqa: B008
    bias_prior: ScaleMixture = Normal(1.0),  # noqa: B008
    likelihood: str | Likelihood = "gaussian",
    parametrization: Parametrization = None,
    scale_by_fan_in: bool = True,
    noise_plate: str = "global",
) -> Any:
    """With gates a = x_t w + h_{t−1} u + b, i, f, o = sigmoid(a_i, a_f, a_o) and g = tanh(a_g):

        c_t = f c_{t−1} + i g,   h_t = o tanh(c_t),   y ~ likelihood(h_T w_out + b_out)

    w ~ prior / √p has the axes ("in", "gate", "out"): ``noise.X().per("in")`` is tied over the gates, ``.per("in", "gate")`` untied. ξ is
    drawn once, before the first step, and the recurrent weights u have a prior of their own.

    Args:
        ppl: ``scalemix.pyro`` or ``scalemix.numpyro``.
        x: sequences (n, T, p), or {"x": (n, T, p), "lengths": (n,)} where they are padded: a step beyond a sequence's length carries the
            state on, so what stands in the padding does not matter (as long as it is finite).
        y: (n,), or ``None`` to predict.
        prior: of the input weights w.
        width: hidden units.
        num_outputs: size of the output; 1 for all likelihoods but "categorical".
        recurrent_prior, end_prior, bias_prior: of u; of w_out; of b and b_out.
        likelihood: by name, or a value of ``scalemix.likelihoods``.
        parametrization: of w: "expanded", "hierarchical", "marginal" or a dict (``ppl.weight``).
        scale_by_fan_in: divide each weight's scale by √fan_in.
        noise_plate: "global", one ξ for all sequences: the Bayesian model. "example", one ξ for each sequence, as dropout training draws
            it: then the site ``w`` is z, and each noise has the sequences in front (expanded form only).

    Sites: w (p, 4, width), u (width, 4, width), b (4, width), the gates in the order i, f, o, g; w_out, b_out; sigma; y. Returns y.

    Raises: ValueError if x is not (n, T, p), lengths not (n,), y not (n,), or noise_plate is unknown.

    Source: Nalisnick and Smyth (2018), eq. 16–20, with the squares missing in 17 and 19.
    """
    x, lengths = _sequences(x)
    check_positive_int("width", width)
    if noise_plate not in ("global", "example"):
        raise ValueError(f"noise_plate={noise_plate!r}: give 'global' or 'example'")
    law = likelihood_named(likelihood)
    num_columns = x.shape[2]
    in_scale, scale = (num_columns**-0.5, width**-0.5) if scale_by_fan_in else (None, None)
    shape = (num_columns, 4, width)
    if noise_plate == "global":
        w = ppl.weight("w", shape, prior, axes=AXES, parametrization=parametrization, scale=in_scale)
    else:
        w, noises = split_per_example(ppl, "w", x, shape, prior, axes=AXES, parametrization=parametrization, scale=in_scale)
        for xi in noises:
            w = xi * w
    u = _flat(ppl.weight("u", (width, 4, width), recurrent_prior, axes=AXES, scale=scale), 3)
    b = _flat(ppl.weight("b", (4, width), bias_prior, axes=("gate", "out")), 2)
    w = _flat(w, 3)

    def inputs(x: Any) -> Any:
        """x_t w (n, 4 width), with the same w for all sequences or one for each."""
        return ppl.linear(x, w) if noise_plate == "global" else (x[..., None, :] @ w)[..., 0, :]

    h = last_state(ppl, x, inputs, u, b, width, lengths)
    scale_out = width**-0.5 if scale_by_fan_in else None
    output = add_bias(
        ppl.linear(h, ppl.weight("w_out", (width, num_outputs), end_prior, scale=scale_out)),
        ppl.weight("b_out", (num_outputs,), bias_prior, axes=("out",)),
    )
    output = output[..., 0] if num_outputs == 1 else output
    return sample_outcome(ppl, law, output, law.sigma(ppl), x, y)


def _sequences(x: Any) -> tuple[Any, Any | None]:
    """The sequences and their lengths."""
    lengths = None
    if isinstance(x, Mapping):
        if set(x) != {"x", "lengths"}:
            raise ValueError(f"x has the entries {', '.join(map(repr, x))}: give {{'x': sequences (n, T, p), 'lengths': (n,)}}")
        x, lengths = x["x"], x["lengths"]
    if x.ndim != 3 or x.shape[1] < 1:
        raise ValueError(f"x has shape {tuple(x.shape)}: give sequences of shape (n, T, p), one row per sequence")
    if lengths is not None and tuple(lengths.shape) != (x.shape[0],):
        raise ValueError(f"lengths has shape {tuple(lengths.shape)} and x has {x.shape[0]} sequences: give one length for each")
    return x, lengths


def _flat(w: Any, ndim: int) -> Any:
    """A weight with its axes ("gate", "out") as one: (*, in, 4 width) or (*, 4 width)."""
    return w.reshape((*w.shape[: w.ndim - ndim], *w.shape[w.ndim - ndim : -2], -1))
