"""The command line. Bad input ends with exit code 2 and one sentence that names the thing and the remedy."""

from __future__ import annotations

import warnings

import typer

from scalemix.commands.compare import compare
from scalemix.commands.fit import fit
from scalemix.commands.prior import prior
from scalemix.commands.shrink import shrink
from scalemix.commands.study import study

__all__ = ["app", "main"]

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",  # so that paragraphs of the docstrings flow
    help="Dropout as a prior: Gaussian scale mixtures under SVI and MCMC, compared.",
)
for _command in (compare, prior, fit, shrink, study):
    app.command()(_command)


@app.callback()
def _scalemix() -> None:
    """Dropout as a prior: Gaussian scale mixtures under SVI and MCMC, compared."""


def main() -> None:
    """Entry point of the ``scalemix`` command."""
    warnings.filterwarnings("ignore", category=FutureWarning, module="arviz")
    app()
