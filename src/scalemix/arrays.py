"""The array functions a formula is written with, chosen by the type of its arrays: NumPy's here, torch's and JAX's by their kitchens.

A formula ``f(mean, scale)`` begins with ``xp, mean, scale = arrays(mean, scale)`` and then uses ``xp.log`` and operators alone, so that it
stands once and runs, with gradients, on whatever it is given.
"""

from __future__ import annotations

from numbers import Real
from types import SimpleNamespace
from typing import Any

import numpy as np
from scipy import special

from scalemix.checks import check_between, check_positive

__all__ = ["array_functions", "arrays", "check_positives", "check_probabilities", "clip", "numpy_of", "register", "safe_sqrt", "xlogx"]

KITCHENS = {"torch": "scalemix.pyro", "jax": "scalemix.numpyro", "jaxlib": "scalemix.numpyro"}
TINY = 1e-37  # above the smallest normal float32, 1.2e-38


def _asarray(value: Any, like: Any) -> Any:
    return np.asarray(value, dtype=like.dtype)


array_functions = SimpleNamespace(
    abs=np.abs,
    argsort=lambda x: np.argsort(x, axis=-1, kind="stable"),
    asarray=_asarray,
    clip=np.clip,
    concatenate=np.concatenate,
    erfc=special.erfc,
    exp=np.exp,
    floor=np.floor,
    lgamma=special.gammaln,
    log=np.log,
    log1p=np.log1p,
    logaddexp=np.logaddexp,
    logsumexp=lambda x: special.logsumexp(x, axis=-1, keepdims=True),
    sigmoid=special.expit,
    softplus=lambda x: np.logaddexp(0.0, x),
    sqrt=np.sqrt,
    stop_gradient=lambda x: x,
    sum=np.sum,
    take=lambda tables, index: [table[index.astype(np.int32)] for table in tables],
    where=np.where,
)

_registered: dict[str, SimpleNamespace] = {}


def register(functions: SimpleNamespace, *packages: str) -> None:
    """Make ``functions`` those of the arrays whose type is defined in one of the packages; called by a kitchen when it is imported."""
    for package in packages:
        _registered[package] = functions


def numpy_of(value: Any) -> np.ndarray:
    """An array of a language on the processor, without its gradient, as NumPy's."""
    return np.asarray(value.detach() if hasattr(value, "detach") else value)


def arrays(*values: Any) -> tuple[Any, ...]:
    """The array functions for these values, and the values as arrays of one language.

    Returns:
        (xp, *values): numbers, lists and NumPy arrays become arrays of the dtype and on the device of the first torch or JAX array. Without
        one, all become NumPy arrays: of the floating type they have, else float64.

    Raises: TypeError for torch and JAX arrays side by side, or for an array whose kitchen has not been imported.
    """
    packages = [_package(value) for value in values]
    languages = {KITCHENS[package] for package in packages if package}
    if len(languages) > 1:
        raise TypeError("torch and JAX arrays are given together: turn them into arrays of one language")
    if not languages:
        found = [np.asarray(value) for value in values]
        dtypes = [each.dtype for each in found if np.issubdtype(each.dtype, np.floating) and each.ndim]
        dtype = np.result_type(*dtypes) if dtypes else np.dtype(float)
        return array_functions, *(each.astype(dtype) for each in found)
    first = next(i for i, package in enumerate(packages) if package)
    xp = _registered.get(packages[first] or "")
    if xp is None:
        raise TypeError(f"{type(values[first]).__name__} is an array of {packages[first]}: import {KITCHENS[packages[first] or '']} first")
    floating = [value for value, package in zip(values, packages, strict=True) if package and "float" in str(value.dtype)]
    like = floating[0] if floating else xp.asarray(1.0, None)
    kept = [package and "float" in str(value.dtype) for value, package in zip(values, packages, strict=True)]
    return xp, *(value if keep else xp.asarray(value, like) for value, keep in zip(values, kept, strict=True))


def _package(value: Any) -> str | None:
    """torch, jax or jaxlib where a class of the value comes from there."""
    if isinstance(value, np.ndarray | Real):
        return None
    return next((root for root in (cls.__module__.partition(".")[0] for cls in type(value).__mro__) if root in KITCHENS), None)


def clip(xp: Any, x: Any, low: float, high: float) -> Any:
    """x within [low, high]. At the ends themselves the gradient is 1 in every language (that of ``jnp.clip`` is ½ there)."""
    return xp.where(x < low, low, xp.where(x > high, high, x))


def safe_sqrt(xp: Any, x: Any) -> Any:
    """√x, x ≥ 0, with the gradient 0 at x = 0 instead of an infinite one, and without an additive epsilon."""
    positive = x > 0.0
    return xp.where(positive, xp.sqrt(xp.where(positive, x, 1.0)), 0.0)


def xlogx(xp: Any, x: Any) -> Any:
    """x log x, x ≥ 0: 0 at 0, where its gradient is a finite log 1e−37 instead of −∞."""
    return x * xp.log(xp.where(x > TINY, x, TINY))


def check_positives(**numbers: Any) -> None:
    """Raise ValueError unless each is above 0; arrays, which may be traced or live on a device, are not looked into."""
    for name, value in numbers.items():
        if isinstance(value, Real):
            check_positive(name, value)


def check_probabilities(**numbers: Any) -> None:
    """Raise ValueError unless each is above 0 and below 1; arrays are not looked into."""
    for name, value in numbers.items():
        if isinstance(value, Real):
            check_between(name, value, 0.0, 1.0)
            if value in (0.0, 1.0):
                raise ValueError(f"{name} is {value!r}: give a number between 0 and 1, which rules nothing out")
