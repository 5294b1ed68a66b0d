"""``python -m scalemix``: the command line."""

from __future__ import annotations

from scalemix.cli import main

main()
