"""``ppl.lift``: networks written elsewhere, in plain torch or in Equinox, with priors on their weights."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from functools import partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from plain_torch import Classifier, Images, Mlp, Words, trained
from scipy import stats
from torch import nn

import scalemix.numpyro as in_numpyro
import scalemix.pyro as in_pyro
from scalemix import models, noise
from scalemix.guides import Gaussian, Guide, Point
from scalemix.inference import nuts, variational_dropout
from scalemix.priors import Horseshoe, Laplace, LogUniform, Normal, ScaleMixture, SpikeAndSlab
from scalemix.variational_scope import variational, variational_scope

RNG = np.random.default_rng(5)
X = RNG.normal(size=(6, 3))
Y = RNG.normal(size=6)
PER_IN = ScaleMixture(noise.Rayleigh().per("in"))


def mlp_of(values: dict[str, np.ndarray]) -> dict[str, Any]:
    """A network of the same numbers in each language."""
    module = Mlp()
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            parameter.copy_(torch.as_tensor(values[name]))
    net = eqx.nn.MLP(3, "scalar", 4, 1, activation=jnp.tanh, key=jax.random.PRNGKey(0))
    tree = [values["fc1.weight"], values["fc1.bias"], values["fc2.weight"], values["fc2.bias"]]
    where = lambda n: [n.layers[0].weight, n.layers[0].bias, n.layers[1].weight, n.layers[1].bias]  # noqa: E731
    return {"pyro": module, "numpyro": eqx.tree_at(where, net, [jnp.asarray(each) for each in tree])}


def draws_of_mlp() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(1)
    shapes = {"fc1.weight": (4, 3), "fc1.bias": (4,), "fc2.weight": (1, 4), "fc2.bias": (1,)}
    return {name: rng.normal(size=shape) for name, shape in shapes.items()}


LANGUAGES = {"pyro": in_pyro, "numpyro": in_numpyro}
NAMES = {
    "pyro": {"w1": "fc1.weight", "b1": "fc1.bias", "w2": "fc2.weight", "b2": "fc2.bias"},
    "numpyro": {"w1": "layers.0.weight", "b1": "layers.0.bias", "w2": "layers.1.weight", "b2": "layers.1.bias"},
}
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


def test_every_layer_of_torch_has_its_axes() -> None:
    net = in_pyro.lift(Words(), {"*": Normal(1.0)})
    found = {array.name: (array.axes, array.shape) for array in net.arrays}
    assert found == {
        "embedding.weight": (("in", "out"), (7, 2)),
        "lstm.weight_ih_l0": (("gate", "out", "in"), (4, 3, 2)),
        "lstm.weight_hh_l0": (("gate", "out", "in"), (4, 3, 3)),
        "lstm.bias_ih_l0": (("gate", "out"), (4, 3)),
        "lstm.bias_hh_l0": (("gate", "out"), (4, 3)),
        "out.weight": (("out", "in"), (1, 3)),
        "out.bias": (("out",), (1,)),
    }
    convolutions = nn.ModuleList([nn.Conv2d(2, 3, (4, 5)), nn.ConvTranspose1d(2, 3, 4), nn.GRUCell(2, 3), nn.LayerNorm(4)])
    found = {array.name: array.axes for array in in_pyro.lift(convolutions, {"*": Normal(1.0)}).arrays}
    assert found["0.weight"] == ("out", "in", "height", "width")
    assert found["1.weight"] == ("in", "out", "width")
    assert found["2.weight_ih"] == ("gate", "out", "in")
    assert found["3.weight"] == ("out",)


def test_every_layer_of_equinox_has_its_axes() -> None:
    keys = jax.random.split(jax.random.PRNGKey(0), 4)
    tree = {
        "conv": eqx.nn.Conv2d(2, 3, (4, 5), key=keys[0]),
        "lstm": eqx.nn.LSTMCell(2, 3, key=keys[1]),
        "words": eqx.nn.Embedding(7, 2, key=keys[2]),
        "kernel": np.zeros((5, 2)),
        "filters": np.zeros((3, 3, 1, 2)),
    }
    net = in_numpyro.lift(tree, {"*": Normal(1.0)}, apply=lambda tree, x: x)
    found = {array.name: (array.axes, array.shape) for array in net.arrays}
    assert found["conv.weight"] == (("out", "in", "height", "width"), (3, 2, 4, 5))
    assert found["conv.bias"] == (("out",), (3,))
    assert found["lstm.weight_ih"] == (("gate", "out", "in"), (4, 3, 2))
    assert found["lstm.bias"] == (("gate", "out"), (4, 3))
    assert found["words.weight"] == (("in", "out"), (7, 2))
    assert found["kernel"] == (("in", "out"), (5, 2))
    assert found["filters"] == (("height", "width", "in", "out"), (3, 3, 1, 2))


def test_axes_of_ones_own() -> None:
    net = in_pyro.lift(Mlp(), {"fc1.weight": ScaleMixture(noise.Rayleigh().per("unit"))}, axes={"fc1.*t": ("unit", "column")})
    structure = in_pyro.engine.structure(partial(models.lifted, net=net), (X, Y), seed=0)
    assert structure.latents["fc1.weight_noise"] == (4,)
    assert net.arrays[2].axes == ("out", "in")


def test_a_recurrent_network_and_its_gates_under_the_weights_of_a_site() -> None:
    """The output given weights is that of a copy into which torch loaded them; untied gates have a noise each."""
    torch.manual_seed(0)
    module = Words().eval()
    words = torch.tensor([[0, 3, 6], [2, 2, 1]])
    for axes, shape in ((("in",), (2,)), (("in", "gate"), (4, 2))):
        net = in_pyro.lift(module, {"lstm.weight_ih*": ScaleMixture(noise.Rayleigh().per(*axes)), "embedding.weight": Normal(1.0)})
        structure = in_pyro.engine.structure(lambda ppl, w, net=net: net(w), (words.numpy(),), seed=0)
        assert structure.latents["lstm.weight_ih_l0_noise"] == shape
    values = {"embedding.weight": torch.randn(7, 2), "lstm.weight_ih_l0": torch.randn(12, 2)}
    given = {"lstm.weight_ih_l0_base": values["lstm.weight_ih_l0"].reshape(4, 3, 2), "lstm.weight_ih_l0_noise": torch.ones(4, 2)}
    with in_pyro.primitives.Given({**given, "embedding.weight": values["embedding.weight"]}):
        got = net(words)
    other = copy.deepcopy(module)
    other.load_state_dict({**module.state_dict(), **values})
    torch.testing.assert_close(got, other(words))


def test_an_equinox_cell_under_the_weights_of_a_site() -> None:
    cell = eqx.nn.LSTMCell(2, 3, key=jax.random.PRNGKey(0))
    x, state = jnp.ones((5, 2)), (jnp.zeros(3), jnp.zeros(3))
    net = in_numpyro.lift(cell, {"weight_ih": Normal(1.0)}, apply=lambda cell, x: jax.vmap(lambda row: cell(row, state)[0])(x))
    weight = RNG.normal(size=(12, 2))
    evaluated = in_numpyro.engine.evaluate(
        lambda ppl, x: ppl.deterministic("h", net(x)), (np.asarray(x),), {"weight_ih": weight.reshape(1, 4, 3, 2)}, chunk=1
    )
    other = eqx.tree_at(lambda cell: cell.weight_ih, cell, jnp.asarray(weight, dtype=jnp.float32))
    np.testing.assert_allclose(evaluated.deterministics["h"][0][0], other(x[0], state)[0], rtol=1e-4)


# --- starting values -----------------------------------------------------------------------------------------------------------


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


# --- a fit, from end to end ----------------------------------------------------------------------------------------------------


def test_a_network_trained_in_plain_torch_is_fitted_with_local_reparametrization() -> None:
    """Variational dropout from the trained weights: the loss falls, and the fit predicts about as well as the network did."""
    torch.manual_seed(0)
    x = np.random.default_rng(0).normal(size=(64, 3))
    y = np.sin(x[:, 0])
    module = trained(Mlp(), torch.tensor(x).float(), torch.tensor(y).float())
    before = {name: value.clone() for name, value in module.state_dict().items()}
    net = in_pyro.lift(module, {"*.weight": LogUniform(), "*.bias": Normal(10.0)})
    settings = variational_dropout.Settings(num_epochs=40, batch_size=32, num_draws=20, progress=False, local_reparametrization=True)
    posterior = variational_dropout.fit(in_pyro, partial(models.lifted, net=net), x, y, seed=0, settings=settings)
    assert posterior.losses is not None
    assert posterior.losses[-1] < posterior.losses[0]
    assert np.mean((posterior.predict(x, seed=0).mean - y) ** 2) < 0.1 * np.var(y)
    for key, value in module.state_dict().items():
        torch.testing.assert_close(value, before[key])


def test_the_layers_of_a_lifted_module_draw_what_their_weights_would_give() -> None:
    """Mean and variance of outputs under unsampled weights, convolution with stride, padding and bias, against drawn ones: 5 errors."""
    from scalemix.pyro.lazy_weights import LazyWeight
    from scalemix.pyro.variational import UnsampledTensor, standard_normal

    torch.manual_seed(0)
    layer, x = nn.Conv2d(2, 3, 3, stride=2, padding=1), torch.randn(1, 2, 6, 6)
    loc, scale = layer.weight.detach(), 0.3 * torch.rand(3, 2, 3, 3)
    weight = LazyWeight.of(UnsampledTensor(loc, scale**2, standard_normal))
    rows = 4000  # each with noise of its own
    draws = torch.func.functional_call(layer, {"weight": weight}, x.expand(rows, -1, -1, -1)).detach()
    mean, variance = layer(x).detach()[0], nn.functional.conv2d(x * x, scale**2, None, 2, 1)[0]
    assert ((draws.mean(0) - mean) / (variance / rows) ** 0.5).abs().max() < 5.0
    assert (draws.var(0) / variance - 1.0).abs().max() < 5.0 * (2 / rows) ** 0.5
    assert weight.shape == loc.shape
    torch.testing.assert_close(weight + 0.0, weight.reshape(-1).reshape(loc.shape))  # everything else sees one draw
    assert not torch.equal(weight + 0.0, loc)


def test_tied_weights_are_one_draw() -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(3, 3, bias=False), nn.Linear(3, 3, bias=False)
            self.b.weight = self.a.weight

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.stack([self.a(x), self.b(x)])

    net = in_pyro.lift(Tied(), {"*": LogUniform()})
    assert [array.name for array in net.arrays] == ["a.weight"]
    structure_of = {"a.weight": np.ones((3, 3))}
    from scalemix.pyro.variational import UnsampledTensor, standard_normal

    weight = UnsampledTensor(torch.as_tensor(structure_of["a.weight"]), torch.ones(3, 3).double(), standard_normal)
    first, second = net.apply({"a.weight": weight}, torch.as_tensor(X))
    torch.testing.assert_close(first, second)


@pytest.mark.slow
def test_equinox_is_sampled_from_its_own_weights() -> None:
    net = in_numpyro.lift(mlp_of(draws_of_mlp())["numpyro"], {"*.weight": Laplace(), "*.bias": Normal(3.0)}, parametrization="marginal")
    settings = nuts.Settings(num_warmup=5, num_draws=3, num_chains=1, max_tree_depth=2, progress=False)
    draws = nuts.fit(in_numpyro, partial(models.lifted, net=net), X, Y, seed=0, settings=settings, init_from=net.initial)
    assert draws.draws["layers.0.weight"].shape == (1, 3, 4, 3)
    assert draws.predict(X, seed=0).mean.shape == (6,)


def test_a_lifted_module_can_be_pickled_and_says_what_it_is() -> None:
    net = in_pyro.lift(Images(), {"*.weight": PER_IN})
    again = pickle.loads(pickle.dumps(net))  # noqa: S301  (chains in other processes are sent it so)
    assert repr(again) == repr(net)
    with torch.no_grad():
        other = Images()
    assert repr(in_pyro.lift(other, {"*.weight": PER_IN})) != repr(net)


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


def test_frozen_normalization_is_let_in() -> None:
    module = Classifier().eval()
    net = in_pyro.lift(module, {"*0.weight": Normal()})
    x = torch.as_tensor(X)
    with in_pyro.primitives.Given({"net.0.weight": module.net[0].weight.detach().double()}):
        torch.testing.assert_close(net(x).float(), module(x.float()), rtol=1e-4, atol=1e-5)


def test_the_model_refuses_the_other_language_and_outputs_that_do_not_fit() -> None:
    net = in_pyro.lift(Mlp(outputs=2), {"*": Normal()})
    with pytest.raises(ValueError, match="lifted in pyro and the model is run in numpyro"):
        in_numpyro.engine.structure(partial(models.lifted, net=net), (X, Y), seed=0)
    with pytest.raises(ValueError, match=r"has the shape \(6, 2\) for 6 rows"):
        in_pyro.engine.structure(partial(models.lifted, net=net), (X, Y), seed=0)
    with pytest.raises(ValueError, match="one draw at a time"), in_pyro.primitives.Given({"fc1.weight": torch.zeros(2, 1, 4, 3)}):
        net(torch.zeros(6, 3))


def test_a_long_training_can_be_compiled() -> None:
    """As a graph of torch's operations the objective of a lifted module is what it is without, and each layer draws once a step."""
    images, labels = RNG.normal(size=(4, 1, 8, 8)), np.array([0, 1, 2, 0])
    net = in_pyro.lift(Images(), {"*.weight": LogUniform(), "*.bias": Normal(5.0)})
    model = partial(models.lifted, net=net, likelihood="categorical")
    with in_pyro.engine.precision("float64", "cpu"):
        with variational_scope(placeholders=True):
            structure = in_pyro.engine.structure(variational(model), (images, labels), seed=0)
        guide = Guide.build(
            structure, lambda t: Gaussian(log_variance=-40.0) if t.role == "weight" else Point(), seed=0, local_reparametrization=True
        )
        objective = in_pyro.engine.objective(model, guide, (images, labels), seed=0)
        batch = in_pyro.engine.arrays((images, labels))
        graph = objective.graph(objective.params, batch, 4)
        found, wanted = graph(objective.params, batch, torch.ones(()))[0], objective.loss(objective.params, batch)[0]
    torch.testing.assert_close(found, wanted, rtol=1e-6, atol=0.0)
    drawn = [node.meta["val"].shape[1:] for node in graph.graph.nodes if "randn" in str(node.target)]
    assert drawn == [(3, 6, 6), (6,), (3,)]
