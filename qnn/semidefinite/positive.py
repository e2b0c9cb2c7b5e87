"""Eigenvectors of a symmetric matrix's positive eigenvalues and no others, or its least eigenvalue.

Compiled, for orders below some two hundred.

Householder's reflections to a tridiagonal T, bisection by Sturm counts for all positive eigenvalues
at once, two or three Rayleigh quotient steps by twisted factorizations of ``T - lambda`` (I.
Dhillon, B. Parlett, Orthogonal eigenvectors and relative gaps, 2004), and the reflections again.
LAPACK's `syevd` computes all vectors, and at orders below some hundred takes two to four times as
long where half of them or fewer are wanted; its partial solvers take longer than that.
"""

from __future__ import annotations

import numpy as np
from scipy.linalg.lapack import dsyevd

from qnn.numerics.compiled import compiled

Array = np.ndarray

#: from this order on LAPACK is the faster
LARGE = 250
#: sums may be reordered; infinities and what is no number stay as they are
_SUMS = {"reassoc", "contract", "nsz"}
_EXACT = {"contract", "nsz"}
#: Rayleigh quotient steps, by precision
PASSES = {"float32": 2, "float64": 2}
#: halvings of the interval before the Rayleigh quotients, of single and of double precision
_HALVINGS, _MORE_HALVINGS = 18, 30
#: vectors of which less than this part of the square is left beside the others are no vectors
_OWN = 0.25
_TINY = 1e-30
_NOTHING = 1e-20


def positive_factor(Y: Array) -> Array | None:
    """F (D, r) with ``F F' = Y+``, the projection of Y (D, D) to the semidefinite cone.

    In Y's precision. None where that is not to be had so: eigenvalues too close to one another to
    be told apart, or numbers beyond single precision.
    """
    found, factor = factor_rows(np.ascontiguousarray(Y), PASSES[Y.dtype.name])
    return factor.T if found else None


def lowest_eigenvalue(S: Array) -> float:
    """The least eigenvalue of S (D, D), symmetric, to rounding; NaN where S is no numbers."""
    if len(S) < LARGE:
        return float(lowest(np.ascontiguousarray(S)))
    values, _, info = dsyevd(S, compute_v=0, lower=1)
    return float(values[0]) if info == 0 else np.nan


@compiled(nogil=True, error_model="numpy", fastmath=_SUMS)
def _sum(values: Array) -> float:
    """Of absolute values: no number where one of them is none."""
    total = values.dtype.type(0)
    for k in range(len(values)):
        total += abs(values[k])
    return total


@compiled(nogil=True, error_model="numpy", fastmath=_SUMS)
def _tridiagonal(F: Array, n: int, d: Array, e: Array, tau: Array, w: Array) -> None:
    """Y as flat rows becomes T, ``d`` and ``e``; its rows keep the reflections."""
    zero, half, one = F.dtype.type(0), F.dtype.type(0.5), F.dtype.type(1)
    order, step = np.uintp(n), np.uintp(1)
    for k in range(np.uintp(0), order - step):
        at, first = k * order, k + step
        d[k], alpha = F[at + k], F[at + first]
        square = zero
        for j in range(first + step, order):
            square += F[at + j] * F[at + j]
        if square == zero:
            tau[k], e[k] = zero, alpha
            continue
        norm = np.sqrt(alpha * alpha + square)
        beta = -norm if alpha >= zero else norm
        t, scale = (beta - alpha) / beta, one / (alpha - beta)
        for j in range(first + step, order):
            F[at + j] *= scale
        F[at + first] = one
        tau[k], e[k] = t, beta
        product = zero
        for i in range(first, order):
            total, row = zero, i * order
            for j in range(first, order):
                total += F[row + j] * F[at + j]
            w[i] = t * total
            product += w[i] * F[at + i]
        for i in range(first, order):
            w[i] -= half * t * product * F[at + i]
        for i in range(first, order):
            v, u, row = F[at + i], w[i], i * order
            for j in range(first, order):
                F[row + j] -= v * w[j] + u * F[at + j]
    d[n - 1] = F[order * order - step]


@compiled(nogil=True, error_model="numpy", fastmath=_EXACT)
def _count_positive(d: Array, squares: Array) -> int:
    zero, q, count = d.dtype.type(0), d.dtype.type(1), 0
    for i in range(len(d)):
        q = d[i] - (squares[i - 1] / q if i else zero)
        count += 1 if q >= 0 else 0
    return count


@compiled(nogil=True, error_model="numpy", fastmath=_EXACT)
def _bisect(d: Array, squares: Array, top: float, r: int, halvings: int) -> Array:
    """The r largest eigenvalues of T, all in (0, top], descending, (r,), in T's precision."""
    half = d.dtype.type(0.5)
    low, high = np.zeros(r, d.dtype), np.full(r, d.dtype.type(top))
    middle, q = np.empty(r, d.dtype), np.empty(r, d.dtype)
    below = np.empty(r, np.int32)
    for _ in range(halvings):
        for j in range(r):
            middle[j] = half * (low[j] + high[j])
            q[j] = d[0] - middle[j]
            below[j] = 1 if q[j] < 0 else 0
        for i in range(1, len(d)):
            entry, square = d[i], squares[i - 1]
            for j in range(r):
                q[j] = entry - middle[j] - square / q[j]
                below[j] += 1 if q[j] < 0 else 0
        for j in range(r):
            if len(d) - below[j] > j:
                low[j] = middle[j]
            else:
                high[j] = middle[j]
    for j in range(r):
        middle[j] = half * (low[j] + high[j])
    return middle


@compiled(nogil=True, error_model="numpy", fastmath=_EXACT)
def _twist(d: Array, e: Array, values: Array, vectors: Array, passes: int) -> None:
    """Improve eigenvalues of T (r,) in place, and write their unit vectors to ``vectors`` (n, r).

    Double precision: ``T - lambda`` is factorized from above and from below, and the vector begins
    where the two meet with the least remainder, which over its square is the eigenvalue's error.
    """
    n, r = vectors.shape
    above, beneath = np.empty((n, r)), np.empty((n, r))
    for turn in range(passes):
        for j in range(r):
            above[0, j], beneath[n - 1, j] = d[0] - values[j], d[n - 1] - values[j]
        for i in range(1, n):
            square, entry = e[i - 1] * e[i - 1], d[i]
            for j in range(r):
                q = above[i - 1, j]
                above[i - 1, j] = q if abs(q) > _TINY else _TINY
                above[i, j] = entry - values[j] - square / above[i - 1, j]
        for i in range(n - 2, -1, -1):
            square, entry = e[i] * e[i], d[i]
            for j in range(r):
                q = beneath[i + 1, j]
                beneath[i + 1, j] = q if abs(q) > _TINY else _TINY
                beneath[i, j] = entry - values[j] - square / beneath[i + 1, j]
        for j in range(r):
            least, middle, rest = np.inf, 0, 0.0
            for i in range(n):
                q = above[i, j] + beneath[i, j] - (d[i] - values[j])
                if abs(q) < least:
                    least, middle, rest = abs(q), i, q
            vectors[middle, j] = entry = square = 1.0
            for i in range(middle - 1, -1, -1):
                entry *= -e[i] / above[i, j]
                vectors[i, j] = entry
                square += entry * entry
            entry = 1.0
            for i in range(middle + 1, n):
                entry *= -e[i - 1] / beneath[i, j]
                vectors[i, j] = entry
                square += entry * entry
            values[j] += rest / square
            if turn == passes - 1:
                scale = 1.0 / np.sqrt(square)
                for i in range(n):
                    entry = vectors[i, j] * scale
                    # Far from the middle entries fall below what a processor handles at full speed.
                    vectors[i, j] = entry if abs(entry) > _NOTHING else 0.0


@compiled(nogil=True, error_model="numpy", fastmath=_SUMS)
def _orthonormal(F: Array, r: int, n: int) -> bool:
    """Gram-Schmidt on flat rows; False where one was in the span of the others, or no number."""
    zero, one = F.dtype.type(0), F.dtype.type(1)
    order = np.uintp(n)
    for a in range(np.uintp(r)):
        row = a * order
        for b in range(a):
            other, product = b * order, zero
            for k in range(order):
                product += F[row + k] * F[other + k]
            for k in range(order):
                F[row + k] -= product * F[other + k]
        square = zero
        for k in range(order):
            square += F[row + k] * F[row + k]
        if not square > _OWN:
            return False
        scale = one / np.sqrt(square)
        for k in range(order):
            F[row + k] *= scale
    return True


@compiled(nogil=True, error_model="numpy", fastmath=_SUMS)
def _reflect(rows: Array, tau: Array, F: Array, r: int, n: int) -> None:
    """The vectors of T, flat rows of F, become those of Y."""
    zero, order, step = F.dtype.type(0), np.uintp(n), np.uintp(1)
    for index in range(n - 2, -1, -1):
        k, t = np.uintp(index), tau[index]
        at, first = k * order, k + step
        if t == zero:
            continue
        for a in range(np.uintp(r)):
            row, product = a * order, zero
            for j in range(first, order):
                product += rows[at + j] * F[row + j]
            product *= t
            for j in range(first, order):
                F[row + j] -= product * rows[at + j]


@compiled(nogil=True, error_model="numpy", fastmath=_EXACT)
def factor_rows(Y: Array, passes: int) -> tuple[bool, Array]:
    """Whether `positive_factor` was found, and its columns as rows, (r, D); itself compiled."""
    n = len(Y)
    rows = Y.copy().ravel()
    top = _sum(rows) / Y.dtype.type(n)
    nothing = np.empty((0, n), Y.dtype)
    if top == 0:
        return True, nothing
    if not 1e-30 < top < 1e30:
        return False, nothing
    rows /= top
    d, e = np.zeros(n, Y.dtype), np.zeros(n, Y.dtype)
    tau, w = np.zeros(n, Y.dtype), np.zeros(n, Y.dtype)
    _tridiagonal(rows, n, d, e, tau, w)
    squares, norm = np.empty(n, Y.dtype), 0.0
    halvings = _HALVINGS if Y.itemsize == 4 else _MORE_HALVINGS
    for i in range(n):
        squares[i] = max(e[i] * e[i], Y.dtype.type(1e-20))
        norm = max(norm, abs(d[i]) + abs(e[i]) + (abs(e[i - 1]) if i else 0.0))
    r = _count_positive(d, squares)
    values = _bisect(d, squares, norm, r, halvings).astype(np.float64)
    vectors = np.empty((n, r))
    _twist(d.astype(np.float64), e.astype(np.float64), values, vectors, passes)
    factor = np.empty((r, n), Y.dtype)
    factor[:] = vectors.T
    flat = factor.ravel()
    if not _orthonormal(flat, r, n):
        return False, nothing
    _reflect(rows, tau, flat, r, n)
    for j in range(r):
        factor[j] *= np.sqrt(max(values[j], 0.0) * top)
    return True, factor


@compiled(nogil=True, error_model="numpy", fastmath=_EXACT)
def lowest(S: Array) -> float:
    """`lowest_eigenvalue` of C-ordered S, itself compiled."""
    n = len(S)
    rows = S.copy().ravel()
    top = np.abs(rows).max()
    if top == 0.0 or not np.isfinite(top):
        return 0.0 * top
    rows /= top
    d, e, tau, w = np.empty(n), np.zeros(n), np.zeros(n), np.empty(n)
    _tridiagonal(rows, n, d, e, tau, w)
    low, high = np.inf, d.min()
    for i in range(n):
        low = min(low, d[i] - abs(e[i]) - (abs(e[i - 1]) if i else 0.0))
    return top * _least_root(d, np.maximum(e * e, 1e-300), low, high)


@compiled(nogil=True, error_model="numpy", fastmath=_EXACT)
def _least_root(d: Array, squares: Array, low: float, high: float) -> float:
    """The least eigenvalue of T in [low, high], T's entries at most some one.

    Laguerre's steps from below, which never pass a root but by rounding and converge cubically to a
    single one (B. Parlett, Laguerre's method applied to the matrix eigenvalue problem, 1964); each
    point above is an end of the bracket, and halving takes over where steps are slow.
    """
    n, point = len(d), low
    for turn in range(200):
        q, u, v = d[0] - point, 0.0, 0.0
        above = not q > 0.0
        u = -1.0 / q
        first, second = -u, u * u
        for i in range(1, n):
            t = squares[i - 1] / q
            q = d[i] - point - t
            above = above or not q > 0.0
            v = t * (v - 2.0 * u * u) / q
            u = (t * u - 1.0) / q
            first -= u
            second += u * u - v
        if above:
            high = point
        else:
            low = point
        step = n / (first + np.sqrt(max((n - 1.0) * (n * second - first * first), 0.0)))
        if not above and turn < 12 and step < high - low:
            if step < 1e-16:
                return low + step
            point = low + step
            continue
        point = 0.5 * (low + high)
        if not low < point < high or high - low < 1e-16:
            return point
    return low
