"""A regression with gates, its law by n × n normal densities, and what the library takes its layer for."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Any

import numpy as np
from scipy import stats

from scalemix import models
from scalemix.fitting import inspect
from scalemix.gated import GatedLayer, check_gates, find_layer
from scalemix.likelihoods import Gaussian
from scalemix.priors import ScaleMixture, SpikeAndSlab

__all__ = ["log_joint", "look", "point_spike", "regression"]


def regression(rows: int = 20, columns: int = 8) -> tuple[np.ndarray, np.ndarray]:
    """The regression of the answers I15 and I16, or its first rows and columns."""
    i, j = np.arange(1.0, 21.0)[:, None], np.arange(1.0, 9.0)
    x = np.sin(0.7 * i * j) + 0.3 * np.cos(i + 2 * j)
    y = x @ np.array([2.0, 0.0, -1.5, 0.0, 0.0, 0.8, 0.0, 0.0]) + 0.5 * np.sin(3.1 * i[:, 0] ** 2)
    return x[:rows, :columns], y[:rows]


def point_spike(ppl: Any, x: Any, y: Any = None, *, sigma: float | None = 0.5, prior: ScaleMixture | None = None, **options: Any) -> Any:
    likelihood = Gaussian(scale=sigma)
    return models.linear(ppl, x, y, prior=prior or SpikeAndSlab(0.3), bias_prior=None, likelihood=likelihood, **options)


def log_joint(x: np.ndarray, y: np.ndarray, sigma: float, *, spike: float = 0.0) -> np.ndarray:
    """log p(y, g | σ) of every setting g of the gates, by n × n normal densities."""
    gates = np.array(list(product((0.0, 1.0), repeat=x.shape[1])))
    laws = [
        stats.multivariate_normal(np.zeros(len(y)), sigma**2 * np.eye(len(y)) + (x * np.where(g == 1, 1, spike**2)) @ x.T) for g in gates
    ]
    return np.array([law.logpdf(y) for law in laws]) + gates @ np.full(x.shape[1], np.log(0.3 / 0.7)) + x.shape[1] * np.log(0.7)


def look(ppl: Any, model: Callable[..., Any], *data: np.ndarray) -> tuple[GatedLayer | None, str]:
    arrays, structure = inspect(ppl, model, data, seed=0, method="Gibbs sampling", gates=True)
    prior = check_gates(ppl, model, arrays, structure, seed=0, method="Gibbs sampling")
    return find_layer(ppl, model, arrays, structure, prior, dtype="float64")
