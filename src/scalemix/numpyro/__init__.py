"""scalemix in NumPyro: the namespace a model receives as ``ppl``. Contracts of the names: ``scalemix.language.PPL``."""

from __future__ import annotations

import sys
from typing import Any, cast

from numpyro.infer import autoguide

from scalemix.language import kitchens
from scalemix.numpyro import engine, guide_laws  # noqa: F401  (registers a law)
from scalemix.numpyro.distributions import dist, dist_like
from scalemix.numpyro.lifting import lift, recalibrate
from scalemix.numpyro.primitives import (
    array,
    broadcast_to,
    clip,
    conv2d,
    convolution,
    data_plate,
    dense,
    deterministic,
    distribution,
    exp,
    factor,
    full,
    linear,
    log_density,
    maximum,
    param,
    plate,
    pool2d,
    relu,
    sample,
    scan,
    sigmoid,
    sqrt,
    tanh,
    weight,
    where,
)
from scalemix.numpyro.shrinking import build, shrink
from scalemix.numpyro.variational import kl_divergence

name = "numpyro"
kitchens[name] = cast(Any, sys.modules[__name__])

__all__ = [
    "array",
    "autoguide",
    "broadcast_to",
    "build",
    "clip",
    "conv2d",
    "convolution",
    "data_plate",
    "dense",
    "deterministic",
    "dist",
    "dist_like",
    "distribution",
    "engine",
    "exp",
    "factor",
    "full",
    "kl_divergence",
    "lift",
    "linear",
    "log_density",
    "maximum",
    "name",
    "param",
    "plate",
    "pool2d",
    "recalibrate",
    "relu",
    "sample",
    "scan",
    "shrink",
    "sigmoid",
    "sqrt",
    "tanh",
    "weight",
    "where",
]
