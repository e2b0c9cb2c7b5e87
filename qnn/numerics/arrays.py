"""Arrays as they enter: what numpy would lose in silence is refused in one line."""

from __future__ import annotations

from typing import Any

import numpy as np

from qnn.errors import InputError

Array = np.ndarray


def plain_array(values: Any, name: str) -> Array:
    """Values as an array of their own type; ``name`` names them in messages.

    Raises InputError for complex numbers, whose imaginary parts a conversion to floats would drop,
    for masked entries, whose mask it would, and for rows of different lengths.
    """
    if np.ma.isMaskedArray(values):
        if np.ma.getmaskarray(values).any():
            raise InputError(
                f"{name} is a masked array with masked entries: fill them, or drop their rows"
            )
        return np.asarray(np.ma.getdata(values))
    try:
        array = np.asarray(values)
    except ValueError as error:
        raise InputError(f"{name} must be an array of numbers: {error}") from None
    if array.dtype.kind == "c" or (
        array.dtype.kind == "O" and any(isinstance(one, complex) for one in array.ravel())
    ):
        raise InputError(f"{name} has complex numbers: take their real parts, or both as columns")
    return array


def numbers_of(values: Any, name: str) -> Array:
    """A fresh float64 array, C order; InputError for what `plain_array` refuses, and for text."""
    return np.array(floats_of(values, name), copy=True)


def floats_of(values: Any, name: str) -> Array:
    """`numbers_of` without a copy of what is such an array already."""
    array = plain_array(values, name)
    try:
        return np.asarray(array, dtype=np.float64, order="C")
    except (TypeError, ValueError, OverflowError) as error:
        raise InputError(f"{name} must be an array of numbers: {error}") from None
