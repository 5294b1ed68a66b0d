"""Gibbs sampling of gates in NumPyro. Contracts: ``scalemix.language.Engine``; the recipe a user calls is ``scalemix.inference.gibbs``.

Collapsed: the gates of a linear-Gaussian layer with its weights integrated out, then the weights given the gates; what remains (noise
scale, hyper-parameters) moves by NUTS given both. Not collapsed: NUTS for all that is continuous, and the gates given it. The two take
turns by NumPyro's own HMCGibbs. (Its DiscreteHMCGibbs does not take a site whose event is a vector of gates.)
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpyro.infer import MCMC, NUTS, HMCGibbs

from scalemix.gate_sweep import Blocks, Forms, block_update, form_at, make_blocks, make_forms, padded, updated_inverse
from scalemix.gated import GatedLayer, split_gates
from scalemix.language import Model, NutsRun
from scalemix.numpyro.compiling import compile_clock
from scalemix.numpyro.mcmc import INITS, chain_method

__all__ = ["collapsed_gibbs", "log_joint", "nuts_within_gibbs", "quadratic"]

Values = dict[str, Any]
CHUNK = 64


def quadratic(model: Model, data: tuple, weights: dict[str, tuple[int, ...]]) -> Callable[[dict[str, np.ndarray]], tuple]:
    from scalemix.numpyro.data import arrays as as_arrays

    return _in_chunks(_quadratic_at(_log_joint(model, as_arrays(data)), weights))


def log_joint(model: Model, data: tuple) -> Callable[[dict[str, np.ndarray]], np.ndarray]:
    from scalemix.numpyro.data import arrays as as_arrays

    return _in_chunks(_log_joint(model, as_arrays(data)))


def _in_chunks(function: Callable[[Values], Any]) -> Callable[[dict[str, np.ndarray]], Any]:
    """``function`` of many points, CHUNK at a time: one program, whatever their number."""
    many = jax.jit(jax.vmap(function))

    def at(points: dict[str, np.ndarray]) -> Any:
        count = len(next(iter(points.values())))
        rows = [np.minimum(np.arange(start, start + CHUNK), count - 1) for start in range(0, count, CHUNK)]
        parts = [jax.tree.map(np.asarray, many({name: np.asarray(value)[row] for name, value in points.items()})) for row in rows]
        return jax.tree.map(lambda *pieces: np.concatenate(pieces)[:count], *parts)

    return at


def collapsed_gibbs(model: Model, data: tuple, layer: GatedLayer, *, starts: np.ndarray, seed: int, settings: Any) -> NutsRun:
    from scalemix.numpyro.data import arrays as as_arrays

    arrays = as_arrays(data)
    start = time.perf_counter()
    with compile_clock() as clock:
        forms_at = _forms_at(_log_joint(model, arrays), layer)
        sweep = _sweep(layer, settings.block_size)
        if layer.others:
            method, draws, stats = _with_nuts(model, arrays, layer, forms_at, sweep, starts, seed, settings)
        else:
            method, draws, stats = "vectorized", _alone(layer, jax.jit(forms_at)({}), sweep, starts, seed, settings), {}
    seconds = time.perf_counter() - start
    return NutsRun(draws, stats, method, clock.seconds, max(seconds - clock.seconds, 0.0))


def nuts_within_gibbs(
    model: Model, data: tuple, gates: dict[str, tuple[int, ...]], blocks: np.ndarray, *, starts: np.ndarray, seed: int, settings: Any
) -> NutsRun:
    from scalemix.numpyro.data import arrays as as_arrays

    arrays = as_arrays(data)
    kernel = HMCGibbs(_nuts(model, settings), _block_step(_log_joint(model, arrays), gates, blocks), list(gates))
    start = time.perf_counter()
    with compile_clock() as clock:
        method, draws, stats = _run(kernel, arrays, _gate_starts(gates, starts), seed, settings)
    seconds = time.perf_counter() - start
    return NutsRun(draws, stats, method, clock.seconds, max(seconds - clock.seconds, 0.0))


# --- the quadratic form ----------------------------------------------------------------------------------------------------------------


def _log_joint(model: Model, arrays: tuple) -> Callable[[Values], Any]:
    ppl = sys.modules["scalemix.numpyro"]
    return lambda values: ppl.log_density(model, values, *arrays)


def _quadratic_at(log_joint: Callable[[Values], Any], weights: dict[str, tuple[int, ...]]) -> Callable[[Values], tuple]:
    size = sum(int(np.prod(shape)) for shape in weights.values())

    def at(values: Values) -> tuple:
        def along(beta: Any) -> Any:
            return log_joint(values | split_gates(weights, beta))

        constant, linear = jax.value_and_grad(along)(jnp.zeros(size))
        precision = -jax.hessian(along)(jnp.zeros(size))
        return constant, linear, 0.5 * (precision + precision.T)

    return at


def _forms_at(log_joint: Callable[[Values], Any], layer: GatedLayer) -> Callable[[Values], Forms]:
    """The quadratic form at θ for every setting of the gates."""
    quadratic_at = _quadratic_at(log_joint, layer.weights)
    nothing = split_gates(layer.weights, jnp.zeros(layer.num_weights))

    def at(others: Values) -> Forms:
        def constant(gates: Any) -> Any:
            return log_joint(others | nothing | split_gates(layer.gates, gates))

        zeros = jnp.zeros(layer.num_gates)
        return make_forms(
            lambda gates: quadratic_at(others | split_gates(layer.gates, gates)),
            lambda: jax.vmap(constant)(jnp.eye(layer.num_gates)),
            zeros,
            zeros + 1.0,
        )

    return at


# --- the collapsed sweep ---------------------------------------------------------------------------------------------------------------


def _sweep(layer: GatedLayer, block_size: int) -> Callable[[Any, Any, Forms], tuple[Any, Any]]:
    """(key, gates, forms) to new gates (K,) and weights (D,): each block given the others, then the weights given all."""
    from scalemix.gated import coupled_blocks

    blocks = make_blocks(layer, coupled_blocks(layer.coupling, block_size))
    size = blocks.owners.shape[0]
    dtype = jnp.result_type(float)
    owners = jnp.asarray(blocks.owners, dtype)
    one_hot = jnp.asarray(np.eye(size)[blocks.weights], dtype)
    configurations = jnp.asarray(blocks.settings, dtype)
    steps = Blocks(jnp.asarray(blocks.gates), None, jnp.asarray(blocks.weights), jnp.asarray(blocks.rest, dtype), None)

    def sweep(key: Any, gates: Any, forms: Forms) -> tuple[Any, Any]:
        forms = padded(jnp, forms, size)
        key_gates, key_weights = jax.random.split(key)
        noise = jax.random.gumbel(key_gates, (len(blocks.gates), len(blocks.settings)))

        def step(carry: tuple, each: tuple) -> tuple[tuple, None]:
            gates, inverse = carry
            block, pick, gumbel = each
            proposals = jnp.broadcast_to(gates, (len(blocks.settings), len(gates))).at[:, block.gates].set(configurations)
            update = block_update(jnp, forms, owners, inverse, proposals, block.weights, block.rest)
            choice = jnp.argmax(update.log_weights + gumbel)
            return (proposals[choice], updated_inverse(update, choice, pick)), None

        inverse = jnp.linalg.inv(form_at(jnp, forms, owners, gates)[2])
        (gates, _), _ = jax.lax.scan(step, (gates, inverse), (steps, one_hot, noise))
        _, linear, precision = form_at(jnp, forms, owners, gates)
        root = jnp.linalg.cholesky(precision)
        whitened = jax.scipy.linalg.solve_triangular(root, linear, lower=True) + jax.random.normal(key_weights, (size,))
        return gates, jax.scipy.linalg.solve_triangular(root.T, whitened, lower=False)[: layer.num_weights]

    return sweep


def _alone(
    layer: GatedLayer, forms: Forms, sweep: Callable[..., tuple[Any, Any]], starts: np.ndarray, seed: int, settings: Any
) -> dict[str, np.ndarray]:
    """Sweeps alone, all chains at once, where gates and weights are all there is."""

    @jax.jit
    def run(forms: Forms, keys: Any, starts: Any) -> tuple[Any, Any]:
        def step(gates: Any, keys: Any) -> tuple[Any, tuple[Any, Any]]:
            gates, beta = jax.vmap(lambda key, gate: sweep(key, gate, forms))(keys, gates)
            return gates, (gates, beta)

        gates, _ = jax.lax.scan(lambda g, k: (step(g, k)[0], None), starts, keys[: settings.num_warmup])
        return jax.lax.scan(step, gates, keys[settings.num_warmup :])[1]

    count = settings.num_warmup + settings.num_draws
    keys = jax.random.split(jax.random.PRNGKey(seed), (count, settings.num_chains))
    gates, beta = jax.block_until_ready(run(forms, keys, jnp.asarray(starts, jnp.result_type(float))))
    chained = {
        **split_gates(layer.gates, np.swapaxes(np.asarray(gates), 0, 1)),
        **split_gates(layer.weights, np.swapaxes(np.asarray(beta), 0, 1)),
    }
    return {name: value.astype(int) if name in layer.gates else value for name, value in chained.items()}


def _with_nuts(
    model: Model,
    arrays: tuple,
    layer: GatedLayer,
    forms_at: Callable[[Values], Forms],
    sweep: Callable[..., tuple[Any, Any]],
    starts: np.ndarray,
    seed: int,
    settings: Any,
) -> tuple[str, dict[str, np.ndarray], dict[str, np.ndarray]]:
    def step(*, rng_key: Any, gibbs_sites: Values, hmc_sites: Values) -> Values:
        others = {name: hmc_sites[name] for name in layer.others}
        gates = jnp.concatenate([jnp.ravel(gibbs_sites[name]) for name in layer.gates]).astype(jnp.result_type(float))
        gates, beta = sweep(rng_key, gates, forms_at(others))
        values = {**split_gates(layer.gates, gates), **split_gates(layer.weights, beta)}
        return {name: value.astype(gibbs_sites[name].dtype) for name, value in values.items()}

    kernel = HMCGibbs(_nuts(model, settings), step, [*layer.gates, *layer.weights])
    return _run(kernel, arrays, _gate_starts(layer.gates, starts), seed, settings)


ARVIZ_NAMES = {
    "energy": "energy",
    "diverging": "diverging",
    "num_steps": "n_steps",
    "accept_prob": "acceptance_rate",
    "adapt_state.step_size": "step_size",
}

# --- NumPyro's machinery ---------------------------------------------------------------------------------------------------------------


def _nuts(model: Model, settings: Any) -> NUTS:
    return NUTS(
        partial(model, sys.modules["scalemix.numpyro"]),
        target_accept_prob=settings.target_accept_prob,
        max_tree_depth=settings.max_tree_depth,
        dense_mass=settings.dense_mass,
        init_strategy=INITS[settings.init],
    )


def _block_step(log_joint: Callable[[Values], Any], gates: dict[str, tuple[int, ...]], blocks: np.ndarray) -> Callable[..., Values]:
    """Gibbs step of NumPyro's HMCGibbs: each block of gates from its law given all else, summed over the block's settings."""
    from scalemix.gate_sweep import all_settings

    settings = jnp.asarray(all_settings(blocks.shape[1]))

    def step(*, rng_key: Any, gibbs_sites: Values, hmc_sites: Values) -> Values:
        dtypes = {name: gibbs_sites[name].dtype for name in gates}

        def at(setting: Any) -> Any:
            values = split_gates(gates, setting)
            return log_joint({**hmc_sites, **{name: value.astype(dtypes[name]) for name, value in values.items()}})

        def update(current: Any, each: tuple) -> tuple[Any, None]:
            block, key = each
            proposals = jnp.broadcast_to(current, (len(settings), len(current))).at[:, block].set(settings.astype(current.dtype))
            return proposals[jax.random.categorical(key, jax.vmap(at)(proposals))], None

        current = jnp.concatenate([jnp.ravel(gibbs_sites[name]) for name in gates]).astype(jnp.result_type(float))
        keys = jax.random.split(rng_key, len(blocks))
        current, _ = jax.lax.scan(update, current, (jnp.asarray(blocks), keys))
        return {name: value.astype(dtypes[name]) for name, value in split_gates(gates, current).items()}

    return step


def _gate_starts(gates: dict[str, tuple[int, ...]], starts: np.ndarray) -> Values:
    """First values of the gates: with a chain in front where there are several."""
    values = {name: jnp.asarray(value.astype(int)) for name, value in split_gates(gates, starts).items()}
    return values if len(starts) > 1 else {name: value[0] for name, value in values.items()}


def _run(kernel: Any, arrays: tuple, starts: Values, seed: int, settings: Any) -> tuple[str, dict[str, np.ndarray], dict[str, np.ndarray]]:
    method = chain_method(settings.chain_method, settings.num_chains)[0]
    if method == "parallel" and settings.num_chains > jax.local_device_count():
        method = "sequential"  # NumPyro's driver wants a device for each chain
    one_after_the_other = partial(partial, jax.lax.map)  # NumPyro's own "sequential" compiles the same loop anew for each chain
    programs = {"vectorized": jax.vmap, "sequential": method if settings.progress else one_after_the_other}
    mcmc = MCMC(
        kernel,
        num_warmup=settings.num_warmup,
        num_samples=settings.num_draws,
        num_chains=settings.num_chains,
        chain_method=programs.get(method, method),
        progress_bar=settings.progress,
    )
    fields = tuple(f"hmc_state.{name}" for name in ARVIZ_NAMES)
    mcmc.run(jax.random.PRNGKey(seed), *arrays, init_params=starts, extra_fields=fields)
    states = jax.block_until_ready(mcmc.get_samples(group_by_chain=True))
    found = {name.removeprefix("hmc_state."): np.asarray(value) for name, value in mcmc.get_extra_fields(group_by_chain=True).items()}
    stats = {ARVIZ_NAMES[name]: value for name, value in found.items()}
    stats["tree_depth"] = np.floor(np.log2(np.maximum(stats["n_steps"], 1))).astype(int) + 1
    return method, {name: np.asarray(value) for name, value in states.items()}, stats
