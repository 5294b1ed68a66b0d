"""Every prior, fitted in its default parametrization, is calibrated; and three mistakes are found out. Method: ``calibration.py``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from calibration import QUANTITIES, RIGHT, Fit, limits, p_value, ranks
from registry import PRIORS

import scalemix.numpyro as in_numpyro
from scalemix import models
from scalemix.inference import nuts
from scalemix.priors import Laplace

FIGURE = Path(__file__).parents[1] / "docs" / "calibration.png"

# Proper priors in which a gradient cannot move, whatever the form: their posteriors are held against enumeration (test_enumeration.py).
LEFT_OUT = {"point_spike", "shared_gates", "stochastic_depth"}
ROWS = [name for name in PRIORS if name not in LEFT_OUT]
FALSE_ALARM = 1e-3  # that any of the rows fails by chance, in any quantity: of all in the full run, and of the one in the fast test
LEVEL, LEVEL_OF_ONE = (FALSE_ALARM / (rows * len(QUANTITIES)) for rows in (len(ROWS) + 1, 1))

# A standard deviation taken for a variance, a factor of 2 in it, a likelihood that counts a quarter (its sd taken twice as large).
SCALE = 0.4
MISTAKES = {"scale squared": Fit(scale=SCALE), "prior off by 2": Fit(scale=0.5), "likelihood tempered": Fit(temper=0.25)}

SMALL = {"size": 100, "num_draws": 100, "thin": 5, "num_warmup": 150, "max_tree_depth": 7}
FULL = {"size": 300, "num_draws": 200, "thin": 5, "num_warmup": 200, "max_tree_depth": 7}
# From the spike to the slab and back is a rare step for NUTS where the gate is summed out: draws far apart, so fewer ranks and data sets.
GATED = FULL | {"size": 150, "num_draws": 1500, "thin": 150}


def run_of(name: str) -> dict[str, int]:
    return GATED if any(factor.noise.discrete for factor in PRIORS[name].prior.factors) else FULL


def num_ranks(run: dict[str, int]) -> int:
    return run["num_draws"] // run["thin"]


def p_values(rank: np.ndarray, run: dict[str, int]) -> dict[str, float]:
    return {quantity: p_value(rank[:, q], num_ranks(run)) for q, quantity in enumerate(QUANTITIES)}


def mistaken(run: dict[str, int]) -> dict[str, np.ndarray]:
    """Ranks of the right fit and of the mistakes, all in one run."""
    found = ranks(Laplace(SCALE), RIGHT, *MISTAKES.values(), seed=1, **run)
    return dict(zip(("right", *MISTAKES), found, strict=True))


def check(smallest: dict[str, float], level: float) -> None:
    """The mistakes stand out, and nothing else does; ``smallest`` p-value over the quantities, by row."""
    assert {name for name, p in smallest.items() if p <= level} == set(MISTAKES) & set(smallest), smallest


def test_p_value_is_that_of_the_binomial_law() -> None:
    """All 20 ranks of 2 equal: 2 · 2⁻²⁰, at one point; ranks as even as can be: 1."""
    assert p_value(np.zeros(20, int), 2) == pytest.approx(2.0**-19)
    assert p_value(np.arange(20), 20) == 1.0


def test_p_values_of_uniform_ranks_are_seldom_small() -> None:
    """At most one in 20 below 0.05: of 400 made-up sets 20 ± 4 · √19."""
    rng = np.random.default_rng(0)
    assert sum(p_value(rng.integers(0, 20, size=100), 20) <= 0.05 for _ in range(400)) <= 37


def test_limits_are_where_the_p_value_is_the_level() -> None:
    (low,), (high,) = limits(100, 2, LEVEL)
    for count, inside in ((low, True), (low - 1, False), (high, True), (high + 1, False)):
        assert (p_value(np.arange(100) >= count, 2) > LEVEL) is inside


@pytest.mark.parametrize("name", sorted(LEFT_OUT))
def test_what_is_left_out_is_what_nuts_refuses(name: str) -> None:
    row = PRIORS[name]

    def model(ppl: object, x: np.ndarray, y: np.ndarray) -> object:
        return models.linear(ppl, x, y, prior=row.prior)

    with pytest.raises(ValueError, match=r"use|cannot|give"):
        nuts.fit(in_numpyro, model, np.ones((3, 1)), np.ones(3), seed=0)


@pytest.mark.slow
def test_laplace_is_calibrated_and_the_mistakes_are_found() -> None:
    check({name: min(p_values(rank, SMALL).values()) for name, rank in mistaken(SMALL).items()}, LEVEL_OF_ONE)


@pytest.mark.slow
def test_every_prior_is_calibrated() -> None:
    """All rows of the registry; the figure is drawn before anything is asserted, so that it shows what failed."""
    runs = {name: run_of(name) for name in ROWS} | dict.fromkeys(("right", *MISTAKES), FULL)
    found = {name: ranks(PRIORS[name].prior, seed=3, **runs[name])[0] for name in ROWS} | mistaken(FULL)
    figure(found, runs).savefig(FIGURE, dpi=100)
    check({name: min(p_values(rank, runs[name]).values()) for name, rank in found.items()}, LEVEL)


def figure(found: dict[str, np.ndarray], runs: dict[str, dict[str, int]]) -> Any:
    """Number of ranks up to k less the number expected, in standard deviations: a column for the log likelihood and one for the weights,
    the priors above, the planted mistakes below."""
    from matplotlib.figure import Figure

    fig = Figure(figsize=(9, 6.5), layout="constrained")
    axes = fig.subplots(2, 2, sharex=True, sharey="row")
    quantities = (("log likelihood", 0), ("first weight (tanh w1)", 1))
    for name, rank in found.items():
        for column, (_, q) in enumerate(quantities):
            ax = axes[int(name in MISTAKES), column]
            out = name in MISTAKES or p_value(rank[:, q], num_ranks(runs[name])) <= LEVEL
            style = {"lw": 1.4, "label": name} if out else {"color": "C0", "lw": 0.7, "alpha": 0.7}
            ax.plot(*excess(rank[:, q], num_ranks(runs[name])), **style)
    expected = np.arange(1, num_ranks(FULL)) / num_ranks(FULL)
    band = [(bound - FULL["size"] * expected) / deviation(FULL["size"], expected) for bound in limits(FULL["size"], num_ranks(FULL), LEVEL)]
    for ax in axes.flat:
        ax.fill_between(expected, *band, color="0.9", zorder=0)
        ax.axhline(0.0, color="0.6", lw=0.6)
        if ax.get_legend_handles_labels()[1]:
            ax.legend(fontsize=8, frameon=False)
    for column, (label, _) in enumerate(quantities):
        axes[0, column].set_title(f"ranks of the {label}", fontsize=10)
        axes[0, column].text(0.02, 0.04, f"{len(found) - len(MISTAKES)} fits, a line each", transform=axes[0, column].transAxes, fontsize=8)
        axes[1, column].set_xlabel("share of ranks expected below")
    axes[0, 0].set_ylabel("found less expected, in sd:\nevery prior")
    axes[1, 0].set_ylabel("found less expected, in sd:\nplanted mistakes")
    fig.suptitle(
        f"Calibration of NUTS: {GATED['size']} or {FULL['size']} simulated regressions for each prior. "
        "Gray: where all lines lie, but for 1 run in 1000",
        fontsize=11,
    )
    return fig


def deviation(size: int, expected: np.ndarray) -> np.ndarray:
    """Standard deviation of the number of ranks up to k."""
    return np.sqrt(size * expected * (1.0 - expected))


def excess(rank: np.ndarray, ranks: int) -> tuple[np.ndarray, np.ndarray]:
    """Share of ranks expected up to k, and by how many standard deviations more there are."""
    expected = np.arange(1, ranks) / ranks
    count = np.sum(rank[:, None] <= np.arange(ranks - 1), axis=0)
    return expected, (count - len(rank) * expected) / deviation(len(rank), expected)
