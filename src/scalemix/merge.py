"""Blocks of draws into one netCDF file in the memory of one block, and such a file's arrays without reading them.

The draws are stored contiguously, so that an array of the file can be mapped into memory: pages are read when they are looked at.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any

import h5netcdf
import h5py
import numpy as np
import xarray

from scalemix.posterior import Posterior

__all__ = ["Block", "filled", "gathered", "mapped_arrays", "write_blocks"]

DRAW_GROUPS = ("posterior", "sample_stats", "log_likelihood", "identified")


@dataclass
class Block:
    """Some draws of some chains: arrays (chain, draw, *event) by name in groups ("posterior", "sample_stats" with the log joint "lp",
    "log_likelihood", "identified")."""

    chains: tuple[int, int]
    draws: tuple[int, int]
    groups: dict[str, dict[str, np.ndarray]]


def filled(skeleton: Posterior, groups: Mapping[str, Mapping[str, np.ndarray]]) -> Posterior:
    """The posterior that has these draws."""
    stats = dict(groups["sample_stats"])
    return replace(
        skeleton,
        draws=dict(groups["posterior"]),
        log_joint=stats.pop("lp"),
        sample_stats=stats,
        log_likelihood=dict(groups["log_likelihood"]),
        identified=dict(groups.get("identified", {})),
    )


def gathered(blocks: Iterable[Block], num_chains: int, num_draws: int) -> dict[str, dict[str, np.ndarray]]:
    """The blocks as whole arrays in memory; what no block covers is left out of the shape by the caller."""
    groups: dict[str, dict[str, np.ndarray]] = {name: {} for name in DRAW_GROUPS}
    for block in blocks:
        for group, values in block.groups.items():
            for name, value in values.items():
                if name not in groups[group]:
                    groups[group][name] = np.empty((num_chains, num_draws, *value.shape[2:]), value.dtype)
                groups[group][name][slice(*block.chains), slice(*block.draws)] = value
    return groups


def write_blocks(path: Path, skeleton: Posterior, blocks: Iterable[Block], num_chains: int, num_draws: int) -> None:
    """What ``Posterior.save`` would write of the blocks together, block by block."""
    from scalemix.arviz_groups import groups

    iterator = iter(blocks)
    first = next(iterator)
    lead = (num_chains, num_draws)
    empty = {
        group: {name: np.broadcast_to(np.zeros((), value.dtype), (*lead, *value.shape[2:])) for name, value in arrays.items()}
        for group, arrays in first.groups.items()
    }
    datasets = groups(filled(skeleton, empty))
    small = {name: dataset.drop_vars(list(empty.get(name, {}))) for name, dataset in datasets.items()}
    xarray.DataTree.from_dict(small).to_netcdf(path, engine="h5netcdf")
    with h5netcdf.File(path, "a") as file:
        for group, arrays in empty.items():
            if arrays:
                _declare(file[group], datasets[group], arrays)
        for block in chain([first], iterator):
            for group, values in block.groups.items():
                for name, value in values.items():
                    file[group].variables[name][slice(*block.chains), slice(*block.draws)] = _stored(value)


def mapped_arrays(path: Path) -> dict[str, np.ndarray]:
    """Of each array that is stored in one stretch, by "group/name": a read-only array over the file's own bytes."""
    found: dict[str, np.ndarray] = {}
    with h5py.File(path) as file:
        for group in DRAW_GROUPS:
            members: Any = file.get(group, {})
            for name, dataset in members.items():
                offset = dataset.id.get_offset() if isinstance(dataset, h5py.Dataset) and dataset.ndim > 1 else None
                if offset is not None:
                    memory = np.memmap(path, mode="r", dtype=dataset.dtype, offset=offset, shape=dataset.shape)
                    found[f"{group}/{name}"] = np.asarray(memory.view(bool) if dataset.attrs.get("dtype") == "bool" else memory)
    return found


def _declare(group: Any, dataset: xarray.Dataset, arrays: Mapping[str, np.ndarray]) -> None:
    for name, value in arrays.items():
        dims = [str(dim) for dim in dataset[name].dims]
        for dim, size in zip(dims, value.shape, strict=True):
            if dim not in group.dimensions:
                group.dimensions[dim] = size
        variable = group.create_variable(name, dims, _stored(value[:0]).dtype)
        if value.dtype == bool:
            variable.attrs["dtype"] = "bool"  # netCDF has no truth values; this is how xarray writes and reads them


def _stored(value: np.ndarray) -> np.ndarray:
    return value.astype("i1") if value.dtype == bool else value
