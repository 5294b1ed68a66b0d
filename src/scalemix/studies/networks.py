"""One network on MNIST: fitted by a recipe, pruned by a rule, shrunk, and judged on images that were held out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from scalemix import noise, priors
from scalemix.compress.beliefs import beliefs
from scalemix.compress.layers import Layer, layers_of
from scalemix.jobs.fine_tuning import fine_tuned
from scalemix.jobs.languages import language_named
from scalemix.jobs.network_score import network_of
from scalemix.likelihoods import Categorical
from scalemix.mnist import mnist
from scalemix.studies.cell import Numbers
from scalemix.studies.resuming import folder_of
from scalemix.training import Settings

__all__ = ["AT_FRACTION", "BY_ROW", "GATES", "NETWORKS", "PRIORS", "images_of", "language_of", "one_epoch", "run"]

NETWORKS: dict[str, tuple[str, dict[str, Any]]] = {
    "LeNet-300-100": ("mlp", {"widths": (300, 100), "num_outputs": 10}),
    "LeNet-500-300": ("mlp", {"widths": (500, 300), "num_outputs": 10}),
    "LeNet-5": ("lenet", {"filters": (20, 50), "widths": (500,), "num_outputs": 10}),
}
"""Model of ``scalemix.models`` and its arguments by the name of the network; "784-h-h-h-10" is one of three equal layers."""


def _gaussian_dropout(rate: float) -> noise.Gaussian:
    """N(1, rate/(1 − rate)), of the variance of dropout at that rate over its mean."""
    return noise.Gaussian(1.0, (rate / (1.0 - rate)) ** 0.5)


PRIORS: dict[str, Any] = {
    "normal": priors.Normal,
    "log-uniform": priors.LogUniform,
    "gaussian-uniform": priors.GaussianUniformMaximized,
    "spike-and-slab": priors.SpikeAndSlab,
    "two normals": priors.NormalMixture,
    "gates": lambda: priors.ScaleMixture(noise.Bottleneck().per("in")),
    "bernoulli": lambda rate, base_scale: priors.ScaleMixture(noise.Bernoulli.from_dropout_rate(rate).per("in"), base_scale=base_scale),
    "bernoulli gates": lambda rate, base_scale: priors.ScaleMixture(noise.Bernoulli(1.0 - rate).per("in"), base_scale=base_scale),
    "gaussian": lambda rate, base_scale: priors.ScaleMixture(_gaussian_dropout(rate).per("in"), base_scale=base_scale),
    "gaussian per weight": lambda rate, base_scale: priors.ScaleMixture(_gaussian_dropout(rate), base_scale=base_scale),
    "horseshoe": lambda tau0: priors.Horseshoe(tau0, per="in"),
}
BY_ROW = {"noise_on": "input", "noise_plate": "example"}
GATES = {"prior": ["gates", {}], "model": BY_ROW}
KEPT_APART = {"smoke": 58_000, "choose": 10_000}
Images = tuple[np.ndarray, np.ndarray]
AT_FRACTION = " at the fraction"
BLOCK = 1000  # images whose outputs are computed at a time


def images_of(size: str) -> dict[str, Any]:
    """Which training images a study of that size keeps apart, and which it is judged by: two entries of a cell's spec."""
    return {"judge": "validation" if size == "choose" else "test", "num_validation": KEPT_APART.get(size, 0)}


def language_of(network: str) -> dict[str, str]:
    """Where it is not NumPyro: an entry of a cell's spec. For convolutions on a CPU torch takes a third of JAX's time."""
    return {"language": "pyro"} if network == "LeNet-5" else {}


def one_epoch(spec: Mapping[str, Any]) -> dict[str, Any]:
    """A cell's ``spec`` at a study's smoke size: everything as it is, but that each training takes one epoch."""
    found = dict(spec)
    for part in ("settings", "fine_tune"):
        if part in spec:
            found[part] = {**spec[part], "num_epochs": 1, **({"kl_schedule": [0, 1]} if "kl_schedule" in spec[part] else {})}
    return found


def run(spec: Mapping[str, Any], folder: Path) -> Numbers:
    """Fit ``spec["method"]`` to ``spec["network"]`` and judge it.

    Args:
        spec: network; recipe, prior [name, arguments], model and settings (further arguments of both), rule and its thresholds, a fraction
            to keep, or both (no rule: nothing is dropped); fine_tune, settings of a further training of what was kept, if any; seed;
            num_validation, images at the end of the training part that are kept apart; judge "test" or "validation"; language, by
            default "numpyro".
        folder: for checkpoints.

    Returns: error (percent), and of a pruned network kept (percent of the weights), compression |W|/|W≠0|, r_W and r_N (percent), mflop
        (millions of multiplications) and units 0, 1, … (inputs, then each layer's), of one that was trained further "error, fine-tuned";
        "... at THRESHOLD" where it has thresholds, and "... at the fraction" where it has one beside them.
    """
    from scalemix import inference

    ppl = language_named(spec.get("language", "numpyro"))

    images, labels = mnist("train")
    kept_apart = spec["num_validation"]
    fitted = slice(0, len(labels) - kept_apart)
    held = mnist("t10k") if spec["judge"] == "test" else (images[fitted.stop :], labels[fitted.stop :])
    dense = spec["network"] != "LeNet-5"
    recipe = getattr(inference, spec["recipe"])
    settings = recipe.Settings(**{name: _plain(value) for name, value in spec["settings"].items()}, progress=False)
    data = _shaped(images[fitted], dense), labels[fitted]
    posterior = recipe.fit(ppl, _model(spec), *data, seed=spec["seed"], settings=settings, **folder_of(folder))
    if spec["rule"] is None:
        return {"error": _error_of_mean(ppl, posterior, (_shaped(held[0], dense), held[1]))}
    return _judged(ppl, posterior, spec, data, (_shaped(held[0], dense), held[1]))


def _model(spec: Mapping[str, Any]) -> Any:
    from scalemix import models

    name, options = NETWORKS[spec["network"]] if spec["network"] in NETWORKS else ("mlp", _equal_layers(spec["network"]))
    prior, arguments = spec["prior"]
    made = PRIORS[prior](**arguments)
    return partial(
        getattr(models, name),
        prior=made,
        likelihood="categorical",
        activation="relu",
        **options,
        **spec["model"],
    )


def _equal_layers(name: str) -> dict[str, Any]:
    widths = tuple(int(each) for each in name.split("-"))
    return {"widths": widths[1:-1], "num_outputs": widths[-1]}


def _shaped(images: np.ndarray, dense: bool) -> np.ndarray:
    return images.reshape(len(images), -1) if dense else images[..., None]


def _plain(value: Any) -> Any:
    """What JSON makes lists of are tuples in settings."""
    return tuple(value) if isinstance(value, list) else value


def _judged(ppl: Any, posterior: Any, spec: Mapping[str, Any], data: Images, held: Images) -> Numbers:
    from scalemix.compress import Rule, prune

    thresholds, fraction = spec.get("thresholds", ()), spec.get("fraction")
    chosen = {f" at {each:g}": prune(posterior, Rule(spec["rule"], each)) for each in thresholds}
    if fraction is not None:
        chosen[AT_FRACTION if thresholds else ""] = prune(posterior, spec["rule"], fraction=fraction)
    found: Numbers = {}
    for at, pruning in chosen.items():
        numbers = _shrunk(ppl, posterior, pruning, spec, data, held)
        found |= {f"{name}{at}": value for name, value in numbers.items()}
    return found


def _shrunk(ppl: Any, posterior: Any, pruning: Any, spec: Mapping[str, Any], data: Images, held: Images) -> Numbers:
    with ppl.engine.precision("float32", "cpu"):
        shrunk = ppl.shrink(posterior, pruning)
        inputs = shrunk.chosen
        found = {"error": _error(ppl, shrunk.layers, inputs, held)}
        if "fine_tune" in spec:
            settings = Settings(**spec["fine_tune"], progress=False)
            more = {"likelihood": Categorical(), "sigma": None, "settings": settings, "seed": spec["seed"]}
            found["error, fine-tuned"] = _error(ppl, fine_tuned(ppl, shrunk.layers, inputs, *data, **more), inputs, held)
    report = shrunk.report
    found |= {
        "compression": report.compression,
        "kept": 100.0 / report.compression,
        "r_W": 100.0 * report.weight_ratio,
        "r_N": 100.0 * report.feature_ratio,
        "mflop": sum(report.after.multiplications) / 1e6,
    }
    return found | {f"units {index}": float(count) for index, count in enumerate(report.after.units[:-1])}


def _error(ppl: Any, layers: Sequence[Layer], inputs: np.ndarray | None, held: Images) -> float:
    """Percent of the images whose largest output is not the label's."""
    network, (x, y) = network_of(ppl, layers, inputs), held
    outputs = np.concatenate([network(x[at : at + BLOCK]) for at in range(0, len(y), BLOCK)])
    return _percent_wrong(outputs, y)


def _error_of_mean(ppl: Any, posterior: Any, held: Images) -> float:
    """Percent of the images whose largest output of the network with mean weights and mean noises is not the label's."""
    if all(site.role != "noise" for site in posterior.structure().sites.values()):
        layers = layers_of(posterior.model, {name: belief.mean for name, belief in beliefs(posterior).items()})
        if layers is None:
            raise ValueError("the model of a study does not say how it is a list of layers: use models.mlp or models.lenet")
        with ppl.engine.precision("float32", "cpu"):
            return _error(ppl, layers, None, held)
    x, y = held
    blocks = [posterior.predict(x[at : at + BLOCK], seed=0, noise="mean").mean for at in range(0, len(y), BLOCK)]
    return _percent_wrong(np.concatenate(blocks), y)


def _percent_wrong(outputs: np.ndarray, y: np.ndarray) -> float:
    return 100.0 * float(np.mean(outputs.argmax(-1) != y))
