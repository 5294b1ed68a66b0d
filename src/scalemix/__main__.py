"""``python -m scalemix``: the command line."""

from scalemix.cli import main

main()
