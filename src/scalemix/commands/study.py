"""``scalemix study``: a table of a paper from start to end, our numbers beside the paper's."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from scalemix.jobs.workers import executor, stop_workers
from scalemix.terminal import INTERRUPTED, console, counting, interruptible, print_rows, refuse, say, writable

__all__ = ["study"]


def study(
    name: Annotated[str | None, typer.Argument(help="A study: uci, ... Without it: the list.")] = None,
    size: Annotated[str, typer.Option(help="smoke (a minute or two), full (hours), or what the list says.")] = "full",
    output: Annotated[
        Path | None, typer.Option(help="Folder of its cells and tables. Default: results/NAME, smoke: results/NAME-smoke.")
    ] = None,
    only: Annotated[
        list[str] | None, typer.Option(help="Run only cells whose name matches this pattern (repeat for several): 'yacht, *'.")
    ] = None,
    workers: Annotated[int, typer.Option(min=1, help="Cells to run side by side, one core each.")] = min(2, os.cpu_count() or 1),
) -> None:
    """Run a study: every fit behind a table of a paper, then the table, our numbers beside the paper's and the difference.

    Each fit is a cell. A cell that is done is kept in cells.jsonl and not done again: a study that was stopped, or killed, goes on with the
    same command, a network in the middle of its training from its last checkpoint. Writes report.md, table.csv, settings.json and
    figure.png. Data are read from SCALEMIX_DATA, by default ../shared/data.

    Examples:

        scalemix study

        scalemix study uci --size smoke

        scalemix study uci --only "yacht, *" --only "energy, *" --output results/two-sets
    """
    from scalemix.studies import STUDIES, run_study, write_report
    from scalemix.studies.ledger import Ledger
    from scalemix.studies.runner import LEDGER, done

    if name is None:
        print_rows(
            {each.name: f"{each.title}. {'; '.join(f'{key}: {text}' for key, text in each.sizes.items())}." for each in STUDIES.values()}
        )
        return
    if name not in STUDIES:
        refuse(f"unknown study {name!r}: give one of {', '.join(STUDIES)}")
    chosen = STUDIES[name]
    if size not in chosen.sizes:
        refuse(f"the study {name} has no size {size!r}: give --size one of {', '.join(chosen.sizes)}")
    folder = writable(output or Path("results") / (name if size == "full" else f"{name}-{size}"))
    pool = executor(workers, long_fits=chosen.long_fits and size != "smoke")
    try:
        with interruptible() as check, counting("cells") as progress:
            task = progress.add_task(f"{name}, {size};", total=None)
            results = run_study(
                chosen,
                size,
                folder,
                executor=pool,
                only=only or (),
                num_workers=workers,
                on_total=lambda total: progress.update(task, total=total),
            )
            for result in results:
                progress.update(task, advance=1, description=f"{result.cell.name} done;")
                check()
    except KeyboardInterrupt:
        stop_workers(folder)
        console.print(f"\nInterrupted. What is done is in {folder / LEDGER}; the same command goes on.")
        raise typer.Exit(INTERRUPTED) from None
    except (ValueError, OSError, RuntimeError) as error:
        refuse(str(error))
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
    try:
        path = write_report(chosen, size, done(chosen, size, Ledger(folder / LEDGER)), folder)
    except (ValueError, OSError) as error:
        refuse(str(error))
    say(path.read_text(encoding="utf-8"))
    console.print(f"Written to {folder}: {', '.join(sorted(each.name for each in folder.iterdir() if not each.name.startswith('.')))}.")
