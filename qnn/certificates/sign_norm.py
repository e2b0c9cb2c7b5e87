"""The checker's own enumeration of `max u'Mv` over signs; it shares no code with the search.

``max over u, v of u'Mv = max over u of sum_i |(Mu)_i|``, and u and -u give the same, so the last
entry of u is +1. In plain floating arithmetic, every vector's sums from scratch but for the parts
that many share: ``Mu = M head + M tail``, with the tails' parts in a table. Each |(Mu)_i| is a sum
of d products by +-1 and their total a sum of d more, in some order, so the computed total is off by
at most ``gamma_{2d} sum_ij |M_ij|`` (N. Higham, Accuracy and Stability of Numerical Algorithms,
2002, section 3.1).
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
    # Rows of zeros make their number a multiple of four and add nothing.
    rows = np.vstack([M, np.zeros((-d % 4, d))])
    table = np.ascontiguousarray(rows[:, head:] @ signs)
    columns = np.ascontiguousarray(rows[:, :head].T)
    threads = min(os.cpu_count() or 1, 1 << head)
    limits = [(1 << head) * part // threads for part in range(threads + 1)]
    with ThreadPoolExecutor(threads) as pool:
        parts = pool.map(
            lambda start, stop: _largest(columns, table, start, stop), limits[:-1], limits[1:]
        )
        found = max(map(float, parts))
    k = 2 * d + 20
    rounding = k * 2.0**-53 / (1.0 - k * 2.0**-53) * size
    return found, rounding + d * d * float(np.finfo(np.float64).tiny)


@numba.njit(cache=True, nogil=True)
def _largest(columns: np.ndarray, table: np.ndarray, start: int, stop: int) -> float:
    """The largest total of some heads: columns (h, 4k) of M, table (4k, 2^t) of the tails' sums."""
    head, d = columns.shape
    width = table.shape[1]
    sums = np.empty(d)
    total = np.empty(width)
    largest = 0.0
    for index in range(start, stop):
        sums[:] = 0.0
        for j in range(head):
            sign = -1.0 if (index >> j) & 1 else 1.0
            for i in range(d):
                sums[i] += sign * columns[j, i]
        total[:] = 0.0
        # Four rows at a time, so that the totals are read and written less often.
        for i in range(0, d, 4):
            s0, s1, s2, s3 = sums[i], sums[i + 1], sums[i + 2], sums[i + 3]
            t0, t1, t2, t3 = table[i], table[i + 1], table[i + 2], table[i + 3]
            for k in range(width):
                total[k] += abs(s0 + t0[k]) + abs(s1 + t1[k]) + abs(s2 + t2[k]) + abs(s3 + t3[k])
        for k in range(width):
            largest = max(largest, total[k])
    return largest
