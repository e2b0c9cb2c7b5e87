"""Rows that come in batches, as often as asked for: the data of problems too long for memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import numpy as np

from qnn.errors import InputError

Array = np.ndarray
Batch = tuple[Array, Array]
#: a list of (X, y) blocks, an object that can be iterated again, or a function that starts anew
Batches = Iterable[Batch] | Callable[[], Iterable[Batch]]

ROWS = 4096


def row_blocks(batches: Batches) -> Iterator[Batch]:
    """All rows in order, as checked float64 blocks of at most ``ROWS`` rows: X (m, d), y (m,).

    Raises
    ------
    InputError : batches that can be read only once, no rows, a changing number of columns, entries
        that are not finite numbers.
    """
    width, seen = 0, 0
    for index, (X, y) in enumerate(_start(batches)):
        X, y = _numbers(X, index), _numbers(y, index)
        if X.ndim != 2 or y.shape != (len(X),):
            raise InputError(
                f"batch {index}: X must be (m, d) and y (m,), but they are {X.shape} and {y.shape}"
            )
        width = width or X.shape[1]
        if X.shape[1] != width or width == 0:
            raise InputError(f"batch {index} has {X.shape[1]} columns, the first has {width}")
        for start in range(0, len(X), ROWS):
            rows = slice(start, start + ROWS)
            if not (np.isfinite(X[rows]).all() and np.isfinite(y[rows]).all()):
                raise InputError(f"batch {index} has NaN or infinity: drop or impute such rows")
            yield np.ascontiguousarray(X[rows]), y[rows]
        seen += len(X)
    if seen == 0:
        raise InputError("the batches hold no rows")


def _start(batches: Batches) -> Iterable[Batch]:
    if callable(batches):
        return batches()
    if iter(batches) is batches:
        raise InputError(
            "batches can be read only once, but several passes are needed: give a list, or a "
            "function that returns a new iterator"
        )
    return batches


def _numbers(values: Array, index: int) -> Array:
    try:
        return np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(f"batch {index} must be numbers: {error}") from None
