"""What scalemix costs at run time: one NUTS leapfrog and one SVI step of its models against the same models written by hand.

    python benchmarks/overhead.py            # some minutes; writes benchmarks/results/overhead.md
    python benchmarks/overhead.py --quick    # fewer rounds, no file

Both sides have the same sites, data (diabetes with 40 columns of noise, 353 x 50), precision (float64), seeds and validation setting; they
take turns (ours, hand, hand, ours) on one thread, timed by the processor time they use, which other programs on the machine disturb least
(--wall: by the clock). The ratio is of the medians over rounds, the quartiles are of the rounds' own ratios. Exit code 1 if a ratio is
above its target, or the two sides did not do the same.
"""

from __future__ import annotations

import os

for _threads in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NPROC"):  # read by the libraries when first imported
    os.environ[_threads] = "1"

import argparse
import gc
import platform
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from functools import partial
from importlib.metadata import version
from math import log, sqrt
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as numpyro_dist
import pyro
import pyro.distributions as pyro_dist
import torch
from numpyro.infer.util import initialize_model

import scalemix as sm
import scalemix.numpyro as in_numpyro
import scalemix.pyro as in_pyro
from scalemix import noise
from scalemix.data import diabetes
from scalemix.models import linear, mlp

RESULTS = Path(__file__).parent / "results" / "overhead.md"
TARGETS = {"NumPyro": 1.05, "Pyro": 1.10}
FLOPS_TARGET = 1.01
NUTS = {"step_size": 0.01, "adapt_step_size": False, "adapt_mass_matrix": False, "max_tree_depth": 5}
NUM_DRAWS = {"NumPyro": 20, "Pyro": 1}
NUM_STEPS = {"NumPyro": 400, "Pyro": 25}
HIDDEN = 50


# --- by hand: plain Pyro or NumPyro. Where both spell a model alike, it stands once: ``ppl`` is the module ``pyro`` or ``numpyro``,
# --- ``dist`` its distributions, ``xp`` the module ``torch`` or ``jax.numpy``. Nothing of scalemix is in it.


def regression(ppl, dist, x, y, weights):
    sigma = ppl.sample("sigma", dist.HalfNormal(1.0))
    w = weights(x.shape[1], sigma)
    b = ppl.sample("b1", dist.Normal(0.0, 1.0))
    with ppl.plate("data", x.shape[0]):
        ppl.sample("y", dist.Normal(x @ w + b, sigma), obs=y)


def laplace_by_hand(ppl, dist, xp, x, y):
    def weights(p, sigma):
        xi = ppl.sample("w1_noise", dist.Weibull(sqrt(2), 2.0).expand([p]).to_event(1))
        return ppl.deterministic("w1", xi * ppl.sample("w1_base", dist.Normal(0.0, 0.5).expand([p]).to_event(1)))

    regression(ppl, dist, x, y, weights)


def horseshoe_by_hand(ppl, dist, xp, x, y):
    def weights(p, sigma):
        local = ppl.sample("w1_noise_weight", dist.HalfCauchy(1.0).expand([p]).to_event(1))
        tau = ppl.sample("w1_tau", dist.HalfCauchy(5 / ((p - 5) * sqrt(x.shape[0]))))
        slab = ppl.sample("w1_slab", dist.TransformedDistribution(dist.InverseGamma(2.0, 8.0), dist.transforms.PowerTransform(0.5)))
        scale = tau * local
        z = ppl.sample("w1_base", dist.Normal(0.0, 1.0).expand([p]).to_event(1))
        return ppl.deterministic("w1", sigma * scale * slab / xp.sqrt(slab**2 + scale**2) * z)

    regression(ppl, dist, x, y, weights)


def spike_by_hand(ppl, dist, xp, x, y):
    law = NumPyroSpikeAndSlab if ppl is numpyro else PyroSpikeAndSlab
    regression(ppl, dist, x, y, lambda p, sigma: ppl.sample("w1", law(batch_shape=(p,)).to_event(1)))


class NumPyroSpikeAndSlab(numpyro_dist.Distribution):
    support = numpyro_dist.constraints.real

    def sample(self, key, sample_shape=()):
        gate, base = jax.random.split(key)
        shape = sample_shape + self.batch_shape
        return jnp.where(jax.random.bernoulli(gate, 0.1, shape), 1.0, 0.05) * jax.random.normal(base, shape)

    def log_prob(self, w):
        spike, slab = numpyro_dist.Normal(0.0, 0.05).log_prob(w), numpyro_dist.Normal(0.0, 1.0).log_prob(w)
        return jnp.logaddexp(log(0.1) + slab, log(0.9) + spike)


class PyroSpikeAndSlab(pyro_dist.TorchDistribution):
    support, arg_constraints, has_rsample = pyro_dist.constraints.real, {}, True

    def rsample(self, sample_shape=()):
        shape = torch.Size(sample_shape) + self.batch_shape
        return torch.where(torch.rand(shape) < 0.1, 1.0, 0.05) * torch.randn(shape)

    def log_prob(self, w):
        spike, slab = pyro_dist.Normal(0.0, 0.05).log_prob(w), pyro_dist.Normal(0.0, 1.0).log_prob(w)
        return torch.logaddexp(log(0.1) + slab, log(0.9) + spike)


def net_by_hand(ppl, dist, xp, x, y, hidden=HIDDEN):
    h, sizes = x, [(x.shape[1], hidden), (hidden, 1)]
    for layer, (n, k) in enumerate(sizes, start=1):
        xi = ppl.sample(f"w{layer}_noise", dist.Weibull(sqrt(2), 2.0).expand([n]).to_event(1))
        z = ppl.sample(f"w{layer}_base", dist.Normal(0.0, 1.0).expand([n, k]).to_event(2))
        w = ppl.deterministic(f"w{layer}", n**-0.5 * xi[:, None] * z)
        b = ppl.sample(f"b{layer}", dist.Normal(0.0, 1.0).expand([k]).to_event(1))
        h = xp.tanh(h @ w + b) if layer < len(sizes) else h @ w + b
    sigma = ppl.sample("sigma", dist.HalfNormal(1.0))
    with ppl.plate("data", x.shape[0]):
        ppl.sample("y", dist.Normal(h[:, 0], sigma), obs=y)


REGULARIZED = sm.Horseshoe(expected_active=5, num_data=353, slab_scale=2.0, slab_df=4.0)
RAYLEIGH = sm.ScaleMixture(noise.Rayleigh().per("in"))
MODELS: dict[str, tuple[Callable, Callable]] = {
    "Laplace, expanded": (partial(linear, prior=sm.Laplace(0.5), parametrization="expanded"), laplace_by_hand),
    "regularized horseshoe, expanded": (
        partial(linear, prior=REGULARIZED, parametrization="expanded", scale_by_sigma=True),
        horseshoe_by_hand,
    ),
    "spike-and-slab, marginal": (partial(linear, prior=sm.SpikeAndSlab(0.1, 1.0, 0.05), parametrization="marginal"), spike_by_hand),
    "net 50-50-1, Rayleigh": (partial(mlp, prior=RAYLEIGH, widths=(HIDDEN,), parametrization="expanded"), net_by_hand),
}


# --- timing --------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Row:
    """``ours`` and ``hand``: µs a step of each round, or one number of FLOPs; ``same``: the sides made the same trajectories."""

    language: str
    model: str
    what: str
    ours: np.ndarray
    hand: np.ndarray
    same: bool = True

    @property
    def ratio(self) -> float:
        return float(np.median(self.ours) / np.median(self.hand))

    @property
    def cells(self) -> list[str]:
        quartiles = "-".join(f"{each:.3f}" for each in np.quantile(self.ours / self.hand, [0.25, 0.75])) if len(self.ours) > 1 else ""
        numbers = f"{np.median(self.ours):,.1f}", f"{np.median(self.hand):,.1f}", f"{self.ratio:.3f}", quartiles
        verdict = "yes" if self.holds else "NO" if self.same else "NO: other trajectories"
        judged = [f"≤ {self.target:.2f}", verdict] if self.target is not None else ["", ""]
        return [self.language, self.model, self.what, *numbers, *judged]

    @property
    def target(self) -> float | None:
        """``None`` after fusion, which is up to XLA: it computes an intermediate twice where it thinks that faster."""
        if "FLOPs" in self.what:
            return FLOPS_TARGET if self.what.endswith("FLOPs") else None
        return TARGETS[self.language]

    @property
    def holds(self) -> bool:
        return self.same and (self.target is None or self.ratio <= self.target)


clock = time.process_time  # main() may put another in its place


def in_turns(sides: list[Callable[[], int]], rounds: int) -> tuple[np.ndarray, np.ndarray]:
    """Microseconds a step of both sides in each round; a side takes some steps and returns how many. A round before warms up."""
    times = np.zeros((rounds + 1, 2))
    for i in range(rounds + 1):
        gc.collect()
        for side in (0, 1, 1, 0):
            start = clock()
            steps = sides[side]()
            times[i, side] += (clock() - start) / (2 * steps) * 1e6
    return times[1:, 0], times[1:, 1]


def numpyro_rows(name: str, models: list[Callable], data: tuple, rounds: int) -> list[Row]:
    args = tuple(map(jnp.asarray, data))
    rows = []
    for prepare in (numpyro_leapfrog, numpyro_nuts, numpyro_svi, numpyro_svi_in_scan):
        sides = [prepare(model, args) for model in models]
        what, lowered = prepare.__doc__ or "", [side.lowered for side in sides]
        times = in_turns([side.take for side in sides], rounds)
        rows.append(Row("NumPyro", name, what, *times, same=np.allclose(sides[0].end(), sides[1].end(), rtol=1e-6)))
        if lowered[0] is not None:
            rows.append(Row("NumPyro", name, f"{what}: FLOPs", *flops(lowered)))
            rows.append(Row("NumPyro", name, f"{what}: FLOPs after fusion", *flops([side.compile() for side in lowered])))
    return rows


def flops(programs: list[Any]) -> list[np.ndarray]:
    return [np.array([program.cost_analysis()["flops"]]) for program in programs]


@dataclass
class Side:
    """``take``: takes some steps, and returns how many. ``end``: where they ended (of NUTS in NumPyro: where its first trajectory ended, as
    rounding grows along later ones), to compare the sides. ``lowered``: one step, for its FLOPs.
    """

    take: Callable[[], int]
    end: Callable[[], Any] = lambda: 0.0
    lowered: Any = None


def numpyro_leapfrog(model: Callable, args: tuple) -> Side:
    """potential and gradient"""
    info = initialize_model(jax.random.PRNGKey(0), model, model_args=args)
    start, potential = info.param_info.z, jax.value_and_grad(info.potential_fn)

    def step(q: Any, _: None) -> tuple[Any, Any]:
        energy, gradient = potential(q)
        return jax.tree.map(lambda q, g: q - 1e-9 * g, q, gradient), energy

    steps = jax.jit(lambda q: jax.lax.scan(step, q, length=NUM_STEPS["NumPyro"])[1])
    return Side(lambda: len(jax.block_until_ready(steps(start))), lambda: steps(start), jax.jit(potential).lower(start))


def numpyro_nuts(model: Callable, args: tuple) -> Side:
    """NUTS, a leapfrog"""
    kernel = numpyro.infer.NUTS(model, **NUTS)
    start = kernel.init(jax.random.PRNGKey(0), 0, None, args, {})

    def draw(state: Any, _: None) -> tuple[Any, Any]:
        state = kernel.sample(state, args, {})
        return state, (state.num_steps, state.potential_energy)

    draws = jax.jit(lambda state: jax.lax.scan(draw, state, length=NUM_DRAWS["NumPyro"])[1])
    num_steps, energy = draws(start)
    num_leapfrogs = int(num_steps.sum())
    return Side(lambda: len(jax.block_until_ready(draws(start))) and num_leapfrogs, lambda: [num_steps[0], energy[0]])


def numpyro_svi(model: Callable, args: tuple, *, in_scan: bool = False) -> Side:
    """SVI step"""
    guide = numpyro.infer.autoguide.AutoNormal(model)
    svi = numpyro.infer.SVI(model, guide, numpyro.optim.Adam(0.001), numpyro.infer.Trace_ELBO())
    start, num_steps = svi.init(jax.random.PRNGKey(0), *args), NUM_STEPS["NumPyro"]
    update = jax.jit(lambda state: svi.update(state, *args))
    if in_scan:
        steps = jax.jit(lambda state: jax.lax.scan(lambda state, _: svi.update(state, *args), state, length=num_steps)[1])
        return Side(lambda: len(jax.block_until_ready(steps(start))))

    def take() -> int:
        state = start
        for _ in range(num_steps):
            state, loss = update(state)
        jax.block_until_ready(loss)
        return num_steps

    return Side(take, lowered=update.lower(start))


def numpyro_svi_in_scan(model: Callable, args: tuple) -> Side:
    """SVI step in a scan"""
    return numpyro_svi(model, args, in_scan=True)


def pyro_rows(name: str, models: list[Callable], data: tuple, rounds: int) -> list[Row]:
    args = tuple(torch.tensor(each) for each in data)
    sides = [pyro_nuts(model, args) for model in models]
    times = in_turns([side.take for side in sides], rounds)
    rows = [Row("Pyro", name, "NUTS, a leapfrog", *times, same=np.allclose(sides[0].end(), sides[1].end(), rtol=1e-6))]
    return [*rows, Row("Pyro", name, "SVI step", *in_turns([pyro_svi(model, args) for model in models], rounds))]


class CountingNUTS(pyro.infer.NUTS):
    leapfrogs = 0

    def _build_basetree(self, *args: Any, **kwargs: Any) -> Any:
        self.leapfrogs += 1
        return super()._build_basetree(*args, **kwargs)


def pyro_nuts(model: Callable, args: tuple) -> Side:
    kernel = CountingNUTS(model, **NUTS)
    kernel.setup(0, *args)
    pyro.set_rng_seed(0)
    start = {site: 0.1 * torch.randn(value.shape) for site, value in kernel.initial_params.items()}
    end: dict[str, Any] = {}

    def take() -> int:
        pyro.set_rng_seed(1)
        kernel.clear_cache()
        kernel.leapfrogs, params = 0, start
        for _ in range(NUM_DRAWS["Pyro"]):
            params = kernel.sample(params)
        end.update(params)
        return kernel.leapfrogs

    return Side(take, lambda: np.concatenate([[kernel.leapfrogs], *(value.ravel() for value in end.values())]))


def pyro_svi(model: Callable, args: tuple) -> Callable[[], int]:
    guide = pyro.infer.autoguide.AutoNormal(model)
    svi = pyro.infer.SVI(model, guide, pyro.optim.Adam({"lr": 0.001}), pyro.infer.Trace_ELBO())
    params: dict[str, Any] = {"params": {}, "constraints": {}}

    def take() -> int:
        with pyro.get_param_store().scope(params):  # each side's guide has parameters of its own
            return len([svi.step(*args) for _ in range(NUM_STEPS["Pyro"])])

    return take


# --- the report ----------------------------------------------------------------------------------------------------------------


def measure(languages: list[str], rounds: int) -> list[Row]:
    data = diabetes()
    arrays = data.x_train.to_numpy(), data.y_train
    rows: list[Row] = []
    for name, (ours, hand) in MODELS.items():
        if "NumPyro" in languages:
            with in_numpyro.engine.precision("float64", "cpu"):
                rows += numpyro_rows(name, [partial(ours, in_numpyro), partial(hand, numpyro, numpyro_dist, jnp)], arrays, rounds)
        if "Pyro" in languages:
            with in_pyro.engine.precision("float64", "cpu"), pyro.validation_enabled(False):
                rows += pyro_rows(name, [partial(ours, in_pyro), partial(hand, pyro, pyro_dist, torch)], arrays, rounds)
        print(f"timed {name}, load {os.getloadavg()[0]:.1f}", file=sys.stderr, flush=True)
    return rows


def report(rows: list[Row], rounds: int, *, title: str, script: str) -> str:
    """The rows as a Markdown table, with what they were measured on, and how much slower Pyro's NUTS is than NumPyro's."""
    head = ["language", "model", "step", "ours, µs", "by hand, µs", "ratio", "quartiles", "target", "holds"]
    lines = ["| " + " | ".join(cells) + " |" for cells in [head, ["---"] * len(head), *(row.cells for row in rows)]]
    nuts = {(row.language, row.model): float(np.median(row.ours)) for row in rows if row.what.startswith("NUTS")}
    both = [name for name in MODELS if {("Pyro", name), ("NumPyro", name)} <= nuts.keys()]
    slower = [f"{nuts['Pyro', name] / nuts['NumPyro', name]:.0f} ({name})" for name in both]
    versions = ", ".join(f"{each} {version(each)}" for each in ("jax", "numpyro", "torch", "pyro-ppl"))
    machine = f"{platform.machine()}, {os.cpu_count()} cores (one thread used), load {os.getloadavg()[0]:.1f} with this program at the end"
    command = " ".join([f"python benchmarks/{script}", *sys.argv[1:]])
    said = f"`{command}`, {date.today()}, {rounds} rounds; timed by {clock.__name__}; {versions}; {machine}."
    ratio = f"\nNUTS in Pyro takes {', '.join(slower)} times as long per leapfrog as in NumPyro.\n" if slower else ""
    return f"# {title}\n\n{said}\n\n" + "\n".join(lines) + f"\n{ratio}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=11, help="rounds of ours, hand, hand, ours (default 11)")
    parser.add_argument("--quick", action="store_true", help="three rounds, nothing written")
    parser.add_argument("--language", choices=list(TARGETS), help="only this language, nothing written")
    parser.add_argument("--wall", action="store_true", help="time by the clock on the wall, on a machine that does nothing else")
    options = parser.parse_args()
    global clock
    clock = time.perf_counter if options.wall else time.process_time
    rounds = 3 if options.quick else options.rounds
    rows = measure([options.language] if options.language else list(TARGETS), rounds)
    text = report(rows, rounds, title="Overhead of scalemix over models written by hand", script="overhead.py")
    print(text)
    if not (options.quick or options.language):
        RESULTS.parent.mkdir(exist_ok=True)
        RESULTS.write_text(text)
    return 0 if all(row.holds for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
