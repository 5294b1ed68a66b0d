"""Coordinates: ``reparam`` changes the sites and not the law, and the pilots find the form in which the sampler moves best."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest

import scalemix as sm
import scalemix.numpyro as in_numpyro
import scalemix.pyro as in_pyro
from scalemix import models, noise
from scalemix.inference import coordinates, nuts
from scalemix.plan import make_plan

RNG = np.random.default_rng(0)
X, Y = RNG.standard_normal((12, 3)), RNG.standard_normal(12)
RAYLEIGH = sm.ScaleMixture(noise.Rayleigh(0.7).per("in"))


def sites(ppl: Any, model: Any) -> set[str]:
    return set(ppl.engine.structure(model, (X, Y), seed=0).latents)


@pytest.mark.parametrize("ppl", [in_pyro, in_numpyro], ids=["pyro", "numpyro"])
@pytest.mark.parametrize("form", ["expanded", "hierarchical", "marginal"])
def test_reparam_is_the_parametrization_of_a_weight_that_leaves_it_open(ppl: Any, form: str) -> None:
    open_model = partial(models.linear, prior=sm.Laplace(0.5))
    assert sites(ppl, sm.reparam(open_model, form)) == sites(ppl, partial(open_model, parametrization=form))


def test_a_centering_is_taken_by_every_noise_and_by_the_slab() -> None:
    seen = []

    def model(ppl: Any) -> None:
        prior = sm.Horseshoe(0.1, slab_scale=2.0)
        seen.append(make_plan(prior, (3,), None, None))
        seen.append(make_plan(prior, (3,), None, "expanded"))

    sm.reparam(model, 0.25)(in_numpyro)
    assert [factor.centering for factor in seen[0].factors] == [0.25, 0.25]
    assert seen[0].slab_centering == 0.25
    assert [factor.centering for factor in seen[1].factors] == [0.0, 0.0]  # said by the model


def test_reparam_leaves_alone_what_has_no_such_form() -> None:
    """A point spike has no hierarchical form, a shared noise on a matrix no marginal one, a normal prior is one site."""
    found = []

    def model(ppl: Any) -> None:
        found.append(make_plan(sm.SpikeAndSlab(0.2), (3,), None, None).form)
        found.append(make_plan(RAYLEIGH, (3, 2), None, None).form)
        found.append(make_plan(sm.Normal(), (3,), None, None).form)
        found.append(make_plan(sm.SpikeAndSlab(0.2, spike_scale=0.1), (3,), None, None).form)

    sm.reparam(model, "hierarchical")(in_numpyro)
    assert found == ["expanded", "hierarchical", "single", "marginal"]
    found.clear()
    sm.reparam(model, "marginal")(in_numpyro)
    assert found == ["expanded", "expanded", "single", "marginal"]


def test_reparam_is_over_when_the_model_is() -> None:
    def broken(ppl: Any) -> None:
        raise KeyError("planted")

    with pytest.raises(KeyError, match="planted"):
        sm.reparam(broken, "hierarchical")(in_numpyro)
    assert make_plan(sm.Laplace(), (3,), None, None).form == "expanded"


@pytest.mark.parametrize("form", ["centered", 1.5, -0.1])
def test_reparam_refuses_what_is_no_form(form: Any) -> None:
    with pytest.raises(ValueError, match="give one of 'expanded', 'hierarchical', 'marginal', or a centering from 0 to 1"):
        sm.reparam(models.linear, form)


@pytest.mark.slow
def test_the_pilots_of_a_network_agree_on_what_is_judged_and_the_model_keeps_what_is_identified() -> None:
    settings = coordinates.Settings(num_pilot_warmup=10, num_pilot_draws=20, max_tree_depth=3, progress=False)
    model = partial(models.mlp, prior=RAYLEIGH, widths=(2,), num_outputs=2, likelihood="categorical")
    found = coordinates.pilots(in_numpyro, model, X, (Y > 0).astype(int), seed=0, settings=settings, forms=("expanded", "hierarchical"))
    assert {pilot.form for pilot in found} == {"expanded", "hierarchical"}
    assert all(pilot.slowest.startswith(("y_mean", "y_log_likelihood", "w1_noise", "w2_noise_sorted")) for pilot in found)
    assert found == coordinates.ranked(found)


@pytest.mark.parametrize(
    ("divergences", "best"),
    [
        ({"expanded": 0.0, "hierarchical": 0.019}, "hierarchical"),
        ({"expanded": 0.0, "hierarchical": 0.03}, "expanded"),  # it has the more draws because it leaves some out
        ({"expanded": 0.018, "hierarchical": 0.026}, "hierarchical"),  # both do
        ({"expanded": 0.05, "hierarchical": 0.2}, "expanded"),
    ],
)
def test_a_form_that_diverges_more_than_the_others_is_not_taken(divergences: dict[str, float], best: str) -> None:
    ess = {"expanded": 0.01, "hierarchical": 0.02}
    tried = [coordinates.Pilot(form, ess[form], "y", 1000, share) for form, share in divergences.items()]
    assert coordinates.ranked(tried)[0].form == best


def test_forms_that_make_the_same_sites_are_tried_once() -> None:
    tried = coordinates._distinct(
        in_numpyro, partial(models.linear, prior=sm.Normal()), (X, Y), ("expanded", "hierarchical", 0.5), seed=0, settings=nuts.Settings()
    )
    assert tried == ["expanded"]


@pytest.mark.slow
def test_where_the_data_say_little_the_expanded_form_is_taken_and_where_they_say_much_the_hierarchical() -> None:
    """Eight groups of one noisy mean each: a funnel. Eight groups of 400 precise observations each: the other way round."""
    groups, rng = np.arange(8), np.random.default_rng(1)

    def model(ppl: Any, group: Any, sd: Any, y: Any = None) -> None:
        w = ppl.weight("w", (8,), sm.ScaleMixture(noise.HalfNormal(2.0).per("layer")))
        ppl.sample("y", ppl.dist.Normal(w[..., group], sd).to_event(1), obs=y)

    truth = rng.standard_normal(8)
    settings = coordinates.Settings(progress=False, num_draws=300, num_warmup=300)
    vague = np.full(8, 10.0)
    posterior = coordinates.fit(in_numpyro, model, groups, vague, truth + 10.0 * rng.standard_normal(8), seed=0, settings=settings)
    assert posterior.info.parametrization == "expanded"
    pilots = [note for note in posterior.info.notes if note.startswith("coordinates: ")]
    assert pilots[0].startswith("coordinates: expanded")
    precise = np.full(8, 0.05)
    found = coordinates.pilots(in_numpyro, model, groups, precise, truth + 0.05 * rng.standard_normal(8), seed=0, settings=settings)
    assert found[0].form == "hierarchical"
    by_form = {pilot.form: pilot.ess_per_gradient for pilot in found}
    assert by_form["hierarchical"] > 5.0 * by_form["expanded"]
