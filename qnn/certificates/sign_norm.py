"""The checker's own enumeration of `max u'Mv` over signs; it shares no code with the search.

``max over u, v of u'Mv = max over u of sum_i |(Mu)_i|``, and u and -u give the same, so the last
entry of u is +1. ``Mu = M head + M tail``, with the tails' parts in a table; nothing is carried
from one head to the next. Each |(Mu)_i| is a sum of d products by +-1 and their total a sum of d
more, in some order, so a computed total is off by at most ``gamma_{2d} sum_ij |M_ij|`` (N. Higham,
Accuracy and Stability of Numerical Algorithms, 2002, section 3.1). That holds in single precision
as well, with its unit 2^-24: totals in single precision that are below the largest by more than
this are proven to be so, and the few others are computed again in double precision.
"""

import os
from concurrent.futures import ThreadPoolExecutor

import numba
import numpy as np

from qnn.errors import CertificateError

Array = np.ndarray

_TAIL = 7
# 2^(d - 1) sign vectors: more than this would not end.
_MOST_COLUMNS = 48


def largest_sign_product(M: Array) -> tuple[float, float]:
    """``max u'Mv`` over u, v in {-1, +1}^d as computed, and a bound of its rounding error.

    M (d, d), finite. Takes some 2^d times 2 d operations. Raises CertificateError where d is more
    than can be enumerated or the sums overflow.
    """
    d = len(M)
    if d > _MOST_COLUMNS:
        raise CertificateError(f"{d} columns are too many to enumerate")
    size = float(np.abs(M).sum())
    if not np.isfinite(size):
        raise CertificateError("the sums of M overflow")
    tail = min(_TAIL, d - 1)
    bits = (np.arange(1 << tail)[None, :] >> np.arange(tail)[:, None]) & 1
    signs = np.vstack([np.where(bits == 1, -1.0, 1.0), np.ones((1, 1 << tail))])
    head = d - 1 - tail
    # A power of two, so exact: no entry is lost below single precision's range or above it.
    power = -int(np.frexp(size)[1]) if size > 0.0 else 0
    scaled = np.ldexp(M, power)
    # Rows of zeros make their number a multiple of four and add nothing.
    rows = np.vstack([scaled, np.zeros((-d % 4, d))])
    table = np.ascontiguousarray((rows[:, head:] @ signs).astype(np.float32))
    columns = np.ascontiguousarray(rows[:, :head].T)
    # 1: the scaled size. Twice over, as the table and the heads' sums are rounded on their own.
    margin = 2.0 * _gamma(2 * d + 20, 2.0**-24)
    threads = min(os.cpu_count() or 1, 1 << head)
    limits = [(1 << head) * part // threads for part in range(threads + 1)]
    with ThreadPoolExecutor(threads) as pool:
        parts = pool.map(
            lambda start, stop: _largest(scaled, columns, table, tail, margin, start, stop),
            limits[:-1],
            limits[1:],
        )
        found = float(np.ldexp(max(map(float, parts)), -power))
    return found, _gamma(2 * d + 20, 2.0**-53) * size + d * d * float(np.finfo(np.float64).tiny)


def _gamma(k: int, unit: float) -> float:
    return k * unit / (1.0 - k * unit)


@numba.njit(cache=True, nogil=True)
def _total(M: np.ndarray, head: int, tail: int, index: int, k: int) -> float:
    """A vector's total from M itself (d, d); index holds the signs of its head, k of its tail."""
    d = len(M)
    total = 0.0
    for i in range(d):
        entry = M[i, d - 1]
        for j in range(head):
            entry += -M[i, j] if (index >> j) & 1 else M[i, j]
        for j in range(tail):
            entry += -M[i, head + j] if (k >> j) & 1 else M[i, head + j]
        total += abs(entry)
    return total


@numba.njit(cache=True, nogil=True)
def _largest(
    M: np.ndarray,
    columns: np.ndarray,
    table: np.ndarray,
    tail: int,
    margin: float,
    start: int,
    stop: int,
) -> float:
    """The largest total of some heads: columns (h, 4k) of M, table (4k, 2^t) of the tails' sums."""
    head, height = columns.shape
    width = table.shape[1]
    exact = np.empty(height)
    sums = np.empty(height, dtype=np.float32)
    total = np.empty(width, dtype=np.float32)
    largest = 0.0
    for index in range(start, stop):
        exact[:] = 0.0
        for j in range(head):
            sign = -1.0 if (index >> j) & 1 else 1.0
            for i in range(height):
                exact[i] += sign * columns[j, i]
        sums[:] = exact
        total[:] = 0.0
        # Four rows at a time, so that the totals are read and written less often.
        for i in range(0, height, 4):
            s0, s1, s2, s3 = sums[i], sums[i + 1], sums[i + 2], sums[i + 3]
            t0, t1, t2, t3 = table[i], table[i + 1], table[i + 2], table[i + 3]
            for k in range(width):
                total[k] += abs(s0 + t0[k]) + abs(s1 + t1[k]) + abs(s2 + t2[k]) + abs(s3 + t3[k])
        highest = total[0]
        for k in range(width):
            highest = max(highest, total[k])
        if highest < largest - margin:
            continue
        for k in range(width):
            if total[k] >= largest - margin:
                largest = max(largest, _total(M, head, tail, index, k))
    return largest
