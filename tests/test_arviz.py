"""What ArviZ makes of our posteriors, in its 0.23 and in its 1.x: `make test-arviz` runs this file alone in a Python without torch."""

from __future__ import annotations

from functools import partial

import arviz as az
import numpy as np
import pytest

import scalemix as sm
import scalemix.numpyro
from scalemix import noise
from scalemix.comparison.diagnostics import diagnose
from scalemix.comparison.predictive import loo
from scalemix.inference import mean_field, nuts
from scalemix.models import linear

NEW = not az.__version__.startswith("0.")  # 1.x: a DataTree, other names of plots
RNG = np.random.default_rng(3)
X = RNG.normal(size=(25, 3))
Y = X[:, 0] - 0.5 * X[:, 2] + 0.7 * RNG.normal(size=25)
MODEL = partial(linear, prior=sm.ScaleMixture(noise.Gaussian(1.0, 0.3)))
GROUPS = {"posterior", "sample_stats", "log_likelihood", "posterior_predictive", "prior", "observed_data", "constant_data"}

# What ArviZ 0.23 and 1.x themselves warn of under the newest matplotlib, pandas and xarray.
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]


@pytest.fixture(scope="module")
def sampled() -> sm.Posterior:
    settings = nuts.Settings(num_warmup=150, num_draws=100, num_chains=2, progress=False)
    return nuts.fit(scalemix.numpyro, MODEL, X, Y, seed=0, settings=settings)


@pytest.fixture(scope="module")
def guided() -> sm.Posterior:
    settings = mean_field.Settings(num_steps=300, num_draws=60, progress=False)
    return mean_field.fit(scalemix.numpyro, MODEL, X, Y, seed=0, settings=settings)


def test_groups(sampled: sm.Posterior, guided: sm.Posterior) -> None:
    for posterior in (sampled, guided):
        data = posterior.to_arviz()
        assert set(data.children if NEW else data.groups()) >= GROUPS
        assert data["posterior"]["w1"].dims == ("chain", "draw", "in")
        np.testing.assert_array_equal(np.asarray(data["log_likelihood"]["y"]), posterior.log_likelihood["y"])


def test_summary_has_our_diagnostics(sampled: sm.Posterior) -> None:
    data = sampled.to_arviz()
    assert len(az.summary(data)) == 3 * 3 + 2
    ours = diagnose(sampled)  # over all latent sites
    rhat = az.rhat(data)
    rhat = rhat["posterior"] if NEW and "posterior" in getattr(rhat, "children", {}) else rhat
    theirs = max(float(np.max(np.asarray(rhat[name]))) for name in ("sigma", "w1_noise", "w1_base", "b1", "w1"))
    assert ours.worst_rhat == pytest.approx(theirs, rel=1e-9)


def test_loo_and_compare(sampled: sm.Posterior) -> None:
    data = sampled.to_arviz()
    found = az.loo(data)
    theirs = float(found.elpd if NEW else found.elpd_loo)
    assert theirs == pytest.approx(loo(sampled).elpd, abs=1e-3)  # its relative efficiency is of all variables
    assert len(az.compare({"a": data, "b": data})) == 2


def test_figures(sampled: sm.Posterior) -> None:
    data = sampled.to_arviz()
    az.plot_forest(data, var_names=["w1"])
    if NEW:
        az.plot_trace_dist(data, var_names=["sigma"])
        az.plot_ppc_dist(data)
    else:
        az.plot_trace(data, var_names=["sigma"])
        az.plot_ppc(data, num_pp_samples=5)


def test_file_is_one_that_arviz_opens(sampled: sm.Posterior, guided: sm.Posterior, tmp_path) -> None:
    for number, posterior in enumerate((sampled, guided)):
        path = posterior.save(tmp_path / f"{number}.nc")
        assert az.from_netcdf(path)["posterior"]["w1"].shape == posterior.draws["w1"].shape
        np.testing.assert_array_equal(sm.Posterior.load(path, model=MODEL).draws["w1"], posterior.draws["w1"])
