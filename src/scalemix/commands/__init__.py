"""The commands of ``scalemix``, a module each; ``scalemix.cli`` puts them together."""

from __future__ import annotations
