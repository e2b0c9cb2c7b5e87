"""Sample weights: what each row of the data counts for."""

from typing import Any

import numpy as np

from qnn.errors import InputError

Array = np.ndarray

#: weights are within these: products with dual points then keep their digits
LEAST, MOST = 1e-100, 1e100


def check_weights(weights: Any, rows: int | None = None) -> Array:
    """Weights (rows,) as read-only float64; InputError unless all are numbers from 1e-100 to 1e100.

    A row of weight 0 is refused: it would have no part in the problem, and stands in its digest.
    """
    try:
        values = np.array(weights, dtype=np.float64)
    except (TypeError, ValueError):
        raise InputError("sample weights must be numbers") from None
    if values.ndim != 1 or (rows is not None and len(values) != rows):
        wanted = "one a row" if rows is None else f"one a row of X, {rows}"
        raise InputError(f"sample weights must be {wanted} (got shape {values.shape})")
    wrong = np.flatnonzero(~((values >= LEAST) & (values <= MOST)))
    if len(wrong):
        row = int(wrong[0])
        raise InputError(
            f"the sample weight of row {row} is {values[row]:g}: weights must be from {LEAST:g} to "
            f"{MOST:g}; leave out rows of weight 0"
        )
    values.setflags(write=False)
    return values


def weighted(values: Array, weights: Array | None) -> Array:
    """Each row of values (n, …) times its weight; the values themselves where there are none."""
    if weights is None:
        return values
    return np.asarray(values * weights.reshape(-1, *(1,) * (values.ndim - 1)))
