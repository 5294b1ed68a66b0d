"""What a model, guide or recipe may use of a probabilistic language: the names shared by ``scalemix.pyro`` and ``scalemix.numpyro``.

A model is a function ``model(ppl, x, y=None, ...)``; ``ppl`` is one of the two modules, passed as an ordinary argument. This file is the
one place where the contract of each shared name is written; a test holds both modules to it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

from scalemix.engine import Engine
from scalemix.networks import Networks
from scalemix.plan import Parametrization
from scalemix.priors import ScaleMixture
from scalemix.runs import Evaluation, Model, NutsRun, Piece, Predictive, Structure, SviRun, TrainRun

__all__ = [
    "PPL",
    "Engine",
    "Evaluation",
    "NutsRun",
    "Piece",
    "Predictive",
    "Structure",
    "SviRun",
    "TrainRun",
    "kitchens",
    "native",
]

kitchens: dict[str, PPL] = {}
"""The languages that have been imported, by name: each registers itself, so that core can find it without importing it."""


def native(model: Model) -> Model:
    """A plain Pyro or NumPyro ``model`` (or guide) ``fn(*data)`` as one for scalemix's recipes, ``fn(ppl, *data)``."""

    def adapted(ppl: PPL, *args: Any, **kwargs: Any) -> Any:
        return model(*args, **kwargs)

    adapted.__name__ = getattr(model, "__name__", "model")
    adapted.__dict__.update(vars(model) if hasattr(model, "__dict__") else {})  # what ``identified_by`` said of it
    return adapted


class PPL(Networks, Protocol):
    """The namespace ``ppl``. Array functions take and return arrays of the language, torch's or JAX's.

    Attributes:
        name: "pyro" or "numpyro".
        engine: runs models, NumPy arrays in and NumPy arrays out.
        dist: the language's distributions, with a few that it lacks.
        autoguide: the language's module of autoguides.
    """

    name: str
    engine: Engine
    dist: Any
    autoguide: Any

    def dist_like(self, like: Any) -> Any:
        """``dist`` whose Python numbers become arrays of the dtype and on the device of ``like``."""
        ...

    def sample(self, name: str, fn: Any, *args: Any, **kwargs: Any) -> Any:
        """The language's own sample statement: draw the site ``name`` from the distribution ``fn``, or observe it with ``obs=``.

        What else it takes in ``args`` and ``kwargs`` (``infer=``, ``rng_key=``) is the language's.
        """
        ...

    def plate(self, name: str, size: int, **kwargs: Any) -> Any:
        """The language's own plate ``name`` of ``size`` independent cells, a context; ``kwargs``: ``dim=``, ``subsample_size=``."""
        ...

    def data_plate(self, data: Any, name: str = "data") -> AbstractContextManager[None]:
        """Plate ``name`` over the rows of ``data``; what stands inside is scaled by num_data / rows when a recipe feeds minibatches."""
        ...

    def param(self, name: str, *args: Any, **kwargs: Any) -> Any:
        """The language's own parameter ``name`` of a guide; ``args`` is its first value, ``kwargs`` e.g. ``constraint=``."""
        ...

    def factor(self, name: str, log_factor: Any) -> Any:
        """Add ``log_factor`` to the log joint, under ``name``."""
        ...

    def deterministic(self, name: str, value: Any, event_dim: int | None = None) -> Any:
        """Record ``value`` under ``name``; its last ``event_dim`` axes are no plates (Pyro alone needs to know)."""
        ...

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

        Nalisnick and Smyth (2018), eq. 5: "expanded" and "hierarchical" are the two sides of it, "marginal" the integral over ξ.

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

        Returns: array of shape ``(*plates, *shape)``.

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
        """Pre-activations h w, ``(*, n, num_outputs)``, of h ``(*, n, in)`` under a weight w (in, num_outputs) with a scale-mixture prior.

        Args:
            name, prior, parametrization, scale: as for ``weight``.
            h: the layer's input, one row per case.
            num_outputs: columns of w.
            noise_on: where the noise of the expanded form w = ξ∘z is applied. "weight": h (ξ∘z). "input": (h∘ξ) z, for factors per
                ("in",) or ("layer",). "output": (h z)∘ξ, for factors per ("out",) or ("layer",). Sites, shapes and log joint are the same.
            noise_plate: "global", one ξ for the data set: the Bayesian model. "example": a fresh ξ for each row, inside the data plate,
                as dropout training draws it; needs noise_on="input" or "output".

        Sites: those of ``weight``. With noise_plate="example" ``name`` is z, and ``name_noise`` is (n, in), (n, num_outputs) or (n,); it
        belongs to these rows: at others predict with noise="prior", which draws it anew, or "mean".

        Raises: ValueError if the noise cannot leave the weight (another tying or form), or an option is unknown.

        Source: dropout as noise on the activation, Nalisnick and Smyth (2018), eq. 6–8.
        """
        ...

    def convolution(
        self,
        name: str,
        x: Any,
        num_outputs: int,
        prior: ScaleMixture,
        *,
        kernel: int | tuple[int, int],
        stride: int = 1,
        padding: int = 0,
        parametrization: Parametrization = None,
        scale: Any = None,
        noise_on: str = "weight",
        noise_plate: str = "global",
    ) -> Any:
        """``conv2d`` of images x ``(*, n, height, width, in)`` by a weight w (kernel, kernel, in, num_outputs) with a scale-mixture prior.

        Args:
            name, prior, parametrization, scale: as for ``weight``; the axes of w are ("height", "width", "in", "out").
            x: the layer's input, one image per case.
            num_outputs: filters.
            kernel: height and width of each, one number or two.
            stride, padding: as for ``conv2d``.
            noise_on, noise_plate: as for ``dense``. A noise per ("in",) on the input is one for all pixels of a channel, per ("out",) on
                the output one for all of a filter's; with noise_plate="example" a fresh one for each image (spatial dropout).

        Sites: those of ``dense``.

        Returns: ``(*, n, height, width, num_outputs)``.

        Raises: ValueError if x is not images or smaller than the kernel, and as for ``dense``.

        Source: Tompson et al. (2015), section 3.2 (spatial dropout); Dai, Zhu and Wipf (2018), section 3.1 (a gate per filter).
        """
        ...

    def distribution(self, prior: ScaleMixture, shape: int | Sequence[int], *, axes: Sequence[str] | None = None) -> Any:
        """The law of a weight under ``prior``, its noise integrated out, as a distribution of the language with event shape ``shape``.

        For ``sample`` statements, ``PyroSample``, ``random_nnx_module``. ``axes`` as for ``weight``.

        Raises: ValueError where the prior has no such density.
        """
        ...

    def log_density(self, model: Model, values: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        """log p(values, data): the log joint of ``model(ppl, *args, **kwargs)`` at values on the constrained space.

        ``values`` gives every latent site; deterministic sites in it are recomputed. Scalar array of the language, differentiable.

        Raises: ValueError if a latent site is missing from ``values`` or ``values`` names a site the model does not have.
        """
        ...

    def kl_divergence(self, q: Any, p: Any) -> Any:
        """KL(q ‖ p) of two distributions in closed form, over their batch shape; with priors that have no law, what stands for it.

        Raises: NotImplementedError where the language knows none (register it with the language).
        """
        ...

    def linear(self, h: Any, w: Any, b: Any | None = None) -> Any:
        """h w + b with h ``(*, n, in)``, w ``(*, in, out)``, b ``(*, out)``; draws in front of w and b (as in prediction) are carried."""
        ...

    def conv2d(self, x: Any, w: Any, b: Any | None = None, *, stride: int = 1, padding: int = 0) -> Any:
        """Convolution of images x, ``(*, n, height, width, in)``, by w, ``(*, height, width, in, out)``, plus b, ``(*, out)``.

        Returns: ``(*, n, height, width, out)``.

        out[r, s, o] = b[o] + Σ w[i, j, c, o] x[stride·r + i, stride·s + j, c] over i, j and c, x with ``padding`` zeros on each side.
        One layout in both languages, whose axes a prior can name: ``axes=("height", "width", "in", "out")``. Draws in front of w and b
        (vectorized prediction) are carried.

        Raises: ValueError if x and w do not have the same channels.
        """
        ...

    def pool2d(self, x: Any, size: int = 2, *, how: str = "max") -> Any:
        """The largest (or, ``how="mean"``, the mean) value of each ``size`` × ``size`` patch of images x, ``(*, height, width, channel)``.

        A rest of the image is cut off. An activation that increases may as well come after the largest value: a quarter of the work.

        Raises: ValueError if ``how`` is neither.
        """
        ...

    def scan(self, step: Callable[[Any, Any], tuple[Any, Any]], init: Any, xs: Any) -> tuple[Any, Any]:
        """Run ``carry, out = step(carry, x)`` over the first axis of ``xs``: the last carry, and the outs stacked along a first axis.

        ``init``, ``xs`` and outs are arrays or tuples of arrays; an out may be ``None``. Of no steps the carry is ``init`` and the outs
        have a first axis of length 0. Sites stay outside: sample weights before the loop, which is compiled as one step in NumPyro and is
        a Python loop in Pyro; both may run ``step`` once more than there are steps, to see what it gives.

        Raises: ValueError if there is nothing to run over, or the arrays of ``xs`` differ in length.
        """
        ...

    def where(self, condition: Any, x: Any, y: Any) -> Any:
        """``x`` where ``condition`` holds, else ``y``, elementwise."""
        ...

    def maximum(self, x: Any, y: Any) -> Any:
        """The larger of ``x`` and ``y``, elementwise."""
        ...

    def array(self, values: Any) -> Any:
        """``values`` (numbers, a NumPy array) as an array of the language."""
        ...

    def full(self, shape: tuple[int, ...], value: float, like: Any = None) -> Any:
        """An array of that ``shape``, ``value`` everywhere, of the dtype (and on the device) of ``like``."""
        ...

    def broadcast_to(self, x: Any, shape: tuple[int, ...]) -> Any:
        """``x`` repeated along new and unit axes to ``shape``."""
        ...

    def clip(self, x: Any, low: float, high: float) -> Any:
        """min(high, max(low, x)): ``x`` kept from ``low`` to ``high``, elementwise."""
        ...

    def sqrt(self, x: Any) -> Any:
        """√x, elementwise."""
        ...

    def exp(self, x: Any) -> Any:
        """eˣ of ``x``, elementwise."""
        ...

    def relu(self, x: Any) -> Any:
        """max(0, x), elementwise."""
        ...

    def tanh(self, x: Any) -> Any:
        """tanh x, elementwise."""
        ...

    def sigmoid(self, x: Any) -> Any:
        """1/(1 + e⁻ˣ) of ``x``, elementwise."""
        ...
