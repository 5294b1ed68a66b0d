"""What is shipped is what is in the tree, and what was promised: the wheel's files, the public names, one surface for both languages."""

from __future__ import annotations

import importlib
import inspect
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
SOURCES = {"scalemix": ROOT / "src" / "scalemix", "scalemix/models": ROOT / "models", "scalemix/inference": ROOT / "inference"}
CACHES = shutil.ignore_patterns("__pycache__", "*.egg-info", ".ipynb_checkpoints")

# Dotted name of an object, and the names it promises.
PROMISED = {
    "scalemix": "noise ScaleMixture Normal Laplace StudentT SpikeAndSlab Horseshoe log_marginal atom native compare divergences Posterior",
    "scalemix.noise": "Constant Bernoulli Gaussian Rayleigh InverseNakagami HalfCauchy",
    "scalemix.noise.Bernoulli": "from_dropout_rate law per",
    "scalemix.noise.Rayleigh": "law per",
    "scalemix.Posterior": "predict to_arviz save load pointwise_log_likelihood",
    "scalemix.models": "linear mlp",
    "scalemix.divergences": "log_uniform gaussian_uniform spike_slab inclusion",
    "scalemix.inference": "nuts svi mean_field low_rank full_rank",
    "scalemix.inference.nuts": "fit Settings",
    "scalemix.inference.svi": "fit Settings",
    "scalemix.inference.mean_field": "fit Settings",
    "scalemix.cli": "main",
} | dict.fromkeys(
    ("scalemix.pyro", "scalemix.numpyro"),
    "weight distribution log_density sample plate data_plate param deterministic factor dist linear relu tanh",
)

# Parameters that are promised by name and kind: before "*" positional, after it keyword-only; "*x" takes any number; "x=" has a default.
SIGNATURES = {
    "scalemix.noise.Bernoulli": "inclusion_prob= low= high=",
    "scalemix.noise.Gaussian": "loc= scale=",
    "scalemix.noise.Rayleigh": "scale=",
    "scalemix.noise.InverseNakagami": "df= scale=",
    "scalemix.noise.HalfCauchy": "scale=",
    "scalemix.ScaleMixture": "*factors base_scale= slab=",
    "scalemix.Horseshoe": "tau0= expected_active= num_data= slab_scale= slab_df=",
    "scalemix.log_marginal": "prior w",
    "scalemix.atom": "prior",
    "scalemix.compare": "* reference= data=",
    "scalemix.Posterior.predict": "self *inputs seed noise=",
    "scalemix.Posterior.save": "self path",
    "scalemix.Posterior.load": "path model=",
    "scalemix.divergences.log_uniform": "log_alpha method=",
    "scalemix.divergences.gaussian_uniform": "log_alpha",
    "scalemix.divergences.spike_slab": "mean scale inclusion_prob * prior_inclusion slab_scale spike_scale",
    "scalemix.divergences.inclusion": "mean scale * prior_inclusion slab_scale spike_scale",
    "scalemix.models.linear": "ppl x y= * prior parametrization=",
    "scalemix.models.logistic": "ppl x y= * prior parametrization=",
    "scalemix.models.mlp": "ppl x y= * prior widths num_outputs= likelihood= noise_on= noise_plate=",
    "scalemix.models.resnet": "ppl x y= * prior width= num_blocks= position= scale_bias= noise_on= noise_plate=",
    "scalemix.models.lenet": "ppl x y= * prior filters= kernel= widths= num_outputs= pooling= noise_on= noise_plate= flatten=",
    "scalemix.models.lstm": "ppl x y= * prior width= recurrent_prior= noise_plate=",
    "scalemix.inference.nuts.fit": "ppl model *data seed settings= num_data=",
    "scalemix.inference.svi.fit": "ppl model *data guide seed settings= num_data=",
    "scalemix.inference.mean_field.fit": "ppl model *data seed settings= num_data=",
    "scalemix.inference.low_rank.fit": "ppl model *data seed settings= num_data=",
    "scalemix.inference.full_rank.fit": "ppl model *data seed settings= num_data=",
    "scalemix.numpyro.weight": "name shape prior * axes= parametrization= scale= like=",
    "scalemix.numpyro.distribution": "prior shape * axes=",
    "scalemix.numpyro.log_density": "model values *args **kwargs",
    "scalemix.numpyro.linear": "h w b=",
    "scalemix.numpyro.dense": "name h num_outputs prior * parametrization= scale= noise_on= noise_plate=",
    "scalemix.numpyro.conv2d": "x w b= * stride= padding=",
    "scalemix.numpyro.pool2d": "x size= * how=",
    "scalemix.numpyro.convolution": "name x num_outputs prior * kernel stride= padding= scale= noise_on= noise_plate=",
    "scalemix.numpyro.scan": "step init xs",
}


def find(dotted: str) -> Any:
    """The object of a dotted name: the longest part of it that is a module is imported, the rest are attributes."""
    head, *tail = dotted.split(".")
    found: Any = importlib.import_module(head)
    for name in tail:
        head = f"{head}.{name}"
        if not hasattr(found, name) and isinstance(found, ModuleType):
            importlib.import_module(head)
        found = getattr(found, name)
    return found


@pytest.mark.parametrize("owner", sorted(PROMISED))
def test_promised_names_exist(owner: str) -> None:
    missing = [name for name in PROMISED[owner].split() if not hasattr(find(owner), name)]
    assert not missing, f"{owner} promises {', '.join(missing)}"


@pytest.mark.parametrize("dotted", sorted(SIGNATURES))
def test_promised_parameters_exist(dotted: str) -> None:
    given = inspect.signature(find(dotted)).parameters
    keyword_only = False
    for word in SIGNATURES[dotted].split():
        if word == "*":
            keyword_only = True
            continue
        name = word.strip("*=")
        assert name in given, f"{dotted} promises a parameter {name}; it has {', '.join(given)}"
        kind = given[name].kind
        if word.startswith("**"):
            assert kind is inspect.Parameter.VAR_KEYWORD, f"{dotted}: {word}"
        elif word.startswith("*"):
            assert kind is inspect.Parameter.VAR_POSITIONAL, f"{dotted}: {word}"
            keyword_only = True
        elif keyword_only:
            assert kind is inspect.Parameter.KEYWORD_ONLY, f"{dotted}: {name} is an option, so keyword-only"
        else:
            assert kind in (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY), f"{dotted}: {name}"
        if word.endswith("="):
            assert given[name].default is not inspect.Parameter.empty, f"{dotted}: {name} has no default"


def test_every_module_keeps_what_its_all_says() -> None:
    for name in ("scalemix", "scalemix.pyro", "scalemix.numpyro", "scalemix.models", "scalemix.inference", "scalemix.divergences"):
        module = importlib.import_module(name)
        missing = [public for public in module.__all__ if not hasattr(module, public)]
        assert not missing, f"{name}.__all__ names {', '.join(missing)}"


def test_both_languages_have_the_same_public_names() -> None:
    assert sorted(find("scalemix.pyro").__all__) == sorted(find("scalemix.numpyro").__all__)


def test_both_languages_have_the_same_signatures() -> None:
    """Names, kinds and defaults agree for whatever scalemix itself defines; what a language brings is its own (``sample``, ``relu``)."""

    def shape(function: Any) -> list[tuple[str, Any, Any]]:
        return [(p.name, p.kind, p.default) for p in inspect.signature(function).parameters.values()]

    ours, theirs = find("scalemix.pyro"), find("scalemix.numpyro")
    compared = 0
    for name in sorted(set(ours.__all__) & set(theirs.__all__)):
        pair = [getattr(kitchen, name) for kitchen in (ours, theirs)]
        if not any(callable(one) and str(getattr(one, "__module__", "")).startswith("scalemix.") for one in pair):
            continue
        compared += 1
        assert shape(pair[0]) == shape(pair[1]), f"{name}: {inspect.signature(pair[0])} in Pyro, {inspect.signature(pair[1])} in NumPyro"
    assert compared >= 5  # weight, distribution, log_density, data_plate, linear


def test_the_version_stands_once() -> None:
    assert find("scalemix").__version__ == PROJECT["version"]
    assert re.search(rf"^## .*{re.escape(PROJECT['version'])}", (ROOT / "CHANGELOG.md").read_text(), flags=re.MULTILINE)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel that is built from the source distribution of a copy of the tree (a copy: setuptools keeps old files in build/)."""
    tree = tmp_path_factory.mktemp("tree")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tree / name)
    for folder in ("src", "models", "inference"):
        shutil.copytree(ROOT / folder, tree / folder, ignore=CACHES)
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", "dist"]  # no isolation: no network
    run = subprocess.run(command, cwd=tree, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout[-3000:] + run.stderr[-3000:]
    (built,) = (tree / "dist").glob("*.whl")
    return built


def test_the_wheel_has_the_files_of_the_tree(wheel: Path) -> None:
    in_tree = {
        f"{package}/{path.relative_to(folder).as_posix()}"
        for package, folder in SOURCES.items()
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    in_wheel = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert "scalemix/py.typed" in in_wheel
    assert in_wheel == in_tree, f"only in the wheel: {sorted(in_wheel - in_tree)}; only in the tree: {sorted(in_tree - in_wheel)}"


def test_the_wheel_names_its_license_its_command_and_its_extras(wheel: Path) -> None:
    info = f"scalemix-{PROJECT['version']}.dist-info"
    with zipfile.ZipFile(wheel) as archive:
        metadata = archive.read(f"{info}/METADATA").decode()
        assert "scalemix = scalemix.cli:main" in archive.read(f"{info}/entry_points.txt").decode()
        assert "Apache License" in archive.read(f"{info}/licenses/LICENSE").decode()
    assert "License-Expression: Apache-2.0" in metadata
    assert set(re.findall(r"^Provides-Extra: (.*)$", metadata, flags=re.MULTILINE)) == set(PROJECT["optional-dependencies"])


def test_constraints_pin_every_dependency_exactly() -> None:
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if line and not line.startswith("#")]
    assert all(re.fullmatch(r"[\w.-]+==[\w.]+", line) for line in lines), "exact versions without a local part such as +cpu"
    pinned = {line.split("==")[0].lower().replace("_", "-") for line in lines}
    wanted = [*PROJECT["dependencies"], *(line for extra in PROJECT["optional-dependencies"].values() for line in extra)]
    assert {re.split(r"[\[<>=!~; ]", line)[0] for line in wanted} - {"scalemix"} <= pinned
