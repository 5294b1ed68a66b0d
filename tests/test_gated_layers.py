"""Which layers have their weights integrated out, the algebra of the sweep over their gates, and what the recipes for gates refuse."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from gated_regression import log_joint, look, point_spike, regression
from scipy import special

import scalemix.pyro as in_pyro
from scalemix import models, noise
from scalemix.gate_sweep import Forms, all_settings, block_update, form_at, log_evidence, make_blocks, padded, updated_inverse
from scalemix.gated import GatedLayer, coupled_blocks
from scalemix.inference import enumeration, gibbs, nuts
from scalemix.likelihoods import Gaussian, StudentT
from scalemix.priors import Normal, ScaleMixture, SpikeAndSlab

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
