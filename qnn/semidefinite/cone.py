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


def project_to_cone(Y: Array, out: Array) -> Array:
    """Write ``Y+``, the nearest positive semidefinite matrix to Y (D, D), to out; in Y's precision.

    Returns a factor F, ``Y+ = F F'``.
    """
    size = len(Y)
    factor = positive_factor(Y) if size < LARGE else None
    if factor is not None:
        np.dot(factor, factor.T, out=out)
        return factor
    values, vectors, _ = _eigensolver(Y.dtype.name)(Y.T, lower=1)
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
