"""A language by its name."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from scalemix.language import PPL

__all__ = ["language_named"]


def language_named(name: str) -> PPL:
    """``scalemix.pyro`` or ``scalemix.numpyro`` by its last name.

    Raises: ValueError if its packages are not installed.
    """
    try:
        if name == "pyro":
            import scalemix.pyro as ppl
        else:
            import scalemix.numpyro as ppl
    except ModuleNotFoundError as error:
        raise ValueError(f"{error.name} is not installed: install scalemix[{name}] to fit with {name}") from error
    return ppl
