"""Checks of the numbers a person gives: each failure is one sentence that names the argument and the remedy."""

from __future__ import annotations

import math
from numbers import Real
from typing import Any

__all__ = ["Deferred", "check_between", "check_nonnegative", "check_number", "check_positive", "check_positive_int"]


class Deferred:
    """A hyper-parameter that is not a number yet: a law, or a value that needs the shape of a weight. Checked where it is used."""


def check_number(name: str, value: Any) -> float:
    """The value as a float; raises ValueError unless it is a finite number."""
    if isinstance(value, bool) or not isinstance(value, Real) or not math.isfinite(value):
        raise ValueError(f"{name} is {value!r}: give a finite number")
    return float(value)


def check_positive(name: str, value: Any) -> None:
    """Raise ValueError unless ``value`` is a finite number above 0."""
    if not isinstance(value, Deferred) and check_number(name, value) <= 0:
        raise ValueError(f"{name} is {value!r}: give a number above 0 (a scale is a standard deviation)")


def check_nonnegative(name: str, value: Any) -> None:
    """Raise ValueError unless ``value`` is a finite number that is 0 or more."""
    if not isinstance(value, Deferred) and check_number(name, value) < 0:
        raise ValueError(f"{name} is {value!r}: give a number that is 0 or more")


def check_between(name: str, value: Any, low: float, high: float) -> None:
    """Raise ValueError unless ``value`` is a number from ``low`` to ``high``."""
    if not isinstance(value, Deferred) and not low <= check_number(name, value) <= high:
        raise ValueError(f"{name} is {value!r}: give a number from {low:g} to {high:g}")


def check_positive_int(name: str, value: Any) -> None:
    """Raise ValueError unless ``value`` is a whole number of at least 1."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(f"{name} is {value!r}: give a whole number of at least 1")
