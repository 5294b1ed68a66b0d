"""When to stop before the last epoch: a validation score that no longer falls, or a loss that no longer falls from window to window."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from scalemix.training.settings import Settings

__all__ = ["Stopping"]


class Stopping:
    """Looks at scores and losses. While the weight of the KL still grows neither is compared: the objective is another one."""

    def __init__(self, settings: Settings, *, validated: bool) -> None:
        if settings.patience is not None and not validated:
            raise ValueError("Settings(patience=) counts looks at a validation score: give validation=, a function of the parameters")
        self.settings = settings
        self.best, self.best_epoch, self.since = math.inf, -1, 0
        self.best_params: dict[str, np.ndarray] | None = None

    @property
    def active(self) -> bool:
        return self.settings.patience is not None or self.settings.elbo_window is not None

    def look(self, epoch: int, score: float | None, losses: Sequence[float], params: Callable[[], dict[str, np.ndarray]]) -> str | None:
        """After ``epoch`` epochs: why to stop, or ``None``."""
        settings = self.settings
        grown = math.ceil(settings.kl_schedule[1]) if settings.kl_schedule else 0
        if epoch <= grown:
            return None
        if settings.patience is not None and score is not None:
            if score < self.best - settings.min_improvement:
                self.best, self.best_epoch, self.since, self.best_params = score, epoch, 0, params()
            else:
                self.since += 1
                if self.since >= settings.patience:
                    return (
                        f"the validation score has not fallen below {self.best:.6g}, that of epoch {self.best_epoch}, in {self.since} looks"
                    )
        window = settings.elbo_window
        if window is not None and epoch - grown >= 2 * window:
            before, now = float(np.mean(losses[-2 * window : -window])), float(np.mean(losses[-window:]))
            if not now < before - settings.min_improvement:
                return f"the mean loss of the last {window} epochs, {now:.6g}, is not below that of the {window} before, {before:.6g}"
        return None

    def numbers(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        return {"best": None if math.isinf(self.best) else self.best, "best_epoch": self.best_epoch, "since": self.since}

    def restore(self, numbers: dict[str, Any], params: dict[str, np.ndarray] | None) -> None:
        """Go on from a checkpoint."""
        self.best = math.inf if numbers["best"] is None else numbers["best"]
        self.best_epoch, self.since, self.best_params = numbers["best_epoch"], numbers["since"], params
