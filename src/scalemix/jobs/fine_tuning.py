"""Further training of a network of layers, as plain weights: what a smaller network has lost by shrinking it can win back in part.

minimize −(1/N) Σ log p(y | network(x)),    weights that are 0 stay 0
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from scalemix.compress.layer_text import described, read_layers
from scalemix.compress.layers import Layer, apply_layers
from scalemix.training import Settings

if TYPE_CHECKING:
    from scalemix.language import PPL
    from scalemix.likelihoods import Likelihood

__all__ = ["fine_tuned"]


def fine_tuned(
    ppl: PPL,
    layers: Sequence[Layer],
    inputs: np.ndarray | None,
    x: np.ndarray,
    y: np.ndarray,
    *,
    likelihood: Likelihood,
    sigma: float | None,
    settings: Settings,
    seed: int,
    folder: Path | None = None,
) -> list[Layer]:
    """The ``layers`` after training.

    Args:
        ppl: ``scalemix.pyro`` or ``scalemix.numpyro``.
        layers, inputs: of the network, as for ``ppl.build``.
        x, y: the rows to train on.
        likelihood: of y given the network's output.
        sigma: its observation scale, which stays; ``None`` where it has none.
        settings: how to train.
        seed: of the order of the rows.
        folder: of checkpoints, from which a training that was killed goes on.

    Raises: FloatingPointError where training ceases to be finite.
    """
    with ppl.engine.precision(settings.dtype, settings.device):
        objective = _LogLoss(ppl, layers, inputs, likelihood, sigma, settings.dtype)
        run = ppl.engine.train(
            objective, (x.astype(settings.dtype), _outcome(y, settings)), settings, seed=seed, folder=folder, resume=folder is not None
        )
    return list(read_layers(objective.told, run.params))


def _outcome(y: np.ndarray, settings: Settings) -> np.ndarray:
    return y.astype(settings.dtype) if y.dtype.kind == "f" else y


class _LogLoss:
    """``params`` and ``loss`` for ``ppl.engine.train``: nats over all rows."""

    compilable = False

    def __init__(
        self, ppl: PPL, layers: Sequence[Layer], inputs: np.ndarray | None, likelihood: Likelihood, sigma: float | None, dtype: str
    ) -> None:
        self.ppl, self.layers, self.inputs, self.likelihood, self.sigma = ppl, layers, inputs, likelihood, sigma
        self.arrays: dict[str, np.ndarray] = {}
        self.told = described(layers, self.arrays)
        self.params = {name: ppl.array(np.asarray(value, dtype=dtype)) for name, value in self.arrays.items()}
        # A number that is 0 in a matrix has no gradient, and no step moves it; biases may come back.
        self.masks = {name: (value != 0 if value.ndim > 1 else np.ones(value.shape)).astype(dtype) for name, value in self.arrays.items()}

    def loss(self, params: dict[str, Any], batch: tuple, key: Any, kl_weight: Any, num_data: int) -> tuple[Any, dict[str, Any]]:
        """−(N/B) Σ log p(y | network(x)), and that there is no divergence."""
        x, y = batch
        arrays = {id(self.arrays[name]): value * self.ppl.array(self.masks[name]) for name, value in params.items()}
        output = apply_layers(self.ppl, self.layers, x, inputs=self.inputs, arrays=arrays)
        if self.sigma is not None:
            output = output[..., 0]
        nll = -num_data * self.likelihood.law(self.ppl, output, self.sigma).log_prob(y).mean()
        return nll, {"nll": nll, "kl": 0.0 * nll}
