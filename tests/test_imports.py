"""The import table: core knows no language, the kitchens do not know each other, models and recipes know only core.

Every source file is read with ``ast``, so a forbidden import is found wherever it stands. "Lazily" means inside a function.
"""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = {"scalemix": ROOT / "src" / "scalemix", "scalemix.models": ROOT / "models", "scalemix.inference": ROOT / "inference"}

TORCH = frozenset({"torch", "torchvision", "pyro"})
JAX = frozenset({"jax", "jaxlib", "numpyro", "optax", "flax", "equinox"})
ZONES = {
    "cli": "front",  # the front may import everything, and nothing else imports the front
    "commands": "front",
    "jobs": "front",
    "studies": "front",
    "testing": "front",
    "__main__": "front",
    "pyro": "pyro kitchen",
    "numpyro": "numpyro kitchen",
    "models": "models",
    "inference": "inference",
}
KITCHENS = frozenset({"pyro kitchen", "numpyro kitchen"})

# Zone of the importing file: what it may import anywhere, and what only inside a function.
TABLE: dict[str, tuple[frozenset[str], frozenset[str]]] = {
    "core": (frozenset({"core"}), frozenset()),
    "front": (frozenset({"core", "front", "models", "inference"}), KITCHENS),
    "pyro kitchen": (frozenset({"core", "pyro kitchen", "torch"}), frozenset()),
    "numpyro kitchen": (frozenset({"core", "numpyro kitchen", "jax"}), frozenset()),
    "models": (frozenset({"core", "models"}), frozenset()),
    "inference": (frozenset({"core", "inference"}), frozenset()),
}

# Distributions whose import name differs.
IMPORT_NAMES = {"pyro-ppl": "pyro", "scikit-learn": "sklearn", "pytest-xdist": "xdist"}


@dataclass(frozen=True)
class Import:
    """One imported module; ``lazy`` inside a function, ``typing`` under ``if TYPE_CHECKING``."""

    target: str
    line: int
    lazy: bool
    typing: bool


def modules() -> dict[str, Path]:
    """Dotted name to file, of the whole distribution."""
    found: dict[str, Path] = {}
    for package, folder in FOLDERS.items():
        for path in sorted(folder.rglob("*.py")):
            parts = path.relative_to(folder).with_suffix("").parts
            found[".".join((package, *(parts[:-1] if parts[-1] == "__init__" else parts)))] = path
    return found


def imports(source: str, known: frozenset[str] = frozenset()) -> list[Import]:
    """Every import of ``source``; ``from scalemix import x`` counts as ``scalemix.x`` where that is a module of ``known``."""
    found: list[Import] = []

    def visit(node: ast.AST, lazy: bool, typing: bool) -> None:
        match node:
            case ast.Import(names=names):
                found.extend(Import(alias.name, node.lineno, lazy, typing) for alias in names)
            case ast.ImportFrom(module=module, names=names, level=level):
                assert module, f"line {node.lineno}: relative import; write the absolute name"
                assert level == 0, f"line {node.lineno}: relative import of {module}; write the absolute name"
                longer = {f"{module}.{alias.name}" for alias in names}
                targets = (longer & known) | ({module} if longer - known else set())
                found.extend(Import(target, node.lineno, lazy, typing) for target in sorted(targets))
            case ast.Call(func=ast.Attribute(attr="import_module") | ast.Name(id="import_module" | "__import__"), args=[argument, *_]):
                if isinstance(argument, ast.Constant):
                    found.append(Import(str(argument.value), node.lineno, lazy, typing))
                elif isinstance(argument, ast.JoinedStr) and isinstance(argument.values[0], ast.Constant):
                    stem = str(argument.values[0].value).rstrip(".")  # f"scalemix.{backend}" may be either kitchen
                    found.extend(Import(f"{stem}.{name}", node.lineno, lazy, typing) for name in ("pyro", "numpyro"))
        lazy = lazy or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            for child in node.body:
                visit(child, lazy, True)
            for child in node.orelse:
                visit(child, lazy, typing)
        else:
            for child in ast.iter_child_nodes(node):
                visit(child, lazy, typing)

    visit(ast.parse(source), lazy=False, typing=False)
    return found


def zone(module: str) -> str | None:
    """The row or column of the table that a module belongs to; ``None`` for one the table does not speak of."""
    root, *rest = module.split(".")
    if root in TORCH:
        return "torch"
    if root in JAX:
        return "jax"
    if root in ("models", "inference"):
        return f"a second copy of scalemix.{root}"
    if root != "scalemix":
        return None
    return ZONES.get(rest[0], "core") if rest else "core"


def violations(module: str, source: str, known: frozenset[str] = frozenset()) -> list[str]:
    """The imports of ``source`` that the table forbids to ``module``, one sentence each."""
    anywhere, lazily = TABLE[zone(module) or ""]
    broken: list[str] = []
    for found in imports(source, known):
        target = zone(found.target)
        if target is None or target in anywhere or (target in lazily and found.lazy):
            continue
        remedy = "move it into a function" if target in lazily else "see the import table in CONTRIBUTING.md"
        broken.append(f"{module}, line {found.line}: {zone(module)} imports {found.target} ({target}): {remedy}")
    return broken


def test_the_import_table_holds() -> None:
    files = modules()
    assert {"scalemix", "scalemix.pyro", "scalemix.numpyro", "scalemix.models", "scalemix.inference", "scalemix.cli"} <= files.keys()
    broken = [line for name, path in files.items() for line in violations(name, path.read_text(), frozenset(files))]
    assert not broken, "\n".join(broken)


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("scalemix.lower", "import torch"),
        ("scalemix.lower", "def f():\n    import jax.numpy as jnp"),
        ("scalemix.comparison.table", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from pyro.distributions import Normal"),
        ("scalemix.posterior", "def f():\n    from scalemix import models"),
        ("scalemix.posterior", "from scalemix import cli"),
        ("scalemix.posterior", "import importlib\nimportlib.import_module('scalemix.numpyro')"),
        ("scalemix.posterior", "from importlib import import_module\ndef f(b):\n    return import_module(f'scalemix.{b}')"),
        ("scalemix.cli", "from scalemix import numpyro"),
        ("scalemix.cli", "def f():\n    import torch"),
        ("scalemix.pyro.engine", "from scalemix.numpyro.engine import x"),
        ("scalemix.pyro", "def f():\n    import jax"),
        ("scalemix.numpyro.svi", "from torch import nn"),
        ("scalemix.numpyro.svi", "from scalemix.inference import svi"),
        ("scalemix.models.mlp", "import scalemix.inference.nuts"),
        ("scalemix.models.mlp", "from models import linear"),
        ("scalemix.inference.nuts", "import scalemix.numpyro as ppl"),
        ("scalemix.inference.nuts", "from scalemix.models import linear"),
    ],
)
def test_a_forbidden_import_is_found(module: str, source: str) -> None:
    known = frozenset({"scalemix.models", "scalemix.inference", "scalemix.numpyro", "scalemix.cli"})
    assert len(violations(module, source, known)) >= 1


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("scalemix.lower", "import numpy as np\nfrom scalemix.noise import Rayleigh"),
        ("scalemix.cli", "from scalemix import models\ndef f(b):\n    import scalemix.pyro"),
        ("scalemix.cli", "import importlib\ndef f(b):\n    return importlib.import_module(f'scalemix.{b}')"),
        ("scalemix.pyro.engine", "import torch, pyro\nfrom scalemix.pyro.svi import step"),
        ("scalemix.models.mlp", "from scalemix.priors import Normal"),
    ],
)
def test_an_allowed_import_is_left_alone(module: str, source: str) -> None:
    assert violations(module, source, frozenset({"scalemix.models"})) == []


def test_modules_import_downwards_only() -> None:
    files = modules()
    graph: dict[str, set[str]] = {}
    for name, path in files.items():
        at_import = {found.target for found in imports(path.read_text(), frozenset(files)) if not found.lazy and not found.typing}
        graph[name] = at_import & files.keys() - {name}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as cycle:
        pytest.fail("these modules import each other in a circle: " + " <- ".join(cycle.args[1]))


@pytest.mark.parametrize("folder", ["tests", "benchmarks", "notebooks"])
def test_nobody_imports_a_second_copy_of_models_or_recipes(folder: str) -> None:
    for path in sorted((ROOT / folder).rglob("*.py")):
        copies = [found.target for found in imports(path.read_text()) if (zone(found.target) or "").startswith("a second copy")]
        assert not copies, f"{path.relative_to(ROOT)} imports {copies}: write scalemix.models or scalemix.inference"


def declared() -> tuple[set[str], set[str]]:
    """Import names of the dependencies in pyproject.toml: those of the library with its extras, those of the tests, docs and notebooks."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

    def names(requirements: list[str]) -> set[str]:
        bare = {re.split(r"[\[<>=!~; ]", requirement)[0] for requirement in requirements}
        return {IMPORT_NAMES.get(name, name) for name in bare - {"scalemix"}}

    tests = [line for extra in ("test", "docs", "notebooks") for line in project["optional-dependencies"].pop(extra)]
    extras = [line for lines in project["optional-dependencies"].values() for line in lines]
    return names(project["dependencies"] + extras), names(tests)


def third_party(paths: list[Path]) -> set[str]:
    """Roots of the imports that are neither ours nor the standard library's."""
    ours = {"scalemix"} | {path.stem for path in (ROOT / "tests").glob("*.py")}
    return {found.target.split(".")[0] for path in paths for found in imports(path.read_text())} - set(sys.stdlib_module_names) - ours


def test_what_the_library_imports_is_declared_and_what_is_declared_is_imported() -> None:
    library, _ = declared()
    assert third_party(list(modules().values())) == library


def test_what_the_tests_import_is_declared() -> None:
    assert third_party(sorted([*(ROOT / "tests").rglob("*.py"), *(ROOT / "docs").rglob("*.py")])) <= set().union(*declared())


@pytest.mark.parametrize(
    ("statement", "absent"),
    [
        ("import scalemix", TORCH | JAX | {"arviz", "matplotlib", "sklearn", "typer", "rich"}),
        ("import scalemix.models, scalemix.inference", TORCH | JAX | {"arviz", "matplotlib"}),
        ("import scalemix.cli", TORCH | JAX | {"arviz", "matplotlib", "sklearn"}),
        ("import scalemix.pyro", JAX | {"arviz", "matplotlib", "pandas", "scalemix.comparison", "scalemix.numpyro"}),
        ("import scalemix.numpyro", TORCH | {"arviz", "matplotlib", "pandas", "scalemix.comparison", "scalemix.pyro"}),
    ],
)
def test_a_fresh_import_loads_only_what_it_needs(statement: str, absent: frozenset[str]) -> None:
    # The repository root as working directory, where a stray `import models` would succeed.
    code = f"{statement}\nimport json, sys\nprint(json.dumps(sorted(sys.modules)))"
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    loaded = set(json.loads(run.stdout))
    assert not loaded & (absent | {"models", "inference"})
