"""Data for a network: inputs and an outcome, a number or a class, from a CSV file, a UCI set or an npz file; scaled, split, on the disk.

What a fit sees is scaled by the part it is fitted to: each column of a table by its own mean and standard deviation, images by one mean and
one standard deviation for all their numbers.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from scalemix.data import LEAST_ROWS, DataError, csv_frame, held_out_fifth, standardize
from scalemix.files import UNREADABLE, load_arrays, replacing, writing
from scalemix.uci import UCI_SETS, uci_regression

if TYPE_CHECKING:
    from scalemix.data import Regression

__all__ = ["Rows", "Supervised", "read_supervised"]

MOST_CLASSES = 1000
AS_NUMBERS = {  # what makes a regression of too many classes, by where they come from
    "asked": "leave --classify away",
    "whole": "write y as decimals (y.astype(float)) for a regression",
    "text": "correct its entries that are text, if it is a number",
}


@dataclass(frozen=True)
class Rows:
    """x (n, p) or (n, height, width, channel), and y (n,), scaled; classes are 0, 1, …."""

    x: np.ndarray
    y: np.ndarray


@dataclass(frozen=True)
class Supervised:
    """A data set in parts.

    Attributes:
        train, validation, test: the parts; ``validation`` is ``None`` where no rows were kept aside.
        target: what y is called.
        columns: names of the inputs, () for images.
        input_mean, input_scale: x in its own units = input_mean + input_scale · x; one number each for images.
        target_mean, target_scale: likewise of y, 0 and 1 for classes.
        classes: names of the classes, ``None`` for a number.
        dropped: constant columns that were left out.
    """

    train: Rows
    test: Rows
    validation: Rows | None
    target: str
    columns: tuple[str, ...]
    input_mean: np.ndarray = field(repr=False)
    input_scale: np.ndarray = field(repr=False)
    target_mean: float = 0.0
    target_scale: float = 1.0
    classes: tuple[str, ...] | None = None
    dropped: tuple[str, ...] = ()

    @property
    def images(self) -> bool:
        """x are images."""
        return self.train.x.ndim == 4

    def save(self, path: Path) -> dict[str, Any]:
        """Write the rows to the npz file ``path``; what else there is to know, for JSON."""
        parts = {"train": self.train, "test": self.test, "validation": self.validation}
        arrays = {f"{name}/{axis}": getattr(part, axis) for name, part in parts.items() if part is not None for axis in ("x", "y")}
        with writing("the data", path), replacing(path) as temporary, open(temporary, "wb") as file:
            np.savez_compressed(file, **arrays)  # type: ignore[arg-type]
        return {
            "target": self.target,
            "columns": list(self.columns),
            "input_mean": self.input_mean.tolist(),
            "input_scale": self.input_scale.tolist(),
            "target_mean": self.target_mean,
            "target_scale": self.target_scale,
            "classes": None if self.classes is None else list(self.classes),
            "dropped": list(self.dropped),
        }

    @classmethod
    def load(cls, path: Path, told: dict[str, Any]) -> Supervised:
        """What ``save`` wrote, and what it returned.

        Raises: ValueError if the file is damaged.
        """
        parts = {name: Rows(**arrays) for name, arrays in load_arrays(path).items()}
        return cls(
            parts["train"],
            parts["test"],
            parts.get("validation"),
            told["target"],
            tuple(told["columns"]),
            np.asarray(told["input_mean"]),
            np.asarray(told["input_scale"]),
            told["target_mean"],
            told["target_scale"],
            None if told["classes"] is None else tuple(told["classes"]),
            tuple(told["dropped"]),
        )


def read_supervised(
    data: str, target: str | None = None, *, split: int | None = None, classify: bool = False, validation: float = 0.0, seed: int = 0
) -> Supervised:
    """A CSV file, the name of a UCI set, or an npz file with x, y and, if there are, x_test and y_test.

    Args:
        data: which.
        target: column of the CSV file.
        split: of the UCI set.
        classify: take a target of numbers for classes. Text, and whole numbers in an npz file, are classes anyway.
        validation: this part of the rows to fit is kept aside.
        seed: of the random fifth that is held out where the data do not say which rows are, and of the validation part.

    Raises: DataError that says what is wrong and what to do.
    """
    if split is not None and data not in UCI_SETS:
        raise DataError(f"--split goes with a UCI set: give --data one of {', '.join(UCI_SETS)}")
    of_csv = data not in UCI_SETS and not data.endswith(".npz")
    if target is not None and not of_csv:
        raise DataError("--target goes with a CSV file: give --data the file it is a column of, or leave it away")
    if data in UCI_SETS:
        if classify:
            raise DataError(f"--classify: the target of {data} is a number: leave it away")
        found = _of_regression(uci_regression(data, split or 0))
    elif data.endswith(".npz"):
        found = _of_npz(Path(data), classify=classify, seed=seed)
    elif target is None:
        raise DataError("--data needs --target: name the column to predict")
    else:
        found = _of_csv(Path(data), target, classify=classify, seed=seed)
    return found if validation == 0.0 else _kept_aside(found, validation, seed)


def _of_csv(path: Path, target: str, *, classify: bool, seed: int) -> Supervised:
    from pandas.api.types import is_bool_dtype, is_numeric_dtype

    frame = csv_frame(path, target, classes=True)
    if not classify and is_numeric_dtype(frame[target]) and not is_bool_dtype(frame[target]):
        return _of_regression(standardize(*held_out_fifth(csv_frame(path, target), target, seed=seed), target))
    classes, codes = np.unique(
        frame[target].astype(str).to_numpy() if not is_numeric_dtype(frame[target]) else frame[target], return_inverse=True
    )
    frame = frame.assign(**{target: codes})
    train, test = held_out_fifth(frame, target, seed=seed)
    scaled = _of_regression(standardize(train, test, target))
    names = _names_of(classes, f"the target {target!r}", "asked" if classes.dtype.kind in "iuf" else "text")
    return _with_classes(scaled, train[target].to_numpy(), test[target].to_numpy(), names)


def _of_regression(found: Regression) -> Supervised:
    assert found.center is not None
    assert found.spread is not None
    return Supervised(
        Rows(found.x_train.to_numpy(float), found.y_train),
        Rows(found.x_test.to_numpy(float), found.y_test),
        None,
        found.target,
        tuple(map(str, found.x_train.columns)),
        found.center,
        found.spread,
        found.target_mean,
        found.target_scale,
        None,
        found.dropped,
    )


def _of_npz(path: Path, *, classify: bool, seed: int) -> Supervised:
    import pandas as pd

    arrays = _npz_arrays(path)
    y = np.concatenate([arrays["y"], arrays["y_test"]]) if "y_test" in arrays else arrays["y"]
    x = np.concatenate([arrays["x"], arrays["x_test"]]) if "x_test" in arrays else arrays["x"]
    count = len(x)
    if count < LEAST_ROWS:
        raise DataError(f"{path} has {count} rows: a fit needs at least {LEAST_ROWS}, add rows")
    order = np.arange(count) if "x_test" in arrays else np.random.default_rng(seed).permutation(count)[::-1]
    num_train = len(arrays["x"]) if "x_test" in arrays else count - count // 5
    fit, held = order[:num_train], order[num_train:]
    is_class = classify or y.dtype.kind in "iubUS"
    names: tuple[str, ...] | None = None
    if is_class:
        values, y = np.unique(y, return_inverse=True)
        names = _names_of(values, f"y of {path}", {"f": "asked", "U": "text"}.get(values.dtype.kind, "whole"))
    if x.ndim == 4:
        mean, scale = float(x[fit].mean()), float(x[fit].std())
        if scale == 0.0:
            raise DataError(f"the images of {path} are constant: there is nothing to predict y from")
        x = ((x - mean) / scale).astype(np.float32)
        target_mean, target_scale = (0.0, 1.0) if is_class else _mean_and_scale(y[fit], f"y of {path}")
        y = y if is_class else (y - target_mean) / target_scale
        inputs = np.array([mean]), np.array([scale])
        return Supervised(Rows(x[fit], y[fit]), Rows(x[held], y[held]), None, "y", (), *inputs, target_mean, target_scale, names)
    frame = pd.DataFrame(x, columns=pd.Index([f"x{column}" for column in range(x.shape[1])])).assign(y=y)
    scaled = _of_regression(standardize(frame.iloc[fit], frame.iloc[held], "y"))
    return scaled if names is None else _with_classes(scaled, y[fit], y[held], names)


def _npz_arrays(path: Path) -> dict[str, np.ndarray]:
    if not path.is_file():
        raise DataError(f"there is no file {path}: give the path of an npz file with the arrays x and y")
    try:
        with np.load(path, allow_pickle=False) as file:
            found = {name: file[name] for name in file.files}
    except UNREADABLE as error:
        raise DataError(f"{path} is no npz file of plain arrays ({error}): write it by numpy.savez(path, x=..., y=...)") from error
    wanted = ["x", "y", *(["x_test", "y_test"] if {"x_test", "y_test"} & found.keys() else [])]
    missing = [name for name in wanted if name not in found]
    if missing:
        raise DataError(f"{path} has no array {missing[0]!r}, only {', '.join(found) or 'none'}: give x and y, or x, y, x_test and y_test")
    for x, y in (("x", "y"), ("x_test", "y_test")):
        if x not in found:
            continue
        if found[x].ndim == 3:
            found[x] = found[x][..., None]
        if found[x].ndim not in (2, 4) or found[x].dtype.kind not in "fiub":
            raise DataError(
                f"{x} of {path} has the shape {found[x].shape} and holds {found[x].dtype}: give numbers (n, p), or images (n, height, "
                "width, channel)"
            )
        if found[x].size == 0:
            raise DataError(f"{x} of {path} has the shape {found[x].shape}, so nothing is in it: {_filled(x)}")
        if found[y].dtype.kind == "S":
            found[y] = _decoded(found[y], f"{y} of {path}")
        if found[y].dtype.kind not in "fiubU":
            raise DataError(f"{y} of {path} holds {found[y].dtype}: give real numbers, or classes as whole numbers or text")
        if found[y].shape != found[x].shape[:1]:
            raise DataError(f"{y} of {path} has the shape {found[y].shape} and {x} has {len(found[x])} rows: give one outcome per row")
        for name in (x, y):
            if found[name].dtype.kind == "f" and not np.isfinite(found[name]).all():
                raise DataError(f"{name} of {path} holds NaN or infinite values: drop or impute those rows")
    if "y_test" in found and (found["y"].dtype.kind == "U") != (found["y_test"].dtype.kind == "U"):
        raise DataError(f"y of {path} holds {found['y'].dtype} and y_test {found['y_test'].dtype}: give both as text, or both as numbers")
    if "x_test" in found and found["x_test"].shape[1:] != found["x"].shape[1:]:
        raise DataError(
            f"x_test of {path} has rows of the shape {found['x_test'].shape[1:]} and x of {found['x'].shape[1:]}: give both alike"
        )
    return found


def _filled(x: str) -> str:
    return (
        "give at least one row, or leave x_test and y_test away, and a fifth of x is held out" if x == "x_test" else "add rows or columns"
    )


def _decoded(y: np.ndarray, what: str) -> np.ndarray:
    """Bytes as the text that they stand for."""
    try:
        return np.char.decode(y, "utf-8")
    except UnicodeDecodeError as error:
        raise DataError(f"{what} holds bytes that are no UTF-8 text ({error}): write the classes as text or whole numbers") from error


def _with_classes(scaled: Supervised, y: np.ndarray, y_test: np.ndarray, names: tuple[str, ...]) -> Supervised:
    """Classes in place of their standardized numbers."""
    train, test = Rows(scaled.train.x, y.astype(np.int64)), Rows(scaled.test.x, y_test.astype(np.int64))
    return replace(scaled, train=train, test=test, target_mean=0.0, target_scale=1.0, classes=names)


def _names_of(values: np.ndarray, what: str, origin: str) -> tuple[str, ...]:
    if len(values) < 2:
        raise DataError(f"{what} has one class alone: choose a target that varies")
    if len(values) > MOST_CLASSES:
        raise DataError(f"{what} has {len(values)} classes, more than {MOST_CLASSES}: choose a target with fewer, or {AS_NUMBERS[origin]}")
    return tuple(str(value) for value in values)


def _mean_and_scale(y: np.ndarray, what: str) -> tuple[float, float]:
    mean, scale = float(y.mean()), float(y.std())
    if scale == 0.0:
        raise DataError(f"{what} is constant: choose a target that varies")
    return mean, scale


def _kept_aside(found: Supervised, part: float, seed: int) -> Supervised:
    count = len(found.train.y)
    aside = round(part * count)
    if aside < 1 or count - aside < 2:
        raise DataError(f"--validation {part:g} of {count} rows leaves {count - aside} to fit and {aside} aside: give another part")
    order = np.random.default_rng([seed, 1]).permutation(count)
    fit, kept = np.sort(order[aside:]), np.sort(order[:aside])
    x, y = found.train.x, found.train.y
    return replace(found, train=Rows(x[fit], y[fit]), validation=Rows(x[kept], y[kept]))
