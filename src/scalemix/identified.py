"""What a posterior says that does not depend on how the hidden units of a network are numbered.

Hidden units permute, and tanh units change sign: two chains in two orders have the same functions and another R-hat of every weight. So a
network is judged by identified quantities: function values at fixed inputs, the log likelihood, observation and layer scales, the noises of
the input units, and the noises of hidden units in increasing order. A model says by ``identified_by`` that it is one, or names sites.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from scalemix.lower import Site

__all__ = ["HiddenUnits", "fixed_rows", "identified_by", "identified_of", "identified_sites"]

AnyModel = TypeVar("AnyModel", bound=Callable[..., Any])
MAX_ROWS = 10


@dataclass(frozen=True)
class HiddenUnits:
    """A network whose hidden units permute; only input units of the weight ``first`` (``None``: none) stand for something outside."""

    first: str | None


def identified_by(*sites: str | HiddenUnits) -> Callable[[AnyModel], AnyModel]:
    """Say by what the convergence of a model is judged; without it, by every site.

    Args:
        sites: names of the identified sites, or one ``HiddenUnits(first=...)``. Function values and the log likelihood are added.

    Example:
        >>> @sm.identified_by("sigma", "tau")
        ... def model(ppl, x, y=None): ...

    Raises: TypeError for anything but names and one ``HiddenUnits``.
    """
    rules = [site for site in sites if isinstance(site, HiddenUnits)]
    if (rules and len(sites) > 1) or not all(isinstance(site, str | HiddenUnits) for site in sites):
        raise TypeError(f"identified_by{sites}: give names of sites, or one HiddenUnits(first=...)")

    def mark(model: AnyModel) -> AnyModel:
        vars(model)["identified"] = rules[0] if rules else sites
        return model

    return mark


def identified_of(model: Callable[..., Any]) -> HiddenUnits | tuple[str, ...] | None:
    """What ``identified_by`` said of a model, also of one whose options are filled in by ``functools.partial`` or that is wrapped."""
    told: Any = model
    while not hasattr(told, "identified"):
        told = getattr(told, "__wrapped__", None) or getattr(told, "func", None)
        if told is None:
            return None
    return told.identified


def fixed_rows(inputs: Any) -> Any:
    """At most ``MAX_ROWS`` rows of the inputs, evenly spaced: the grid on which functions are compared."""
    if isinstance(inputs, Mapping):
        return {name: fixed_rows(value) for name, value in inputs.items()}
    if isinstance(inputs, tuple):
        return tuple(fixed_rows(value) for value in inputs)
    return inputs[np.unique(np.linspace(0, len(inputs) - 1, MAX_ROWS).round().astype(int))]


def identified_sites(
    by: HiddenUnits | tuple[str, ...], draws: Mapping[str, np.ndarray], sites: Mapping[str, Site]
) -> dict[str, np.ndarray]:
    """The identified quantities among draws (chain, draw, *event), and the noises of hidden units sorted.

    A noise that varies along hidden units and another axis, and every weight, bias and base, is left out.

    Raises: ValueError if ``by`` names a site that the model lacks.
    """
    if not isinstance(by, HiddenUnits):
        for name in by:
            if name not in draws:
                raise ValueError(f"identified_by names the site {name!r}, and the model has {', '.join(draws)}")
        return {name: draws[name] for name in by}
    if by.first is not None and by.first not in draws:
        raise ValueError(f"HiddenUnits(first={by.first!r}) names no weight of the model: it has {', '.join(draws)}")
    found = {}
    for name, values in draws.items():
        site = sites.get(name)
        if values.ndim == 2:
            found[name] = values
        elif site is not None and site.role in ("noise", "hyper"):
            if site.weight == by.first and site.axes == ("in",):
                found[name] = values
            elif len(site.axes) == 1 and values.ndim == 3:
                found[f"{name}_sorted"] = np.sort(values, axis=-1)
    return found
