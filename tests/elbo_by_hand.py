"""A variational objective written by hand in NumPy, and noise that both languages are given instead of their own."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
import torch
from scipy import special

import scalemix.numpyro.variational
import scalemix.pyro.variational

__all__ = ["DIVERGENCES", "central_differences", "given_noise", "mlp_loss", "noise_of"]


def noise_of(shape: tuple[int, ...]) -> np.ndarray:
    """Standard normals that depend on the shape alone."""
    return np.random.default_rng([7, *shape]).normal(size=shape)


def given_noise(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both languages draw ``noise_of`` the shape they ask for."""
    monkeypatch.setattr(
        scalemix.pyro.variational, "standard_normal", lambda like: torch.as_tensor(noise_of(tuple(like.shape))).to(like.dtype)
    )
    monkeypatch.setattr(
        scalemix.numpyro.variational, "standard_normal", lambda key, like: jnp.asarray(noise_of(tuple(like.shape)), like.dtype)
    )


def _log_uniform(loc: np.ndarray, log_variance: np.ndarray) -> float:
    """KL less its limit, by quadrature of E log|1 + √α ε|: KL(α) = E log|√α ε + 1| − ½ log α + constant, the constant from α = ∞."""
    log_alpha = np.atleast_1d(log_variance - np.log(loc**2)).ravel()
    root = np.exp(-0.5 * log_alpha) / np.sqrt(2.0)  # √u
    nodes, weights = np.polynomial.legendre.leggauss(60)  # 2 ∫₀^√u D(t) dt
    t = 0.5 * root[:, None] * (nodes + 1.0)
    return float(np.sum(root[:, None] * weights * special.dawsn(t)))


def _gaussian_uniform(loc: np.ndarray, log_variance: np.ndarray) -> float:
    return float(0.5 * np.sum(np.log(1.0 + loc**2 / np.exp(log_variance))))


def _normal(loc: np.ndarray, log_variance: np.ndarray) -> float:
    """To N(0, 1/fan_in), as the network scales its weights."""
    prior_variance = 1.0 / loc.shape[0]
    return float(0.5 * np.sum((np.exp(log_variance) + loc**2) / prior_variance - 1.0 - log_variance + np.log(prior_variance)))


DIVERGENCES = {"LogUniform": _log_uniform, "GaussianUniformMaximized": _gaussian_uniform, "Normal": _normal}


def mlp_loss(
    params: dict[str, np.ndarray], x: np.ndarray, y: np.ndarray, prior: str, *, lazy: bool, num_data: int, kl_weight: float
) -> Any:
    """loss, nll and kl of a tanh network with N(0, 1) priors on biases that are points, sigma = e^sigma_loc a point under HalfNormal(1)."""
    sigma, hidden, kl = np.exp(params["sigma_loc"]), x, 0.5 * np.exp(2.0 * params["sigma_loc"]) - 0.5 * np.log(2.0 / np.pi)
    num_layers = sum(name.startswith("b") for name in params)
    for layer in range(1, num_layers + 1):
        loc, log_variance, bias = params[f"w{layer}_loc"], params[f"w{layer}_log_variance"], params[f"b{layer}_loc"]
        if lazy:
            mean = hidden @ loc
            out = mean + np.sqrt(hidden**2 @ np.exp(log_variance)) * noise_of(mean.shape)
        else:
            out = hidden @ (loc + np.exp(0.5 * log_variance) * noise_of(loc.shape))
        hidden = out + bias
        hidden = np.tanh(hidden) if layer < num_layers else hidden
        kl += DIVERGENCES[prior](loc, log_variance) + 0.5 * np.sum(bias**2 + np.log(2.0 * np.pi))
    nll = num_data / len(y) * np.sum(0.5 * ((y - hidden[:, 0]) / sigma) ** 2 + np.log(sigma) + 0.5 * np.log(2.0 * np.pi))
    return nll + kl_weight * kl, nll, kl


def central_differences(function: Any, params: dict[str, np.ndarray], step: float = 1e-6) -> dict[str, np.ndarray]:
    """Gradient of ``function(params)``."""
    gradient = {name: np.zeros_like(value) for name, value in params.items()}
    for name, value in params.items():
        for index in np.ndindex(value.shape):
            ends = []
            for sign in (1.0, -1.0):
                moved = {**params, name: value.copy()}
                moved[name][index] += sign * step
                ends.append(function(moved))
            gradient[name][index] = (ends[0] - ends[1]) / (2.0 * step)
    return gradient
