"""Effective draws per second: NUTS by scalemix against the same model written by hand, in NumPyro's own loop.

Both sides have the same coordinates, data (diabetes, 353 × 10), starts, keys, warm-up and precision; chains run one after the other on one
thread. By hand: ``NUTS.init`` and ``numpyro.util.fori_collect``, which is what ``numpyro.infer.MCMC`` runs. The seconds are processor time
of the draws, which other programs disturb less than the clock; warm-up and compilation are apart, and so is what is computed at the draws
afterwards. The sides take turns, seed by seed.
"""

from __future__ import annotations

import overhead  # isort: skip  (first: it sets the number of threads before the libraries are loaded)
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as numpyro_dist
from mcmc_tables import Section, compiled_once, least_ess, said_so, sampling, spread, table
from numpyro.infer import NUTS
from numpyro.util import fori_collect

import scalemix.numpyro as ppl
from scalemix.data import diabetes
from scalemix.inference import nuts
from scalemix.models import mlp
from scalemix.numpyro.compiling import prefer_fast_compilation

prefer_fast_compilation()  # the same for both sides

TARGET = 0.95
HIDDEN, GRID = 5, slice(None, None, 36)
MODELS: dict[str, tuple[Callable, Callable]] = {"Laplace, expanded": overhead.MODELS["Laplace, expanded"]} | {
    f"net 10-{HIDDEN}-1, Rayleigh": (
        partial(mlp, prior=overhead.RAYLEIGH, widths=(HIDDEN,), parametrization="expanded"),
        partial(overhead.net_by_hand, hidden=HIDDEN),
    )
}


class Run(NamedTuple):
    ess: float
    seconds: float
    compiling: float
    num_gradients: int


def measure(quick: bool) -> Section:
    seeds, settings = (1, settings_of(50, 50)) if quick else (5, settings_of(400, 600))
    data = diabetes(num_noise=0)
    x, y = np.asarray(data.x_train), np.asarray(data.y_train)
    rows, holds = [], True
    with compiled_once():
        for name, (ours, hand) in MODELS.items():
            sides = partial(by_us, ours, x, y, settings), partial(by_hand, hand, x, y, settings)
            pairs = []
            for seed in range(seeds):
                order = sides if seed % 2 == 0 else sides[::-1]
                found = [side(seed) for side in order]
                said_so(name)
                pairs.append(found if seed % 2 == 0 else found[::-1])
            rates = np.array([[run.ess / run.seconds for run in pair] for pair in pairs])
            ratio = float(np.median(rates[:, 0]) / np.median(rates[:, 1]))
            step = [[1e6 * run.seconds / run.num_gradients for run in pair] for pair in pairs]
            holds &= ratio >= TARGET
            rows.append(
                [
                    name,
                    *(spread(rates[:, side]) for side in (0, 1)),
                    f"{ratio:.3f}",
                    spread(rates[:, 0] / rates[:, 1]),
                    f"{np.median([us / them for us, them in step]):.3f}",
                    " / ".join(f"{np.max([pair[side].compiling for pair in pairs]):.1f}" for side in (0, 1)),
                    "yes" if ratio >= TARGET else "NO",
                ]
            )
    head = ["model", "ours, ESS/s", "by hand, ESS/s", "ratio of medians", "ratios", "seconds a gradient, ratio", "compilation, s", "holds"]
    said = (
        f"NUTS, 4 chains of {settings.num_warmup} + {settings.num_draws} iterations, {seeds} seeds. ESS: the least, bulk, of weights, bias "
        f"and sigma, of the network that of sigma and the function at {len(x[GRID])} rows. Target: at least {TARGET}.\n\n"
    )
    return Section(said + table(head, rows), holds)


def settings_of(num_warmup: int, num_draws: int) -> nuts.Settings:
    return nuts.Settings(num_warmup=num_warmup, num_draws=num_draws, chain_method="sequential", progress=False)


def by_us(model: Callable, x: np.ndarray, y: np.ndarray, settings: nuts.Settings, seed: int) -> Run:
    """What ``nuts.fit`` runs: a piece for the warm-up, whose call compiles, and one for the draws."""
    with ppl.engine.precision("float64", "cpu"):
        pieces = sampling(model, (x, y), seed, settings)
        compiling = next(pieces).seconds_compile
        start = time.process_time()
        piece = next(pieces)
        seconds = time.process_time() - start
        bound = partial(model, ppl)
        return _run(bound, (x, y), piece.values, int(piece.stats["n_steps"].sum()), seconds, compiling)


def by_hand(model: Callable, x: np.ndarray, y: np.ndarray, settings: nuts.Settings, seed: int) -> Run:
    bound = partial(model, numpyro, numpyro_dist, jnp)
    with ppl.engine.precision("float64", "cpu"):
        args = jnp.asarray(x), jnp.asarray(y)
        sampler = NUTS(bound, target_accept_prob=settings.target_accept_prob, max_tree_depth=settings.max_tree_depth)
        keys = jax.random.split(jax.random.PRNGKey(seed), settings.num_chains)
        begun = [sampler.init(key, settings.num_warmup, None, model_args=args, model_kwargs={}) for key in keys]
        states = jax.tree.map(lambda *leaves: jnp.stack(leaves), *begun)

        def iterate(count: int, args: tuple, state: Any) -> Any:
            constrain = sampler.get_constrain_fn(args, {})
            return fori_collect(
                0,
                count,
                lambda state: sampler.sample(state, args, {}),
                state,
                transform=lambda state: (constrain(state.z), state.num_steps),
                return_last_val=True,
                progbar=False,
            )

        start = time.perf_counter()
        warmup, draws = (
            jax.jit(lambda args, states, count=count: jax.lax.map(partial(iterate, count, args), states)).lower(args, states).compile()
            for count in (settings.num_warmup, settings.num_draws)
        )
        compiling = time.perf_counter() - start
        _, states = jax.block_until_ready(warmup(args, states))
        start = time.process_time()
        (values, steps), _ = jax.tree.map(np.asarray, draws(args, states))
        seconds = time.process_time() - start
        return _run(bound, args, values, int(steps.sum()), seconds, compiling)


def _run(model: Callable, args: tuple, values: Mapping[str, Any], num_gradients: int, seconds: float, compiling: float) -> Run:
    """The weights, which are deterministic sites, come after the clock has stopped."""

    def one(draw: Mapping[str, Any]) -> dict[str, Any]:
        trace = numpyro.handlers.trace(numpyro.handlers.substitute(numpyro.handlers.seed(model, 0), data=draw)).get_trace(*args)
        return {name: trace[name]["value"] for name in ("w1", "w2", "b1", "b2", "sigma") if name in trace}

    draws = {name: np.asarray(value) for name, value in jax.jit(jax.vmap(jax.vmap(one)))(dict(values)).items()}
    return Run(least_ess(common(draws, np.asarray(args[0]))), seconds, compiling, num_gradients)


def common(draws: Mapping[str, np.ndarray], x: np.ndarray) -> dict[str, np.ndarray]:
    """What both sides have and the data identify."""
    if "w2" not in draws:
        return {name: draws[name] for name in ("w1", "b1", "sigma")}
    hidden = np.tanh(x[GRID] @ draws["w1"] + draws["b1"][..., None, :])
    return {"mean": (hidden @ draws["w2"] + draws["b2"][..., None, :])[..., 0], "sigma": draws["sigma"]}
