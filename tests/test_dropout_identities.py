"""What the penalties imply: optima in closed form for one weight, and which methods are the same, on the level of the formulas.

One observation y ~ N(w, s²) and q(w) = N(θ, σ²): the objective is E_q[(y − w)²]/(2s²) + penalty.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from known_answers import KNOWN
from scipy import optimize

import scalemix.numpyro as in_numpyro
import scalemix.pyro as in_pyro
from scalemix import divergences as d

Penalty = Callable[[Any, Any], Any]


@pytest.fixture(autouse=True)
def float64() -> Iterator[None]:
    with in_pyro.engine.precision("float64", "cpu"), in_numpyro.engine.precision("float64", "cpu"):
        yield


Slopes = Callable[[np.ndarray], tuple[float, np.ndarray]]


def torch_slopes(function: Callable[[Any], Any]) -> Slopes:
    def both(x: np.ndarray) -> tuple[float, np.ndarray]:
        at = torch.tensor(x, requires_grad=True)
        value = function(at)
        return float(value.detach()), torch.autograd.grad(value, at)[0].numpy()

    return both


def jax_slopes(function: Callable[[Any], Any]) -> Slopes:
    compiled = jax.jit(jax.value_and_grad(function))

    def both(x: np.ndarray) -> tuple[float, np.ndarray]:
        value, grad = compiled(jnp.asarray(x))
        return float(value), np.asarray(grad)

    return both


SLOPES = {"torch": torch_slopes, "jax": jax_slopes}


def descend(slopes: Callable[..., Slopes], function: Callable[[Any], Any], start: list[float], reach: float = 12.0) -> Any:
    """L-BFGS in (mean, log scale, ...) with the gradients of a language, no further than ``reach``: its first step is of length 1."""
    bounds = [(each - reach, each + reach) for each in start]
    return optimize.minimize(slopes(function), start, jac=True, method="L-BFGS-B", bounds=bounds, options={"ftol": 1e-16, "gtol": 1e-10})


def one_weight(penalty: Penalty, y: float, s: float) -> Callable[[Any], Any]:
    """Objective of (θ, log σ) as one array."""

    def objective(v: Any) -> Any:
        scale = v[1].exp() if isinstance(v, torch.Tensor) else jnp.exp(v[1])
        return ((y - v[0]) ** 2 + scale**2) / (2 * s**2) + penalty(v[0], scale)

    return objective


@pytest.mark.parametrize("language", SLOPES)
@pytest.mark.parametrize(("y", "s"), [(2.0, 1.0), (1.5, 1.0), (-3.0, 1.0), (5.0, 1.0), (0.9, 0.25)])
def test_vbd_of_one_weight_is_the_nonnegative_garrote(y: float, s: float, language: str) -> None:
    """θ = y − s²/y, σ² = s²(1 − s²/y²), α = s²/(y² − s²), objective ½ + log|y/s|: sparse Bayesian learning, γ = y² − s² (D9, D9b, I11)."""
    found = descend(SLOPES[language], one_weight(d.bounded_gaussian_uniform, y, s), [y, math.log(0.3 * s)])
    theta, scale = found.x[0], math.exp(found.x[1])
    assert theta == pytest.approx(y - s**2 / y, rel=1e-6)
    assert scale**2 == pytest.approx(s**2 * (1 - s**2 / y**2), rel=1e-6)
    assert float(d.log_alpha(theta, scale)) == pytest.approx(math.log(s**2 / (y**2 - s**2)), abs=1e-5)
    assert found.fun == pytest.approx(0.5 + math.log(abs(y) / s), rel=1e-9)
    evidence = optimize.minimize_scalar(
        lambda g: 0.5 * math.log(g + s**2) + 0.5 * y**2 / (g + s**2), bounds=(1e-6, 100), method="bounded", options={"xatol": 1e-9}
    )
    gamma = float(d.gaussian_uniform_variance(theta, scale))
    assert gamma == pytest.approx(y**2 - s**2, rel=1e-5)
    assert gamma == pytest.approx(float(evidence.x), rel=1e-4)  # type-II maximum likelihood
    assert theta == pytest.approx(gamma / (gamma + s**2) * y, rel=1e-5)


def test_vbd_drops_what_is_within_the_noise() -> None:
    """|y| ≤ s: θ = 0, and the objective, y²/(2s²), is only reached in the limit σ → 0 with α → ∞."""
    found = descend(torch_slopes, one_weight(d.bounded_gaussian_uniform, 0.8, 1.0), [0.5, -0.5])
    assert abs(found.x[0]) < 1e-3 and found.fun == pytest.approx(0.32, abs=1e-4)
    assert float(d.log_alpha(*np.array([found.x[0], math.exp(found.x[1])]))) > 3.0


@pytest.mark.parametrize("language", SLOPES)
def test_gamma_as_a_point_reaches_the_same_optimum(language: str) -> None:
    """KL(N(θ, σ²) ‖ N(0, γ)) minimized in θ, σ and γ together, against the collapsed form (y = 2, s = 1)."""

    def objective(v: Any) -> Any:
        exp = torch.exp if isinstance(v, torch.Tensor) else jnp.exp
        scale = exp(v[1])
        return 0.5 * ((2.0 - v[0]) ** 2 + scale**2) + d.normal(v[0], scale, prior_scale=exp(0.5 * v[2]))

    found = descend(SLOPES[language], objective, [2.0, -1.0, 0.0])
    assert found.x[0] == pytest.approx(1.5, rel=1e-5)
    assert math.exp(found.x[2]) == pytest.approx(3.0, rel=1e-5)
    assert found.fun == pytest.approx(KNOWN["D7c"].value, rel=1e-8)


def test_bounds_on_gamma_bind_where_they_should() -> None:
    """γ held within [a, b] is the Gaussian prior of that variance: ridge regression, θ = y γ/(γ + s²)."""
    for low, high, gamma in ((0.0, 0.5, 0.5), (6.0, 20.0, 6.0), (0.0, 10.0, 3.0)):
        penalty = lambda m, s, low=low, high=high: d.bounded_gaussian_uniform(m, s, low=low, high=high)  # noqa: E731
        found = descend(torch_slopes, one_weight(penalty, 2.0, 1.0), [2.0, -1.0])
        assert found.x[0] == pytest.approx(2.0 * gamma / (gamma + 1.0), rel=1e-5)


@pytest.mark.parametrize("language", SLOPES)
@pytest.mark.parametrize(
    ("y", "exact", "approximate"),
    [(1.5, 0.60395, 0.60560), (2.0, 1.217506, 1.224449), (3.0, 2.48310, 2.48687), (5.0, 4.77925, 4.77618)],
)
def test_variational_dropout_of_one_weight(y: float, exact: float, approximate: float, language: str) -> None:
    for method, theta in (("exact", exact), ("molchanov", approximate)):
        penalty = lambda m, s, method=method: d.log_uniform(d.log_alpha(m, s), method)  # noqa: E731
        found = descend(SLOPES[language], one_weight(penalty, y, 1.0), [y, -0.5])
        assert found.x[0] == pytest.approx(theta, abs=6e-6)
        if y == 2.0 and method == "exact":
            assert math.exp(2 * found.x[1]) == pytest.approx(0.952691, abs=1e-5)
            assert found.fun == pytest.approx(1.394454, abs=1e-6)


@pytest.mark.parametrize("beta", [0.5, 1.0, 2.5, 9.1])
def test_a_weighted_penalty_moves_the_threshold(beta: float) -> None:
    """Weight β of the KL (VIBNet's γ = β/2 on the summed loss): θ = y − βs²/y, and 0 for y² ≤ βs² (D9c), y = 3."""
    penalty = lambda m, s: d.vibnet(m, s, kl_scale=beta)  # noqa: E731
    found = descend(torch_slopes, one_weight(penalty, 3.0, 1.0), [2.9, -0.5])
    assert found.x[0] == pytest.approx(max(3.0 - beta / 3.0, 0.0) if beta < 9 else 0.0, abs=1e-4 if beta < 9 else 2e-2)


# --- structured VBD is VIBNet ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("language", SLOPES)
def test_structured_vbd_is_vibnet_at_gamma_l_over_2n(language: str) -> None:
    """Gates of L layers: N·(mean loss + Σ kl_scale ½ log(1 + μ²/σ²)) with kl_scale of γ = L/(2N) is the summed loss + KL of VBD.

    So is eq. 10 as printed, L·mean loss + γ Σ log(1 + μ²/σ²), times N/L; and so are their gradients.
    """
    num_data, num_layers = 500, 3
    gamma = num_layers / (2 * num_data)
    kl_scale = d.vibnet_kl_scale(gamma, num_layers=num_layers)
    assert kl_scale == pytest.approx(1.0 / num_data, rel=1e-12)
    assert d.vibnet_gamma(kl_scale, num_layers=num_layers) == pytest.approx(gamma, rel=1e-12)
    rng = np.random.default_rng(2)
    x = np.concatenate([rng.normal(size=12), rng.normal(size=12) - 1.0])  # μ, log σ of 12 gates

    def gates(v: Any) -> tuple[Any, Any]:
        return v[:12], (torch.exp if isinstance(v, torch.Tensor) else jnp.exp)(v[12:])

    structured, vibnet, printed = (
        SLOPES[language](function)(x)
        for function in (
            lambda v: d.bounded_gaussian_uniform(*gates(v)).sum(),
            lambda v: num_data * d.vibnet(*gates(v), kl_scale=kl_scale).sum(),
            lambda v: num_data / num_layers * 2 * gamma * d.gaussian_uniform(d.log_alpha(*gates(v))).sum(),
        )
    )
    assert structured[0] == pytest.approx(vibnet[0], rel=1e-12) and structured[0] == pytest.approx(printed[0], rel=1e-12)
    np.testing.assert_allclose(vibnet[1], structured[1], rtol=1e-10)
    np.testing.assert_allclose(printed[1], structured[1], rtol=1e-10)


def test_the_two_readings_of_gamma_over_side() -> None:
    """A filter's penalty at γ′/S: summed over the S² positions of its map it weighs γ′S, as printed γ′/S."""
    side, gamma = 8, 0.02
    coded = d.vibnet(0.3, 0.2, kl_scale=d.vibnet_kl_scale(gamma / side, num_layers=1), num_positions=side**2)
    printed = d.vibnet(0.3, 0.2, kl_scale=d.vibnet_kl_scale(gamma / side, num_layers=1))
    log_term = math.log1p(0.3**2 / 0.2**2)
    assert coded == pytest.approx(d.vibnet_layer_gamma(gamma, side) * log_term, rel=1e-12)
    assert printed == pytest.approx(d.vibnet_layer_gamma(gamma, side, spatial_sum=False) * log_term, rel=1e-12)
    assert coded == pytest.approx(side**2 * printed, rel=1e-12)


def test_the_profile_of_vibnet_between_its_limits() -> None:
    """ρ is 2|μ|/√ω for wide ω and 1 + log(μ²/ω) for narrow."""
    assert d.vibnet_profile(0.7, 1e10) == pytest.approx(2 * 0.7 / 1e5, rel=1e-4)
    assert d.vibnet_profile(0.7, 1e-9) == pytest.approx(1 + math.log(0.49e9), rel=1e-8)
    assert d.vibnet_profile(0.0, 0.3) == 0.0


# --- spike and slab ----------------------------------------------------------------------------------------------------------------

SCALAR = {"prior_inclusion": 0.5, "slab_scale": 1.0, "spike_scale": 0.05}


@pytest.mark.parametrize("language", SLOPES)
@pytest.mark.parametrize(
    ("start", "mean", "variance", "p", "objective"),
    [([0.95, -1.63], 0.96153846, 0.03846154, 1.0, 2.80296468), ([0.07, -2.92], 0.07282713, 0.00291309, 0.20481533, 12.31291317)],
)
def test_spike_and_slab_of_one_weight_has_two_optima(
    start: list[float], mean: float, variance: float, p: float, objective: float, language: str
) -> None:
    """y = 1, noise variance .04: the slab's optimum, and the one in the spike, where algorithm 1 stays if p starts low."""
    found = descend(SLOPES[language], one_weight(lambda m, s: d.collapsed_spike_slab(m, s, **SCALAR), 1.0, 0.2), start, reach=0.02)
    assert found.x[0] == pytest.approx(mean, abs=1e-6)
    assert math.exp(2 * found.x[1]) == pytest.approx(variance, rel=1e-5)
    assert float(d.inclusion(found.x[0], math.exp(found.x[1]), **SCALAR)) == pytest.approx(p, abs=1e-6)
    assert found.fun == pytest.approx(objective, rel=1e-8)
    np.testing.assert_allclose(found.jac, 0.0, atol=1e-5)  # not held by the reach


@pytest.mark.parametrize("language", SLOPES)
def test_collapsed_and_alternating_have_one_gradient(language: str) -> None:
    """Envelope theorem: in (m, log σ) at p* held fixed."""
    for x in ([0.3, -1.0], [-0.05, -4.0], [1.2, 0.2]):
        m, s = x[0], math.exp(x[1])
        p = float(d.inclusion(m, s, **SCALAR))
        collapsed = one_weight(lambda m, s: d.collapsed_spike_slab(m, s, **SCALAR), 1.0, 0.2)
        at_p = one_weight(lambda m, s, p=p: d.spike_slab(m, s, p, **SCALAR), 1.0, 0.2)
        (value, slope), (value_at_p, slope_at_p) = (SLOPES[language](f)(np.array(x)) for f in (collapsed, at_p))
        assert value == pytest.approx(value_at_p, rel=1e-12)
        np.testing.assert_allclose(slope, slope_at_p, rtol=1e-10)


@pytest.mark.parametrize("language", SLOPES)
def test_mean_field_on_eight_columns(language: str) -> None:
    """I18: coordinate ascent by hand, the library's inclusion probability and KL; the collapsed objective is at rest there."""
    i, j = np.arange(1, 21)[:, None], np.arange(1, 9)[None, :]
    x = np.sin(0.7 * i * j) + 0.3 * np.cos(i + 2 * j)
    y = x @ np.array([2, 0, -1.5, 0, 0, 0.8, 0, 0]) + 0.5 * np.sin(3.1 * np.arange(1, 21) ** 2)
    prior = SCALAR | {"prior_inclusion": 0.3}
    assert (y.sum(), x.sum()) == pytest.approx((2.9142316735, -0.0114317482), abs=1e-9)
    m, p = np.zeros(8), np.full(8, 0.5)
    v = np.ones(8)
    for _ in range(400):
        for k in range(8):
            v[k] = 1.0 / (x[:, k] @ x[:, k] / 0.25 + p[k] + (1 - p[k]) / 0.05**2)
            m[k] = v[k] * (x[:, k] @ (y - x @ m + x[:, k] * m[k])) / 0.25
            p[k] = float(d.inclusion(m[k], math.sqrt(v[k]), **prior))
    np.testing.assert_allclose(
        p, [1, 0.032939, 1, 0.033982, 0.033791, 1, 0.032875, 1], atol=1e-6
    )  # of variables 6 and 8 the exact posterior says .47 and .51

    def loss(params: Any) -> Any:
        mean, scale = params[:8], (torch.exp if isinstance(params, torch.Tensor) else jnp.exp)(params[8:])
        data = d.expected_squared_error(x, y, mean, noise_scale=scale / mean) / 0.25  # w = mean·ξ, Var[ξ] = (scale/mean)²
        return data + 10 * math.log(2 * math.pi * 0.25) + d.collapsed_spike_slab(mean, scale, **prior).sum()

    value, slope = SLOPES[language](loss)(np.concatenate([m, 0.5 * np.log(v)]))
    assert -value == pytest.approx(KNOWN["I18"].value, rel=1e-8)
    np.testing.assert_allclose(slope, 0.0, atol=1e-6)
    kl = d.spike_slab(m, np.sqrt(v), p, **prior).sum()
    assert kl == pytest.approx(d.collapsed_spike_slab(m, np.sqrt(v), **prior).sum(), rel=1e-10)


# --- concrete dropout and the horseshoe --------------------------------------------------------------------------------------------


def test_the_best_rate_of_concrete_dropout() -> None:
    """At a fixed loss the penalty alone is least at logit p = ℓ²‖M‖²/(2K): large weights are dropped more often."""
    for squares in (1.0, 40.0):
        cost = lambda p, squares=squares: float(d.concrete_dropout(squares, p, length_scale=0.7, num_inputs=8))  # noqa: E731
        best = optimize.minimize_scalar(cost, bounds=(1e-6, 1 - 1e-6), method="bounded", options={"xatol": 1e-10}).x
        assert math.log(best / (1 - best)) == pytest.approx(0.49 * squares / 16, rel=1e-5)


def test_the_half_cauchy_split_in_two() -> None:
    """C⁺(0, τ₀)² = Gamma(½, scale τ₀²)·InvGamma(½, 1): the two KLs move into each other as the scale does."""
    for tau, loc, scale in ((0.3, -0.7, 0.6), (2.0, 0.4, 1.1)):
        moved = d.log_normal_gamma(loc, scale, concentration=0.5, prior_scale=tau**2)
        assert moved == pytest.approx(float(d.log_normal_gamma(loc - 2 * math.log(tau), scale)), rel=1e-10)
        mirrored = d.log_normal_inverse_gamma(-loc, scale)
        assert mirrored == pytest.approx(float(d.log_normal_gamma(loc, scale)), rel=1e-12)
