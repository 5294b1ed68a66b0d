"""The comparison, judged from outside: closed forms of Gaussian models, known tail indices, ArviZ, and planted faults of chains."""

from __future__ import annotations

import math
import subprocess
import sys
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats as scipy_stats

from scalemix.comparison import (
    compare,
    diagnose,
    elbo_trend,
    energy_bfmi,
    guide_khat,
    guide_loo,
    held_out,
    khat_threshold,
    loo,
    monte_carlo_floor,
    psis,
    wasserstein,
    weight_sites,
)
from scalemix.comparison.chains import convergence, ess
from scalemix.comparison.fits import contrast

stats: Any = scipy_stats  # its frozen laws carry no types
NUM_COLUMNS, NUM_CASES, SIGMA = 6, 40, 0.7
CHAINS, DRAWS = 4, 1000


@dataclass
class Draws:
    """What the comparison reads of a posterior, with a linear model of known noise to predict from."""

    draws: dict[str, np.ndarray]
    latents: tuple[str, ...]
    info: SimpleNamespace
    log_joint: np.ndarray
    log_likelihood: dict[str, np.ndarray]
    sample_stats: dict[str, np.ndarray] = field(default_factory=dict)
    log_guide: np.ndarray | None = None
    losses: np.ndarray | None = None
    dims: dict[str, tuple[str, ...]] = field(default_factory=dict)
    coords: dict[str, list] = field(default_factory=dict)
    observed: dict[str, np.ndarray] = field(default_factory=dict)
    constant: dict[str, np.ndarray] = field(default_factory=dict)

    def predict(self, x: Any, *, seed: int) -> SimpleNamespace:
        return SimpleNamespace(mean=np.asarray(x) @ self.draws["w1"].mean(axis=(0, 1)))

    def pointwise_log_likelihood(self, x: Any, y: Any) -> dict[str, np.ndarray]:
        mean = np.einsum("cdp,np->cdn", self.draws["w1"], np.asarray(x))
        return {"y": stats.norm.logpdf(np.asarray(y), mean, SIGMA)}


def info(**changes: Any) -> SimpleNamespace:
    values = {
        "backend": "numpyro",
        "method": "nuts",
        "prior": "N(0, 1²)",
        "parametrization": "expanded",
        "seed": 0,
        "settings": {"max_tree_depth": 10},
        "seconds_compile": 2.0,
        "seconds_run": 4.0,
    }
    return SimpleNamespace(**(values | changes))


def sampler_stats(rng: np.random.Generator, shape: tuple[int, int] = (CHAINS, DRAWS)) -> dict[str, np.ndarray]:
    return {"diverging": np.zeros(shape, bool), "energy": rng.standard_normal(shape), "n_steps": np.full(shape, 15)}


def chains_of(sites: dict[str, np.ndarray], *, deterministic: tuple[str, ...] = (), **changes: Any) -> Any:
    """A sampler's posterior of given draws, all else healthy."""
    shape = next(iter(sites.values())).shape[:2]
    latents = tuple(name for name in sites if name not in deterministic)
    rng = np.random.default_rng(9)
    return Draws(sites, latents, info(**changes), np.zeros(shape), {"y": np.zeros((*shape, 3))}, sampler_stats(rng, shape))


def autoregressive(rng: np.random.Generator, shape: tuple[int, ...], phi: float) -> np.ndarray:
    """Stationary AR(1) of unit variance along axis 1."""
    noise = rng.standard_normal(shape)
    values = noise.copy()
    for step in range(1, shape[1]):
        values[:, step] = phi * values[:, step - 1] + math.sqrt(1 - phi**2) * noise[:, step]
    return values


class Regression:
    """y ~ N(x w, SIGMA²), w ~ N(0, 1): the posterior N(mean, cov) and everything about it is known in closed form."""

    def __init__(self, seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        mixing = np.eye(NUM_COLUMNS) + 0.5
        self.x = rng.standard_normal((NUM_CASES, NUM_COLUMNS)) @ mixing
        self.y = self.x @ np.array([1.0, -1.0, 0.5, 0.0, 0.0, 0.0]) + SIGMA * rng.standard_normal(NUM_CASES)
        self.x_test = rng.standard_normal((10, NUM_COLUMNS)) @ mixing
        self.y_test = self.x_test @ np.array([1.0, -1.0, 0.5, 0.0, 0.0, 0.0]) + SIGMA * rng.standard_normal(10)
        self.mean, self.cov = self.posterior(np.arange(NUM_CASES))

    def posterior(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        x, y = self.x[rows], self.y[rows]
        cov = np.linalg.inv(np.eye(NUM_COLUMNS) + x.T @ x / SIGMA**2)
        return cov @ x.T @ y / SIGMA**2, cov

    def exact_loo(self) -> float:
        total = 0.0
        for i in range(NUM_CASES):
            mean, cov = self.posterior(np.delete(np.arange(NUM_CASES), i))
            total += stats.norm.logpdf(self.y[i], self.x[i] @ mean, math.sqrt(SIGMA**2 + self.x[i] @ cov @ self.x[i]))
        return total

    def _posterior(self, w: np.ndarray, **changes: Any) -> Any:
        labels = ["a", "b", "c", "noise_1", "noise_2", "noise_3"]
        result = Draws(
            {"w1": w},
            ("w1",),
            info(**changes),
            stats.multivariate_normal(self.mean, self.cov).logpdf(w).reshape(w.shape[:2]) - 50.0,  # evidence e^-50
            {},
            dims={"w1": ("in",)},
            coords={"in": labels},
            observed={"y": self.y},
            constant={"x0": self.x},
        )
        result.log_likelihood = result.pointwise_log_likelihood(self.x, self.y)
        return result

    def nuts(self, seed: int = 1, phi: float = 0.0, **changes: Any) -> Any:
        rng = np.random.default_rng(seed)
        z = autoregressive(rng, (CHAINS, DRAWS, NUM_COLUMNS), phi)
        result = self._posterior(self.mean + z @ np.linalg.cholesky(self.cov).T, **changes)
        result.sample_stats = sampler_stats(rng)
        return result

    def guide(self, cov: np.ndarray | None = None, shift: float = 0.0, size: int = 2000, seed: int = 2, **changes: Any) -> Any:
        rng = np.random.default_rng(seed)
        cov = self.mean_field_cov if cov is None else cov
        law = stats.multivariate_normal(self.mean + shift * np.linalg.cholesky(cov)[:, 0], cov)
        w = law.rvs(size=size, random_state=rng)[None]
        result = self._posterior(w, **({"method": "mean_field", "settings": {}} | changes))
        result.log_guide = law.logpdf(w)
        result.losses = 100 + rng.standard_normal(5000)
        return result

    @property
    def mean_field_cov(self) -> np.ndarray:
        """The optimum of mean-field VI of a Gaussian: variances 1/precision_ii."""
        return np.diag(1 / np.diag(np.linalg.inv(self.cov)))


# --- R-hat and ESS ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("num_draws", [500, 51])
def test_rhat_and_ess_are_those_of_arviz(num_draws: int) -> None:
    import arviz

    rng = np.random.default_rng(0)
    draws = autoregressive(rng, (4, num_draws, 8), 0.4)
    draws[..., 1] = np.exp(2 * draws[..., 1])  # heavy tail
    draws[0, :, 2] *= 3  # unequal scales
    draws[..., 3] = np.round(draws[..., 3])  # ties
    draws[..., 4] = rng.standard_normal((4, num_draws))
    draws[:, 1:, 5] = -0.5 * draws[:, :-1, 4] + draws[:, 1:, 4]  # antithetic
    draws[..., 6] = np.cumsum(draws[..., 6], axis=1)  # never forgets
    found = convergence(draws)
    for i in range(8):
        one = draws[..., i]
        assert found.rhat[i] == pytest.approx(float(arviz.rhat(one)), rel=1e-12)
        assert found.bulk_ess[i] == pytest.approx(float(arviz.ess(one, method="bulk")), rel=1e-9)
        assert found.tail_ess[i] == pytest.approx(float(arviz.ess(one, method="tail")), rel=1e-9)
        assert ess(draws)[i] == pytest.approx(float(arviz.ess(one, method="mean")), rel=1e-9)


def test_ess_of_an_autoregression_is_the_analytical_one() -> None:
    draws = autoregressive(np.random.default_rng(1), (4, 4000, 20), 0.6)
    expected = 16000 * (1 - 0.6) / (1 + 0.6)
    assert ess(draws).mean() == pytest.approx(expected, rel=0.05)


def test_energy_bfmi_is_that_of_arviz_and_low_for_a_slow_energy() -> None:
    import arviz

    rng = np.random.default_rng(2)
    energy = np.stack([rng.standard_normal(1000), autoregressive(rng, (1, 1000), 0.98)[0]])
    idata = arviz.from_dict(posterior={"a": energy}, sample_stats={"energy": energy})
    assert energy_bfmi(energy) == pytest.approx(arviz.bfmi(idata), rel=1e-12)
    assert energy_bfmi(energy)[1] < 0.1


# --- the rule of a reference ------------------------------------------------------------------------------------------------


def test_healthy_chains_are_a_reference() -> None:
    posterior = chains_of(
        {"w1": np.random.default_rng(3).standard_normal((4, 1000, 50)), "sigma": np.random.default_rng(4).random((4, 1000))}
    )
    found = diagnose(posterior)
    assert found.is_reference
    assert found.reasons == ()
    assert found.worst_rhat < 1.01
    assert 2000 < found.min_ess_bulk < 4500
    assert found.sentence.startswith("valid reference")


def test_a_displaced_chain_is_named_with_its_site_index_and_label() -> None:
    w = np.random.default_rng(5).standard_normal((4, 1000, 3, 2))
    w[2, :, 1, 0] += 1.0
    posterior = chains_of({"w1": w, "b1": w[..., 0, 0]})
    posterior.dims, posterior.coords = {"w1": ("in", "out")}, {"in": ["age", "bmi", "bp"]}
    found = diagnose(posterior)
    assert not found.is_reference
    assert found.worst_rhat_at == "w1[1, 0] (bmi)"
    assert "R-hat of w1[1, 0] (bmi) is 1." in found.sentence
    assert "Remedy: run a longer num_warmup" in found.sentence


def test_a_scalar_that_never_moves_counts_only_if_it_is_sampled() -> None:
    moving, still = np.random.default_rng(6).standard_normal((4, 1000, 2)), np.ones((4, 1000))
    assert diagnose(chains_of({"w1": moving, "c": still}, deterministic=("c",))).is_reference
    found = diagnose(chains_of({"w1": moving, "c": still}))
    assert not found.is_reference
    assert found.worst_rhat == math.inf
    assert found.min_ess_bulk_at == "c"


def test_one_stuck_chain_of_four_is_found() -> None:
    w = np.random.default_rng(7).standard_normal((4, 1000, 2))
    w[1, :, 1] = 0.3
    assert not diagnose(chains_of({"w1": w})).is_reference


def test_draws_that_are_not_finite_are_no_reference() -> None:
    w = np.random.default_rng(8).standard_normal((4, 1000, 3))
    w[0, 5, 2] = np.nan
    found = diagnose(chains_of({"w1": w}))
    assert not found.is_reference
    assert found.worst_rhat_at == "w1[2]"
    w[0, 5, 2] = np.inf
    assert not diagnose(chains_of({"w1": w}, deterministic=("w1",))).is_reference


def test_slow_chains_have_too_few_effective_draws() -> None:
    w = autoregressive(np.random.default_rng(9), (4, 1000, 3), 0.9)  # about 210 effective draws of 4000
    found = diagnose(chains_of({"w1": w}))
    assert not found.is_reference
    assert 120 < found.min_ess_bulk < 320
    assert "at least 400" in found.sentence


@pytest.mark.parametrize(("number", "valid"), [(4, True), (5, False)])
def test_at_most_one_draw_in_a_thousand_may_diverge(number: int, valid: bool) -> None:
    posterior = chains_of({"w1": np.random.default_rng(10).standard_normal((4, 1000, 3))})
    posterior.sample_stats["diverging"][0, :number] = True
    found = diagnose(posterior)
    assert found.divergences == number
    assert found.is_reference is valid
    assert valid or ("5 divergences" in found.sentence and "target_accept_prob" in found.remedy)


def test_a_slow_energy_and_a_missing_one_are_no_reference() -> None:
    rng = np.random.default_rng(11)
    posterior = chains_of({"w1": rng.standard_normal((4, 1000, 3))})
    posterior.sample_stats["energy"][2] = autoregressive(rng, (1, 1000), 0.95)[0]
    assert "E-BFMI is 0." in diagnose(posterior).sentence
    del posterior.sample_stats["energy"]
    assert "E-BFMI is unknown" in diagnose(posterior).sentence


def test_one_chain_is_no_reference_and_seven_draws_are_none_either() -> None:
    w = np.random.default_rng(12).standard_normal((4, 1000, 3))
    assert "num_chains=4" in diagnose(chains_of({"w1": w[:1]})).sentence
    found = diagnose(chains_of({"w1": w[:, :7]}))
    assert not found.is_reference
    assert math.isnan(found.worst_rhat)


def test_remedies_follow_the_form_and_the_prior() -> None:
    w = np.random.default_rng(13).standard_normal((4, 1000, 3))
    w[0, :, 0] += 2
    half_cauchy = "HalfCauchy(scale=1) × N(0, 1²)"
    assert "parametrization='expanded'" in diagnose(chains_of({"w1": w}, parametrization="hierarchical", prior=half_cauchy)).remedy
    assert "slab" in diagnose(chains_of({"w1": w}, prior=half_cauchy)).remedy
    assert "slab" not in diagnose(chains_of({"w1": w}, prior=half_cauchy + ", slab=InverseNakagami(df=4, scale=2)")).remedy


def test_saturation_counts_full_trees_only() -> None:
    w = np.random.default_rng(14).standard_normal((4, 1000, 3))
    w[0] += 2
    posterior = chains_of({"w1": w}, settings={"max_tree_depth": 5})
    posterior.sample_stats["n_steps"] = np.full((4, 1000), 30)
    assert diagnose(posterior).saturation == 0.0
    posterior.sample_stats["n_steps"][:, :500] = 31
    assert diagnose(posterior).saturation == 0.5
    assert "max_tree_depth=5" in diagnose(posterior).remedy


def test_sites_can_be_chosen() -> None:
    good = np.random.default_rng(15).standard_normal((4, 1000))
    posterior = chains_of({"sigma": good, "w1": np.cumsum(np.random.default_rng(16).standard_normal((4, 1000, 2)), axis=1)})
    assert diagnose(posterior, sites=["sigma"]).is_reference
    with pytest.raises(ValueError, match="unknown site 'tau': give some of sigma, w1"):
        diagnose(posterior, sites=["tau"])


def test_a_guide_has_no_rhat() -> None:
    with pytest.raises(ValueError, match="variational fit"):
        diagnose(Regression().guide())


# --- PSIS -------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("size", "spread", "efficiency"), [(4000, 1.5, 1.0), (1000, 3.0, 0.4), (100, 1.0, 1.3), (20, 1.0, 1.0)])
def test_psis_is_that_of_arviz(size: int, spread: float, efficiency: float) -> None:
    import arviz

    ratios = spread * np.random.default_rng(20).standard_normal(size)
    weights, khat = psis(ratios, relative_efficiency=efficiency)
    theirs, their_khat = arviz.psislw(ratios.copy(), reff=efficiency)
    assert weights == pytest.approx(np.asarray(theirs), rel=1e-9, abs=1e-9)
    assert khat == pytest.approx(float(their_khat), rel=1e-9)


@pytest.mark.parametrize("variance", [1.5, 2.0, 4.0])
def test_khat_of_a_too_narrow_normal_is_the_analytical_tail_index(variance: float) -> None:
    """q = N(0, 1), p = N(0, v): the ratio's tail is t^(-v/(v - 1)), so k = 1 - 1/v; the other way round it is bounded."""
    x = np.random.default_rng(21).standard_normal(200_000)
    narrow, wide = stats.norm(0, 1), stats.norm(0, math.sqrt(variance))
    assert psis(wide.logpdf(x) - narrow.logpdf(x))[1] == pytest.approx(1 - 1 / variance, abs=0.12)
    z = math.sqrt(variance) * x
    assert psis(narrow.logpdf(z) - wide.logpdf(z))[1] < 0.1


def test_khat_of_a_normal_and_a_student_t() -> None:
    """For q normal and p Student-t the index tends to 1, slowly; the other way round the ratio is bounded."""
    rng = np.random.default_rng(22)
    x, z = rng.standard_normal(50_000), rng.standard_t(4, 50_000)
    assert psis(stats.t(4).logpdf(x) - stats.norm.logpdf(x))[1] > 0.4
    assert psis(stats.norm.logpdf(z) - stats.t(4).logpdf(z))[1] < 0.1


def test_khat_of_ratios_that_are_not_finite_is_infinite() -> None:
    assert psis(np.array([0.0, np.nan, 1.0] * 20))[1] == math.inf
    assert psis(np.full(50, -np.inf))[1] == math.inf
    weights, khat = psis(np.where(np.arange(1000) < 500, -np.inf, np.random.default_rng(0).standard_normal(1000)))
    assert math.isfinite(khat)
    assert np.exp(weights).sum() == pytest.approx(1)
    assert np.all(weights[:500] == -np.inf)


def test_khat_threshold() -> None:
    assert khat_threshold(100) == pytest.approx(0.5)
    assert khat_threshold(2000) == pytest.approx(1 - 1 / math.log10(2000))
    assert khat_threshold(10**6) == 0.7


# --- the ELBO ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("phi", [0.0, 0.8])
def test_a_noisy_elbo_that_stands_still_is_not_flagged_and_its_error_is_right(phi: float) -> None:
    """|t| > 4 with 18 degrees of freedom has probability 8e-4: more than 2 alarms in 200 seeds have probability 6e-4."""
    rng = np.random.default_rng(30)
    losses = 300 + 5 * autoregressive(rng, (200, 5000), phi)
    found = [elbo_trend(each) for each in losses]
    assert sum(not each.converged for each in found) <= 2
    spread = np.std([each.movement for each in found])
    assert np.sqrt(np.mean([each.standard_error**2 for each in found])) == pytest.approx(spread, rel=0.25)


def test_an_elbo_that_moves_is_flagged_with_its_direction() -> None:
    noise = 2 * np.random.default_rng(31).standard_normal(10_000)
    rising = elbo_trend(noise - np.arange(10_000) * 3e-3)  # 3 nats over the last 1000 steps, standard error 0.22
    assert not rising.converged
    assert rising.movement == pytest.approx(3.0, abs=4 * 0.22)
    assert rising.standard_error == pytest.approx(2 * math.sqrt(12 / 1000), rel=0.4)
    assert "still rises" in rising.reason
    falling = elbo_trend(noise + np.arange(10_000) * 3e-3)
    assert "still falls" in falling.reason


def test_a_movement_below_a_tenth_of_a_nat_does_not_matter() -> None:
    steps = np.arange(10_000)
    assert elbo_trend(-steps * 0.9e-4).converged
    assert not elbo_trend(-steps * 1.1e-4).converged


def test_only_the_last_tenth_counts() -> None:
    losses = np.concatenate([np.linspace(1000, 100, 9000), np.full(1000, 100.0)])
    assert elbo_trend(losses).converged


def test_an_elbo_that_cannot_be_judged_has_not_converged() -> None:
    assert "run at least num_steps=100" in elbo_trend(np.ones(50)).reason
    assert not elbo_trend(np.empty(0)).converged
    broken = np.ones(1000)
    broken[-1] = np.nan
    assert "not finite" in elbo_trend(broken).reason


# --- leave-one-out ----------------------------------------------------------------------------------------------------------


def test_loo_of_a_sampler_is_the_exact_one() -> None:
    regression = Regression()
    found = loo(regression.nuts())
    assert found.monte_carlo_error < 0.3
    assert found.elpd == pytest.approx(regression.exact_loo(), abs=4 * found.monte_carlo_error)
    assert found.pareto_k < 0.7


def test_loo_of_a_sampler_is_that_of_arviz() -> None:
    import arviz

    posterior = Regression().nuts(phi=0.3)
    theirs = arviz.loo(arviz.from_dict(posterior=posterior.draws, log_likelihood=posterior.log_likelihood), pointwise=True)
    found = loo(posterior)
    assert found.elpd == pytest.approx(theirs.elpd_loo, abs=0.05)  # the tail length differs: ours per case, theirs for all
    assert found.standard_error == pytest.approx(theirs.se, rel=0.01)
    assert found.pareto_ks == pytest.approx(theirs.pareto_k.values, abs=0.15)


def test_loo_of_a_guide_is_that_of_the_posterior_and_not_of_the_guide() -> None:
    regression = Regression()
    guide = regression.guide(cov=1.5 * regression.cov, shift=0.8, size=4000)
    found, exact = guide_loo(guide), regression.exact_loo()
    assert guide_khat(guide) < 0.7
    assert found.monte_carlo_error < 0.5
    assert found.elpd == pytest.approx(exact, abs=4 * found.monte_carlo_error)
    guide.log_guide = None  # the same draws, taken for draws of the posterior
    naive = loo(guide)
    assert abs(naive.elpd - exact) > 4 * naive.monte_carlo_error + 0.5


def test_the_monte_carlo_error_of_loo_is_the_spread_over_runs() -> None:
    """Standardized errors of 20 runs each have mean square 1 within 4 sqrt(2/20), for independent and for correlated draws."""
    regression = Regression()
    exact = regression.exact_loo()
    runs = {
        "independent": [loo(regression.nuts(seed=100 + i)) for i in range(20)],
        "correlated": [loo(regression.nuts(seed=200 + i, phi=0.7)) for i in range(20)],
        "guide": [loo(regression.guide(cov=1.3 * regression.cov, seed=300 + i)) for i in range(20)],
    }
    for name, found in runs.items():
        z = [(each.elpd - exact) / each.monte_carlo_error for each in found]
        assert 0.15 < np.mean(np.square(z)) < 2.26, name


def test_khat_orders_guides_and_a_bad_one_has_no_loo() -> None:
    regression = Regression()
    right, mean_field = regression.guide(cov=1.05 * regression.cov), regression.guide()
    narrow = regression.guide(cov=0.2 * regression.cov)
    assert guide_khat(right) < 0.1 < guide_khat(mean_field)
    assert guide_khat(narrow) == pytest.approx(1 - 0.2, abs=0.15)  # variances a fifth: the tail index in any number of dimensions
    assert math.isnan(loo(narrow).elpd)
    assert math.isnan(loo(narrow).pareto_k)
    assert math.isfinite(loo(right).elpd)
    with pytest.raises(ValueError, match="no guide"):
        guide_khat(regression.nuts())


# --- held-out data ----------------------------------------------------------------------------------------------------------


def test_held_out_scores_are_in_original_units() -> None:
    regression = Regression()
    posterior = regression.nuts()
    found = held_out(posterior, (regression.x_test, regression.y_test), target_scale=(10.0, 4.0))
    mean = regression.x_test @ regression.mean
    sd = np.sqrt(SIGMA**2 + np.einsum("ni,ij,nj->n", regression.x_test, regression.cov, regression.x_test))
    exact = stats.norm.logpdf(10 + 4 * regression.y_test, 10 + 4 * mean, 4 * sd).mean()
    assert found.log_density == pytest.approx(exact, abs=0.01)
    assert found.rmse == pytest.approx(np.sqrt(np.mean((4 * (regression.y_test - mean)) ** 2)), rel=0.01)


def test_held_out_refuses_what_it_cannot_use() -> None:
    regression = Regression()
    with pytest.raises(ValueError, match="positive scale"):
        held_out(regression.nuts(), (regression.x_test, regression.y_test), target_scale=(0.0, 0.0))
    with pytest.raises(ValueError, match=r"data=\(x_test, y_test\)"):
        held_out(regression.nuts(), (regression.x_test,))


# --- distances --------------------------------------------------------------------------------------------------------------


def test_wasserstein_of_shifted_and_of_scaled_draws() -> None:
    draws = np.random.default_rng(40).standard_normal((4, 1000, 3))
    assert wasserstein(draws, draws + np.array([0.0, 0.5, -2.0])) == pytest.approx([0.0, 0.5, 2.0])
    scaled = wasserstein(draws, 3 * draws[:, ::2])  # W1 of N(0, 1) and N(0, 9) is 2 E|z|
    assert scaled == pytest.approx(2 * math.sqrt(2 / math.pi), abs=0.1)
    with pytest.raises(ValueError, match="3 and 2 coefficients"):
        wasserstein(draws, draws[..., :2])


def test_the_floor_is_noise_for_good_chains_and_sees_a_drift() -> None:
    draws = np.random.default_rng(41).standard_normal((4, 1000, 30))
    repeats = [np.random.default_rng(seed).standard_normal((2, 2000)) for seed in range(60)]
    expected = np.mean([stats.wasserstein_distance(*each) for each in repeats])
    assert monte_carlo_floor(draws) == pytest.approx(expected, rel=0.25)
    drift = draws + np.linspace(0, 1, 1000)[:, None]
    assert monte_carlo_floor(drift) == pytest.approx(0.5, abs=0.05)


def test_weight_sites_leave_out_auxiliary_sites_and_scalars() -> None:
    matrix, scalar = np.zeros((1, 2, 3)), np.zeros((1, 2))
    sites = {"w1_noise": matrix, "w1": matrix, "w1_tau": scalar, "sigma": scalar, "w10": matrix, "b1": scalar}
    assert weight_sites(chains_of(sites)) == ("w1", "w10")
    with pytest.raises(ValueError, match="no site holds coefficients"):
        weight_sites(chains_of({"sigma": scalar}))


def test_mean_field_is_too_narrow_by_the_analytical_ratio() -> None:
    regression = Regression()
    found = contrast(regression.guide(), regression.nuts())
    expected = np.sqrt(np.diag(regression.mean_field_cov) / np.diag(regression.cov))
    assert found.sd_ratio == pytest.approx(expected, rel=0.1)
    assert found.shift == pytest.approx(np.zeros(NUM_COLUMNS), abs=0.15)
    sds = np.sqrt(np.diag(regression.cov))
    assert found.distance == pytest.approx(np.mean(np.abs(1 - expected) * sds) * math.sqrt(2 / math.pi), rel=0.15)


# --- the table --------------------------------------------------------------------------------------------------------------


LAPLACE, HALF_CAUCHY = "Rayleigh(scale=1) × N(0, 1²)", "HalfCauchy(scale=1) × N(0, 1²)"


def fits() -> dict[str, Any]:
    regression = Regression()
    sick = regression.nuts(seed=5, prior=HALF_CAUCHY, parametrization="hierarchical")
    sick.draws["w1"][1] += 1.0
    sick.sample_stats["diverging"][:, :50] = True
    moving = regression.guide(prior=HALF_CAUCHY, parametrization="hierarchical", cov=0.2 * regression.cov)
    moving.losses = moving.losses - 0.02 * np.arange(5000)
    return {
        "ridge-single-nuts": regression.nuts(seed=1, parametrization="single"),
        "ridge-single-svi": regression.guide(parametrization="single"),
        "laplace-expanded-nuts": regression.nuts(seed=2, prior=LAPLACE),
        "laplace-marginal-nuts": regression.nuts(seed=3, prior=LAPLACE, parametrization="marginal", backend="pyro"),
        "laplace-expanded-svi": regression.guide(prior=LAPLACE),
        "horseshoe-hierarchical-nuts": sick,
        "horseshoe-hierarchical-svi": moving,
    }


@pytest.fixture(scope="module")
def comparison() -> Any:
    regression = Regression()
    return compare(fits(), data=(regression.x_test, regression.y_test), target_scale=(0.0, 2.0))


def test_the_table_has_a_row_a_fit_in_the_given_order(comparison: Any) -> None:
    table = comparison.table
    assert list(table.index) == list(fits())
    assert list(table["prior"]) == ["ridge"] * 2 + ["laplace"] * 3 + ["horseshoe"] * 2
    assert list(table["converged"]) == [True, True, True, True, True, False, False]
    numeric = table.drop(columns=["prior", "parametrization", "method", "backend", "reference", "converged"])
    assert all(np.issubdtype(dtype, np.number) for dtype in numeric.dtypes)
    assert table["test_rmse"].notna().all()
    assert table.loc["laplace-expanded-nuts", "ess_per_second"] == pytest.approx(table.loc["laplace-expanded-nuts", "min_ess_bulk"] / 4.0)
    assert table.loc["horseshoe-hierarchical-nuts", "divergences"] == 200


def test_the_marginal_form_is_the_reference_and_distances_stand_over_the_floor(comparison: Any) -> None:
    table = comparison.table
    assert list(table.index[table["reference"]]) == ["ridge-single-nuts", "laplace-marginal-nuts"]
    assert math.isnan(table.loc["laplace-marginal-nuts", "w1_to_reference"])
    same, narrow = table.loc["laplace-expanded-nuts"], table.loc["laplace-expanded-svi"]
    assert same["w1_to_reference"] < 2 * same["w1_floor"]
    assert narrow["w1_to_reference"] > 5 * narrow["w1_floor"]


def test_without_a_valid_reference_distances_are_blank_and_a_verdict_says_why(comparison: Any) -> None:
    rows = comparison.table.loc[["horseshoe-hierarchical-nuts", "horseshoe-hierarchical-svi"]]
    assert rows[["w1_to_reference", "w1_floor"]].isna().all().all()
    told = [sentence for sentence in comparison.verdicts if "horseshoe" in sentence]
    assert "distances are blank, as none of its fits is by NUTS in the marginal or the expanded form" in told[0]
    for part in ("not converged", "R-hat of w1[", "200 divergences, 5 % of the draws", "use parametrization='expanded'"):
        assert part in told[1]
    for part in ("not converged: the ELBO still rises", "its elpd_loo is blank"):
        assert part in told[2]
    assert math.isnan(comparison.table.loc["horseshoe-hierarchical-svi", "elpd_loo"])


def test_verdicts_on_healthy_fits(comparison: Any) -> None:
    told = {sentence.split(":")[0].split(",")[0]: sentence for sentence in comparison.verdicts}
    assert "laplace-marginal-nuts is a valid reference" in told["laplace"]
    assert "agrees with the reference" in told["laplace-expanded-nuts"]
    assert "converged; too narrow" in told["ridge-single-svi"]


def test_a_reference_that_fails_the_rule_is_none_even_if_asked_for() -> None:
    found: Any = compare(fits(), reference={"horseshoe": "horseshoe-hierarchical-nuts", LAPLACE: "laplace-expanded-nuts"})
    assert list(found.table.index[found.table["reference"]]) == ["ridge-single-nuts", "laplace-expanded-nuts"]
    assert any("horseshoe-hierarchical-nuts is not a reference: R-hat" in sentence for sentence in found.verdicts)
    assert found.table["test_rmse"].isna().all()
    found = compare(fits(), reference="laplace-expanded-nuts")
    assert found.table.loc["laplace-expanded-nuts", "reference"]


@pytest.mark.parametrize(
    ("reference", "match"),
    [
        ("nothing", "'nothing' is none of the fits"),
        ("ridge-single-svi", "is a variational fit"),
        ({"lasso": "ridge-single-nuts"}, "names the prior 'lasso'"),
        ({"laplace": "ridge-single-nuts"}, "distances need the same prior"),
    ],
)
def test_impossible_references_are_refused(reference: Any, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        compare(fits(), reference=reference)


def test_bad_input_is_refused() -> None:
    with pytest.raises(ValueError, match="dict from name to posterior"):
        compare({})
    with pytest.raises(ValueError, match="'a' and 'b' were fitted to different data"):
        compare({"a": Regression(0).nuts(), "b": Regression(1).nuts()})


def test_guides_alone_can_be_compared() -> None:
    found: Any = compare({"a": Regression().guide(), "b": Regression().guide(seed=5)})
    assert found.table["w1_to_reference"].isna().all()
    assert found.table["prior"].tolist() == ["N(0, 1²)"] * 2
    assert set(found.plot()) == {"coefficients", "shrinkage"}


def test_the_markdown_table_reads_like_the_table(comparison: Any) -> None:
    lines = comparison.to_markdown().splitlines()
    assert len(lines) == 2 + len(comparison.table)
    assert len({len(line) for line in lines}) == 1
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    rows: Any = pd.DataFrame(cells[2:], columns=cells[0])
    assert rows["converged"].tolist() == ["yes"] * 5 + ["no"] * 2
    assert rows["W₁ to ref."].tolist()[3] == "ref"
    assert rows["draws"].tolist()[:2] == ["4 × 1000", "1 × 2000"]
    assert rows["R-hat"].tolist()[1] == ""
    assert float(rows["elpd_loo"][0]) == pytest.approx(comparison.table["elpd_loo"].iloc[0], abs=0.05)


def test_the_report_holds_everything(comparison: Any, tmp_path: Path) -> None:
    path = comparison.report(tmp_path / "new")
    text = path.read_text(encoding="utf-8")
    assert {each.name for each in path.parent.iterdir()} == {
        "coefficients.png",
        "report.md",
        "shrinkage.png",
        "table.csv",
        "table.md",
        "variational.png",
    }
    assert comparison.to_markdown() in text
    assert all(sentence in text for sentence in comparison.verdicts)
    table = pd.read_csv(path.parent / "table.csv", index_col="fit")
    for name in comparison.table.columns:
        if np.issubdtype(comparison.table[name].to_numpy().dtype, np.floating):
            assert table[name].to_numpy() == pytest.approx(comparison.table[name].to_numpy(), rel=1e-12, nan_ok=True)


def test_each_figure_asks_a_question_and_nothing_overlaps(comparison: Any) -> None:
    for figure in comparison.plot().values():
        assert figure.get_suptitle().endswith("?")
        figure.canvas.draw()
        legend = figure.subfigs[1].legends[0].get_window_extent()
        assert 0 <= legend.x0 < legend.x1 <= figure.bbox.width
        for axes in figure.axes:
            boxes = [label.get_window_extent() for label in axes.get_xticklabels() if label.get_text() and label.get_visible()]
            assert all(left.x1 <= right.x0 for left, right in pairwise(boxes))
            assert axes.get_tightbbox().y0 >= legend.y1


def test_coefficient_figure_shows_the_right_medians(comparison: Any) -> None:
    axes = comparison.plot()["coefficients"].axes
    assert [each.get_title() for each in axes] == ["ridge", "laplace", "horseshoe\n(no valid reference)"]
    medians = [each for each in axes[0].collections if type(each).__name__ == "PathCollection"]
    drawn = np.sort(np.concatenate([np.asarray(each.get_offsets())[:, 0] for each in medians]))
    expected = np.sort(np.median(fits()["ridge-single-nuts"].draws["w1"], axis=(0, 1)))
    assert drawn == pytest.approx(expected)
    assert [label.get_text() for label in axes[0].get_yticklabels()][-1] == "3 noise\ncolumns"


def test_figures_of_unlabeled_and_of_matrix_weights() -> None:
    posterior = Regression().nuts()
    posterior.dims, posterior.coords = {}, {}
    figures = compare({"only": posterior}).plot()
    assert set(figures) == {"coefficients", "shrinkage"}
    assert figures["coefficients"].axes[0].get_yticklabels()[0].get_text().startswith("w1[")
    matrix = chains_of(
        {"w1": np.random.default_rng(50).standard_normal((4, 100, 3, 2)), "w2": np.random.default_rng(51).random((4, 100, 2))}
    )
    assert set(compare({"net": matrix}).plot()) == {"coefficients"}


def test_importing_the_comparison_loads_neither_a_language_nor_matplotlib() -> None:
    heavy = "{'torch', 'jax', 'pyro', 'numpyro', 'arviz', 'matplotlib'}"
    code = f"import sys, scalemix.comparison; found = {heavy} & set(sys.modules); assert not found, found"
    subprocess.run([sys.executable, "-c", code], check=True)
