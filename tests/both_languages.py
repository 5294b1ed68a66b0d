"""Cases in both languages: Pyro takes all in the fast tests, JAX, which compiles each for seconds, some of them; the rest is slow."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from plain_models import LANGUAGES

__all__ = ["in_both"]


def in_both(
    argument: str, cases: Iterable[str], *, fast: Iterable[str], slow: Iterable[str] = (), fixture: str = "ppl"
) -> pytest.MarkDecorator:
    """``argument`` runs over ``cases`` and ``fixture``, the languages.

    Args:
        argument, cases: what varies.
        fast: the cases that JAX compiles in the fast tests.
        slow: those that are slow in Pyro too.
        fixture: the one that gives the language.
    """
    cases = tuple(cases)
    kept = {"numpyro": set(fast), "pyro": set(cases) - set(slow)}
    assert kept["numpyro"] <= kept["pyro"] <= set(cases)
    rows = [
        pytest.param(case, name, id=f"{name}-{case}", marks=[] if case in kept[name] else [pytest.mark.slow])
        for case in cases
        for name in LANGUAGES
    ]
    return pytest.mark.parametrize((argument, fixture), rows, indirect=[fixture])
