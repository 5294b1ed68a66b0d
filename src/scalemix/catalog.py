"""Priors by name, for the command line: which there are, what settings they take, and what one of them says about a weight, in words.

The names are those of ``scalemix.priors`` in lower case with hyphens (``student-t``), and ``noise.`` with a noise (``noise.rayleigh``) for
that noise on a N(0, base_scale²) weight.
"""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Callable, Mapping
from typing import Any

from scalemix import noise, priors
from scalemix.checks import check_positive_int
from scalemix.effects import effect_cdf, effect_quantile, effect_sd
from scalemix.marginal import atom, log_marginal
from scalemix.noise import Noise
from scalemix.plan import forms, single_form
from scalemix.priors import ScaleMixture, VariationalPrior

__all__ = ["describe", "equation", "named_prior", "prior_names", "weight_prior"]

LEVELS = (0.5, 0.9, 0.95, 0.99)


def prior_names() -> dict[str, str]:
    """Every name, and what it is in one line."""
    return {name: _first_sentence(maker) for name, maker in _makers().items()}


def equation(name: str) -> str:
    """What the prior is: the first paragraph of its documentation, without the line breaks."""
    paragraph = (inspect.getdoc(_maker(name)) or "").split("\n\n")[0]
    return " ".join(paragraph.replace("``", "").split())


def named_prior(name: str, settings: Mapping[str, str] | None = None) -> ScaleMixture:
    """The prior of that name with settings such as ``{"df": "4"}``.

    Besides its own settings each takes ``num_weights``, the size of the array for priors that depend on it; a noise ``base_scale``.

    Raises: ValueError for an unknown name or setting, a value that is no number, what has no density, or whatever the prior refuses.
    """
    prior = weight_prior(name, settings)
    if not isinstance(prior, ScaleMixture):
        raise ValueError(f"{name} has no density of a weight to describe: {prior.reason}")
    return prior


def weight_prior(name: str, settings: Mapping[str, str] | None = None) -> ScaleMixture | VariationalPrior:
    """As ``named_prior``, and those too that only a variational objective can use."""
    maker, values = _maker(name), dict(settings or {})
    known = {parameter: each.default for parameter, each in inspect.signature(maker).parameters.items()}
    is_noise = isinstance(maker, type) and issubclass(maker, Noise)
    takes = [*known, *(["base_scale"] if is_noise else []), "num_weights"]
    for setting in values:
        if setting not in takes:
            raise ValueError(f"{name} has no setting {setting!r}: give one of {', '.join(takes)}")
    numbers: dict[str, Any] = {setting: _value(setting, text) for setting, text in values.items()}
    num_weights, base_scale = numbers.pop("num_weights", None), numbers.pop("base_scale", 1.0) if is_noise else 1.0
    if num_weights is not None:
        check_positive_int("num_weights", num_weights)
    if "expected_active" in numbers and num_weights is None:
        raise ValueError("expected_active= is a number out of num_weights=: give both, e.g. expected_active=5 num_data=100 num_weights=50")
    made = maker(**numbers)
    prior = ScaleMixture(made, base_scale=base_scale) if isinstance(made, Noise) else made
    return prior.resolve(num_weights) if num_weights is not None and isinstance(prior, ScaleMixture) else prior


def describe(prior: ScaleMixture) -> dict[str, str]:
    """What the prior says about one weight: label to text.

    Raises: ValueError if the prior has to be resolved first.
    """
    sd, spike = effect_sd(prior), atom(prior)
    quantiles = effect_quantile(prior, LEVELS)
    shown = sd if math.isfinite(sd) and sd > 0 else float(quantiles[2])
    unit = "sd" if shown == sd else "× 95 % point"
    near, beyond = effect_cdf(prior, [0.1 * shown, 3.0 * shown])
    at_zero = float(log_marginal(prior, 0.0))
    zero = (
        f"P(w = 0) = {spike:.4g}, and beside it a density of {math.exp(at_zero):.4g}" if spike else f"a density of {math.exp(at_zero):.4g}"
    )
    lines = {
        "as a mixture": f"w = {_product(prior)}",
        "sd of w": f"{sd:.4g}" if math.isfinite(sd) else "infinite",
        "at w = 0": zero if math.isfinite(at_zero) else "a pole: the density is infinite, its mass is not",
        "|w| is below": ",  ".join(f"{size:.4g} with {100 * level:g} %" for level, size in zip(LEVELS, quantiles.tolist(), strict=True)),
        f"P(|w| < 0.1 {unit})": f"{near:.4f}   (a normal: 0.0797)" if unit == "sd" else f"{near:.4f}   (a normal: 0.1554)",
        f"P(|w| > 3 {unit})": f"{1 - beyond:.3g}   (a normal: 0.0027)" if unit == "sd" else f"{1 - beyond:.3g}   (a normal: 4.1e-09)",
    }
    for label, factor in zip(prior.labels, prior.random_factors, strict=False):
        lines[f"ξ {label}" if len(prior.random_factors) > 1 else "ξ"] = _moments(factor.noise)
    return lines | {"parametrizations": _forms(prior)}


def _makers() -> dict[str, Callable[..., Any]]:
    named = {name: getattr(priors, name) for name in priors.__all__ if name[0].isupper()}
    result = {_hyphened(name): maker for name, maker in named.items() if not isinstance(maker, type)}
    for name in noise.__all__:
        if name != "Noise":
            result[f"noise.{_hyphened(name)}"] = getattr(noise, name)
    return result


def _maker(name: str) -> Callable[..., Any]:
    makers = _makers()
    plain = {key.replace("-", ""): maker for key, maker in makers.items()}
    wanted = name.lower().replace("-", "").replace("_", "")
    if wanted not in plain:
        raise ValueError(f"unknown prior {name!r}: give one of {', '.join(makers)}")
    return plain[wanted]


def _hyphened(name: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "-", name).lower()


def _first_sentence(maker: Callable[..., Any]) -> str:
    line = (inspect.getdoc(maker) or "").split("\n")[0]
    return line.replace("``", "").rstrip(".:")


def _value(setting: str, text: str) -> float | int | str:
    try:
        return int(text)
    except ValueError:
        pass
    try:
        return float(text)
    except ValueError:
        pass
    if text.isidentifier():
        return text  # the name of an axis
    raise ValueError(f"{setting}={text} is not a number: give e.g. {setting}=0.5")


def _product(prior: ScaleMixture) -> str:
    """ξ₁ ξ₂ z with the law of each."""
    factors = prior.random_factors
    names = ["ξ"] if len(factors) == 1 else [f"ξ{index}" for index in range(1, len(factors) + 1)]
    constants = math.prod(factor.noise.value for factor in prior.factors if isinstance(factor.noise, noise.Constant))
    laws = [f"{each} ~ {factor}" for each, factor in zip(names, factors, strict=True)]
    laws.append(f"z ~ N(0, {prior.base_scale * constants:.4g}²)")
    if prior.slab is None:
        return f"{' '.join([*names, 'z'])},  {',  '.join(laws)}"
    laws.append(f"c ~ {prior.slab}")
    return f"s̃ z,  1/s̃² = 1/s² + 1/c²,  s = {' '.join(names)},  {',  '.join(laws)}"


def _moments(law: Noise) -> str:
    moments = law.moments()
    rows = {
        "E ξ": moments.mean,
        "E ξ²": moments.second,
        "Var ξ": moments.variance,
        "E ξ⁻²": moments.inverse_second,
        "Var ξ⁻²": moments.inverse_second_variance,
    }
    return ",  ".join(f"{name} = {_number(value)}" for name, value in rows.items())


def _number(value: float) -> str:
    return "undefined" if math.isnan(value) else "infinite" if math.isinf(value) else f"{value:.4g}"


def _forms(prior: ScaleMixture) -> str:
    if single_form(prior):
        return "one: there is no noise to write apart from the weight"
    every, smooth = forms(prior), forms(prior, discrete=False)
    gates = [form for form in every if form not in smooth]
    if not gates:
        return ", ".join(every)
    note = f"{', '.join(gates)} with a discrete gate, which NUTS and guides refuse"
    return f"{', '.join(smooth)};  {note}" if smooth else note
