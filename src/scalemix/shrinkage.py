"""How hard a prior shrinks before any data are seen: the shrinkage factor κ and the effective number of weights.

In a linear regression with N cases, orthogonal columns of unit variance and noise variance σ², the posterior mean of a weight given its
scale s is (1 − κ) times its least-squares estimate, with

    κⱼ = 1 / (1 + N σ⁻² σ₀² sⱼ²),        m_eff = Σⱼ (1 − κⱼ)

(Piironen and Vehtari, 2017, "Sparsity information and regularization in the horseshoe and other shrinkage priors", section 2.2 and 3.3).
κ = 0 leaves a weight alone, κ = 1 puts it at 0. Under the horseshoe with N = σ = τ = 1, κ ~ Beta(½, ½): the shape that gave it its name.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from scalemix.checks import check_positive, check_positive_int
from scalemix.noise import Bernoulli, Constant, Noise
from scalemix.priors import ScaleMixture
from scalemix.tying import Factor, default_axes, noise_dims, noise_view

__all__ = ["draw_noise", "num_effective", "shrinkage_factor"]

Array = NDArray[np.float64]


def shrinkage_factor(
    prior: ScaleMixture,
    shape: int | Sequence[int] = (),
    *,
    num_draws: int = 1000,
    seed: int,
    num_data: int = 1,
    noise_scale: float = 1.0,
    axes: Sequence[str] | None = None,
) -> Array:
    """Draws of κ = 1/(1 + N σ⁻² σ₀² s²) for each weight of an array; tied weights share their scale in each draw.

    The posterior mean of a weight given its scale is 1 − κ times its least-squares estimate (orthogonal columns of unit variance):
    Piironen and Vehtari (2017), section 2.2.

    Args:
        prior: the law of the weights; ξ is drawn from it, once for each draw.
        shape: of the array of weights; ``()`` is one weight.
        num_draws: how many.
        seed: of the draws.
        num_data: N.
        noise_scale: σ, in the units of y (1 for a prior whose scale is multiplied by σ).
        axes: names of the array's axes; ("in",) and ("in", "out") by default.

    Returns: (num_draws, *shape).

    Raises: ValueError for a number that is not positive, an unknown axis, or an array of 3 or more dimensions without ``axes``; TypeError
        if it is not a prior.

    Example:
        >>> shrinkage_factor(Horseshoe(0.1), 50, seed=0, num_data=100).shape
        (1000, 50)
    """
    check_positive_int("num_data", num_data)
    check_positive("noise_scale", noise_scale)
    scales = _draw_scales(prior, shape, num_draws, seed, axes)
    return 1.0 / (1.0 + num_data * (scales / noise_scale) ** 2)


def num_effective(
    prior: ScaleMixture,
    shape: int | Sequence[int],
    *,
    num_draws: int = 1000,
    seed: int,
    num_data: int,
    noise_scale: float = 1.0,
    axes: Sequence[str] | None = None,
) -> Array:
    """Draws of the effective number of weights m_eff = Σⱼ (1 − κⱼ), (num_draws,): Piironen and Vehtari (2017), section 3.3.

    Arguments and errors as in :func:`shrinkage_factor`.

    Example:
        >>> num_effective(Horseshoe(expected_active=5, num_data=100), 50, seed=0, num_data=100).mean()
    """
    kappa = shrinkage_factor(prior, shape, num_draws=num_draws, seed=seed, num_data=num_data, noise_scale=noise_scale, axes=axes)
    return np.sum(1.0 - kappa.reshape(num_draws, -1), axis=1)


def _draw_scales(prior: ScaleMixture, shape: int | Sequence[int], num_draws: int, seed: int, axes: Sequence[str] | None) -> Array:
    """Draws of σ₀ s (or σ₀ s̃ with a slab) for each weight."""
    if not isinstance(prior, ScaleMixture):
        raise TypeError(f"{prior!r} is not a prior: give a ScaleMixture such as Laplace(1.0)")
    check_positive_int("num_draws", num_draws)
    shape = (shape,) if isinstance(shape, int) else tuple(shape)
    names = tuple(axes) if axes is not None else default_axes(shape)
    if len(names) != len(shape):
        raise ValueError(f"axes={names} do not name the dimensions of an array of shape {shape}: give one name for each")
    prior, rng = prior.resolve(dict(zip(names, shape, strict=True))), np.random.default_rng(seed)
    scales = np.ones((num_draws, *shape))
    for factor in prior.factors:
        scales = scales * np.abs(_draw_factor(factor, names, shape, num_draws, rng))
    if prior.slab is not None:
        slab = draw_noise(prior.slab, (num_draws, *(1 for _ in shape)), rng)
        scales = scales * slab / np.hypot(scales, slab)
    return prior.base_scale * scales


def _draw_factor(factor: Factor, names: tuple[str, ...], shape: tuple[int, ...], num_draws: int, rng: np.random.Generator) -> Array:
    """ξ in the shape in which it broadcasts against the weights; hyper-parameters that have a law are drawn first, each with its tying."""
    dims, noise = noise_dims(factor, names), factor.noise
    size = (num_draws, *noise_view(dims, names, shape))
    hyper = {}
    for field, law in noise.hyper_laws.items():
        hyper[field] = draw_noise(law.noise, (num_draws, *noise_view(noise_dims(law, dims), names, shape)), rng)
    if not hyper:
        return draw_noise(noise, size, rng)
    if isinstance(noise, Bernoulli):
        return np.where(rng.random(size) < hyper["inclusion_prob"], noise.high, noise.low)
    return draw_noise(noise.unfolded()[0], size, rng) * math.prod(hyper.values())


def draw_noise(noise: Noise, size: tuple[int, ...], rng: np.random.Generator) -> Array:
    """Independent draws of ξ."""
    return np.full(size, noise.value) if isinstance(noise, Constant) else noise.scipy().rvs(size=size, random_state=rng)
