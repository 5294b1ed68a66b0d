"""Gates: enumeration, collapsed Gibbs and NUTS within Gibbs against sums over n × n normal densities and against quadrature.

The judge never sees the weights: given its gates g, y ~ N(0, σ² I + X diag(v(g)) Xᵀ), in SciPy.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import product
from typing import Any

import arviz
import numpy as np
import pytest
from gated_regression import log_joint, look, point_spike, regression
from known_answers import KNOWN
from scipy import special, stats

import scalemix.numpyro as in_numpyro
import scalemix.pyro as in_pyro
from scalemix import models
from scalemix.inference import enumeration, gibbs, nuts
from scalemix.posterior import Posterior
from scalemix.priors import SpikeAndSlab

LANGUAGES = pytest.mark.parametrize("ppl", [in_numpyro, in_pyro], ids=["numpyro", "pyro"])
KNOWN_PROBS = np.array([KNOWN[f"I16.{j}"].value for j in range(1, 9)])
KNOWN_MEANS = np.array([1.62047618, -0.00736341, -1.7498206, 0.00784063, -0.01400019, 0.29443858, -0.01232487, -0.37309093])


UNKNOWN_SCALE = partial(point_spike, sigma=None)


def unknown_scale(x: np.ndarray, y: np.ndarray) -> tuple[float, np.ndarray, float]:
    """log p(y), inclusion probabilities and E[σ | y] with σ ~ HalfNormal(1), by the trapezoid rule in log σ."""
    t = np.linspace(-5.0, 3.0, 401)
    terms = np.stack([log_joint(x, y, np.exp(s)) + stats.halfnorm.logpdf(np.exp(s)) + s for s in t])
    prob = special.softmax(terms)
    gates = np.array(list(product((0.0, 1.0), repeat=x.shape[1])))
    return special.logsumexp(terms) + np.log(t[1] - t[0]), prob.sum(0) @ gates, float(prob.sum(1) @ np.exp(t))


# --- enumeration ---------------------------------------------------------------------------------------------------------------


@LANGUAGES
def test_table_of_the_known_regression(ppl: Any) -> None:
    table = enumeration.table(ppl, point_spike, *regression())
    np.testing.assert_allclose(table.inclusion_prob["w1_noise"], KNOWN_PROBS, rtol=0, atol=1e-9)
    np.testing.assert_allclose(table.gated_mean["w1_base"], KNOWN_MEANS, rtol=0, atol=1e-8)
    assert abs(table.log_evidence - KNOWN["I15"].value) < 1e-8
    np.testing.assert_allclose(np.exp(table.log_prob), special.softmax(log_joint(*regression(), 0.5)), atol=1e-12)


@pytest.mark.parametrize("ppl", [pytest.param(in_numpyro, marks=pytest.mark.slow), in_pyro], ids=["numpyro", "pyro"])
def test_table_with_an_unknown_noise_scale(ppl: Any) -> None:
    x, y = regression(10, 3)
    table = enumeration.table(ppl, UNKNOWN_SCALE, x, y)
    log_evidence, probs, _ = unknown_scale(x, y)
    np.testing.assert_allclose(table.inclusion_prob["w1_noise"], probs, rtol=0, atol=1e-10)
    assert abs(table.log_evidence - log_evidence) < 1e-9


@pytest.mark.slow
def test_draws_of_an_enumeration_are_independent_and_those_of_the_table() -> None:
    x, y = regression(10, 3)
    settings = nuts.Settings(num_draws=1000, num_chains=2, progress=False)
    posterior = enumeration.fit(in_pyro, UNKNOWN_SCALE, x, y, seed=3, settings=settings)
    _, probs, mean_scale = unknown_scale(x, y)
    gates, sigma = posterior.draws["w1_noise"], posterior.draws["sigma"]
    np.testing.assert_array_less(np.abs(gates.mean((0, 1)) - probs), 4 * np.sqrt(probs * (1 - probs) / 2000) + 1e-3)
    assert abs(sigma.mean() - mean_scale) < 4 * sigma.std() / np.sqrt(2000)
    assert np.all((posterior.draws["w1"] == 0) == (gates == 0))
    assert posterior.info.method == "enumeration"


@LANGUAGES
def test_models_with_their_gates_summed_out(ppl: Any) -> None:
    """Their log joint at given continuous sites: of a logistic regression, and of a linear one with its weights integrated out."""
    x, y = regression(6, 3)
    labels = (y > 0).astype(float)
    z = np.array([0.4, -1.3, 2.0])
    settings = np.array(list(product((0.0, 1.0), repeat=3)))
    with ppl.engine.precision("float64", "cpu"):
        logistic = partial(models.linear, prior=SpikeAndSlab(0.3), bias_prior=None, likelihood="bernoulli")
        summed = ppl.engine.gates_summed(logistic, {"w1_noise": (3,)})
        found = at(ppl, summed, {"w1_base": z}, x, labels)
        logits = (settings * z) @ x.T
        terms = stats.bernoulli(special.expit(logits)).logpmf(labels).sum(1) + stats.norm.logpdf(z).sum()
        terms += settings.sum(1) * np.log(0.3) + (1 - settings).sum(1) * np.log(0.7)
        assert abs(found - special.logsumexp(terms)) < 1e-9
        layer, reason = look(ppl, UNKNOWN_SCALE, x, y)
        assert layer is not None, reason
        assert layer.others == ("sigma",)
        found = at(ppl, ppl.engine.layer_summed(UNKNOWN_SCALE, layer), {"sigma": np.array(0.7)}, x, y)
        assert abs(found - special.logsumexp(log_joint(x, y, 0.7)) - stats.halfnorm.logpdf(0.7)) < 1e-9


def at(ppl: Any, model: Callable[..., Any], values: dict[str, np.ndarray], *data: np.ndarray) -> float:
    """The log joint at one point."""
    return float(ppl.engine.log_joint(model, data)({name: value[None] for name, value in values.items()})[0])


# --- Gibbs sampling ------------------------------------------------------------------------------------------------------------


def assert_probs(posterior: Posterior, expected: np.ndarray) -> None:
    """Pooled over chains that start closed, open and from the prior: within 4 × max(MCSE, √(p(1 − p)/ESS), 1e-3)."""
    gates = posterior.draws["w1_noise"].astype(float)
    ess = np.array([arviz.ess(gates[..., k]) for k in range(gates.shape[2])])
    mcse = gates.std((0, 1)) / np.sqrt(ess)
    bound = 4 * np.maximum(np.maximum(mcse, np.sqrt(expected * (1 - expected) / ess)), 1e-3)
    np.testing.assert_array_less(np.abs(gates.mean((0, 1)) - expected), bound)
    assert bound.max() < 0.15


@pytest.mark.parametrize(
    ("ppl", "settings"),
    [
        (in_numpyro, gibbs.Settings(num_draws=2000, num_warmup=100, progress=False)),
        pytest.param(in_numpyro, gibbs.Settings(num_draws=1000, num_warmup=100, block_size=3, progress=False), marks=pytest.mark.slow),
        (in_pyro, gibbs.Settings(num_draws=300, num_warmup=20, progress=False)),
        pytest.param(in_numpyro, gibbs.Settings(kind="nuts", num_draws=2000, progress=False), marks=pytest.mark.slow),
        pytest.param(in_numpyro, gibbs.Settings(kind="nuts", num_draws=1000, block_size=3, progress=False), marks=pytest.mark.slow),
    ],
    ids=["numpyro", "numpyro-blocks", "pyro", "nuts", "nuts-blocks"],
)
def test_gibbs_on_the_known_regression(ppl: Any, settings: gibbs.Settings) -> None:
    posterior = gibbs.fit(ppl, point_spike, *regression(), seed=1, settings=settings)
    assert posterior.info.method == ("nuts_within_gibbs" if settings.kind == "nuts" else "collapsed_gibbs")
    assert_probs(posterior, KNOWN_PROBS)
    w = posterior.draws["w1"]
    ess = np.array([arviz.ess(w[..., k]) for k in range(8)])
    np.testing.assert_array_less(np.abs(w.mean((0, 1)) - KNOWN_MEANS), 4 * w.std((0, 1)) / np.sqrt(ess))


@pytest.mark.slow
@LANGUAGES
def test_collapsed_gibbs_with_an_unknown_noise_scale(ppl: Any) -> None:
    x, y = regression(10, 3)
    settings = gibbs.Settings(num_draws=1000 if ppl is in_numpyro else 150, num_warmup=200 if ppl is in_numpyro else 100, progress=False)
    posterior = gibbs.fit(ppl, UNKNOWN_SCALE, x, y, seed=1, settings=settings)
    _, probs, mean_scale = unknown_scale(x, y)
    assert posterior.info.method == "collapsed_gibbs"
    assert_probs(posterior, probs)
    sigma = posterior.draws["sigma"]
    assert abs(sigma.mean() - mean_scale) < 4 * sigma.std() / np.sqrt(arviz.ess(sigma))


@pytest.mark.slow
def test_nuts_within_gibbs_of_a_logistic_regression() -> None:
    """One gate, one weight: P(gate = 1 | y) by quadrature over the weight."""
    x, y = np.array([[1.0], [0.5], [-2.0], [1.5]]), np.array([1.0, 1.0, 0.0, 1.0])
    model = partial(models.linear, prior=SpikeAndSlab(0.5, 2.0), bias_prior=None, likelihood="bernoulli")
    w = np.linspace(-16.0, 16.0, 4001)
    open_ = np.trapezoid(stats.norm.pdf(w, scale=2.0) * special.expit(np.outer(w, (2 * y - 1) * x[:, 0])).prod(1), w)
    settings = gibbs.Settings(num_draws=1500, num_warmup=300, num_chains=2, progress=False)
    posterior = gibbs.fit(in_numpyro, model, x, y, seed=2, settings=settings)
    assert posterior.info.method == "nuts_within_gibbs"
    assert_probs(posterior, np.array([open_ / (open_ + 0.5**4)]))
