"""What a model, guide or recipe may use of a probabilistic language: the names shared by ``scalemix.pyro`` and ``scalemix.numpyro``.

A model is a function ``model(ppl, x, y=None, ...)``; ``ppl`` is one of the two modules, passed as an ordinary argument. This file is the
one place where the contract of each shared name is written; a test holds both modules to it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from scalemix.lower import Site
from scalemix.plan import Parametrization
from scalemix.priors import ScaleMixture

__all__ = ["PPL", "Engine", "Evaluation", "NutsRun", "Piece", "Predictive", "Structure", "SviRun", "kitchens", "native", "num_data_scope"]

Model = Callable[..., Any]
kitchens: dict[str, PPL] = {}
"""The languages that have been imported, by name: each registers itself, so that core can find it without importing it."""

num_data_scope: ContextVar[int | None] = ContextVar("scalemix_num_data", default=None)
"""Total number of data of which a recipe's data are a minibatch; ``data_plate`` scales the log likelihood by num_data / len(data)."""


def native(model: Model) -> Model:
    """A plain Pyro or NumPyro model (or guide) ``fn(*data)`` as one for scalemix's recipes, ``fn(ppl, *data)``."""

    def adapted(ppl: PPL, *args: Any, **kwargs: Any) -> Any:
        return model(*args, **kwargs)

    adapted.__name__ = getattr(model, "__name__", "model")
    return adapted


@dataclass
class Structure:
    """What one run of a model shows: its sites, in order, with the shapes of one draw."""

    latents: dict[str, tuple[int, ...]]
    discrete: tuple[str, ...]
    deterministics: dict[str, tuple[int, ...]]
    observed: dict[str, tuple[int, ...]]
    sites: dict[str, Site] = field(default_factory=dict)


@dataclass
class Evaluation:
    """A model at S given draws: deterministic sites (S, *event), log p(θ, y) (S,), log p(yᵢ | θ) per observed site (S, n)."""

    deterministics: dict[str, np.ndarray]
    log_joint: np.ndarray
    log_likelihood: dict[str, np.ndarray]


@dataclass
class Predictive:
    """A model's observed site given S draws: draws of y, and its mean and variance under each draw, all (S, n, ...)."""

    draws: np.ndarray
    mean: np.ndarray
    variance: np.ndarray


@dataclass
class NutsRun:
    """Draws (chain, draw, *event) of the latent sites, sampler statistics (chain, draw) under ArviZ's names, seconds."""

    draws: dict[str, np.ndarray]
    stats: dict[str, np.ndarray]
    chain_method: str
    seconds_compile: float
    seconds_run: float


@dataclass
class Piece:
    """What chains ``chains[0]`` to ``chains[1]`` did from draw ``draws[0]`` to ``draws[1]`` (of each, the second one excluded).

    Attributes:
        values, stats: (chain, draw, *event) latent sites, constrained, and statistics under ArviZ's names. Empty after the warm-up alone.
        state: all a sampler needs to go on from here with the numbers it would have drawn.
    """

    chains: tuple[int, int]
    draws: tuple[int, int]
    values: dict[str, np.ndarray]
    stats: dict[str, np.ndarray]
    state: dict[str, np.ndarray]
    seconds_compile: float = 0.0
    seconds_run: float = 0.0


@dataclass
class SviRun:
    """Guide draws (S, *event), log q (S,) per draw, the loss of every step (negative ELBO, nats), fitted parameters, seconds."""

    draws: dict[str, np.ndarray]
    log_guide: np.ndarray
    losses: np.ndarray
    params: dict[str, np.ndarray]
    seconds_compile: float
    seconds_run: float


class Engine(Protocol):
    """Running a model: NumPy arrays in, NumPy arrays out. ``model`` is ``model(ppl, *data)``, ``data`` a tuple of arrays or dicts."""

    def precision(self, dtype: str, device: str) -> AbstractContextManager[None]:
        """Compute in ``"float32"`` or ``"float64"`` on ``"cpu"`` or ``"gpu"`` inside; what was set before is restored."""
        ...

    def structure(self, model: Model, data: tuple, *, seed: int) -> Structure: ...

    def evaluate(self, model: Model, data: tuple, draws: dict[str, np.ndarray], *, chunk: int) -> Evaluation: ...

    def predict(self, model: Model, inputs: tuple, draws: dict[str, np.ndarray], *, site: str, seed: int, chunk: int) -> Predictive: ...

    def sample_prior(self, model: Model, inputs: tuple, *, num_draws: int, seed: int) -> dict[str, np.ndarray]: ...

    def mcmc(
        self,
        model: Model,
        data: tuple,
        *,
        kernel: str,
        seed: int,
        settings: Any,
        chain_method: str,
        initial: dict[str, np.ndarray],
        segment: int,
        last: Piece | None,
        advance: Callable[[int], None],
    ) -> Iterator[Piece]:
        """Warm up, then draw in pieces of at most ``segment`` draws per chain; each is yielded as soon as it exists.

        Args:
            kernel: "nuts" or "hmc".
            initial: site to (chain, *event), where the chains start; sites that are missing start at random.
            last: the piece after which to go on.
            advance: told how many iterations, over all chains, have been made since it was last called.
        """
        ...

    def chain_method(self, method: str, num_chains: int) -> tuple[str, str]:
        """How the chains will run ("sequential", "parallel", "vectorized") if ``method`` (one of these or "auto") is asked for, and why.

        Raises: ValueError with the remedy if they cannot run so here.
        """
        ...

    def has_gpu(self) -> bool: ...

    def svi(self, model: Model, data: tuple, *, guide: Any, seed: int, settings: Any) -> SviRun: ...


class PPL(Protocol):
    """The namespace ``ppl``. Array functions take and return arrays of the language."""

    name: str
    engine: Engine
    dist: Any
    autoguide: Any

    def dist_like(self, like: Any) -> Any:
        """``dist`` whose Python numbers become arrays of the dtype and on the device of ``like``."""
        ...

    def sample(self, name: str, fn: Any, *args: Any, **kwargs: Any) -> Any: ...

    def plate(self, name: str, size: int, **kwargs: Any) -> Any: ...

    def data_plate(self, data: Any, name: str = "data") -> AbstractContextManager[None]:
        """Plate over the rows of ``data``; what stands inside is scaled by num_data / rows when a recipe feeds minibatches."""
        ...

    def param(self, name: str, *args: Any, **kwargs: Any) -> Any: ...

    def factor(self, name: str, log_factor: Any) -> Any: ...

    def deterministic(self, name: str, value: Any, event_dim: int | None = None) -> Any: ...

    def weight(
        self,
        name: str,
        shape: int | Sequence[int],
        prior: ScaleMixture,
        *,
        axes: Sequence[str] | None = None,
        parametrization: Parametrization = None,
        scale: Any = None,
        like: Any = None,
    ) -> Any:
        """Sample a weight w = scale · Πξ · z, z ~ N(0, σ₀²), under a scale-mixture prior, inside any model of the language.

        Sites: ``name`` is the weight, a sample site or a deterministic one; beside it ``name_noise``, ``name_base``, ``name_slab``.

        Args:
            name: site of the weight.
            shape: shape of one weight. Dimensions of enclosing plates stand before it; each plate cell has its own ξ and w.
            prior: e.g. ``sm.Laplace()`` or ``sm.ScaleMixture(noise.Rayleigh().per("in"))``.
            axes: a name for each dimension; ("in",) for a vector and ("in", "out") for a matrix by default.
            parametrization: "expanded" (non-centered), "hierarchical" (centered), "marginal" (ξ integrated out), or a dict from
                factor name (``prior.labels``, "slab") to one of them or to a centering in [0, 1]. By default gates with a continuous spike
                are integrated out and all else is expanded.
            scale: a further standard deviation, one per plate cell, that multiplies w (σ of a σ-scaled horseshoe, a fan-in factor). One
                per weight is a product outside: ``c * ppl.weight(...)`` has the same law.
            like: an array whose dtype and device the prior's constants take; needed only outside scalemix's recipes.

        Returns: array of shape (*plates, *shape).

        Raises:
            ValueError: unknown axis or parametrization, or a form the prior does not have; the sentence says which it has.
            TypeError: ``prior`` is not a scalemix prior.
        """
        ...

    def dense(
        self,
        name: str,
        h: Any,
        num_outputs: int,
        prior: ScaleMixture,
        *,
        parametrization: Parametrization = None,
        scale: Any = None,
        noise_on: str = "weight",
        noise_plate: str = "global",
    ) -> Any:
        """Pre-activations h w, (*, n, num_outputs), of h (*, n, in) under a weight w (in, num_outputs) with a scale-mixture prior.

        Args:
            name, prior, parametrization, scale: as for ``weight``.
            noise_on: where the noise of the expanded form w = ξ∘z is applied. "weight": h (ξ∘z). "input": (h∘ξ) z, for factors per
                ("in",) or ("layer",). "output": (h z)∘ξ, for factors per ("out",) or ("layer",). Sites, shapes and log joint are the same.
            noise_plate: "global", one ξ for the data set: the Bayesian model. "example": a fresh ξ for each row, inside the data plate,
                as dropout training draws it; needs noise_on="input" or "output".

        Sites: those of ``weight``. With noise_plate="example" ``name`` is z, and ``name_noise`` is (n, in), (n, num_outputs) or (n,); it
        belongs to these rows: at others predict with noise="prior", which draws it anew, or "mean".

        Raises: ValueError if the noise cannot leave the weight (another tying or form), or an option is unknown.

        Source: dropout as noise on the activation, eq. 6–8 of "Unifying the Dropout Family Through Structured Shrinkage Priors".
        """
        ...

    def distribution(self, prior: ScaleMixture, shape: int | Sequence[int], *, axes: Sequence[str] | None = None) -> Any:
        """The law of a weight with its noise integrated out, as a distribution of the language with event shape ``shape``.

        For ``sample`` statements, ``PyroSample``, ``random_nnx_module``. Raises ValueError where the prior has no such density.
        """
        ...

    def log_density(self, model: Model, values: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        """log p(values, data): the log joint of ``model(ppl, *args, **kwargs)`` at values on the constrained space.

        ``values`` gives every latent site; deterministic sites in it are recomputed. Scalar array of the language, differentiable.

        Raises: ValueError if a latent site is missing from ``values`` or ``values`` names a site the model does not have.
        """
        ...

    def linear(self, h: Any, w: Any, b: Any | None = None) -> Any:
        """h w + b with h (*, n, in), w (*, in, out), b (*, out); draws in front of w and b (vectorized prediction) are carried."""
        ...

    def conv2d(self, x: Any, w: Any, b: Any | None = None, *, stride: int = 1, padding: int = 0) -> Any:
        """Convolution of images x (*, n, height, width, in) by w (*, height, width, in, out), plus b (*, out): (*, n, height, width, out).

        out[r, s, o] = b[o] + Σ w[i, j, c, o] x[stride·r + i, stride·s + j, c] over i, j and c, x with ``padding`` zeros on each side.
        One layout in both languages, whose axes a prior can name: ``axes=("height", "width", "in", "out")``. Draws in front of w and b
        (vectorized prediction) are carried.

        Raises: ValueError if x and w do not have the same channels.
        """
        ...

    def scan(self, step: Callable[[Any, Any], tuple[Any, Any]], init: Any, xs: Any) -> tuple[Any, Any]:
        """Run ``carry, out = step(carry, x)`` over the first axis of ``xs``: the last carry, and the outs stacked along a first axis.

        ``init``, ``xs`` and outs are arrays or tuples of arrays; an out may be ``None``. Sites stay outside: sample weights before the
        loop, which is compiled as one step in NumPyro and is a Python loop in Pyro.
        """
        ...

    def where(self, condition: Any, x: Any, y: Any) -> Any: ...
    def maximum(self, x: Any, y: Any) -> Any: ...
    def array(self, values: Any) -> Any: ...
    def full(self, shape: tuple[int, ...], value: float, like: Any = None) -> Any: ...
    def broadcast_to(self, x: Any, shape: tuple[int, ...]) -> Any: ...
    def clip(self, x: Any, low: float, high: float) -> Any: ...
    def sqrt(self, x: Any) -> Any: ...
    def exp(self, x: Any) -> Any: ...
    def relu(self, x: Any) -> Any: ...
    def tanh(self, x: Any) -> Any: ...
    def sigmoid(self, x: Any) -> Any: ...
