"""How much an input of a sparse network matters: the mean probability of the paths that lead from it to the output; and which to keep.

ψ = (P⁽ᴸ⁺¹⁾ … P⁽¹⁾)ᵀ / Π_{l ≤ L} n_l, φ = (ψ − min ψ)/(max ψ − min ψ): Saha, Liu and Liang (2024), eq. 3.18 and 3.19. Their algorithm 2
keeps a part of the columns, those with the largest φ, and fits anew; how large a part, cross-validation says.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from scalemix.checks import check_positive_int
from scalemix.compress.beliefs import beliefs
from scalemix.compress.rules import Rule

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from matplotlib.figure import Figure

    from scalemix.posterior import Posterior

__all__ = ["Selection", "feature_importance", "feature_scores", "select_features"]

Fit = Callable[[Any, Any], "Posterior"]
FRACTIONS = (0.1, 0.2, 0.3, 0.5, 0.7, 1.0)


def feature_scores(inclusion_probs: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """ψ = (P⁽ᴸ⁺¹⁾ … P⁽¹⁾)ᵀ / Π_{l ≤ L} n_l, summed over outputs, and φ = (ψ − min ψ)/(max ψ − min ψ).

    Args:
        inclusion_probs: of each layer in turn, P (n_{l−1}, n_l) as the weights of ``models.mlp`` stand, probabilities that one is there.

    Returns: ψ and φ, (n₀,); φ is 0 where all ψ are equal.

    Raises: ValueError if the layers do not fit, or a number is no probability.

    Source: Saha, Liu and Liang (2024), eq. 3.18 and 3.19.
    """
    layers = [np.asarray(layer, dtype=float) for layer in inclusion_probs]
    shapes = [layer.shape for layer in layers]
    if not layers or any(len(shape) != 2 or 0 in shape for shape in shapes) or any(a[1] != b[0] for a, b in pairwise(shapes)):
        raise ValueError(f"feature_scores got layers of the shapes {', '.join(map(str, shapes))}: give matrices (in, out) in turn")
    if any(np.any((layer < 0) | (layer > 1) | np.isnan(layer)) for layer in layers):
        raise ValueError("feature_scores wants probabilities from 0 to 1 for each layer")
    paths = layers[0]
    for layer in layers[1:]:
        paths = paths @ layer
    psi = paths.sum(axis=1) / math.prod(layer.shape[1] for layer in layers[:-1])
    spread = psi.max() - psi.min()
    return psi, (psi - psi.min()) / spread if spread > 0 else np.zeros_like(psi)


def feature_importance(posterior: Posterior) -> tuple[np.ndarray, np.ndarray]:
    """ψ and φ of each input, by the inclusion probabilities of a ``posterior`` of ``models.mlp`` or ``models.linear``.

    Raises: ValueError for a posterior whose weights have no inclusion probabilities, or are no layers in turn.
    """
    known = beliefs(posterior)
    probs = {name: np.broadcast_to(value, known[name].mean.shape) for name, value in Rule("inclusion_prob").values(posterior).items()}
    return feature_scores([value[:, None] if value.ndim == 1 else value for value in probs.values()])


@dataclass(frozen=True, eq=False)
class Selection:
    """Which columns were kept, and how that was found.

    Attributes:
        names: of the columns.
        psi, phi: their scores in a fit of all rows and columns.
        fractions: that were tried.
        errors: (folds, fractions), of the rows held out.
        fraction: the one with the least mean error; of equals the smallest.
        kept: indices of the columns that are kept, in order.
        posterior: of all rows and these columns.
    """

    names: tuple[str, ...]
    psi: np.ndarray = field(repr=False)
    phi: np.ndarray = field(repr=False)
    fractions: tuple[float, ...]
    errors: np.ndarray = field(repr=False)
    fraction: float
    kept: np.ndarray
    posterior: Posterior = field(repr=False)

    def plot(self) -> Figure:
        """φ of each column, at most the first 40, those that are kept in blue; and the error at each fraction with its standard error.

        Raises: ImportError if matplotlib is not installed.
        """
        from scalemix.compress.importance_figure import plot_selection  # figures cost more to load than all the rest

        return plot_selection(self)


def select_features(
    fit: Fit,
    x: Any,
    y: Any,
    *,
    fractions: Sequence[float] = FRACTIONS,
    num_folds: int = 10,
    seed: int = 0,
    executor: Executor | None = None,
) -> Selection:
    """Keep the columns of x with the largest φ: the part of them with which a new fit predicts best, by cross-validation.

    In each fold φ comes from a fit to the fold's own training rows, and for each fraction a network of the columns it keeps is fitted to
    them and judged by the rows held out: (1 + number of fractions below 1) fits a fold. Columns are ranked by φ, equals by their order.

    Args:
        fit: ``fit(x, y)`` → posterior whose weights have inclusion probabilities, e.g. by ``inference.spike_slab``, for any columns.
        x: (n, p), an array or a data frame, columns standardized.
        y: (n,).
        fractions: of the columns, from above 0 to 1; of p columns round(fraction · p) are kept, at least one.
        num_folds: of the cross-validation, at least 2.
        seed: of the folds.
        executor: of ``concurrent.futures``, to fit the folds side by side; ``fit`` has to be such that it can be sent there.

    Returns: what was kept, the scores, the errors (mean squared errors, of classes the share that is wrong), and the fit to what was kept.

    Raises: ValueError for numbers out of range, or a fit without inclusion probabilities.

    Example:
        >>> fit = lambda x, y: spike_slab.fit(ppl, model, x, y, seed=0)
        >>> selection = select_features(fit, x, y, num_folds=5)
        >>> selection.kept, selection.plot()

    Source: Saha, Liu and Liang (2024), algorithm 2.
    """
    names = tuple(map(str, getattr(x, "columns", range(np.shape(x)[1] if np.ndim(x) == 2 else 0))))
    x, y, parts = np.asarray(x), np.asarray(y), tuple(sorted({float(part) for part in fractions}))
    if x.ndim != 2 or not len(names) or len(x) != len(y):
        raise ValueError(f"select_features got x of shape {x.shape} and y of shape {y.shape}: give (n, p) and (n,)")
    if not parts or not 0.0 < parts[0] <= parts[-1] <= 1.0:
        raise ValueError(f"select_features(fractions={tuple(fractions)!r}): give numbers above 0 and at most 1")
    check_positive_int("select_features(num_folds=)", num_folds)
    if not 2 <= num_folds <= len(y):
        raise ValueError(f"select_features(num_folds={num_folds}) for {len(y)} rows: give 2 to {len(y)}")
    folds = np.array_split(np.random.default_rng(seed).permutation(len(y)), num_folds)
    run = map if executor is None else executor.map
    errors = np.array(list(run(_Fold(fit, x, y, parts), folds)))
    fraction = parts[int(errors.mean(axis=0).argmin())]
    whole = fit(x, y)
    psi, phi = feature_importance(whole)
    kept = _best(phi, fraction)
    return Selection(names, psi, phi, parts, errors, fraction, kept, whole if fraction == 1.0 else fit(x[:, kept], y))


@dataclass(frozen=True)
class _Fold:
    """A class and no closure, for it goes to other processes."""

    fit: Fit
    x: np.ndarray
    y: np.ndarray
    fractions: tuple[float, ...]

    def __call__(self, held: np.ndarray) -> list[float]:
        """The error of the rows ``held`` at each fraction."""
        rest = np.setdiff1d(np.arange(len(self.y)), held)
        whole = self.fit(self.x[rest], self.y[rest])
        _, phi = feature_importance(whole)
        return [self._error(whole, phi, part, rest, held) for part in self.fractions]

    def _error(self, whole: Posterior, phi: np.ndarray, part: float, rest: np.ndarray, held: np.ndarray) -> float:
        kept = _best(phi, part)
        posterior = whole if len(kept) == len(phi) else self.fit(self.x[np.ix_(rest, kept)], self.y[rest])
        predicted = posterior.predict(self.x[np.ix_(held, kept)], seed=0, noise=posterior.noise_of_new_rows).mean
        if predicted.ndim == 2:
            return float(np.mean(predicted.argmax(axis=1) != self.y[held]))
        return float(np.mean(np.square(predicted - self.y[held])))


def _best(phi: np.ndarray, fraction: float) -> np.ndarray:
    """Indices of the columns with the largest φ, in order."""
    return np.sort(np.argsort(-phi, kind="stable")[: max(1, round(fraction * len(phi)))])
