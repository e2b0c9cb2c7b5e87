"""Reading the members of certificates' files: what is not of the right type is refused."""

from collections.abc import Callable
from typing import Any

import numpy as np

Array = np.ndarray

# From a member to its value; raises ValueError where it is of another type.
Reader = Callable[[Array], Any]


def text(array: Array) -> str:
    """One text."""
    if array.ndim != 0 or array.dtype.kind != "U":
        raise ValueError("not a text")
    return str(array)


def integer(array: Array) -> int:
    """One whole number."""
    if array.ndim != 0 or array.dtype.kind != "i":
        raise ValueError("not a whole number")
    return int(array)


def number(array: Array) -> float:
    """One float64."""
    if array.ndim != 0 or array.dtype != np.float64:
        raise ValueError("not a float64")
    return float(array)


def numbers(ndim: int, dtype: Any = np.float64) -> Reader:
    """An array of this many axes and this type."""

    def read(array: Array) -> Array:
        if array.ndim != ndim or array.dtype != dtype:
            raise ValueError("not an array of this kind")
        return array

    return read
