"""The reference, one HTML page for each public module, by pdoc: `python -W error docs/reference.py FOLDER`, which `make docs` runs.

What is public is said here, once: `tests/test_reference.py` holds the docstrings of these modules to the house's rules.
"""

from __future__ import annotations

import importlib
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

PUBLIC = (
    "scalemix",
    "scalemix.noise",
    "scalemix.likelihoods",
    "scalemix.models",
    "scalemix.inference",
    "scalemix.divergences",
    "scalemix.inference.nuts",
    "scalemix.inference.hmc",
    "scalemix.inference.gibbs",
    "scalemix.inference.enumeration",
    "scalemix.inference.svi",
    "scalemix.inference.mean_field",
    "scalemix.inference.low_rank",
    "scalemix.inference.full_rank",
    "scalemix.inference.coordinates",
    "scalemix.inference.map",
    "scalemix.inference.mc_dropout",
    "scalemix.inference.variational_dropout",
    "scalemix.inference.vbd",
    "scalemix.inference.bayes_by_backprop",
    "scalemix.inference.spike_slab",
    "scalemix.inference.horseshoe",
    "scalemix.inference.vib",
    "scalemix.inference.concrete",
    "scalemix.inference.dynamic_regularizer",
    "scalemix.guides",
    "scalemix.training",
    "scalemix.comparison",
    "scalemix.compress",
    "scalemix.studies",
    "scalemix.testing",
    "scalemix.language",
    "scalemix.minibatch",
    "scalemix.pyro",
    "scalemix.pyro.exporting",
    "scalemix.numpyro",
)


def public_modules() -> dict[str, ModuleType]:
    """The modules of ``PUBLIC``, as pdoc can read them."""
    modules = {name: importlib.import_module(name) for name in PUBLIC}
    for module in modules.values():
        for name in module.__all__:
            vars(module)[name] = getattr(module, name)  # pdoc reads a module's dict, so lazy names have to be in it
    return modules


def build(folder: Path) -> None:
    """Write the pages into ``folder``."""
    import pdoc

    modules = public_modules()
    pdoc.render.configure(docformat="google", math=True, show_source=False, footer_text=f"scalemix {modules['scalemix'].__version__}")
    pages = [spec for name in PUBLIC for spec in (name, f"!{re.escape(name)}\\.")]  # a module without those below it
    kitchens = {name: modules[name].__all__ for name in ("scalemix.pyro", "scalemix.numpyro")}
    try:
        for name, promised in kitchens.items():
            # What a kitchen only passes on (torch.exp, numpyro.sample) its language documents; what we promise of it stands at PPL.
            modules[name].__all__ = [each for each in promised if is_ours(getattr(modules[name], each))]
        pdoc.pdoc(*pages, output_directory=folder)
    finally:
        for name, promised in kitchens.items():
            modules[name].__all__ = promised


def is_ours(value: Any) -> bool:
    """Whether a function or class was written here."""
    return str(getattr(value, "__module__", "")).startswith("scalemix.")


if __name__ == "__main__":
    build(Path(sys.argv[1]))
