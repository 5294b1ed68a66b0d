"""Every tying on every layer kind: the shapes and axes of ξ, and that it multiplies the weight along these axes, in both languages."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import pytest

import scalemix.numpyro as in_numpyro
import scalemix.pyro as in_pyro
from scalemix import models, noise
from scalemix.priors import Normal, ScaleMixture
from scalemix.tying import Factor

RAYLEIGH, GAUSSIAN = noise.Rayleigh(0.8), noise.Gaussian(1.0, 0.5)


@dataclass(frozen=True)
class Layer:
    """A weight of a model: its site, its axes with their sizes, and what it is divided by, √fan_in."""

    model: Callable[..., Any]
    weight: str
    axes: dict[str, int]
    fan_in: int
    row_shape: tuple[int, ...]
    options: dict[str, Any] = field(default_factory=dict)


LAYERS = {
    "dense": Layer(models.mlp, "w1", {"in": 3, "out": 4}, 3, (3,), {"widths": (4,)}),
    "residual": Layer(models.resnet, "w1", {"in": 3, "out": 3}, 3, (2,), {"width": 3, "num_blocks": 1}),
    "convolution": Layer(
        models.lenet,
        "w2",
        {"height": 2, "width": 2, "in": 4, "out": 3},
        16,
        (7, 7, 1),
        {"filters": (4, 3), "kernel": 2, "widths": (), "num_outputs": 1, "likelihood": "gaussian"},
    ),
    "recurrent": Layer(models.lstm, "w", {"in": 2, "gate": 4, "out": 3}, 2, (5, 2), {"width": 3}),
}

# the factors of each tying, and of which axes each ξ has one entry for each index: "*" is all of the weight's
TYINGS: dict[str, dict[str, tuple[Factor | noise.Noise, tuple[str, ...]]]] = {
    "drop_connect": {"noise": (RAYLEIGH, ("*",))},
    "ard": {"noise": (RAYLEIGH.per("in"), ("in",))},
    "add": {"noise": (RAYLEIGH.per("layer"), ())},
    "ard_add": {"noise_in": (RAYLEIGH.per("in"), ("in",)), "tau": (GAUSSIAN.per("layer", name="tau"), ())},
    "unit": {"noise": (RAYLEIGH.per("out"), ("out",))},
    "filter": {"noise": (RAYLEIGH.per("out"), ("out",))},
    "kernel_slice": {"noise": (RAYLEIGH.per("in", "out"), ("in", "out"))},
    "filter_by_kernel_slice": {
        "noise_out": (RAYLEIGH.per("out"), ("out",)),
        "noise_in_out": (GAUSSIAN.per("in", "out"), ("in", "out")),
    },
    "position": {"noise": (RAYLEIGH.per("height", "width"), ("height", "width"))},
    "tied_over_gates": {"noise": (RAYLEIGH.per("in"), ("in",))},
    "untied_over_gates": {"noise": (RAYLEIGH.per("in", "gate"), ("in", "gate"))},
    "gate": {"noise": (RAYLEIGH.per("gate"), ("gate",))},
    "tied_over_gates_add": {"noise_in": (RAYLEIGH.per("in"), ("in",)), "noise_layer": (GAUSSIAN.per("layer"), ())},
}
EVERYWHERE = {"drop_connect", "ard", "add", "ard_add", "unit"}
ALSO = {
    "dense": set[str](),
    "residual": set[str](),
    "convolution": {"filter", "kernel_slice", "filter_by_kernel_slice", "position"},
    "recurrent": {"tied_over_gates", "untied_over_gates", "gate", "tied_over_gates_add"},
}
# the shapes of ξ, written down: sites of "<weight>_<name>" in the order of TYINGS
SHAPES: dict[tuple[str, str], list[tuple[int, ...]]] = {
    ("dense", "drop_connect"): [(3, 4)],
    ("dense", "ard"): [(3,)],
    ("dense", "add"): [()],
    ("dense", "ard_add"): [(3,), ()],
    ("dense", "unit"): [(4,)],
    ("residual", "drop_connect"): [(3, 3)],
    ("residual", "ard"): [(3,)],
    ("residual", "add"): [()],
    ("residual", "ard_add"): [(3,), ()],
    ("residual", "unit"): [(3,)],
    ("convolution", "drop_connect"): [(2, 2, 4, 3)],
    ("convolution", "ard"): [(4,)],
    ("convolution", "add"): [()],
    ("convolution", "ard_add"): [(4,), ()],
    ("convolution", "unit"): [(3,)],
    ("convolution", "filter"): [(3,)],
    ("convolution", "kernel_slice"): [(4, 3)],
    ("convolution", "filter_by_kernel_slice"): [(3,), (4, 3)],
    ("convolution", "position"): [(2, 2)],
    ("recurrent", "drop_connect"): [(2, 4, 3)],
    ("recurrent", "ard"): [(2,)],
    ("recurrent", "add"): [()],
    ("recurrent", "ard_add"): [(2,), ()],
    ("recurrent", "unit"): [(3,)],
    ("recurrent", "tied_over_gates"): [(2,)],
    ("recurrent", "untied_over_gates"): [(2, 4)],
    ("recurrent", "gate"): [(4,)],
    ("recurrent", "tied_over_gates_add"): [(2,), ()],
}


def test_every_tying_has_a_row_on_every_layer_that_has_its_axes() -> None:
    assert set(SHAPES) == {(layer, tying) for layer in LAYERS for tying in EVERYWHERE | ALSO[layer]}
    assert set(TYINGS) == {tying for _, tying in SHAPES}
    for layer, row in LAYERS.items():
        named = {axis for tying in EVERYWHERE | ALSO[layer] for _, axes in TYINGS[tying].values() for axis in axes}
        assert named == {*row.axes, "*"}, f"an axis of {layer} that no tying names"


@pytest.mark.parametrize("ppl", [in_numpyro, in_pyro], ids=lambda ppl: ppl.name)
@pytest.mark.parametrize(("layer", "tying"), SHAPES, ids=lambda name: name)
def test_shapes_and_axes_of_the_noise(layer: str, tying: str, ppl: Any) -> None:
    row, factors = LAYERS[layer], TYINGS[tying]
    prior = ScaleMixture(*(factor for factor, _ in factors.values()), base_scale=1.5)
    priors = {row.weight: prior, "*": Normal()} if layer == "convolution" else prior  # whose other weights have other axes
    model = partial(row.model, prior=priors, parametrization="expanded", **row.options)
    x, y = np.random.default_rng(4).normal(size=(6, *row.row_shape)), np.arange(6.0)
    with ppl.engine.precision("float64", "cpu"):
        structure = ppl.engine.structure(model, (x, y), seed=0)
    sites = [site for site, what in structure.sites.items() if (what.weight, what.role) == (row.weight, "noise")]
    assert sites == [f"{row.weight}_{name}" for name in factors]
    assert [structure.latents[site] for site in sites] == SHAPES[layer, tying]
    assert structure.deterministics[row.weight] == structure.latents[f"{row.weight}_base"] == tuple(row.axes.values())
    for site, (_, axes) in zip(sites, factors.values(), strict=True):
        assert structure.sites[site].axes == (tuple(row.axes) if axes == ("*",) else axes)
    if ppl is in_numpyro:
        return  # the weight is made of its parts by one function for both languages, and JAX compiles each model for a draw
    with ppl.engine.precision("float64", "cpu"):
        draw = {site: value[0] for site, value in ppl.engine.sample_prior(model, (x,), num_draws=1, seed=1).items()}
    expected = draw[f"{row.weight}_base"] / math.sqrt(row.fan_in)
    letters = dict(zip(row.axes, "abcd", strict=False))
    weight = "".join(letters.values())
    for site in sites:
        axes = structure.sites[site].axes
        expected = np.einsum(f"{weight},{''.join(letters[axis] for axis in axes)}->{weight}", expected, draw[site])
    np.testing.assert_allclose(draw[row.weight], expected, rtol=1e-12)
