"""Gates: enumeration, collapsed Gibbs and NUTS within Gibbs against sums over n × n normal densities and against quadrature.

The judge never sees the weights: given its gates g, y ~ N(0, σ² I + X diag(v(g)) Xᵀ), in SciPy.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from itertools import product
from types import ModuleType
from typing import Any

import arviz
import numpy as np
import pytest
from known_answers import KNOWN
from scipy import special, stats

import scalemix.numpyro as in_numpyro
import scalemix.pyro as in_pyro
from scalemix import models, noise
from scalemix.fitting import inspect
from scalemix.gate_sweep import Forms, all_settings, block_update, form_at, log_evidence, make_blocks, padded, updated_inverse
from scalemix.gated import GatedLayer, check_gates, coupled_blocks, find_layer
from scalemix.inference import enumeration, gibbs, nuts
from scalemix.likelihoods import Gaussian, StudentT
from scalemix.posterior import Posterior
from scalemix.priors import Normal, ScaleMixture, SpikeAndSlab

LANGUAGES = pytest.mark.parametrize("ppl", [in_numpyro, in_pyro], ids=["numpyro", "pyro"])
KNOWN_PROBS = np.array([KNOWN[f"I16.{j}"].value for j in range(1, 9)])
KNOWN_MEANS = np.array([1.62047618, -0.00736341, -1.7498206, 0.00784063, -0.01400019, 0.29443858, -0.01232487, -0.37309093])


def regression(rows: int = 20, columns: int = 8) -> tuple[np.ndarray, np.ndarray]:
    """The regression of the answers I15 and I16, or its first rows and columns."""
    i, j = np.arange(1.0, 21.0)[:, None], np.arange(1.0, 9.0)
    x = np.sin(0.7 * i * j) + 0.3 * np.cos(i + 2 * j)
    y = x @ np.array([2.0, 0.0, -1.5, 0.0, 0.0, 0.8, 0.0, 0.0]) + 0.5 * np.sin(3.1 * i[:, 0] ** 2)
    return x[:rows, :columns], y[:rows]


def point_spike(ppl: Any, x: Any, y: Any = None, *, sigma: float | None = 0.5, prior: ScaleMixture | None = None, **options: Any) -> Any:
    likelihood = Gaussian(scale=sigma)
    return models.linear(ppl, x, y, prior=prior or SpikeAndSlab(0.3), bias_prior=None, likelihood=likelihood, **options)


UNKNOWN_SCALE = partial(point_spike, sigma=None)


def log_joint(x: np.ndarray, y: np.ndarray, sigma: float, *, spike: float = 0.0) -> np.ndarray:
    """log p(y, g | σ) of every setting g of the gates, by n × n normal densities."""
    gates = np.array(list(product((0.0, 1.0), repeat=x.shape[1])))
    laws = [
        stats.multivariate_normal(np.zeros(len(y)), sigma**2 * np.eye(len(y)) + (x * np.where(g == 1, 1, spike**2)) @ x.T) for g in gates
    ]
    return np.array([law.logpdf(y) for law in laws]) + gates @ np.full(x.shape[1], np.log(0.3 / 0.7)) + x.shape[1] * np.log(0.7)


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


@LANGUAGES
def test_table_with_an_unknown_noise_scale(ppl: Any) -> None:
    x, y = regression(10, 3)
    table = enumeration.table(ppl, UNKNOWN_SCALE, x, y)
    log_evidence, probs, _ = unknown_scale(x, y)
    np.testing.assert_allclose(table.inclusion_prob["w1_noise"], probs, rtol=0, atol=1e-10)
    assert abs(table.log_evidence - log_evidence) < 1e-9


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


@pytest.mark.parametrize("ppl", [in_numpyro, pytest.param(in_pyro, marks=pytest.mark.slow)], ids=["numpyro", "pyro"])
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


# --- the sweep's algebra -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("block_size", [1, 2, 3])
def test_block_update_is_the_difference_of_evidences(block_size: int) -> None:
    """Gates that own one, two and three weights, one weight under two gates and one under none."""
    rng = np.random.default_rng(4)
    owners = np.zeros((8, 4), dtype=bool)
    for weight, gates in enumerate([(0,), (1,), (1,), (2,), (2,), (2, 3), (3,), ()]):
        owners[weight, list(gates)] = True
    design = rng.normal(size=(12, 8))
    prior, gram = np.diag(rng.uniform(0.5, 2.0, 8)), design.T @ design
    always = np.zeros((8, 8))
    always[7, 7] = gram[7, 7]
    forms = Forms(0.3, rng.normal(size=4), np.r_[np.zeros(7), 0.7], np.r_[rng.normal(size=7), 0.0], prior + always, gram - always)
    layer = GatedLayer({"g": (4,)}, {"w": (8,)}, owners, (), np.abs(np.corrcoef(rng.normal(size=(4, 20)))))
    blocks = make_blocks(layer, coupled_blocks(layer.coupling, block_size))
    evidence = []
    for gates in all_settings(4):
        is_open = np.array([all(gates[k] for k in np.flatnonzero(row)) for row in owners])
        precision = prior + np.where(np.outer(is_open, is_open), gram, 0.0)
        linear = forms.linear + is_open * forms.linear_change
        evidence.append(gates @ forms.log_odds + 0.5 * linear @ np.linalg.solve(precision, linear) - 0.5 * np.linalg.slogdet(precision)[1])
    evidence = np.array(evidence) + 0.3 + 4.0 * np.log(2.0 * np.pi)
    np.testing.assert_allclose(log_evidence(np, forms, owners.astype(float), all_settings(4)), evidence, atol=1e-10)
    padded_size = blocks.owners.shape[0]
    wide = padded(np, forms, padded_size)
    for block, weights, rest in zip(blocks.gates, blocks.weights, blocks.rest, strict=True):
        for gates in all_settings(4):
            inverse = np.linalg.inv(form_at(np, wide, blocks.owners.astype(float), gates)[2])
            proposals = np.tile(gates, (2**block_size, 1))
            proposals[:, block] = blocks.settings
            update = block_update(np, wide, blocks.owners.astype(float), inverse, proposals, weights, rest)
            expected = evidence[(proposals @ [8, 4, 2, 1]).astype(int)]
            np.testing.assert_allclose(update.log_weights - update.log_weights[0], expected - expected[0], atol=1e-10)
            for choice, proposal in enumerate(proposals):
                there = np.linalg.inv(form_at(np, wide, blocks.owners.astype(float), proposal)[2])
                np.testing.assert_allclose(updated_inverse(update, choice, np.eye(padded_size)[weights]), there, atol=1e-10)


# --- which layers can be integrated out ----------------------------------------------------------------------------------------


@pytest.fixture
def float64() -> Iterator[None]:
    with in_pyro.engine.precision("float64", "cpu"):
        yield


def look(ppl: Any, model: Callable[..., Any], *data: np.ndarray) -> tuple[GatedLayer | None, str]:
    arrays, structure = inspect(ppl, model, data, seed=0, method="Gibbs sampling", gates=True)
    prior = check_gates(ppl, model, arrays, structure, seed=0, method="Gibbs sampling")
    return find_layer(ppl, model, arrays, structure, prior, dtype="float64")


def matrix_model(prior: ScaleMixture, ppl: Any, x: Any, y: Any = None, form: str = "expanded") -> Any:
    w = ppl.weight("w", (x.shape[1], 2), prior, parametrization=form)
    b = ppl.weight("b", (), Normal(2.0))
    mean = ppl.linear(x, w).sum(-1) + b
    with ppl.data_plate(x):
        return ppl.sample("y", ppl.dist.Normal(mean, ppl.sample("sigma", ppl.dist.HalfNormal(1.0))), obs=y)


SHARED = {
    "in": (noise.Bernoulli(0.4).per("in"), [[1, 0], [1, 0], [0, 1], [0, 1], [0, 0]]),
    "layer": (noise.Bernoulli(0.4, high=2.0).per("layer"), [[1], [1], [1], [1], [0]]),
    "weight": (noise.Bernoulli(0.4), [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1], [0, 0, 0, 0]]),
}


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("per", SHARED)
def test_owners_of_the_weights(per: str) -> None:
    def model(ppl: Any, x: Any, y: Any = None) -> Any:
        sigma = ppl.sample("sigma", ppl.dist.HalfNormal(1.0))
        w = ppl.weight("w", (2, 2), ScaleMixture(SHARED[per][0]))
        mean = (ppl.linear(x, w) * ppl.array(np.array([1.0, -2.0]))).sum(-1) + ppl.weight("b", (), Normal(2.0))
        with ppl.data_plate(x):
            return ppl.sample("y", ppl.dist.Normal(mean, sigma), obs=y)

    layer, reason = look(in_pyro, model, *regression(7, 2))
    assert layer is not None, reason
    assert layer.weights == {"w_base": (2, 2), "b": ()}
    assert layer.others == ("sigma",)
    np.testing.assert_array_equal(layer.owners, np.array(SHARED[per][1], dtype=bool))


CONTINUOUS = SpikeAndSlab(0.3, 1.0, 0.2)


@pytest.mark.usefixtures("float64")
def test_a_continuous_spike_is_collapsed_in_the_hierarchical_form() -> None:
    x, y = regression(10, 3)
    table = enumeration.table(in_pyro, partial(point_spike, prior=CONTINUOUS, parametrization="hierarchical"), x, y)
    np.testing.assert_allclose(np.exp(table.log_prob), special.softmax(log_joint(x, y, 0.5, spike=0.2)), atol=1e-10)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize(
    ("model", "words"),
    [
        (partial(point_spike, prior=CONTINUOUS, parametrization="expanded"), "hierarchical"),
        (partial(models.linear, prior=SpikeAndSlab(0.3), likelihood=StudentT(scale=0.5)), "quadratic in no latent site"),
        (
            partial(models.mlp, prior=ScaleMixture(noise.Bernoulli(0.5).per("in")), widths=(2,), likelihood=Gaussian(scale=1.0)),
            "another way|quadratic",
        ),
    ],
    ids=["expanded", "student_t", "network"],
)
def test_layers_that_cannot_be_collapsed(model: Callable[..., Any], words: str) -> None:
    x, y = regression(7, 3)
    with pytest.raises(ValueError, match=words):
        gibbs.fit(in_pyro, model, x, y, seed=0, settings=gibbs.Settings(kind="collapsed", progress=False))


@pytest.mark.parametrize(
    ("run", "words"),
    [
        (lambda ppl, x, y: gibbs.fit(ppl, partial(models.linear, prior=Normal()), x, y, seed=0), "no discrete site.*inference.nuts"),
        (lambda ppl, x, y: gibbs.fit(ppl, counts, x, y, seed=0), "'n' takes values besides 0 and 1"),
        (lambda ppl, x, y: gibbs.fit(ppl, point_spike, x, y, seed=0, settings=gibbs.Settings(kind="nuts")), "NumPyro alone.*enumeration"),
        (lambda ppl, x, y: enumeration.fit(ppl, point_spike, np.tile(x, 5), y, seed=0), "15 gates.*inference.gibbs beyond 12"),
        (
            lambda ppl, x, y: enumeration.table(ppl, partial(models.linear, prior=SpikeAndSlab(0.3), likelihood="poisson"), x, y**2 // 1),
            "fit$",
        ),
        (lambda ppl, x, y: nuts.fit(ppl, point_spike, x, y, seed=0), "inference.gibbs.*inference.enumeration"),
        (lambda *_: gibbs.Settings(block_size=13), "block_size=13.*12 or fewer"),
        (lambda *_: gibbs.Settings(kind="hmc"), "kind='hmc'.*'collapsed'"),
        (lambda *_: gibbs.Settings(target_accept_prob=1.0), "below 1"),
        (lambda *_: gibbs.Settings(init="zero"), "init='zero'"),
        (lambda *_: gibbs.Settings(chain_method="threads"), "chain_method='threads'"),
    ],
)
def test_what_is_refused(run: Callable[[ModuleType, np.ndarray, np.ndarray], Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        run(in_pyro, *regression(7, 3))


def counts(ppl: Any, x: Any, y: Any = None) -> Any:
    n = ppl.sample("n", ppl.dist.Poisson(30.0))
    with ppl.data_plate(x):
        return ppl.sample("y", ppl.dist.Normal(0.0 * x[..., 0] + n, 1.0), obs=y)
