"""``compare``: fits of the same data in one table, one row a fit, with verdicts in words, figures and a report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from scalemix.comparison.contrasts import Contrast, contrast, yardstick
from scalemix.comparison.fits import Fit, judge
from scalemix.comparison.references import Reference, choose_references, group_by_prior, prior_labels, prior_of
from scalemix.comparison.rows import block_table, fit_row
from scalemix.comparison.verdicts import verdicts_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from scalemix.posterior import Posterior

__all__ = ["Comparison", "compare"]

NAN = float("nan")


@dataclass(frozen=True)
class Comparison:
    """What ``compare`` found.

    Attributes:
        table: one row a fit, indexed by its name; numbers in full precision, nan where there is nothing to say. The columns in the three
            parts in which people read them: ``scalemix.comparison.report.PARTS``.
        verdicts: the table in words, sentences grouped by prior.
        fits: all that was computed, by name.
        references: by prior, the fit the others are measured against and whether it is valid.
        contrasts: by name, the comparison with the reference, where there is a valid one.
        labels: short name of each prior.
    """

    table: pd.DataFrame
    verdicts: list[str]
    fits: dict[str, Fit] = field(repr=False)
    references: dict[str, Reference] = field(repr=False)
    contrasts: dict[str, Contrast] = field(repr=False)
    labels: dict[str, str] = field(repr=False)

    @property
    def blocks(self) -> pd.DataFrame:
        """Block by block (a weight site; of a network, an identified quantity) what ``table`` sums up: one row a fit and a block that has a
        k-hat or a distance to the reference. Columns: khat, then w1, sliced, mmd, inclusion_error, each with its ``_floor``."""
        return block_table(self.fits, self.measured)

    @property
    def measured(self) -> dict[str, Contrast]:
        """``contrasts`` without those of the references with themselves."""
        return {name: found for name, found in self.contrasts.items() if not self.table.at[name, "reference"]}

    def to_markdown(self, part: str | None = None) -> str:
        """The table for people: rounded, blank cells empty, columns without an entry left out.

        Args:
            part: "prediction", "inference" or "reference": one table of these columns; ``None``: all three, under headings.

        Raises: ValueError for an unknown part.
        """
        from scalemix.comparison.report import markdown_parts, markdown_table

        return markdown_parts(self.table) if part is None else markdown_table(self.table, part)

    def plot(self, directory: str | Path | None = None, *, noise_prefix: str = "noise_") -> dict[str, Figure]:
        """The figures by name, written as PNG files if a directory is given; a figure that has nothing to show is left out.

        Args:
            directory: where to write them; ``None`` writes nothing.
            noise_prefix: columns whose label begins so are known to be noise, and are told apart from the others.
        """
        from scalemix.comparison.figures import figures_of

        figures = figures_of(self, noise_prefix=noise_prefix)
        if directory is not None:
            Path(directory).mkdir(parents=True, exist_ok=True)
            for name, figure in figures.items():
                figure.savefig(Path(directory) / f"{name}.png", dpi=150)
        return figures

    def report(self, path: str | Path, *, noise_prefix: str = "noise_", about: str = "") -> Path:
        """Write into the folder ``path``: ``report.html``, which is one file with everything in it, and ``report.md``; beside them
        ``table.csv``, ``blocks.csv``, ``table.md`` and the figures (PNG). Returns the path of report.md.

        ``noise_prefix`` as in :meth:`plot`; ``about`` is a sentence under the title: which data, which model, in which units.
        """
        from scalemix.comparison.report import write_report

        return write_report(self, Path(path), noise_prefix=noise_prefix, about=about)


def compare(
    posteriors: Mapping[str, Posterior],
    *,
    reference: str | Mapping[str, str] | None = None,
    data: Sequence[Any] | None = None,
    target_scale: tuple[float, float] = (0.0, 1.0),
) -> Comparison:
    """Compare fits of one data set.

    Rows under the same prior (``info.prior``) are measured against that prior's reference; distances between priors mean nothing and are
    not made. A reference must pass the rule of ``ReferenceRule``; otherwise the distances of its prior are blank and a verdict says why.

    Args:
        posteriors: fits by name; rows come in this order.
        reference: ``None``: of each prior, its NUTS fit in the marginal form, else in the expanded one. A fit's name: the reference of its
            own prior. Or a dict from prior to name.
        data: held-out (inputs, outcome) in the units of the fits, or ``None``: no test columns.
        target_scale: (location, scale) with y_fit = (y - location)/scale: test columns are reported in the units of y.

    Raises: ValueError for no fits, fits of different data, a reference that does not exist, or ``data`` for a posterior without its model.

    Example:
        >>> comparison = sm.compare({"laplace nuts": nuts_fit, "laplace svi": svi_fit}, data=(x_test, y_test))
        >>> comparison.table["worst_rhat"], comparison.verdicts
    """
    if not isinstance(posteriors, Mapping) or not posteriors:
        raise ValueError("compare takes a dict from name to posterior with at least one fit in it")
    _check_same_data(posteriors)
    fits = [judge(name, posterior, data=data, target_scale=target_scale) for name, posterior in posteriors.items()]
    groups = group_by_prior(fits)
    references, labels = choose_references(groups, reference), prior_labels(groups)
    contrasts: dict[str, Contrast] = {}
    verdicts: list[str] = []
    for prior, group in groups.items():
        chosen = references[prior]
        if chosen.valid and chosen.fit is not None:
            by = yardstick(chosen.fit.posterior)
            contrasts |= {fit.name: contrast(fit.posterior, by) for fit in group}
        has_guide_only = all(fit.posterior.info.parametrization == "single" for fit in group)
        verdicts += verdicts_of(prior, labels[prior], group, chosen, contrasts, has_guide_only=has_guide_only)
    rows = [fit_row(fit, labels[prior_of(fit)], references[prior_of(fit)], contrasts.get(fit.name)) for fit in fits]
    table = pd.DataFrame(rows, index=pd.Index([fit.name for fit in fits], name="fit"))
    return Comparison(table, verdicts, {fit.name: fit for fit in fits}, references, contrasts, labels)


def _check_same_data(posteriors: Mapping[str, Posterior]) -> None:
    """elpd, distances and test scores compare only on the same observations."""
    first_name, first = next(iter(posteriors.items()))
    for name, posterior in posteriors.items():
        shapes = [{site: value.shape[2:] for site, value in each.log_likelihood.items()} for each in (first, posterior)]
        shared = first.observed.keys() & posterior.observed.keys()
        same = shapes[0] == shapes[1] and all(
            np.allclose(first.observed[site], posterior.observed[site], rtol=1e-5, atol=1e-6) for site in shared
        )
        if not same:
            raise ValueError(f"{first_name!r} and {name!r} were fitted to different data: compare fits of the same observations")
