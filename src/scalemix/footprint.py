"""What a run will need before it starts: which sites are kept, bytes per draw, and whether memory and disk have room for them."""

from __future__ import annotations

import math
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from scalemix.language import Structure

__all__ = ["Footprint", "check_disk", "check_memory", "kept_sites"]

NUM_STATISTICS = 7  # log joint, energy, divergence, steps, depth, step size, acceptance


@dataclass(frozen=True)
class Footprint:
    """Bytes that one draw of one chain takes: what is kept, and what has to be there while it is made.

    Args:
        sites: bytes per kept site; likelihood: bytes of log p(yᵢ | θ); passing: bytes of the sites that are made and not kept.
    """

    sites: dict[str, int]
    likelihood: int
    passing: int

    @classmethod
    def of(cls, structure: Structure, kept: Sequence[str], itemsize: int) -> Footprint:
        """From the shapes of the sites; ``itemsize`` is 8 in float64 and 4 in float32."""
        shapes = structure.latents | structure.deterministics
        sizes = {name: itemsize * math.prod(shape) for name, shape in shapes.items()}
        likelihood = itemsize * sum(math.prod(shape) for shape in structure.observed.values())
        return cls({name: sizes[name] for name in kept}, likelihood, sum(sizes.values()) - sum(sizes[name] for name in kept))

    @property
    def kept(self) -> int:
        """Bytes of a draw in the result."""
        return sum(self.sites.values()) + self.likelihood + 8 * NUM_STATISTICS

    @property
    def largest(self) -> str:
        """The site that takes most."""
        return max(self.sites, key=lambda name: self.sites[name])


def kept_sites(structure: Structure, keep: Sequence[str] | None, drop: Sequence[str] | None) -> tuple[str, ...]:
    """The sites in the result: all, those of ``keep``, or all but those of ``drop``.

    Raises: ValueError for both at once, an unknown site, and for nothing left.
    """
    names = [*structure.latents, *structure.deterministics]
    if keep is not None and drop is not None:
        raise ValueError("keep and drop are both given: give one of them")
    for option, given in (("keep", keep), ("drop", drop)):
        if isinstance(given, str):
            raise ValueError(f"{option} is {given!r}: give a list of sites, e.g. {option}=[{given!r}]")
        unknown = [name for name in given or () if name not in names]
        if unknown:
            raise ValueError(f"{option} names {unknown[0]!r}, which is no site of the model: it has {', '.join(map(repr, names))}")
    kept = tuple(name for name in names if (keep is None or name in keep) and name not in (drop or ()))
    if not kept:
        raise ValueError("no site is left to keep: give keep at least one, or drop fewer")
    return kept


def check_memory(footprint: Footprint, draws_at_once: int, num_draws: int, *, in_folder: bool) -> None:
    """Raise ValueError if the draws (over all chains) that have to be in memory at once cannot be.

    Those of a segment are there three times for a moment: in the sampler's buffers, as arrays, and as what is evaluated at them.
    """
    import psutil

    available = psutil.virtual_memory().available
    passing = 3 * draws_at_once * (footprint.kept + footprint.passing)
    needed = passing if in_folder else passing + num_draws * footprint.kept
    if needed > available:
        remedy = "give a smaller segment_draws" if in_folder else "give folder=, which keeps the draws on the disk"
        raise ValueError(
            f"{_text(draws_at_once if in_folder else num_draws)} draws of {_size(footprint.kept)} need {_size(needed)} of memory, and "
            f"{_size(available)} are available: {remedy}, or drop=[{footprint.largest!r}] "
            f"({_size(footprint.sites[footprint.largest])} a draw)"
        )


def check_disk(footprint: Footprint, num_draws: int, folder: Path) -> None:
    """Raise ValueError if the disk has no room for the segments and the file they are merged into."""
    folder = next(each for each in (folder.absolute(), *folder.absolute().parents) if each.exists())
    free, needed = shutil.disk_usage(folder).free, 2 * num_draws * footprint.kept
    if needed > free:
        raise ValueError(
            f"{_text(num_draws)} draws of {_size(footprint.kept)} need {_size(needed)} in {folder} (twice their size, to merge them), and "
            f"{_size(free)} are free: choose another disk, or drop=[{footprint.largest!r}] "
            f"({_size(footprint.sites[footprint.largest])} a draw)"
        )


def _text(count: int) -> str:
    return f"{count:,}".replace(",", " ")


def _size(count: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.4g} TB"
