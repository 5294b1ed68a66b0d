"""The jobs of ``scalemix compare``: a sparse linear regression under six priors in every form they have, and a network.

A job is a list of cells, each a model and the methods it is fitted by. Cells are independent; they run side by side on a
``concurrent.futures`` executor, and each writes its posteriors as soon as they exist, so that an interrupted run leaves what it finished
readable. Another recipe of ``scalemix.inference`` for any prior joins all jobs by its name in ``METHODS``, one with a prior of its own that
of the network by a line in ``scalemix.family``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, as_completed
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scalemix import priors
from scalemix.family import FAMILY
from scalemix.jobs.languages import language_named
from scalemix.jobs.workers import executor
from scalemix.plan import forms, single_form
from scalemix.posterior import Posterior
from scalemix.priors import ScaleMixture, VariationalPrior
from scalemix.variational_scope import variational

if TYPE_CHECKING:
    from scalemix.data import Regression

__all__ = [
    "METHODS",
    "NETWORK",
    "NETWORK_METHODS",
    "NETWORK_NOISE",
    "REGRESSION",
    "Budget",
    "Cell",
    "cells",
    "load_posteriors",
    "model_of",
    "network_cells",
    "pools",
    "prior_table",
    "run_cell",
    "run_cells",
]

ALL_FORMS_REFERENCE = ("marginal", "expanded")
SAMPLERS = ("nuts",)
METHODS = (*SAMPLERS, "mean_field", "low_rank", "full_rank")  # each is the recipe scalemix.inference.<name>
NETWORK_METHODS = (*METHODS, *FAMILY)


@dataclass(frozen=True)
class Budget:
    """How long the methods of a job may take: iterations per chain of a sampler (of a prior's reference fit; other fits take half), and
    steps of SVI with draws of the guide per step (``particles``)."""

    warmup: int = 1000
    draws: int = 1000
    chains: int = 4
    svi_steps: int = 10_000
    svi_draws: int = 2000
    particles: int = 1
    max_tree_depth: int = 10
    dtype: str = "float64"

    def iterations(self, is_reference: bool) -> tuple[int, int]:
        """Warm-up and kept draws per chain."""
        return (self.warmup, self.draws) if is_reference else (max(self.warmup // 2, 50), max(self.draws // 2, 50))


@dataclass(frozen=True)
class Cell:
    """One prior in one form and one language, and the methods it is fitted by.

    ``form`` "" leaves it to the recipe. ``hidden_units`` of a network, ``None``: a linear model; ``noise``: sd of the outcome where it is
    known, 0: it is learned; ``model``: further arguments of the network.
    """

    prior_name: str
    prior: ScaleMixture | VariationalPrior
    form: str
    backend: str
    is_reference: bool
    scale_by_sigma: bool
    target_accept_prob: float
    methods: tuple[str, ...] = ("nuts", "mean_field")
    hidden_units: int | None = None
    noise: float = 0.0
    model: Mapping[str, str] = field(default_factory=dict)

    def fit_name(self, method: str) -> str:
        """The name of a fit, of its row and of its file."""
        form = [self.form] if isinstance(self.prior, ScaleMixture) and self.form and not single_form(self.prior) else []
        return "-".join([self.prior_name, *form, method, self.backend])


# Of a network: the prior (over √fan_in, models.mlp), NUTS's target acceptance.
NETWORK_PRIORS: dict[str, tuple[ScaleMixture, float]] = {"normal": (priors.Normal(1.0), 0.8)}
REGRESSION = Budget()
# The noise is known. Where it is learned, the network follows yacht's 277 cases to 0.007 of the target's sd: the posterior is a thin sheet,
# steps of 8e-4 have to be taken in it, and trees of depth 9 are all cut short (R-hat of the log likelihood 1.25).
NETWORK_NOISE = 0.1  # of the target's sd
# Single precision halves a gradient's time (50 units, 277 cases: 138 to 68 µs) and rounds a log joint of 1e3 to 1e-4 nats.
NETWORK = Budget(warmup=1000, draws=1000, svi_steps=20_000, max_tree_depth=10, dtype="float32")


# Of the family: all rows in each step.
FAMILY_TRAINING = {"learning_rate": 5e-3, "schedule": "cosine"}


def prior_table(num_columns: int, num_data: int) -> dict[str, tuple[ScaleMixture, bool, float]]:
    """The six priors by name: the prior, whether its scale is multiplied by sigma, NUTS's target acceptance.

    On standardized data a unit scale is weakly informative. Five expected active columns, or half of them where there are fewer than ten.
    """
    expected = min(5.0, num_columns / 2)
    return {
        "ridge": (priors.Normal(1.0), False, 0.8),
        "laplace": (priors.Laplace(0.5), False, 0.9),
        "student-t": (priors.StudentT(df=3.0, scale=0.3), False, 0.9),
        "horseshoe": (priors.Horseshoe(), False, 0.9),
        "regularized-horseshoe": (
            priors.Horseshoe(expected_active=expected, num_data=num_data, slab_scale=2.0, slab_df=4.0),
            True,
            0.98,
        ),
        "spike-and-slab": (priors.SpikeAndSlab(0.1, slab_scale=1.0, spike_scale=0.05), False, 0.9),
    }


def cells(num_columns: int, num_data: int, backends: tuple[str, ...], methods: Sequence[str] = ("nuts", "mean_field")) -> list[Cell]:
    """Every cell of the regression.

    The reference of a prior is its marginal form where there is one, else the expanded one, in the first of the languages.
    """
    result = []
    for name, (prior, by_sigma, accept) in prior_table(num_columns, num_data).items():
        available, reference = forms(prior, discrete=False), _reference_form(prior)
        result += [
            Cell(name, prior, form, backend, form == reference and backend == backends[0], by_sigma, accept, tuple(methods))
            for backend in backends
            for form in available
        ]
    return result


def network_cells(hidden_units: int, backends: tuple[str, ...], methods: Sequence[str], noise: float = NETWORK_NOISE) -> list[Cell]:
    """The cells of a network with one hidden layer, one for each method, so that each is told as it is done: one prior by the methods for
    any prior, and the dropout family, each with its own."""
    result = []
    for backend in backends:
        for name, (prior, accept) in NETWORK_PRIORS.items():
            form, first = _reference_form(prior), backend == backends[0]
            for method in (each for each in methods if each in METHODS):
                result.append(Cell(name, prior, form, backend, first, False, accept, (method,), hidden_units, noise))
        for method in (each for each in methods if each in FAMILY):
            own = FAMILY[method]
            result.append(Cell(own.prior_name, own.prior, "", backend, False, False, 0.8, (method,), hidden_units, noise, own.model))
    return result


def _reference_form(prior: ScaleMixture) -> str:
    available = forms(prior, discrete=False)
    return next(form for form in ALL_FORMS_REFERENCE if form in available)


def model_of(cell: Cell) -> Callable[..., Any]:
    """The cell's model, ``(ppl, x, y=None)``."""
    from scalemix.likelihoods import Gaussian
    from scalemix.models import linear, mlp

    if cell.hidden_units is not None:
        likelihood = Gaussian(scale=cell.noise or None)
        form, widths = cell.form or None, (cell.hidden_units,)
        return partial(mlp, prior=cell.prior, parametrization=form, widths=widths, likelihood=likelihood, **cell.model)
    return partial(linear, prior=cell.prior, parametrization=cell.form, scale_by_sigma=cell.scale_by_sigma)  # type: ignore[arg-type]


def run_cell(cell: Cell, data: Regression, folder: Path, budget: Budget, seed: int, show_progress: bool) -> list[str]:
    """Fit one cell by its methods and save each posterior; returns the fits' names.

    Raises: FloatingPointError, with the fit's name, where an optimization ceases to be finite.
    """
    from scalemix import inference

    ppl = language_named(cell.backend)
    model = model_of(cell)
    for method in cell.methods:
        recipe = getattr(inference, method)
        settings = recipe.Settings(**_settings(cell, method, budget), progress=show_progress)
        try:
            fit = recipe.fit(ppl, model, data.x_train, data.y_train, seed=seed, settings=settings)
        except FloatingPointError as error:
            raise FloatingPointError(f"{cell.fit_name(method)}: {error}") from error
        fit.save(folder / f"{cell.fit_name(method)}.nc")
    return [cell.fit_name(method) for method in cell.methods]


def _settings(cell: Cell, method: str, budget: Budget) -> dict[str, Any]:
    if method in FAMILY:
        own = FAMILY[method]
        draws = budget.svi_draws // 10 if own.by_row else budget.svi_draws
        return {**FAMILY_TRAINING, **own.settings, "num_epochs": budget.svi_steps, "num_draws": draws, "dtype": budget.dtype}
    if method not in SAMPLERS:
        return {"num_steps": budget.svi_steps, "num_draws": budget.svi_draws, "num_particles": budget.particles, "dtype": budget.dtype}
    warmup, draws = budget.iterations(cell.is_reference)
    return {
        "num_warmup": warmup,
        "num_draws": draws,
        "num_chains": budget.chains,
        "target_accept_prob": cell.target_accept_prob,
        "max_tree_depth": budget.max_tree_depth if cell.is_reference else 8,
        "dtype": budget.dtype,
    }


def run_cells(
    todo: list[Cell], data: Regression, folder: Path, *, budget: Budget, seed: int, executor: Executor | None, show_progress: bool = False
) -> Iterator[Cell]:
    """Run the cells, side by side on ``executor`` or here one after the other; yields each cell as it is done."""
    if executor is None:
        for cell in todo:
            run_cell(cell, data, folder, budget, seed, show_progress)
            yield cell
        return
    futures = {executor.submit(run_cell, cell, data, folder, budget, seed, show_progress): cell for cell in todo}
    for future in as_completed(futures):
        future.result()
        yield futures[future]


def pools(todo: list[Cell], workers: int) -> list[tuple[list[Cell], Executor | None]]:
    """The cells and what they run on: NUTS of a network first and alone, with all cores for its chains, the others side by side."""
    longest_first = sorted(todo, key=lambda cell: "horseshoe" not in cell.prior_name)  # so that no worker waits at the end
    alone = [cell for cell in longest_first if cell.hidden_units is not None and set(cell.methods) & set(SAMPLERS)]
    others = [cell for cell in longest_first if cell not in alone]
    return [(cells, None if workers == 1 else executor(workers, one_fit_at_a_time=cells is alone)) for cells in (alone, others) if cells]


def load_posteriors(done: Sequence[Cell], folder: Path) -> dict[str, Posterior]:
    """The saved posteriors of finished cells by fit name, each with its model so that it can predict."""
    posteriors = {}
    for cell in done:
        language_named(cell.backend)
        for method in cell.methods:
            name = cell.fit_name(method)
            posteriors[name] = Posterior.load(folder / f"{name}.nc", model=variational(model_of(cell)))
    return posteriors
