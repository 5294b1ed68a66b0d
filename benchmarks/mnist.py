"""LeNet-300-100 on MNIST: how small a network a recipe leaves, and what it errs.

    python benchmarks/mnist.py vbd            # three seeds; the table goes to benchmarks/results/mnist_vbd.md, the figure beside it
    python benchmarks/mnist.py vbd --quick    # one seed, three epochs, nothing written

Fitted to 50 000 training images; the last 10 000 were used for choosing SETTINGS and the thresholds, which stand below, before the test
set was read. A weight is kept where log α is at most the threshold (VBD); the network that is judged has the guide's mean weights, the
others 0. Compression is the number of weights over those kept, biases not counted. NumPyro, CPU.
"""

from __future__ import annotations

import argparse
import gzip
import os
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

os.environ.setdefault("JAX_PLATFORMS", "cpu")

import scalemix as sm
import scalemix.numpyro as ppl
from scalemix.inference import vbd
from scalemix.models import mlp

RESULTS = Path(__file__).parent / "results"
WIDTHS, BATCH, NUM_VALIDATION = (300, 100), 128, 10_000
LAYERS = ("w1", "w2", "w3")
# Of each recipe: what the table has to reach (test error in percent, weights over weights kept).
TARGETS = {"vbd": (1.9, 55.0)}
VBD = {
    "num_epochs": 100,
    "learning_rate": 1e-3,
    "noise_learning_rate": 2e-3,
    "kl_schedule": (5, 15),
    "schedule": "linear",
    "hold": 0.3,
    "mask_above": 3.0,
}
VBD_THRESHOLD = 1.0  # log α

Params = dict[str, np.ndarray]


def mnist(split: str) -> tuple[np.ndarray, np.ndarray]:
    """Pixels from 0 to 1, (n, 784), and labels of "train" or "t10k", from the four original files in $SCALEMIX_DATA/mnist."""
    folder = Path(os.environ.get("SCALEMIX_DATA", "../shared/data")) / "mnist"
    if not folder.is_dir():
        sys.exit(f"{folder} does not exist: set SCALEMIX_DATA to the folder in which mnist/ lies")
    images = gzip.decompress((folder / f"{split}-images-idx3-ubyte.gz").read_bytes())
    labels = gzip.decompress((folder / f"{split}-labels-idx1-ubyte.gz").read_bytes())
    pixels = np.frombuffer(images, np.uint8, offset=16).reshape(-1, 784).astype(np.float32) / 255
    return pixels, np.frombuffer(labels, np.uint8, offset=8).astype(np.int32)


def mean_network(params: Params) -> Params:
    """Mean weights and biases, 0 where log α is above the threshold."""
    network = {name: np.asarray(params[f"{name}_loc"]) for name in ("b1", "b2", "b3")}
    for name in LAYERS:
        mean, log_variance = np.asarray(params[f"{name}_loc"]), np.asarray(params[f"{name}_log_variance"])
        kept = log_variance <= VBD_THRESHOLD + np.log(np.maximum(mean**2, 1e-37))
        network[name] = np.where(kept, mean, 0.0)
    return network


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


def fit(seed: int, quick: bool, data: Any, held_out: Any) -> tuple[Params, list[tuple[float, float]]]:
    """The network of one seed, and (validation error, compression) after each epoch."""
    log: list[tuple[float, float]] = []

    def look(params: Params) -> float:
        network = mean_network(params)
        log.append((error_percent(network, *held_out), compression(network)))
        if len(log) % 10 == 0 or quick:
            print(f"seed {seed} epoch {len(log)}: validation error {log[-1][0]:.2f} %, {log[-1][1]:.1f} times fewer weights", flush=True)
        return log[-1][0]

    model = partial(mlp, prior=sm.GaussianUniformMaximized(), widths=WIDTHS, num_outputs=10, likelihood="categorical", activation="relu")
    options: dict[str, Any] = VBD | ({"num_epochs": 3, "kl_schedule": (0, 1)} if quick else {})
    settings = vbd.Settings(batch_size=BATCH, num_draws=1, local_reparametrization=True, progress=False, **options)
    posterior = vbd.fit(ppl, model, *data, seed=seed, settings=settings, validation=look)
    return mean_network(posterior.params), log


def figure(logs: list[list[tuple[float, float]]], path: Path) -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    drawn, (above, below) = plt.subplots(2, 1, sharex=True, figsize=(6.4, 5.2), layout="constrained")
    for seed, log in enumerate(logs):
        epochs = np.arange(1, len(log) + 1)
        above.plot(epochs, [error for error, _ in log], lw=1, label=f"seed {seed}")
        below.plot(epochs, [times for _, times in log], lw=1)
    above.set(ylabel="validation error (%)", ylim=(1.5, 6), title="LeNet-300-100 on MNIST, variational Bayesian dropout")
    below.set(ylabel="weights / weights kept", xlabel="epoch", yscale="log")
    above.legend(frameon=False)
    drawn.savefig(path, dpi=130)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe", choices=sorted(TARGETS))
    parser.add_argument("--quick", action="store_true")
    asked = parser.parse_args()
    x, y = mnist("train")
    data, held_out = (x[:-NUM_VALIDATION], y[:-NUM_VALIDATION]), (x[-NUM_VALIDATION:], y[-NUM_VALIDATION:])
    lines, logs, found = [], [], []
    for seed in range(1 if asked.quick else 3):
        start = time.perf_counter()
        network, log = fit(seed, asked.quick, data, held_out)
        minutes = (time.perf_counter() - start) / 60
        logs.append(log)
        test = float("nan") if asked.quick else error_percent(network, *mnist("t10k"))
        found.append((test, compression(network)))
        kept = " / ".join(str(count) for count in kept_weights(network).values())
        lines.append(f"| {seed} | {error_percent(network, *held_out):.2f} | {test:.2f} | {found[-1][1]:.1f} | {kept} | {minutes:.1f} |")
        print(lines[-1], flush=True)
    if asked.quick:
        return
    errors, times = np.array(found).T
    error, fewer = TARGETS[asked.recipe]
    reached = errors.mean() <= error and times.mean() >= fewer
    error_text, times_text = (f"{values.mean():.2f} ± {values.std(ddof=1) / np.sqrt(values.size):.2f}" for values in (errors, times))
    text = [
        f"# LeNet-300-100 on MNIST: {asked.recipe}",
        "",
        f"`python benchmarks/mnist.py {asked.recipe}`; settings {VBD}, batches of {BATCH}, kept where log α ≤ {VBD_THRESHOLD:g}.",
        f"Target: test error ≤ {error} % with at least {fewer:g} times fewer weights: {'reached' if reached else 'not reached'}.",
        "",
        "| seed | validation error (%) | test error (%) | weights / weights kept | kept in w1 / w2 / w3 | minutes |",
        "|---|---|---|---|---|---|",
        *lines,
        f"| mean ± standard error | | {error_text} | {times_text} | | |",
        "",
        f"![Validation error and compression by epoch](mnist_{asked.recipe}.png)",
    ]
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"mnist_{asked.recipe}.md").write_text("\n".join(text) + "\n", encoding="utf-8")
    figure(logs, RESULTS / f"mnist_{asked.recipe}.png")


if __name__ == "__main__":
    main()
