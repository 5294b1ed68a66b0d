"""Studies: the headline tables of the papers from the data to our numbers beside theirs, in cells that are kept and gone on with.

    for result in run_study(STUDIES["uci"], "smoke", Path("results/uci")): ...
    write_report(STUDIES["uci"], "smoke", results, folder)

``scalemix study uci`` does both.
"""

from __future__ import annotations

from scalemix.studies.cell import Cell, Entry, Result, Study
from scalemix.studies.ledger import Ledger
from scalemix.studies.mnist_dropout import MNIST_DROPOUT
from scalemix.studies.mnist_units import MNIST_UNITS
from scalemix.studies.mnist_weights import MNIST_WEIGHTS
from scalemix.studies.runner import run_study
from scalemix.studies.tables import summary, to_markdown, write_report
from scalemix.studies.uci import UCI

__all__ = ["STUDIES", "Cell", "Entry", "Ledger", "Result", "Study", "run_study", "summary", "to_markdown", "write_report"]

STUDIES: dict[str, Study] = {study.name: study for study in (UCI, MNIST_WEIGHTS, MNIST_UNITS, MNIST_DROPOUT)}
