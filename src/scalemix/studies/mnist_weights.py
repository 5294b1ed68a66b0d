"""Single weights dropped from networks on MNIST: variational dropout, VBD, spike-and-slab nets, Bayes by Backprop."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from scalemix.studies.cell import Cell, Entry, Result, Study
from scalemix.studies.claims import Difference, difference
from scalemix.studies.networks import AT_FRACTION, images_of, language_of, one_epoch, run

__all__ = ["MNIST_WEIGHTS"]

SEEDS, SEEDS_OF_THE_CLAIM = 3, 5
NETWORKS = ("LeNet-300-100", "LeNet-5")

PRUNED_IN_TRAINING = {
    "noise_learning_rate": 2e-3,
    "kl_schedule": [5, 15],
    "schedule": "linear",
    "hold": 0.3,
    "mask_above": 3.0,
    "num_draws": 1,
}
PLAIN = {"batch_size": 128, "schedule": "linear", "hold": 0.3, "num_draws": 20}

TEMPERED = "VBD, KL × 2.5"  # for LeNet-5 alone: as small as the paper's

VBD = {
    "recipe": "vbd",
    "prior": ["gaussian-uniform", {}],
    "model": {},
    "settings": PRUNED_IN_TRAINING,
    "rule": "log_alpha",
    "thresholds": [0.0, 1.0],
}
METHODS: dict[str, dict[str, Any]] = {
    "VD": {
        "recipe": "variational_dropout",
        "prior": ["log-uniform", {}],
        "model": {},
        "settings": PRUNED_IN_TRAINING,
        "rule": "log_alpha",
        "thresholds": [0.0, 1.0],
    },
    "VBD": VBD,
    TEMPERED: {**VBD, "settings": {**PRUNED_IN_TRAINING, "kl_weight": 2.5}},
    "sBNN": {
        "recipe": "spike_slab",
        "prior": ["spike-and-slab", {"inclusion_prob": 0.5, "slab_scale": 1.0, "spike_scale": 0.0067}],
        "model": {"scale_by_fan_in": False},
        "settings": PLAIN,
        "rule": "inclusion_prob",
        "fraction": {"LeNet-300-100": 0.05, "LeNet-5": 0.008},
    },
    "BbB": {
        "recipe": "bayes_by_backprop",
        "prior": ["two normals", {"weight": 0.5, "wide_scale": 1.0, "narrow_scale": 0.0067}],
        "model": {"scale_by_fan_in": False},
        "settings": {**PLAIN, "local_reparametrization": "auto"},
        "rule": "signal_to_noise",
        "fraction": {"LeNet-300-100": 0.05, "LeNet-5": 0.008},
    },
}
# Beside the thresholds, LeNet-5 is cut to the size of the paper's VBD; what is kept, at each of the three, is trained further.
PRUNED_LENET_5 = {
    "fraction": 1 / 290,
    "fine_tune": {"batch_size": 128, "num_epochs": 10, "learning_rate": 1e-3, "schedule": "linear"},
}
OF_NETWORK: dict[str, dict[str, Any]] = {
    "LeNet-300-100": {"num_epochs": 120, "batch_size": 128, "local_reparametrization": True},
    "LeNet-5": {"num_epochs": 40, "batch_size": 32, "local_reparametrization": "auto"},  # its first layer: more pixels than weights to draw
}

ERROR, FINE_TUNED, COMPRESSION = "error (%)", "error, fine-tuned (%)", "weights / weights kept"
COLUMNS = {ERROR: "error", FINE_TUNED: "error, fine-tuned", COMPRESSION: "compression", "r_W (%)": "r_W"}
# T0.4 and T4.6: VD of the original paper, VBD-low and VBD-high, sBNN (sparsity 95.0 and 99.2 %).
PAPER = {
    ("LeNet-300-100", "VD, log α ≤ 1"): (1.92, 68.0),
    ("LeNet-300-100", "VD, log α ≤ 0"): (1.92, 68.0),
    ("LeNet-300-100", "VBD, log α ≤ 1"): (1.67, 66.0),
    ("LeNet-300-100", "VBD, log α ≤ 0"): (1.76, 81.0),
    ("LeNet-300-100", "sBNN"): (1.94, 20.0),
    ("LeNet-5", "VD, log α ≤ 1"): (0.75, 280.0),
    ("LeNet-5", "VBD, 1/290 kept"): (0.81, 290.0),
    ("LeNet-5", "VBD, log α ≤ 1"): (0.74, 198.0),
    ("LeNet-5", f"{TEMPERED}, 1/290 kept"): (0.81, 290.0),
    ("LeNet-5", f"{TEMPERED}, log α ≤ 0"): (0.81, 290.0),
    ("LeNet-5", "sBNN"): (1.06, 125.0),
}


def cells(size: str, done: Sequence[Result]) -> list[Cell]:
    """A fit each."""
    plan = [
        (network, method, seed)
        for network in NETWORKS
        for method in METHODS
        if network == "LeNet-5" or method != TEMPERED
        for seed in range(SEEDS_OF_THE_CLAIM if network == "LeNet-300-100" and method in ("VD", "VBD") else SEEDS)
    ]
    if size != "full":
        plan = [each for each in plan if each[2] == 0]
    return [Cell(f"{network}, {method}, seed {seed}", _spec(network, method, seed, size)) for network, method, seed in plan]


def _spec(network: str, method: str, seed: int, size: str) -> dict[str, Any]:
    own = dict(METHODS[method])
    if "fraction" in own:
        own["fraction"] = own["fraction"][network]
    elif network == "LeNet-5":
        own |= PRUNED_LENET_5
    own["settings"] = {**OF_NETWORK[network], **own["settings"]}
    spec = {"network": network, "seed": seed, **own, **language_of(network), **images_of(size)}
    return one_epoch(spec) if size == "smoke" else spec


def _method(spec: Mapping[str, Any]) -> str:
    """Whose cell it is."""
    if spec["recipe"] == "vbd" and "kl_weight" in spec["settings"]:
        return TEMPERED
    return next(name for name, own in METHODS.items() if own["recipe"] == spec["recipe"])


def entries(result: Result) -> list[Entry]:
    """Error and compression of a method, at each of its thresholds."""
    spec, numbers = result.cell.spec, result.numbers
    method = _method(spec)
    rows = {f" at {each:g}": f"{method}, log α ≤ {each:g}" for each in spec.get("thresholds", ())}
    if "fraction" in spec:
        rows |= {AT_FRACTION: f"{method}, 1/{1 / spec['fraction']:.0f} kept"} if rows else {"": method}
    return [
        Entry(str(spec["network"]), row, column, numbers[name + at])
        for at, row in rows.items()
        for column, name in COLUMNS.items()
        if name + at in numbers or column != FINE_TUNED
    ]


def verdicts(results: Sequence[Result]) -> list[str]:
    """Whether VBD is better than VD, as Liu et al. (2019) claim: at each threshold, and at the two where they drop about as much."""
    found = []
    for network in NETWORKS:
        vbd, vd = (
            [each.numbers for each in results if (each.cell.spec["network"], _method(each.cell.spec)) == (network, method)]
            for method in ("VBD", "VD")
        )
        if min(len(vbd), len(vd)) < 2:
            continue
        for ours, theirs in (("1", "1"), ("0", "0"), ("0", "1")):
            error, factor = (
                difference([each[f"{name} at {ours}"] for each in vbd], [each[f"{name} at {theirs}"] for each in vd])
                for name in ("error", "compression")
            )
            found.append(
                f"{network}, VBD at log α ≤ {ours} ({len(vbd)} seeds) less VD at log α ≤ {theirs} ({len(vd)} seeds): error {error} points, "
                f"weights / weights kept {factor}. {_reading(error, factor)}."
            )
    return found


def _reading(error: Difference, factor: Difference) -> str:
    better, worse = error.below or factor.above, error.above or factor.below
    if better and worse:
        return "A trade: neither is better"
    return "VBD is better" if better else "VD is better" if worse else "No difference is shown"


MNIST_WEIGHTS = Study(
    name="mnist-weights",
    title="Weights dropped from LeNets on MNIST",
    source="Liu et al. (2019), weight compression, and Saha, Liu and Liang (2024), LeNets",
    cells=cells,
    run=run,
    long_fits=True,
    entries=entries,
    verdicts=verdicts,
    paper={
        (network, method, column): value
        for (network, method), row in PAPER.items()
        for column, value in zip((ERROR, COMPRESSION), row, strict=True)
    },
    sizes={
        "smoke": "two networks, each method for one epoch of 2000 images",
        "choose": "one seed, fitted to 50 000 training images and judged on the other 10 000",
        "full": "two networks, three seeds; VD and VBD on LeNet-300-100 five, since their difference is what the paper claims",
    },
    settings=(
        "Fitted to all 60 000 training images with pixels from 0 to 1, in NumPyro (LeNet-5 in Pyro); the test set is read once a cell.",
        "VD and VBD: a weight is 0 already in training where log α is above 3, and kept where it is at most 0 or 1, both fixed before.",
        "Schedule and mask were chosen on 10 000 training images kept apart, for VBD; VD has the same.",
        "So was LeNet-5's batch of 32: 12 epochs of 30 000 images leave 1/133 of the weights at 1.56 %, with 128 1/82 at 1.86 %.",
        "sBNN and BbB keep 5 % (LeNet-5: 0.8 %) of the weights, by inclusion probability and signal-to-noise ratio.",
        "LeNet-5 has VBD with the KL weighted 2.5 times, tempered, too, for the paper's higher compression.",
        "Weighted 2 times, on images kept apart: 1/195 at .92 %, 1/247 at 1.08 % (fine-tuned .92), cut to 1/290 1.17 % (fine-tuned 1.04).",
        "LeNet-5's VD and VBD are cut to 1/290 of the weights, too, by log α; fine-tuned: 10 more epochs at each size.",
        "What is judged is the shrunk network with mean weights; biases are not counted.",
        "The paper's numbers: VD as in its original; VBD at its lower (log α ≤ 1) and its higher compression; sBNN.",
        "Departures: 120 epochs of LeNet-300-100 (the paper 200), 40 of LeNet-5; one draw of the noise per step; no pre-training.",
    ),
)
