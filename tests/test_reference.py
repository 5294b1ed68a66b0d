"""The reference: every public name says what it is, with arguments, errors, equation and source, and the pages build without a warning."""

from __future__ import annotations

import ast
import dataclasses
import importlib
import importlib.util
import inspect
import re
import sys
import textwrap
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from scalemix import divergences, inference, noise, priors
from scalemix.language import PPL
from scalemix.models import __all__ as model_names

ROOT = Path(__file__).parents[1]
SCRIPT = ROOT / "docs" / "reference.py"
KITCHENS = ("scalemix.pyro", "scalemix.numpyro")

NOISES = {f"scalemix.noise.{name}" for name in noise.__all__ if name != "Noise"}
PRIORS = {f"scalemix.{name}" for name in priors.__all__ if name[0].isupper() and name != "VariationalPrior"}
MODELS = {f"scalemix.models.{name}" for name in model_names}
RECIPES = {f"scalemix.inference.{name}.fit" for name in inference.__all__}
LIKELIHOODS = {f"scalemix.likelihoods.{name}" for name in ("Bernoulli", "Categorical", "Gaussian", "Poisson", "StudentT")}
DENSITIES = {f"scalemix.{name}" for name in ("atom", "effect_cdf", "effect_quantile", "effect_sd", "inclusion_prob", "log_marginal")}
FORMULAS = {f"scalemix.{name}" for name in ("ExpectedActive", "elicit_active", "elicit_scale", "hierarchical_gap", "jensen_gap")} | {
    f"scalemix.{name}" for name in ("num_effective", "shrinkage_factor", "plot_noise_variances")
}
JUDGES = {f"scalemix.comparison.{name}" for name in ("Loo", "ReferenceRule", "energy_bfmi", "khat_threshold", "psis", "wasserstein")} | {
    f"scalemix.comparison.{name}" for name in ("guide_khat", "guide_loo", "crps", "pit", "sliced_wasserstein", "mmd", "functional_khat")
}
WITH_EQUATION = NOISES | PRIORS | MODELS | RECIPES | LIKELIHOODS | DENSITIES | FORMULAS | JUDGES
# A law that is its own definition (a likelihood by name, the law of |w|) is nobody's formula; neither is the scale of a quantile.
WITH_SOURCE = WITH_EQUATION - LIKELIHOODS - DENSITIES - {"scalemix.elicit_scale", "scalemix.comparison.wasserstein"}
WITH_SOURCE |= {f"scalemix.divergences.{name}" for name in divergences.__all__ if name not in ("bernoulli", "normal")}
EQUATION = re.compile(r"[=~∝≤]")
AS_IN = re.compile(r"(?P<what>[Aa]rguments(?:, shapes)?(?: and errors)?) as in [`:\w]*?`+(?P<name>[\w.]+)`+")
SOURCE = re.compile(r"[A-Z]\w+[^.]*\b(19|20)\d\d\b")  # a name, and in the same sentence a year


def reference() -> Any:
    """docs/reference.py as a module."""
    spec = importlib.util.spec_from_file_location("reference", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


MODULES: dict[str, ModuleType] = reference().public_modules()


def ours(value: Any) -> bool:
    return str(getattr(value, "__module__", "")).startswith("scalemix.")


def public_names() -> dict[str, Any]:
    """Dotted name to object, of what is ours: classes, functions, and the public methods and properties of the classes."""
    found: dict[str, Any] = {}
    for module_name, module in MODULES.items():
        for name in module.__all__:
            value = getattr(module, name)
            if not ours(value) or isinstance(value, ModuleType):
                continue
            if value in found.values():  # comparison.compare is scalemix.compare
                continue
            found[f"{module_name}.{name}"] = value
            if inspect.isclass(value):
                own = [base for base in value.__mro__ if base is value or (ours(base) and base.__name__.startswith("_"))]
                members = {member for base in own for member in vars(base) if not member.startswith("_")}
                members -= set(fields(value))
                found |= {f"{module_name}.{name}.{member}": inspect.getattr_static(value, member) for member in members}
    return {name: value for name, value in found.items() if callable(value) or isinstance(value, property | classmethod | staticmethod)}


def fields(cls: type) -> list[str]:
    """Attributes that a class annotates and an instance has: fields of a dataclass, attributes of a protocol."""
    if dataclasses.is_dataclass(cls):
        return [field.name for field in dataclasses.fields(cls)] + list(class_variables(cls))
    return [name for name in inspect.get_annotations(cls) if not name.startswith("_")]


def class_variables(cls: type) -> Iterator[str]:
    for base in cls.__mro__:
        yield from (name for name, kind in inspect.get_annotations(base).items() if "ClassVar" in str(kind))


def docstring(name: str, value: Any) -> str:
    """The docstring, of an overriding method the one it inherits; that of a dataclass is not the one ``dataclass`` makes up."""
    owner, _, member = name.rpartition(".")
    doc = inspect.getdoc(getattr(NAMES[owner], member) if owner in NAMES and not isinstance(value, property) else value) or ""
    if not doc and owner in NAMES:
        docs = (inspect.getdoc(vars(base)[member]) for base in NAMES[owner].__mro__ if member in vars(base))
        doc = next((each for each in docs if each), "")
    return "" if inspect.isclass(value) and value.__doc__ and value.__doc__.startswith(f"{value.__name__}(") else doc


NAMES = public_names()
EVERY = pytest.mark.parametrize("owner", sorted(name for name in NAMES if name.rpartition(".")[0] not in NAMES))


def told_by(owner: str) -> dict[str, Any]:
    """A public name and, of a class, its methods and properties."""
    return {name: value for name, value in NAMES.items() if name == owner or name.startswith(f"{owner}.")}


def unwrapped(value: Any) -> Any:
    """The function of a method, property or context manager."""
    value = value.fget if isinstance(value, property) else getattr(value, "__func__", value)
    return inspect.unwrap(value)


def arguments(value: Any) -> list[str]:
    """What a caller gives."""
    if isinstance(value, property) or (inspect.isclass(value) and getattr(value, "_is_protocol", False)):
        return []
    if inspect.isclass(value) and dataclasses.is_dataclass(value) and "__init__" not in vars(value):
        return [field.name for field in dataclasses.fields(value) if field.init]
    return [parameter for parameter in inspect.signature(unwrapped(value)).parameters if parameter not in ("self", "cls")]


def entries(doc: str) -> set[str]:
    """What stands at the head of the entries under Args and Attributes."""
    found: set[str] = set()
    for block in re.findall(r"^(?:Args|Attributes):\n((?:[ \t]+.+\n?|\n)+)", doc, flags=re.MULTILINE):
        for head in re.findall(r"^([\w*]+(?:, [\w*]+)*):", textwrap.dedent(block), flags=re.MULTILINE):
            found |= {each.lstrip("*") for each in head.split(", ")}
    return found


def told(doc: str) -> set[str]:
    """The arguments a docstring documents: the entries under Args, there or where it refers to ("arguments as ..."); else every word."""
    names = entries(doc)
    if other := referred(doc, "rguments"):
        names |= told(other)
    return names or words(doc)


def referred(doc: str, what: str) -> str:
    """The docstring to which this one refers for its arguments or its errors ("arguments and errors as in ..."), or nothing."""
    other = AS_IN.search(doc)
    if other is None or what not in other["what"]:
        return ""
    (target,) = (key for key in NAMES if key == other["name"] or key.endswith(f".{other['name']}"))
    return docstring(target, NAMES[target])


def words(text: str) -> set[str]:
    return set(re.findall(r"[A-Za-z_]\w*", text, flags=re.ASCII))


def own_source(value: Any) -> str:
    """Source of the body that runs: of a class, of its constructor and the checks after it (``dataclass`` and ``Protocol`` write none)."""
    if inspect.isclass(value):
        makers = [vars(base)[each] for base in value.__mro__ if ours(base) for each in ("__init__", "__post_init__") if each in vars(base)]
        written = [maker for maker in makers if ours(maker) and maker.__code__.co_filename != "<string>"]
        return "\n".join(textwrap.dedent(inspect.getsource(maker)) for maker in written)
    return textwrap.dedent(inspect.getsource(unwrapped(value)))


def raised(source: str, module: ModuleType, seen: frozenset[str] = frozenset()) -> set[str]:
    """Names of the exceptions that this source raises, itself or in a check or private helper of the same module that it calls."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(source or "pass")):
        match node:
            case ast.Raise(exc=ast.Call(func=ast.Name(id=name))):
                found.add(name)
            case ast.Call(func=ast.Name(id=name)) if name not in seen and name.startswith(("_", "check_")):
                helper = getattr(module, name, None)
                if inspect.isfunction(helper):
                    text = textwrap.dedent(inspect.getsource(helper))
                    found |= raised(text, sys.modules[helper.__module__], seen | {name})
    return found


@EVERY
def test_it_has_a_docstring(owner: str) -> None:
    for name, value in told_by(owner).items():
        assert docstring(name, value), f"{name} says nothing of itself: give it a docstring"


@EVERY
def test_its_arguments_are_documented(owner: str) -> None:
    for name, value in told_by(owner).items():
        missing = [argument for argument in arguments(value) if argument not in told(docstring(name, value))]
        assert not missing, f"{name} does not say what {', '.join(missing)} is: add an entry under Args"


@EVERY
def test_its_errors_are_documented(owner: str) -> None:
    for name, value in told_by(owner).items():
        doc, module = docstring(name, value), sys.modules[unwrapped(value).__module__]
        doc += referred(doc, "errors")
        missing = [each for each in sorted(raised(own_source(value), module)) if each not in doc and "Raises: as" not in doc]
        assert not missing, f"{name} raises {', '.join(missing)} and does not say so: add Raises"


@pytest.mark.parametrize("name", sorted(name for name, value in NAMES.items() if inspect.isclass(value)))
def test_its_attributes_are_documented(name: str) -> None:
    value = NAMES[name]
    known = words(" ".join(inspect.getdoc(base) or "" for base in value.__mro__ if ours(base)))
    missing = [field for field in fields(value) if field not in known]
    assert not missing, f"{name} does not say what {', '.join(missing)} is: add an entry under Attributes"


@pytest.mark.parametrize("name", sorted(WITH_EQUATION))
def test_it_states_its_equation(name: str) -> None:
    assert EQUATION.search(docstring(name, NAMES[name]).split("Args:")[0]), f"{name} states no equation"


@pytest.mark.parametrize("name", sorted(WITH_SOURCE))
def test_it_names_its_source(name: str) -> None:
    doc = docstring(name, NAMES[name]).replace("et al.", "et al")
    assert SOURCE.search(doc), f"{name} names no source: give authors, year and equation"


@pytest.mark.parametrize("kitchen", KITCHENS)
def test_what_a_language_passes_on_is_documented_at_the_protocol(kitchen: str) -> None:
    for name in MODULES[kitchen].__all__:
        value = getattr(MODULES[kitchen], name)
        if not ours(value) or isinstance(value, ModuleType):
            described = inspect.getdoc(getattr(PPL, name, None)) if name not in fields(PPL) else name in (PPL.__doc__ or "")
            assert described, f"{kitchen}.{name} has no contract: document it in scalemix.language.PPL"
        elif name not in fields(PPL):
            assert inspect.getdoc(value) == inspect.getdoc(getattr(PPL, name)), f"{kitchen}.{name} says something else than PPL.{name}"


@pytest.mark.parametrize(
    ("doc", "names"),
    [
        ("One.\n\nArgs:\n    a, b: two.\n    c: one,\n        not d: at all.\n\nRaises: ValueError.", {"a", "b", "c"}),
        ("w ~ N(0, scale²).", {"w", "N", "scale"}),
        ("Arguments as in :func:`num_effective`, num: one more.", told(docstring("", NAMES["scalemix.num_effective"]))),
    ],
)
def test_what_counts_as_documented(doc: str, names: set[str]) -> None:
    assert told(doc) == names


@pytest.mark.parametrize(
    ("doc", "documented"),
    [
        ("Arguments, shapes and errors as in ``divergences.spike_slab``.", True),
        ("Arguments as in ``divergences.spike_slab``.", False),
        ("Arguments and errors as in ``divergences.gaussian_uniform``, which raises none.", False),
    ],
)
def test_what_counts_as_an_error_documented_elsewhere(doc: str, documented: bool) -> None:
    assert ("ValueError" in referred(doc, "errors")) == documented


@pytest.mark.parametrize(
    ("source", "names"),
    [
        ("def f(x):\n    check_positive('x', x)", {"ValueError"}),
        ("def f(x):\n    raise TypeError('no')", {"TypeError"}),
        ("def f(x):\n    _check_form(x)", {"ValueError"}),
        ("def f(x):\n    return x", set()),
    ],
)
def test_what_counts_as_raised(source: str, names: set[str]) -> None:
    assert raised(source, importlib.import_module("scalemix.dense")) | raised(source, importlib.import_module("scalemix.checks")) == names


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The reference: module to HTML, built with every warning an error."""
    pytest.importorskip("pdoc")
    folder = tmp_path_factory.mktemp("reference")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        reference().build(folder)
    return {".".join(path.relative_to(folder).with_suffix("").parts): path.read_text() for path in folder.rglob("*.html")}


def test_the_pages_build_without_a_warning_and_show_every_name(pages: dict[str, str]) -> None:
    assert pages.keys() - {"index"} == MODULES.keys() >= {f"scalemix.inference.{name}" for name in inference.__all__}
    for name in NAMES:
        module, _, short = name.rpartition(".")
        if module in MODULES:
            assert f'id="{short}"' in pages[module], f"{name} is not on its page"


def test_the_pages_have_no_markup_left(pages: dict[str, str]) -> None:
    """Asterisks taken for italics, a role or a table the tool does not know, a section that was not one: they read badly."""
    for name, page in pages.items():
        text = re.sub(r"<(style|script|pre|code)\b.*?</\1>", "", page, flags=re.DOTALL)
        wrong = re.search(r"<em>|:\w+:`|={5,}|\|-{3,}|``|>(Args|Raises|Attributes):\s*\n", text)
        assert wrong is None, f"{name}: {text[wrong.start() - 80 : wrong.end() + 80]}"
