"""Learning rates and the weight of the KL as numbers per step, from the epochs that are done (with a fraction inside an epoch).

``xp`` is ``jax.numpy`` where the epochs are traced; numbers (which NumPy's own functions would make slow) are the default.
"""

from __future__ import annotations

import math
from fnmatch import fnmatchcase
from types import SimpleNamespace
from typing import Any

from scalemix.training.settings import NOISE_PARAMETERS, Settings

__all__ = ["kl_weight", "noise_names", "rate_factor", "rates"]

numbers = SimpleNamespace(
    clip=lambda x, low, high: min(max(x, low), high),
    cos=math.cos,
    where=lambda condition, x, y: x if condition else y,
)


def rate_factor(settings: Settings, epochs: Any, xp: Any = numbers) -> Any:
    """The rate over its first value after ``epochs`` of T = num_epochs: 1 up to hold · T, then with u from 0 to 1

    linear: 1 − (1 − decay) u; cosine: decay + (1 − decay) (1 + cos πu)/2; exponential: decay^u.
    """
    if settings.schedule == "constant" or settings.hold >= 1:
        return 1.0
    held = settings.hold * settings.num_epochs
    u = xp.clip((epochs - held) / (settings.num_epochs - held), 0.0, 1.0)
    if settings.schedule == "exponential":
        return (0.01 if settings.decay is None else settings.decay) ** u
    decay = settings.decay or 0.0
    if settings.schedule == "linear":
        return 1.0 - (1.0 - decay) * u
    return decay + (1.0 - decay) * 0.5 * (1.0 + xp.cos(math.pi * u))


def rates(settings: Settings, epochs: Any, xp: Any = numbers) -> tuple[Any, Any]:
    """Learning rate of the weights and of the noise's parameters."""
    factor = rate_factor(settings, epochs, xp)
    noise = settings.learning_rate if settings.noise_learning_rate is None else settings.noise_learning_rate
    return settings.learning_rate * factor, noise * factor


def kl_weight(settings: Settings, epochs: Any, xp: Any = numbers) -> Any:
    """kl_weight · min(1, max(0, (epochs − start) / (full − start)))."""
    if settings.kl_schedule is None:
        return settings.kl_weight
    start, full = settings.kl_schedule
    if start == full:
        return settings.kl_weight * xp.where(epochs < full, 0.0, 1.0)
    return settings.kl_weight * xp.clip((epochs - start) / (full - start), 0.0, 1.0)


def noise_names(settings: Settings, objective: Any) -> frozenset[str]:
    """The parameters that take ``noise_learning_rate``.

    Raises: ValueError if that rate is given and there are none, or a pattern fits none.
    """
    patterns = settings.noise_parameters
    if patterns is None:
        patterns = tuple(getattr(objective, "noise_parameters", NOISE_PARAMETERS))
    elif missing := [pattern for pattern in patterns if not any(fnmatchcase(name, pattern) for name in objective.params)]:
        raise ValueError(f"Settings(noise_parameters=): {missing[0]!r} fits none of the parameters {', '.join(objective.params)}")
    found = frozenset(name for name in objective.params if any(fnmatchcase(name, pattern) for pattern in patterns))
    if settings.noise_learning_rate is not None and not found:
        raise ValueError(
            f"Settings(noise_learning_rate=) has no parameter to take it (there are {', '.join(objective.params)}): name them in "
            "noise_parameters=, or leave the rate away"
        )
    return found
