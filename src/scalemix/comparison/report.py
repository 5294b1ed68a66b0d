"""The comparison as text: the table in three parts that a person can read, as Markdown, and the files of a report."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

    from scalemix.comparison.table import Comparison

__all__ = [
    "CAPTIONS",
    "HEADINGS",
    "LEFT",
    "PARTS",
    "TITLES",
    "cells_of",
    "markdown_parts",
    "markdown_table",
    "rounded",
    "shown_parts",
    "write_report",
]

WHO = ("prior", "parametrization", "method", "backend")
PARTS: dict[str, tuple[str, ...]] = {
    "prediction": (
        *("test_rmse", "test_log_density", "test_crps", "coverage_50", "coverage_90", "calibration_error"),
        *("elpd_loo", "elpd_loo_se", "pareto_k"),
    ),
    "inference": (
        *("converged", "worst_rhat", "min_ess_bulk", "min_ess_tail", "ess_per_second", "e_bfmi", "divergences"),
        *("elbo", "elbo_se", "khat", "khat_blocks", "khat_predictive", "size", "seconds_compile", "seconds_run"),
    ),
    "reference": (
        *("w1_to_reference", "w1_floor", "sliced_to_reference", "sliced_floor", "mmd_to_reference", "mmd_floor"),
        *("sd_ratio_min", "sd_ratio_median", "sd_ratio_max", "sd_ratio_floor", "inclusion_error", "inclusion_floor"),
    ),
}
TITLES = {
    "prediction": "Prediction",
    "inference": "Sampler and optimizer",
    "reference": "Against the reference of the same prior",
}
HEADINGS = {
    "fit": "fit",
    "prior": "prior",
    "parametrization": "form",
    "method": "method",
    "backend": "backend",
    "converged": "converged",
    "test_rmse": "test RMSE",
    "test_log_density": "test log density",
    "test_crps": "test CRPS",
    "coverage_50": "in 50 %",
    "coverage_90": "in 90 %",
    "calibration_error": "calib. error",
    "elpd_loo": "elpd_loo",
    "elpd_loo_se": "± SE",
    "pareto_k": "pareto k",
    "elbo": "ELBO",
    "elbo_se": "± MCSE",
    "khat": "k-hat",
    "khat_blocks": "k-hat block",
    "khat_predictive": "k-hat pred.",
    "worst_rhat": "R-hat",
    "min_ess_bulk": "bulk ESS",
    "min_ess_tail": "tail ESS",
    "ess_per_second": "ESS/s",
    "e_bfmi": "E-BFMI",
    "divergences": "div.",
    "w1_to_reference": "W₁",
    "w1_floor": "W₁ floor",
    "sliced_to_reference": "sliced W₁",
    "sliced_floor": "sliced floor",
    "mmd_to_reference": "MMD",
    "mmd_floor": "MMD floor",
    "sd_ratio_min": "sd ratio min",
    "sd_ratio_median": "median",
    "sd_ratio_max": "max",
    "sd_ratio_floor": "sd floor",
    "inclusion_error": "incl. error",
    "inclusion_floor": "incl. floor",
    "size": "draws",
    "seconds_compile": "s compile",
    "seconds_run": "s run",
}
DECIMALS = {
    "test_log_density": 3,
    "coverage_50": 2,
    "coverage_90": 2,
    "calibration_error": 3,
    "elpd_loo": 1,
    "elpd_loo_se": 1,
    "pareto_k": 2,
    "elbo": 2,
    "elbo_se": 2,
    "khat": 2,
    "khat_blocks": 2,
    "khat_predictive": 2,
    "worst_rhat": 3,
    "min_ess_bulk": 0,
    "min_ess_tail": 0,
    "e_bfmi": 2,
    "divergences": 0,
    "mmd_to_reference": 3,
    "mmd_floor": 3,
    "sd_ratio_min": 2,
    "sd_ratio_median": 2,
    "sd_ratio_max": 2,
    "sd_ratio_floor": 2,
    "inclusion_error": 3,
    "inclusion_floor": 3,
    "seconds_compile": 1,
    "seconds_run": 1,
}
CAPTIONS = {
    "prediction": (
        "One row a fit. *test*: held-out cases, in the units of the target; *log density* and *elpd_loo* go up, in nats, RMSE "
        "and CRPS go down. *in 50 %*, *in 90 %*: share of the held-out outcomes inside the central predictive interval of that "
        "probability. *calib. error*: by how much a predictive probability is off, on average over all levels (0.31/√n for n "
        "cases of a perfect forecast). *elpd_loo* of a guide is that of the exact posterior, by weights p(θ, y)/q(θ)/p(yᵢ | θ),"
        " blank where its k-hat is too high; *pareto k* is the largest over the cases."
    ),
    "inference": (
        "*converged*: a sampler's fit keeps R-hat ≤ 1.01, bulk and tail ESS ≥ 400, E-BFMI > 0.3 and divergences ≤ 0.1 %; the "
        "ELBO of a guide (without a density: its loss) stands still over the last tenth of its steps. *R-hat*, *ESS*: the worst "
        "of all scalars of the model. *ELBO* in nats, over the kept draws of the guide; it compares guides of one model in one "
        "form. *k-hat*: can the guide's draws be reweighted to the posterior? Overall, for the means of a block of coefficients "
        "(the worst block), and for the held-out predictive densities; up to min(1 - 1/log₁₀ S, 0.7) they can."
    ),
    "reference": (
        "Fits under one prior against its reference (ref); fits under another prior are another posterior, and a distance to "
        "them would mean nothing. Beside each number its Monte Carlo floor, the same number between the two halves in time of "
        "the reference: up to about twice the floor is noise. *W₁*: mean 1-Wasserstein distance of the coefficients' marginals,"
        " in their unit (of a network: of what is identified, in sds of the reference); *sliced W₁*: the same along 128 random "
        "directions; *MMD*: Gaussian kernel, coordinates in sds of the reference, bandwidth their median distance. *sd ratio*: "
        "sd of a coefficient over that of the reference; *sd floor*: the largest factor between the halves. *incl. error*: "
        "largest difference of an inclusion probability. Of several blocks of coefficients the worst is shown."
    ),
}
LEFT = ("fit", *WHO, "converged")


def markdown_parts(table: pd.DataFrame) -> str:
    """The parts of the table that have something in them, each under its heading."""
    return "\n\n".join(f"### {TITLES[part]}\n\n{markdown_table(table, part)}" for part in shown_parts(table))


def shown_parts(table: pd.DataFrame) -> list[str]:
    """The parts that have an entry."""
    return [part for part in PARTS if not set(cells_of(table, part)[0]) <= set(LEFT) or part == "inference"]


def cells_of(table: pd.DataFrame, part: str) -> tuple[list[str], list[list[str]]]:
    """Names of the columns of a part that have an entry, and the rows as text.

    Raises: ValueError for an unknown part.
    """
    if part not in PARTS:
        raise ValueError(f"the table has no part {part!r}: give one of {', '.join(map(repr, PARTS))}")
    who = WHO if not table.duplicated(list(WHO)).any() else ("fit", *WHO)
    names = [*who, *PARTS[part]]
    rows = [[_cell(name, row) for name in names] for _, row in table.iterrows()]
    shown = [i for i, name in enumerate(names) if name == "converged" or any(row[i] for row in rows)]
    return [names[i] for i in shown], [[row[i] for i in shown] for row in rows]


def markdown_table(table: pd.DataFrame, part: str) -> str:
    """Markdown of one part, columns padded so that it also reads as plain text."""
    names, rows = cells_of(table, part)
    cells = [[HEADINGS[name] for name in names], *([each.replace("|", "\\|") for each in row] for row in rows)]
    left = [name in LEFT for name in names]
    widths = [max(3, *(len(line[i]) for line in cells)) for i in range(len(names))]
    lines = [" | ".join(c.ljust(w) if a else c.rjust(w) for c, w, a in zip(line, widths, left, strict=True)) for line in cells]
    rule = "|".join(":" + "-" * (w + 1) if a else "-" * (w + 1) + ":" for w, a in zip(widths, left, strict=True))
    return "\n".join([f"| {lines[0]} |", f"|{rule}|", *(f"| {each} |" for each in lines[1:])])


def write_report(comparison: Comparison, folder: Path, *, noise_prefix: str, about: str = "") -> Path:
    """``table.csv``, ``blocks.csv``, ``table.md``, figures, ``report.md`` and ``report.html``."""
    from scalemix.comparison.html_report import html_report

    folder.mkdir(parents=True, exist_ok=True)
    table = comparison.table
    table.to_csv(folder / "table.csv")
    comparison.blocks.to_csv(folder / "blocks.csv")
    (folder / "table.md").write_text(f"{comparison.to_markdown()}\n", encoding="utf-8")
    figures = comparison.plot(folder, noise_prefix=noise_prefix)
    verdicts = "\n".join(f"- {sentence}" for sentence in comparison.verdicts)
    tables = "\n\n".join(f"### {TITLES[part]}\n\n{markdown_table(table, part)}\n\n{CAPTIONS[part]}" for part in shown_parts(table))
    pictures = "\n\n".join(f"![{figure.get_suptitle()}]({name}.png)" for name, figure in figures.items())
    told = f"{about}\n\n" if about else ""
    text = f"# Comparison of {len(comparison.fits)} fits\n\n{told}## Verdicts\n\n{verdicts}\n\n## Tables\n\n{tables}\n"
    path = folder / "report.md"
    path.write_text(text + (f"\n## Figures\n\n{pictures}\n" if pictures else ""), encoding="utf-8")
    (folder / "report.html").write_text(html_report(comparison, figures, about=about), encoding="utf-8")
    return path


def rounded(name: str, value: float) -> str:
    """A number of the column ``name`` as people want to read it, "" for nan."""
    if math.isnan(value):
        return ""
    return f"{value:.{DECIMALS[name]}f}" if name in DECIMALS else _three_digits(value)


def _cell(name: str, row: Any) -> str:
    if name == "fit":
        return str(row.name)
    if name == "size":
        return f"{row['chains']} × {row['draws']}"
    value = row[name]
    if name == "converged":
        return "" if value is None else "yes" if value else "no"
    if name == "w1_to_reference" and row["reference"]:
        return "ref"
    return value if isinstance(value, str) else rounded(name, value)


def _three_digits(value: float) -> str:
    """Three significant digits without an exponent."""
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    return f"{value:.{max(0, 2 - math.floor(math.log10(abs(value))))}f}"
