"""Objectives written by hand for the tests of training: Bayesian linear regression with a mean-field normal guide. Run as a program, it
trains in a folder.
"""

from __future__ import annotations

import importlib
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from scalemix.training import Settings

__all__ = ["NOISE_SD", "elbo_optimum", "full_batch_loss", "make_data", "regression", "run_in"]

NOISE_SD, PRIOR_SD = 0.5, 2.0


def make_data(num_data: int = 60, num_features: int = 3, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    x = random.normal(size=(num_data, num_features))
    return x, x @ np.linspace(-1.0, 1.0, num_features) + NOISE_SD * random.normal(size=num_data)


def elbo_optimum(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and log variance of the best mean-field normal: the posterior's mean, and one over the diagonal of its precision."""
    precision = x.T @ x / NOISE_SD**2 + np.eye(x.shape[1]) / PRIOR_SD**2
    return np.linalg.solve(precision, x.T @ y / NOISE_SD**2), -np.log(np.diag(precision))


def full_batch_loss(loc: np.ndarray, log_variance: np.ndarray, x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """E_q[−log p(y|w)] and KL(q, p), in closed form."""
    variance = np.exp(log_variance)
    nll = 0.5 * np.log(2 * np.pi * NOISE_SD**2) * len(y) + 0.5 * np.sum((y - x @ loc) ** 2 + x**2 @ variance) / NOISE_SD**2
    kl = 0.5 * np.sum((variance + loc**2) / PRIOR_SD**2 - 1 - log_variance + 2 * np.log(PRIOR_SD))
    return float(nll), float(kl)


def regression(language: str, num_features: int = 3, *, sampled: bool = False, broken_after: float | None = None) -> Any:
    """The objective in one of the languages; ``sampled`` draws w, else the expectation is closed. ``broken_after``: √(this − |loc|)."""
    if language == "numpyro":
        import jax
        import jax.numpy as xp

        def normal(key: Any, like: Any) -> Any:
            return jax.random.normal(key, like.shape, like.dtype)

        def zeros() -> Any:
            return xp.zeros(num_features)
    else:
        import torch as xp

        def normal(key: Any, like: Any) -> Any:
            return xp.randn_like(like)

        def zeros() -> Any:
            return xp.zeros(num_features)

    class Regression:
        params = {"w_loc": zeros(), "w_log_variance": zeros() - 3.0}  # noqa: RUF012

        def loss(self, params: dict[str, Any], batch: tuple, key: Any, kl_weight: Any, num_data: int) -> tuple[Any, dict[str, Any]]:
            x, y = batch
            loc, log_variance = params["w_loc"], params["w_log_variance"]
            variance = xp.exp(log_variance)
            if sampled:
                w = loc + xp.exp(0.5 * log_variance) * normal(key, loc)
                squares = (y - x @ w) ** 2
            else:
                squares = (y - x @ loc) ** 2 + (x * x) @ variance
            constant = 0.5 * float(np.log(2 * np.pi * NOISE_SD**2))
            nll = num_data * xp.mean(constant + 0.5 * squares / NOISE_SD**2)
            kl = 0.5 * xp.sum((variance + loc * loc) / PRIOR_SD**2 - 1 - log_variance + 2 * float(np.log(PRIOR_SD)))
            if broken_after is not None:
                kl = kl + xp.sum(xp.sqrt(broken_after - abs(loc)))
            return nll + kl_weight * kl, {"nll": nll, "kl": kl}

    return Regression()


def run_in(folder: Path | None, language: str, num_epochs: int) -> Any:
    """The training that a child process goes on with: sampled gradients, minibatches of 16, and a checkpoint after each call."""
    settings = Settings(
        num_epochs=num_epochs,
        batch_size=16,
        learning_rate=0.01,
        schedule="linear",
        checkpoint_minutes=1e-6,
        progress=False,
        dtype="float64",
    )
    engine = importlib.import_module(f"scalemix.{language}").engine
    wait = [lambda *_: time.sleep(0.005)]  # each epoch is a call
    with engine.precision("float64", "cpu"):
        objective = regression(language, sampled=True)
        return engine.train(objective, make_data(), settings, seed=5, callbacks=wait, folder=folder, resume=folder is not None)


if __name__ == "__main__":
    run_in(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
