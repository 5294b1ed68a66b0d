"""MNIST: the four original files of LeCun, Cortes and Burges, checked, as arrays.

They are read from ``$SCALEMIX_DATA/mnist``, by default ``../shared/data/mnist``; where they are not, scikit-learn fetches the same images
from OpenML (``mnist_784``) into its own folder.
"""

from __future__ import annotations

import gzip
import hashlib
from functools import cache
from pathlib import Path

import numpy as np

from scalemix.data import DataError, data_folder

__all__ = ["mnist"]

# MD5 of the files as they were published.
FILES = {
    "train-images-idx3-ubyte.gz": "f68b3c2dcbeaaa9fbdd348bbdeb94873",
    "train-labels-idx1-ubyte.gz": "d53e105ee54ea40749a09fcbcd1e9432",
    "t10k-images-idx3-ubyte.gz": "9fb629c4189551a2d022fa330f9573f3",
    "t10k-labels-idx1-ubyte.gz": "ec29112dd5afa0611ce80d1b7f02629c",
}
ROWS = {"train": 60_000, "t10k": 10_000}


@cache
def mnist(part: str) -> tuple[np.ndarray, np.ndarray]:
    """Images (n, 28, 28) from 0 to 1, float32, and labels (n,) from 0 to 9, int32, of the ``part`` "train" or "t10k".

    They are read once and shared by all who ask, so they cannot be written to.

    Raises: DataError if the files are damaged, or there are none and they cannot be fetched.
    """
    if part not in ROWS:
        raise DataError(f"MNIST has no part {part!r}: give 'train' or 't10k'")
    folder = data_folder() / "mnist"
    found = _read(part, folder) if folder.is_dir() else _fetched(part, folder)
    for array in found:
        array.setflags(write=False)
    return found


def _read(part: str, folder: Path) -> tuple[np.ndarray, np.ndarray]:
    images = _bytes(folder / f"{part}-images-idx3-ubyte.gz")
    labels = _bytes(folder / f"{part}-labels-idx1-ubyte.gz")
    pixels = np.frombuffer(images, np.uint8, offset=16).reshape(-1, 28, 28)
    return pixels.astype(np.float32) / 255, np.frombuffer(labels, np.uint8, offset=8).astype(np.int32)


def _bytes(path: Path) -> bytes:
    if not path.is_file():
        raise DataError(f"{path} does not exist: put the four files of MNIST into {path.parent}")
    packed = path.read_bytes()
    if hashlib.md5(packed, usedforsecurity=False).hexdigest() != FILES[path.name]:
        raise DataError(f"{path} is not the file that was published (its checksum is another): replace it")
    return gzip.decompress(packed)


def _fetched(part: str, folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """From OpenML, where the 60 000 come first, in their order."""
    from sklearn.datasets import fetch_openml

    try:
        bunch = fetch_openml("mnist_784", version=1, as_frame=False, parser="liac-arff")
    except OSError as error:
        raise DataError(
            f"{folder} does not exist and MNIST cannot be fetched ({error}): set SCALEMIX_DATA to the folder in which mnist/ lies"
        ) from error
    rows = slice(0, ROWS["train"]) if part == "train" else slice(ROWS["train"], None)
    pixels = bunch.data[rows].reshape(-1, 28, 28)  # pyright: ignore[reportAttributeAccessIssue]  (a Bunch has its fields as attributes)
    return pixels.astype(np.float32) / 255, bunch.target[rows].astype(np.int32)  # pyright: ignore[reportAttributeAccessIssue]
