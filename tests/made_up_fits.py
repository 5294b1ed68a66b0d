"""Fits made up in NumPy, of which everything is known: what the tests of the comparison judge."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cache
from types import SimpleNamespace
from typing import Any

import numpy as np
from scipy import stats as scipy_stats

from scalemix.comparison import compare

stats: Any = scipy_stats  # its frozen laws carry no types
NUM_COLUMNS, NUM_CASES, SIGMA = 6, 40, 0.7
CHAINS, DRAWS = 4, 1000
LAPLACE, HALF_CAUCHY = "Rayleigh(scale=1) × N(0, 1²)", "HalfCauchy(scale=1) × N(0, 1²)"


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
    identified: dict[str, np.ndarray] = field(default_factory=dict)
    observed: dict[str, np.ndarray] = field(default_factory=dict)
    constant: dict[str, np.ndarray] = field(default_factory=dict)
    model: Any = None
    data: tuple = ()

    noise_of_new_rows = "posterior"

    @property
    def is_variational(self) -> bool:
        return self.losses is not None or self.log_guide is not None

    def predict(self, x: Any, *, seed: int, noise: str = "posterior") -> SimpleNamespace:
        mean = self.draws["w1"].reshape(-1, self.draws["w1"].shape[-1]) @ np.asarray(x).T
        return SimpleNamespace(mean=mean.mean(axis=0), draws=mean + SIGMA * np.random.default_rng(seed).standard_normal(mean.shape))

    def pointwise_log_likelihood(self, x: Any, y: Any, *, noise: str = "posterior") -> dict[str, np.ndarray]:
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
        "proper": True,
        "notes": [],
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


def network(seed: int, spread: float, shift: float) -> Any:
    """What a network's fit holds: hidden units in any order, functions and a log likelihood in units far apart."""
    rng = np.random.default_rng(seed)
    posterior = Regression().nuts(seed=seed)
    posterior.draws["w1"] = posterior.draws["w1"][..., rng.permutation(NUM_COLUMNS)]
    functions = spread * rng.standard_normal((4, 1000, 3))
    posterior.identified = {"y_mean": functions, "y_log_likelihood": 100.0 * (rng.standard_normal((4, 1000)) + shift)}
    return posterior


def many_fits() -> dict[str, Any]:
    """Samplers and guides under three priors, of which one has no sound fit."""
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


@cache
def compared() -> Any:
    """The comparison of ``many_fits``, with held-out cases."""
    regression = Regression()
    return compare(many_fits(), data=(regression.x_test, regression.y_test), target_scale=(0.0, 2.0))
