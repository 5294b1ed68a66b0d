"""What the studies of networks judge: the network with mean weights and mean noises."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest

import scalemix.numpyro as ppl
from scalemix import inference
from scalemix.models import mlp
from scalemix.studies import networks
from scalemix.studies.mnist_dropout import METHODS

WIDTH, NUM_IMAGES = 6, 250


def images() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, NUM_IMAGES)
    return (rng.normal(size=(NUM_IMAGES, 5)) + np.eye(3, 5)[labels]).astype(np.float32), labels.astype(np.int32)


def error_by_hand(params: dict[str, np.ndarray], keep: dict[int, Any], x: np.ndarray, y: np.ndarray) -> float:
    """Percent wrong of relu(relu(k₁ x W₁ + b₁) …), k the mean of a layer's noises."""
    h = np.asarray(x, float)
    for layer in (1, 2):
        weight = next(params[name] for name in (f"w{layer}_loc", f"w{layer}_base_loc") if name in params)
        h = (keep.get(layer, 1.0) * h) @ weight + params[f"b{layer}_loc"]
        h = np.maximum(h, 0.0) if layer == 1 else h
    return 100.0 * float(np.mean(h.argmax(1) != y))


@pytest.mark.parametrize("method", ["none", "Bernoulli", "concrete", "VBD, per input", "VBD"])
def test_error_is_that_of_mean_weights_and_mean_noises(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(networks, "BLOCK", 100)  # the last block is shorter
    own: dict[str, Any] = METHODS[method]
    name, arguments = own["prior"]
    prior, outputs = networks.PRIORS[name](**arguments), {"num_outputs": 3, "likelihood": "categorical", "activation": "relu"}
    model = partial(mlp, prior=prior, widths=(WIDTH,), **outputs, **own["model"])
    recipe = getattr(inference, own["recipe"])
    short = {"num_epochs": 20, "batch_size": 50, "learning_rate": 0.1}
    settings = recipe.Settings(**{**own["settings"], **short}, progress=False)
    x, y = images()
    posterior = recipe.fit(ppl, model, x, y, seed=0, settings=settings)
    params = {key: np.asarray(value, float) for key, value in posterior.params.items()}
    keep: dict[int, Any] = {}
    if method == "concrete":
        keep = {layer: 1.0 / (1.0 + np.exp(params[f"w{layer}_noise_rate_logit"])) for layer in (1, 2)}
    elif method == "VBD, per input":
        keep = {layer: params[f"w{layer}_noise_loc"].reshape(-1) for layer in (1, 2)}
    without_biases = {**params, "b1_loc": np.zeros(WIDTH)}
    found, one_image = networks._error_of_mean(ppl, posterior, (x, y)), 100.0 / NUM_IMAGES
    assert found == pytest.approx(error_by_hand(params, keep, x, y), abs=one_image)  # float32 may see a tie otherwise
    assert abs(found - error_by_hand(without_biases, keep, x, y)) > one_image
    if keep:
        for others in ({1: 0.2, 2: 1.0}, {1: 0.8, 2: 0.8}):
            assert abs(found - error_by_hand(params, others, x, y)) > one_image, "other noises give another error"
