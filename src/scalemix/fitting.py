"""What every recipe does before and after its own step: look at the model, refuse what cannot be fitted, build the Posterior."""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from scalemix.cases import leaves, plain_data
from scalemix.checks import check_positive, check_positive_int
from scalemix.identified import fixed_rows, identified_of, identified_sites
from scalemix.language import PPL, NutsRun, Structure, SviRun
from scalemix.minibatch import minibatch_of
from scalemix.posterior import CHUNK, Info, Posterior

__all__ = ["PrecisionSettings", "build_posterior", "check_seed", "identified_quantities", "in_force", "inspect", "place", "skeleton"]

CASE = "case"
MOST_GATES = 12  # 4096 settings: what an enumeration sums over at each step
# On a GPU a gradient is some hundred kernels of about 5 µs each, however small, in which one CPU core does about 10⁷ multiply-adds.
GPU_WORK = 1e7


@dataclass(frozen=True, kw_only=True)
class PrecisionSettings:
    """Where and in which precision to compute; held only during the fit.

    Args:
        dtype: "float64" (what small models under MCMC want) or "float32".
        device: "cpu", "gpu", or "auto": the GPU if there is one and the model is large enough for it (``place``).
        progress: show a progress bar.
    """

    dtype: str = "float64"
    device: str = "cpu"
    progress: bool = True

    def __post_init__(self) -> None:
        if self.dtype not in ("float32", "float64"):
            raise ValueError(f"Settings(dtype={self.dtype!r}): give 'float32' or 'float64'")
        if self.device not in ("cpu", "gpu", "auto"):
            raise ValueError(f"Settings(device={self.device!r}): give 'cpu', 'gpu' or 'auto'")
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if value is None and field.default is None:
                continue
            if field.name.startswith("num_") or field.name == "max_tree_depth":
                check_positive_int(f"Settings({field.name}=)", value)
            elif isinstance(field.default, float):
                check_positive(f"Settings({field.name}=)", value)


S = TypeVar("S", bound=PrecisionSettings)


def check_seed(seed: Any) -> None:
    """Raise ValueError unless ``seed`` is a whole number that is 0 or more."""
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or seed < 0:
        raise ValueError(f"seed is {seed!r}: give a whole number that is 0 or more; the same seed gives the same draws")


def place(ppl: PPL, model: Callable[..., Any], data: tuple, settings: S, *, seed: int) -> tuple[S, str]:
    """The settings with "auto" decided, and why: a gradient costs about (values of the outcome) × (latent numbers) multiply-adds.

    Raises: ValueError if a GPU is asked for and there is none.
    """
    if settings.device == "cpu":
        return settings, "on the CPU, as asked for"
    if not ppl.engine.has_gpu():
        if settings.device == "auto":
            return dataclasses.replace(settings, device="cpu"), f"on the CPU: {ppl.name} finds no GPU"
        package = {"numpyro": "jax[cuda12]", "pyro": "a CUDA build of torch"}[ppl.name]
        raise ValueError(f"device='gpu': {ppl.name} finds no GPU here: install {package} on a machine that has one, or give device='cpu'")
    if settings.device == "gpu":
        return settings, "on the GPU, as asked for"
    with ppl.engine.precision(settings.dtype, "cpu"):
        structure = ppl.engine.structure(model, plain_data(data), seed=seed)
    latents = sum(math.prod(shape) for shape in structure.latents.values())
    work = sum(math.prod(shape) for shape in structure.observed.values()) * latents
    device = "gpu" if work >= GPU_WORK else "cpu"
    reason = f"about {work:.1g} multiply-adds to a gradient, {'at least' if device == 'gpu' else 'fewer than'} {GPU_WORK:.0e}"
    return dataclasses.replace(settings, device=device), f"on the {device.upper()}: {reason}"


@contextmanager
def in_force(ppl: PPL, settings: PrecisionSettings, num_data: int | None) -> Iterator[None]:
    """Inside: the precision and the device of the settings, and minibatches scaled to ``num_data``."""
    with minibatch_of(num_data), ppl.engine.precision(settings.dtype, settings.device):
        yield


def inspect(ppl: PPL, model: Callable[..., Any], data: tuple, *, seed: int, method: str, gates: bool = False) -> tuple[tuple, Structure]:
    """Data as plain arrays, and the model's sites; refuses what ``method`` cannot fit, before the first step.

    ``gates``: the method moves in discrete sites, or sums over them; one that follows gradients alone does not.
    """
    check_seed(seed)
    arrays = plain_data(data)
    for value in leaves(arrays):
        if not np.issubdtype(value.dtype, np.number) and value.dtype != bool:
            raise ValueError(f"the data hold {value.dtype} values: give numbers (encode categories as columns of 0 and 1)")
        if not np.all(np.isfinite(value)):
            raise ValueError("the data hold NaN or infinite values: drop or impute those rows before fitting")
    structure = ppl.engine.structure(model, arrays, seed=seed)
    if not structure.observed:
        raise ValueError("the model observes nothing: pass the outcome as the last of the data, e.g. fit(ppl, model, x, y, ...)")
    if structure.discrete and not gates:
        site = structure.discrete[0]
        prior = f" ({structure.sites[site].prior})" if site in structure.sites else ""
        raise ValueError(
            f"{method} cannot move in the discrete site {site!r}{prior}: use scalemix.inference.gibbs, or for up to {MOST_GATES} gates "
            "scalemix.inference.enumeration, or give the gate a continuous spike, e.g. noise.Bernoulli(low=0.05), which is summed out"
        )
    return arrays, structure


def build_posterior(
    ppl: PPL,
    model: Callable[..., Any],
    data: tuple,
    arrays: tuple,
    structure: Structure,
    run: NutsRun | SviRun,
    *,
    method: str,
    seed: int,
    settings: PrecisionSettings,
) -> Posterior:
    """Evaluate the model at the draws and put everything where ArviZ and the comparison look for it."""
    draws = run.draws if isinstance(run, NutsRun) else {name: value[None] for name, value in run.draws.items()}
    draws = {name: draws[name] for name in structure.latents}
    shape = next(iter(draws.values())).shape[:2]
    flat = {name: value.reshape(-1, *value.shape[2:]) for name, value in draws.items()}
    evaluation = ppl.engine.evaluate(model, arrays, flat, chunk=_chunk(structure, shape[0] * shape[1]))
    chained = {name: value.reshape(*shape, *value.shape[1:]) for name, value in evaluation.deterministics.items()}
    result = skeleton(ppl, model, data, arrays, structure, method=method, seed=seed, settings=settings)
    result.draws = draws | chained
    result.log_joint = evaluation.log_joint.reshape(shape)
    result.log_likelihood = {name: value.reshape(*shape, *value.shape[1:]) for name, value in evaluation.log_likelihood.items()}
    result.identified = identified_quantities(ppl, model, arrays, structure, result.draws, result.log_likelihood, seed=seed)
    result.info.seconds_compile, result.info.seconds_run = run.seconds_compile, run.seconds_run
    if isinstance(run, NutsRun):
        result.info.chain_method, result.sample_stats = run.chain_method, run.stats
    else:
        result.info.settings["guide"] = method
        result.log_guide, result.losses = run.log_guide[None], run.losses
    return result


def _chunk(structure: Structure, num_draws: int) -> int:
    """Draws at a time: as many as keep (values of the outcome) × (the widest axis of a site) numbers per draw within about 2 GB."""
    observed = sum(math.prod(shape) for shape in structure.observed.values())
    widest = max((size for shape in structure.latents.values() for size in shape), default=1)
    return int(min(CHUNK, num_draws, max(1, 2e8 // (observed * widest))))


def skeleton(
    ppl: PPL,
    model: Callable[..., Any],
    data: tuple,
    arrays: tuple,
    structure: Structure,
    *,
    method: str,
    seed: int,
    settings: PrecisionSettings,
) -> Posterior:
    """All of a posterior that is known before the first draw: what is fitted and how, names of dimensions, and the data."""
    dims, coords = _names(structure, data)
    info = Info(ppl.name, method, _prior_text(structure), _form_text(structure), int(seed), dataclasses.asdict(settings))
    observed, constant = _observed_and_constant(arrays, structure)
    return Posterior(
        {},
        tuple(structure.latents),
        info,
        np.empty((0, 0)),
        {},
        dims=dims,
        coords=coords,
        observed=observed,
        constant=constant,
        model=model,
        data=arrays,
    )


def identified_quantities(
    ppl: PPL,
    model: Callable[..., Any],
    arrays: tuple,
    structure: Structure,
    draws: dict[str, np.ndarray],
    log_likelihood: dict[str, np.ndarray],
    *,
    seed: int,
) -> dict[str, np.ndarray]:
    """The identified quantities of a model that says what they are (``scalemix.identified``): those, function values, log likelihood."""
    by = identified_of(model)
    if by is None:
        return {}
    per_example = any(site.axes[:1] == (CASE,) for site in structure.sites.values())  # noises belong to the rows they were fitted to
    inputs = arrays[:-1] if per_example else fixed_rows(arrays[:-1])
    shape = next(iter(draws.values())).shape[:2]
    flat = {name: draws[name].reshape(-1, *draws[name].shape[2:]) for name in structure.latents}
    found: dict[str, np.ndarray] = {}
    for name in structure.observed:
        if inputs:  # without any, a model is a law and no function
            mean = ppl.engine.mean(model, inputs, flat, site=name, seed=seed, chunk=min(CHUNK, shape[0] * shape[1]))
            found[f"{name}_mean"] = mean.reshape(*shape, *mean.shape[1:])
        found[f"{name}_log_likelihood"] = log_likelihood[name].reshape(*shape, -1).sum(axis=2)
    return found | identified_sites(by, draws, structure.sites)


def _names(structure: Structure, data: tuple) -> tuple[dict[str, tuple[str, ...]], dict[str, list]]:
    """Dims of each site from its axis names, bare where one weight alone has that axis, else with the weight's name before it."""
    weights = {name: site for name, site in structure.sites.items() if site.role == "weight"}
    users = Counter(axis for site in weights.values() for axis in site.axes)
    dims = {
        name: tuple(axis if users[axis] == 1 else f"{site.weight}_{axis}" for axis in site.axes) for name, site in structure.sites.items()
    }
    dims |= {name: (CASE,) for name, shape in structure.observed.items() if len(shape) == 1}
    coords: dict[str, list] = {}
    frame = next((each for each in data if hasattr(each, "columns")), None)
    if frame is not None:
        labels = [str(column) for column in frame.columns]
        shapes = structure.latents | structure.deterministics
        for name, site in weights.items():
            for axis, size in zip(site.axes, shapes[name], strict=True):
                if axis == "in" and size == len(labels):
                    coords[dims[name][site.axes.index(axis)]] = labels
                    return dims | {"x0": (CASE, dims[name][site.axes.index(axis)])}, coords
    return dims, coords


def _observed_and_constant(arrays: tuple, structure: Structure) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """The last of the data is the outcome (of the model's one observed site); the others are constants x0, x1, …"""
    site = next(iter(structure.observed))
    outcome = {site: arrays[-1]} if isinstance(arrays[-1], np.ndarray) else {}
    constants: dict[str, np.ndarray] = {}
    for index, each in enumerate(arrays[:-1]):
        named = each.items() if isinstance(each, dict) else [(f"x{index}", each)]
        constants |= {name: value for name, value in named if isinstance(value, np.ndarray)}
    return outcome, constants


def _prior_text(structure: Structure) -> str:
    priors = {site.weight: str(site.prior) for site in structure.sites.values() if site.role == "weight" and site.form != "single"}
    priors = priors or {site.weight: str(site.prior) for site in structure.sites.values() if site.role == "weight" and site.axes}
    distinct = list(dict.fromkeys(priors.values()))
    return distinct[0] if len(distinct) == 1 else "; ".join(f"{weight}: {prior}" for weight, prior in priors.items())


def _form_text(structure: Structure) -> str:
    formed = {site.form for site in structure.sites.values() if site.role == "weight"} - {"single"}
    return " and ".join(sorted(formed)) or "single"
