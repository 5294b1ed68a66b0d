"""Ten pathologies of a sampler, each planted, and each named with its site, its index and a remedy; healthy runs get no such sentence."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from made_up_fits import autoregressive, chains_of, stats

import scalemix as sm
import scalemix.numpyro as in_numpyro
from scalemix import models, noise
from scalemix.comparison import Diagnostics, diagnose
from scalemix.inference import nuts

SHAPE = (4, 1000)


def normal(seed: int, *event: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((*SHAPE, *event))


def stuck_chain() -> Any:
    w = normal(0, 3)
    w[2, :, 1] = 0.4
    return chains_of({"w": w})


def two_modes() -> Any:
    mu = normal(1) * 0.3
    mu[[0, 3]] += 4.0
    return chains_of({"mu": mu, "w": normal(2, 3)})


def funnel() -> Any:
    """log tau ~ N(0, 3), the draws in its neck diverging."""
    tau = np.exp(3.0 * autoregressive(np.random.default_rng(3), SHAPE, 0.97))
    run = chains_of({"tau": tau, "w": normal(4, 3) * tau[..., None]}, parametrization="hierarchical", prior="LogNormal × N(0, 1²)")
    run.sample_stats["diverging"] = tau < np.quantile(tau, 0.03)
    return run


def short_warmup() -> Any:
    w = normal(5, 3)
    w[..., 1] += 4.0 * np.exp(-np.arange(1000) / 300.0) * np.array([[2.0], [1.6], [1.2], [1.8]])
    return chains_of({"w": w})


def constant_site() -> Any:
    return chains_of({"w": normal(6, 3), "c": np.full(SHAPE, 2.0)})


def label_switching() -> Any:
    mu = normal(7, 2) * 0.2 + np.array([-1.0, 1.0])
    mu[1] = mu[1, :, ::-1]
    mu[3, 400:] = mu[3, 400:, ::-1]
    return chains_of({"mu": mu})


def nan_log_density() -> Any:
    run = chains_of({"w": normal(8, 3)})
    run.log_joint[1, 30:33] = np.nan
    return run


def heavy_tails() -> Any:
    """Cauchy, its logarithmic size moving slowly."""
    scores = autoregressive(np.random.default_rng(9), SHAPE, 0.97)
    return chains_of({"w": normal(10, 3), "xi": stats.cauchy.ppf(stats.norm.cdf(scores))})


def wrong_mass_matrix() -> Any:
    """Two coordinates on a narrow ridge, along which the chain crawls."""
    along = autoregressive(np.random.default_rng(11), SHAPE, 0.97)
    w = np.stack([along, -along], axis=-1) + 0.02 * normal(12, 2)
    return chains_of({"w": w})


def saturated_trees() -> Any:
    run = chains_of({"w": autoregressive(np.random.default_rng(13), (*SHAPE, 3), 0.95)}, settings={"max_tree_depth": 6})
    run.sample_stats["n_steps"][:, ::2] = 63
    return run


PATHOLOGIES: dict[Callable[[], Any], tuple[str, str]] = {
    stuck_chain: ("chain 2 never moves at w[1]", "init="),
    two_modes: ("the chains sit in different modes of mu, their means from 0.00", "prior"),
    funnel: ("the divergences lie where tau is small", "parametrization='expanded'"),
    short_warmup: ("w[1] still falls in every chain", "num_warmup"),
    constant_site: ("c never moves", "ppl.deterministic"),
    label_switching: ("the entries of mu exchange places", "identified_by"),
    nan_log_density: ("the log density is not finite at 3 of 4000 draws", "dtype='float64'"),
    heavy_tails: ("the tails of xi are heavy (Pareto k", "quantiles"),
    wrong_mass_matrix: ("w[0] and w[1] are correlated (-1.000)", "dense_mass=True"),
    saturated_trees: ("50 % of the trajectories were cut short", "max_tree_depth=6"),
}


@pytest.mark.parametrize("plant", PATHOLOGIES, ids=lambda plant: plant.__name__)
def test_each_pathology_gets_its_sentence_and_remedy(plant: Callable[[], Any]) -> None:
    clause, remedy = PATHOLOGIES[plant]
    found = diagnose(plant())
    assert not found.is_reference
    assert clause in found.sentence
    assert remedy in found.remedy
    others = [each for each, _ in PATHOLOGIES.values() if each != clause and each in found.sentence]
    assert not others


@pytest.mark.parametrize("phi", [-0.3, 0.0, 0.5])
def test_healthy_chains_get_none(phi: float) -> None:
    w = autoregressive(np.random.default_rng(20), (*SHAPE, 5), phi)
    assert diagnose(chains_of({"w": w, "sigma": np.exp(0.3 * normal(21))})).is_reference


# --- by the sampler itself --------------------------------------------------------------------------------------------------

RNG = np.random.default_rng(30)
X = RNG.standard_normal((40, 3))
Y = X @ np.array([1.0, -0.5, 0.0]) + 0.5 * RNG.standard_normal(40)
DUMMY = np.zeros(1)


def run(model: Callable[..., Any], *data: Any, seed: int = 2, **settings: Any) -> Diagnostics:
    options = {"num_warmup": 500, "num_draws": 600, "num_chains": 4, "progress": False} | settings
    return diagnose(nuts.fit(in_numpyro, model, *(data or (DUMMY,)), seed=seed, settings=nuts.Settings(**options)))


def anchor(ppl: Any, y: Any) -> None:
    """An observation that says nothing of the rest: every model observes something."""
    ppl.sample("y", ppl.dist.Normal(0.0, 1.0).expand([1]).to_event(1), obs=y)


def bimodal(ppl: Any, y: Any) -> None:
    mu = ppl.sample("mu", ppl.dist.Normal(0.0, 2.0))
    ppl.factor("modes", -0.5 * ((mu**2 - 4.0) / 0.2) ** 2)
    anchor(ppl, y)


def neck(ppl: Any, y: Any) -> None:
    ppl.weight("w", (5,), sm.ScaleMixture(noise.LogNormal(0.0, 3.0).per("layer")), parametrization="hierarchical")
    anchor(ppl, y)


def switching(ppl: Any, y: Any) -> None:
    mu = ppl.sample("mu", ppl.dist.Normal(0.0, 3.0).expand([2]).to_event(1))
    ppl.factor("mixture", jnp.logaddexp(*(-0.5 * ((y - mu[k]) / 0.3) ** 2 for k in (0, 1))).sum())
    anchor(ppl, y[:1])


def cauchy(ppl: Any, y: Any) -> None:
    ppl.sample("xi", ppl.dist.Cauchy(0.0, 1.0))
    anchor(ppl, y)


def ridge_line(ppl: Any, y: Any) -> None:
    a, b = ppl.sample("a", ppl.dist.Normal(0.0, 1.0)), ppl.sample("b", ppl.dist.Normal(0.0, 1.0))
    ppl.factor("line", -0.5 * ((a + b) / 1e-3) ** 2)
    anchor(ppl, y)


SAMPLED = {
    "two modes": (bimodal, {"init": "prior"}, "the chains sit in different modes of mu"),
    "funnel": (neck, {}, "parametrization='expanded'"),
    "short warm-up": (ridge_line, {"num_warmup": 2, "num_draws": 50, "max_tree_depth": 3}, "Remedy:"),
    "heavy tails": (cauchy, {}, "the tails of xi are heavy"),
    "wrong mass matrix": (ridge_line, {"max_tree_depth": 5}, "a and b are correlated (-1.000)"),
    "saturated trees": (ridge_line, {"max_tree_depth": 5, "dense_mass": True, "num_warmup": 20}, "max_tree_depth=5"),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", SAMPLED)
def test_a_sampled_pathology_gets_its_sentence(name: str) -> None:
    model, settings, clause = SAMPLED[name]
    found = run(model, **settings)
    assert not found.is_reference
    assert clause in found.sentence, found.sentence


@pytest.mark.slow
def test_sampled_label_switching_gets_its_sentence() -> None:
    y = np.concatenate([RNG.normal(-1.5, 0.3, 10), RNG.normal(1.5, 0.3, 10)])
    assert "the entries of mu exchange places" in run(switching, y, seed=3, init="prior").sentence


HEALTHY = {
    "ridge": partial(models.linear, prior=sm.Normal()),
    "laplace": partial(models.linear, prior=sm.Laplace(0.5)),
    "student-t, expanded": partial(models.linear, prior=sm.StudentT(4.0, 0.5), parametrization="expanded"),
    "slab": partial(models.linear, prior=sm.Horseshoe(expected_active=1, num_data=40, slab_scale=2.0)),
    "network": partial(models.mlp, prior=sm.ScaleMixture(noise.Rayleigh(0.7).per("in")), widths=(3,)),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", HEALTHY)
def test_a_healthy_run_gets_none(name: str) -> None:
    """With the step size that our own sentence advises: at 0.95 the expanded Student-t diverges 6 times in 4000 draws, and is told so."""
    found = run(HEALTHY[name], X, Y, num_warmup=1000, num_draws=1000, target_accept_prob=0.98)
    assert found.is_reference, found.sentence
    assert ("not identified" in found.sentence) is (name == "network")
