"""Rules of pruning against formulas by hand and SciPy, and what is kept by them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
from known_answers import KNOWN
from scipy import stats
from untrained_fits import MLP, X, Y, by_log_uniform, made, normals

import scalemix as sm
import scalemix.pyro as in_pyro
from scalemix import models, noise
from scalemix.compress import RULES, Pruning, Rule, beliefs, feature_scores, prune, rules
from scalemix.compress.selection import _best
from scalemix.guides import FromPrior, Gate, Gaussian, LogNormal, Point, SpikeSlab


def test_log_alpha_is_read_from_the_guide_s_parameters() -> None:
    posterior = by_log_uniform()
    kept = prune(posterior, "log_alpha").kept
    assert set(kept) == {"w1", "w2", "w3"}
    for name, mask in kept.items():
        alpha = np.exp(posterior.params[f"{name}_log_variance"]) / posterior.params[f"{name}_loc"] ** 2
        np.testing.assert_array_equal(mask, alpha <= np.exp(3.0))
    assert not all(mask.all() for mask in kept.values())


def test_rules_of_a_normal_guide_against_scipy() -> None:
    posterior = by_log_uniform()
    loc, scale = posterior.params["w2_loc"], np.exp(0.5 * posterior.params["w2_log_variance"])
    np.testing.assert_allclose(Rule("signal_to_noise").values(posterior)["w2"], np.abs(loc) / scale)
    np.testing.assert_allclose(Rule("second_moment").values(posterior)["w2"], stats.norm(loc, scale).moment(2), rtol=1e-10)
    np.testing.assert_array_equal(Rule("magnitude").values(posterior)["w2"], np.abs(loc))
    low, high = stats.norm(loc, scale).interval(0.9)
    np.testing.assert_array_equal(prune(posterior, "covers_zero").kept["w2"], (low > 0) | (high < 0))


def test_rules_of_draws() -> None:
    """A posterior without a guide, as MCMC gives it: moments and intervals of the draws."""
    posterior = made(in_pyro, partial(MLP, prior=sm.Laplace(), parametrization="expanded"), (X, Y), lambda _: Gaussian(), num_draws=41)
    posterior.guide, draws = None, posterior.draws["w1"][0]
    np.testing.assert_allclose(Rule("signal_to_noise").values(posterior)["w1"], np.abs(draws.mean(0)) / draws.std(0))
    np.testing.assert_allclose(Rule("second_moment").values(posterior)["w1"], (draws**2).mean(0))
    low, high = np.quantile(draws, [0.1, 0.9], axis=0, method="inverted_cdf")
    inside = Rule("covers_zero").values(posterior)["w1"]
    sure = (np.minimum((draws > 0).mean(0), (draws < 0).mean(0)) - 0.1) > 1.5 / 41
    assert np.all(inside[sure] < 0.8)
    assert np.all(inside[(low > 0) | (high < 0)] >= 0.8 - 2 / 41)
    with pytest.raises(ValueError, match="no weight of this posterior has what the rule 'log_alpha' looks at"):
        prune(posterior, "log_alpha")


def test_of_two_gates_the_inclusion_is_the_product() -> None:
    prior = sm.ScaleMixture(noise.Bernoulli(0.5).per("in"), noise.Bernoulli(0.7).per("out"))
    dropout = partial(MLP, prior=prior, parametrization="expanded")
    posterior = made(in_pyro, dropout, (X, Y), lambda t: FromPrior() if t.role == "noise" else Point(), num_draws=41)
    by_in, by_out = (posterior.draws[name][0].mean(0) for name in posterior.draws if name.startswith("w1_") and name != "w1_base")
    np.testing.assert_allclose(Rule("inclusion_prob").values(posterior)["w1"], np.outer(by_in, by_out))


def test_weights_that_are_masked_are_0_to_every_rule() -> None:
    """What is 0 in all draws has mean and spread 0, and log α = ∞, whatever its parameters are; quantiles are 0, too."""
    part = Gaussian(mask_above=0.0)
    posterior = made(in_pyro, partial(MLP, prior=sm.Normal(1.0)), (X, Y), lambda t: part if t.role == "weight" else Point())
    masked = posterior.params["w1_log_variance"] > np.log(posterior.params["w1_loc"] ** 2)
    assert 0 < masked.sum() < masked.size
    np.testing.assert_array_equal((posterior.draws["w1"] == 0.0).all((0, 1)), masked)
    for name in ("magnitude", "second_moment", "signal_to_noise"):
        np.testing.assert_array_equal(Rule(name).values(posterior)["w1"] == 0.0, masked)
    np.testing.assert_array_equal(np.isinf(Rule("log_alpha").values(posterior)["w1"]), masked)
    np.testing.assert_array_equal(posterior.guide.median(posterior.params)["w1"] == 0.0, masked)
    np.testing.assert_array_equal(prune(posterior, "log_alpha", fraction=1.0).means["w1"] == 0.0, masked)


def test_gates_that_are_masked_are_dropped() -> None:
    gated = partial(MLP, prior=sm.ScaleMixture(noise.Bottleneck().per("in")), noise_on="input", noise_plate="example")
    posterior = made(in_pyro, gated, (X, Y), lambda t: Gate(mask_above=0.0) if t.role == "noise" else Point())
    masked = posterior.params["w1_noise_log_variance"] > np.log(posterior.params["w1_noise_loc"] ** 2)
    assert 0 < masked.sum() < masked.size
    np.testing.assert_array_equal(Rule("gate_snr2").values(posterior)["w1"][:, 0] == 0.0, masked)
    np.testing.assert_array_equal(prune(posterior, "gate_snr2").kept["w1"].any(1), ~masked)


def test_a_rule_has_the_threshold_of_its_measure() -> None:
    assert Rule("log_alpha").threshold == 3.0 and Rule("log_alpha") == Rule("log_alpha", 3.0)
    assert Rule("magnitude").threshold is None and Rule("magnitude", 0.1).threshold == 0.1


def test_inclusion_of_a_mixture_and_of_a_spike_slab_guide() -> None:
    prior = sm.SpikeAndSlab(0.3, 1.0, 0.1)
    posterior = made(in_pyro, partial(MLP, prior=prior, scale_by_fan_in=False), (X, Y), normals)
    wanted = sm.inclusion_prob(prior, posterior.draws["w1"]).mean(axis=(0, 1))
    np.testing.assert_allclose(Rule("inclusion_prob").values(posterior)["w1"], wanted)
    part = SpikeSlab(prior_inclusion=0.3, slab_scale=1.0, spike_scale=0.1)
    posterior = made(in_pyro, partial(MLP, prior=prior), (X, Y), lambda t: part if t.role == "weight" else Point())
    loc, scale = posterior.params["w1_loc"], np.exp(0.5 * posterior.params["w1_log_variance"])
    second = loc**2 + scale**2
    logit = np.log(0.3 / 0.7) + np.log(0.1) - 0.5 * second * (1.0 - 1.0 / 0.1**2)
    np.testing.assert_allclose(Rule("inclusion_prob").values(posterior)["w1"], 1 / (1 + np.exp(-logit)), rtol=1e-8)


def test_gates_of_vibnet_scales_of_a_horseshoe_and_means_of_gates() -> None:
    gated = partial(MLP, prior=sm.ScaleMixture(noise.Bottleneck().per("in")), noise_on="input", noise_plate="example")
    posterior = made(in_pyro, gated, (X, Y), lambda t: Gate() if t.role == "noise" else Point())
    mu, sigma = posterior.params["w1_noise_loc"], np.exp(0.5 * posterior.params["w1_noise_log_variance"])
    pruning = prune(posterior, "gate_snr2")
    np.testing.assert_array_equal(pruning.kept["w1"], np.broadcast_to((mu**2 >= sigma**2)[:, None], (5, 6)))
    np.testing.assert_allclose(pruning.means["w1"], (mu * (mu**2 >= sigma**2))[:, None] * posterior.params["w1_loc"])
    posterior = made(
        in_pyro,
        partial(MLP, prior=sm.Horseshoe(0.1, per="in"), parametrization="expanded"),
        (X, Y),
        lambda t: LogNormal() if t.role in ("noise", "slab") else normals(t),
    )
    noises = [posterior.draws[name][0] for name in posterior.draws if name.startswith("w1_") and name != "w1_base"]
    logs = sum(np.log(each).mean(0).reshape(-1, 1) for each in noises)
    np.testing.assert_allclose(Rule("group_scale").values(posterior)["w1"], np.exp(logs))
    dropout = sm.ScaleMixture(noise.Bernoulli(0.8).per("in"))
    posterior = made(
        in_pyro, partial(MLP, prior=dropout, parametrization="expanded"), (X, Y), lambda t: FromPrior() if t.role == "noise" else Point()
    )
    np.testing.assert_allclose(Rule("mean_gate").values(posterior)["w1"][:, 0], posterior.draws["w1_noise"][0].mean(0))


def test_a_kept_fraction_is_of_the_whole_network() -> None:
    posterior = by_log_uniform()
    pruning = prune(posterior, "magnitude", fraction=0.25)
    sizes = np.concatenate([np.abs(posterior.params[f"{name}_loc"]).ravel() for name in ("w1", "w2", "w3")])
    assert pruning.num_weights == sizes.size == 58
    assert pruning.kept_weights == round(0.25 * 58)
    least = np.sort(sizes)[::-1][pruning.kept_weights - 1]
    assert all(np.all((np.abs(posterior.params[f"{name}_loc"]) >= least) == mask) for name, mask in pruning.kept.items())


def test_a_kept_fraction_of_ties_is_exact() -> None:
    """Of a few draws covers_zero takes few values: NumPy ranks by it, then by |E w|, then by position."""
    posterior = made(in_pyro, partial(MLP, prior=sm.Laplace(), parametrization="expanded"), (X, Y), lambda _: Gaussian(), num_draws=3)
    posterior.guide = None
    draws = [posterior.draws[name][0] for name in ("w1", "w2", "w3")]
    level = np.concatenate([np.abs(2.0 * (each > 0).mean(0) - 1.0).ravel() for each in draws]).round(6)
    size = np.concatenate([np.abs(each.mean(0)).ravel() for each in draws])
    wanted = sorted(range(58), key=lambda index: (-level[index], -size[index], index))[: round(0.1 * 58)]
    assert (level == level.max()).sum() > 6
    kept = prune(posterior, "covers_zero", fraction=0.1).kept
    found = np.concatenate([kept[name].ravel() for name in ("w1", "w2", "w3")])
    assert np.flatnonzero(found).tolist() == sorted(wanted)
    counts = lambda p: p.kept_weights / -58.0  # noqa: E731
    chosen = prune(posterior, "covers_zero", score=counts, most_loss=0.905, fractions=(0.1, 0.5))
    assert [part for part, _ in chosen.tried] == [1.0, 0.1, 0.5] and chosen.kept_weights == 6


def test_tied_groups_are_ranked_by_their_norms_and_then_by_position() -> None:
    means = {"a": np.array([[3.0, 4.0], [6.0, 0.0], [0.0, -5.0]]), "b": np.array([[5.0], [5.5]])}
    level = {"a": np.ones((3, 1)), "b": np.ones((2, 1))}
    kept = _best(level, means, 0.6)
    assert kept["a"].ravel().tolist() == [True, True, False] and kept["b"].ravel().tolist() == [False, True]
    assert _best({"a": np.array([[0.0], [0.0], [1.0]])}, means, 0.01)["a"].ravel().tolist() == [False, False, True]


def test_as_few_as_a_validation_score_allows() -> None:
    """The score is the dropped fraction: with at most 0.6 lost the least kept fraction of those offered is 0.4."""
    chosen = prune(
        by_log_uniform(), "magnitude", score=lambda p: 1.0 - p.kept_weights / p.num_weights, most_loss=0.605, fractions=(0.2, 0.4, 0.5)
    )
    assert chosen.kept_weights == round(0.4 * 58)
    assert [part for part, _ in chosen.tried] == [1.0, 0.2, 0.4, 0.5]
    assert prune(by_log_uniform(), "magnitude", score=lambda p: -p.kept_weights, most_loss=0.0).kept_weights == 58


def test_g10_scores_of_features() -> None:
    psi, phi = feature_scores([np.array([[0.9, 0.1, 0.4], [0.2, 0.8, 0.5]]).T, np.array([[0.7, 0.3]]).T])
    np.testing.assert_allclose(psi[0], KNOWN["G10"].value, rtol=1e-12)
    assert (phi.min(), phi.max()) == (0.0, 1.0)


def test_a_pruning_is_taken_as_it_is() -> None:
    posterior = by_log_uniform()
    pruning = prune(posterior, "magnitude", fraction=0.5)
    assert isinstance(pruning, Pruning)
    assert in_pyro.shrink(posterior, pruning).pruning is pruning
    with pytest.raises(ValueError, match="has chosen already"):
        in_pyro.shrink(posterior, pruning, fraction=0.2)
    assert set(beliefs(posterior)) == {"w1", "b1", "w2", "b2", "w3", "b3"}
    another = made(in_pyro, partial(MLP, prior=sm.Normal(1.0)), (X, Y), normals)
    another.params["w1_loc"] = another.params["w1_loc"] + 1.0
    wider = made(in_pyro, partial(models.mlp, prior=sm.Normal(1.0), widths=(6, 5)), (X, Y), normals)
    for other in (another, wider):
        with pytest.raises(ValueError, match="a Pruning of another posterior"):
            in_pyro.shrink(other, pruning)


def test_every_rule_is_in_the_table_of_its_module() -> None:
    assert all(f"``{name}``" in (rules.__doc__ or "") for name in RULES)


REFUSED: dict[str, tuple[str, Callable[[], Any]]] = {
    "rule": ("unknown rule 'size': give one of 'log_alpha'", lambda: Rule("size")),
    "nan": (r"threshold=nan\): give a finite number", lambda: Rule("log_alpha", float("nan"))),
    "no_threshold": ("has no threshold of its own", lambda: prune(by_log_uniform(), "magnitude")),
    "no_gates": ("fit with parametrization='expanded'", lambda: prune(by_log_uniform(), "gate_snr2")),
    "fraction": (r"fraction=0.0\): give the kept part", lambda: prune(by_log_uniform(), "magnitude", fraction=0.0)),
    "loss_alone": ("score= and most_loss= together", lambda: prune(by_log_uniform(), "magnitude", most_loss=0.1)),
    "loss_nan": ("most_loss=nan", lambda: prune(by_log_uniform(), "magnitude", score=len, most_loss=float("nan"))),  # type: ignore[arg-type]
    "score_nan": (
        "not a number for the network with nothing dropped",
        lambda: prune(by_log_uniform(), "magnitude", score=lambda _: float("nan"), most_loss=0.1),
    ),
    "both": ("fraction= and score=", lambda: prune(by_log_uniform(), "magnitude", fraction=0.5, score=len, most_loss=0.1)),  # type: ignore[arg-type]
    "probabilities": ("probabilities from 0 to 1", lambda: feature_scores([np.full((2, 1), 1.5)])),
    "no_chain": ("layers of the shapes", lambda: feature_scores([np.ones((2, 3)), np.ones((2, 1))])),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused(case: str) -> None:
    message, call = REFUSED[case]
    with pytest.raises(ValueError, match=message):
        call()
