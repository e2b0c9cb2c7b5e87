"""The projection to the cone of positive semidefinite matrices."""

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from scipy.linalg import eigh, get_lapack_funcs

Array = np.ndarray

#: computing only the positive eigenvalues pays where they are less than this part, from this order
_FEW, _FEW_FROM = 0.45, 25


_HUGE = 1e30


@cache
def _eigensolvers(dtype: str) -> tuple[Callable[..., Any], Callable[..., Any]]:
    syevd, syevr = get_lapack_funcs(("syevd", "syevr"), dtype=dtype)
    return syevd, syevr


class Projection:
    """The projection of one block to the semidefinite cone, in one precision."""

    def __init__(self, size: int, dtype: str) -> None:
        self._syevd, self._syevr = _eigensolvers(dtype)
        # In double precision computing a part of the spectrum was found to be no faster.
        self._part_pays = dtype == "float32" and size >= _FEW_FROM
        self._rank = np.inf

    def __call__(self, Y: Array, out: Array) -> Array:
        """Write ``Y+`` (D, D) to out and return a factor F, ``Y+ = F F'``.

        Only the positive eigenvalues are computed where they were few the last time.
        """
        size = len(Y)
        if self._part_pays and self._rank < _FEW * size:
            values, vectors, count, _, info = self._syevr(Y.T, lower=1, range="V", vl=0.0, vu=_HUGE)
            if info == 0:
                self._rank = count
                factor = vectors[:, :count] * np.sqrt(values[:count])
                np.dot(factor, factor.T, out=out)
                return np.asarray(factor)
        values, vectors, _ = self._syevd(Y.T, lower=1)
        negative = int(values.searchsorted(0.0))
        self._rank = size - negative
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
