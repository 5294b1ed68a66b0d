"""What every recipe does before and after its own step: look at the model, refuse what cannot be fitted, build the Posterior."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from scalemix.checks import check_positive, check_positive_int
from scalemix.identified import fixed_rows, identified_of, identified_sites
from scalemix.language import PPL, NutsRun, Structure, SviRun
from scalemix.posterior import CHUNK, Info, Posterior, plain_data

__all__ = ["PrecisionSettings", "build_posterior", "check_seed", "inspect"]

CASE = "case"


@dataclass(frozen=True, kw_only=True)
class PrecisionSettings:
    """Where and in which precision to compute; held only during the fit.

    Args:
        dtype: "float64" (what small models under MCMC want) or "float32".
        device: "cpu" or "gpu".
        progress: show a progress bar.
    """

    dtype: str = "float64"
    device: str = "cpu"
    progress: bool = True

    def __post_init__(self) -> None:
        if self.dtype not in ("float32", "float64"):
            raise ValueError(f"Settings(dtype={self.dtype!r}): give 'float32' or 'float64'")
        if self.device not in ("cpu", "gpu"):
            raise ValueError(f"Settings(device={self.device!r}): give 'cpu' or 'gpu'")
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if field.name.startswith("num_") or field.name == "max_tree_depth":
                check_positive_int(f"Settings({field.name}=)", value)
            elif isinstance(field.default, float):
                check_positive(f"Settings({field.name}=)", value)


def check_seed(seed: Any) -> None:
    """Raise ValueError unless ``seed`` is a whole number that is 0 or more."""
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or seed < 0:
        raise ValueError(f"seed is {seed!r}: give a whole number that is 0 or more; the same seed gives the same draws")


def inspect(ppl: PPL, model: Callable[..., Any], data: tuple, *, seed: int, method: str) -> tuple[tuple, Structure]:
    """Data as plain arrays, and the model's sites; refuses what a gradient-based ``method`` cannot fit, before the first step."""
    check_seed(seed)
    arrays = plain_data(data)
    for value in _leaves(arrays):
        if not np.issubdtype(value.dtype, np.number) and value.dtype != bool:
            raise ValueError(f"the data hold {value.dtype} values: give numbers (encode categories as columns of 0 and 1)")
        if not np.all(np.isfinite(value)):
            raise ValueError("the data hold NaN or infinite values: drop or impute those rows before fitting")
    structure = ppl.engine.structure(model, arrays, seed=seed)
    if not structure.observed:
        raise ValueError("the model observes nothing: pass the outcome as the last of the data, e.g. fit(ppl, model, x, y, ...)")
    if structure.discrete:
        site = structure.discrete[0]
        prior = f" ({structure.sites[site].prior})" if site in structure.sites else ""
        raise ValueError(
            f"{method} cannot move in the discrete site {site!r}{prior}: give the gate a continuous spike, e.g. noise.Bernoulli(low=0.05), "
            "which is summed out"
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
    evaluation = ppl.engine.evaluate(model, arrays, flat, chunk=min(CHUNK, shape[0] * shape[1]))
    chained = {name: value.reshape(*shape, *value.shape[1:]) for name, value in evaluation.deterministics.items()}
    dims, coords = _names(structure, data)
    info = Info(
        backend=ppl.name,
        method=method,
        prior=_prior_text(structure),
        parametrization=_form_text(structure),
        seed=int(seed),
        settings=dataclasses.asdict(settings) | {"guide": method} if isinstance(run, SviRun) else dataclasses.asdict(settings),
        chain_method=run.chain_method if isinstance(run, NutsRun) else "",
        seconds_compile=run.seconds_compile,
        seconds_run=run.seconds_run,
    )
    observed, constant = _observed_and_constant(arrays, structure)
    log_likelihood = {name: value.reshape(*shape, *value.shape[1:]) for name, value in evaluation.log_likelihood.items()}
    return Posterior(
        draws | chained,
        tuple(draws),
        info,
        evaluation.log_joint.reshape(shape),
        log_likelihood,
        sample_stats=run.stats if isinstance(run, NutsRun) else {},
        log_guide=run.log_guide[None] if isinstance(run, SviRun) else None,
        losses=run.losses if isinstance(run, SviRun) else None,
        dims=dims,
        coords=coords,
        observed=observed,
        constant=constant,
        identified=_identified(ppl, model, arrays, structure, flat, draws | chained, log_likelihood, seed=seed),
        model=model,
        data=arrays,
    )


def _identified(
    ppl: PPL,
    model: Callable[..., Any],
    arrays: tuple,
    structure: Structure,
    flat: dict[str, np.ndarray],
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
    found: dict[str, np.ndarray] = {}
    for name in structure.observed:
        mean = ppl.engine.predict(model, inputs, flat, site=name, seed=seed, chunk=min(CHUNK, shape[0] * shape[1])).mean
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


def _leaves(data: Any) -> list[np.ndarray]:
    if isinstance(data, tuple):
        return [leaf for each in data for leaf in _leaves(each)]
    if isinstance(data, dict):
        return [leaf for each in data.values() for leaf in _leaves(each)]
    return [] if data is None else [data]
