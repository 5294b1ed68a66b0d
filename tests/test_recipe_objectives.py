"""Objectives that recipes build, as they build them: one value and one gradient in both languages, and their divergences by hand."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import numpy as np
import pytest
from elbo_by_hand import given_noise
from known_answers import KNOWN
from recipe_objectives import (
    CASES,
    DROPPED,
    GATED,
    LINEAR,
    UNITS,
    given_every_noise,
    objective_of,
    random_params,
    uniforms,
    values_and_gradients,
)
from scipy import integrate, special, stats
from test_objective import LANGUAGES, NUM_DATA, data

import scalemix as sm
import scalemix.numpyro as in_numpyro
import scalemix.pyro as in_pyro
from scalemix.guides.log_normal import half_cauchy
from scalemix.inference import concrete, dynamic_regularizer, horseshoe, nuts, spike_slab, vib


@pytest.fixture
def same_noise(monkeypatch: pytest.MonkeyPatch) -> None:
    given_every_noise(monkeypatch)


FAST = ("vib_filters", "spike_slab_alternating")
PARITY = [
    *(pytest.param(case, "float64", 1e-9, marks=() if case in FAST else pytest.mark.slow) for case in CASES),
    pytest.param("vib", "float32", 1e-5, marks=pytest.mark.slow),
]


@pytest.mark.parametrize(("case", "dtype", "rtol"), PARITY)
@pytest.mark.usefixtures("same_noise")
def test_both_languages_have_one_objective_and_gradient(case: str, dtype: str, rtol: float) -> None:
    results = {}
    for language, ppl in LANGUAGES.items():
        objective = objective_of(case, ppl, dtype)
        with ppl.engine.precision(dtype, "cpu"):
            results[language] = values_and_gradients(ppl, objective, [random_params(objective, seed) for seed in range(5)])
    for (loss, kl, gradient), (loss2, kl2, gradient2) in zip(results["pyro"], results["numpyro"], strict=True):
        assert np.isfinite(loss)
        np.testing.assert_allclose([loss2, kl2], [loss, kl], rtol=rtol)
        for name, each in gradient.items():
            np.testing.assert_allclose(gradient2[name], each, rtol=rtol, atol=rtol * np.abs(loss), err_msg=name)


# --- divergences by hand, in Pyro: NumPyro's are the same by the test above -------------------------------------------------------


def kl_and_params(case: str) -> tuple[float, dict[str, np.ndarray]]:
    objective = objective_of(case, in_pyro)
    params = random_params(objective, 3)
    with in_pyro.engine.precision("float64", "cpu"):
        return values_and_gradients(in_pyro, objective, [params])[0][1], params


def points(params: dict[str, np.ndarray], names: tuple[str, ...]) -> float:
    """−log p of biases N(0, 1) and of sigma ~ |N(0, 1)|."""
    return -sum(
        float(np.sum(stats.halfnorm.logpdf(np.exp(params[name])) if name == "sigma_loc" else stats.norm.logpdf(params[name])))
        for name in names
    )


@pytest.mark.usefixtures("same_noise")
def test_the_penalty_of_vibnet_is_counted_once_per_layer() -> None:
    """N · 2γ/L · layer weight · Σ ½ log(1 + μ²/σ²), whatever the rows of the batch; weights and biases without a ridge."""
    kl, params = kl_and_params("vib")
    expected = points(params, ("sigma_loc",))
    for layer, weight in ((1, 1.2), (2, 0.7)):
        ratio = params[f"w{layer}_noise_loc"] ** 2 / np.exp(params[f"w{layer}_noise_log_variance"])
        expected += NUM_DATA * 2 * 0.03 / 2 * weight * 0.5 * np.sum(np.log(1 + ratio))
    assert kl == pytest.approx(expected, rel=1e-9)


@pytest.mark.usefixtures("same_noise")
def test_the_divergence_of_spike_and_slab_is_a_minimum_over_p() -> None:
    """By hand, p on a grid: min over p of KL(p ‖ π) + p KL(slab) + (1 − p) KL(spike), with scales divided by √fan_in."""
    kl, params = kl_and_params("spike_slab")
    expected = points(params, ("sigma_loc", "b1_loc", "b2_loc"))
    p = special.expit(np.linspace(-60.0, 60.0, 200_001))
    for layer in (1, 2):
        for loc, variance in zip(params[f"w{layer}_loc"].ravel(), np.exp(params[f"w{layer}_log_variance"]).ravel(), strict=True):
            fan_in = params[f"w{layer}_loc"].shape[0]
            slab, spike = (0.5 * ((loc**2 + variance) / v - 1 - np.log(variance / v)) for v in (1.2**2 / fan_in, 0.1**2 / fan_in))
            expected += np.min(
                -special.entr(p) - special.entr(1 - p) - p * np.log(0.3) - (1 - p) * np.log(0.7) + p * slab + (1 - p) * spike
            )
    assert kl == pytest.approx(expected, rel=1e-6)


@pytest.mark.usefixtures("same_noise")
def test_the_divergence_of_the_horseshoe_is_the_quadrature_of_its_parts() -> None:
    kl, params = kl_and_params("horseshoe")
    expected = points(params, ("sigma_loc", "b1_loc", "b2_loc"))

    def against(loc: float, variance: float, log_density: Any) -> float:
        """KL from N(loc, variance) of t = log x to the law of t, whose density is given."""
        t = loc + math.sqrt(variance) * np.linspace(-12.0, 12.0, 4001)  # the trapezoidal rule, exact to rounding for what falls so
        log_q = stats.norm.logpdf(t, loc, math.sqrt(variance))
        return float(integrate.trapezoid(np.exp(log_q) * (log_q - log_density(t)), t))

    for layer in (1, 2):
        for name, tau in ((f"w{layer}_noise_in", 1.0), (f"w{layer}_tau", 0.5)):
            first = params[f"{name}_loc"].ravel(), np.exp(params[f"{name}_log_variance"]).ravel()
            second = params[f"{name}_inverse_loc"].ravel(), np.exp(params[f"{name}_inverse_log_variance"]).ravel()
            for loc, variance in zip(*first, strict=True):
                expected += against(loc, variance, lambda t, tau=tau: stats.gamma.logpdf(np.exp(t), 0.5, scale=tau**2) + t)
            for loc, variance in zip(*second, strict=True):
                expected += against(loc, variance, lambda t: stats.invgamma.logpdf(np.exp(t), 0.5) + t)
        slab = float(params[f"w{layer}_slab_loc"]), float(np.exp(params[f"w{layer}_slab_log_variance"]))
        expected += against(*slab, lambda t: stats.invgamma.logpdf(np.exp(2 * t), 2.0, scale=8.0) + 2 * t + math.log(2))
        loc, log_variance = params[f"w{layer}_base_loc"], params[f"w{layer}_base_log_variance"]
        expected += 0.5 * np.sum(np.exp(log_variance) + loc**2 - 1 - log_variance)
    assert kl == pytest.approx(expected, rel=1e-7)


@pytest.mark.parametrize(("loc", "scale", "width"), [(-0.7, 0.6, 0.3), (2.0, 1.5, 1.0), (0.0, 0.01, 5.0), (-6.0, 2.0, 0.5)])
def test_a_half_cauchy_without_the_split_is_nearer(loc: float, scale: float, width: float) -> None:
    """KL(LogN ‖ C⁺) by quadrature, below the sum of E7's and E8's parts at any split of the same law of the scale."""
    q = stats.norm(loc, scale)
    direct, _ = integrate.quad(
        lambda t: q.pdf(t) * (q.logpdf(t) - stats.halfcauchy(scale=width).logpdf(np.exp(t)) - t),
        loc - 12 * scale,
        loc + 12 * scale,
        limit=200,
    )
    assert half_cauchy(loc, scale, width) == pytest.approx(direct, abs=2e-6)
    each = math.sqrt(2.0) * scale  # log x = ½(log a + log b)
    split = sm.divergences.log_normal_gamma(loc, each, prior_scale=width**2) + sm.divergences.log_normal_inverse_gamma(loc, each)
    assert half_cauchy(loc, scale, width) < split


@pytest.mark.usefixtures("same_noise")
@pytest.mark.parametrize("case", ["concrete", "concrete_inverted"])
def test_the_penalty_of_concrete_dropout(case: str) -> None:
    """½ ℓ²(1 − p)‖M‖² − K H(p) once for each layer, ℓ² = fan_in/σ₀²; M is the stored weight, or that over 1 − p."""
    kl, params = kl_and_params(case)
    expected = points(params, ("sigma_loc", "b1_loc", "b2_loc"))
    for layer in (1, 2):
        weight, p = params[f"w{layer}_loc"], special.expit(float(params[f"w{layer}_noise_rate_logit"]))
        fan_in = weight.shape[0]
        stored = weight / (1 - p) if case == "concrete_inverted" else weight
        expected += 0.5 * fan_in / 0.7**2 * (1 - p) * np.sum(stored**2) - fan_in * (special.entr(p) + special.entr(1 - p))
    assert kl == pytest.approx(expected, rel=1e-9)


@pytest.mark.usefixtures("same_noise")
def test_the_dynamic_regularizer_is_algorithm_1() -> None:
    """By loops: each draw takes the larger half of P = α softmax(p|w|) + (1 − α) softmax(p|w_old) over both layers, and their squares."""
    kl, params = kl_and_params("dynamic_global")
    expected = points(params, ("sigma_loc", "b1_loc", "b2_loc"))
    now, old = (np.concatenate([params[f"w{layer}_{suffix}"].ravel() for layer in (1, 2)]) for suffix in ("loc", "previous"))
    rates = np.concatenate([uniforms((3, *params[f"w{layer}_loc"].shape)).reshape(3, -1) for layer in (1, 2)], axis=1)
    for p in rates:
        prob = 0.6 * special.softmax(p * np.abs(now)) + 0.4 * special.softmax(p * np.abs(old))
        chosen = np.argsort(-prob)[: math.ceil(0.5 * len(now))]
        expected += 0.2 * np.sum(now[chosen] ** 2)
    assert kl == pytest.approx(expected, rel=1e-9)


def test_the_weights_of_the_step_before() -> None:
    """After steps to a, b and c: w_old is b, the weights with which the last gradient was taken; by epochs of two steps it is b too, at
    the end of the first."""
    guide = objective_of("dynamic_global", in_numpyro).guide
    site, part = next((site, part) for site, part in guide.parts.items() if site == "w1")
    target, state = guide.targets[site], {"loc": np.zeros(2), "previous": np.zeros(2), "last": np.zeros(2), "steps": np.zeros(())}
    for number in (1.0, 2.0, 3.0):
        state |= part.after_step(target, state | {"loc": np.full(2, number)}) | {"loc": np.full(2, number)}
    np.testing.assert_array_equal(state["previous"], [2.0, 2.0])
    assert state["steps"] == 3.0


# --- VIBNet is structured variational Bayesian dropout ----------------------------------------------------------------------------


@pytest.mark.parametrize("language", LANGUAGES)
def test_structured_vbd_is_vibnet_at_gamma_l_over_2n(language: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Gates that are one for all rows (kl_scale = 1/N) and one per row (γ = L/(2N)), at σ → 0, where their noises agree: one objective."""
    given_noise(monkeypatch)
    ppl, losses = LANGUAGES[language], []
    for plate, options in (("global", {}), ("example", {"gamma": 2 / (2 * NUM_DATA)})):
        monkeypatch.setitem(CASES, plate, (vib, partial(GATED, noise_plate=plate, scale_by_fan_in=False), options))
        objective = objective_of(plate, ppl)
        params = random_params(objective, 2)
        for name in params:
            if name.endswith("noise_log_variance"):
                params[name] = np.full_like(params[name], -60.0)  # σ = 1e-13: the noises of the two have other shapes
        with ppl.engine.precision("float64", "cpu"):
            losses.append(values_and_gradients(ppl, objective, [params])[0])
    gates = [(params[f"w{layer}_noise_loc"], params[f"w{layer}_noise_log_variance"]) for layer in (1, 2)]
    vbd = sum(float(np.sum(0.5 * np.log1p(loc**2 / np.exp(log_variance)))) for loc, log_variance in gates)
    assert losses[0][1] == pytest.approx(vbd + points(params, ("sigma_loc",)), rel=1e-9)
    np.testing.assert_allclose(losses[1][:2], losses[0][:2], rtol=1e-9)
    for name, each in losses[0][2].items():
        np.testing.assert_allclose(losses[1][2][name.replace("_base", "")], each, rtol=1e-7, atol=1e-7 * abs(losses[0][0]), err_msg=name)


def test_known_rows_are_those_of_the_parts() -> None:
    """E7, E8 and E10 by the functions the guides call."""
    assert sm.divergences.log_normal_gamma(-0.7, 0.6, prior_scale=0.09) == pytest.approx(KNOWN["E7"].value, rel=1e-9)
    assert sm.divergences.log_normal_inverse_gamma(-0.7, 0.6) == pytest.approx(KNOWN["E8"].value, rel=1e-9)


# --- what a recipe refuses --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("recipe", "model", "message"),
    [
        (vib, LINEAR, r"scalemix\.inference\.spike_slab"),
        (vib, DROPPED, "use mc_dropout"),
        (horseshoe, LINEAR, r"scalemix\.inference\.spike_slab"),
        (horseshoe, partial(UNITS, parametrization="hierarchical"), "leave parametrization= open"),
        (concrete, UNITS, "use scalemix.inference.horseshoe"),
        (concrete, partial(DROPPED, noise_plate="global"), "noise_plate='example'"),
        (dynamic_regularizer, UNITS, "use scalemix.inference.horseshoe"),
        (spike_slab, UNITS, "use scalemix.inference.horseshoe"),
    ],
)
def test_a_recipe_names_the_one_that_can(recipe: Any, model: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        recipe.fit(in_pyro, model, *data(), seed=0)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: vib.Settings(kl_scale=0.1, gamma=0.1), "says the penalty twice"),
        (lambda: horseshoe.Settings(half_cauchy="no"), "give 'split' or 'direct'"),
        (lambda: dynamic_regularizer.Settings(), "needs fraction="),
        (lambda: dynamic_regularizer.Settings(fraction=0.5, score="w"), "give one of 'abs'"),
        (lambda: spike_slab.Settings(method="gibbs"), "give 'collapsed' or 'alternating'"),
    ],
)
def test_settings_refuse(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_a_bottleneck_is_no_law_to_sample() -> None:
    with pytest.raises(ValueError, match="cannot be sampled"):
        nuts.fit(in_pyro, GATED, *data(), seed=0)


def test_a_split_scale_has_the_law_of_the_product() -> None:
    """log λ = ½(log a + log b) ~ N(½(μ_a + μ_b), ¼(σ_a² + σ_b²)): its quantiles by SciPy."""
    objective = objective_of("horseshoe", in_pyro)
    params = random_params(objective, 1)
    name, probs = "w1_noise_in", np.array([0.1, 0.5, 0.9])
    sd = 0.5 * np.sqrt(np.exp(params[f"{name}_log_variance"]) + np.exp(params[f"{name}_inverse_log_variance"]))
    median = np.exp(0.5 * (params[f"{name}_loc"] + params[f"{name}_inverse_loc"]))
    expected = stats.lognorm(sd, scale=median).ppf(probs[:, None])
    np.testing.assert_allclose(objective.guide.quantiles(params, probs)[name], expected, rtol=1e-10)
