"""The comparison as files: a Markdown table, and a report with table, verdicts and figures."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

    from scalemix.comparison.table import Comparison

__all__ = ["markdown_table", "write_report"]

HEADINGS = {
    "prior": "prior",
    "parametrization": "form",
    "method": "method",
    "backend": "backend",
    "converged": "converged",
    "test_rmse": "test RMSE",
    "test_log_density": "test log density",
    "elpd_loo": "elpd_loo",
    "pareto_k": "pareto k",
    "khat": "k-hat",
    "worst_rhat": "R-hat",
    "min_ess_bulk": "bulk ESS",
    "ess_per_second": "ESS/s",
    "divergences": "div.",
    "w1_to_reference": "W₁ to ref.",
    "w1_floor": "W₁ floor",
    "size": "draws",
    "seconds_compile": "s compile",
    "seconds_run": "s run",
}
DECIMALS = {
    "test_log_density": 3,
    "elpd_loo": 1,
    "pareto_k": 2,
    "khat": 2,
    "worst_rhat": 3,
    "min_ess_bulk": 0,
    "divergences": 0,
    "seconds_compile": 1,
    "seconds_run": 1,
}
CAPTION = (
    "One row a fit. *converged*: a sampler's fit keeps R-hat ≤ 1.01, bulk and tail ESS ≥ 400, E-BFMI > 0.3 and divergences ≤ 0.1 %; "
    "the ELBO of a guide stands still over the last tenth of its steps. *test*: held-out cases, in the units of the target. "
    "*elpd_loo* in nats, for a guide by weights p(θ, y)/q(θ)/p(yᵢ | θ), blank where its *k-hat* is too high; *pareto k* is the "
    "largest over the cases. *R-hat*, *bulk ESS*: the worst of all scalars of the model. *W₁*: mean 1-Wasserstein distance of the "
    "coefficients to the reference (ref) of the same prior; *floor*: between two halves of the reference."
)
LEFT = ("prior", "parametrization", "method", "backend", "converged")


def markdown_table(table: pd.DataFrame) -> str:
    """Markdown of the table, columns padded so that it also reads as plain text."""
    names = list(HEADINGS)
    rows = [[_cell(name, row) for name in names] for _, row in table.iterrows()]
    shown = [i for i in range(len(names)) if names[i] in ("converged",) or any(row[i] for row in rows)]
    cells = [[HEADINGS[names[i]] for i in shown], *([row[i] for i in shown] for row in rows)]
    left = [names[i] in LEFT for i in shown]
    widths = [max(3, *(len(line[i]) for line in cells)) for i in range(len(shown))]
    lines = [" | ".join(c.ljust(w) if a else c.rjust(w) for c, w, a in zip(line, widths, left, strict=True)) for line in cells]
    rule = "|".join(":" + "-" * (w + 1) if a else "-" * (w + 1) + ":" for w, a in zip(widths, left, strict=True))
    return "\n".join([f"| {lines[0]} |", f"|{rule}|", *(f"| {each} |" for each in lines[1:])])


def write_report(comparison: Comparison, folder: Path, *, noise_prefix: str) -> Path:
    """``table.csv``, ``table.md``, figures and ``report.md``."""
    folder.mkdir(parents=True, exist_ok=True)
    comparison.table.to_csv(folder / "table.csv")
    table = comparison.to_markdown()
    (folder / "table.md").write_text(f"{table}\n", encoding="utf-8")
    figures = comparison.plot(folder, noise_prefix=noise_prefix)
    verdicts = "\n".join(f"- {sentence}" for sentence in comparison.verdicts)
    pictures = "\n\n".join(f"![{figure.get_suptitle()}]({name}.png)" for name, figure in figures.items())
    text = f"# Comparison of {len(comparison.fits)} fits\n\n{table}\n\n{CAPTION}\n\n## Verdicts\n\n{verdicts}\n"
    path = folder / "report.md"
    path.write_text(text + (f"\n## Figures\n\n{pictures}\n" if pictures else ""), encoding="utf-8")
    return path


def _cell(name: str, row: Any) -> str:
    if name == "size":
        return f"{row['chains']} × {row['draws']}"
    value = row[name]
    if name == "converged":
        return "" if value is None else "yes" if value else "no"
    if name == "w1_to_reference" and row["reference"]:
        return "ref"
    if isinstance(value, str):
        return value.replace("|", "\\|")
    if math.isnan(value):
        return ""
    if name not in DECIMALS:
        return _three_digits(value)
    return f"{value:.{DECIMALS[name]}f}"


def _three_digits(value: float) -> str:
    """Three significant digits without an exponent."""
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    return f"{value:.{max(0, 2 - math.floor(math.log10(abs(value))))}f}"
