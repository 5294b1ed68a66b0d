"""A report as one page, twice: Markdown with its figures beside it, and one HTML file with everything in it."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING

from scalemix.files import replacing, writing

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Page", "document", "image"]

HTML = Template("""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>$title</title>
<style>
body { font: 16px/1.5 system-ui, sans-serif; color: #1a1a1a; max-width: 1100px; margin: 2rem auto; padding: 0 1.5rem; }
h1 { font-size: 1.7rem; } h2 { font-size: 1.25rem; margin-top: 2.3rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: 0.9rem; font-variant-numeric: tabular-nums; }
th, td { padding: 0.25rem 0.8rem; text-align: right; white-space: nowrap; border-bottom: 1px solid #ddd; }
th { border-bottom: 2px solid #555; vertical-align: bottom; }
p.caption { font-size: 0.88rem; color: #444; max-width: 62rem; }
img { max-width: 100%; height: auto; display: block; margin: 1.2rem 0; }
$style
</style>
</head>
<body>
<h1>$title</h1>
$body
</body>
</html>
""")
OWN_STYLE = "th:first-child, td:first-child { text-align: left; }\np, li { max-width: 62rem; }"


def document(title: str, body: str, style: str) -> str:
    """An HTML file of a ``title`` and a ``body`` of HTML; ``style`` is what it has beside the common one."""
    return HTML.substitute(title=escape(title), body=body, style=style)


def image(figure: Figure, told: str) -> str:
    """A figure as HTML with its pixels in it, ``told`` for who cannot see it."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    data = base64.b64encode(buffer.getvalue()).decode("ascii")
    return f'<img alt="{escape(told)}" src="data:image/png;base64,{data}">'


@dataclass
class Page:
    """A title, and what comes under it in the order in which it is added."""

    title: str
    markdown: list[str] = field(default_factory=list)
    html: list[str] = field(default_factory=list)
    figures: dict[str, Figure] = field(default_factory=dict)

    def heading(self, text: str) -> None:
        """A heading of the second level."""
        self.markdown.append(f"## {text}")
        self.html.append(f"<h2>{escape(text)}</h2>")

    def paragraph(self, text: str, *, caption: bool = False) -> None:
        """A paragraph; a ``caption`` is set smaller."""
        self.markdown.append(text)
        self.html.append(f'<p class="caption">{escape(text)}</p>' if caption else f"<p>{escape(text)}</p>")

    def bullets(self, sentences: Sequence[str]) -> None:
        """A list."""
        self.markdown.append("\n".join(f"- {each}" for each in sentences))
        self.html.append("<ul>\n" + "\n".join(f"<li>{escape(each)}</li>" for each in sentences) + "\n</ul>")

    def table(self, headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """A table; the first column is of words, the others are numbers."""
        cells = [[cell.replace("|", "\\|") for cell in line] for line in (headings, *rows)]
        widths = [max(3, *(len(line[column]) for line in cells)) for column in range(len(headings))]
        lines = [
            " | ".join(
                cell.rjust(width) if column else cell.ljust(width) for column, (cell, width) in enumerate(zip(line, widths, strict=True))
            )
            for line in cells
        ]
        rule = "|".join("-" * (width + 1) + ":" if column else ":" + "-" * (width + 1) for column, width in enumerate(widths))
        self.markdown.append("\n".join([f"| {lines[0]} |", f"|{rule}|", *(f"| {line} |" for line in lines[1:])]))
        head = "".join(f"<th>{escape(cell)}</th>" for cell in headings)
        body = "\n".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
        self.html.append(f'<div class="scroll"><table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody>\n</table></div>')

    def figure(self, name: str, figure: Figure, told: str) -> None:
        """A figure, ``told`` for who cannot see it; a file ``name``.png beside the Markdown."""
        self.markdown.append(f"![{told}]({name}.png)")
        self.html.append(image(figure, told))
        self.figures[name] = figure

    def write(self, folder: Path) -> None:
        """``report.md``, ``report.html`` and the figures, into the folder.

        Raises: OSError if they cannot be written.
        """
        body = "\n".join(self.html)
        texts = {
            "report.md": f"# {self.title}\n\n" + "\n\n".join(self.markdown) + "\n",
            "report.html": document(self.title, body, OWN_STYLE),
        }
        for name, text in texts.items():
            with writing("the report", folder / name), replacing(folder / name) as temporary:
                temporary.write_text(text, encoding="utf-8")
        for name, figure in self.figures.items():
            figure.savefig(folder / f"{name}.png", dpi=110)
