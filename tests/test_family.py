"""The dropout family in one comparison: fits without a density, with noises of their own rows, saved and loaded."""

from __future__ import annotations

import itertools
from functools import partial
from pathlib import Path

import numpy as np
import pytest

import scalemix as sm
import scalemix.pyro as ppl
from scalemix import inference
from scalemix.family import FAMILY
from scalemix.likelihoods import Gaussian
from scalemix.models import mlp
from scalemix.posterior import Posterior
from scalemix.variational_scope import variational

UNITS, SIGMA, KEEP = 3, 0.5, 0.95
RNG = np.random.default_rng(0)
X, NEW = RNG.normal(size=(12, 2)), RNG.normal(size=(7, 2))
Y, Y_NEW = np.sin(X[:, 0]), np.sin(NEW[:, 0])
DRAWS = 150


def model_of(method: str):
    own = FAMILY[method]
    return partial(mlp, prior=own.prior, widths=(UNITS,), likelihood=Gaussian(scale=SIGMA), **own.model)


@pytest.fixture(scope="module")
def fits(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Posterior]:
    """Four of them as they come back from their files."""
    folder, found = tmp_path_factory.mktemp("family"), {}
    for method in ("map", "dynamic_regularizer", "mc_dropout", "vib"):
        recipe = getattr(inference, method)
        settings = recipe.Settings(num_epochs=120, learning_rate=0.02, num_draws=DRAWS, progress=False, **FAMILY[method].settings)
        fit = recipe.fit(ppl, model_of(method), X, Y, seed=0, settings=settings)
        fit.complete(num_prior_draws=2).save(folder / f"{method}.nc")
        found[method] = Posterior.load(folder / f"{method}.nc", model=variational(model_of(method)))
    return found


@pytest.fixture(scope="module")
def comparison(fits: dict[str, Posterior]) -> sm.Comparison:
    return sm.compare({f"{FAMILY[method].prior_name}-{method}": fit for method, fit in fits.items()}, data=(NEW, Y_NEW))


def network(weights: dict[str, np.ndarray], x: np.ndarray, gates: tuple = (1.0, 1.0)) -> np.ndarray:
    hidden = np.tanh((x * gates[0]) @ weights["w1"] + weights["b1"])
    return (hidden * gates[1]) @ weights["w2"][:, 0] + weights["b2"][0]


def test_each_recipe_with_a_guide_of_its_own_is_in_the_family() -> None:
    source = Path(inference.__path__[0])
    assert set(FAMILY) == {path.stem for path in source.glob("*.py") if "import GuideSettings" in path.read_text()}


@pytest.mark.parametrize("method", ["map", "dynamic_regularizer"])
def test_a_point_predicts_as_the_network_does(comparison: sm.Comparison, fits: dict[str, Posterior], method: str) -> None:
    weights = {name: value[0, 0] for name, value in fits[method].draws.items()}
    error = network(weights, NEW) - Y_NEW
    row = comparison.table.loc[f"{FAMILY[method].prior_name}-{method}"]
    assert row.test_rmse == pytest.approx(np.sqrt(np.mean(error**2)), abs=1e-4)
    expected = np.mean(-0.5 * (error / SIGMA) ** 2 - np.log(SIGMA * np.sqrt(2 * np.pi)))
    assert row.test_log_density == pytest.approx(expected, rel=1e-4)


def test_gates_at_other_rows_have_the_fitted_law(fits: dict[str, Posterior]) -> None:
    """VIBNet's gates, N(μ, σ²) for each row anew; bound: 5 standard errors of the draws."""
    fit, rng, many = fits["vib"], np.random.default_rng(1), 20_000
    weights = {name: fit.draws[name][0, 0] for name in ("w1", "b1", "w2", "b2")}
    gates = []
    for name in ("w1", "w2"):
        loc, scale = fit.params[f"{name}_noise_loc"].reshape(-1), np.exp(0.5 * fit.params[f"{name}_noise_log_variance"]).reshape(-1)
        gates.append(loc + scale * rng.standard_normal((many, len(NEW), len(loc))))
    by_hand = network(weights, NEW, tuple(gates))
    error = by_hand.std(0) * np.sqrt(1 / DRAWS + 1 / many)
    assert np.all(error > 1e-4), "the gates are noisy"
    assert np.all(np.abs(fit.predict(NEW, seed=1, noise=fit.noise_of_new_rows).mean - by_hand.mean(0)) < 5 * error)


def test_dropout_predicts_other_rows_with_fresh_gates(comparison: sm.Comparison, fits: dict[str, Posterior]) -> None:
    """The predictive density of each row, by all 2⁵ patterns of its gates."""
    weights = {name: value[0, 0] for name, value in fits["mc_dropout"].draws.items() if name in ("w1", "b1", "w2", "b2")}
    density = np.zeros(len(NEW))
    for pattern in itertools.product((0.0, 1.0), repeat=2 + UNITS):
        open_ = np.array(pattern)
        prob = np.prod(np.where(open_ > 0, KEEP, 1 - KEEP))
        error = network(weights, NEW, (open_[:2] / KEEP, open_[2:] / KEEP)) - Y_NEW
        density += prob * np.exp(-0.5 * (error / SIGMA) ** 2) / (SIGMA * np.sqrt(2 * np.pi))
    row = comparison.table.loc["dropout-mc_dropout"]
    draws = np.exp(fits["mc_dropout"].pointwise_log_likelihood(NEW, Y_NEW, noise="prior")["y"][0])
    error = np.sqrt(np.sum(np.var(draws / density, axis=0) / DRAWS)) / len(NEW)
    assert abs(row.test_log_density - np.mean(np.log(density))) < 5.0 * error


def test_a_bottleneck_predicts_other_rows_by_its_gates(fits: dict[str, Posterior]) -> None:
    """Loaded from its file: with gates at their means the network's own output, with drawn gates the mean of many networks."""
    fit = fits["vib"]
    weights = {name: value[0, 0] for name, value in fit.draws.items() if name in ("w1", "b1", "w2", "b2")}
    means = tuple(fit.params[f"{name}_noise_loc"] for name in ("w1", "w2"))
    np.testing.assert_allclose(fit.predict(NEW, seed=1, noise="mean").mean, network(weights, NEW, means), rtol=1e-4, atol=1e-5)
    rng = np.random.default_rng(1)
    sds = tuple(np.exp(0.5 * fit.params[f"{name}_noise_log_variance"]) for name in ("w1", "w2"))
    gates = [mean + sd * rng.standard_normal((DRAWS, len(NEW), mean.size)) for mean, sd in zip(means, sds, strict=True)]
    many = network(weights, NEW, (gates[0], gates[1]))
    error = many.std(axis=0) * np.sqrt(2 / DRAWS)
    np.testing.assert_array_less(np.abs(fit.predict(NEW, seed=1).mean - many.mean(axis=0)), 5.0 * error + 1e-6)


def test_what_has_no_density_is_called_so(comparison: sm.Comparison) -> None:
    table = comparison.table
    assert table[["khat", "elbo", "elpd_loo", "worst_rhat"]].isna().all(axis=None)
    assert list(table["prior"]) == ["normal", "dynamic", "dropout", "bottleneck"]
    told = {name: next(each for each in comparison.verdicts if each.startswith(f"{name}:")) for name in table.index}
    for name in table.index:
        assert "no posterior: " in told[name], told[name]
        assert "k-hat, ELBO and elpd_loo are blank" in told[name]
    assert "w1, b1, w2, b2 are points" in told["normal-map"]
    assert any(each.startswith("dynamic, w = ") and "there is no posterior" in each for each in comparison.verdicts)
