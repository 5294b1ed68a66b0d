"""Gibbs sampling for gates: point spikes, dropout masks, stochastic depth, in which no gradient can move.

Collapsed, where the gated layer is linear-Gaussian: the gates are drawn with the layer's weights integrated out, the weights from their
normal law given the gates, all other sites (noise scale, hyper-parameters) by NUTS given both. Else NUTS within Gibbs: all continuous
sites by NUTS given the gates, the gates one by one or in blocks given the rest. Both draw from the posterior itself; in the collapsed
sampler a gate does not wait for its weight to lie where it may open, which makes about a hundred times as many effective draws per second.

Source: E. I. George and R. E. McCulloch, "Approaches for Bayesian variable selection", Statistica Sinica 7 (1997), section 3.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from scalemix.checks import check_positive_int
from scalemix.fitting import build_posterior, in_force, inspect, place
from scalemix.gated import check_gates, coupled_blocks, find_layer
from scalemix.inference import nuts
from scalemix.language import Structure
from scalemix.posterior import Posterior

if TYPE_CHECKING:
    from scalemix.language import PPL, NutsRun

__all__ = ["Settings", "fit"]

KINDS = ("auto", "collapsed", "nuts")
MOST_TOGETHER = 12  # 2¹² settings of one block


@dataclass(frozen=True, kw_only=True)
class Settings(nuts.Settings):
    """How to sample. The settings of NUTS are those of the steps that move all that is no gate.

    Other arguments as in ``scalemix.inference.nuts.Settings``.

    Args:
        kind: "collapsed" integrates the weights out, "nuts" samples them by NUTS, "auto" collapses where the model allows it.
        num_warmup: iterations before the kept ones; an iteration updates every gate. The first chain starts with all gates closed, the
            second with all open, the others where the prior puts them.
        block_size: gates drawn together; each gate with those most correlated with it, 2^block_size settings at a time.

    Raises: ValueError for a number or a choice out of range.
    """

    kind: str = "auto"
    num_warmup: int = 500
    block_size: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        check_positive_int("Settings(block_size=)", self.block_size)
        if self.block_size > MOST_TOGETHER:
            raise ValueError(
                f"Settings(block_size={self.block_size}) sums over 2^{self.block_size} settings: give {MOST_TOGETHER} or fewer"
            )
        if self.kind not in KINDS:
            raise ValueError(f"Settings(kind={self.kind!r}): give 'auto', 'collapsed' or 'nuts'")


def fit(
    ppl: PPL, model: Callable[..., Any], *data: Any, seed: int, settings: Settings | None = None, num_data: int | None = None
) -> Posterior:
    """Sample the posterior p(g, θ | y) ∝ p(y | g, θ) p(g, θ) of ``model(ppl, *data)``, whose discrete sites are gates g in {0, 1}.

    By turns from p(g | θ, y), with the gated weights integrated out where that can be done, and from p(θ | g, y): George and McCulloch
    (1997), section 3.

    Args:
        ppl: ``scalemix.pyro`` or ``scalemix.numpyro``.
        model: ``model(ppl, *data)``, e.g. ``functools.partial(scalemix.models.linear, prior=sm.SpikeAndSlab(0.3))``.
        data: arrays, data frames or dicts of arrays; the last one is the outcome.
        seed: a whole number; the same seed gives the same draws.
        settings: how; ``None`` for the defaults.
        num_data: the size of the whole data set if ``data`` is a part of it (scales the likelihood in ``ppl.data_plate``).

    Returns: draws (chain, draw, *event) of each site, gates as 0 and 1, with the sampler's statistics.

    Raises: ValueError for a model without gates or with other discrete sites, for kind="collapsed" where the log joint is not quadratic in
        the gated weights (the sentence says what is), for NUTS within Gibbs in Pyro, which lacks it, and for data that are not finite.
    """
    settings, _ = place(ppl, model, data, Settings() if settings is None else settings, seed=seed)
    with in_force(ppl, settings, num_data):
        arrays, structure = inspect(ppl, model, data, seed=seed, method="Gibbs sampling", gates=True)
        method, run = _sample(ppl, model, arrays, structure, seed, settings)
        return build_posterior(ppl, model, data, arrays, structure, run, method=method, seed=seed, settings=settings)


def _sample(ppl: PPL, model: Callable[..., Any], arrays: tuple, structure: Structure, seed: int, settings: Settings) -> tuple[str, NutsRun]:
    prior = check_gates(ppl, model, arrays, structure, seed=seed, method="Gibbs sampling")
    starts = _starts(prior, structure, settings.num_chains)
    if settings.kind != "nuts":
        layer, reason = find_layer(ppl, model, arrays, structure, prior, dtype=settings.dtype)
        if layer is not None:
            run = ppl.engine.collapsed_gibbs(model, arrays, layer, starts=starts, seed=seed, settings=settings)
            return "collapsed_gibbs", run
        if settings.kind == "collapsed":
            raise ValueError(f"the weights cannot be integrated out: {reason}; use Settings(kind='nuts')")
    gates = {name: structure.latents[name] for name in structure.discrete}
    if ppl.name != "numpyro":
        raise ValueError(
            "NUTS within Gibbs exists in NumPyro alone: pass scalemix.numpyro as ppl, sum up to 12 gates out by "
            "scalemix.inference.enumeration, or use a linear-Gaussian layer, which the collapsed sampler treats in both"
        )
    blocks = _blocks(ppl, model, arrays, gates, prior, settings.block_size)
    return "nuts_within_gibbs", ppl.engine.nuts_within_gibbs(model, arrays, gates, blocks, starts=starts, seed=seed, settings=settings)


def _starts(prior: dict[str, np.ndarray], structure: Structure, num_chains: int) -> np.ndarray:
    """First settings of the gates, (chains, K): all closed, all open, then as the prior draws them."""
    drawn = np.concatenate([prior[name].reshape(len(prior[name]), -1) for name in structure.discrete], axis=1).astype(float)
    return np.stack([np.zeros_like(drawn[0]), np.ones_like(drawn[0]), *(drawn[i % len(drawn)] for i in range(num_chains))])[:num_chains]


def _blocks(
    ppl: PPL, model: Callable[..., Any], arrays: tuple, gates: dict[str, tuple[int, ...]], prior: dict[str, np.ndarray], block_size: int
) -> np.ndarray:
    """Blocks of gates by the curvature of the log joint in gates that are let be real numbers, at draws of the prior."""
    num_gates = sum(int(np.prod(shape)) for shape in gates.values())
    if block_size == 1:
        return np.arange(num_gates)[:, None]
    points = {name: value for name, value in prior.items() if name not in gates}
    curvature = np.abs(ppl.engine.quadratic(model, arrays, gates)(points)[2])
    scale = np.sqrt(np.diagonal(curvature, axis1=1, axis2=2))
    norm = scale[:, :, None] * scale[:, None, :]
    return coupled_blocks(np.divide(curvature, norm, out=np.zeros_like(norm), where=norm > 0).mean(0), block_size)
