"""LeNet-300-100 on MNIST: how small a network a recipe leaves, and what it errs.

    python benchmarks/mnist.py vbd            # three seeds; the table goes to benchmarks/results/mnist_vbd.md, the figure beside it
    python benchmarks/mnist.py vib_small      # and vib_accurate: the two ends of VIBNet
    python benchmarks/mnist.py vbd --choose   # one seed, the validation images alone, nothing written: how the settings were chosen
    python benchmarks/mnist.py vbd --quick    # the same for three epochs

Fitted to 50 000 training images; the last 10 000 were used for choosing the settings and thresholds below, before the test set was read.
VBD: a weight is kept where log α is at most the threshold. VIB: a gate (an input, a hidden unit) is, and with it the weights between two
units that are both kept. The network that is judged has mean weights, the others 0. Compression is the number of weights over those
kept, biases not counted.
"""

from __future__ import annotations

import argparse
import importlib
import os
import time
from collections.abc import Callable
from dataclasses import fields, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

os.environ.setdefault("JAX_PLATFORMS", "cpu")

import scalemix as sm
from scalemix import noise
from scalemix.inference import vbd, vib
from scalemix.mnist import mnist
from scalemix.models import mlp

RESULTS = Path(__file__).parent / "results"
WIDTHS, BATCH, NUM_VALIDATION, SEEDS = (300, 100), 128, 10_000, 3
LAYERS = ("w1", "w2", "w3")

Params = dict[str, np.ndarray]


class Recipe(NamedTuple):
    """What is fitted, what is kept of it, and what the table has to reach.

    Attributes:
        title: of the figure.
        fit: the recipe.
        prior: of the weights, with further arguments of the model.
        settings: those of the recipe.
        threshold: log α up to which a weight or a unit is kept.
        network: (parameters, threshold) → weights and biases, 0 where nothing is kept.
        most_error, least_compression: percent of the test images, and weights over weights kept.
    """

    title: str
    fit: Callable[..., Any]
    prior: dict[str, Any]
    settings: Any
    threshold: float
    network: Callable[[Params, float], Params]
    most_error: float
    least_compression: float


def mean_weights(params: Params, threshold: float) -> Params:
    network = {name: np.asarray(params[f"{name}_loc"]) for name in ("b1", "b2", "b3")}
    for name in LAYERS:
        mean, kept = np.asarray(params[f"{name}_loc"]), _kept(params, name, threshold)
        network[name] = np.where(kept, mean, 0.0)
    return network


def mean_gates(params: Params, threshold: float) -> Params:
    """Weights times the mean of their input's gate; what no longer goes anywhere is 0, too."""
    network = {name: np.asarray(params[f"{name}_loc"]) for name in (*LAYERS, "b1", "b2", "b3")}
    for name in LAYERS:
        gates = np.where(_kept(params, f"{name}_noise", threshold), np.asarray(params[f"{name}_noise_loc"]), 0.0)
        network[name] = network[name] * gates[:, None]
        if name != "w1":
            before = f"w{LAYERS.index(name)}"
            network[before] = network[before] * (gates != 0.0)
    return network


def _kept(params: Params, name: str, threshold: float) -> np.ndarray:
    mean, log_variance = np.asarray(params[f"{name}_loc"]), np.asarray(params[f"{name}_log_variance"])
    return log_variance <= threshold + np.log(np.maximum(mean**2, 1e-37))


BOTTLENECKS = {"prior": sm.ScaleMixture(noise.Bottleneck().per("in")), "noise_on": "input", "noise_plate": "example"}
VIB = {"batch_size": BATCH, "noise_learning_rate": 5e-3, "schedule": "linear", "num_draws": 1, "progress": False}
RECIPES = {
    "vbd": Recipe(
        title="variational Bayesian dropout",
        fit=vbd.fit,
        prior={"prior": sm.GaussianUniformMaximized()},
        settings=vbd.Settings(
            batch_size=BATCH,
            num_epochs=100,
            noise_learning_rate=2e-3,
            kl_schedule=(5, 15),
            schedule="linear",
            hold=0.3,
            mask_above=3.0,
            local_reparametrization=True,
            num_draws=1,
            progress=False,
        ),
        threshold=1.0,
        network=mean_weights,
        most_error=1.9,
        least_compression=55.0,
    ),
    "vib_small": Recipe(
        title="VIBNet, small",
        fit=vib.fit,
        prior=BOTTLENECKS,
        settings=vib.Settings(num_epochs=100, kl_schedule=(0, 10), hold=0.2, kl_scale=35 / 50_000, layer_weights=(1.15, 1.0, 0.7), **VIB),
        threshold=0.0,
        network=mean_gates,
        most_error=2.3,
        least_compression=100 / 4.5,
    ),
    "vib_accurate": Recipe(
        title="VIBNet, accurate",
        fit=vib.fit,
        prior=BOTTLENECKS,
        settings=vib.Settings(num_epochs=100, kl_schedule=(0, 10), hold=0.2, kl_scale=14 / 50_000, layer_weights=(1.15, 1.0, 0.7), **VIB),
        threshold=0.0,
        network=mean_gates,
        most_error=1.8,
        least_compression=100 / 11,
    ),
}


def flat(part: str) -> tuple[np.ndarray, np.ndarray]:
    """Pixels from 0 to 1, (n, 784), and labels."""
    images, labels = mnist(part)
    return images.reshape(len(images), -1), labels


def error_percent(network: Params, x: np.ndarray, y: np.ndarray) -> float:
    """Percent of the images whose largest output is not the label's."""
    for layer in (1, 2, 3):
        x = x @ network[f"w{layer}"] + network[f"b{layer}"]
        x = np.maximum(x, 0.0) if layer < 3 else x
    return 100.0 * float(np.mean(x.argmax(axis=1) != y))


def kept_weights(network: Params) -> dict[str, int]:
    return {name: int(np.count_nonzero(network[name])) for name in LAYERS}


def compression(network: Params) -> float:
    return sum(network[name].size for name in LAYERS) / max(sum(kept_weights(network).values()), 1)


def fit(recipe: Recipe, language: str, seed: int, data: Any, held_out: Any) -> tuple[Params, list[tuple[float, float]]]:
    """The network of one seed, and (validation error, compression) after each epoch."""
    log: list[tuple[float, float]] = []
    began = time.perf_counter()

    def look(params: dict[str, Any]) -> float:
        network = recipe.network({name: np.asarray(value) for name, value in params.items()}, recipe.threshold)
        log.append((error_percent(network, *held_out), compression(network)))
        if len(log) % 10 == 0 or len(log) <= 3:
            each = (time.perf_counter() - began) / len(log)
            found = f"validation error {log[-1][0]:.2f} %, {log[-1][1]:.1f} times fewer weights"
            print(f"seed {seed} epoch {len(log)}: {found}, {each:.1f} s an epoch", flush=True)
        return log[-1][0]

    ppl = importlib.import_module(f"scalemix.{language}")
    model = partial(mlp, widths=WIDTHS, num_outputs=10, likelihood="categorical", activation="relu", **recipe.prior)
    posterior = recipe.fit(ppl, model, *data, seed=seed, settings=recipe.settings, validation=look)
    return recipe.network(posterior.params, recipe.threshold), log


def figure(title: str, logs: list[list[tuple[float, float]]], path: Path) -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    drawn, (above, below) = plt.subplots(2, 1, sharex=True, figsize=(6.4, 5.2), layout="constrained")
    for seed, log in enumerate(logs):
        epochs = np.arange(1, len(log) + 1)
        above.plot(epochs, [error for error, _ in log], lw=1, label=f"seed {seed}")
        below.plot(epochs, [times for _, times in log], lw=1)
    above.set(ylabel="validation error (%)", ylim=(1.5, 6), title=f"LeNet-300-100 on MNIST, {title}")
    below.set(ylabel="weights / weights kept", xlabel="epoch", yscale="log")
    above.legend(frameon=False)
    drawn.savefig(path, dpi=130)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe", choices=sorted(RECIPES))
    parser.add_argument("--language", choices=("numpyro", "pyro"), default="numpyro")
    parser.add_argument("--choose", action="store_true")
    parser.add_argument("--quick", action="store_true")
    asked = parser.parse_args()
    recipe = RECIPES[asked.recipe]
    if asked.quick:
        recipe = recipe._replace(settings=replace(recipe.settings, num_epochs=3, kl_schedule=(0, 1)))
    x, y = flat("train")
    data, held_out = (x[:-NUM_VALIDATION], y[:-NUM_VALIDATION]), (x[-NUM_VALIDATION:], y[-NUM_VALIDATION:])
    lines, logs, found = [], [], []
    tried = asked.choose or asked.quick
    for seed in range(1 if tried else SEEDS):
        start = time.perf_counter()
        network, log = fit(recipe, asked.language, seed, data, held_out)
        minutes = (time.perf_counter() - start) / 60
        logs.append(log)
        test = float("nan") if tried else error_percent(network, *flat("t10k"))
        found.append((test, compression(network)))
        kept = " / ".join(str(count) for count in kept_weights(network).values())
        fewer = f"{found[-1][1]:.1f} | {100 / found[-1][1]:.2f}"
        lines.append(f"| {seed} | {error_percent(network, *held_out):.2f} | {test:.2f} | {fewer} | {kept} | {minutes:.1f} |")
        print(lines[-1], flush=True)
    if not tried:
        report(asked.recipe, asked.language, recipe, lines, logs, found)


def report(name: str, language: str, recipe: Recipe, lines: list[str], logs: list[list[tuple[float, float]]], found: list) -> None:
    errors, times = np.array(found).T
    reached = errors.mean() <= recipe.most_error and times.mean() >= recipe.least_compression
    error_text, times_text = (f"{values.mean():.2f} ± {values.std(ddof=1) / np.sqrt(values.size):.2f}" for values in (errors, times))
    text = [
        f"# LeNet-300-100 on MNIST: {recipe.title}",
        "",
        f"`python benchmarks/mnist.py {name} --language {language}`; settings {changed(recipe.settings)}.",
        (
            f"Kept where log α ≤ {recipe.threshold:g}. Target: test error ≤ {recipe.most_error} % with at least "
            f"{recipe.least_compression:.1f} times fewer weights, both as means: {'reached' if reached else 'not reached'}."
        ),
        "",
        "| seed | validation error (%) | test error (%) | weights / weights kept | kept (%) | kept in w1 / w2 / w3 | minutes |",
        "|---|---|---|---|---|---|---|",
        *lines,
        f"| mean ± standard error | | {error_text} | {times_text} | {100 / times.mean():.2f} | | |",
        "",
        f"![Validation error and compression by epoch](mnist_{name}.png)",
    ]
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"mnist_{name}.md").write_text("\n".join(text) + "\n", encoding="utf-8")
    figure(recipe.title, logs, RESULTS / f"mnist_{name}.png")


def changed(settings: Any) -> str:
    """Those settings that are not the recipe's defaults."""
    given = {each.name: getattr(settings, each.name) for each in fields(settings)}
    plain = type(settings)()
    return ", ".join(f"{name}={value!r}" for name, value in given.items() if value != getattr(plain, name))


if __name__ == "__main__":
    main()
