"""The compiled parts of an iteration; a state's matrices are their upper triangles, row by row.

Their code is kept on disk by the date of this file, and `project` holds that of
`qnn/semidefinite/positive.py`: where that changes, this file must get another date.
"""

from __future__ import annotations

import numpy as np

from qnn.numerics.compiled import compiled
from qnn.semidefinite.positive import factor_rows

Array = np.ndarray

_EXACT = {"contract", "nsz"}


@compiled(nogil=True, error_model="numpy", fastmath=_EXACT)
def pack(A: Array, out: Array) -> None:
    """The upper triangle of A (D, D) by rows, to out (D (D + 1) / 2,)."""
    at = 0
    for i in range(len(A)):
        for j in range(i, len(A)):
            out[at] = A[i, j]
            at += 1


@compiled(nogil=True, error_model="numpy", fastmath=_EXACT)
def unpack(packed: Array, size: int) -> Array:
    """The symmetric matrix, (D, D) with D = ``size``."""
    A, at = np.empty((size, size), packed.dtype), 0
    for i in range(size):
        for j in range(i, size):
            A[i, j] = A[j, i] = packed[at]
            at += 1
    return A


@compiled(nogil=True, error_model="numpy", fastmath=_EXACT)
def reflect(state: Array, shadow: Array, point: Array, base: Array) -> None:
    """``point = 2 shadow - state``, and base (D, D) the difference of its two matrices."""
    for i in range(len(point)):
        point[i] = shadow[i] + shadow[i] - state[i]
    size, at = len(base), 0
    pairs = size * (size + 1) // 2
    for i in range(size):
        for j in range(i, size):
            base[i, j] = base[j, i] = point[at] - point[pairs + at]
            at += 1


@compiled(nogil=True, error_model="numpy", fastmath=_EXACT)
def join(
    point: Array, shadow: Array, Z: Array, base: Array, price: float, free: bool, relax: float
) -> None:
    """The state's residual from the linear step's Z (D, D), whose base was this one.

    The matrices' sum keeps its entries but for the diagonal, which is the best one for the
    budget's price; where it is not free, Z's is written too.
    """
    size = len(Z)
    pairs = size * (size + 1) // 2
    plus = minus = pull = 0.0
    at = 0
    for i in range(size):
        plus += point[at]
        minus += point[pairs + at]
        pull += 0.5 * (Z[i, i] - base[i, i])
        at += size - i
    total = max((plus + minus - 2.0 * price) / size, 0.0)
    if not free:
        total = (plus + minus - 2.0 * price) / size
        own = Z.dtype.type((plus - minus + 2.0 * pull) / size)
        for i in range(size):
            Z[i, i] = own
    diagonal, half, longer = Z.dtype.type(total), Z.dtype.type(0.5), Z.dtype.type(relax)
    at = 0
    for i in range(size):
        for j in range(i, size):
            both = diagonal if j == i else point[at] + point[pairs + at]
            point[at], point[pairs + at] = half * (both + Z[i, j]), half * (both - Z[i, j])
            at += 1
    for i in range(len(point)):
        point[i] = longer * (point[i] - shadow[i])


@compiled(nogil=True, error_model="numpy", fastmath=_EXACT)
def project(state: Array, shadow: Array, size: int, passes: int) -> tuple[bool, Array, int]:
    """Write the projections of a state's two matrices to the shadow.

    Returns whether they were found, their factors' columns as rows, (r, D), and how many of them
    are the first one's.
    """
    pairs = size * (size + 1) // 2
    factors, first, count = np.empty((2 * size, size), state.dtype), 0, 0
    for block in range(2):
        part = slice(block * pairs, (block + 1) * pairs)
        found, factor = factor_rows(unpack(state[part], size), passes)
        if not found:
            return False, factors, 0
        if len(factor):
            pack(np.dot(factor.T, factor), shadow[part])
        else:
            shadow[part] = 0.0
        factors[count : count + len(factor)] = factor
        count += len(factor)
        first = count if block == 0 else first
    return True, factors[:count], first
