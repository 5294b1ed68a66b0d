"""Training a guide by gradient steps: what is the same in both languages.

The steps themselves are taken in ``scalemix.pyro.training`` and ``scalemix.numpyro.training``; here stand the settings, the schedules as
numbers per step, the data as minibatches, early stopping, the checkpoints and the loop that holds them together.
"""

from __future__ import annotations

from scalemix.training.settings import Settings

__all__ = ["Settings"]
