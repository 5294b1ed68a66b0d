"""What a language's engine does: run models, fit guides and sample. NumPy arrays in, NumPy arrays out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from scalemix.runs import Evaluation, Model, NutsRun, Piece, Predictive, Structure, SviRun, TrainRun

__all__ = ["Engine"]


class Engine(Protocol):
    """Running a model: NumPy arrays in, NumPy arrays out.

    In every method ``model`` is ``model(ppl, *data)``, ``data`` (or ``inputs``, what comes before the outcome) a tuple of arrays or dicts,
    ``draws`` values of the latent sites, (S, *event), ``chunk`` how many of them at a time, and ``seed`` a whole number.
    """

    def precision(self, dtype: str, device: str) -> AbstractContextManager[None]:
        """Compute with ``dtype`` "float32" or "float64" on the ``device`` "cpu" or "gpu" inside; what was set before is restored."""
        ...

    def structure(self, model: Model, data: tuple, *, seed: int) -> Structure:
        """What one run of ``model`` on ``data`` shows; ``seed`` is that of the values it draws."""
        ...

    def evaluate(self, model: Model, data: tuple, draws: dict[str, np.ndarray], *, chunk: int) -> Evaluation:
        """``model`` on ``data`` at each of the ``draws``, ``chunk`` of them at a time."""
        ...

    def predict(self, model: Model, inputs: tuple, draws: dict[str, np.ndarray], *, site: str, seed: int, chunk: int) -> Predictive:
        """The outcome ``site`` of ``model`` on ``inputs`` given each of the ``draws``, drawn by ``seed``, ``chunk`` at a time."""
        ...

    def mean(self, model: Model, inputs: tuple, draws: dict[str, np.ndarray], *, site: str, seed: int, chunk: int) -> np.ndarray:
        """The mean of the outcome ``site`` of ``model`` on ``inputs`` given each of the ``draws``, (S, n, ...).

        The outcome itself need not be drawn; ``seed`` is of what is. ``chunk`` draws at a time.
        """
        ...

    def sample_prior(self, model: Model, inputs: tuple, *, num_draws: int, seed: int) -> dict[str, np.ndarray]:
        """``num_draws`` runs of ``model`` on ``inputs``, drawn by ``seed``: every site, (num_draws, *event)."""
        ...

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
        """Warm up on ``model`` given ``data`` under ``settings``, by ``seed``, then draw in pieces; each is yielded as soon as it exists.

        Args:
            model, data, seed: as in every method.
            kernel: "nuts" or "hmc".
            settings: those of ``scalemix.inference.nuts``, or of ``scalemix.inference.hmc``.
            chain_method: as ``chain_method`` chose it.
            initial: site to (chain, *event), where the chains start; sites that are missing start at random.
            segment: the most draws per chain in one piece.
            last: the piece after which to go on.
            advance: told how many iterations, over all chains, have been made since it was last called.
        """
        ...

    def chain_method(self, method: str, num_chains: int) -> tuple[str, str]:
        """How ``num_chains`` chains will run ("sequential", "parallel", "vectorized") if ``method`` (one of these or "auto") is asked for,
        and why.

        Raises: ValueError with the remedy if they cannot run so here.
        """
        ...

    def has_gpu(self) -> bool:
        """Whether the language finds a GPU."""
        ...

    def svi(self, model: Model, data: tuple, *, guide: Any, seed: int, settings: Any) -> SviRun:
        """Fit ``guide`` to ``model`` given ``data`` under the ``settings`` of ``scalemix.inference.svi``, by ``seed``."""
        ...

    def arrays(self, data: Any) -> Any:
        """NumPy arrays ``data``, in tuples and dicts, as arrays of the language, floating ones in the precision in force."""
        ...

    def objective(self, model: Model, guide: Any, arrays: tuple, *, seed: int, method: str = "exact") -> Any:
        """The pure objective of a guide (``scalemix.guides``, or any function of ppl and the data) for ``model``.

        Args:
            model, guide: both ``f(ppl, *data)``.
            arrays: a first batch, which shows the sites.
            seed: of what is drawn while looking.
            method: how the log-uniform prior's divergence is computed (``divergences.log_uniform``).

        Returns: an object with ``params``, first values of the parameters, unconstrained, and the pure and differentiable
        ``loss(params, batch, key, kl_weight, num_data)`` → (loss, {"nll": , "kl": }); ``batch`` is a tuple of arrays of the language,
        ``key`` a JAX key and without meaning in Pyro.

        Raises: ValueError where the guide misses a site or has one too many, or a closed KL is expected and not dispatched.
        """
        ...

    def draw_guide(
        self, guide: Any, params: dict[str, np.ndarray], arrays: tuple, *, num_draws: int, seed: int
    ) -> tuple[dict[str, np.ndarray], np.ndarray]:
        """``num_draws`` draws of ``guide`` at ``params`` and the data ``arrays``, by ``seed``: (num_draws, *shape) a site, and log q."""
        ...

    def train(
        self,
        objective: Any,
        data: Any,
        settings: Any,
        *,
        seed: int,
        num_data: int | None = None,
        validation: Callable[[dict[str, Any]], float] | None = None,
        callbacks: Iterable[Callable[[int, dict[str, Any]], object]] = (),
        folder: Path | str | None = None,
        resume: bool = False,
    ) -> TrainRun:
        """Minimize an objective by gradient steps, in the precision in force.

        Args:
            objective: has ``params``, a dict of arrays of the language, their first values on the real line; and the pure function
                ``loss(params, batch, key, kl_weight, num_data)`` → (loss, {"nll": , "kl": }), scalars in nats. ``batch`` is a tuple of
                arrays of the language, ``key`` a JAX PRNG key (``None`` in Pyro, where torch's generator is seeded). It may have
                ``project(params)``, applied after each step; ``noise_parameters``, patterns of the names that take
                ``noise_learning_rate``; ``identity``, what a resumed run has to share; ``compilable = False`` (Pyro).
            data: a tuple of arrays, the cases along their first axis; or an iterable of batches, each a tuple of arrays, iterated anew in
                each epoch; or a function of the epoch's number that returns one.
            settings: a ``scalemix.training.Settings``.
            seed: a whole number; the same seed gives the same parameters.
            num_data: N; needed for batches, for arrays it is their number of rows if not given.
            validation: a score of the parameters (arrays of the language), lower is better, looked at every ``settings.check_every``
                epochs.
            callbacks: each is called as ``callback(epoch, record)`` after each epoch, with its row of the history and "params".
            folder: checkpoints go there.
            resume: go on from the last checkpoint in ``folder``, if there is one, and end at the numbers of a run that was not stopped.

        Raises:
            FloatingPointError: a number ceased to be finite; it names the step, the parameter and the last good checkpoint.
            ValueError: data, settings or folder do not fit; the sentence names the remedy.
        """
        ...

    def quadratic(
        self, model: Model, data: tuple, weights: dict[str, tuple[int, ...]]
    ) -> Callable[[dict[str, np.ndarray]], tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """A function of S points of the other latent sites (S, *shape) that gives value c (S,), gradient b (S, D) and −Hessian P (S, D, D)
        of the log joint in the sites ``weights`` of ``model`` given ``data``, at zero."""
        ...

    def log_joint(self, model: Model, data: tuple) -> Callable[[dict[str, np.ndarray]], np.ndarray]:
        """A function of S points of the latent sites (S, *shape) that gives the log joint (S,) of ``model`` and ``data``."""
        ...

    def collapsed_gibbs(self, model: Model, data: tuple, layer: Any, *, starts: np.ndarray, seed: int, settings: Any) -> NutsRun:
        """Gates and weights of ``layer``, a ``scalemix.gated.GatedLayer`` of ``model`` given ``data``, with the weights integrated out, and
        the other sites by NUTS given both, under ``settings``, by ``seed``; ``starts`` (chain, K) are the gates' first values."""
        ...

    def nuts_within_gibbs(
        self,
        model: Model,
        data: tuple,
        gates: dict[str, tuple[int, ...]],
        blocks: np.ndarray,
        *,
        starts: np.ndarray,
        seed: int,
        settings: Any,
    ) -> NutsRun:
        """NUTS for all continuous sites of ``model`` on ``data`` given the ``gates``, and ``blocks`` (B, n) of gates given them; ``starts``
        (chain, K) are the gates' first values, ``seed`` and ``settings`` those of the run."""
        ...

    def gates_summed(self, model: Model, gates: dict[str, tuple[int, ...]]) -> Model:
        """The ``model`` of the continuous sites alone, whose log joint is log Σ_g p(y, g, ·) over the settings of the ``gates``."""
        ...

    def layer_summed(self, model: Model, layer: Any) -> Model:
        """The model of the other sites θ of ``layer``, a ``scalemix.gated.GatedLayer`` of ``model``: log Σ_g ∫ p(y, g, β, θ) dβ."""
        ...
