"""Rows as the estimators take them: tables of any library, targets, and rows that do not count."""

from __future__ import annotations

from numbers import Real
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_array, column_or_1d

from qnn.errors import InputError
from qnn.features import tables
from qnn.numerics.arrays import plain_array
from qnn.numerics.weights import LEAST, MOST


def labels_of(estimator: BaseEstimator, y: Any) -> np.ndarray:
    """Labels (n,): numbers and booleans as an array of their own type, whatever held them.

    InputError for missing labels and for labels of several kinds, else ValueError as scikit-learn
    words it.
    """
    if y is None:
        raise ValueError(
            f"{type(estimator).__name__} requires y to be passed, but the target y is None"
        )
    labels = np.asarray(column_or_1d(_plain_target(y), warn=True))
    _refuse_absent(labels)
    return _of_one_kind(labels) if labels.dtype.kind == "O" else labels


def numbers_of(estimator: BaseEstimator, y: Any) -> np.ndarray:
    """Targets (n,) or (n, C) as float64; ValueError as scikit-learn words it.

    InputError for what is missing, and for what no float holds.
    """
    if y is None:
        raise ValueError(
            f"{type(estimator).__name__} requires y to be passed, but the target y is None"
        )
    given = _plain_target(y)
    if isinstance(given, np.ndarray):
        _refuse_absent(given)
    try:
        values = check_array(given, ensure_2d=False, allow_nd=False, dtype=np.float64)
    except OverflowError:
        raise InputError("y has a number beyond ±1.8e308: correct it") from None
    if values.ndim == 2 and values.shape[1] == 1:
        return np.asarray(column_or_1d(values, warn=True))
    return np.asarray(values)


def _plain_target(y: Any) -> Any:
    if hasattr(y, "column_names"):
        return np.column_stack([_plain_target(column) for column in y.columns])
    if hasattr(y, "to_pylist"):
        # pyarrow's: its own conversion refuses text, or copies.
        return np.array(y.to_pylist())
    if np.ma.isMaskedArray(y):
        return plain_array(y, "y")
    if isinstance(y, (list, tuple)):
        return _listed(y)
    return y.to_numpy() if hasattr(y, "to_numpy") else y


def _listed(y: Any) -> Any:
    """A list as an array, in which what stands beside text has not become text."""
    array = np.asarray(y)
    if array.dtype.kind == "U":
        objects = np.array(y, dtype=object)
        if not all(isinstance(value, str) for value in objects.flat):
            return objects
    return array


def _refuse_absent(y: np.ndarray) -> None:
    """Raise InputError for None, NaN and pandas' NA in (n,) or (n, C) floats or objects."""
    if y.dtype.kind == "f":
        absent = np.isnan(y)
    elif y.dtype.kind == "O":
        absent = np.array([_is_absent(value) for value in y.flat], dtype=bool).reshape(y.shape)
    else:
        return
    if absent.any():
        rows = np.flatnonzero(absent.reshape(len(y), -1).any(axis=1))
        raise InputError(
            f"y has missing values (NaN or None) in {tables.rows_text(rows)}: leave these rows out"
        )


def _is_absent(value: Any) -> bool:
    if value is None:
        return True
    try:
        return bool(value != value)
    except TypeError:
        # pandas' NA is neither true nor false.
        return True
    except ValueError:
        # An array in a cell.
        return False


def _of_one_kind(labels: np.ndarray) -> np.ndarray:
    """Labels (n,) that are objects as booleans or numbers, where they all are.

    Raises InputError where they are of several kinds, which have no order.
    """
    kinds = [_kind(label) for label in labels]
    odd = next((row for row, kind in enumerate(kinds) if kind != kinds[0]), None)
    if odd is not None:
        first, other = (tables.brief(labels[row]) for row in (0, odd))
        raise InputError(
            f"y holds {kinds[0]} ({first}) in row 1, but {kinds[odd]} ({other}) in row {odd + 1}: "
            "make all labels text, or all numbers"
        )
    if not kinds or kinds[0] not in (_BOOLEAN, _NUMBER):
        return labels
    found = np.array(labels.tolist())
    # Whole numbers of more than 64 bits are no numbers to numpy.
    return found if found.dtype.kind in "biuf" and np.all(found == labels) else labels


_BOOLEAN, _NUMBER = "a boolean", "a number"


def _kind(label: Any) -> str:
    if isinstance(label, bool | np.bool_):
        return _BOOLEAN
    if isinstance(label, Real):
        return _NUMBER
    return "text" if isinstance(label, str) else type(label).__name__


def check_positive(weights: np.ndarray) -> None:
    """Raise InputError for sample weights (n,) that are neither 0 nor of moderate size."""
    wrong = np.flatnonzero((weights != 0.0) & ~((weights >= LEAST) & (weights <= MOST)))
    if len(wrong):
        row = int(wrong[0])
        raise InputError(
            f"sample_weight is {weights[row]:g} in row {row + 1}: weights must be 0, or from "
            f"{LEAST:g} to {MOST:g}"
        )


def row_count(table: tables.Table) -> int:
    """How many rows it has."""
    return len(table) if not isinstance(table, dict) else len(next(iter(table.values())))


def present(
    table: tables.Table, target: np.ndarray, weights: np.ndarray | None
) -> tuple[tables.Table, np.ndarray, np.ndarray | None]:
    """Without the rows of weight 0, which have no part in the problem."""
    if weights is None or np.all(weights > 0.0):
        return table, target, weights
    kept = np.flatnonzero(weights > 0.0)
    if not len(kept):
        raise InputError("all sample weights are 0: some rows must count")
    return taken(table, kept), target[kept], weights[kept]


def taken(table: tables.Table, rows: np.ndarray) -> tables.Table:
    """Some rows of a table, as a mapping where its columns have names."""
    names = tables.column_names(table)
    if not tables.is_named(table):
        return table[rows]
    columns = tables.get_columns(table, names, names)
    return {name: column[rows] for name, column in columns.items()}


def different(
    table: tables.Table, target: np.ndarray, weights: np.ndarray | None
) -> tuple[tables.Table, np.ndarray]:
    """Rows to choose a setting on: of an array with weights, or with equal rows, each once.

    So what is chosen is the same for weights and for rows repeated as often as these say.
    """
    if isinstance(table, dict) or table.dtype.kind not in "fiub" or target.ndim > 1:
        return table, target
    _, labels = np.unique(target, return_inverse=True)
    _, first = np.unique(np.column_stack([table, labels]), axis=0, return_index=True)
    if weights is None and len(first) == len(target):
        return table, target
    return table[first], target[first]
