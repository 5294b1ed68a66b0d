"""The No-U-Turn sampler (Hoffman and Gelman, 2014) of the language, for any model with continuous latent sites.

Draws of the posterior itself: the reference against which the variational recipes are judged.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scalemix.posterior import Posterior
from scalemix.sampling import SamplingSettings, sample_posterior

if TYPE_CHECKING:
    from scalemix.language import PPL
    from scalemix.starts import Start

__all__ = ["Settings", "fit"]


@dataclass(frozen=True, kw_only=True)
class Settings(SamplingSettings):
    """How to sample.

    Args:
        num_warmup, num_draws, num_chains: iterations of each chain before the kept ones, kept ones, and chains.
        target_accept_prob: below 1; higher takes smaller steps, for posteriors with funnels.
        dense_mass: adapt a full mass matrix rather than a diagonal one.
        init: "uniform" (within ±2 on the unconstrained space) or "prior"; ``init_from`` of ``fit`` overrules it.
        chain_method: "auto", "parallel", "vectorized" or "sequential" (NumPyro; Pyro runs chains in sequence).
        dtype: "float64" or "float32".
        device: "cpu", "gpu", or "auto": the GPU if there is one and the model is large enough for it.
        progress: show a progress bar.
        max_tree_depth: at most 2^depth leapfrog steps per draw.

    Raises: ValueError for a number or a choice out of range.
    """

    max_tree_depth: int = 10


def fit(
    ppl: PPL,
    model: Callable[..., Any],
    *data: Any,
    seed: int,
    settings: Settings | None = None,
    num_data: int | None = None,
    init_from: Start = None,
    keep: Sequence[str] | None = None,
    drop: Sequence[str] | None = None,
    folder: str | Path | None = None,
    segment_draws: int | None = None,
    resume: bool = False,
) -> Posterior:
    """Sample the posterior p(θ | y) ∝ p(y | θ) p(θ) of ``model(ppl, *data)`` by the No-U-Turn sampler (Hoffman and Gelman, 2014).

    Args:
        ppl: ``scalemix.pyro`` or ``scalemix.numpyro``.
        model: ``model(ppl, *data)``, e.g. ``functools.partial(scalemix.models.linear, prior=sm.Laplace())``.
        data: arrays, data frames or dicts of arrays; the last one is the outcome.
        seed: a whole number; the same seed gives the same draws, bit by bit, with or without a folder, stopped and resumed or not.
        settings: how; ``None`` for the defaults.
        num_data: the size of the whole data set if ``data`` is a part of it (scales the likelihood in ``ppl.data_plate``).
        init_from: where chains start. "uniform" or "prior"; a point, site to value of the site's shape (or (chain, *shape), one for each
            chain; sites left out start uniformly); or a fitted ``Posterior`` of the same sites, of which each chain gets another draw.
        keep, drop: the sites, deterministic ones too, that are in the result, or that are not. A fit without all of the sampled sites
            cannot predict.
        folder: where the draws go as they come, in segments; memory then does not grow with their number. A killed run loses no segment
            that was written: ``Posterior.load(folder)`` reads what is there. At the end the folder has one file, posterior.nc, and the
            result's arrays are mapped from it.
        segment_draws: draws per chain in one segment; by default 1000, or as many as take 128 MB.
        resume: go on with the run in ``folder`` (or begin it, if there is none).

    Returns: draws (chain, draw, *event) of each site, with the sampler's statistics.

    Raises:
        ValueError: a model with discrete sites, data that are not finite numbers, settings out of range, a start outside the support, a
            result that fits neither memory nor disk, a folder that holds another run or a damaged one. One sentence with the remedy.
        OSError: the folder cannot be written to; the draws written so far are kept.
    """
    return sample_posterior(
        ppl,
        model,
        data,
        kernel="nuts",
        seed=seed,
        settings=Settings() if settings is None else settings,
        num_data=num_data,
        init_from=init_from,
        keep=keep,
        drop=drop,
        folder=folder,
        segment_draws=segment_draws,
        resume=resume,
    )
