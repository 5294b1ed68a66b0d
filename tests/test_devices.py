"""No tensor is born on the wrong device: every model of the registry runs in Pyro on torch's ``meta`` device, which refuses all others.

A tensor on "meta" has a shape and no numbers, so this needs no GPU; torch mixes it with no tensor of another device but a scalar one.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pyro
import pytest
import torch
from pyro import poutine
from registry import Case, cases

import scalemix.pyro as in_pyro

CASES = list(cases())
NO_META_SAMPLER = "learned_inclusion", "learned_shared_gate"  # torch draws a Beta on real devices alone


def on_meta(data: Any) -> Any:
    if isinstance(data, dict):
        return {name: on_meta(value) for name, value in data.items()}
    floating = np.issubdtype(np.asarray(data).dtype, np.floating)
    return torch.empty(np.shape(data), dtype=torch.float32 if floating else torch.long, device="meta")


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_a_model_runs_where_its_data_are(case: Case) -> None:
    data = case.row.data()
    structure = in_pyro.engine.structure(case.model, data, seed=0)
    values = {name: torch.empty(shape, device="meta") for name, shape in structure.latents.items()}
    with torch.device("meta"), pyro.validation_enabled(False):
        assert in_pyro.log_density(case.model, values, *map(on_meta, data)).device.type == "meta"
        if case.prior_name not in NO_META_SAMPLER:
            trace = poutine.trace(case.model).get_trace(in_pyro, *map(on_meta, data))
            born = {name: site["value"].device.type for name, site in trace.nodes.items() if torch.is_tensor(site.get("value"))}
            assert set(born.values()) == {"meta"}, born


def test_a_tensor_of_another_device_would_be_refused() -> None:
    with torch.device("meta"), pytest.raises(RuntimeError, match="device"):
        torch.ones(3) + torch.ones(3, device="cpu")
