"""How to train."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from scalemix.checks import check_between, check_nonnegative, check_positive, check_positive_int
from scalemix.fitting import PrecisionSettings

__all__ = ["OPTIMIZERS", "SCHEDULES", "Settings"]

OPTIMIZERS = ("adam", "sgd")
SCHEDULES = ("constant", "linear", "cosine", "exponential")
NOISE_PARAMETERS = ("*_log_variance",)


@dataclass(frozen=True, kw_only=True)
class Settings(PrecisionSettings):
    """How to take gradient steps on loss = (N/B) Σ_batch −log p(y|θ) + kl_weight · KL, nats.

    Args:
        num_epochs: passes over the data.
        batch_size: B, rows of a minibatch; ``None`` takes all rows at each step. An iterable of batches has its own.
        last_batch: what becomes of the N mod B rows that a shuffled epoch leaves: "drop" leaves them out of this epoch, "smaller" makes a
            step of them.
        optimizer: "adam" (Kingma and Ba, 2015), "sgd", or a function of ``learning_rate=`` alone: what makes an optax transformation
            (``functools.partial(optax.adamw, weight_decay=1e-4)``) in NumPyro, of the parameters and ``lr=`` a torch.optim class in Pyro.
        learning_rate: the first rate.
        noise_learning_rate: of the noise's parameters; ``None`` for the same.
        noise_parameters: patterns of their names; ``None`` for those that the objective names, else "*_log_variance".
        schedule: of the rates over the whole run: "constant", "linear", "cosine" or "exponential".
        hold: fraction of the run in which the rates stay before they fall.
        decay: last rate over first; ``None`` for 0 ("linear", "cosine") or 0.01 ("exponential").
        kl_weight: factor of the KL at the end; any other than 1 is tempered.
        kl_schedule: (start, full), in epochs: the factor is 0 until the first and grows linearly to ``kl_weight`` at the second.
        clip_norm: largest Euclidean norm of a gradient, longer ones are scaled to it.
        num_particles: draws of the guide per gradient.
        check_every: epochs between two looks at the validation score or the ELBO window.
        patience: looks without a better validation score after which training stops; the best parameters are returned.
        elbo_window: epochs; training stops when the mean loss of the last window is not below that of the window before it.
        min_improvement: by how much a score or a mean loss has to fall to count as better.
        checkpoint_minutes: time between checkpoints in a folder; one is written at the end, too.
        compile: Pyro: compile the loss with torch.compile. "auto": where a C++ compiler is found and the steps are many enough to pay.
        dtype: "float32" or "float64".
        device: "cpu", "gpu", or "auto": the GPU if there is one and the model is large enough for it.
        progress: show a progress bar with loss and speed.

    Raises: ValueError for a number or a choice out of range.
    """

    num_epochs: int = 100
    batch_size: int | None = None
    last_batch: str = "drop"
    optimizer: str | Callable[..., Any] = "adam"
    learning_rate: float = 1e-3
    noise_learning_rate: float | None = None
    noise_parameters: tuple[str, ...] | None = None
    schedule: str = "constant"
    hold: float = 0
    decay: float | None = None
    kl_weight: float = 1.0
    kl_schedule: tuple[float, float] | None = None
    clip_norm: float | None = None
    num_particles: int = 1
    check_every: int = 1
    patience: int | None = None
    elbo_window: int | None = None
    min_improvement: float = 0
    checkpoint_minutes: float = 5.0
    compile: bool | str = "auto"
    dtype: str = "float32"

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("batch_size", "check_every", "patience", "elbo_window"):
            if getattr(self, name) is not None:
                check_positive_int(f"Settings({name}=)", getattr(self, name))
        for name in ("noise_learning_rate", "clip_norm"):
            if getattr(self, name) is not None:
                check_positive(f"Settings({name}=)", getattr(self, name))
        check_nonnegative("Settings(min_improvement=)", self.min_improvement)
        check_between("Settings(hold=)", self.hold, 0.0, 1.0)
        if self.last_batch not in ("drop", "smaller"):
            raise ValueError(f"Settings(last_batch={self.last_batch!r}): give 'drop' or 'smaller'")
        if self.schedule not in SCHEDULES:
            raise ValueError(f"Settings(schedule={self.schedule!r}): give one of {', '.join(map(repr, SCHEDULES))}")
        if not callable(self.optimizer) and self.optimizer not in OPTIMIZERS:
            raise ValueError(f"Settings(optimizer={self.optimizer!r}): give 'adam', 'sgd' or a function that makes an optimizer")
        if self.compile not in (True, False, "auto"):
            raise ValueError(f"Settings(compile={self.compile!r}): give True, False or 'auto'")
        if self.decay is not None:
            check_between("Settings(decay=)", self.decay, 0.0, 1.0)
            if self.schedule == "exponential" and self.decay == 0:
                raise ValueError("Settings(decay=0): an exponential schedule never reaches 0; give a number above 0, or schedule='linear'")
        if self.kl_schedule is not None:
            start, full = self.kl_schedule
            check_nonnegative("Settings(kl_schedule=) start", start)
            check_nonnegative("Settings(kl_schedule=) full", full)
            if not start <= full <= self.num_epochs:
                raise ValueError(
                    f"Settings(kl_schedule={self.kl_schedule!r}): give (start, full) with start <= full <= num_epochs={self.num_epochs}, "
                    "or the KL never has its full weight"
                )
