"""The reference posteriors of posteriordb, whose draws Stan made: our priors in our models, sampled by the recipe ``nuts``.

The data lie in ``$SCALEMIX_DATA/posteriordb``, by default ``../shared/data/posteriordb`` beside the repository.
"""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import arviz
import numpy as np
import pytest

import scalemix.numpyro as in_numpyro
import scalemix.pyro as in_pyro
from scalemix import likelihoods, models, noise
from scalemix.inference import nuts
from scalemix.priors import Normal, ScaleMixture

Array = np.ndarray
FOLDER = Path(os.environ.get("SCALEMIX_DATA", Path(__file__).parents[2] / "shared" / "data")) / "posteriordb"
pytestmark = pytest.mark.skipif(not FOLDER.is_dir(), reason=f"posteriordb is not at {FOLDER}: set SCALEMIX_DATA to the folder it lies in")


def read(part: str, name: str) -> Any:
    with zipfile.ZipFile(FOLDER / part / f"{name}.json.zip") as archive:
        return json.loads(archive.read(archive.namelist()[0]))


def reference(name: str) -> dict[str, Array]:
    """Draws (chain, draw) of each parameter."""
    chains = read("draws", name)
    return {key: np.array([chain[key] for chain in chains]) for key in chains[0]}


# --- the models ------------------------------------------------------------------------------------------------------------------------


def eight_schools(ppl: Any, sd: Any, y: Any) -> None:
    """yⱼ ~ N(μ + τ zⱼ, sdⱼ²): the effects of the schools are weights under one half-Cauchy noise (Rubin, 1981)."""
    mu = ppl.weight("mu", (), Normal(5.0))
    effect = ppl.weight("effect", sd.shape, ScaleMixture(noise.HalfCauchy(5.0).per("layer")), axes=("school",))
    theta = ppl.deterministic("theta", mu[..., None] + effect, event_dim=1)
    ppl.sample("y", ppl.dist.Normal(theta, sd).to_event(1), obs=y)


def correlated_columns(ppl: Any, x: Any, y: Any) -> None:
    """``x`` in units of 200, its standard deviation, and so the coefficients and their prior 200 times as wide."""
    models.linear(ppl, x, y, prior=Normal(UNIT * 10.0), bias_prior=None, likelihood=likelihoods.Gaussian(prior_scale=10.0))


def kid_score(ppl: Any, x: Any, y: Any) -> None:
    """The reference's flat prior of the coefficients as a normal one 10⁵ posterior sds wide."""
    sigma = ppl.sample("sigma", ppl.dist.HalfCauchy(2.5))
    beta = ppl.weight("beta", x.shape[1], Normal(1e6))
    with ppl.data_plate(x):
        ppl.sample("y", ppl.dist.Normal(x @ beta, sigma), obs=y)


UNIT = 200.0


@dataclass(frozen=True)
class Row:
    """A reference by the names of its draws and data; our model; the data it takes; our site and unit of each of its parameters."""

    name: str
    data_name: str
    model: Callable[..., Any]
    data: Callable[[dict[str, Any]], tuple[Array, ...]]
    sites: dict[str, tuple[str, float]]


ROWS = {
    "eight_schools": Row(
        "eight_schools-eight_schools_noncentered",
        "eight_schools",
        eight_schools,
        lambda d: (np.array(d["sigma"], float), np.array(d["y"], float)),
        {"theta": ("theta", 1.0), "mu": ("mu", 1.0), "tau": ("effect_noise", 1.0)},
    ),
    "sblrc": Row(
        "sblrc-blr",
        "sblrc",
        correlated_columns,
        lambda d: (np.array(d["X"]) / UNIT, np.array(d["y"])),
        {"beta": ("w1", 1.0 / UNIT), "sigma": ("sigma", 1.0)},
    ),
    "kidiq": Row(
        "kidiq-kidscore_momiq",
        "kidiq",
        kid_score,
        lambda d: (np.column_stack([np.ones(d["N"]), d["mom_iq"]]), np.array(d["kid_score"], float)),
        {"beta": ("beta", 1.0), "sigma": ("sigma", 1.0)},
    ),
}


def check(ppl: ModuleType, case: str, *, seed: int, replicates: int | None = None, r_hat: float = 1.02, **settings: Any) -> None:
    """Mean and sd within 4 standard errors, theirs and ours together; our error of the mean at most 3 % of the sd.

    ``replicates``: as many posteriors that know nothing of one another, side by side in a plate, in place of chains.
    """
    row = ROWS[case]
    data = row.data(read("data", row.data_name))
    model = row.model if replicates is None else partial(replicated, row.model, replicates)
    posterior = nuts.fit(ppl, model, *data, seed=seed, settings=nuts.Settings(progress=False, **settings))
    for key, theirs in reference(row.name).items():
        parameter, _, index = key.partition("[")
        site, unit = row.sites[parameter]
        ours = unit * posterior.draws[site]
        ours = ours if replicates is None else np.moveaxis(ours[0], 1, 0)
        ours = ours[:, :, int(index[:-1]) - 1] if index else ours
        assert arviz.rhat(ours) < r_hat, key
        assert arviz.mcse(ours) <= 0.03 * ours.std(), key
        for what, of in (("mean", np.mean), ("sd", partial(np.std, ddof=1))):
            error = np.hypot(arviz.mcse(ours, method=what), arviz.mcse(theirs, method=what))
            assert abs(of(ours) - of(theirs)) <= 4 * error, (key, what, of(ours), of(theirs), error)


def replicated(model: Callable[..., Any], size: int, ppl: Any, *data: Any) -> None:
    with ppl.plate("replicates", size):
        model(ppl, *data[:-1], ppl.broadcast_to(data[-1], (size, *data[-1].shape)))


@pytest.mark.parametrize("case", [pytest.param(case, marks=[] if case == "eight_schools" else [pytest.mark.slow]) for case in ROWS])
def test_numpyro(case: str) -> None:
    check(in_numpyro, case, seed=1, dense_mass=True, num_warmup=500, num_draws=1000, num_chains=4, chain_method="sequential")


@pytest.mark.slow
def test_pyro() -> None:
    """Pyro pays for each step and little for each replicate. R-hat of short chains is loose: 1 + 1/120 at 60 effective draws each."""
    settings = {"num_warmup": 150, "num_draws": 120, "num_chains": 1, "target_accept_prob": 0.8, "max_tree_depth": 6}
    check(in_pyro, "eight_schools", seed=1, replicates=40, r_hat=1.05, **settings)
