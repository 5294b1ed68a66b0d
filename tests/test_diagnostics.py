"""Did the sampler sample, does the ELBO stand still: judged by ArviZ, by analytical autoregressions, and by planted faults of chains."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from made_up_fits import Regression, autoregressive, chains_of
from scipy import stats as scipy_stats

from scalemix.comparison import (
    diagnose,
    elbo_trend,
    energy_bfmi,
)
from scalemix.comparison.chains import convergence, ess

stats: Any = scipy_stats  # its frozen laws carry no types


# --- R-hat and ESS ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("num_draws", [500, 51])
def test_rhat_and_ess_are_those_of_arviz(num_draws: int) -> None:
    import arviz

    rng = np.random.default_rng(0)
    draws = autoregressive(rng, (4, num_draws, 8), 0.4)
    draws[..., 1] = np.exp(2 * draws[..., 1])  # heavy tail
    draws[0, :, 2] *= 3  # unequal scales
    draws[..., 3] = np.round(draws[..., 3])  # ties
    draws[..., 4] = rng.standard_normal((4, num_draws))
    draws[:, 1:, 5] = -0.5 * draws[:, :-1, 4] + draws[:, 1:, 4]  # antithetic
    draws[..., 6] = np.cumsum(draws[..., 6], axis=1)  # never forgets
    found = convergence(draws)
    for i in range(8):
        one = draws[..., i]
        assert found.rhat[i] == pytest.approx(float(arviz.rhat(one)), rel=1e-12)
        assert found.bulk_ess[i] == pytest.approx(float(arviz.ess(one, method="bulk")), rel=1e-9)
        assert found.tail_ess[i] == pytest.approx(float(arviz.ess(one, method="tail")), rel=1e-9)
        assert ess(draws)[i] == pytest.approx(float(arviz.ess(one, method="mean")), rel=1e-9)


def test_ess_of_an_autoregression_is_the_analytical_one() -> None:
    draws = autoregressive(np.random.default_rng(1), (4, 4000, 20), 0.6)
    expected = 16000 * (1 - 0.6) / (1 + 0.6)
    assert ess(draws).mean() == pytest.approx(expected, rel=0.05)


def test_energy_bfmi_is_that_of_arviz_and_low_for_a_slow_energy() -> None:
    import arviz

    rng = np.random.default_rng(2)
    energy = np.stack([rng.standard_normal(1000), autoregressive(rng, (1, 1000), 0.98)[0]])
    idata = arviz.from_dict(posterior={"a": energy}, sample_stats={"energy": energy})
    assert energy_bfmi(energy) == pytest.approx(arviz.bfmi(idata), rel=1e-12)
    assert energy_bfmi(energy)[1] < 0.1


# --- the rule of a reference ------------------------------------------------------------------------------------------------


def test_healthy_chains_are_a_reference() -> None:
    posterior = chains_of(
        {"w1": np.random.default_rng(3).standard_normal((4, 1000, 50)), "sigma": np.random.default_rng(4).random((4, 1000))}
    )
    found = diagnose(posterior)
    assert found.is_reference
    assert found.reasons == ()
    assert found.worst_rhat < 1.01
    assert 2000 < found.min_ess_bulk < 4500
    assert found.sentence.startswith("valid reference")


def test_a_displaced_chain_is_named_with_its_site_index_and_label() -> None:
    w = np.random.default_rng(5).standard_normal((4, 1000, 3, 2))
    w[2, :, 1, 0] += 1.0
    posterior = chains_of({"w1": w, "b1": np.random.default_rng(50).standard_normal((4, 1000))})
    posterior.dims, posterior.coords = {"w1": ("in", "out")}, {"in": ["age", "bmi", "bp"]}
    found = diagnose(posterior)
    assert not found.is_reference
    assert found.worst_rhat_at == "w1[1, 0] (bmi)"
    assert "R-hat of w1[1, 0] (bmi) is 1." in found.sentence
    assert "Remedy: run a longer num_warmup" in found.sentence


def test_a_scalar_that_never_moves_counts_only_if_it_is_sampled() -> None:
    moving, still = np.random.default_rng(6).standard_normal((4, 1000, 2)), np.ones((4, 1000))
    assert diagnose(chains_of({"w1": moving, "c": still}, deterministic=("c",))).is_reference
    found = diagnose(chains_of({"w1": moving, "c": still}))
    assert not found.is_reference
    assert found.worst_rhat == math.inf
    assert found.min_ess_bulk_at == "c"


def test_one_stuck_chain_of_four_is_found() -> None:
    w = np.random.default_rng(7).standard_normal((4, 1000, 2))
    w[1, :, 1] = 0.3
    assert not diagnose(chains_of({"w1": w})).is_reference


def test_draws_that_are_not_finite_are_no_reference() -> None:
    w = np.random.default_rng(8).standard_normal((4, 1000, 3))
    w[0, 5, 2] = np.nan
    found = diagnose(chains_of({"w1": w}))
    assert not found.is_reference
    assert found.worst_rhat_at == "w1[2]"
    w[0, 5, 2] = np.inf
    assert not diagnose(chains_of({"w1": w}, deterministic=("w1",))).is_reference


def test_slow_chains_have_too_few_effective_draws() -> None:
    w = autoregressive(np.random.default_rng(9), (4, 1000, 3), 0.9)  # about 210 effective draws of 4000
    found = diagnose(chains_of({"w1": w}))
    assert not found.is_reference
    assert 120 < found.min_ess_bulk < 320
    assert "at least 400" in found.sentence


@pytest.mark.parametrize(("number", "valid"), [(4, True), (5, False)])
def test_at_most_one_draw_in_a_thousand_may_diverge(number: int, valid: bool) -> None:
    posterior = chains_of({"w1": np.random.default_rng(10).standard_normal((4, 1000, 3))})
    posterior.sample_stats["diverging"][0, :number] = True
    found = diagnose(posterior)
    assert found.divergences == number
    assert found.is_reference is valid
    assert valid or ("5 divergences" in found.sentence and "target_accept_prob" in found.remedy)


def test_a_slow_energy_and_a_missing_one_are_no_reference() -> None:
    rng = np.random.default_rng(11)
    posterior = chains_of({"w1": rng.standard_normal((4, 1000, 3))})
    posterior.sample_stats["energy"][2] = autoregressive(rng, (1, 1000), 0.95)[0]
    assert "E-BFMI is 0." in diagnose(posterior).sentence
    del posterior.sample_stats["energy"]
    assert "E-BFMI is unknown" in diagnose(posterior).sentence


def test_a_gate_may_be_open_all_the_time_but_not_in_one_chain_alone() -> None:
    """By Gibbs sampling, which has no energy."""
    gates = (np.random.default_rng(17).random((4, 1000, 3)) < 0.4).astype(int)
    gates[..., 1] = 1
    posterior = chains_of({"gate": gates}, method="collapsed_gibbs")
    del posterior.sample_stats["energy"]
    assert diagnose(posterior).is_reference
    gates[2, :, 1] = 0
    assert diagnose(posterior).worst_rhat_at == "gate[1]"
    posterior.info.method = "nuts"
    assert "E-BFMI is unknown" in diagnose(posterior).sentence


def test_one_chain_is_no_reference_and_seven_draws_are_none_either() -> None:
    w = np.random.default_rng(12).standard_normal((4, 1000, 3))
    assert "num_chains=4" in diagnose(chains_of({"w1": w[:1]})).sentence
    found = diagnose(chains_of({"w1": w[:, :7]}))
    assert not found.is_reference
    assert math.isnan(found.worst_rhat)


def test_remedies_follow_the_form_and_the_prior() -> None:
    w = np.random.default_rng(13).standard_normal((4, 1000, 3))
    w[0, :, 0] += 2
    half_cauchy = "HalfCauchy(scale=1) × N(0, 1²)"
    assert "parametrization='expanded'" in diagnose(chains_of({"w1": w}, parametrization="hierarchical", prior=half_cauchy)).remedy
    assert "slab" in diagnose(chains_of({"w1": w}, prior=half_cauchy)).remedy
    assert "slab" not in diagnose(chains_of({"w1": w}, prior=half_cauchy + ", slab=InverseNakagami(df=4, scale=2)")).remedy


def test_saturation_counts_full_trees_only() -> None:
    w = np.random.default_rng(14).standard_normal((4, 1000, 3))
    w[0] += 2
    posterior = chains_of({"w1": w}, settings={"max_tree_depth": 5})
    posterior.sample_stats["n_steps"] = np.full((4, 1000), 30)
    assert diagnose(posterior).saturation == 0.0
    posterior.sample_stats["n_steps"][:, :500] = 31
    assert diagnose(posterior).saturation == 0.5
    assert "max_tree_depth=5" in diagnose(posterior).remedy


def test_sites_can_be_chosen() -> None:
    good = np.random.default_rng(15).standard_normal((4, 1000))
    posterior = chains_of({"sigma": good, "w1": np.cumsum(np.random.default_rng(16).standard_normal((4, 1000, 2)), axis=1)})
    assert diagnose(posterior, sites=["sigma"]).is_reference
    with pytest.raises(ValueError, match="unknown site 'tau': give some of sigma, w1"):
        diagnose(posterior, sites=["tau"])


def test_a_guide_has_no_rhat() -> None:
    with pytest.raises(ValueError, match="variational fit"):
        diagnose(Regression().guide())


# --- the ELBO ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("phi", [0.0, 0.8])
def test_a_noisy_elbo_that_stands_still_is_not_flagged_and_its_error_is_right(phi: float) -> None:
    """|t| > 4 with 18 degrees of freedom has probability 8e-4: more than 2 alarms in 200 seeds have probability 6e-4."""
    rng = np.random.default_rng(30)
    losses = 300 + 5 * autoregressive(rng, (200, 5000), phi)
    found = [elbo_trend(each) for each in losses]
    assert sum(not each.converged for each in found) <= 2
    spread = np.std([each.movement for each in found])
    assert np.sqrt(np.mean([each.standard_error**2 for each in found])) == pytest.approx(spread, rel=0.25)


def test_an_elbo_that_moves_is_flagged_with_its_direction() -> None:
    noise = 2 * np.random.default_rng(31).standard_normal(10_000)
    rising = elbo_trend(noise - np.arange(10_000) * 3e-3)  # 3 nats over the last 1000 steps, standard error 0.22
    assert not rising.converged
    assert rising.movement == pytest.approx(3.0, abs=4 * 0.22)
    assert rising.standard_error == pytest.approx(2 * math.sqrt(12 / 1000), rel=0.4)
    assert "still rises" in rising.reason
    falling = elbo_trend(noise + np.arange(10_000) * 3e-3)
    assert "still falls" in falling.reason


def test_a_trend_is_called_what_it_is_of() -> None:
    """The loss of a point goes the other way than an ELBO, and an epoch is no step."""
    losses = 3e-3 * np.arange(10_000)
    assert elbo_trend(-losses, quantity="loss", unit="epoch").reason.startswith("the loss still falls, by 3 ± ")
    assert elbo_trend(-losses, quantity="loss", unit="epoch").reason.endswith("over the last 1000 epochs: run more epochs (num_epochs=)")
    assert elbo_trend(losses, quantity="loss").reason.startswith("the loss still rises, by 3 ± ")
    assert elbo_trend(losses).reason.endswith("over the last 1000 steps: lower learning_rate")
    few = elbo_trend(np.ones(50), quantity="loss", unit="epoch").reason
    assert few == "50 epochs are too few to judge the loss: run at least num_epochs=100"


def test_a_movement_below_a_tenth_of_a_nat_does_not_matter() -> None:
    steps = np.arange(10_000)
    assert elbo_trend(-steps * 0.9e-4).converged
    assert not elbo_trend(-steps * 1.1e-4).converged


def test_only_the_last_tenth_counts() -> None:
    losses = np.concatenate([np.linspace(1000, 100, 9000), np.full(1000, 100.0)])
    assert elbo_trend(losses).converged


def test_an_elbo_that_cannot_be_judged_has_not_converged() -> None:
    assert "run at least num_steps=100" in elbo_trend(np.ones(50)).reason
    assert not elbo_trend(np.empty(0)).converged
    broken = np.ones(1000)
    broken[-1] = np.nan
    assert "not finite" in elbo_trend(broken).reason
