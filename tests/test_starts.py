"""Where chains start, HMC, what is kept, and what a run needs before it starts."""

from __future__ import annotations

import re
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from runs import SEGMENT, Y, brief, model

import scalemix as sm
import scalemix.numpyro
import scalemix.pyro
from scalemix import footprint
from scalemix.inference import hmc, mean_field, nuts, svi
from scalemix.starts import starting_points

LANGUAGES = {"numpyro": scalemix.numpyro, "pyro": scalemix.pyro}
FAR = 30.0


@pytest.fixture(params=LANGUAGES)
def ppl(request: pytest.FixtureRequest) -> Any:
    return LANGUAGES[request.param]


def refused(*words: str, kind: type[Exception] = ValueError) -> Any:
    return pytest.raises(kind, match="^[^\n]*" + "[^\n]*".join(words) + "[^\n]*$")


def two_modes(ppl: Any, y: Any = None) -> None:
    """|place| ≈ 30 with sd 0.5: no chain of this length gets from one mode to the other, or to either from a start within ±2."""
    place = ppl.sample("place", ppl.dist.Normal(0.0, 1000.0))
    scale = ppl.sample("scale", ppl.dist.LogNormal(0.0, 0.1))
    with ppl.data_plate(y):
        ppl.sample("y", ppl.dist.Normal(ppl.sqrt(place**2), 0.5 * scale), obs=y)


def start_at(ppl: Any, start: Any, **changes: Any) -> sm.Posterior:
    settings = hmc.Settings(**{"num_warmup": 5, "num_draws": 5, "num_chains": 2, "num_steps": 2, "progress": False} | changes)
    return hmc.fit(ppl, two_modes, np.array([FAR]), seed=1, settings=settings, init_from=start)


@pytest.mark.slow
def test_chains_start_where_they_are_told(ppl: Any) -> None:
    each = start_at(ppl, {"place": [FAR, -FAR], "scale": 1.0})
    np.testing.assert_allclose(each.draws["place"], np.array([[FAR], [-FAR]]) * np.ones(5), atol=5.0)
    again = start_at(ppl, each)
    np.testing.assert_allclose(np.abs(again.draws["place"]), FAR, atol=5.0)
    one = start_at(ppl, {"place": -FAR}, num_chains=1)  # the other site starts by itself
    np.testing.assert_allclose(one.draws["place"], -FAR, atol=5.0)


def test_a_fitted_guide_is_a_start() -> None:
    guide = mean_field.fit(scalemix.numpyro, model, Y, seed=0, settings=svi.Settings(num_steps=50, num_draws=7, progress=False))
    structure = scalemix.numpyro.engine.structure(model, (Y,), seed=0)
    points = starting_points(scalemix.numpyro, model, (Y,), structure, guide, num_chains=7, seed=2)
    rows = [tuple(points[name][chain] for name in ("mean", "scale")) for chain in range(7)]
    draws = list(zip(guide.draws["mean"][0], guide.draws["scale"][0], strict=True))
    assert len(set(rows)) == 7
    assert set(rows) == set(draws)


@pytest.mark.parametrize(
    ("start", "words"),
    [
        ({"men": 1.0}, ("'men'", "does not sample", "'mean', 'scale'")),
        ({"ratio": 1.0}, ("'ratio'", "does not sample")),
        ({"mean": [1.0, 2.0, 3.0]}, (r"'mean' of shape \(3,\)", r"the site is \(\)", r"\(2,\)")),
        ({"mean": float("nan")}, ("'mean'", "not finite")),
        ({"mean": 0.0, "scale": -1.0}, ("log density", "chain 0", "support")),
        ("zero", ("init_from='zero'", "'uniform'", "Posterior")),
    ],
)
def test_bad_starts_are_refused(ppl: Any, start: Any, words: tuple[str, ...]) -> None:
    with refused(*words):
        nuts.fit(ppl, model, Y, seed=0, settings=brief(), init_from=start)


def test_a_start_of_another_model_is_refused(ppl: Any) -> None:
    draws = {"mean": np.zeros((1, 1)), "place": np.zeros((1, 3))}
    fitted = sm.Posterior(draws, ("mean",), SimpleNamespace(dropped=[]), np.zeros((1, 1)), {})  # type: ignore[arg-type]
    with refused("without the site 'scale'", "same model"):
        nuts.fit(ppl, model, Y, seed=0, settings=brief(), init_from=fitted)
    fitted.draws["scale"] = np.ones((1, 1))
    with refused("1 draws for 2 chains"):
        nuts.fit(ppl, model, Y, seed=0, settings=brief(), init_from=fitted)
    fitted.draws["scale"] = np.ones((1, 1, 3))
    with refused(r"'scale' of shape \(3,\)", "same data"):
        nuts.fit(ppl, model, Y, seed=0, settings=brief(), init_from=fitted)
    with refused("init_from is a list", "dict", kind=TypeError):
        nuts.fit(ppl, model, Y, seed=0, settings=brief(), init_from=[1.0])  # type: ignore[arg-type]


@pytest.mark.slow
def test_hmc_samples_the_posterior(ppl: Any) -> None:
    """A conjugate normal mean: posterior N(n ȳ / (n + 1), 1 / (n + 1)). The errors are those of the effective draws."""

    def normal_mean(ppl: Any, y: Any = None) -> None:
        mean = ppl.sample("mean", ppl.dist.Normal(0.0, 1.0))
        with ppl.data_plate(y):
            ppl.sample("y", ppl.dist.Normal(mean, 1.0), obs=y)

    from scalemix.comparison.chains import ess

    settings = hmc.Settings(num_warmup=100, num_draws=300, num_chains=2, progress=False)
    found = hmc.fit(ppl, normal_mean, Y, seed=0, settings=settings)
    draws, sd = found.draws["mean"], 1 / np.sqrt(len(Y) + 1)
    ess = min(float(ess(draws[..., None])[0]), draws.size)
    assert abs(draws.mean() - Y.sum() / (len(Y) + 1)) < 4.5 * sd / np.sqrt(ess)
    assert abs(draws.var() / sd**2 - 1) < 4.5 * np.sqrt(2 / ess)
    steps = found.sample_stats["n_steps"] * found.sample_stats["step_size"]  # π/2 is a quarter of a period: nearly independent draws
    assert np.all(steps > np.pi / 2 - found.sample_stats["step_size"])
    assert np.all(steps < np.pi / 2 + 1e-6 + found.sample_stats["step_size"])
    assert "tree_depth" not in found.sample_stats
    assert found.info.method == "hmc"


def test_keep_and_drop(tmp_path: Any) -> None:
    options: dict[str, Any] = {"seed": 3, "settings": brief(), "segment_draws": SEGMENT}
    whole = nuts.fit(scalemix.numpyro, model, Y, **options)
    kept = nuts.fit(scalemix.numpyro, model, Y, keep=["ratio", "scale"], folder=tmp_path / "run", **options)
    assert list(kept.draws) == ["scale", "ratio"]
    assert (kept.latents, kept.info.dropped) == (("scale",), ["mean"])
    np.testing.assert_array_equal(kept.draws["ratio"], whole.draws["ratio"])
    np.testing.assert_array_equal(kept.log_joint, whole.log_joint)
    with refused("'mean' was dropped", "keep="):
        kept.predict(seed=0)
    for bad, words in (
        ({"keep": ["mu"]}, ("keep names 'mu'", "'mean', 'scale', 'ratio'")),
        ({"drop": "mean"}, ("drop is 'mean'", "list")),
        ({"keep": ["mean"], "drop": ["mean"]}, ("both",)),
        ({"drop": ["mean", "scale", "ratio"]}, ("no site is left",)),
    ):
        with refused(*words):
            nuts.fit(scalemix.numpyro, model, Y, **options, **bad)


def test_what_cannot_fit_is_refused(ppl: Any, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """3 numbers of sites, 6 of the likelihood and 7 statistics are 128 bytes to a draw: 2·10¹³ draws are 2 560 TB."""
    settings = brief(num_draws=10**13)
    with refused("20 000 000 000 000 draws of 128 B", "2560 TB of memory", "available", "folder=", "drop="):
        nuts.fit(ppl, model, Y, seed=0, settings=settings)
    with refused("need 5120 TB in", "twice", "free", "another disk", "drop="):
        nuts.fit(ppl, model, Y, seed=0, settings=settings, folder=tmp_path / "run")
    with refused("of memory", "smaller segment_draws"):
        nuts.fit(ppl, model, Y, seed=0, settings=settings, folder=tmp_path / "other", segment_draws=10**12)
    assert not (tmp_path / "other").exists()


def test_the_estimate_is_what_is_kept() -> None:
    found = nuts.fit(scalemix.numpyro, model, Y, seed=3, settings=brief(), segment_draws=SEGMENT)
    structure = scalemix.numpyro.engine.structure(model, (Y,), seed=0)
    estimate = footprint.Footprint.of(structure, ("mean", "scale", "ratio"), 8)
    parts = [*found.draws.values(), *found.log_likelihood.values()]
    assert estimate.kept - 8 * footprint.NUM_STATISTICS == sum(value.nbytes for value in parts) / found.num_draws
    assert len(found.sample_stats) + 1 == footprint.NUM_STATISTICS


def test_a_gpu_is_used_where_there_is_one_and_the_model_is_large(ppl: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from scalemix.fitting import place

    if ppl.engine.has_gpu():
        pytest.skip("there is a GPU here")
    with refused("device='gpu'", "finds no GPU", "install", "device='cpu'"):
        nuts.fit(ppl, model, Y, seed=0, settings=brief(device="gpu"))
    with refused("device='gpu'", "finds no GPU"):
        mean_field.fit(ppl, model, Y, seed=0, settings=svi.Settings(device="gpu", progress=False))
    settings, why = place(ppl, model, (Y,), brief(device="auto"), seed=0)
    assert (settings.device, why) == ("cpu", f"on the CPU: {ppl.name} finds no GPU")
    monkeypatch.setattr(ppl.engine, "has_gpu", lambda: True)
    settings, why = place(ppl, model, (Y,), brief(device="auto"), seed=0)
    assert settings.device == "cpu"
    assert why == "on the CPU: about 1e+01 multiply-adds to a gradient, fewer than 1e+07"
    settings, why = place(ppl, two_modes, (np.zeros(6_000_000),), brief(device="auto"), seed=0)
    assert settings.device == "gpu"


def test_the_chain_method_is_chosen_by_a_rule_that_is_said(ppl: Any) -> None:
    rule = ppl.engine.chain_method
    if ppl.name == "pyro":
        assert rule("auto", 4)[0] == rule("vectorized", 4)[0] == "sequential"
        return
    assert rule("auto", 1) == ("sequential", "one chain")
    assert rule("auto", 4) == ("parallel", "XLA has 2 devices, 2 run 2 chains each")
    assert rule("auto", 5)[0] == "sequential"
    assert rule("vectorized", 5) == ("vectorized", "as asked for")
    with refused(re.escape("shares 5 chains out to devices, and XLA has 2"), "set_host_device_count", "'auto'"):
        rule("parallel", 5)
