"""What the commands share: the console, rows of labels and texts, a counting bar, Ctrl-C, and how they refuse bad input."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

__all__ = ["INTERRUPTED", "console", "counting", "interruptible", "print_rows", "refuse", "say", "writable"]

console = Console()
INTERRUPTED = 130  # exit code after Ctrl-C


def refuse(sentence: str) -> NoReturn:
    """End with exit code 2 and one sentence on standard error."""
    Console(stderr=True, soft_wrap=True, highlight=False).print(f"Error: {sentence}", markup=False)
    raise typer.Exit(2)


def say(text: str) -> None:
    """Print the text as it is: no markup, no colours, no line broken."""
    console.print(text, markup=False, highlight=False, soft_wrap=True)


def print_rows(rows: dict[str, str]) -> None:
    """Labels in one column, what they stand for in another."""
    table = Table.grid(padding=(0, 3, 0, 0))
    table.add_column(no_wrap=True)
    for label, text in rows.items():
        table.add_row(Text(label, style="bold"), Text(text))
    console.print(table)


def writable(folder: Path) -> Path:
    """The folder, made and tried before hours of work go into it; one that cannot be written to is refused."""
    probe = folder / ".scalemix-probe"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.touch()
        probe.unlink()
    except OSError as error:
        refuse(f"cannot write to {folder} ({error.strerror}): give --output a folder that you can write to")
    return folder


def counting(noun: str) -> Progress:
    """A bar with a text, how many of the ``noun`` are done, and the time."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn(noun), TimeElapsedColumn())
    return Progress(*columns, console=console)


@contextmanager
def interruptible() -> Iterator[Callable[[], None]]:
    """Ctrl-C raises KeyboardInterrupt inside the block, at the latest when the function that is given is called."""
    interrupted = threading.Event()

    def interrupt(*_: object) -> None:
        interrupted.set()  # an exception raised inside a callback of the garbage collector is lost, this is not
        raise KeyboardInterrupt

    def check() -> None:
        if interrupted.is_set():
            raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, interrupt)
    try:
        yield check
    finally:
        signal.signal(signal.SIGINT, before)
