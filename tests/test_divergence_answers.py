"""Known answers of the formulas, in NumPy and in both languages: rows C5, D, E, F, G and I11, where they are about a formula.

A row that is an optimum is found by SciPy, on the objective made of the library's penalty in that language.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from known_answers import KNOWN
from scipy import optimize, special, stats

import scalemix.numpyro as in_numpyro
import scalemix.pyro as in_pyro
from scalemix import divergences as d
from scalemix import noise

Arrays = Callable[[Any], Any]
LANGUAGES: dict[str, Arrays] = {
    "numpy": lambda x: np.asarray(x, dtype=float),
    "torch": lambda x: torch.as_tensor(np.asarray(x, dtype=float)),
    "jax": lambda x: jnp.asarray(x, dtype=jnp.float64),
}
SBNN = {"prior_inclusion": 0.4, "slab_scale": math.e, "spike_scale": math.exp(-3)}
UCI = {"prior_inclusion": 0.5, "slab_scale": math.e, "spike_scale": math.exp(-6)}
SCALAR = {"prior_inclusion": 0.5, "slab_scale": 1.0, "spike_scale": 0.05}
X = np.array([[1, 0.5, -1], [0, 2, 0.3], [-0.7, 0.1, 1.1], [0.4, -1.2, 0.8]])
Y, W = np.array([0.9, -0.2, 1.5, 0.1]), np.array([0.5, -0.3, 0.8])


@pytest.fixture(autouse=True)
def float64() -> Iterator[None]:
    with in_pyro.engine.precision("float64", "cpu"), in_numpyro.engine.precision("float64", "cpu"):
        yield


def minimize(function: Callable[[float, float], Any], start: tuple[float, float]) -> tuple[float, float, float]:
    """(mean, scale, minimum) of function(mean, log scale)."""
    found = optimize.minimize(
        lambda v: float(function(float(v[0]), math.exp(v[1]))), start, method="Nelder-Mead", options={"xatol": 1e-9, "fatol": 1e-14}
    )
    return float(found.x[0]), math.exp(found.x[1]), float(found.fun)


def vbd_optimum(a: Arrays, y: float, weight: float) -> tuple[float, float, float]:
    return minimize(lambda m, s: 0.5 * ((y - m) ** 2 + s**2) + weight * d.bounded_gaussian_uniform(a(m), a(s)), (y, -1.0))


def vibnet_least(a: Arrays, mean: float, omega: float) -> tuple[float, float]:
    """(σ², minimum) of log(1 + μ²/σ²) + σ²/ω, of the library's penalty."""
    cost = lambda t: float(2 * d.vibnet(a(mean), a(math.exp(0.5 * t)), kl_scale=1.0)) + math.exp(t) / omega  # noqa: E731
    found = optimize.minimize_scalar(cost, bounds=(-12.0, 5.0), method="bounded", options={"xatol": 1e-12})
    return math.exp(found.x), float(found.fun)


def slope(a: Arrays, function: Callable[[Any], Any], x: float) -> float:
    """Derivative in the language; in NumPy by differences."""
    at = a(x)
    if isinstance(at, torch.Tensor):
        return float(torch.autograd.grad(function(at.requires_grad_()), at)[0])
    if isinstance(at, jax.Array):
        return float(jax.grad(function)(at))
    h = 1e-5 * max(abs(x), 1e-3)
    return float((function(a(x + h)) - function(a(x - h))) / (2 * h))


OMEGA, OMEGA2 = 0.4 / 1.3, 0.05 / 1.3
ANSWERS: dict[str, Callable[[Arrays], Any]] = {
    "C5": lambda a: d.expected_squared_error(a(X), a(Y), a(W), noise_scale=math.sqrt(0.3 / 0.7)),
    **{f"D1.{x}": lambda a, x=x: d.log_uniform(a(x)) for x in (-6, -3, -1, 0, 1, 3, 6)},
    "D2": lambda a: d.log_uniform(a(-12.0)) - 6.0 + 0.5 * math.exp(-12.0),  # the next term of the limit is −α/2
    "D3": lambda a: d.log_uniform(a(0.0), "molchanov"),
    "D4": lambda a: slope(a, d.log_uniform, 0.4),
    "D5": lambda a: d.gaussian_uniform(a(math.log(1.9))),
    "D6": lambda a: stats.norm.pdf(0.3, scale=math.sqrt(float(d.gaussian_uniform_variance(a(0.3), a(0.0))))),
    "D7": lambda a: vbd_optimum(a, 2.0, 1.0)[0],
    "D7b": lambda a: vbd_optimum(a, 2.0, 1.0)[1] ** 2,
    "D7c": lambda a: vbd_optimum(a, 2.0, 1.0)[2],
    "D8": lambda a: special.expit(float(d.log_alpha(a(0.2), a(0.2 * math.exp(1.5))))),
    "D9c": lambda a: vbd_optimum(a, 3.0, 2.5)[0],
    "E1": lambda a: d.truncated_log_uniform(a(-1.0), a(0.5)),
    "E2": lambda a: d.truncated_log_uniform_moments(-1.0, 0.5)[0],
    "E3": lambda a: d.truncated_log_uniform_moments(-1.0, 0.5)[1],
    "E4": lambda a: d.hard_concrete(a(0.5)),
    "E6": lambda a: d.hard_concrete_gate(a(0.5)),
    "E7": lambda a: d.log_normal_gamma(a(-0.7), a(0.6), concentration=0.5, prior_scale=0.09),
    "E8": lambda a: d.log_normal_inverse_gamma(a(-0.7), a(0.6), concentration=0.5, prior_scale=1.0),
    "E10": lambda a: d.concrete_dropout(a(37.5), a(0.2), length_scale=0.1, num_inputs=64, num_data=1000),
    "F3": lambda a: d.vibnet_profile(a(0.7), a(OMEGA)),
    "F3b": lambda a: vibnet_least(a, 0.7, OMEGA)[0],
    "F3.2": lambda a: d.vibnet_profile(a(2.0), a(OMEGA2)),
    "F3b.2": lambda a: vibnet_least(a, 2.0, OMEGA2)[0],
    "F4": lambda a: d.vibnet_profile(a(0.7), a(OMEGA)) + math.log(OMEGA),
    "F5": lambda a: d.vibnet_profile(a(1.0), a(1.0)) + math.log(2.0),
    "G1": lambda a: d.spike_slab(a(0.03), a(0.02), a(0.7), **SBNN),
    "G2": lambda a: d.inclusion(a(0.03), a(0.02), **SBNN),
    "G3": lambda a: d.collapsed_spike_slab(a(0.03), a(0.02), **SBNN) + 0.5,
    "G6": lambda a: slope(a, lambda s2: d.spike_slab(a(0.03), s2**0.5, a(0.7), **SBNN), 4e-4),
    "G7": lambda a: d.inclusion(a(0.0), a(0.0), **UCI),
    "G8": lambda a: optimize.brentq(lambda r: float(d.inclusion(a(r), a(0.0), **UCI)) - 0.5, 0.0, 1.0, xtol=1e-15),
    "G9": lambda a: d.minibatch_weights(10, method="geometric")[0],
    "G11": lambda a: minimize(lambda m, s: ((1 - m) ** 2 + s**2) / 0.08 + d.collapsed_spike_slab(a(m), a(s), **SCALAR), (1.0, -1.5))[0],
}


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("row", ANSWERS)
def test_known_answer(row: str, language: str) -> None:
    assert float(ANSWERS[row](LANGUAGES[language])) == pytest.approx(KNOWN[row].value, rel=1e-6)


def test_the_weights_of_minibatches_sum_to_1() -> None:
    for method in ("uniform", "geometric"):
        assert d.minibatch_weights(10, method=method).sum() == pytest.approx(1.0, rel=1e-12)
    assert d.minibatch_weights(3000, method="geometric")[:3] == pytest.approx([0.5, 0.25, 0.125])


def test_the_gate_at_1_is_that_of_the_noise() -> None:
    """E4 and E5: the penalty differentiates the atom that ``noise.HardConcrete`` has."""
    law = noise.HardConcrete(0.5)
    assert law.scipy().at_one == pytest.approx(KNOWN["E5"].value, rel=1e-6)
    assert float(d.hard_concrete(0.5)) == pytest.approx(1.0 - law.atom, rel=1e-12)


def test_dropout_of_a_linear_model_by_enumeration() -> None:
    """C5 is the mean over 2³ masks; its Gaussian counterpart of the same variance has the same value."""
    keep = 0.7
    masks = np.array(list(itertools.product([0.0, 1.0 / keep], repeat=3)))
    prob = np.prod(np.where(masks > 0, keep, 1 - keep), axis=1)
    mean = prob @ [0.5 * np.sum((Y - X @ (mask * W)) ** 2) for mask in masks]
    assert mean == pytest.approx(KNOWN["C5"].value, rel=1e-9)
    not_inverted = d.expected_squared_error(X, Y, W, noise_mean=keep, noise_scale=math.sqrt(keep * (1 - keep)))
    assert not_inverted == pytest.approx(prob @ [0.5 * np.sum((Y - X @ (keep * mask * W)) ** 2) for mask in masks], rel=1e-9)
