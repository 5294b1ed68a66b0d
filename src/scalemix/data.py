"""Data for the comparison: scikit-learn's diabetes with added columns of noise, or a person's own CSV file, checked and split.

Everything a fit sees is standardized by the training part; results are reported in the original units of the target.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["DataError", "Regression", "csv_frame", "data_folder", "diabetes", "held_out_fifth", "read_csv", "split", "standardize"]

NOISE_PREFIX = "noise_"
LEAST_ROWS = 10


class DataError(ValueError):
    """The data cannot be used as they are; the message is one sentence with the remedy."""


def data_folder() -> Path:
    """Where data sets that cannot be shipped lie: ``$SCALEMIX_DATA``, else ``../shared/data`` beside the working directory."""
    return Path(os.environ.get("SCALEMIX_DATA", "../shared/data"))


@dataclass(frozen=True)
class Regression:
    """A regression data set, split and standardized.

    Attributes:
        x_train, x_test: data frames of standardized columns.
        y_train, y_test: standardized target.
        target_mean, target_scale: y in original units = target_mean + target_scale · y.
        target: name of the target, with its unit if known; dropped: constant columns that were left out.
        center, spread: of the columns, in their own units: x in them = center + spread · x.
    """

    x_train: pd.DataFrame
    y_train: np.ndarray
    x_test: pd.DataFrame
    y_test: np.ndarray
    target_mean: float
    target_scale: float
    target: str
    dropped: tuple[str, ...] = ()
    center: np.ndarray | None = None
    spread: np.ndarray | None = None


def diabetes(*, num_noise: int = 40, seed: int = 0) -> Regression:
    """442 patients, 10 measurements (Efron et al., 2004, as shipped with scikit-learn) and ``num_noise`` columns of pure N(0, 1) noise."""
    from sklearn.datasets import load_diabetes

    bunch = load_diabetes(as_frame=True)
    frame = bunch.frame.copy()  # pyright: ignore[reportAttributeAccessIssue]  (a Bunch has its fields as attributes)
    noise = np.random.default_rng(seed).normal(size=(len(frame), num_noise))
    for column in range(num_noise):
        frame[f"{NOISE_PREFIX}{column + 1:02d}"] = noise[:, column]
    return split(frame, "target", seed=seed)


def read_csv(path: Path, target: str, *, seed: int = 0) -> Regression:
    """A CSV file with one header line, numeric columns and no gaps.

    Raises: DataError that names the column, the row or the file, and what to do.
    """
    return split(csv_frame(path, target), target, seed=seed)


def csv_frame(path: Path, target: str, *, classes: bool = False) -> pd.DataFrame:
    """What a CSV file holds; the target may be text where it is ``classes``.

    Raises: DataError that names the column, the row or the file, and what to do.
    """
    import pandas as pd

    if not path.is_file():
        raise DataError(f"there is no file {path}: give the path of a CSV file")
    try:
        frame = pd.read_csv(path)
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise DataError(f"{path} is not a CSV file with one header line ({str(error).strip()}): correct the file") from error
    if target not in frame.columns:
        raise DataError(f"{path} has no column {target!r}: give --target one of {', '.join(map(str, frame.columns))}")
    for column in frame.columns:
        if not (classes and column == target):
            _check_column(frame.loc[:, column], path)
        elif (missing := pd.isna(frame[target].to_numpy())).any():
            row = int(np.flatnonzero(missing)[0]) + 2
            count = np.count_nonzero(missing)
            raise DataError(f"column {target!r} of {path} has {count} missing classes (first on line {row}): fill or remove those rows")
    return frame


def split(frame: pd.DataFrame, target: str, *, seed: int = 0) -> Regression:
    """Hold out a random fifth; the rest is ``standardize``."""
    return standardize(*held_out_fifth(frame, target, seed=seed), target)


def held_out_fifth(frame: pd.DataFrame, target: str, *, seed: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The rows to fit, and a random fifth."""
    if len(frame) < LEAST_ROWS:
        raise DataError(f"the data have {len(frame)} row{'s' * (len(frame) != 1)}: a fit needs at least {LEAST_ROWS}, add rows")
    if frame.shape[1] < 2:
        raise DataError(f"the data have no column beside the target {target!r}: add columns to predict it from")
    order = np.random.default_rng(seed).permutation(len(frame))
    num_test = len(frame) // 5
    return frame.iloc[order[num_test:]], frame.iloc[order[:num_test]]


def standardize(train: pd.DataFrame, test: pd.DataFrame, target: str) -> Regression:
    """Both parts with mean 0 and standard deviation 1 of each column in ``train``; columns that are constant there are left out."""
    x = train.drop(columns=target)
    varies = (x.nunique() > 1).to_numpy()
    constant = [str(column) for column in x.columns[~varies]]
    outcome = train[target].to_numpy(float)
    mean, scale = float(outcome.mean()), float(outcome.std())
    if scale == 0.0:
        raise DataError(f"the target {target!r} is constant: choose a column that varies")
    if not varies.any():
        raise DataError("every column is constant: there is nothing to predict the target from, add columns that vary")
    x, held = x.loc[:, varies], test.drop(columns=target).loc[:, varies]
    center, spread = x.mean(), x.std(ddof=0)
    return Regression(
        (x - center) / spread,
        (outcome - mean) / scale,
        (held - center) / spread,
        (test[target].to_numpy(float) - mean) / scale,
        mean,
        scale,
        target,
        tuple(constant),
        center.to_numpy(float),
        spread.to_numpy(float),
    )


def _check_column(column: pd.Series, path: Path) -> None:
    from pandas.api.types import is_bool_dtype, is_numeric_dtype

    if not (is_numeric_dtype(column) or is_bool_dtype(column)):
        example = next((value for value in column if not _is_number(value)), column.iloc[0])
        raise DataError(f"column {column.name!r} of {path} holds text ({example!r}): encode it as numbers or remove it")
    bad = ~np.isfinite(column.to_numpy(float))
    if bad.any():
        row = int(np.flatnonzero(bad)[0]) + 2
        raise DataError(
            f"column {column.name!r} of {path} has {int(bad.sum())} missing or infinite values (first on line {row}): "
            "fill or remove those rows"
        )


def _is_number(value: object) -> bool:
    try:
        float(str(value))
    except ValueError:
        return False
    return True
