"""Is a fit calibrated? Simulation-based calibration of samplers and of guides: SBC and VSBC.

Parameters θ* are drawn from the prior and data y from θ*; then θ* is one more draw of the posterior given y, so that its place among the
draws of the fit is uniform. Sources: Talts et al. (2018), arXiv:1804.06788; Modrák et al. (2023), Bayesian Analysis, on what to rank: the
log likelihood too, which sees how far the fit leans on the data; Yao, Vehtari, Simpson and Gelman (2018), arXiv:1802.02538, section 3.2,
for guides, whose width is known to be off: there the places need only be symmetric about ½, and if not the guide is biased.

Of what is maintained, ``simuk`` simulates and fits for models of PyMC and for kernels of NumPyro's NUTS, and takes no guide and no fit of
one's own; so the simulation is here, and the tests are SciPy's, the bands in the figure ArviZ's.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import stats

from scalemix.cases import plain_data
from scalemix.checks import check_positive_int
from scalemix.comparison.chains import MIN_DRAWS, convergence
from scalemix.comparison.scores import pit
from scalemix.fitting import check_seed, identified_quantities
from scalemix.language import PPL, Model, Structure
from scalemix.posterior import Posterior
from scalemix.predictive import prior_predictive

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

__all__ = ["Calibration", "calibrate"]

NUM_FLIPS = 9999
SURPLUS = 4  # data sets simulated for each that is wanted, where some are refused
MOST_PANELS = 8


@dataclass(frozen=True)
class Calibration:
    """Where the truth lies among the draws of its fit, over many data sets.

    Attributes:
        transforms: of each scalar quantity, e.g. ``w1[2]`` or ``y_log_likelihood``, F(θ*) of each data set, (data sets,): the share of
            draws below the truth, made continuous as in ``scalemix.comparison.pit``.
        num_draws: draws of each fit that were looked at.
        least_ess: the median over the data sets of the least effective number of draws among the quantities; nan for guides.
    """

    transforms: dict[str, np.ndarray]
    num_draws: int
    least_ess: float

    @property
    def num_data_sets(self) -> int:
        """Data sets that were simulated and fitted."""
        return len(next(iter(self.transforms.values())))

    def table(self) -> pd.DataFrame:
        """A row for each quantity, the least uniform first.

        Columns: ``p_uniform``, of the Kolmogorov-Smirnov tests that F(θ*) and, which sees the width, |2 F(θ*) - 1| are uniform (SBC), twice
        the less of the two; ``p_symmetric``, of the test that F(θ*) and 1 - F(θ*) have one law (VSBC): the Kolmogorov-Smirnov distance of
        the two, its law that of random signs of F(θ*) - ½, simulated, so that it is never below 1e-4; ``mean``, ½ if unbiased, below if
        the draws lie above the truth; ``sd``, in units of the uniform law's, above 1 for fits too narrow.
        """
        import pandas as pd

        rows = {
            name: {
                "p_uniform": _p_uniform(values),
                "p_symmetric": _p_symmetric(values),
                "mean": float(values.mean()),
                "sd": float(math.sqrt(12.0 * np.mean((values - values.mean()) ** 2))),
            }
            for name, values in self.transforms.items()
        }
        return pd.DataFrame.from_dict(rows, orient="index").sort_values("p_uniform", kind="stable")

    def sentences(self, *, level: float = 0.01) -> list[str]:
        """What is wrong, in words, and nothing if all is well: P(any sentence | calibrated) ≤ 2 · level, by Bonferroni (1936).

        Args:
            level: the chance of a false alarm of either test, over all quantities.
        """
        table, found = self.table(), []
        for name, row in table.iterrows():
            uniform, symmetric = (row[column] * len(table) > level for column in ("p_uniform", "p_symmetric"))
            if not symmetric:
                side = "above" if row["mean"] < 0.5 else "below"
                found.append(f"{name} is biased: the draws lie {side} the truth (mean of F(θ*) {row['mean']:.2f} for 0.50)")
            if not uniform and symmetric:
                width = "narrow" if row["sd"] > 1.0 else "wide"
                found.append(
                    f"{name} is not calibrated: the fits are too {width} (sd of F(θ*) {row['sd']:.2f} times that of a uniform law)"
                )
        if found and self.least_ess < self.num_draws:
            found.append(
                f"the least ESS is {self.least_ess:.0f} for {self.num_draws} draws looked at: dependent draws look like a fit too narrow, "
                "so raise the fit's num_draws or lower calibrate's"
            )
        return found

    def plot(self, *, prob: float = 0.95) -> Figure:
        """For the least uniform quantities, eight at most: the distribution function of F(θ*) less the uniform one, with the band that
        holds all of it with probability ``prob`` (ArviZ's, by simulation), and beside it the histogram, which VSBC wants symmetric.

        Raises: ValueError under ArviZ 1.x, whose plots have other arguments.
        """
        import arviz

        from scalemix.comparison.canvas import GRAY, SIGNAL, blank_figure, plain

        if not arviz.__version__.startswith("0."):
            raise ValueError(f"Calibration.plot draws with ArviZ 0.23 and this is {arviz.__version__}: table() and transforms need none")
        shown = list(self.table().index[:MOST_PANELS])
        figure = blank_figure(8.0, 1.0 + 1.6 * len(shown))
        grid = figure.subplots(len(shown), 2, squeeze=False)
        points = np.arange(1, self.num_data_sets) / self.num_data_sets
        bins = max(5, min(20, self.num_data_sets // 10))
        for (left, right), name in zip(grid, shown, strict=True):
            arviz.plot_ecdf(
                self.transforms[name].copy(),
                cdf=stats.uniform(0, 1).cdf,
                rvs=stats.uniform(0, 1).rvs,
                eval_points=points,
                difference=True,
                confidence_bands="simulated",
                ci_prob=prob,
                random_state=0,
                ax=left,
                plot_kwargs={"color": SIGNAL},
                fill_kwargs={"color": GRAY, "alpha": 0.4},
                show=False,
            )
            right.hist(self.transforms[name], bins=bins, range=(0.0, 1.0), color=SIGNAL, alpha=0.7)
            right.axhline(self.num_data_sets / bins, color=GRAY, lw=1.2)
            left.set_title(f"{name}: share of F(θ*) below, less the uniform", fontsize=9)
            right.set_title("histogram of F(θ*), which lies symmetric if unbiased", fontsize=9)
            for ax in (left, right):
                ax.set_xlabel("")
                plain(ax)
        figure.suptitle(f"Calibration over {self.num_data_sets} simulated data sets", fontsize=11)
        return figure


def calibrate(
    ppl: PPL,
    model: Model,
    *inputs: Any,
    fit: Callable[..., Posterior],
    num_data_sets: int,
    seed: int,
    num_draws: int = 100,
    sites: Sequence[str] | None = None,
    site: str = "y",
    usable: Callable[[np.ndarray], bool] | None = None,
    dtype: str = "float64",
) -> Calibration:
    """Draw θ* from the prior and y from θ*, fit y, and see where θ* lies: F(θ*) ~ U(0, 1) for an exact fit (Talts et al., 2018).

    Each data set is a fit of its own: some seconds in NumPyro, most of them compilation.

    Args:
        ppl: ``scalemix.pyro`` or ``scalemix.numpyro``.
        model: ``model(ppl, *inputs, y=None)``, with one outcome.
        inputs: what the model takes before y, e.g. x.
        fit: called as ``fit(*inputs, y, seed=…)``; e.g. ``partial(nuts.fit, ppl, model, settings=…)``, or of a guide
            ``partial(svi.fit, ppl, model, guide=…)``.
        num_data_sets: how many; 100 see a fit that is half as wide, 1000 one that is 10 % off.
        seed: of the simulation; data set i is fitted with the seed ``seed + i``.
        num_draws: of each fit so many draws are looked at, evenly spaced over its chains, so that a sampler's are nearly independent.
        sites: which quantities; ``None`` for the identified ones of a model that says what they are, else all sites and the log likelihood.
        site: name of the outcome's site.
        usable: of a data set y, whether to fit it. A choice by y alone leaves θ* a draw of the posterior, and it spares a sampler the far
            tail of a prior.
        dtype: "float32" or "float64", of the simulation.

    Raises: ValueError if the model samples no such outcome, a fit has fewer draws than ``num_draws`` or lacks a site, or too few data sets
        are usable.
    """
    for name, number in (("num_data_sets", num_data_sets), ("num_draws", num_draws)):
        check_positive_int(name, number)
    check_seed(seed)
    inputs = plain_data(inputs)
    size = num_data_sets if usable is None else SURPLUS * num_data_sets
    simulated = prior_predictive(ppl, model, *inputs, num_draws=size, seed=seed, site=site, dtype=dtype)
    used = [index for index, y in enumerate(simulated.draws) if usable is None or usable(y)][:num_data_sets]
    if len(used) < num_data_sets:
        raise ValueError(f"only {len(used)} of {size} data sets are usable, and {num_data_sets} are wanted: widen usable, or ask for fewer")
    with ppl.engine.precision(dtype, "cpu"):
        structure = ppl.engine.structure(model, (*inputs, simulated.draws[0]), seed=seed)
    transforms: dict[str, list[float]] = {}
    ess = []
    for count, index in enumerate(used):
        y = simulated.draws[index]
        posterior = fit(*inputs, y, seed=seed + count)
        with ppl.engine.precision(dtype, "cpu"):
            truth = {name: value[index] for name, value in simulated.sites.items()}
            expected = _quantities_of_truth(ppl, model, (*inputs, y), structure, truth, site, seed)
        drawn = _quantities_of_fit(posterior, site)
        common = [name for name in expected if name in drawn]
        names = common if sites is None else list(sites)
        if not set(names) <= set(common) or not names:
            raise ValueError(f"calibrate(sites={names}): give some of {', '.join(common)}")
        values = np.concatenate([drawn[name].reshape(*drawn[name].shape[:2], -1) for name in names], axis=2)
        shares = pit(_spaced(values, num_draws), np.concatenate([np.ravel(expected[name]) for name in names]), seed=seed + count)
        for label, share in zip(_labels(names, expected), shares, strict=True):
            transforms.setdefault(label, []).append(float(share))
        if not posterior.is_variational and values.shape[1] >= MIN_DRAWS:
            ess.append(np.nanmin(convergence(values).bulk_ess))
    return Calibration(
        {name: np.array(values) for name, values in transforms.items()}, num_draws, float(np.median(ess)) if ess else math.nan
    )


def _quantities_of_truth(
    ppl: PPL, model: Model, data: tuple, structure: Structure, truth: dict[str, np.ndarray], site: str, seed: int
) -> dict[str, np.ndarray]:
    """What is ranked, at θ*."""
    latents = {name: truth[name][None] for name in structure.latents}
    found = ppl.engine.evaluate(model, data, latents, chunk=1)
    sites = {name: value[None] for name, value in (latents | found.deterministics).items()}
    log_likelihood = {name: value[None] for name, value in found.log_likelihood.items()}
    identified = identified_quantities(ppl, model, data, structure, sites, log_likelihood, seed=seed)
    whole = identified or sites | {f"{site}_log_likelihood": log_likelihood[site].reshape(1, 1, -1).sum(axis=2)}
    return {name: np.asarray(value)[0, 0] for name, value in whole.items()}


def _quantities_of_fit(posterior: Posterior, site: str) -> dict[str, np.ndarray]:
    """The same at the draws, (chain, draw, *event)."""
    if posterior.identified:
        return posterior.identified
    values = posterior.log_likelihood[site]
    return posterior.draws | {f"{site}_log_likelihood": values.reshape(*values.shape[:2], -1).sum(axis=2)}


def _spaced(values: np.ndarray, count: int) -> np.ndarray:
    """``count`` draws (count, k) of (chain, draw, k), evenly spaced over the chains."""
    flat = values.reshape(-1, values.shape[2])
    if len(flat) < count:
        raise ValueError(f"calibrate(num_draws={count}): the fit has {len(flat)} draws; give as many at most")
    return flat[((np.arange(count) + 0.5) * len(flat) / count).astype(int)]


def _labels(names: Sequence[str], values: Mapping[str, np.ndarray]) -> list[str]:
    """``w1[2]`` and so on, in the order of raveled values."""
    return [
        name if not np.shape(values[name]) else f"{name}[{', '.join(map(str, index))}]"
        for name in names
        for index in np.ndindex(np.shape(values[name]))
    ]


def _p_uniform(transforms: np.ndarray) -> float:
    folded = np.abs(2.0 * transforms - 1.0)
    return min(1.0, 2.0 * min(float(stats.kstest(values, "uniform").pvalue) for values in (transforms, folded)))


def _p_symmetric(transforms: np.ndarray) -> float:
    """Of the Kolmogorov-Smirnov distance between F and 1 - F. The two are one sample, so its law is that of random signs of F - ½: sup over
    t of |#{F ≤ t} - #{F ≥ 1 - t}| is the farthest that the signs, summed from the outermost value inwards, get from 0."""

    def distance(sample: np.ndarray, axis: int) -> np.ndarray:
        order = np.argsort(-np.abs(sample), axis=axis)
        return np.abs(np.cumsum(np.sign(np.take_along_axis(sample, order, axis=axis)), axis=axis)).max(axis=axis)

    found = stats.permutation_test(
        (transforms - 0.5,),
        distance,
        permutation_type="samples",
        vectorized=True,
        n_resamples=NUM_FLIPS,
        alternative="greater",
        rng=np.random.default_rng(0),
    )
    return float(found.pvalue)
