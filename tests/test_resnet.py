"""The residual network written out in NumPy, and where its depth noise may stand."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import pytest
from plain_models import LANGUAGES, run
from scipy import special, stats

import scalemix.numpyro as in_numpyro
import scalemix.pyro as in_pyro
from scalemix import models, noise
from scalemix.priors import ScaleMixture

X = np.random.default_rng(4).normal(size=(5, 3))
Y = np.random.default_rng(5).normal(size=5)
DRAWS, WIDTH = 8, 4
ADD = ScaleMixture(noise.Rayleigh(0.8).per("layer"), base_scale=1.5)
ARD_ADD = ScaleMixture(noise.Rayleigh(0.8).per("in"), noise.HalfCauchy(0.7).per("layer", name="tau"))
STOCHASTIC_DEPTH = ScaleMixture(noise.Bernoulli(0.8).per("layer"))
FUNCTIONS: dict[str, Callable[[Any], Any]] = {"relu": lambda a: np.maximum(a, 0.0), "tanh": np.tanh, "sigmoid": special.expit}


@pytest.fixture(params=LANGUAGES)
def ppl(request: pytest.FixtureRequest) -> Iterator[Any]:
    with in_pyro.engine.precision("float64", "cpu"), in_numpyro.engine.precision("float64", "cpu"):
        yield LANGUAGES[request.param]


def _log_joint(ppl: Any, prior: ScaleMixture, draws: dict[str, np.ndarray], **options: Any) -> np.ndarray:
    model = partial(models.resnet, prior=prior, width=WIDTH, parametrization="expanded", **options)
    return ppl.engine.evaluate(model, (X, Y), draws, chunk=DRAWS).log_joint


def _draws(ppl: Any, prior: ScaleMixture, **options: Any) -> dict[str, np.ndarray]:
    model = partial(models.resnet, prior=prior, width=WIDTH, parametrization="expanded", **options)
    latents = ppl.engine.structure(model, (X, Y), seed=0).latents
    draws = ppl.engine.sample_prior(model, (X, Y), num_draws=DRAWS, seed=2)
    return {name: np.asarray(draws[name], dtype=float) for name in latents}


@pytest.mark.parametrize("activation", FUNCTIONS)
@pytest.mark.parametrize(("position", "scale_bias"), [("pre", True), ("pre", False), ("post", True)])
def test_log_joint_written_out(position: str, scale_bias: bool, activation: str, ppl: Any) -> None:
    """Two blocks of ARD × ADD, by hand with SciPy's densities."""
    f, v = FUNCTIONS[activation], _draws(ppl, ARD_ADD)
    expected = stats.halfnorm.logpdf(v["sigma"])
    for site in ("w_in", "b_in", "w_out", "b_out", "w1_base", "w2_base", "b1", "b2"):
        scale = {"w_in": 3**-0.5, "w_out": WIDTH**-0.5}.get(site, 1.0)
        expected += stats.norm.logpdf(v[site], scale=scale).reshape(DRAWS, -1).sum(1)
    for block in (1, 2):
        expected += stats.rayleigh.logpdf(v[f"w{block}_noise_in"], scale=0.8).sum(1)
        expected += stats.halfcauchy.logpdf(v[f"w{block}_tau"], scale=0.7)
    for draw in range(DRAWS):
        h = X @ v["w_in"][draw] + v["b_in"][draw]
        for block in (1, 2):
            tau, xi, z, b = (v[f"w{block}_tau"][draw], v[f"w{block}_noise_in"][draw], v[f"w{block}_base"][draw], v[f"b{block}"][draw])
            a = (h * xi) @ z / np.sqrt(WIDTH)
            h = h + (tau * f(a + b) if position == "post" else f(tau * a + (tau * b if scale_bias else b)))
        output = (h @ v["w_out"][draw] + v["b_out"][draw])[:, 0]
        expected[draw] += stats.norm.logpdf(Y, output, v["sigma"][draw]).sum()
    found = _log_joint(ppl, ARD_ADD, v, activation=activation, position=position, scale_bias=scale_bias)
    np.testing.assert_allclose(found, expected, rtol=1e-10)


@pytest.mark.parametrize("prior", [ADD, ARD_ADD, STOCHASTIC_DEPTH], ids=["add", "ard_add", "stochastic_depth"])
def test_noise_inside_and_outside_of_relu_are_one_function_and_of_tanh_two(prior: ScaleMixture, ppl: Any) -> None:
    """f(τ a) = τ f(a) for τ ≥ 0 and the bias inside a: relu alone is positively homogeneous."""
    draws = _draws(ppl, prior)
    pre, post = ({"position": position} for position in ("pre", "post"))
    np.testing.assert_allclose(
        _log_joint(ppl, prior, draws, activation="relu", **pre), _log_joint(ppl, prior, draws, activation="relu", **post), rtol=1e-12
    )
    apart = _log_joint(ppl, prior, draws, activation="relu", position="pre", scale_bias=False)
    off = np.array([np.any(draws[name] != 1.0) for name in draws if "tau" in name or name == "w1_noise"])
    assert off.any()
    assert np.max(np.abs(apart - _log_joint(ppl, prior, draws, activation="relu", **pre))) > 1e-3
    if prior is not STOCHASTIC_DEPTH:  # τ of 0 and 1 commutes with every f that has f(0) = 0
        tanh = [_log_joint(ppl, prior, draws, activation="tanh", **where) for where in (pre, post)]
        assert np.max(np.abs(tanh[0] - tanh[1])) > 1e-3


def test_negative_noise_inside_and_outside_of_relu_are_two_functions(ppl: Any) -> None:
    prior = ScaleMixture(noise.Gaussian(0.0, 1.0).per("layer"))
    draws = _draws(ppl, prior)
    assert (draws["w1_noise"] < 0).any()
    assert np.max(np.abs(_log_joint(ppl, prior, draws) - _log_joint(ppl, prior, draws, position="post"))) > 1e-3


def test_a_block_that_is_switched_off_is_the_identity(ppl: Any) -> None:
    draws = _draws(ppl, STOCHASTIC_DEPTH)
    draws |= {"w1_noise": np.zeros(DRAWS), "w2_noise": np.zeros(DRAWS)}
    output = np.einsum("np,spw,swo->sno", X, draws["w_in"], draws["w_out"])[..., 0]
    output += np.einsum("sw,swo->so", draws["b_in"], draws["w_out"]) + draws["b_out"]
    for position in ("pre", "post"):
        model = partial(models.resnet, prior=STOCHASTIC_DEPTH, width=WIDTH, position=position)
        found = ppl.engine.evaluate(model, (X, Y), draws, chunk=DRAWS).log_likelihood["y"]
        np.testing.assert_allclose(found, stats.norm.logpdf(Y, output, draws["sigma"][:, None]), rtol=1e-9)


def test_forms_are_one_model(ppl: Any) -> None:
    """In the hierarchical form the weight is the site: with the bias scaled, log p(w) has the Jacobian of w = τ v."""
    draws = _draws(ppl, ADD)
    centered = {name: value for name, value in draws.items() if not name.endswith("_base")}
    jacobian = np.zeros(DRAWS)
    for block in ("w1", "w2"):
        size = draws[f"{block}_noise"] / np.sqrt(WIDTH)
        centered[block] = size[:, None, None] * draws[f"{block}_base"]
        jacobian += WIDTH**2 * np.log(size)
    model = partial(models.resnet, prior=ADD, width=WIDTH, parametrization="hierarchical")
    found = ppl.engine.evaluate(model, (X, Y), centered, chunk=DRAWS).log_joint
    np.testing.assert_allclose(found + jacobian, _log_joint(ppl, ADD, draws), rtol=1e-10)


def test_gates_of_the_units_of_a_block_for_each_row(ppl: Any) -> None:
    """hₗ = hₗ₋₁ + f((hₗ₋₁∘ξ) wₗ + bₗ) with a ξ per row and unit, for VIBNet; without it the model is the one with noise on the weight."""
    prior = ScaleMixture(noise.Gaussian(1.0, 0.4).per("in"))
    options = {"prior": prior, "width": WIDTH, "num_blocks": 1, "parametrization": "expanded"}
    model = partial(models.resnet, noise_on="input", noise_plate="example", **options)
    v, log_probs = run(ppl.name, lambda: model(ppl, ppl.array(X), ppl.array(Y)))
    assert v["w1_noise"].shape == (5, WIDTH)
    h = X @ v["w_in"] + v["b_in"]
    h = h + np.maximum((h * v["w1_noise"]) @ v["w1"] + v["b1"], 0.0)
    np.testing.assert_allclose(log_probs["y"], stats.norm.logpdf(Y, (h @ v["w_out"] + v["b_out"])[:, 0], v["sigma"]).sum(), rtol=1e-10)
    if ppl is in_numpyro:
        return  # the two languages agree elsewhere, and each program is compiled anew
    draws = _draws(ppl, prior, num_blocks=1)
    on_weight, on_input = (_log_joint(ppl, prior, draws, num_blocks=1, noise_on=on) for on in ("weight", "input"))
    np.testing.assert_allclose(on_input, on_weight, rtol=1e-11)


REFUSED = {
    "depth on the activation": ({"noise_on": "input"}, "noise_on='weight' and noise_plate='global'"),
    "position": ({"position": "inside"}, "'pre'"),
    "unscaled bias": ({"position": "post", "scale_bias": False}, "needs position='pre'"),
    "centered": ({"position": "post", "parametrization": "hierarchical"}, "use parametrization='expanded'"),
    "integrated out": ({"prior": ScaleMixture(noise.Bernoulli(0.4, low=0.1).per("layer"))}, "use parametrization='expanded'"),
    "slab": ({"prior": ScaleMixture(noise.Rayleigh().per("layer"), slab=noise.InverseNakagami(4.0))}, "leave the slab out"),
    "activation": ({"activation": "gelu"}, "give 'tanh', 'relu' or 'sigmoid'"),
    "blocks": ({"num_blocks": 0}, "at least 1"),
    "pattern": ({"prior": {"w3": ADD}}, "matches none of the weights w1, w2"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_is_refused_with_the_remedy(case: str, ppl: Any) -> None:
    options, remedy = REFUSED[case]
    model = partial(models.resnet, **{"prior": ADD, "width": WIDTH} | options)
    with pytest.raises(ValueError, match=remedy):
        ppl.engine.structure(model, (X, Y), seed=0)
