"""Fits that nobody trained: a guide at random parameters, made into a posterior as a recipe would."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache, partial
from typing import Any

import numpy as np

import scalemix as sm
import scalemix.numpyro as in_numpyro
import scalemix.pyro as in_pyro
from scalemix import models
from scalemix.fitting import PrecisionSettings, build_posterior, inspect
from scalemix.guides import Gaussian, Guide, Point, Target
from scalemix.posterior import Posterior
from scalemix.runs import SviRun
from scalemix.variational_scope import variational, variational_scope

__all__ = ["IMAGES", "LANGUAGES", "MLP", "RNG", "X", "Y", "by_log_uniform", "made", "normals", "outputs"]

LANGUAGES = {"pyro": in_pyro, "numpyro": in_numpyro}
RNG = np.random.default_rng(3)
X = RNG.normal(size=(7, 5))
Y = RNG.normal(size=7)
IMAGES = RNG.normal(size=(4, 12, 12, 1))


def made(ppl: Any, model: Any, data: tuple, choose: Callable[[Target], Any], *, num_draws: int = 5) -> Posterior:
    """A fit that nobody trained: a guide at random parameters, as a recipe would return it."""
    read, settings = variational(model), PrecisionSettings()
    with ppl.engine.precision("float64", "cpu"):
        with variational_scope(placeholders=True):
            arrays, structure = inspect(ppl, read, data, seed=0, method="made", gates=True)
        guide, rng = Guide.build(structure, choose, seed=0), np.random.default_rng(1)
        params = {
            name: rng.normal(size=value.shape) * (2.0 if name.endswith("log_variance") else 1.0) if value.shape else value
            for name, value in guide.initial.items()
        }
        draws, log_guide = guide.sample_posterior(ppl, params, arrays, num_draws=num_draws, seed=0)
        run = SviRun(draws, log_guide, np.zeros(1), params, 0.0, 0.0)
        posterior = build_posterior(ppl, read, data, arrays, structure, run, method="made", seed=0, settings=settings)
    posterior.params, posterior.guide = params, guide
    return posterior


def normals(target: Target) -> Any:
    return Gaussian() if target.role in ("weight", "base") else Point()


MLP = partial(models.mlp, widths=(6, 4))


@cache
def by_log_uniform() -> Posterior:
    return made(in_pyro, partial(MLP, prior=sm.LogUniform()), (X, Y), normals)


def outputs(ppl: Any, posterior: Posterior, means: Mapping[str, np.ndarray]) -> np.ndarray:
    """Mean of y (of classes: their probabilities) of the model with ``means`` at its sites."""
    sites = {name: posterior.draws[name][0, :1] for name in posterior.latents} | {name: value[None] for name, value in means.items()}
    with ppl.engine.precision("float64", "cpu"):
        return ppl.engine.predict(posterior.model, posterior.data[:-1], sites, site="y", seed=0, chunk=1).mean[0]
