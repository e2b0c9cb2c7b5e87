"""The checker's own enumeration of ``max |u'Mu|`` over signs; it shares no code with the search.

The last entry of u is +1. With u = (head, tail) the value is the head's form, twice the product of
both, and the tail's form. The first two are computed afresh for each head, the last ones lie in a
table; the products with all tails are built by doubling, one entry of the tail after the other.
Each value is a sum of the D^2 entries of M, each of them in at most 4 D additions, so it is off by
at most ``gamma_{4D} sum_ij |M_ij|`` (N. Higham, Accuracy and Stability of Numerical Algorithms,
2002, section 3.1).
"""

import os
from concurrent.futures import ThreadPoolExecutor

import numba
import numpy as np

from qnn.errors import CertificateError

Array = np.ndarray

_TAIL = 9
# 2^(D - 1) sign vectors: more than this would not end.
_MOST_COLUMNS = 48


def largest_sign_form(M: Array) -> tuple[float, float]:
    """``max |u'Mu|``, u in {-1, +1}^D with a last entry of +1, and a bound of its rounding error.

    M (D, D) symmetric, finite. Takes some 2^D operations. Raises CertificateError where D is more
    than can be enumerated or the sums overflow.
    """
    size = float(np.abs(M).sum())
    if not np.isfinite(size):
        raise CertificateError("the sums of M overflow")
    error = _gamma(4 * len(M) + 20) * size + M.size * float(np.finfo(np.float64).tiny)
    if len(M) > 1 and not M[-1, :-1].any():
        # u and -u agree but for the last entry, which adds a number: it joins the one before.
        corner, M = M[-1, -1], M[:-1, :-1].copy()
        M[-1, -1] += corner
    d = len(M)
    if d > _MOST_COLUMNS:
        raise CertificateError(f"{d} columns are too many to enumerate")
    tail = min(_TAIL, d - 1)
    head = d - 1 - tail
    bits = (np.arange(1 << tail)[:, None] >> np.arange(tail)) & 1
    signs = np.column_stack([np.where(bits == 1, -1.0, 1.0), np.ones(1 << tail)])
    table = np.einsum("ki,ki->k", signs @ M[head:, head:], signs)
    M = np.ascontiguousarray(M)
    threads = min(os.cpu_count() or 1, 1 << head)
    limits = [(1 << head) * part // threads for part in range(threads + 1)]
    with ThreadPoolExecutor(threads) as pool:
        parts = pool.map(
            lambda start, stop: _largest(M, table, tail, start, stop), limits[:-1], limits[1:]
        )
        return max(map(float, parts)), error


def _gamma(k: int) -> float:
    return k * 2.0**-53 / (1.0 - k * 2.0**-53)


@numba.njit(cache=True, nogil=True)
def _largest(M: np.ndarray, table: np.ndarray, tail: int, start: int, stop: int) -> float:
    """The largest |value| of the heads start ... stop, whose bits are their signs."""
    d, width = len(M), len(table)
    head = d - 1 - tail
    u = np.empty(head)
    total, highest, lowest = np.empty(width), np.zeros(width), np.zeros(width)
    for index in range(start, stop):
        for i in range(head):
            u[i] = -1.0 if (index >> i) & 1 else 1.0
        own = 0.0
        for i in range(head):
            # The last entry is +1 for every tail.
            entry = 2.0 * M[i, d - 1]
            for j in range(head):
                entry += M[i, j] * u[j]
            own += u[i] * entry
        total[0] = own
        for j in range(tail):
            product = 0.0
            for i in range(head):
                product += M[i, head + j] * u[i]
            product *= 2.0
            plus, minus = total[: 1 << j], total[1 << j : 2 << j]
            for k in range(len(plus)):
                minus[k] = plus[k] - product
                plus[k] += product
        for k in range(width):
            value = total[k] + table[k]
            highest[k] = value if value > highest[k] else highest[k]
            lowest[k] = value if value < lowest[k] else lowest[k]
    return max(highest.max(), -lowest.min())
