"""The comparison as one HTML file that needs nothing beside it: verdicts, tables, figures (as PNG within), and what the words mean."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from html import escape
from string import Template
from typing import TYPE_CHECKING

import pandas as pd

from scalemix.comparison.report import CAPTIONS, HEADINGS, LEFT, TITLES, cells_of, rounded, shown_parts
from scalemix.page import document, image

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from scalemix.comparison.table import Comparison

__all__ = ["html_report"]

BODY = Template("""$about
<nav><a href="#verdicts">Verdicts</a><a href="#tables">Tables</a>$links</nav>
<h2 id="verdicts">Verdicts</h2>
<ul>
$verdicts
</ul>
<h2 id="tables">Tables</h2>
$tables
$figures""")
STYLE = """body { max-width: 1500px; } h3 { font-size: 1.05rem; margin: 1.8rem 0 0.5rem; }
nav a { margin-right: 1.2rem; }
table { font-size: 0.82rem; } th, td { padding: 0.2rem 0.6rem; } th.left, td.left { text-align: left; }
tr.reference { background: #eef4f8; } tr.first td { border-top: 2px solid #999; } td.no { color: #b03a00; font-weight: 600; }
li { margin-bottom: 0.35rem; max-width: 75rem; } li.prior { list-style: none; margin: 1rem 0 0.35rem -1.2rem; font-weight: 600; }"""
BLOCK_HEADINGS = dict(
    zip(
        ("khat", "w1", "w1_floor", "sliced", "sliced_floor", "mmd", "mmd_floor", "inclusion_error", "inclusion_floor"),
        ("k-hat", "W₁", "W₁ floor", "sliced W₁", "sliced floor", "MMD", "MMD floor", "incl. error", "incl. floor"),
        strict=True,
    )
)

BLOCK_CAPTION = (
    "*k-hat*: can the means of the block be had by reweighting the guide's draws? Distances as above, beside their Monte Carlo floors."
)
IDENTIFIED_CAPTION = (
    f"{BLOCK_CAPTION} The blocks are what is identified, and distances are in sds of the reference: *_mean*, the values of the function at "
    "ten fixed cases, in standardized units of the target; *_log_likelihood*, its sum over the cases, in nats; *sigma*, the sd of the "
    "observations about the function; *_sorted*, noises of hidden units in increasing order. The weights themselves have no meaning one "
    "by one, as hidden units can be renumbered."
)


def html_report(comparison: Comparison, figures: Mapping[str, Figure], *, about: str = "") -> str:
    """The text of the file; ``figures`` are those of ``Comparison.plot``, ``about`` a sentence under the title."""
    parts = [_section(comparison, part) for part in shown_parts(comparison.table)]
    blocks = comparison.blocks
    if len(blocks) and blocks.index.get_level_values("block").nunique() > 1:
        caption = IDENTIFIED_CAPTION if any(fit.posterior.identified for fit in comparison.fits.values()) else BLOCK_CAPTION
        parts.append(f'<h3>Block by block</h3>\n{_blocks_table(blocks)}\n<p class="caption">{_emphasized(caption)}</p>')
    pictures = "\n".join(image(figure, figure.get_suptitle()) for figure in figures.values())
    body = BODY.substitute(
        about=f"<p>{escape(about)}</p>" if about else "",
        links='<a href="#figures">Figures</a>' if pictures else "",
        verdicts="\n".join(_verdict(comparison, sentence) for sentence in comparison.verdicts),
        tables="\n".join(parts),
        figures=f'<h2 id="figures">Figures</h2>\n{pictures}' if pictures else "",
    )
    return document(f"Comparison of {len(comparison.fits)} fits", body, STYLE)


def _section(comparison: Comparison, part: str) -> str:
    """One part of the table; a line above each prior, the references shaded."""
    table = comparison.table
    names, rows = cells_of(table, part)
    priors = table["prior"].tolist()
    starts = [index == 0 or priors[index] != priors[index - 1] for index in range(len(priors))]
    styles = [" ".join(["reference"] * bool(ref) + ["first"] * start) for ref, start in zip(table["reference"], starts, strict=True)]
    found = _html_table([HEADINGS[name] for name in names], rows, left=[name in LEFT for name in names], styles=styles)
    return f'<h3 id="{part}">{TITLES[part]}</h3>\n{found}\n<p class="caption">{_emphasized(CAPTIONS[part])}</p>'


def _blocks_table(blocks: pd.DataFrame) -> str:
    kept = [name for name in blocks.columns if blocks[name].notna().any()]
    rows = [
        [*map(str, names), *(rounded(name, row[name]) for name in kept)]
        for names, (_, row) in zip(blocks.index, blocks.iterrows(), strict=True)
    ]
    headings = ["fit", "block", *(BLOCK_HEADINGS[name] for name in kept)]
    return _html_table(headings, rows, left=[True, True, *[False] * len(kept)], styles=[""] * len(rows))


def _html_table(headings: Sequence[str], rows: Sequence[Sequence[str]], *, left: Sequence[bool], styles: Sequence[str]) -> str:
    def line(cells: Sequence[str], tag: str, style: str = "") -> str:
        classes = [" ".join(["left"] * is_left + ["no"] * (cell == "no")) for cell, is_left in zip(cells, left, strict=True)]
        inside = "".join(
            f'<{tag} class="{each}">{escape(cell)}</{tag}>' if each else f"<{tag}>{escape(cell)}</{tag}>"
            for cell, each in zip(cells, classes, strict=True)
        )
        return f'<tr class="{style}">{inside}</tr>' if style else f"<tr>{inside}</tr>"

    body = "\n".join(line(row, "td", style) for row, style in zip(rows, styles, strict=True))
    return f'<div class="scroll"><table>\n<thead>{line(headings, "th")}</thead>\n<tbody>\n{body}\n</tbody>\n</table></div>'


def _verdict(comparison: Comparison, sentence: str) -> str:
    """A sentence on a prior's reference stands out over those on its fits."""
    of_a_fit = any(sentence.startswith(f"{name}: ") for name in comparison.fits)
    return f"<li>{escape(sentence)}</li>" if of_a_fit else f'<li class="prior">{escape(sentence)}</li>'


def _emphasized(text: str) -> str:
    return re.sub(r"\*(.+?)\*", r"<em>\1</em>", escape(text))
