"""How well a network predicts rows: of a posterior the predictive law, of a network of numbers its output. In the target's own units."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import logsumexp

from scalemix.arrays import numpy_of
from scalemix.compress.layer_text import in_single_precision
from scalemix.compress.layers import Layer, apply_layers
from scalemix.jobs.supervised import Rows, Supervised

if TYPE_CHECKING:
    from scalemix.language import PPL
    from scalemix.posterior import Posterior

__all__ = ["Score", "baseline", "network_of", "score_network", "score_posterior"]

AT_ONCE = 2e7  # numbers of a layer at all draws of some rows
WIDER = 20  # a layer of images has this many times the numbers of its input, LeNet's 20 filters


@dataclass(frozen=True)
class Score:
    """Of some rows.

    Attributes:
        error: root mean squared error in units of the target, or of classes the share that is wrong.
        log_density: mean over rows of log p(y | data), nats, of a number per unit of it; nan where nothing gives one.
        coverage: share of outcomes in the central 90 % predictive intervals, nan of classes.
        predicted: mean of y, in its own units, or the class, (n,).
    """

    error: float
    log_density: float
    coverage: float
    predicted: np.ndarray


def score_posterior(posterior: Posterior, data: Supervised, rows: Rows) -> Score:
    """The predictive law, averaged over the posterior's draws; noises that belong to rows are drawn anew, as dropout predicts."""
    noise, seed = posterior.noise_of_new_rows, posterior.info.seed
    width = max(math.prod(rows.x.shape[1:]) * (WIDER if rows.x.ndim == 4 else 1), 100)
    step = max(int(AT_ONCE // (posterior.num_draws * width)), 1)
    means, densities, inside = [], [], []
    for start in range(0, len(rows.y), step):
        x, y = rows.x[start : start + step], rows.y[start : start + step]
        (values,) = posterior.pointwise_log_likelihood(x, y, noise=noise).values()
        flat = np.asarray(values, dtype=float).reshape(-1, len(y))
        densities.append(np.asarray(logsumexp(flat, axis=0)) - math.log(len(flat)))
        law = posterior.predict(x, seed=seed, noise=noise)
        means.append(law.mean)
        if data.classes is None:
            low, high = np.quantile(law.draws, (0.05, 0.95), axis=0)
            inside.append((low <= y) & (y <= high))
    mean, density = np.concatenate(means), float(np.concatenate(densities).mean()) - math.log(data.target_scale)
    coverage = float(np.concatenate(inside).mean()) if inside else math.nan
    return _made(mean, density, coverage, data, rows)


def network_of(ppl: PPL, layers: Sequence[Layer], inputs: np.ndarray | None = None) -> Callable[[np.ndarray], np.ndarray]:
    """The layers as a network of numbers in single precision, arrays in and arrays out; ``inputs`` are those that it reads."""
    single = in_single_precision(layers)
    return lambda x: numpy_of(apply_layers(ppl, single, ppl.array(x.astype(np.float32)), inputs=inputs))


def score_network(network: Callable[[np.ndarray], np.ndarray], data: Supervised, rows: Rows, *, step: int = 1000) -> Score:
    """A network of numbers, arrays in and arrays out; of a class the largest output."""
    output = np.concatenate([np.asarray(network(rows.x[start : start + step])) for start in range(0, len(rows.y), step)])
    return _made(output[:, 0] if output.ndim == 2 and data.classes is None else output, math.nan, math.nan, data, rows)


def baseline(data: Supervised, rows: Rows) -> Score:
    """What the outcome alone gives: the mean of the rows that were fitted, or their most common class."""
    if data.classes is None:
        return _made(np.zeros(len(rows.y)), math.nan, math.nan, data, rows)  # y has mean 0 there
    most = np.bincount(data.train.y, minlength=len(data.classes))
    return _made(np.tile(most, (len(rows.y), 1)), math.nan, math.nan, data, rows)


def _made(output: np.ndarray, log_density: float, coverage: float, data: Supervised, rows: Rows) -> Score:
    if data.classes is not None:
        chosen = output.argmax(axis=1)
        return Score(float(np.mean(chosen != rows.y)), log_density, coverage, chosen)
    error = data.target_scale * math.sqrt(float(np.mean(np.square(output - rows.y))))
    return Score(error, log_density, coverage, data.target_mean + data.target_scale * output)
