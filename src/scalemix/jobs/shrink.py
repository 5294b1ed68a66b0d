"""From a fit in a folder to a smaller network in another, with all that the report of it tells.

shrink.json            what was asked for, scaling and classes of the data, and the numbers of the report
shrunk.safetensors     the smaller network, ``scalemix.compress.load`` reads it in either language
dense.safetensors      the network before, with the posterior means as weights
shrunk.pt2             in Pyro: the smaller network as a program of torch
run/                   checkpoints of fine-tuning, until it is done
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from scalemix.compress import Layer, Pruning, Rule, Shrunk, latency, removed
from scalemix.compress.layers import layers_of
from scalemix.compress.network import save_layers
from scalemix.files import replacing, writing
from scalemix.jobs.fine_tuning import fine_tuned
from scalemix.jobs.fit_folder import FitFolder
from scalemix.jobs.languages import language_named
from scalemix.jobs.network_score import Score, network_of, score_network, score_posterior
from scalemix.jobs.supervised import Rows, Supervised
from scalemix.posterior import Posterior
from scalemix.training import Settings

__all__ = ["RULE_OF", "Asked", "Result", "shrink_fit"]

SCHEMA, MANIFEST, RUN = "scalemix shrink 1", "shrink.json", "run"
# Of each method the rule that its paper drops by; of points there is nothing but their size.
RULE_OF = {
    "variational_dropout": "log_alpha",
    "vbd": "log_alpha",
    "vib": "gate_snr2",
    "spike_slab": "inclusion_prob",
    "concrete": "mean_gate",
    "horseshoe": "group_scale",
    "bayes_by_backprop": "signal_to_noise",
    "mean_field": "signal_to_noise",
    "low_rank": "signal_to_noise",
    "full_rank": "signal_to_noise",
    "nuts": "covers_zero",
    "map": "magnitude",
    "mc_dropout": "magnitude",
    "dynamic_regularizer": "magnitude",
}
BATCHES = (1, 128)
FIFTH = 5
COMPARED = 1000  # rows held out whose outputs are compared


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What somebody wants shrunk: a rule, at most one of ``threshold``, ``fraction`` and ``most_loss``, and epochs of fine-tuning."""

    rule: str
    threshold: float | None = None
    fraction: float | None = None
    most_loss: float | None = None
    fine_tune: int | None = None
    learning_rate: float = 1e-3

    @property
    def name(self) -> str:
        """For a folder."""
        parts = {"": self.threshold, "fraction": self.fraction, "loss": self.most_loss, "tuned": self.fine_tune}
        return "-".join(["shrunk", self.rule, *(f"{label}{value:g}" for label, value in parts.items() if value is not None)])


@dataclass(frozen=True)
class Result:
    """What came out.

    Attributes:
        shrunk: the smaller network, before fine-tuning.
        scores: by network, of the rows held out; of those by which was chosen, if they were.
        chosen_on: what the loss was looked at, "" where a threshold or a fraction decided.
        difference: largest |masked − shrunk| of the outputs for the rows held out, at most the first ``COMPARED`` of them.
        seconds: median of a call by network and batch.
        bytes: of the files.
        measured: of the rule, what it ranked.
    """

    shrunk: Shrunk
    scores: dict[str, Score]
    chosen_on: str
    difference: float
    seconds: dict[str, dict[int, float]]
    bytes: dict[str, int]
    measured: dict[str, np.ndarray]


def shrink_fit(fit: FitFolder, asked: Asked, output: Path) -> Result:
    """Shrink, train further if asked to, measure, and write all but the report.

    Raises: ValueError for what cannot be shrunk so, or a folder that holds something else; ImportError without safetensors.
    """
    _claim(output, fit, asked)
    try:
        return _shrunk(fit, asked, output)
    except (ValueError, ImportError, FloatingPointError):
        _release(output)
        raise


def _shrunk(fit: FitFolder, asked: Asked, output: Path) -> Result:
    posterior, data = fit.posterior(), fit.data
    ppl, test = language_named(fit.wanted.backend), data.test
    rule = Rule(asked.rule, asked.threshold)
    rows, chosen_on = _choice(data, fit.wanted.seed) if asked.most_loss is not None else (None, "")

    network = partial(network_of, ppl)

    def score(pruning: Pruning) -> float:
        assert rows is not None
        layers = _layers(posterior, pruning.means)
        try:
            removed(layers)
        except ValueError:  # nothing would be left
            return np.inf
        return score_network(network(layers), data, rows).error

    with ppl.engine.precision("float32", "cpu"):
        shrunk = ppl.shrink(
            posterior, rule, fraction=asked.fraction, most_loss=asked.most_loss, score=None if asked.most_loss is None else score
        )
        dense = _layers(posterior, _means(posterior))
        inputs = shrunk.chosen
        scores = {
            "posterior, averaged over its draws": score_posterior(posterior, data, test),
            "its means as weights": score_network(network(dense), data, test),
            "those, masked": score_network(network(shrunk.masked), data, test),
            "shrunk": score_network(network(shrunk.layers, inputs), data, test),
        }
        masked, smaller = (_outputs(each, test) for each in (network(shrunk.masked), network(shrunk.layers, inputs)))
        layers: Sequence[Layer] = shrunk.layers
        if asked.fine_tune is not None:
            layers = _tuned(fit, posterior, shrunk, asked, output / RUN, inputs)
            scores["shrunk, fine-tuned"] = score_network(network(layers, inputs), data, test)
        modules = {"dense": ppl.build(dense, None), "shrunk": ppl.build(layers, inputs)}
        x = ppl.array(np.resize(test.x, (max(BATCHES), *test.x.shape[1:])).astype(np.float32))
        seconds = latency(modules, x, batches=BATCHES)
    files = {
        "dense": save_layers(dense, output / "dense.safetensors", inputs=np.arange(shrunk.num_inputs), num_inputs=shrunk.num_inputs),
        "shrunk": save_layers(layers, output / "shrunk.safetensors", inputs=shrunk.inputs, num_inputs=shrunk.num_inputs),
    }
    if fit.wanted.backend == "pyro":
        from scalemix.compress import load
        from scalemix.pyro.exporting import export

        export(load(files["shrunk"], ppl), output / "shrunk.pt2", x[:2])
    result = Result(
        shrunk,
        scores,
        chosen_on,
        float(np.max(np.abs(masked - smaller))),
        seconds,
        {name: path.stat().st_size for name, path in files.items()},
        rule.values(posterior),
    )
    _record(output, fit, asked, result)
    shutil.rmtree(output / RUN, ignore_errors=True)
    return result


def _choice(data: Supervised, seed: int) -> tuple[Rows, str]:
    """The rows by which the loss is judged, never those held out, and what they are."""
    if data.validation is not None:
        return data.validation, f"the {len(data.validation.y)} rows that were kept aside"
    count = len(data.train.y)
    index = np.sort(np.random.default_rng([seed, 2]).permutation(count)[: max(count // FIFTH, 1)])
    told = f"{len(index)} rows that the fit has seen, so that it looks smaller than it is (fit with --validation 0.1 to keep rows aside)"
    return Rows(data.train.x[index], data.train.y[index]), told


def _tuned(fit: FitFolder, posterior: Posterior, shrunk: Shrunk, asked: Asked, folder: Path, inputs: np.ndarray | None) -> list[Layer]:
    data, wanted = fit.data, fit.wanted
    sigma = None if data.classes is not None else wanted.noise or float(np.mean(posterior.draws["sigma"]))
    rows = len(data.train.y)
    settings = Settings(
        num_epochs=asked.fine_tune or 1,
        batch_size=min(128, rows),
        learning_rate=asked.learning_rate,
        schedule="cosine",
        progress=False,
        checkpoint_minutes=1.0,
    )
    if not (folder / "training.json").is_file():
        shutil.rmtree(folder, ignore_errors=True)
    return fine_tuned(
        language_named(wanted.backend),
        shrunk.layers,
        inputs,
        data.train.x,
        data.train.y,
        likelihood=wanted.likelihood(data),
        sigma=sigma,
        settings=settings,
        seed=wanted.seed,
        folder=folder,
    )


def _layers(posterior: Posterior, means: dict[str, np.ndarray]) -> list[Layer]:
    assert posterior.model is not None
    found = layers_of(posterior.model, means)
    assert found is not None
    return found


def _means(posterior: Posterior) -> dict[str, np.ndarray]:
    from scalemix.compress import beliefs

    return {name: belief.mean for name, belief in beliefs(posterior).items()}


def _outputs(network: Callable[[np.ndarray], np.ndarray], rows: Rows) -> np.ndarray:
    return network(rows.x[:COMPARED])


def _claim(output: Path, fit: FitFolder, asked: Asked) -> None:
    """The same command again goes on; another one is refused."""
    file = output / MANIFEST
    begun = {"fit": str(fit.path), "posterior": fit.manifest["finished"]["sha256"] if fit.finished else None, "asked": asdict(asked)}
    if file.is_file():
        try:
            found = json.loads(file.read_text())
            same = found["schema"] == SCHEMA and {name: found[name] for name in ("posterior", "asked")} == {
                name: begun[name] for name in ("posterior", "asked")
            }
        except (OSError, json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError) as error:
            raise ValueError(f"{file} is damaged ({error}): remove it, or give --output another folder") from error
        if not same:
            state = "holds what another command shrank" if "report" in found else "was begun by another command"
            raise ValueError(f"{output} {state}: give another --output")
        return
    if stranger := next((each.name for each in output.iterdir() if not each.name.endswith(".tmp")), None):
        raise ValueError(f"{output} is not empty (it has {stranger}): give --output a new folder")
    _write(file, {"schema": SCHEMA, **begun})


def _release(output: Path) -> None:
    """The claim of a command that was refused does not stand in the way of the next one, unless there is something to go on with."""
    if {path.name for path in output.iterdir()} - {MANIFEST, RUN} or (output / RUN / "training.json").is_file():
        return
    shutil.rmtree(output / RUN, ignore_errors=True)
    (output / MANIFEST).unlink(missing_ok=True)
    output.rmdir()


def _record(output: Path, fit: FitFolder, asked: Asked, result: Result) -> None:
    told = {name: value for name, value in fit.manifest["data"].items() if name not in ("file", "sha256")}
    told |= {"schema": SCHEMA, "fit": str(fit.path), "posterior": fit.manifest["finished"]["sha256"], "asked": asdict(asked)}
    told["report"] = result.shrunk.report.to_dict()
    told["held out error"] = {name: score.error for name, score in result.scores.items()}
    told["median seconds"] = {name: {str(batch): value for batch, value in by.items()} for name, by in result.seconds.items()}
    told["bytes"] = result.bytes
    _write(output / MANIFEST, told)


def _write(file: Path, told: dict[str, Any]) -> None:
    with writing("what was shrunk", file), replacing(file) as temporary:
        temporary.write_text(json.dumps(told, indent=1))
