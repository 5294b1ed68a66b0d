"""Six models as users write them, in plain Pyro and plain NumPyro, with plates, loops and modules: the priors join in as in ours.

The log joint of each is written out by hand with SciPy's distributions, once for both languages.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np
import numpyro
import pyro
import pytest
import uses_in_numpyro
import uses_in_pyro
from both_languages import in_both
from numpyro.contrib.control_flow import scan
from plain_models import LANGUAGES, PRIORS, run
from scipy import special, stats

import scalemix.numpyro as in_numpyro
import scalemix.pyro as in_pyro
from scalemix import noise
from scalemix.priors import ScaleMixture

Values = dict[str, np.ndarray]
MODELS = {"numpyro": uses_in_numpyro.MODELS, "pyro": uses_in_pyro.MODELS}

RNG = np.random.default_rng(5)
X, GROUP = RNG.normal(size=(12, 2)), np.arange(12) % 3
REAL, BINARY = RNG.normal(size=12), (RNG.random(12) < 0.5).astype(float)
SERIES = np.cumsum(RNG.normal(size=6))


def data(name: str, case: str) -> tuple[Any, ...]:
    if case.startswith("series"):
        return (LANGUAGES[name].array(SERIES),)
    return tuple(LANGUAGES[name].array(each) for each in (X, GROUP, BINARY if case == "logistic" else REAL))


@pytest.fixture(params=LANGUAGES)
def name(request: pytest.FixtureRequest) -> Iterator[str]:
    with in_pyro.engine.precision("float64", "cpu"), in_numpyro.engine.precision("float64", "cpu"):
        yield request.param


# --- by hand -------------------------------------------------------------------------------------------------------------------


def normal(value: Any, mean: Any, sd: Any) -> float:
    return float(np.sum(stats.norm.logpdf(value, mean, sd)))


def half_normal(value: Any, scale: float) -> float:
    return float(np.sum(stats.halfnorm.logpdf(value, scale=scale)))


def half_cauchy(value: Any, scale: float) -> float:
    return float(np.sum(stats.halfcauchy.logpdf(value, scale=scale)))


def root_inverse_gamma(value: Any, shape: float, scale: float) -> float:
    """ξ² ~ InvGamma(shape, scale), as a density of ξ."""
    return float(np.sum(stats.invgamma.logpdf(value**2, shape, scale=scale) + np.log(2 * value)))


def hierarchical(v: Values) -> float:
    wide = v["mean_tau"] * v["mean_noise_weight"]
    mean = v["mean_base"] * v["mean_slab"] * wide / np.sqrt(v["mean_slab"] ** 2 + wide**2)
    shift = v["spread"] * v["shift_noise"] * v["shift_base"]
    return (
        half_normal(v["sigma"], 1.0)
        + half_normal(v["spread"], 0.5)
        + half_cauchy(v["mean_noise_weight"], 1.0)
        + half_cauchy(v["mean_tau"], 0.5)
        + root_inverse_gamma(v["mean_slab"], 2.0, 2.0 * 2.0**2)
        + normal(v["mean_base"], 0.0, 1.0)
        + root_inverse_gamma(v["shift_noise"], 2.0, 2.0)
        + normal(v["shift_base"], 0.0, 1.0)
        + normal(REAL, np.sum(X * (mean + shift)[GROUP], axis=1), v["sigma"])
    )


def logistic(v: Values) -> float:
    a = v["intercept"]
    wide, narrow = np.log(0.3) + stats.norm.logpdf(a, 0.0, 2.0), np.log(0.7) + stats.norm.logpdf(a, 0.0, 0.1)
    prob = special.expit(X @ v["slope"] + a[GROUP])
    slope = np.sum(stats.laplace.logpdf(v["slope"], scale=0.5))
    return float(slope + np.sum(np.logaddexp(wide, narrow)) + np.sum(stats.bernoulli.logpmf(BINARY, prob)))


def network(v: Values) -> float:
    assert v["w1_noise"].shape == (4,), "one noise for each unit"
    w1 = v["w1_noise"][:, None] * v["w1_base"]
    return (
        float(np.sum(stats.rayleigh.logpdf(v["w1_noise"])))
        + normal(v["w1_base"], 0.0, 0.7)
        + normal(v["b1"], 0.0, 1.0)
        + half_cauchy(v["w2_noise"], 0.5)
        + normal(v["w2"], 0.0, v["w2_noise"])
        + normal(REAL, np.tanh(X @ w1.T + v["b1"]) @ v["w2"], 0.5)
    )


def module(v: Values) -> float:
    hidden = np.maximum(X @ v["hidden.weight"].T + v["hidden.bias"], 0.0)
    return (
        float(np.sum(stats.t.logpdf(v["hidden.weight"], 4.0, scale=0.6)))
        + normal(v["hidden.bias"], 0.0, 0.8)
        + float(np.sum(stats.rayleigh.logpdf(v["last_noise"])))
        + normal(v["last_base"], 0.0, 0.7)
        + normal(REAL, hidden @ (v["last_noise"] * v["last_base"]), 0.5)
    )


def series(v: Values) -> float:
    return (
        half_normal(v["sigma"], 1.0)
        + root_inverse_gamma(v["step_noise"], 1.5, 1.5)
        + normal(v["step_base"], 0.0, 0.4)
        + normal(SERIES, np.cumsum(v["step_noise"] * v["step_base"]), v["sigma"])
    )


BY_HAND: dict[str, Callable[[Values], float]] = {
    "hierarchical": hierarchical,
    "logistic": logistic,
    "network": network,
    "module": module,
    "series": series,
    "series_in_loop": series,
}
SHAPES = {
    "hierarchical": {
        "sigma": (),
        "spread": (),
        "mean": (2,),
        "mean_noise_weight": (2,),
        "mean_tau": (),
        "mean_slab": (),
        "mean_base": (2,),
        **dict.fromkeys(("shift", "shift_noise", "shift_base"), (3, 2)),
    },
    "logistic": {"slope": (2,), "intercept": (3,)},
    "network": {"w1": (4, 2), "w1_noise": (4,), "w1_base": (4, 2), "b1": (4,), "w2": (4,), "w2_noise": (4,)},
    "module": {"hidden.weight": (3, 2), "hidden.bias": (3,), **dict.fromkeys(("last", "last_noise", "last_base"), (3,))},
    "series": {"sigma": (), **dict.fromkeys(("step", "step_noise", "step_base"), (6,))},
}
SHAPES["series_in_loop"] = SHAPES["series"]


def gathered(values: Values) -> Values:
    """The steps of a loop in Pyro, which are sites of their own, as one array over time: step_0_noise, … as step_noise."""
    for stem in ("step", "step_noise", "step_base", "y"):
        parts = [stem.replace(stem.split("_")[0], f"{stem.split('_')[0]}_{t}") for t in range(len(SERIES))]
        if parts[0] in values:
            values = {key: value for key, value in values.items() if key not in parts} | {stem: np.stack([values[part] for part in parts])}
    return values


@in_both("case", BY_HAND, fast=("hierarchical", "logistic", "series"), fixture="name")
def test_sites_and_log_joint_are_those_written_out_by_hand(case: str, name: str) -> None:
    values, log_probs = run(name, MODELS[name][case], *data(name, case))
    if name == "pyro":
        values = gathered(values)
    values.pop("y")
    assert {key: value.shape for key, value in values.items()} == SHAPES[case]
    assert sum(log_probs.values()) == pytest.approx(BY_HAND[case](values), rel=1e-9)


# --- they fit ------------------------------------------------------------------------------------------------------------------


BY_NUTS, BY_SVI = ("hierarchical",), ("logistic", "series")
SLOW = ("network", "module", "series_in_loop")


@in_both("case", (*BY_SVI, *BY_NUTS, *SLOW), fast=("logistic",), slow=(*BY_NUTS, *SLOW), fixture="name")
def test_svi(case: str, name: str) -> None:
    """The guides read plates, loops and modules; an ELBO that rises has gradients that point the right way."""
    model, args = MODELS[name][case], data(name, case)
    if name == "numpyro":
        guide = numpyro.infer.autoguide.AutoNormal(model)
        svi = numpyro.infer.SVI(model, guide, numpyro.optim.Adam(0.03), numpyro.infer.Trace_ELBO())
        state = jax.jit(svi.init)(jax.random.PRNGKey(1), *args)
        losses = np.asarray(jax.jit(lambda state: jax.lax.scan(lambda state, _: svi.update(state, *args), state, None, 100)[1])(state))
    else:
        with pyro.get_param_store().scope(), in_pyro.engine.seeded(1):
            guide = pyro.infer.autoguide.AutoNormal(model)
            svi = pyro.infer.SVI(model, guide, pyro.optim.Adam({"lr": 0.03}), pyro.infer.Trace_ELBO())
            losses = np.array([svi.step(*args) for _ in range(100)])
    assert np.all(np.isfinite(losses))
    assert np.mean(losses[-20:]) < np.mean(losses[:20])


@in_both("case", (*BY_NUTS, *BY_SVI, *SLOW), fast=BY_NUTS, slow=(*BY_SVI, *SLOW), fixture="name")
def test_nuts(case: str, name: str) -> None:
    model, args = MODELS[name][case], data(name, case)
    expected = set(SHAPES[case])
    if name == "numpyro":
        mcmc = numpyro.infer.MCMC(numpyro.infer.NUTS(model, max_tree_depth=5), num_warmup=20, num_samples=20, progress_bar=False)
        mcmc.run(jax.random.PRNGKey(0), *args)
        draws = {key: np.asarray(value) for key, value in mcmc.get_samples().items()}
    else:
        with in_pyro.engine.seeded(0):
            mcmc = pyro.infer.MCMC(pyro.infer.NUTS(model, max_tree_depth=3), num_samples=5, warmup_steps=5, disable_progbar=True)
            mcmc.run(*args)
        draws = gathered({key: value.numpy() for key, value in mcmc.get_samples().items()})
        expected = {key for key in expected if f"{key}_base" not in expected}  # Pyro returns no deterministic sites
    assert set(draws) == expected
    for key, value in draws.items():
        assert np.all(np.isfinite(value)), key


# --- loops in NumPyro ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", ["student_t-hierarchical", "dropout-hierarchical", "spike-marginal", "shared_gate-marginal"])
def test_a_weight_in_scan_is_one_weight_for_each_step(case: str) -> None:
    """Also of the laws for which NumPyro's own ``scan`` loses the axis of time: transformed, folded, tied ones."""
    prior, form = (ScaleMixture(noise.Gaussian(1.0, 0.5)), "hierarchical") if case.startswith("dropout") else PRIORS[case]

    def one(carry: Any, step: Any) -> tuple[Any, Any]:
        return carry, in_numpyro.weight("w", 2, prior, parametrization=form)

    with in_numpyro.engine.precision("float64", "cpu"):
        values, log_probs = run("numpyro", lambda: scan(one, None, np.arange(3)))
        steps = [{key: value[t] for key, value in values.items() if key in log_probs} for t in range(3)]
        alone = sum(float(in_numpyro.log_density(lambda ppl: one(None, None), each)) for each in steps)
    assert values["w"].shape == (3, 2)
    assert len(np.unique(values["w"])) == 6
    assert sum(log_probs.values()) == pytest.approx(alone, rel=1e-12)
