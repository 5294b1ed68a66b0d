"""Each divergence against its definition: KLs by quadrature, collapsed ones by minimizing, the rest by differences or by enumeration.

Definitions are written with SciPy alone; every row of the registry with such a kind has an entry here, at its five settings.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from known_answers import KNOWN
from registry import DIVERGENCES
from scipy import integrate, optimize, special, stats

from scalemix import divergences as d

HALF_LOG_2PI = 0.5 * math.log(2 * math.pi)


def kl_of(q: Any, log_p: Callable[[Any], Any], width: float = 12.0) -> float:
    """∫ q log(q/p) over a normal law's bulk: Gauss-Legendre on 40 panels."""
    node, weight = np.polynomial.legendre.leggauss(16)
    edges = q.mean() + q.std() * np.linspace(-width, width, 41)
    half = 0.5 * (edges[1] - edges[0])
    x = (edges[:-1, None] + half * (node + 1.0)).ravel()
    return float(np.sum(np.tile(half * weight, 40) * q.pdf(x) * (q.logpdf(x) - log_p(x))))


# --- divergences between proper laws -----------------------------------------------------------------------------------------------


def kl_normal(mean: float, scale: float, *, prior_mean: float, prior_scale: float) -> float:
    return kl_of(stats.norm(mean, scale), stats.norm(prior_mean, prior_scale).logpdf)


def kl_bernoulli(p: float, *, prior_inclusion: float) -> float:
    return float(special.rel_entr(p, prior_inclusion) + special.rel_entr(1 - p, 1 - prior_inclusion))


def kl_log_normal_gamma(loc: float, scale: float, *, concentration: float, prior_scale: float) -> float:
    prior = stats.gamma(concentration, scale=prior_scale)
    return kl_of(stats.norm(loc, scale), lambda t: prior.logpdf(np.exp(t)) + t)


def kl_log_normal_inverse_gamma(loc: float, scale: float, *, concentration: float, prior_scale: float) -> float:
    prior = stats.invgamma(concentration, scale=prior_scale)
    return kl_of(stats.norm(loc, scale), lambda t: prior.logpdf(np.exp(t)) + t)


def kl_spike_slab(mean: float, scale: float, p: float, *, prior_inclusion: float, slab_scale: float, spike_scale: float) -> float:
    q, pi = stats.norm(mean, scale), prior_inclusion

    def one(prob: float, prior: float, width: float) -> float:
        return prob * kl_of(q, lambda w: math.log(prior) + stats.norm.logpdf(w, scale=width) - math.log(prob))

    return one(p, pi, slab_scale) + one(1 - p, 1 - pi, spike_scale)


def kl_truncated_log_uniform(loc: float, scale: float, *, low: float, high: float) -> float:
    def log_g(x: Any) -> Any:
        return -0.5 * ((x - loc) / scale) ** 2 - top

    mode = min(max(loc, low), high)
    top = -0.5 * ((mode - loc) / scale) ** 2
    reach = np.clip([mode - 12 * scale, mode, mode + 12 * scale], low, high)
    mass, entropy = (
        math.fsum(integrate.quad(f, a, b, epsabs=0, epsrel=1e-12, limit=200)[0] for a, b in itertools.pairwise(reach) if b > a)
        for f in (lambda x: math.exp(log_g(x)), lambda x: math.exp(log_g(x)) * log_g(x))
    )
    return entropy / mass - math.log(mass) + math.log(high - low)


KL = {
    "normal": kl_normal,
    "bernoulli": kl_bernoulli,
    "log_normal_gamma": kl_log_normal_gamma,
    "log_normal_inverse_gamma": kl_log_normal_inverse_gamma,
    "spike_slab": kl_spike_slab,
    "truncated_log_uniform": kl_truncated_log_uniform,
}


# --- the least over a parameter ----------------------------------------------------------------------------------------------------


def least(function: Callable[[float], float], low: float, high: float) -> float:
    """Minimum over [low, high] of a function with one valley."""
    found = optimize.minimize_scalar(function, bounds=(low, high), method="bounded", options={"xatol": 1e-10})
    return min(float(found.fun), function(low), function(high))


def least_gaussian_uniform(log_alpha: float) -> float:
    theta = 1.7  # any: the least is free of it
    return least_bounded_gaussian_uniform(theta, theta * math.exp(0.5 * log_alpha), low=1e-12, high=1e12)


def least_bounded_gaussian_uniform(mean: float, scale: float, *, low: float, high: float) -> float:
    entropy = float(stats.norm(mean, scale).entropy())
    cross = lambda t: HALF_LOG_2PI + 0.5 * t + 0.5 * (mean**2 + scale**2) * math.exp(-t)  # noqa: E731  -E_q log N(w; 0, eᵗ)
    middle = math.log(mean**2 + scale**2)
    ends = math.log(max(low, 1e-12)), math.log(high)
    near = [min(max(middle + shift, ends[0]), ends[1]) for shift in (-1.0, 1.0)]
    return (least(cross, *near) if near[1] > near[0] else cross(near[0])) - entropy


def least_collapsed_spike_slab(mean: float, scale: float, **prior: float) -> float:
    q, pi = stats.norm(mean, scale), prior["prior_inclusion"]
    slab, spike = (kl_of(q, stats.norm(scale=prior[name]).logpdf) for name in ("slab_scale", "spike_scale"))

    def of_logit(logit: float) -> float:
        p, rest = special.expit(logit), special.expit(-logit)
        return kl_bernoulli(p, prior_inclusion=pi) + p * slab + rest * spike if 0 < p < 1 else (slab if p > 0.5 else spike)

    center = math.log(pi / (1 - pi)) + spike - slab
    return least(of_logit, center - 3.0, center + 3.0) if abs(center) < 30 else min(slab - math.log(pi), spike - math.log1p(-pi))


def least_vibnet_profile(mean: float, omega: float) -> float:
    return least(lambda t: math.log1p(mean**2 * math.exp(-t)) + math.exp(t) / omega, math.log(mean**2) - 12.0, math.log(omega) + 3.0)


LEAST = {
    "gaussian_uniform": least_gaussian_uniform,
    "bounded_gaussian_uniform": least_bounded_gaussian_uniform,
    "collapsed_spike_slab": least_collapsed_spike_slab,
    "vibnet_profile": least_vibnet_profile,
}


# --- less a constant ---------------------------------------------------------------------------------------------------------------


def up_to_constant_log_uniform(log_alpha: float) -> float:
    """E_q log q(w) + E_q log|w|, w = 1 + √α ε."""
    root = math.exp(0.5 * log_alpha)
    zero = -1.0 / root
    pieces = sorted({-14.0, 14.0, *(x for x in (zero, zero - 1e-3, zero + 1e-3, 0.0) if -14 < x < 14)})
    log_size = math.fsum(
        integrate.quad(lambda e: stats.norm.pdf(e) * math.log(abs(1 + root * e)), a, b, epsabs=1e-13, limit=400)[0]
        for a, b in itertools.pairwise(pieces)
    )
    return log_size - HALF_LOG_2PI - 0.5 - 0.5 * log_alpha


def up_to_constant_ridge(weight: float, *, base_scale: float) -> float:
    """-log N(w; 0, σ₀²), given back with the same constant for all σ₀."""
    return -float(stats.norm.logpdf(weight, scale=base_scale)) - math.log(base_scale)


def up_to_constant_concrete_dropout(
    squares: float, rate: float, *, length_scale: float, num_inputs: int, num_data: int, inverted: bool
) -> float:
    """KL of (1 − p) N(M, s²) + p N(0, s²) to N(0, 1/ℓ²), for K inputs of one weight each and s small beside M; constants taken out."""
    size, s = 1.0, 1e-4  # of M: any that sets the bells apart, its square is put right below
    bells = [(0.0, rate), (size, 1 - rate)]
    entropy_part = 0.0
    for center, prob in bells:
        x, dx = np.linspace(center - 10 * s, center + 10 * s, 2001, retstep=True)
        log_q = np.logaddexp(*(math.log(w) + stats.norm.logpdf(x, c, s) for c, w in bells))
        entropy_part += float(np.sum(prob * stats.norm.pdf(x, center, s) * log_q) * dx)
    true_square = squares / num_inputs / ((1 - rate) ** 2 if inverted else 1.0)
    constant = -float(stats.norm(scale=s).entropy())
    return num_inputs * (entropy_part - constant + 0.5 * length_scale**2 * (1 - rate) * true_square) / num_data


UP_TO_CONSTANT = {
    "log_uniform": up_to_constant_log_uniform,
    "ridge": up_to_constant_ridge,
    "concrete_dropout": up_to_constant_concrete_dropout,
}


# --- bounds ------------------------------------------------------------------------------------------------------------------------


def bounded_expected_squared_error(x: Any, y: Any, weight: Any, *, noise_mean: float, noise_scale: float) -> tuple[float, float]:
    """(½ E‖y − X(ξ∘w)‖², −log E exp(−½‖y − X(ξ∘w)‖²)) over two-point noises of that mean and variance, all 2³ of them."""
    errors = [
        0.5 * float(np.sum((y - x @ (np.array(xi) * weight)) ** 2))
        for xi in itertools.product([noise_mean - noise_scale, noise_mean + noise_scale], repeat=3)
    ]
    return float(np.mean(errors)), float(math.log(len(errors)) - special.logsumexp(-np.array(errors)))


def bounded_dynamic_regularizer(weights: Any, *, strength: float, num_draws: int, fraction: float, threshold: float) -> float:
    """E λ Σₛ ‖Iₛ∘w‖ where each entry is selected with probability s_p (1 − T): all 2¹² selections."""
    prob = fraction * (1 - threshold)
    masks = np.array(list(itertools.product([0, 1], repeat=weights.size)))
    chance = prob ** masks.sum(1) * (1 - prob) ** (1 - masks).sum(1)
    return strength * num_draws * float(chance @ np.sqrt(masks @ weights.ravel() ** 2))


BOUNDS = {"expected_squared_error": bounded_expected_squared_error, "dynamic_regularizer_bound": bounded_dynamic_regularizer}


def test_every_row_that_can_be_wrong_has_its_definition() -> None:
    for kind, table in (("kl", KL), ("collapsed", LEAST), ("constant dropped", UP_TO_CONSTANT), ("bound", BOUNDS)):
        assert set(table) == {name for name, row in DIVERGENCES.items() if row.kind == kind}


@pytest.mark.parametrize("name", KL)
def test_kl_is_its_integral(name: str) -> None:
    for args, options in DIVERGENCES[name].cases():
        assert getattr(d, name)(*args, **options) == pytest.approx(KL[name](*args, **options), rel=1e-8, abs=1e-10)


@pytest.mark.parametrize("name", LEAST)
def test_collapsed_is_the_least(name: str) -> None:
    for args, options in DIVERGENCES[name].cases():
        assert getattr(d, name)(*args, **options) == pytest.approx(LEAST[name](*args, **options), rel=1e-8, abs=1e-9)


@pytest.mark.parametrize("name", UP_TO_CONSTANT)
def test_differences_are_those_of_the_divergence(name: str) -> None:
    """Of each setting to the first."""
    ours, theirs = (
        [float(function(*args, **options)) for args, options in DIVERGENCES[name].cases()]
        for function in (getattr(d, name), UP_TO_CONSTANT[name])
    )
    np.testing.assert_allclose(np.subtract(ours, ours[0]), np.subtract(theirs, theirs[0]), rtol=1e-7, atol=1e-9)


def test_bounds_are_on_their_side() -> None:
    for args, options in DIVERGENCES["expected_squared_error"].cases():
        mean, log_mean = bounded_expected_squared_error(*args, **options)
        assert d.expected_squared_error(*args, **options) == pytest.approx(mean, rel=1e-12)
        assert mean > log_mean  # Jensen: −E log p above −log E p
    for args, options in DIVERGENCES["dynamic_regularizer_bound"].cases():
        expected = bounded_dynamic_regularizer(*args, **options)
        assert expected < d.dynamic_regularizer_bound(*args, **options) < 1.2 * expected
        assert expected > options["strength"] * math.sqrt(options["num_draws"] * 0.4 * 0.8 / 12) * np.linalg.norm(
            args[0]
        )  # eq. 7 is no bound


def test_the_printed_approximations_are_as_far_off_as_they_say() -> None:
    x = np.linspace(-10.0, 10.0, 4001)
    exact = d.log_uniform(x)
    for method, error, where in (("molchanov", 9.4e-3, -3.5), ("code2017", 1.29e-2, -3.6)):
        off = np.abs(d.log_uniform(x, method) - exact)
        assert off.max() == pytest.approx(error, rel=0.01) and x[off.argmax()] == pytest.approx(where, abs=0.1)
    below = x <= 0.0
    assert 0.02 < np.abs(d.log_uniform(x[below], "kingma") - exact[below]).max() < 0.027
    assert np.all(d.log_uniform(x[~below], "kingma") == d.log_uniform(0.0, "kingma"))


def test_how_much_more_variational_dropout_asks_than_vbd() -> None:
    """The difference falls from .6352 to 0."""
    x = np.linspace(-12.0, 12.0, 2401)
    gap = d.log_uniform(x) - d.gaussian_uniform(x)
    assert np.all(np.diff(gap) < 0.0) and gap[0] == pytest.approx(0.6352, abs=1e-4) and gap[-1] < 1e-5


def test_vibnet_is_what_is_left_of_its_bound() -> None:
    """F1: inf over ξ of 2 E KL(N(μf, σ²f²) ‖ N(0, ξ)) = log(1 + μ²/σ²) + ψ, here by Gauss-Hermite over f = exp(.6 N)."""
    mean, scale = 0.8, 0.5
    node, weight = np.polynomial.hermite_e.hermegauss(60)
    f2, weight = np.exp(1.2 * node), weight / weight.sum()
    both = lambda t: float(weight @ (t - np.log(scale**2 * f2) + (mean**2 + scale**2) * f2 * math.exp(-t) - 1.0))  # noqa: E731
    psi = math.log(weight @ f2) - float(weight @ np.log(f2))
    assert psi == pytest.approx(2 * 0.6**2, rel=1e-9)
    assert least(both, -3.0, 5.0) == pytest.approx(KNOWN["F1"].value, rel=1e-6)
    assert 2 * d.vibnet(mean, scale, kl_scale=1.0) + psi == pytest.approx(KNOWN["F1"].value, rel=1e-6)


def test_what_the_mixture_would_have_cost() -> None:
    """G4, G5: KL(q(w) ‖ mixture) is less than the least KL of q(w) q(z), by E_q KL(q(z) ‖ π(z | w))."""
    prior = {"prior_inclusion": 0.4, "slab_scale": math.e, "spike_scale": math.exp(-3)}
    q = stats.norm(0.03, 0.02)
    slab, spike = (lambda w, s=s: stats.norm.logpdf(w, scale=s) for s in (math.e, math.exp(-3)))
    mixture = kl_of(q, lambda w: np.logaddexp(math.log(0.4) + slab(w), math.log(0.6) + spike(w)))
    assert mixture == pytest.approx(KNOWN["G4"].value, rel=1e-8)
    p = d.inclusion(0.03, 0.02, **prior)

    def of_gate(w: float) -> float:
        return kl_bernoulli(p, prior_inclusion=special.expit(math.log(0.4 / 0.6) + slab(w) - spike(w)))

    gap = integrate.quad(lambda w: q.pdf(w) * of_gate(w), 0.03 - 0.24, 0.03 + 0.24, epsrel=1e-10)[0]
    assert gap == pytest.approx(KNOWN["G5"].value, rel=1e-6)
    assert d.collapsed_spike_slab(0.03, 0.02, **prior) - mixture == pytest.approx(KNOWN["G5"].value, rel=1e-6)


def test_moments_of_the_truncated_law() -> None:
    """The first two moments of θ and the ratio it is pruned by, in the bulk and in both tails."""
    for (loc, scale), options in DIVERGENCES["truncated_log_uniform_moments"].cases():
        low, high = options["low"], options["high"]
        top = min(max(loc, low), high)
        log_g = lambda x, loc=loc, scale=scale, top=top: -0.5 * ((x - loc) ** 2 - (top - loc) ** 2) / scale**2  # noqa: E731
        m0, m1, m2 = (
            integrate.quad(lambda x, k=k, g=log_g: math.exp(g(x) + k * x), max(low, top - 14 * scale), min(high, top + 14 * scale),
                           epsabs=0, epsrel=1e-11, limit=200)[0]
            for k in range(3)
        )  # fmt: skip
        mean, ratio = d.truncated_log_uniform_moments(loc, scale, **options)
        assert mean == pytest.approx(m1 / m0, rel=1e-8)
        assert ratio == pytest.approx(m1 / m0 / math.sqrt(m2 / m0 - (m1 / m0) ** 2), rel=1e-6)
