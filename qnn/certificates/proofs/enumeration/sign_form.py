"""The checker's own enumeration of ``max |u'Mu|`` over signs; it shares no code with the search.

The last entry of u is +1. With u = (outer, inner, tail) the value is a number of (outer, inner), a
number of (outer, tail) and twice the product of inner and tail. The products lie in one table, the
numbers are computed afresh for each outer part, so nothing is carried from one to the next. Each
value is a sum of the D^2 entries of M, each of them in at most 4 D additions, so it is off by at
most ``gamma_{4D} sum_ij |M_ij|`` (N. Higham, Accuracy and Stability of Numerical Algorithms, 2002,
section 3.1).

Of (outer, tail) + (inner, tail) there is a second copy in integers of 16 bits. Scaled, each is
rounded by at most one half, and their sum, which is exact, by at most one: what that proves to be
below the largest value so far is left out, the few others are summed in double precision.
"""

import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from qnn.errors import CertificateError
from qnn.numerics.compiled import compiled
from qnn.numerics.floating import TINY, gamma

Array = np.ndarray

# The table of products, 2^14 integers of 16 bits, stays in the first cache.
_TAIL, _INNER = 8, 6
# 2^(D - 1) sign vectors: more than this would not end.
_MOST_COLUMNS = 48
# Half a unit of either integer, and room for the roundings of their scaling.
_UNITS = 1.01
_LARGEST_INTEGER = 32760.0


def largest_sign_form(M: Array) -> tuple[float, float]:
    """``max |u'Mu|``, u in {-1, +1}^D with a last entry of +1, and a bound of its rounding error.

    M (D, D) symmetric, finite. Takes some 2^D operations. Raises CertificateError where D is more
    than can be enumerated or the sums overflow.
    """
    with np.errstate(over="ignore"):
        size = float(np.abs(M).sum())
    if not np.isfinite(size):
        raise CertificateError("the sums of M overflow")
    error = gamma(4 * len(M) + 20) * size + M.size * TINY
    if size == 0.0:
        return 0.0, error
    # A power of two, so exact: no scale of the integers overflows.
    power = -int(np.frexp(size)[1])
    M, scaled_error = np.ldexp(M, power), float(np.ldexp(error, power))
    if len(M) > 1 and not M[-1, :-1].any():
        # u and -u agree but for the last entry, which adds a number: it joins the one before.
        corner, M = M[-1, -1], M[:-1, :-1].copy()
        M[-1, -1] += corner
    d = len(M)
    if d > _MOST_COLUMNS:
        raise CertificateError(f"{d} columns are too many to enumerate")
    tail = min(_TAIL, d - 1)
    inner = min(_INNER, d - 1 - tail)
    outer = d - 1 - tail - inner
    own = _own(M, outer, inner)
    rest = _own(M, outer + inner, tail)
    products = 2.0 * _signs(inner) @ M[outer : outer + inner, outer + inner : -1] @ _signs(tail).T
    reach = 2.0 * np.abs(M[:outer, outer + inner : -1] @ _signs(tail).T).sum(axis=0) + np.abs(rest)
    highest = float(np.abs(products).max() + reach.max())
    scale = _LARGEST_INTEGER / max(highest, 1e-280)
    integers = np.rint(scale * products).astype(np.int16)
    M = np.ascontiguousarray(M)
    threads = min(os.cpu_count() or 1, 1 << outer)
    limits = [(1 << outer) * part // threads for part in range(threads + 1)]
    with ThreadPoolExecutor(threads) as pool:
        parts = pool.map(
            lambda start, stop: _largest(
                M, own, rest, products, integers, scale, scaled_error, start, stop
            ),
            limits[:-1],
            limits[1:],
        )
        return float(np.ldexp(max(map(float, parts)), -power)), error


def _signs(count: int) -> Array:
    """All sign vectors, (2^count, count): bit j of the row's number is entry j."""
    bits = (np.arange(1 << count)[:, None] >> np.arange(count)) & 1
    return np.where(bits == 1, -1.0, 1.0)


def _own(M: Array, start: int, count: int) -> Array:
    """Of the entries start ... start + count of u: their form and twice their last column."""
    signs, stop = _signs(count), start + count
    pairs = np.einsum("ki,ki->k", signs @ M[start:stop, start:stop], signs)
    return np.asarray(pairs + 2.0 * signs @ M[start:stop, -1])


@compiled(nogil=True)
def _add_products(M: np.ndarray, u: np.ndarray, start: int, count: int, sums: np.ndarray) -> None:
    """Add 2 u'Mw to the sum of each w, sign vectors of the entries start ... start + count."""
    for j in range(count):
        product = 0.0
        for i in range(len(u)):
            product += M[i, start + j] * u[i]
        product *= 2.0
        for k in range(len(sums)):
            sums[k] += -product if (k >> j) & 1 else product


@compiled(nogil=True)
def _extremes(row: np.ndarray, numbers: np.ndarray) -> tuple[np.int16, np.int16]:
    """The least and the largest sum, all of 16 bits."""
    lowest = highest = np.int16(row[0] + numbers[0])
    for k in range(len(numbers)):
        value = np.int16(row[k] + numbers[k])
        lowest, highest = min(lowest, value), max(highest, value)
    return lowest, highest


@compiled(nogil=True)
def _largest(
    M: np.ndarray,
    own: np.ndarray,
    rest: np.ndarray,
    products: np.ndarray,
    integers: np.ndarray,
    scale: float,
    error: float,
    start: int,
    stop: int,
) -> float:
    """The largest |value| of the outer parts start ... stop, whose bits are their signs.

    own (2^i): what inner parts give alone; rest (2^t): the same of tails; products (2^i, 2^t), and
    as integers, scaled. ``error``: of any value.
    """
    d, (height, width) = len(M), products.shape
    inner, tail = _logarithm(height), _logarithm(width)
    outer = d - 1 - inner - tail
    u = np.empty(outer)
    left, right = np.empty(height), np.empty(width)
    rounded = np.empty(width, dtype=np.int16)
    largest = 0.0
    for index in range(start, stop):
        for i in range(outer):
            u[i] = -1.0 if (index >> i) & 1 else 1.0
        # The last entry of u is +1 for all.
        form = M[d - 1, d - 1]
        for i in range(outer):
            entry = 2.0 * M[i, d - 1]
            for j in range(outer):
                entry += M[i, j] * u[j]
            form += u[i] * entry
        left[:] = own
        _add_products(M, u, outer, inner, left)
        right[:] = rest
        _add_products(M, u, outer + inner, tail, right)
        for k in range(width):
            rounded[k] = np.int16(np.rint(scale * right[k]))
        for i in range(height):
            lowest, highest = _extremes(integers[i], rounded)
            number = form + left[i]
            above = number + (highest + _UNITS) / scale + error
            below = number + (lowest - _UNITS) / scale - error
            if max(above, -below) < largest:
                continue
            for k in range(width):
                largest = max(largest, abs(number + right[k] + products[i, k]))
    return largest


@compiled(nogil=True)
def _logarithm(power: int) -> int:
    exponent = 0
    while 1 << exponent < power:
        exponent += 1
    return exponent
