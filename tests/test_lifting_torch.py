"""``ppl.lift`` of torch modules: the axes of their layers, recurrent and tied weights, training."""

from __future__ import annotations

import copy
import pickle
from functools import partial

import numpy as np
import torch
from lifted import PER_IN, X, Y
from plain_torch import Classifier, Images, Mlp, Words, trained
from torch import nn

import scalemix.pyro as in_pyro
from scalemix import models, noise
from scalemix.guides import Gaussian, Guide, Point
from scalemix.inference import variational_dropout
from scalemix.priors import LogUniform, Normal, ScaleMixture
from scalemix.variational_scope import variational, variational_scope

RNG = np.random.default_rng(5)


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


def test_a_lifted_module_can_be_pickled_and_says_what_it_is() -> None:
    net = in_pyro.lift(Images(), {"*.weight": PER_IN})
    again = pickle.loads(pickle.dumps(net))  # noqa: S301  (chains in other processes are sent it so)
    assert repr(again) == repr(net)
    with torch.no_grad():
        other = Images()
    assert repr(in_pyro.lift(other, {"*.weight": PER_IN})) != repr(net)


def test_frozen_normalization_is_let_in() -> None:
    module = Classifier().eval()
    net = in_pyro.lift(module, {"*0.weight": Normal()})
    x = torch.as_tensor(X)
    with in_pyro.primitives.Given({"net.0.weight": module.net[0].weight.detach().double()}):
        torch.testing.assert_close(net(x).float(), module(x.float()), rtol=1e-4, atol=1e-5)


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
