"""Rows as the estimators take them: tables of any library, targets, and rows that do not count."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_array, column_or_1d

from qnn.errors import InputError
from qnn.features import tables
from qnn.numerics.arrays import plain_array


def labels_of(estimator: BaseEstimator, y: Any) -> np.ndarray:
    """Labels (n,); ValueError as scikit-learn words it."""
    if y is None:
        raise ValueError(
            f"{type(estimator).__name__} requires y to be passed, but the target y is None"
        )
    return np.asarray(column_or_1d(_plain_target(y), warn=True))


def numbers_of(estimator: BaseEstimator, y: Any) -> np.ndarray:
    """Targets (n,) or (n, C) as float64; ValueError as scikit-learn words it."""
    if y is None:
        raise ValueError(
            f"{type(estimator).__name__} requires y to be passed, but the target y is None"
        )
    values = check_array(_plain_target(y), ensure_2d=False, allow_nd=False, dtype=np.float64)
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
    return y.to_numpy() if hasattr(y, "to_numpy") else y


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
