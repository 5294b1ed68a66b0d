"""The tables of a study: means and standard errors over seeds or splits beside the paper's numbers, as CSV, Markdown and a figure."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from scalemix.files import replacing, writing
from scalemix.studies.cell import Result, Study
from scalemix.studies.ledger import REMEDY

__all__ = ["summary", "to_markdown", "write_report"]


def summary(study: Study, results: Sequence[Result]) -> pd.DataFrame:
    """One line a number of a table: table, row, column, n, mean, se (over replicates; nan of one), paper, difference = mean − paper.

    Args:
        study: which.
        results: of its cells that are done.
    """
    found: dict[tuple[str, str, str], list[float]] = {}
    for result in results:
        for entry in study.entries(result):
            found.setdefault((entry.table, entry.row, entry.column), []).append(entry.value)
    lines = []
    for place, values in found.items():
        mean, count = float(np.mean(values)), len(values)
        error = float(np.std(values, ddof=1) / np.sqrt(count)) if count > 1 else float("nan")
        paper = study.paper.get(place, float("nan"))
        lines.append((*place, count, mean, error, paper, mean - paper))
    return pd.DataFrame(lines, columns=["table", "row", "column", "n", "mean", "se", "paper", "difference"])


def to_markdown(study: Study, size: str, results: Sequence[Result], *, figure: str | None) -> str:
    """Everything that a person wants to know of a run: command, tables, settings, departures, code and versions.

    Args:
        study, size: which.
        results: of its cells that are done.
        figure: path of the figure, ``None`` if there is none.
    """
    table = summary(study, results)
    codes = sorted({result.code for result in results})
    versions = results[0].versions if results else {}
    text = [
        f"# {study.title}",
        "",
        f"{study.source}. `scalemix study {study.name} --size {size}`: {study.sizes[size]}.",
        f"{len(results)} of {len(study.cells(size, results))} cells are done, in {_hours(results):.2f} hours of one core.",
    ]
    for name in dict.fromkeys(table["table"]):
        unit = study.units.get(name)
        text += ["", f"## {name}" + (f" ({unit})" if unit else ""), "", *_grid(table[table["table"] == name])]
    text += ["", "Mean ± standard error over n fits; in brackets the paper's number and ours less the paper's."]
    if said := study.verdicts(results):
        text += ["", "## What they say", "", *(f"- {sentence}" for sentence in said)]
    text += ["", "## How it was run", ""]
    text += [f"- {sentence}" for sentence in study.settings]
    text += [f"- Sources: {', '.join(codes)}; {', '.join(f'{name} {number}' for name, number in versions.items())}."]
    if figure is not None:
        text += ["", f"![{study.title}]({figure})"]
    return "\n".join(text) + "\n"


def write_report(study: Study, size: str, results: Sequence[Result], folder: Path) -> Path:
    """Write table.csv, settings.json, figure.png and report.md into a folder; returns the path of the last.

    Args:
        study, size: which.
        results: of its cells that are done.
        folder: where to; it has to be there.

    Raises: OSError if it cannot be written to.
    """
    table = summary(study, results)
    with writing("the study", folder, REMEDY):
        with replacing(folder / "table.csv") as temporary:
            table.to_csv(temporary, index=False, float_format="%.6g")
        settings = {result.cell.name: dict(result.cell.spec) for result in results}
        with replacing(folder / "settings.json") as temporary:
            temporary.write_text(json.dumps(_distinct(settings), indent=1), encoding="utf-8")
        path = folder / "figure.png"
        drawn = _figure(study, table, path)
        with replacing(folder / "report.md") as temporary:
            temporary.write_text(to_markdown(study, size, results, figure=path.name if drawn else None), encoding="utf-8")
    return folder / "report.md"


def _hours(results: Sequence[Result]) -> float:
    return sum(result.seconds for result in results) / 3600


def _grid(table: pd.DataFrame) -> list[str]:
    columns = list(dict.fromkeys(table["column"]))
    lines = ["| | " + " | ".join(columns) + " |", "|---" * (len(columns) + 1) + "|"]
    for row in dict.fromkeys(table["row"]):
        own = table[table["row"] == row].set_index("column")
        lines.append(f"| {row} | " + " | ".join(_cell(own.loc[each]) if each in own.index else "" for each in columns) + " |")
    return lines


def _cell(line: pd.Series) -> str:
    digits = _digits(line)
    text = f"{line['mean']:.{digits}f}"
    if np.isfinite(line["se"]):
        text += f" ± {line['se']:.{digits}f}"
    text += f", n={line['n']}"
    return text if np.isnan(line["paper"]) else f"{text} ({line['paper']:g}; {line['difference']:+.{digits}f})"


def _digits(line: pd.Series) -> int:
    """So many that the standard error (of one fit, the number itself) has two (four) figures: from one to four."""
    size = line["se"] if np.isfinite(line["se"]) and line["se"] > 0 else abs(line["mean"]) / 100
    if not np.isfinite(size) or size == 0.0:
        return 1
    return int(np.clip(1 - np.floor(np.log10(size)), 1 if size >= 1 else 2, 4))


def _distinct(settings: Mapping[str, Mapping]) -> dict[str, dict]:
    """The settings of cells that differ in their replicate alone stand once."""
    found: dict[str, dict] = {}
    for name, spec in settings.items():
        plain = {key: value for key, value in spec.items() if key not in ("seed", "split")}
        label = json.dumps(plain, sort_keys=True)
        entry = found.setdefault(label, {"cells": [], **plain})
        entry["cells"].append(name)
    return {f"{number}": entry for number, entry in enumerate(found.values(), start=1)}


def _figure(study: Study, table: pd.DataFrame, path: Path) -> bool:
    """A panel for each table and column: ours with two standard errors, and the paper's; not drawn without matplotlib."""
    try:
        import matplotlib as mpl
    except ModuleNotFoundError:
        return False
    mpl.use("Agg")
    import matplotlib.pyplot as plt

    panels = [(name, column) for name in table["table"].unique() for column in table[table["table"] == name]["column"].unique()]
    if not panels:
        return False
    wide = min(4, len(panels))
    high = -(-len(panels) // wide)
    rows = max(table[(table["table"] == name) & (table["column"] == column)]["row"].nunique() for name, column in panels)
    drawn, axes = plt.subplots(high, wide, figsize=(3.3 * wide, (1.0 + 0.28 * rows) * high), squeeze=False, layout="constrained")
    for axis, (name, column) in zip(axes.flat, panels, strict=False):
        own = table[(table["table"] == name) & (table["column"] == column)].iloc[::-1]
        at = np.arange(len(own))
        axis.errorbar(own["mean"], at, xerr=2 * own["se"].fillna(0.0), fmt="o", ms=4, color="C0", label="ours, ± 2 se")
        known = own["paper"].notna().to_numpy()
        axis.plot(own["paper"][known], at[known], "x", color="C3", label="paper")
        axis.set_yticks(at, own["row"], fontsize=8)
        axis.set_ylim(-0.6, len(own) - 0.4)
        axis.tick_params(axis="x", labelsize=8)
        axis.locator_params(axis="x", nbins=5)
        axis.set_title(f"{name}\n{column}", fontsize=9)
        axis.grid(axis="x", lw=0.3)
    for axis in list(axes.flat)[len(panels) :]:
        axis.set_axis_off()
    handles, labels = axes.flat[0].get_legend_handles_labels()
    drawn.legend(handles, labels, loc="outside lower center", ncols=2, frameon=False, fontsize=8)
    with replacing(path) as temporary:
        drawn.savefig(temporary, dpi=130, format="png")
    plt.close(drawn)
    return True
