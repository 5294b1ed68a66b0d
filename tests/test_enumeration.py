"""The languages' own densities against sums and integrals written out: over all settings of the gates, and over the noise."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from itertools import product
from typing import Any

import jax
import numpy as np
import pyro
import pytest
import torch
from known_answers import KNOWN
from registry import NOISES
from scipy import special, stats

import scalemix.numpyro as in_numpyro
import scalemix.pyro as in_pyro
from scalemix import models, noise
from scalemix.likelihoods import Gaussian
from scalemix.priors import ScaleMixture, SpikeAndSlab

LANGUAGES = {"numpyro": in_numpyro, "pyro": in_pyro}


@pytest.fixture(autouse=True)
def float64() -> Iterator[None]:
    with in_pyro.engine.precision("float64", "cpu"), in_numpyro.engine.precision("float64", "cpu"):
        yield


# --- sums over gates -----------------------------------------------------------------------------------------------------------


def _log_densities(language: str, model: Callable[..., Any], values: dict[str, np.ndarray], *data: np.ndarray) -> np.ndarray:
    """``ppl.log_density`` at many points at once: values (n, *event), result (n,)."""
    ppl = LANGUAGES[language]
    arrays = [ppl.array(each) for each in data]
    points = {name: ppl.array(value) for name, value in values.items()}

    def at(point: dict[str, Any]) -> Any:
        return ppl.log_density(model, point, *arrays)

    if language == "numpyro":
        return np.asarray(jax.vmap(at)(points))
    with pyro.validation_enabled(False):
        return torch.func.vmap(at)(points).numpy()


def _all_gates(num_gates: int) -> np.ndarray:
    return np.array(list(product([0.0, 1.0], repeat=num_gates)))


def _regression() -> tuple[np.ndarray, np.ndarray]:
    """The regression of the spike-and-slab answers I15 to I18: x (20, 8), y (20,), noise variance 1/4."""
    i, j = np.arange(1.0, 21.0)[:, None], np.arange(1.0, 9.0)
    x = np.sin(0.7 * i * j) + 0.3 * np.cos(i + 2 * j)
    y = x @ np.array([2.0, 0.0, -1.5, 0.0, 0.0, 0.8, 0.0, 0.0]) + 0.5 * np.sin(3.1 * i[:, 0] ** 2)
    assert math.isclose(x.sum(), -0.0114317482, abs_tol=1e-9)
    assert math.isclose(y.sum(), 2.9142316735, abs_tol=1e-9)
    return x, y


def _regression_model(form: str, prior: ScaleMixture | None = None) -> Callable[..., Any]:
    def model(ppl: Any, x: Any, y: Any) -> Any:
        likelihood = Gaussian(scale=0.5)
        return models.linear(ppl, x, y, prior=prior or SPIKE, bias_prior=None, likelihood=likelihood, parametrization=form)

    return model


SPIKE = SpikeAndSlab(0.3, slab_scale=1.0, spike_scale=0.05)


@pytest.mark.parametrize("language", LANGUAGES)
def test_i15_i16_point_spike_regression_by_enumeration(language: str) -> None:
    """p(y, g) = p(y, g, z)/p(z | y, g) at any z, summed over all 2⁸ settings g of the gates."""
    log_evidence, inclusion_prob = _over_all_gates(language, "expanded", SpikeAndSlab(0.3), lambda gate: gate, np.ones(8))
    assert math.isclose(log_evidence, KNOWN["I15"].value, rel_tol=1e-8)
    np.testing.assert_allclose(inclusion_prob, [KNOWN[f"I16.{j}"].value for j in range(1, 9)], rtol=1e-7)


@pytest.mark.parametrize("form", ["expanded", "hierarchical"])
@pytest.mark.parametrize("language", LANGUAGES)
def test_i17_continuous_spike_regression_by_enumeration(language: str, form: str) -> None:
    def scale(gate: np.ndarray) -> np.ndarray:
        return np.where(gate == 1.0, 1.0, 0.05)

    ones = np.ones(8)
    parts = (scale, ones) if form == "expanded" else (lambda gate: ones, scale)
    log_evidence, inclusion_prob = _over_all_gates(language, form, SPIKE, *parts)
    assert math.isclose(log_evidence, KNOWN["I17"].value, rel_tol=1e-8)
    np.testing.assert_allclose(inclusion_prob, [0.997698, 0.08213, 0.999956, 0.095479, 0.09973, 0.469322, 0.085362, 0.510114], atol=1e-6)


def _over_all_gates(
    language: str, form: str, prior: ScaleMixture, outer: Callable[[np.ndarray], np.ndarray], inner: Any
) -> tuple[float, np.ndarray]:
    """log p(y) and the probability of each gate: w = outer(gate)·base with base ~ N(0, inner²), at one random base for each setting."""
    x, y = _regression()
    gates = _all_gates(8)
    base = np.random.default_rng(5).normal(size=(256, 8))
    sites = {"w1_noise": gates, "w1_base" if form == "expanded" else "w1": base}
    log_joint = _log_densities(language, _regression_model(form, prior), sites, x, y)
    log_posterior = np.empty(256)
    for i, gate in enumerate(gates):
        multiplier, sd = outer(gate), inner(gate) if callable(inner) else inner
        precision = np.diag(sd**-2.0) + 4.0 * np.outer(multiplier, multiplier) * (x.T @ x)
        mean = np.linalg.solve(precision, 4.0 * multiplier * (x.T @ y))
        log_posterior[i] = stats.multivariate_normal(mean, np.linalg.inv(precision)).logpdf(base[i])
    log_evidence = log_joint - log_posterior
    total = special.logsumexp(log_evidence)
    return float(total), np.exp(log_evidence - total) @ gates


@pytest.mark.parametrize("language", LANGUAGES)
def test_marginal_form_is_the_sum_over_all_gates(language: str) -> None:
    x, y = _regression()
    gates = _all_gates(8)
    rng = np.random.default_rng(5)
    weights = np.stack([np.zeros(8), np.linalg.lstsq(x, y)[0], rng.normal(size=8), np.full(8, 1e-12), 0.1 * rng.normal(size=8)])
    marginal = _log_densities(language, _regression_model("marginal"), {"w1": weights}, x, y)
    for w, value in zip(weights, marginal, strict=True):
        likelihood = np.sum(stats.norm.logpdf(y, x @ w, 0.5))
        log_prior = np.where(gates == 1.0, math.log(0.3) + stats.norm.logpdf(w, 0, 1), math.log(0.7) + stats.norm.logpdf(w, 0, 0.05))
        assert math.isclose(value, special.logsumexp(log_prior.sum(1)) + likelihood, rel_tol=1e-9)
        sites = {"w1_noise": gates, "w1": np.broadcast_to(w, gates.shape).copy()}
        each = _log_densities(language, _regression_model("hierarchical"), sites, x, y)
        np.testing.assert_allclose(each, log_prior.sum(1) + likelihood, rtol=1e-9)


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize(("per", "num_gates"), [(("in",), 2), (("out",), 3), (("layer",), 1)])
def test_marginal_form_of_shared_gates_is_the_sum_over_them(per: tuple[str, ...], num_gates: int, language: str) -> None:
    prior = ScaleMixture(noise.Bernoulli(0.3, low=0.2, high=1.5).per(*per), base_scale=0.8)

    def model_of(form: str) -> Callable[..., Any]:
        return lambda ppl: ppl.weight("w", (2, 3), prior, parametrization=form)

    w = np.array([[0.3, -1.2, 0.05], [2.0, 0.4, -0.1]])
    gates = _all_gates(num_gates)
    sites = {"w_noise": gates if num_gates > 1 else gates[:, 0], "w": np.broadcast_to(w, (len(gates), 2, 3)).copy()}
    total = special.logsumexp(_log_densities(language, model_of("hierarchical"), sites))
    (marginal,) = _log_densities(language, model_of("marginal"), {"w": w[None]})
    assert math.isclose(marginal, total, rel_tol=1e-12)


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize(
    ("answer", "y", "prior"),
    [
        ("I6", np.array([2.0]), ScaleMixture(noise.Bernoulli(0.5))),
        ("I14", np.array([1.0, -0.5, 2.0]), ScaleMixture(noise.Bernoulli(0.5).per("layer"))),
    ],
)
def test_probability_of_a_gate_by_enumeration(answer: str, y: np.ndarray, prior: ScaleMixture, language: str) -> None:
    """P(gate | y) for y ~ N(w, 1) in the expanded form: the base z integrated by Gauss and Hermite's rule, the gate summed."""

    def model(ppl: Any, y: Any) -> Any:
        w = ppl.weight("w", y.shape, prior, parametrization="expanded")
        return ppl.sample("y", ppl.dist.Normal(w, 1.0).to_event(1), obs=y)

    nodes, weights = np.polynomial.hermite_e.hermegauss(32)
    log_weights = np.log(weights) + 0.5 * nodes**2
    grid = np.array(list(product(nodes, repeat=len(y))))
    log_volume = np.array([sum(each) for each in product(log_weights, repeat=len(y))])
    log_joint = []
    for gate in (0.0, 1.0):
        gates = np.full((len(grid), 1) if answer == "I6" else len(grid), gate)
        log_joint.append(special.logsumexp(_log_densities(language, model, {"w_noise": gates, "w_base": grid}, y) + log_volume))
    assert math.isclose(special.expit(log_joint[1] - log_joint[0]), KNOWN[answer].value, abs_tol=1e-9)


# --- the languages' own laws ---------------------------------------------------------------------------------------------------


def _integral(function: Callable[[np.ndarray], np.ndarray], low: float, high: float) -> float:
    """∫ f over 0 < low < ξ < high, in log ξ, by Gauss and Legendre's rule of 20 nodes on 400 pieces."""
    nodes, weights = np.polynomial.legendre.leggauss(20)
    edges = np.linspace(math.log(low), math.log(high), 401)
    half = 0.5 * np.diff(edges)[:, None]
    t = 0.5 * (edges[1:] + edges[:-1])[:, None] + half * nodes
    return float(np.sum(half * weights * np.exp(t) * function(np.exp(t))))


def _density(language: str, law: Any) -> Callable[[np.ndarray], np.ndarray]:
    return lambda x: np.exp(np.asarray(law.log_prob(LANGUAGES[language].array(np.asarray(x)))))


def _mixture(density: Callable[[np.ndarray], np.ndarray], w: float, base_scale: float, law: noise.Noise) -> float:
    """∫ N(w; 0, ξ² σ₀²) p(ξ) dξ over the ξ > 0 of the law's support."""
    return _integral(lambda xi: density(xi) * stats.norm.pdf(w, scale=base_scale * xi), *_support(law))


def _support(law: noise.Noise, end: float = 1e12) -> tuple[float, float]:
    low, high = law.scipy().support()
    return max(low, 1 / end), min(high, end)


A1, A2, A3 = noise.Rayleigh(0.8), noise.InverseNakagami(3.0, 0.5**0.5), noise.HalfCauchy(1.2)
A4, A5 = noise.Gaussian(0.0, 0.6), noise.Gaussian(1.0, 0.5)
A6, A8, A9 = noise.Uniform(0.0, 1.0), noise.UniformVariance(0.0, 2.0), noise.LogUniform(1e-2, 10.0)
DENSITIES = [
    ("A1", A1, 1.5, 0.7),
    ("A2", A2, 0.7, 0.3),
    ("A3", A3, 0.8, 0.5),
    ("A6", A6, 1.3, 0.6),
    ("A8", A8, 1.0, 0.5),
    ("A9", A9, 1.0, 0.05),
]


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize(("answer", "law", "base_scale", "w"), DENSITIES)
def test_marginal_law_of_a_language_and_the_integral_over_its_noise(
    answer: str, law: noise.Noise, base_scale: float, w: float, language: str
) -> None:
    ppl = LANGUAGES[language]
    marginal = _density(language, ppl.distribution(ScaleMixture(law, base_scale=base_scale), ()))
    assert math.isclose(float(marginal(np.array(w))), KNOWN[answer].value, rel_tol=1e-9)
    assert math.isclose(_mixture(_density(language, law.law(ppl.dist)), w, base_scale, law), KNOWN[answer].value, rel_tol=1e-9)
    # half-Cauchy tails: 2·10⁻¹² of the mass lies beyond 10¹²
    assert math.isclose(2 * _integral(marginal, 1e-14, 1e12), 1.0, abs_tol=1e-9)


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize(("answer", "law", "base_scale", "w"), [("A4", A4, 1.1, 0.4), ("A5", A5, 1.0, 0.5)])
def test_gaussian_noise_and_its_fold_give_one_marginal(
    answer: str, law: noise.Gaussian, base_scale: float, w: float, language: str
) -> None:
    ppl = LANGUAGES[language]
    signed, folded = _density(language, law.law(ppl.dist)), _density(language, law.folded_law(ppl.dist))
    assert math.isclose(_mixture(lambda xi: signed(xi) + signed(-xi), w, base_scale, law), KNOWN[answer].value, rel_tol=1e-9)
    assert math.isclose(_mixture(folded, w, base_scale, law), KNOWN[answer].value, rel_tol=1e-9)


@pytest.mark.parametrize("language", LANGUAGES)
def test_laws_of_the_square_of_the_noise(language: str) -> None:
    dist = LANGUAGES[language].dist
    rayleigh, nakagami, cauchy = (_density(language, law.law(dist)) for law in (A1, A2, A3))
    assert math.isclose(_integral(rayleigh, 1.3**0.5, 1e3), KNOWN["A1b"].value, rel_tol=1e-9)
    assert math.isclose(_integral(nakagami, 1.0, 1e12), KNOWN["A2b"].value, rel_tol=1e-9)
    assert math.isclose(float(cauchy(np.array(0.9**0.5))) / (2 * 0.9**0.5), KNOWN["A3b"].value, rel_tol=1e-9)
    assert math.isclose(_integral(cauchy, 1e-14, 0.9**0.5), KNOWN["A3c"].value, rel_tol=1e-9)


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("name", [name for name, row in NOISES.items() if row.forms != ("marginal",)])
def test_law_of_a_noise_is_normalized_and_has_the_stated_mean(name: str, language: str) -> None:
    law, ppl = NOISES[name].noise, LANGUAGES[language]
    if law.hyper_laws:
        pytest.skip("the law of a product: its draws are tested")
    density = _density(language, law.law(ppl.dist))
    if law.discrete:
        assert math.isclose(float(density(np.array(0.0)) + density(np.array(1.0))), 1.0, rel_tol=1e-12)
        assert math.isclose(float(density(np.array(1.0))), law.site_mean(), rel_tol=1e-12)
        return
    if isinstance(law, noise.RelaxedBernoulli | noise.HardConcrete):
        logit = np.linspace(-200.0, 200.0, 400_001)
        xi = np.asarray(law.from_site(ppl, ppl.array(logit)))
        assert math.isclose(np.trapezoid(density(logit), logit), 1.0, rel_tol=1e-9)
        assert math.isclose(np.trapezoid(xi * density(logit), logit), law.moments().mean, rel_tol=1e-7)
        return
    signed, ends = isinstance(law, noise.Gaussian), _support(law, 1e14)
    assert math.isclose(_integral(lambda xi: density(xi) + (density(-xi) if signed else 0.0), *ends), 1.0, abs_tol=1e-9)
    mean = law.moments().mean
    if math.isfinite(mean):
        found = _integral(lambda xi: xi * (density(xi) - (density(-xi) if signed else 0.0)), *ends)
        assert math.isclose(found, mean, rel_tol=1e-9, abs_tol=1e-12)
