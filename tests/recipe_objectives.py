"""What the tests of recipes' objectives share: the objective as a recipe builds it, noise that is given, values and gradients."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions
import pytest
import torch
from elbo_by_hand import given_noise, noise_of
from scipy import special
from test_objective import NUM_DATA, data

import scalemix as sm
import scalemix.pyro as in_pyro
from scalemix import models, noise
from scalemix.inference import concrete, dynamic_regularizer, horseshoe, spike_slab, vib

__all__ = [
    "CASES",
    "DROPPED",
    "GATED",
    "LINEAR",
    "UNITS",
    "given_every_noise",
    "objective_of",
    "random_params",
    "uniforms",
    "values_and_gradients",
]

PER_ROW = {"widths": (2,), "noise_on": "input", "noise_plate": "example"}
GATED = partial(models.mlp, prior=sm.ScaleMixture(noise.Bottleneck().per("in")), **PER_ROW)
DROPPED = partial(models.mlp, prior=sm.ScaleMixture(noise.Bernoulli(0.8).per("in"), base_scale=0.7), **PER_ROW)
LINEAR = partial(models.linear, prior=sm.SpikeAndSlab(0.3, 1.2, 0.1))
UNITS = partial(models.mlp, widths=(2,), prior=sm.Horseshoe(0.5, per="in", slab_scale=2.0))
NORMAL = partial(models.mlp, widths=(2,), prior=sm.Normal())


def of_images(ppl: Any, x: Any, y: Any = None) -> Any:
    """A convolution of 6 × 6 images that rows of three numbers make, its filters gated by image."""
    wide = x[:, np.array([0, 1, 2, 0, 1, 2])]
    gates = sm.ScaleMixture(noise.Bottleneck().per("in"))
    options = {"filters": (2,), "kernel": 2, "widths": (), "num_outputs": 1, "likelihood": "gaussian", "activation": "tanh"}
    images = (wide[:, :, None] * wide[:, None, :])[..., None]
    return models.lenet(ppl, images, y, prior=gates, noise_on="input", noise_plate="example", flatten=False, **options)


CASES: dict[str, tuple[Any, Any, dict[str, Any]]] = {
    "vib": (vib, GATED, {"gamma": 0.03, "layer_weights": (1.2, 0.7), "mask_above": 3.0}),
    "vib_filters": (vib, of_images, {}),
    "spike_slab": (spike_slab, partial(models.mlp, widths=(2,), prior=sm.SpikeAndSlab(0.3, 1.2, 0.1)), {}),
    "spike_slab_alternating": (spike_slab, LINEAR, {"method": "alternating", "local_reparametrization": True}),
    "horseshoe": (horseshoe, UNITS, {}),
    "horseshoe_direct": (horseshoe, partial(models.linear, prior=sm.Horseshoe(0.5)), {"half_cauchy": "direct"}),
    "concrete": (concrete, DROPPED, {"temperature": 0.5}),
    "concrete_inverted": (concrete, DROPPED, {"inverted": True, "temperature": 0.5}),
    "dynamic_global": (
        dynamic_regularizer,
        NORMAL,
        {"fraction": 0.5, "num_selections": 3, "momentum": 0.6, "scope": "global", "strength": 0.2},
    ),
    "dynamic_literal": (
        dynamic_regularizer,
        partial(models.linear, prior=sm.Normal()),
        {"select": "T_over_N", "threshold": 1.0, "score": "literal", "form": "norm", "elementwise": False, "strength": 0.2},
    ),
}


class Seen(Exception):  # noqa: N818
    """Raised in the place of training."""


def objective_of(case: str, ppl: Any, dtype: str = "float64") -> Any:
    """The objective that the recipe would train, N = 30 of which six rows are given."""
    recipe, model, options = CASES[case]
    found = []

    def train(objective: Any, *_: Any, **__: Any) -> Any:
        found.append(objective)
        raise Seen

    settings = recipe.Settings(dtype=dtype, device="cpu", **options)
    with pytest.raises(Seen):
        recipe.fit(ppl, model, *data(), seed=0, settings=settings, num_data=NUM_DATA, train=train)
    return found[0]


def uniforms(shape: tuple[int, ...]) -> np.ndarray:
    return special.ndtr(noise_of(tuple(shape)))


def given_every_noise(monkeypatch: pytest.MonkeyPatch) -> None:
    """Normal, uniform and logistic noises that depend on their shape alone."""
    given_noise(monkeypatch)

    def in_torch(law: Any, shape: Any, quantile: Any) -> torch.Tensor:
        return torch.as_tensor(quantile(uniforms(law._extended_shape(torch.Size(shape))))).to(torch.get_default_dtype())

    def in_jax(law: Any, shape: Any, quantile: Any) -> jax.Array:
        return jnp.asarray(quantile(uniforms((*shape, *law.batch_shape))), jnp.result_type(float))

    def rescaled(draw: Any, quantile: Any) -> Any:
        return lambda law, *args: law.loc + law.scale * draw(law, args[-1] if args else (), quantile)

    monkeypatch.setattr(in_pyro.dist.Logistic, "rsample", rescaled(in_torch, special.logit))
    monkeypatch.setattr(torch.distributions.Uniform, "rsample", lambda law, shape=(): in_torch(law, shape, np.asarray))
    monkeypatch.setattr(
        numpyro.distributions.Logistic, "sample", lambda law, key, sample_shape=(): rescaled(in_jax, special.logit)(law, sample_shape)
    )
    monkeypatch.setattr(numpyro.distributions.Uniform, "sample", lambda law, key, sample_shape=(): in_jax(law, sample_shape, np.asarray))


def random_params(objective: Any, seed: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    found = {}
    for name in sorted(objective.params):
        value = rng.normal(size=np.shape(objective.params[name]))
        ending = {"_log_variance": value - 2.0, "_inclusion_prob": special.ndtr(value), "_steps": 0.0 * value}
        found[name] = np.asarray(next((moved for end, moved in ending.items() if name.endswith(end)), value))
    return found


def values_and_gradients(
    ppl: Any, objective: Any, vectors: list[dict[str, np.ndarray]]
) -> list[tuple[float, float, dict[str, np.ndarray]]]:
    """loss, kl and gradient of each; the program is compiled once."""
    batch = ppl.engine.arrays(data())
    found = []
    if ppl is in_pyro:
        for params in vectors:
            leaves = {name: value.requires_grad_() for name, value in ppl.engine.arrays(dict(params)).items()}
            loss, parts = objective.loss(leaves, batch, None, 0.7, NUM_DATA)
            gradient = dict(zip(leaves, torch.autograd.grad(loss, list(leaves.values())), strict=True))
            found.append(
                (loss.item(), float(torch.as_tensor(parts["kl"]).detach()), {name: each.numpy() for name, each in gradient.items()})
            )
        return found
    function = jax.jit(jax.value_and_grad(lambda p: objective.loss(p, batch, jax.random.PRNGKey(0), 0.7, NUM_DATA), has_aux=True))
    for params in vectors:
        (loss, parts), gradient = function(ppl.engine.arrays(dict(params)))
        found.append((float(loss), float(parts["kl"]), {name: np.asarray(each) for name, each in gradient.items()}))
    return found
