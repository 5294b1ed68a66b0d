"""What somebody wants fitted to a data set: a network, a method, a prior; and from it the model and the recipe's settings."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from scalemix.catalog import weight_prior
from scalemix.family import FAMILY
from scalemix.jobs.compare import FAMILY_TRAINING, METHODS, SAMPLERS
from scalemix.jobs.supervised import Supervised
from scalemix.likelihoods import Categorical, Gaussian, Likelihood
from scalemix.priors import Normal, VariationalPrior
from scalemix.uci import UCI_SETS

__all__ = ["FIT_METHODS", "IN_FOLDER", "Wanted"]

FIT_METHODS = (*METHODS, *FAMILY)
STEPS = 10_000  # of a fit whose epochs are left open
BATCH = 128  # rows of a step where there are more than SMALL
SMALL = 2000
NUMBERS = 2e8  # numbers of one layer's activations at all draws and rows at once: 0.8 GB of float32
FILTERS, KERNEL = (20, 50), 5  # of images, where they are left open
IN_FOLDER = (*SAMPLERS, *FAMILY)  # recipes that keep checkpoints; the others begin anew


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What was asked for; ``None`` leaves it to the method. Everything in it goes into JSON.

    Attributes:
        method: a recipe of ``scalemix.inference``.
        network: units of each hidden layer (of the dense ones after convolutions).
        filters, kernel: of convolutions, for images.
        activation: "tanh", "relu" or "sigmoid".
        prior: a name of ``scalemix prior`` with its settings, "student-t df=4".
        backend: "numpyro" or "pyro".
        noise: known sd of a number as outcome, in sds of the target.
        epochs, batch_size, learning_rate: of training.
        draws, warmup, chains: draws of the posterior; of a sampler per chain.
        seed: of everything that is random.
        dtype: "float32" or "float64".
    """

    method: str
    network: tuple[int, ...] = (50,)
    filters: tuple[int, ...] | None = None
    kernel: int | None = None
    activation: str | None = None
    prior: str | None = None
    backend: str = "numpyro"
    noise: float | None = None
    epochs: int | None = None
    batch_size: int | None = None
    learning_rate: float | None = None
    draws: int | None = None
    warmup: int | None = None
    chains: int | None = None
    seed: int = 0
    dtype: str | None = None
    source: str = ""
    split: int | None = None
    classify: bool = False
    validation: float = 0.0

    def check(self, data: Supervised) -> None:
        """Raise ValueError for a combination that cannot be."""
        if self.method not in FIT_METHODS:
            raise ValueError(f"unknown method {self.method!r}: give --method one of {', '.join(FIT_METHODS)}")
        of_sampler = [name for name in ("warmup", "chains") if getattr(self, name) is not None]
        if of_sampler and self.method not in SAMPLERS:
            raise ValueError(f"--{of_sampler[0]} is of a sampler: leave it away with {self.method}, or give --method nuts")
        of_training = [name for name in ("epochs", "learning_rate") if getattr(self, name) is not None]
        if of_training and self.method in SAMPLERS:
            raise ValueError(f"--{of_training[0].replace('_', '-')} is of training: leave it away with {self.method}")
        if self.batch_size is not None and self.method not in FAMILY:
            raise ValueError(
                f"--batch-size: {self.method} takes all rows at once: leave it away, or give --method one of {', '.join(FAMILY)}"
            )
        if self.noise is not None and data.classes is not None:
            raise ValueError("--noise is of a number, and the target is a class: leave it away")
        of_images = [name for name in ("filters", "kernel") if getattr(self, name) is not None]
        if of_images and not data.images:
            raise ValueError(f"--{of_images[0]} is of images, and x is a table: leave it away, or give an npz file with x as images")
        self._prior()

    def model(self, data: Supervised) -> Callable[..., Any]:
        """The network as a model ``(ppl, x, y=None)``.

        Raises: ValueError for a prior that there is not.
        """
        from scalemix.models import lenet, mlp

        options = dict(FAMILY[self.method].model) if self.method in FAMILY else {}
        if self.activation is not None:
            options["activation"] = self.activation
        common = {
            "prior": self._prior(),
            "widths": self.network,
            "num_outputs": 1 if data.classes is None else len(data.classes),
            "likelihood": self.likelihood(data),
            **options,
        }
        if not data.images:
            return partial(mlp, **common)
        more = {"flatten": False} if self.method == "vib" else {}  # a gate per filter, which can then be dropped
        filters, kernel = self._convolutions()
        return partial(lenet, filters=filters, kernel=kernel, **common, **more)

    def settings(self, data: Supervised, *, checkpoint_minutes: float, progress: bool) -> Any:
        """Of the recipe.

        Raises: ValueError for a number out of range.
        """
        from scalemix import inference

        recipe = getattr(inference, self.method)
        if self.method in SAMPLERS:
            own = {"num_warmup": self.warmup, "num_draws": self.draws, "num_chains": self.chains, "dtype": self.dtype}
            return recipe.Settings(progress=progress, **{name: value for name, value in own.items() if value is not None})
        draws = self._num_draws(data) if self.draws is None else self.draws
        common = {"num_draws": draws, "dtype": self.dtype or "float32", "progress": progress}
        if self.method not in FAMILY:
            rate = {} if self.learning_rate is None else {"learning_rate": self.learning_rate}
            return recipe.Settings(num_steps=self.epochs or STEPS, **rate, **common)
        rows = len(data.train.y)
        batch = self.batch_size if self.batch_size is not None else BATCH if rows > SMALL else None
        epochs = self.epochs or math.ceil(STEPS / max(rows // min(batch or rows, rows), 1))
        rate = FAMILY_TRAINING["learning_rate"] if self.learning_rate is None else self.learning_rate
        trained = {**FAMILY_TRAINING, **FAMILY[self.method].settings, "learning_rate": rate}
        return recipe.Settings(num_epochs=epochs, batch_size=batch, checkpoint_minutes=checkpoint_minutes, **trained, **common)

    @property
    def prior_text(self) -> str:
        """Of the weights, before they are divided by √fan_in."""
        return str(self._prior())

    def _prior(self) -> Any:
        if self.prior is None:
            return FAMILY[self.method].prior if self.method in FAMILY else Normal()
        if not self.prior.strip():
            raise ValueError("--prior is empty: leave it away, or give one of those that `scalemix prior` lists")
        name, *settings = self.prior.split()
        for each in settings:
            if "=" not in each:
                raise ValueError(f"{each!r} is not a setting of the prior: give e.g. --prior '{name} scale=0.5'")
        prior = weight_prior(name, dict(each.split("=", 1) for each in settings))
        if isinstance(prior, VariationalPrior):
            treated = next(method for method, member in FAMILY.items() if type(member.prior) is type(prior))
            if self.method != treated:
                raise ValueError(f"--prior {name}: {prior.reason}: give --method {treated} with it, or a prior that {self.method} treats")
        return prior

    def _convolutions(self) -> tuple[tuple[int, ...], int]:
        return self.filters or FILTERS, self.kernel or KERNEL

    def _num_draws(self, data: Supervised) -> int:
        """As many as the activations at all rows leave room for: the posterior is evaluated at all rows of its fit."""
        x = data.train.x
        width = max(self.network, default=1)
        if data.images:
            filters, kernel = self._convolutions()
            height, wide = (max(size - kernel + 1, 1) for size in x.shape[1:3])
            width = max(width, height * wide * filters[0])
        return int(min(max(NUMBERS // (len(x) * width), 2), 200))

    def likelihood(self, data: Supervised) -> Likelihood:
        """Of a number or of a class."""
        return Gaussian(scale=self.noise) if data.classes is None else Categorical()

    def about(self, data: Supervised) -> str:
        """What is fitted, in words."""
        units = "-".join(map(str, (*self.network, 1 if data.classes is None else len(data.classes))))
        filters, kernel = self._convolutions()
        convolutions = f"{', '.join(map(str, filters))} filters of {kernel} × {kernel}, then " if data.images else ""
        noise = "learned noise" if self.noise is None else f"known noise of {self.noise:g} sd of the target"
        law = f"a normal likelihood with {noise}" if data.classes is None else "a categorical likelihood"
        split = f", split {self.split or 0}" if self.source in UCI_SETS else ""
        return (
            f"{self.source}{split}: a network of {convolutions}{units} units with {law} and the prior {self.prior_text} on its weights, "
            f"fitted by {self.method} in {self.backend}, seed {self.seed}."
        )
