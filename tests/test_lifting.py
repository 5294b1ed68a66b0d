"""``ppl.lift`` in both languages: networks written elsewhere, in plain torch or in Equinox, with priors on their weights."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from lifted import NAMES, PER_IN, X, Y, draws_of_mlp, mlp_of
from plain_torch import Mlp
from scipy import stats
from torch import nn

import scalemix.numpyro as in_numpyro
import scalemix.pyro as in_pyro
from scalemix import likelihoods, models, noise
from scalemix.guides import Gaussian, Guide, Point
from scalemix.priors import Horseshoe, Laplace, Normal, ScaleMixture, SpikeAndSlab

LANGUAGES = {"pyro": in_pyro, "numpyro": in_numpyro}
PRIORS = {
    "normal": (Normal(0.7), None),
    "per_in-expanded": (PER_IN, "expanded"),
    "per_in-hierarchical": (PER_IN, "hierarchical"),
    "per_out-expanded": (ScaleMixture(noise.HalfCauchy(0.5).per("out")), "expanded"),
    "spike-marginal": (SpikeAndSlab(0.3, 1.0, 0.1), "marginal"),
    "horseshoe": (Horseshoe(0.5, slab_scale=2.0), None),
}


@pytest.mark.parametrize("case", PRIORS)
@pytest.mark.parametrize("name", LANGUAGES)
def test_a_lifted_network_has_the_log_joint_of_the_one_written_by_hand(name: str, case: str) -> None:
    """``models.mlp`` has weights (in, out); what stands at its sites, transposed, gives the lifted network the same log joint."""
    ppl, (prior, form), rng = LANGUAGES[name], PRIORS[case], np.random.default_rng(2)
    by_hand = partial(models.mlp, prior=prior, widths=(4,), bias_prior=Normal(1.3), parametrization=form, scale_by_fan_in=False)
    with ppl.engine.precision("float64", "cpu"):
        network = mlp_of(draws_of_mlp())[name]
        priors = {"*.weight": prior, "*.bias": Normal(1.3)}
        net = ppl.lift(network, priors, parametrization=form)
        structure = ppl.engine.structure(by_hand, (X, Y), seed=0)
        values = {site: np.abs(rng.normal(size=shape)) + 0.1 for site, shape in structure.latents.items()}
        lifted = {}
        for site, value in values.items():
            weight, _, rest = site.partition("_")
            own = NAMES[name].get(weight, weight) + (f"_{rest}" if rest else "")
            lifted[own] = value.T if value.ndim == 2 else value
        ours = partial(models.lifted, net=net)
        assert set(ppl.engine.structure(ours, (X, Y), seed=0).latents) == set(lifted)
        x, y = ppl.array(X), ppl.array(Y)
        got = ppl.log_density(ours, {site: ppl.array(value) for site, value in lifted.items()}, x, y)
        wanted = ppl.log_density(by_hand, {site: ppl.array(value) for site, value in values.items()}, x, y)
        np.testing.assert_allclose(float(got), float(wanted), rtol=1e-12)


@pytest.mark.parametrize("name", LANGUAGES)
def test_the_log_joint_is_that_of_scipy(name: str) -> None:
    """Normal prior and likelihood, tanh network: every factor by SciPy."""
    ppl, values = LANGUAGES[name], draws_of_mlp()
    with ppl.engine.precision("float64", "cpu"):
        network = mlp_of({key: np.zeros_like(value) for key, value in values.items()})[name]
        net = ppl.lift(network, {"*.weight": Laplace(0.5), "*.bias": Normal(2.0)}, parametrization="marginal")
        own = {NAMES[name][site]: values[key] for site, key in NAMES["pyro"].items()} | {"sigma": 0.6}
        got = ppl.log_density(
            partial(models.lifted, net=net), {k: ppl.array(np.asarray(v)) for k, v in own.items()}, ppl.array(X), ppl.array(Y)
        )
    f = np.tanh(X @ values["fc1.weight"].T + values["fc1.bias"]) @ values["fc2.weight"][0] + values["fc2.bias"]
    wanted = stats.norm(f, 0.6).logpdf(Y).sum() + stats.halfnorm.logpdf(0.6)
    wanted += sum(stats.laplace(0, 0.5).logpdf(values[key]).sum() for key in ("fc1.weight", "fc2.weight"))
    wanted += sum(stats.norm(0, 2.0).logpdf(values[key]).sum() for key in ("fc1.bias", "fc2.bias"))
    np.testing.assert_allclose(float(got), wanted, rtol=1e-10)


@pytest.mark.parametrize("name", LANGUAGES)
def test_what_is_left_alone_stays_and_the_table_names_all(name: str) -> None:
    ppl, values = LANGUAGES[name], draws_of_mlp()
    network, own = mlp_of(values)[name], NAMES[name]
    with ppl.engine.precision("float64", "cpu"):
        net = ppl.lift(network, {own["w1"]: PER_IN, own["b1"]: None})
        assert net.left_alone == (own["b1"], own["w2"], own["b2"])
        assert net.priors == {own["w1"]: PER_IN}
        structure = ppl.engine.structure(partial(models.lifted, net=net), (X, Y), seed=0)
        assert structure.latents == {f"{own['w1']}_noise": (3,), f"{own['w1']}_base": (4, 3), "sigma": ()}
        ones = {f"{own['w1']}_noise": np.ones((1, 3)), f"{own['w1']}_base": values["fc1.weight"][None], "sigma": np.ones(1)}
        mean = ppl.engine.predict(partial(models.lifted, net=net), (X,), ones, site="y", seed=0, chunk=1).mean[0]
    f = np.tanh(X @ values["fc1.weight"].T + values["fc1.bias"]) @ values["fc2.weight"][0] + values["fc2.bias"]
    np.testing.assert_allclose(mean, f, rtol=1e-5)  # the module holds float32
    table = str(net).splitlines()
    assert "12 of 21 numbers" in table[0]
    for site in own.values():
        row = next(line for line in table if line.startswith(f"{site} "))
        assert ("Rayleigh" in row) == (site == own["w1"])
        assert ("left alone" in row) == (site != own["w1"])


@pytest.mark.parametrize("name", LANGUAGES)
@pytest.mark.parametrize("form", ["expanded", "hierarchical"])
def test_guides_and_samplers_begin_at_the_network_s_own_weights(name: str, form: str) -> None:
    ppl, values, own = LANGUAGES[name], draws_of_mlp(), NAMES[name]
    net = ppl.lift(mlp_of(values)[name], {"*.weight": PER_IN, "*.bias": Normal(2.0)}, parametrization=form)
    model = partial(models.lifted, net=net)
    with ppl.engine.precision("float64", "cpu"):
        structure = ppl.engine.structure(model, (X, Y), seed=0)
        guide = Guide.build(structure, lambda target: Gaussian() if target.role in ("weight", "base") else Point(), seed=0)
    site = f"{own['w1']}_base" if form == "expanded" else own["w1"]
    np.testing.assert_allclose(guide.initial[f"{site}_loc"], values["fc1.weight"], rtol=1e-6)
    np.testing.assert_allclose(guide.initial[f"{own['b1']}_loc"], values["fc1.bias"], rtol=1e-6)
    np.testing.assert_allclose(net.initial[site], values["fc1.weight"], rtol=1e-6)
    assert set(net.initial) <= set(structure.latents)


class Gained(nn.Module):
    """One weight of a name that is given, and whole numbers."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name
        self.register_parameter(name, nn.Parameter(torch.ones(3)))
        self.order = nn.Parameter(torch.tensor([2, 0, 1]), requires_grad=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x[:, self.order] @ getattr(self, self.name)


def gained(name: str, language: str, priors: dict[str, Any]) -> Any:
    if language == "pyro":
        return in_pyro.lift(Gained(name), priors)
    tree = {name: jnp.ones(3), "order": jnp.array([2, 0, 1]), "key": jax.random.key(0)}
    return in_numpyro.lift(tree, priors, apply=lambda weights, x: x[:, weights["order"]] @ weights[name])


@pytest.mark.parametrize("name", LANGUAGES)
def test_whole_numbers_are_left_alone_and_listed(name: str) -> None:
    ppl, x = LANGUAGES[name], np.eye(3)
    for priors in ({"*": Normal()}, {"order": None, "gain": Normal()}):
        net = gained("gain", name, priors)
        assert net.left_alone == ("order",)
        assert set(net.priors) == {"gain"}
        row = next(line for line in str(net).splitlines() if line.startswith("order "))
        assert "left alone, int" in row
        np.testing.assert_array_equal(np.asarray(net.apply({"gain": ppl.array(np.array([1.0, 2.0, 3.0]))}, ppl.array(x))), [2.0, 3.0, 1.0])
    with pytest.raises(ValueError, match=r"a prior to 'ord.*', which holds no floating numbers: give it None"):
        gained("gain", name, {"ord*": Normal(), "*": Normal()})


@pytest.mark.parametrize("name", LANGUAGES)
@pytest.mark.parametrize("weight", ["sigma", "y", "data"])
def test_a_weight_with_the_name_of_another_site_is_refused(weight: str, name: str) -> None:
    ppl, net = LANGUAGES[name], gained(weight, name, {"*": Normal()})
    with pytest.raises(ValueError, match=f"has a weight '{weight}', and models.lifted has a site or plate of that name: rename"):
        ppl.engine.structure(partial(models.lifted, net=net), (X, Y), seed=0)


@pytest.mark.parametrize("name", LANGUAGES)
def test_a_weight_sigma_is_let_in_where_the_likelihood_samples_none(name: str) -> None:
    for likelihood in ("poisson", likelihoods.Gaussian(scale=0.5)):
        model = partial(models.lifted, net=gained("sigma", name, {"*": Normal()}), likelihood=likelihood)
        assert set(LANGUAGES[name].engine.structure(model, (X, np.ones(len(X))), seed=0).latents) == {"sigma"}


# --- refusals ------------------------------------------------------------------------------------------------------------------

REFUSED: dict[str, tuple[type[Exception], str, Callable[[], Any]]] = {
    "nothing": (ValueError, "'conv.*'.*matches none of the arrays fc1.weight", lambda: in_pyro.lift(Mlp(), {"conv.*": PER_IN})),
    "shadowed": (ValueError, "put 'fc1.weight' before", lambda: in_pyro.lift(Mlp(), {"*": PER_IN, "fc1.weight": Normal()})),
    "all_alone": (ValueError, "gives no array a prior", lambda: in_pyro.lift(Mlp(), {"*": None})),
    "axis": (ValueError, "'fc1.weight': unknown axis 'row'", lambda: in_pyro.lift(Mlp(), {"*": ScaleMixture(noise.Rayleigh().per("row"))})),
    "no_prior": (TypeError, "'fc1.weight': a prior is a scalemix prior", lambda: in_pyro.lift(Mlp(), {"*": 1.0})),  # type: ignore[dict-item]
    "no_dict": (TypeError, "a dict from pattern to prior", lambda: in_pyro.lift(Mlp(), PER_IN)),  # type: ignore[arg-type]
    "no_module": (TypeError, "wants a torch.nn.Module", lambda: in_pyro.lift({"w": X}, {"w": PER_IN})),
    "no_tree": (TypeError, "a pytree with arrays", lambda: in_numpyro.lift(Mlp(), {"*": PER_IN})),
    "no_apply": (TypeError, "give apply=", lambda: in_numpyro.lift({"w": X}, {"w": PER_IN})),
    "axes": (ValueError, r"lift\(axes=\) has the pattern 'fc3'", lambda: in_pyro.lift(Mlp(), {"*": Normal()}, axes={"fc3": ("out",)})),
    "too_many_axes": (ValueError, "'fc1.bias': axes", lambda: in_pyro.lift(Mlp(), {"*": Normal()}, axes={"fc1.bias": ("out", "in")})),
    "norm_without": (
        ValueError,
        "keeps no running statistics",
        lambda: in_pyro.lift(nn.BatchNorm1d(2, track_running_stats=False).eval(), {"*": Normal()}),
    ),
    "dropout": (
        ValueError,
        "Dropout '1' is in training mode",
        lambda: in_pyro.lift(nn.Sequential(nn.Linear(2, 2), nn.Dropout()), {"*": Normal()}),
    ),
    "eqx_dropout": (
        ValueError,
        "inference_mode",
        lambda: in_numpyro.lift([eqx.nn.Dropout(0.5), X], {"*": Normal()}, apply=lambda net, x: x),
    ),
    "eqx_norm": (
        ValueError,
        "BatchNorm is in training mode",
        lambda: in_numpyro.lift(eqx.nn.make_with_state(eqx.nn.BatchNorm)(2, "batch", mode="ema")[0], {"*": Normal()}),
    ),
    "lazy": (
        ValueError,
        "call the module on data once",
        lambda: in_pyro.lift(nn.Sequential(nn.Linear(1, 1), nn.LazyLinear(2)), {"*": Normal()}),
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused_in_one_sentence(case: str) -> None:
    error, message, call = REFUSED[case]
    with pytest.raises(error, match=message):
        call()


def test_the_model_refuses_the_other_language_and_outputs_that_do_not_fit() -> None:
    net = in_pyro.lift(Mlp(outputs=2), {"*": Normal()})
    with pytest.raises(ValueError, match="lifted in pyro and the model is run in numpyro"):
        in_numpyro.engine.structure(partial(models.lifted, net=net), (X, Y), seed=0)
    with pytest.raises(ValueError, match=r"has the shape \(6, 2\) for 6 rows"):
        in_pyro.engine.structure(partial(models.lifted, net=net), (X, Y), seed=0)
    with pytest.raises(ValueError, match="one draw at a time"), in_pyro.primitives.Given({"fc1.weight": torch.zeros(2, 1, 4, 3)}):
        net(torch.zeros(6, 3))
