"""What the commands share: the console they print to, rows of labels and texts, and how they refuse bad input."""

from __future__ import annotations

from typing import NoReturn

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

__all__ = ["console", "print_rows", "refuse"]

console = Console()


def refuse(sentence: str) -> NoReturn:
    """End with exit code 2 and one sentence on standard error."""
    Console(stderr=True, soft_wrap=True, highlight=False).print(f"Error: {sentence}", markup=False)
    raise typer.Exit(2)


def print_rows(rows: dict[str, str]) -> None:
    """Labels in one column, what they stand for in another."""
    table = Table.grid(padding=(0, 3, 0, 0))
    table.add_column(no_wrap=True)
    for label, text in rows.items():
        table.add_row(Text(label, style="bold"), Text(text))
    console.print(table)
