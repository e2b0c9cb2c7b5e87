"""The projection to the cone of positive semidefinite matrices."""

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from scipy.linalg import eigh, get_lapack_funcs

from qnn.semidefinite.positive import LARGE, positive_factor

Array = np.ndarray

@cache
def _eigensolver(dtype: str) -> Callable[..., Any]:
    (syevd,) = get_lapack_funcs(("syevd",), dtype=dtype)
    return syevd


class Projection:
    """The projection of one block to the semidefinite cone, in one precision."""

    def __init__(self, size: int, dtype: str) -> None:
        self._syevd, self._small = _eigensolver(dtype), size < LARGE

    def __call__(self, Y: Array, out: Array) -> Array:
        """Write ``Y+`` (D, D) to out and return a factor F, ``Y+ = F F'``."""
        factor = positive_factor(Y) if self._small else None
        if factor is not None:
            np.dot(factor, factor.T, out=out)
            return factor
        size = len(Y)
        values, vectors, _ = self._syevd(Y.T, lower=1)
        negative = int(values.searchsorted(0.0))
        factor = vectors[:, negative:] * np.sqrt(values[negative:])
        if 2 * negative >= size:
            np.dot(factor, factor.T, out=out)
        else:
            part = vectors[:, :negative] * np.sqrt(-values[:negative])
            np.dot(part, part.T, out=out)
            out += Y
        return np.asarray(factor)


def positive_part(Y: Array) -> Array:
    """The nearest positive semidefinite matrix to Y (D, D)."""
    values, vectors = eigh(Y, check_finite=False)
    return (vectors * np.maximum(values, 0.0)) @ vectors.T
