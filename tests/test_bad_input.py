"""Bad input gets one sentence that names the thing and the remedy, from both languages, and leaves nothing half done."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import pytest

import scalemix.numpyro as in_numpyro
import scalemix.pyro as in_pyro
from scalemix import noise
from scalemix.inference import mean_field, nuts, svi
from scalemix.models import linear, mlp
from scalemix.priors import Horseshoe, Laplace, ScaleMixture, SpikeAndSlab

LANGUAGES = {"numpyro": in_numpyro, "pyro": in_pyro}
X = np.random.default_rng(0).normal(size=(6, 3))
Y = np.random.default_rng(1).normal(size=6)
POINT_SPIKE = ScaleMixture(noise.Bernoulli(0.5))
BRIEF_NUTS = nuts.Settings(num_warmup=2, num_draws=2, num_chains=1, progress=False)
BRIEF_SVI = svi.Settings(num_steps=3, num_draws=4, progress=False)


def raises(*words: str, kind: type[Exception] = ValueError) -> Any:
    """The first line of the message has each of these words, in this order (a language may add its own trace below)."""
    return pytest.raises(kind, match="^[^\n]*" + "[^\n]*".join(words))


@pytest.fixture(params=LANGUAGES)
def ppl(request: pytest.FixtureRequest) -> Iterator[Any]:
    language = LANGUAGES[request.param]
    with language.engine.precision("float64", "cpu"):
        yield language


def structure(ppl: Any, model: Callable[..., Any], *data: np.ndarray) -> Any:
    """One run of the model, which is where a model says what is wrong with its arguments."""
    return ppl.engine.structure(model, data, seed=0)


def weight_of(prior: Any, shape: Any = (3,), **options: Any) -> Callable[[Any], Any]:
    return lambda ppl: ppl.weight("w", shape, prior, **options)


# --- numbers of a noise or a prior ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: noise.Rayleigh(-1.0), (r"Rayleigh\(scale=\)", "-1.0", "above 0")),
        (lambda: noise.HalfCauchy(0.0), (r"HalfCauchy\(scale=\)", "0.0", "above 0")),
        (lambda: noise.InverseNakagami(df=-2.0), (r"InverseNakagami\(df=\)", "-2.0", "above 0")),
        (lambda: noise.InverseNakagami(scale=float("nan")), (r"InverseNakagami\(scale=\)", "nan", "finite number")),
        (lambda: noise.Gaussian(scale=-0.5), (r"Gaussian\(scale=\)", "-0.5", "above 0")),
        (lambda: noise.Constant(0.0), (r"Constant\(value=\)", "above 0")),
        (lambda: noise.Bernoulli(1.5), (r"Bernoulli\(inclusion_prob=\)", "1.5", "from 0 to 1")),
        (lambda: noise.Bernoulli(0.5, low=-0.1), (r"Bernoulli\(low=\)", "-0.1", "0 or more")),
        (lambda: noise.Bernoulli(0.5, low=2.0), ("low=2.0", "high=1.0", "low < high")),
        (lambda: noise.Bernoulli.from_dropout_rate(1.0), ("from_dropout_rate", "below 1")),
        (lambda: noise.Rayleigh("1"), (r"Rayleigh\(scale=\)", "'1'", "finite number")),
        (lambda: Laplace(-1.0), ("base_scale", "-1.0", "above 0")),
        (lambda: SpikeAndSlab(0.5, slab_scale=-1.0), (r"slab_scale", "-1.0", "above 0")),
        (lambda: Horseshoe(-1.0), (r"HalfCauchy\(scale=\)", "-1.0", "above 0")),
        (lambda: Horseshoe(0.1, expected_active=2, num_data=9), ("tau0=", "expected_active=", "give one")),
        (lambda: Horseshoe(expected_active=2), ("expected_active=", "num_data=", "give both")),
        (lambda: Horseshoe(expected_active=2, num_data=0), ("num_data", "0", "at least 1")),
        (lambda: ScaleMixture(noise.Rayleigh(), noise.HalfCauchy()), ("_noise_weight", r"name=")),
        (lambda: ScaleMixture(noise.Rayleigh().per("in", name="base")), ("_base", r"name=")),
        (lambda: ScaleMixture(noise.Rayleigh(), slab=noise.Bernoulli(0.5)), ("slab=", "discrete", "InverseNakagami")),
        (lambda: noise.Rayleigh().per("in", "in"), (r"\('in', 'in'\)", "each axis once")),
    ],
)
def test_numbers_and_names_of_a_prior(make: Callable[[], Any], words: tuple[str, ...]) -> None:
    with raises(*words):
        make()


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: ScaleMixture(1.0), ("factor", r"noise.Rayleigh\(\)", "1.0")),
        (lambda: ScaleMixture(noise.Rayleigh(), slab=2.0), ("slab=", "InverseNakagami", "2.0")),
    ],
)
def test_what_is_no_noise(make: Callable[[], Any], words: tuple[str, ...]) -> None:
    with raises(*words, kind=TypeError):
        make()


# --- a weight ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (weight_of(Laplace(), parametrization="centred"), ("parametrization 'centred'", "'expanded'", "'hierarchical'", "'marginal'")),
        (weight_of(Laplace(), parametrization={"tau": "expanded"}), ("factor 'tau'", "'noise'")),
        (weight_of(Laplace(), parametrization={"noise": "noncentered"}), (r"\['noise'\]", "'noncentered'", "centering from 0 to 1")),
        (weight_of(Laplace(), parametrization={"noise": 1.5}), (r"\['noise'\]", "1.5", "centering from 0 to 1")),
        (weight_of(POINT_SPIKE, parametrization="hierarchical"), ("'hierarchical'", "atom at 0", "'expanded'")),
        (weight_of(POINT_SPIKE, parametrization="marginal"), ("'marginal'", "atom at 0", "'expanded'")),
        (weight_of(POINT_SPIKE, parametrization={"noise": "hierarchical"}), ("'noise'", "atom at 0", "'expanded'")),
        (weight_of(POINT_SPIKE, parametrization={"noise": "marginal"}), ("'noise'", "atom at 0", "'expanded'")),
        (weight_of(ScaleMixture(noise.Gaussian()), parametrization="marginal"), ("'marginal'", "closed form", "'expanded'")),
        (weight_of(Horseshoe(), parametrization="marginal"), ("'marginal'", "several noises", "'expanded'")),
        (weight_of(ScaleMixture(noise.Rayleigh().per("layer")), parametrization="marginal"), ("'marginal'", "shared", "'expanded'")),
        (weight_of(ScaleMixture(noise.Rayleigh().per("row"))), ("axis 'row'", "'in'", "'layer'")),
        (weight_of(Laplace(), (2, 3), axes=("in",)), ("axes", r"\(2, 3\)", "one name for each")),
        (weight_of(Laplace(), (2, 3), axes=("in", "in")), ("axes", "all different")),
        (weight_of(Laplace(), (2, 3, 4)), (r"\(2, 3, 4\)", "axes=")),
        (weight_of(Laplace(), (0,)), (r"\(0,\)", "no entries", "at least 1")),
        (weight_of(Horseshoe(expected_active=3, num_data=9)), ("expected_active=3", "has 3", "lower expected_active or give tau0=")),
    ],
)
def test_a_weight_that_cannot_be(make: Callable[[Any], Any], words: tuple[str, ...], ppl: Any) -> None:
    with raises(*words):
        structure(ppl, make)


def test_a_prior_that_is_none(ppl: Any) -> None:
    with raises("prior", r"sm.Laplace\(\)", "0.5", kind=TypeError):
        structure(ppl, weight_of(0.5))


@pytest.mark.parametrize(
    ("prior", "words"),
    [(Horseshoe(), ("several noises",)), (POINT_SPIKE, ("atom at 0",)), (ScaleMixture(noise.Rayleigh().per("layer")), ("shared",))],
)
def test_a_marginal_distribution_that_does_not_exist(prior: ScaleMixture, words: tuple[str, ...], ppl: Any) -> None:
    with raises(*words, "expanded"):
        ppl.distribution(prior, (3,))


# --- models and data -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", [partial(linear, prior=Laplace()), partial(mlp, prior=Laplace(), widths=(2,))], ids=["linear", "mlp"])
def test_shapes_of_data(model: Callable[..., Any], ppl: Any) -> None:
    with raises(r"y has shape \(6, 1\)", "6 rows", r"y.ravel\(\)"):
        structure(ppl, model, X, Y[:, None])
    with raises(r"y has shape \(5,\)", "6 rows", r"\(6,\)"):
        structure(ppl, model, X, Y[:5])
    with raises(r"x has shape \(6,\)", r"\(n, p\)"):
        structure(ppl, model, X[:, 0], Y)


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (partial(linear, prior=Laplace(), likelihood="normal"), ("likelihood 'normal'", "'gaussian'")),
        (partial(linear, prior=Laplace(), likelihood="bernoulli", scale_by_sigma=True), ("scale_by_sigma", "Bernoulli", "False")),
        (partial(mlp, prior=Laplace(), activation="gelu"), ("activation 'gelu'", "'tanh'")),
        (partial(mlp, prior={"v1": Laplace()}), ("'v1'", "w1, w2", "correct or remove")),
        (partial(mlp, prior={"w1": Laplace()}), ("'w2'", "add 'w2'")),
    ],
)
def test_options_of_a_model(model: Callable[..., Any], words: tuple[str, ...], ppl: Any) -> None:
    with raises(*words):
        structure(ppl, model, X, Y)


RECIPES = {
    "nuts": partial(nuts.fit, settings=BRIEF_NUTS),
    "mean_field": partial(mean_field.fit, settings=BRIEF_SVI),
}


@pytest.mark.parametrize("recipe", RECIPES)
def test_data_that_are_no_finite_numbers(recipe: str, ppl: Any) -> None:
    fit, model = RECIPES[recipe], partial(linear, prior=Laplace())
    for bad in (np.nan, np.inf):
        with raises("data", "NaN or infinite", "drop or impute"):
            fit(ppl, model, X, np.where(np.arange(6) == 2, bad, Y), seed=0)
    with raises("data", "give numbers"):
        fit(ppl, model, X, np.array(["a", "b", "c", "d", "e", "f"]), seed=0)
    with raises("data", "give numbers"):
        fit(ppl, model, X.astype(object), Y, seed=0)
    with raises("observes nothing", "outcome"):
        fit(ppl, model, X, seed=0)
    for bad in (-1, 0.5, True, None):
        with raises("seed", "whole number"):
            fit(ppl, model, X, Y, seed=bad)


@pytest.mark.parametrize("recipe", RECIPES)
def test_discrete_sites(recipe: str, ppl: Any) -> None:
    with raises("discrete site 'w1_noise'", "Bernoulli", r"low=0\.05", "summed out"):
        RECIPES[recipe](ppl, partial(linear, prior=POINT_SPIKE), X, Y, seed=0)
    spike = SpikeAndSlab(0.5, 1.0, 0.1)
    with raises("discrete site 'w1_noise'", "summed out"):
        RECIPES[recipe](ppl, partial(linear, prior=spike, parametrization="hierarchical"), X, Y, seed=0)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: nuts.Settings(num_draws=0), ("num_draws", "at least 1")),
        (lambda: nuts.Settings(num_chains=1.5), ("num_chains", "whole number")),
        (lambda: nuts.Settings(target_accept_prob=1.0), ("target_accept_prob", "below 1")),
        (lambda: nuts.Settings(init="zero"), ("init='zero'", "'uniform' or 'prior'")),
        (lambda: nuts.Settings(chain_method="threads"), ("chain_method='threads'", "'parallel'")),
        (lambda: svi.Settings(learning_rate=-0.1), ("learning_rate", "above 0")),
        (lambda: svi.Settings(dtype="float16"), ("dtype='float16'", "'float32' or 'float64'")),
        (lambda: svi.Settings(device="tpu"), ("device='tpu'", "'cpu', 'gpu' or 'auto'")),
    ],
)
def test_settings(make: Callable[[], Any], words: tuple[str, ...]) -> None:
    with raises(*words):
        make()


def _guide(ppl: Any, x: Any, y: Any, *, sites: tuple[str, ...], auxiliary: bool = False) -> None:
    for site in sites:
        infer = {"is_auxiliary": True} if auxiliary and site == "extra" else {}
        law = ppl.dist.LogNormal(0.0, 1.0) if site == "sigma" else ppl.dist.Normal(0.0, 1.0)
        ppl.sample(site, law.expand((3,)).to_event(1) if site == "w1" else law, infer=infer)


def test_a_guide_that_misses_or_adds_a_site(ppl: Any) -> None:
    fit = partial(svi.fit, ppl, partial(linear, prior=Laplace(), parametrization="marginal"), X, Y, seed=0, settings=BRIEF_SVI)
    with raises("guide has no site 'w1'", "prior", "add it"):
        fit(guide=partial(_guide, sites=("sigma", "b1")))
    with raises("guide samples 'extra'", "is_auxiliary", "rename"):
        fit(guide=partial(_guide, sites=("sigma", "w1", "b1", "extra")))
    posterior = fit(guide=partial(_guide, sites=("sigma", "w1", "b1", "extra"), auxiliary=True))
    assert set(posterior.draws) == {"sigma", "w1", "b1"}


def test_an_elbo_that_ceases_to_be_finite(ppl: Any) -> None:
    """(y − xw)² of such numbers is beyond float64."""
    model, guide = partial(linear, prior=Laplace(), parametrization="marginal"), partial(_guide, sites=("sigma", "w1", "b1"))
    with pytest.raises(FloatingPointError, match=r"not finite at step 0: lower Settings\(learning_rate=\) or standardize the data"):
        svi.fit(ppl, model, X, 1e200 * Y, guide=guide, seed=0, settings=BRIEF_SVI)


def test_sites_of_log_density(ppl: Any) -> None:
    model = partial(linear, prior=Laplace(), bias_prior=None)
    x, y = ppl.array(X), ppl.array(Y)
    full = {"sigma": ppl.array(1.0), "w1_noise": ppl.array(np.ones(3)), "w1_base": ppl.array(np.ones(3))}
    assert np.isfinite(float(ppl.log_density(model, full, x, y)))
    with raises("latent site 'w1_base'", "add it to values"):
        ppl.log_density(model, {name: full[name] for name in ("sigma", "w1_noise")}, x, y)
    with raises("no site 'w2'", "sigma", "w1_noise"):
        ppl.log_density(model, {**full, "w2": ppl.array(1.0)}, x, y)
