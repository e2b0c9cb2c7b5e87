"""Symmetric matrices as vectors of coordinates in an orthonormal basis."""

from functools import lru_cache

import numpy as np

Array = np.ndarray


def svec(Z: Array, free_diagonal: bool) -> Array:
    """Coordinates of Z (D, D), its diagonal projected to a constant one unless free, (p,)."""
    size, upper = len(Z), _upper(len(Z))
    head = size if free_diagonal else 1
    z = np.empty(head + len(upper), Z.dtype)
    np.take(Z.reshape(-1), upper, out=z[head:])
    z[head:] *= np.sqrt(2.0)
    z[:head] = Z.diagonal() if free_diagonal else Z.trace() / np.sqrt(size)
    return z


def smat(z: Array, size: int, free_diagonal: bool) -> Array:
    """The matrix of coordinates z, (D, D) with D = ``size``."""
    head = size if free_diagonal else 1
    Z = np.zeros((size, size), z.dtype)
    Z.reshape(-1)[_upper(size)] = z[head:]
    Z *= np.sqrt(0.5)
    Z += Z.T
    Z.flat[:: size + 1] = z[:head] if free_diagonal else z[0] / np.sqrt(size)
    return Z


@lru_cache(maxsize=8)
def _upper(size: int) -> Array:
    """Flat indices of the strict upper triangle, row by row as `design` has its columns."""
    i, j = np.triu_indices(size, 1)
    return np.asarray(i * size + j)
