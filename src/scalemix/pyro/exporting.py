"""A network as a program of torch alone, which runs without scalemix and without its source: ``torch.export``."""

from __future__ import annotations

from pathlib import Path

import torch

from scalemix.compress import Network
from scalemix.files import replacing, writing
from scalemix.pyro.shrinking import Sparse

__all__ = ["export"]


def export(network: Network, path: str | Path, x: torch.Tensor) -> Path:
    """Write the ``network`` to the file ``path`` (.pt2), which ``torch.export.load(path).module()`` reads; any number of rows.

    Such a file is a program, and torch reads parts of it by pickle: load those alone that you, or somebody you trust, wrote. What may come
    from anywhere is the file of ``network.save``.

    Args:
        network: of Pyro's kitchen, e.g. what ``ppl.shrink`` or ``scalemix.compress.load`` gave.
        path: of the file, which ends in .pt2.
        x: two rows or more as the network takes them, by which it is traced.

    Raises: ValueError for a path that torch does not take, too few rows, or a network with sparse tensors; TypeError for a network of the
        other kitchen; OSError if the file cannot be written.
    """
    path = Path(path)
    if path.suffix != ".pt2":
        raise ValueError(f"export to {path}: torch wants a name that ends in .pt2")
    if len(x) < 2:
        raise ValueError("export wants two rows or more: of one row torch takes the 1 for a constant")
    module = network.module
    if not isinstance(module, torch.nn.Module):
        raise TypeError(f"export takes a network of Pyro's kitchen, whose module is torch's, and this one is a {type(module).__name__}")
    if any(isinstance(each, Sparse) for each in module.modules()):
        raise ValueError("torch exports no sparse tensors, and the network has some: shrink without sparse=")
    program = torch.export.export(module, (x,), dynamic_shapes=({0: torch.export.Dim("rows")},))
    with writing("the program", path), replacing(path) as temporary, open(temporary, "wb") as file:
        torch.export.save(program, file)
    return path
