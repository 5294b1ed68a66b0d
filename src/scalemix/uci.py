"""The UCI regression sets on which dropout networks are compared, with the splits of Hernández-Lobato and Adams (2015).

``$SCALEMIX_DATA/uci``, by default ``../shared/data/uci`` beside the working directory, has a folder for each set: ``data.txt.gz``, the
source's own numbers, and ``splits.npz`` with ``train_k``, ``test_k``, ``index_features`` and ``index_target``. Nothing is downloaded.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from scalemix.data import DataError, Regression, data_folder, standardize

__all__ = ["UCI_SETS", "uci_regression"]

# Of each set the target and the inputs, in the order of the file.
UCI_SETS: dict[str, tuple[str, tuple[str, ...]]] = {
    "bostonHousing": ("MEDV (k$)", ("CRIM", "ZN", "INDUS", "CHAS", "NOX", "RM", "AGE", "DIS", "RAD", "TAX", "PTRATIO", "B", "LSTAT")),
    "concrete": (
        "compressive strength (MPa)",
        ("cement", "slag", "fly ash", "water", "superplasticizer", "coarse aggregate", "fine aggregate", "age"),
    ),
    "energy": (
        "heating load",
        ("compactness", "surface", "wall", "roof area", "height", "orientation", "glazing area", "glazing distribution"),
    ),
    "kin8nm": ("end-effector distance", tuple(f"theta{joint}" for joint in range(1, 9))),
    "naval-propulsion-plant": (
        "compressor decay",
        ("lever", "speed", "GTT", "GTn", "GGn", "Ts", "Tp", "T48", "T1", "T2", "P48", "P1", "P2", "Pexh", "TIC", "mf"),
    ),
    "power-plant": ("electrical output (MW)", ("AT", "V", "AP", "RH")),
    "protein-tertiary-structure": ("RMSD", tuple(f"F{number}" for number in range(1, 10))),
    "wine-quality-red": (
        "quality",
        (
            *("fixed acidity", "volatile acidity", "citric acid", "sugar", "chlorides", "free SO2", "total SO2"),
            *("density", "pH", "sulphates", "alcohol"),
        ),
    ),
    "yacht": ("residuary resistance", ("LCB", "prismatic", "length-displacement", "beam-draught", "length-beam", "Froude")),
}


def uci_regression(name: str, split: int = 0, *, folder: Path | None = None) -> Regression:
    """Split ``split`` of a set: 90 % to fit, 10 % held out; inputs and target standardized by the part to fit.

    Args:
        name: one of ``UCI_SETS``.
        split: from 0, of the 20 (protein: 5) that the papers average over.
        folder: where the sets lie; ``None``: ``$SCALEMIX_DATA/uci``, else ``../shared/data/uci``.

    Raises: DataError for a set or a split that does not exist, or a folder without it.
    """
    import pandas as pd

    if name not in UCI_SETS:
        raise DataError(f"there is no UCI set {name!r}: give one of {', '.join(UCI_SETS)}")
    place = (data_folder() / "uci" if folder is None else folder) / name
    if not (place / "data.txt.gz").is_file() or not (place / "splits.npz").is_file():
        raise DataError(f"{place} has no data.txt.gz and splits.npz: set SCALEMIX_DATA to the folder in which uci/{name} lies")
    values, splits = np.loadtxt(place / "data.txt.gz"), np.load(place / "splits.npz")
    count = int(splits["n_splits"])
    if not 0 <= split < count:
        raise DataError(f"{name} has no split {split}: give one of 0 to {count - 1}")
    target, columns = UCI_SETS[name]
    frame = pd.DataFrame(values[:, splits["index_features"]], columns=pd.Index(columns))
    frame[target] = values[:, int(splits["index_target"][0])]
    return standardize(frame.iloc[splits[f"train_{split}"]], frame.iloc[splits[f"test_{split}"]], target)
