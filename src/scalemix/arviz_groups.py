"""Posterior to and from ArviZ's groups: xarray data sets built once, for ArviZ 0.x and 1.x, and the netCDF file on disk."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import xarray

from scalemix.files import replacing, writing
from scalemix.guides import Guide
from scalemix.merge import mapped_arrays
from scalemix.posterior import Info, Posterior

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["groups", "load", "save", "to_arviz"]

SCHEMA = "scalemix posterior 1"
GUIDE = "guide"  # the group of a guide's parameters


def groups(posterior: Posterior) -> dict[str, xarray.Dataset]:
    """The data sets of every group that has something in it."""
    stats = {"lp": posterior.log_joint, **posterior.sample_stats}
    if posterior.log_guide is not None:
        stats["log_guide"] = posterior.log_guide
    result = {
        "posterior": _dataset(posterior.draws, posterior),
        "sample_stats": _dataset(stats, posterior),
        "log_likelihood": _dataset(posterior.log_likelihood, posterior),
        "identified": _dataset(posterior.identified, posterior),
        "posterior_predictive": _dataset(posterior.predictive_draws, posterior),
        "prior": _dataset(posterior.prior_draws, posterior),
        "observed_data": _dataset(posterior.observed, posterior, lead=()),
        "constant_data": _dataset(posterior.constant, posterior, lead=()),
    }
    if posterior.losses is not None:
        result["sample_stats"]["loss"] = xarray.DataArray(posterior.losses, dims=["svi_step"])
    spec = {"schema": SCHEMA, "info": posterior.info.to_dict(), "latents": posterior.latents}
    result["posterior"].attrs = {
        "scalemix": json.dumps(spec),
        "inference_library": posterior.info.backend,
        "sampling_time": posterior.info.seconds_run,
    }
    return {name: dataset for name, dataset in result.items() if dataset.variables}


def to_arviz(posterior: Posterior) -> Any:
    """``arviz.InferenceData`` where ArviZ still has it, else the ``DataTree`` that ArviZ 1.x works on."""
    import arviz

    datasets = groups(posterior)
    if arviz.__version__.startswith("0."):  # 1.x warns whoever asks it for InferenceData
        return arviz.InferenceData(**cast(Any, datasets))
    return xarray.DataTree.from_dict(datasets)


def save(posterior: Posterior, path: Path) -> Path:
    """Write to a temporary name in the same folder, force it to the disk, rename."""
    datasets = groups(posterior)
    if posterior.params:
        params = {name: ([f"{name}_dim_{axis}" for axis in range(value.ndim)], value) for name, value in posterior.params.items()}
        guide = None if posterior.guide is None or posterior.guide.prior_sites else posterior.guide.to_json()
        datasets[GUIDE] = xarray.Dataset(params, attrs={} if guide is None else {"scalemix": guide})
    with writing("the posterior", path), replacing(path) as temporary:
        xarray.DataTree.from_dict(datasets).to_netcdf(temporary, engine="h5netcdf")
    return path


def load(path: Path, *, mapped: bool = False) -> Posterior:
    """Read the groups back; nothing in the file is ever run. ``mapped`` leaves long arrays on the disk until they are looked at."""
    if not path.is_file():
        raise ValueError(f"there is no file {path}: give the path of a netCDF file that Posterior.save wrote")
    try:
        on_disk = mapped_arrays(path) if mapped else {}
        with xarray.open_datatree(path, engine="h5netcdf") as tree:
            datasets = {name: node.to_dataset() for name, node in tree.children.items()}
            spec = json.loads(datasets["posterior"].attrs["scalemix"])
            if spec["schema"] != SCHEMA:
                raise ValueError(
                    f"{path} was written as {spec['schema']!r}, and this version reads {SCHEMA!r}: load it with the version that wrote it"
                )
            info, latents = Info(**spec["info"]), tuple(spec["latents"])
            arrays = {group: _values(group, dataset, on_disk) for group, dataset in datasets.items()}
            dims, coords = _dims_and_coords(datasets)
            params = arrays.get(GUIDE, {})
            text = datasets[GUIDE].attrs.get("scalemix") if GUIDE in datasets else None
            guide = None if text is None else Guide.from_json(text, params, said=path)
    except (OSError, KeyError, TypeError, json.JSONDecodeError) as error:
        raise ValueError(
            f"{path} is not a posterior that scalemix wrote, or is damaged ({error}): fit again or give another file"
        ) from error
    stats = arrays["sample_stats"]
    losses = stats.pop("loss", None)
    log_joint = stats.pop("lp")
    return Posterior(
        arrays["posterior"],
        latents,
        info,
        log_joint,
        arrays.get("log_likelihood", {}),
        log_guide=stats.pop("log_guide", None),
        sample_stats=stats,
        losses=losses,
        dims=dims,
        coords=coords,
        observed=arrays.get("observed_data", {}),
        constant=arrays.get("constant_data", {}),
        identified=arrays.get("identified", {}),
        prior_draws=arrays.get("prior", {}),
        predictive_draws=arrays.get("posterior_predictive", {}),
        params=params,
        guide=guide,
    )


def _values(group: str, dataset: xarray.Dataset, on_disk: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    names = [str(name) for name in dataset.data_vars]
    return {name: on_disk[f"{group}/{name}"] if f"{group}/{name}" in on_disk else dataset[name].values for name in names}


def _dataset(values: Mapping[str, np.ndarray], posterior: Posterior, *, lead: tuple[str, ...] = ("chain", "draw")) -> xarray.Dataset:
    variables = {}
    for name, value in values.items():
        names = posterior.dims.get(name, ())
        missing = value.ndim - len(lead) - len(names)
        extra = [f"{name}_dim_{axis}" for axis in range(missing)] if not names else []
        variables[name] = ((*lead, *extra, *names), value)
    used = {dim for dims, _ in variables.values() for dim in dims}
    coords: dict[str, Any] = {dim: labels for dim, labels in posterior.coords.items() if dim in used}
    if variables and lead:
        first = next(iter(values.values()))
        coords |= {"chain": np.arange(first.shape[0]), "draw": np.arange(first.shape[1])}
    return xarray.Dataset(variables, coords=coords)


def _dims_and_coords(datasets: dict[str, xarray.Dataset]) -> tuple[dict[str, tuple[str, ...]], dict[str, list]]:
    dims: dict[str, tuple[str, ...]] = {}
    coords: dict[str, list] = {}
    for group in ("posterior", "log_likelihood", "observed_data", "constant_data"):
        for name, variable in datasets.get(group, xarray.Dataset()).data_vars.items():
            dims[str(name)] = tuple(str(dim) for dim in variable.dims if dim not in ("chain", "draw"))
            coords |= {str(dim): variable.coords[dim].values.tolist() for dim in variable.dims if dim in variable.coords}
    return dims, {dim: labels for dim, labels in coords.items() if dim not in ("chain", "draw")}
