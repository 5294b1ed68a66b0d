"""Likelihoods by name: from a network's output to the law of y, once for both languages.

| name            | y given the output f                 | further sites         |
|-----------------|--------------------------------------|-----------------------|
| ``gaussian``    | N(f, sigma²)                         | sigma ~ HalfNormal(1) |
| ``student_t``   | Student-t(df, f, sigma)              | sigma ~ HalfNormal(1) |
| ``bernoulli``   | Bernoulli(logit = f)                 | none                  |
| ``categorical`` | Categorical(logits = f), f of size K | none                  |
| ``poisson``     | Poisson(exp f)                       | none                  |

``Gaussian(scale=0.5)`` fixes sigma; ``Gaussian(prior_scale=2.0)`` widens its half-normal prior. Units are those of y.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from scalemix.checks import check_positive

if TYPE_CHECKING:
    from scalemix.language import PPL

__all__ = ["Bernoulli", "Categorical", "Gaussian", "Likelihood", "Poisson", "StudentT", "likelihood", "sample_outcome"]


@dataclass(frozen=True)
class Likelihood:
    """Law of y given the model's output f. ``has_scale``: it has an observation scale sigma (which scales a σ-scaled prior)."""

    has_scale: ClassVar[bool] = False

    def sigma(self, ppl: PPL) -> Any | None:
        """Sample (in the language ``ppl``) or fix the observation scale; ``None`` where the likelihood has none."""
        return None

    def law(self, ppl: PPL, output: Any, sigma: Any | None) -> Any:
        """Distribution, in the language ``ppl``, of y given the model's ``output`` f, (n,) or (n, K), and ``sigma``.

        Raises: TypeError if a subclass does not define it.
        """
        raise TypeError(f"{type(self).__name__} does not say the law of y: define law(ppl, output, sigma)")


@dataclass(frozen=True)
class Gaussian(Likelihood):
    """y ~ N(f, sigma²), sigma fixed to ``scale`` or ~ HalfNormal(prior_scale).

    Raises: ValueError if one of them is not positive.
    """

    scale: float | None = None
    prior_scale: float = 1.0
    has_scale: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_positive("the likelihood's prior_scale", self.prior_scale)
        if self.scale is not None:
            check_positive("the likelihood's scale", self.scale)

    def sigma(self, ppl: PPL) -> Any:
        return self.scale if self.scale is not None else ppl.sample("sigma", ppl.dist.HalfNormal(self.prior_scale))

    def law(self, ppl: PPL, output: Any, sigma: Any | None) -> Any:
        return ppl.dist.Normal(output, sigma)


@dataclass(frozen=True)
class StudentT(Gaussian):
    """y ~ Student-t(df, f, sigma), sigma fixed to ``scale`` or ~ HalfNormal(prior_scale): robust to outliers.

    Raises: ValueError if one of them is not positive.
    """

    df: float = 4.0

    def law(self, ppl: PPL, output: Any, sigma: Any | None) -> Any:
        return ppl.dist.StudentT(self.df, output, sigma)


@dataclass(frozen=True)
class Bernoulli(Likelihood):
    """y ∈ {0, 1}, P(y = 1) = 1/(1 + e^−f)."""

    def law(self, ppl: PPL, output: Any, sigma: Any | None) -> Any:
        return ppl.dist.Bernoulli(logits=output)


@dataclass(frozen=True)
class Categorical(Likelihood):
    """y ∈ {0, …, K − 1}, P(y = k) ∝ e^{f_k}."""

    def law(self, ppl: PPL, output: Any, sigma: Any | None) -> Any:
        return ppl.dist.Categorical(logits=output)


@dataclass(frozen=True)
class Poisson(Likelihood):
    """y ~ Poisson(e^f), y ∈ {0, 1, …}."""

    def law(self, ppl: PPL, output: Any, sigma: Any | None) -> Any:
        return ppl.dist.Poisson(ppl.exp(output))


NAMES = {
    "gaussian": Gaussian(),
    "student_t": StudentT(),
    "bernoulli": Bernoulli(),
    "categorical": Categorical(),
    "poisson": Poisson(),
}


def likelihood(name: str | Likelihood) -> Likelihood:
    """The likelihood of that ``name``, or the one given.

    Raises: ValueError for an unknown name.
    """
    if isinstance(name, Likelihood):
        return name
    if name not in NAMES:
        raise ValueError(f"unknown likelihood {name!r}: give one of {', '.join(map(repr, NAMES))} or a scalemix.likelihoods value")
    return NAMES[name]


def sample_outcome(ppl: PPL, law: Likelihood, output: Any, sigma: Any | None, x: Any, y: Any | None) -> Any:
    """The site ``y``: one independent outcome per row of x, observed where y is given.

    Args:
        ppl: ``scalemix.pyro`` or ``scalemix.numpyro``.
        law: the likelihood.
        output, sigma: f, and the observation scale (``None`` without one).
        x: its first axis is the cases.
        y: (n,), or ``None`` to draw it.

    Raises: ValueError if y is not one value per row (a column of shape (n, 1) against means of shape (n,) would make n² terms).
    """
    if y is not None and tuple(y.shape) != (x.shape[0],):
        raise ValueError(f"y has shape {tuple(y.shape)} and x has {x.shape[0]} rows: give y of shape ({x.shape[0]},), e.g. y.ravel()")
    with ppl.data_plate(x):
        return ppl.sample("y", law.law(ppl, output, sigma), obs=y)
