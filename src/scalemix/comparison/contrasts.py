"""A fit against the reference of its prior: distances of marginals and of blocks, spreads, inclusion probabilities, each over its floor."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from scalemix.comparison.blocks import Blocks, blocks_of
from scalemix.comparison.distances import Kernel, gaussian_kernel, halves, mmd, sliced_wasserstein, wasserstein
from scalemix.comparison.inclusion import inclusion_draws

if TYPE_CHECKING:
    from scalemix.posterior import Posterior

__all__ = ["BlockContrast", "Contrast", "Measured", "Yardstick", "contrast", "yardstick"]

NAN = float("nan")


@dataclass(frozen=True)
class Measured:
    """A number, ``value``, and its Monte Carlo ``floor``, the same number between the two halves in time of the reference's draws."""

    value: float
    floor: float

    @property
    def times_floor(self) -> float:
        """value/floor; nan where both are 0."""
        return self.value / self.floor if self.floor > 0 else math.inf if self.value > 0 else NAN


@dataclass(frozen=True)
class BlockContrast:
    """One block of a fit against the reference.

    Attributes:
        marginal: mean over its entries of the 1-Wasserstein distance, units of the coefficients; of identified quantities sds of the
            reference.
        sliced: sliced 1-Wasserstein distance, same units.
        mmd: maximum mean discrepancy under the kernel of ``gaussian_kernel``, 0 to √2.
        inclusion: largest absolute difference of an inclusion probability; ``None`` without gates.
    """

    marginal: Measured
    sliced: Measured
    mmd: Measured
    inclusion: Measured | None


@dataclass(frozen=True)
class Contrast:
    """One fit against the reference of its prior, over all coefficients, or of a network over what is identified.

    Attributes:
        distance: mean 1-Wasserstein distance of the marginals, units of the coefficients; of identified quantities sds of the reference.
        floor: the same between two halves of the reference.
        sd_ratio: (k,) sd of the fit over sd of the reference.
        shift: (k,) difference of means over sd of the reference.
        sd_floor: the largest factor between the sds of a coefficient in two halves of the reference.
        blocks: by block.
        noun: what the k numbers are.
    """

    distance: float
    floor: float
    sd_ratio: np.ndarray
    shift: np.ndarray
    sd_floor: float
    blocks: dict[str, BlockContrast]
    noun: str = "coefficients"

    @property
    def times_floor(self) -> float:
        """distance/floor."""
        return self.distance / self.floor if self.floor > 0 else math.inf

    @property
    def sliced(self) -> Measured:
        """Of the block in which it is the most floors."""
        return _worst([block.sliced for block in self.blocks.values()])

    @property
    def mmd(self) -> Measured:
        """Of the block in which it is the most floors."""
        return _worst([block.mmd for block in self.blocks.values()])

    @property
    def inclusion(self) -> Measured | None:
        """Of the block in which it is the largest; ``None`` without gates."""
        found = [block.inclusion for block in self.blocks.values() if block.inclusion is not None]
        return max(found, key=lambda each: each.value) if found else None


@dataclass(frozen=True)
class Yardstick:
    """A reference made ready to measure by: its blocks, kernels and gates, and every floor, computed once for all fits of its prior."""

    posterior: Posterior
    raw: Blocks
    blocks: Blocks
    kernels: dict[str, Kernel]
    inclusion: dict[str, np.ndarray]
    marginal_floors: np.ndarray
    sd_floor: float
    sliced_floors: dict[str, float]
    mmd_floors: dict[str, float]
    inclusion_floors: dict[str, float]


def yardstick(reference: Posterior) -> Yardstick:
    """Everything of the ``reference`` that fits are measured by.

    Raises: ValueError if it has no coefficients.
    """
    raw, inclusion = blocks_of(reference), inclusion_draws(reference)
    blocks = raw.in_units_of(raw)
    kernels = {name: gaussian_kernel(draws) for name, draws in blocks.draws.items()}
    split = {name: halves(draws) for name, draws in blocks.draws.items()}
    sds = [half.std(axis=(0, 1)) for half in halves(blocks.joined)]
    moving = (sds[0] > 0) & (sds[1] > 0)
    return Yardstick(
        reference,
        raw,
        blocks,
        kernels,
        inclusion,
        wasserstein(*halves(blocks.joined)),
        float(np.exp(np.max(np.abs(np.log(sds[0][moving] / sds[1][moving])), initial=0.0))),
        {name: sliced_wasserstein(*pair) for name, pair in split.items()},
        {name: mmd(*pair, kernel=kernels[name]) for name, pair in split.items()},
        {name: _largest_difference(*halves(draws)) for name, draws in inclusion.items()},
    )


def contrast(posterior: Posterior, reference: Posterior | Yardstick) -> Contrast:
    """Compare the coefficients of two fits of one model; both must hold the reference's weight sites.

    Args:
        posterior: the fit to measure.
        reference: the posterior to measure against, or ``yardstick(it)``, which saves work where several fits are measured by one.

    Raises: ValueError if a site is missing or of another shape.
    """
    by = reference if isinstance(reference, Yardstick) else yardstick(reference)
    ours = blocks_of(posterior)
    for name in by.blocks.draws:
        if name not in ours.draws:
            raise ValueError(f"the fits share no site {name!r}: compare fits of one model")
        shapes = [(each.identified or each.draws)[name].shape[2:] for each in (posterior, by.posterior)]
        if shapes[0] != shapes[1]:
            raise ValueError(f"{name!r} has shapes {shapes[0]} and {shapes[1]}: compare fits of one model and one data set")
    ours = ours.in_units_of(by.raw)
    joined, theirs = ours.joined, by.blocks.joined
    sd = theirs.std(axis=(0, 1))
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = joined.std(axis=(0, 1)) / sd
        shift = (joined.mean(axis=(0, 1)) - theirs.mean(axis=(0, 1))) / sd
    distances = wasserstein(joined, theirs)
    inclusion, blocks, start = inclusion_draws(posterior), {}, 0
    for name, block in by.blocks.draws.items():
        part = slice(start, start := start + block.shape[-1])
        gates = inclusion.get(name), by.inclusion.get(name)
        blocks[name] = BlockContrast(
            Measured(float(distances[part].mean()), float(by.marginal_floors[part].mean())),
            Measured(sliced_wasserstein(ours.draws[name], block), by.sliced_floors[name]),
            Measured(mmd(ours.draws[name], block, kernel=by.kernels[name]), by.mmd_floors[name]),
            Measured(_largest_difference(*gates), by.inclusion_floors[name]) if gates[0] is not None and gates[1] is not None else None,
        )
    return Contrast(float(distances.mean()), float(by.marginal_floors.mean()), ratio, shift, by.sd_floor, blocks, by.blocks.noun)


def _largest_difference(first: np.ndarray, second: np.ndarray) -> float:
    """Of the means of draws (chain, draw, k)."""
    return float(np.max(np.abs(first.mean(axis=(0, 1)) - second.mean(axis=(0, 1)))))


def _worst(found: list[Measured]) -> Measured:
    """The one that is the most floors; of the reference against itself, whose numbers are 0, the largest floor."""
    return max(found, key=lambda each: (each.times_floor if each.times_floor == each.times_floor else -1.0, each.floor))
