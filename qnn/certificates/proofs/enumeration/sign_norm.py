"""The checker's own enumeration of `max u'Mv` over signs; it shares no code with the search.

``max over u, v of u'Mv = max over u of sum_i |(Mu)_i|``, and u and -u give the same, so the last
entry of u is +1. ``Mu = M head + M tail``, with the tails' parts in a table; nothing is carried
from one head to the next. Each |(Mu)_i| is a sum of d products by +-1 and their total a sum of d
more, in some order, so a computed total is off by at most ``gamma_{2d} sum_ij |M_ij|`` (N. Higham,
Accuracy and Stability of Numerical Algorithms, 2002, section 3.1).

Both parts are scaled and rounded to integers of 16 bits, each by at most one half, so a total of
|head + tail|, which is exact, is off by at most one a row: what that proves to be below the largest
total so far is left out, the few others are computed from M itself in double precision.
"""

import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from qnn.errors import CertificateError
from qnn.numerics.compiled import compiled
from qnn.numerics.floating import TINY, gamma

Array = np.ndarray

_TAIL = 9
# 2^(d - 1) sign vectors: more than this would not end.
_MOST_COLUMNS = 48
# Half a unit of either integer, and room for the roundings of their scaling.
_UNITS = 1.01
# Rows at a time, so that the totals are read and written less often.
_ROWS = 4


def largest_sign_product(M: Array) -> tuple[float, float]:
    """``max u'Mv`` over u, v in {-1, +1}^d as computed, and a bound of its rounding error.

    M (d, d), finite. Takes some 2^d times 2 d operations. Raises CertificateError where d is more
    than can be enumerated or the sums overflow.
    """
    d = len(M)
    if d > _MOST_COLUMNS:
        raise CertificateError(f"{d} columns are too many to enumerate")
    with np.errstate(over="ignore"):
        size = float(np.abs(M).sum())
    if not np.isfinite(size):
        raise CertificateError("the sums of M overflow")
    error = gamma(2 * d + 20) * size + d * d * TINY
    if size == 0.0:
        return 0.0, error
    # A power of two, so exact: no scale of the integers overflows.
    power = -int(np.frexp(size)[1])
    M, scaled_error = np.ldexp(M, power), float(np.ldexp(error, power))
    # Totals within 16 bits without sign, rows within 16 bits with sign.
    rows = np.abs(M).sum(axis=1)
    scale = min((65500.0 - 2.0 * d) / float(rows.sum()), 32760.0 / float(rows.max()))
    tail = min(_TAIL, d - 1)
    head = d - 1 - tail
    bits = (np.arange(1 << tail)[None, :] >> np.arange(tail)[:, None]) & 1
    signs = np.vstack([np.where(bits == 1, -1.0, 1.0), np.ones((1, 1 << tail))])
    # Rows of zeros add nothing.
    padded = scale * np.vstack([M, np.zeros((-d % _ROWS, d))])
    table = np.ascontiguousarray(np.rint(padded[:, head:] @ signs).astype(np.int16))
    columns = np.ascontiguousarray(padded[:, :head].T)
    M = np.ascontiguousarray(M)
    threads = min(os.cpu_count() or 1, 1 << head)
    limits = [(1 << head) * part // threads for part in range(threads + 1)]
    with ThreadPoolExecutor(threads) as pool:
        parts = pool.map(
            lambda start, stop: _largest(M, columns, table, scale, scaled_error, start, stop),
            limits[:-1],
            limits[1:],
        )
        return float(np.ldexp(max(map(float, parts)), -power)), error


@compiled(nogil=True)
def _total(M: np.ndarray, head: int, index: int, k: int) -> float:
    """A vector's total from M itself (d, d); index holds the signs of its head, k of its tail."""
    d = len(M)
    total = 0.0
    for i in range(d):
        entry = M[i, d - 1]
        for j in range(head):
            entry += -M[i, j] if (index >> j) & 1 else M[i, j]
        for j in range(head, d - 1):
            entry += -M[i, j] if (k >> (j - head)) & 1 else M[i, j]
        total += abs(entry)
    return total


@compiled(inline="always")
def _size(left: np.int16, right: np.int16) -> np.uint16:
    return np.uint16(abs(np.int16(left + right)))


@compiled(nogil=True)
def _add_totals(sums: np.ndarray, table: np.ndarray, total: np.ndarray) -> np.uint16:
    """The sums over rows of |sums + table|, (2^t), and the largest of them."""
    total[:] = 0
    for i in range(0, len(sums), 4):
        s0, s1, s2, s3 = sums[i], sums[i + 1], sums[i + 2], sums[i + 3]
        t0, t1, t2, t3 = table[i], table[i + 1], table[i + 2], table[i + 3]
        for k in range(len(total)):
            first = np.uint16(_size(s0, t0[k]) + _size(s1, t1[k]))
            second = np.uint16(_size(s2, t2[k]) + _size(s3, t3[k]))
            total[k] = np.uint16(total[k] + np.uint16(first + second))
    highest = total[0]
    for k in range(len(total)):
        highest = max(highest, total[k])
    return highest


@compiled(nogil=True)
def _largest(
    M: np.ndarray,
    columns: np.ndarray,
    table: np.ndarray,
    scale: float,
    error: float,
    start: int,
    stop: int,
) -> float:
    """The largest total of the heads start ... stop, whose bits are their signs.

    columns (h, 4k): of scale M; table (4k, 2^t): the tails' sums as integers. ``error``: of any
    total.
    """
    head, height = columns.shape
    width = table.shape[1]
    exact = np.empty(height)
    sums = np.empty(height, dtype=np.int16)
    total = np.empty(width, dtype=np.uint16)
    largest = 0.0
    for index in range(start, stop):
        exact[:] = 0.0
        for j in range(head):
            sign = -1.0 if (index >> j) & 1 else 1.0
            for i in range(height):
                exact[i] += sign * columns[j, i]
        for i in range(height):
            sums[i] = np.int16(np.rint(exact[i]))
        highest = _add_totals(sums, table, total)
        if (highest + _UNITS * height) / scale + error < largest:
            continue
        for k in range(width):
            if (total[k] + _UNITS * height) / scale + error >= largest:
                largest = max(largest, _total(M, head, index, k))
    return largest
