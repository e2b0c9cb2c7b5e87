"""The compiled map from a problem's fourth moments and its β to dual points.

With ``phi_i = svec(f_i f_i')`` (n rows of p = D (D + 1) / 2), ``G = Phi'Phi`` and ``m0 = Phi'y``
the best dual point of the squared loss with ``M(nu) = smat(m)`` is ``nu = y - Phi z``,
``z = G^-1 (m0 - m)``. So the dual is ``max y'y / 2 - (m - m0)' G^-1 (m - m0) / 2`` over
``Diag(a) - M >= 0``, ``Diag(a) + M >= 0``, ``sum(a) = beta d``: what rows the data have no longer
matters. A step is Newton's for that with a logarithmic barrier of both slacks (S. Boyd,
L. Vandenberghe, Convex Optimization, 2004, sections 10.2 and 11.3), cut so that the slacks stay
positive definite.
"""

from __future__ import annotations

import numpy as np

from qnn.numerics.compiled import compiled
from qnn.semidefinite.positive import lowest

Array = np.ndarray

#: sums may be reordered; infinities and what is no number stay as they are
_SUMS = {"reassoc", "contract", "nsz"}


@compiled(error_model="numpy")
def products(F: Array) -> Array:
    """The rows ``svec(f f')`` (n, p) of features F (n, D)."""
    n, size = F.shape
    Phi = np.empty((n, size * (size + 1) // 2))
    for row in range(n):
        k = 0
        for i in range(size):
            Phi[row, k] = F[row, i] * F[row, i]
            scaled = np.sqrt(2.0) * F[row, i]
            for j in range(i + 1, size):
                Phi[row, k + j - i] = scaled * F[row, j]
            k += size - i
    return Phi


@compiled(error_model="numpy")
def follow(
    inverse: Array,
    m0: Array,
    square: float,
    budgets: Array,
    plan: Array,
    centrality: float,
    z: Array,
    a: Array,
) -> None:
    """Fill in dual points along budgets (K,) from large to small.

    ``inverse`` (p, p) of G, ``m0`` (p,), ``square`` = y'y; ``plan`` (K,): Newton steps of each
    cell; ``centrality``: the share of the bound that the barrier's gap is set to.
    Out: ``z`` (K, p), of which ``nu = y - Phi z``; ``a`` (K, D) within the budget.
    """
    p, size = len(m0), a.shape[1]
    m = np.zeros(p)
    diagonal = np.full(size, budgets[0] / size)
    budget = budgets[0]
    V, W = np.empty((size, size)), np.empty((size, size))
    pairs = np.empty(4 * size * p)
    # Rows of the Hessian's upper triangle, each with its two right sides, of whole vectors.
    width = (p + size + 5) // 4 * 4
    K = np.zeros((p + size) * width)
    change = np.empty((2, p + size))
    for cell in range(len(budgets)):
        m *= budgets[cell] / budget
        diagonal *= budgets[cell] / budget
        budget = budgets[cell]
        for _ in range(plan[cell]):
            pull = inverse @ (m0 - m)
            bound = float(0.5 * (square - (m0 - m) @ pull))
            barrier = centrality * max(bound, 0.01 * square) / (2.0 * size)
            if not _newton(m, diagonal, inverse, pull, budget, barrier, V, W, pairs, K, change):
                break
        z[cell] = inverse @ (m0 - m)
        a[cell] = diagonal


@compiled(error_model="numpy")
def mirror(S: Array) -> None:
    """The upper triangle of S (p, p) becomes the lower one too."""
    for i in range(len(S)):
        for j in range(i):
            S[i, j] = S[j, i]


@compiled(error_model="numpy")
def least_slacks(m: Array, a: Array) -> Array:
    """The least eigenvalue of ``Diag(a) - smat(m)`` and ``Diag(a) + smat(m)`` for each row, (K,).

    m (K, p), a (K, D).
    """
    size = a.shape[1]
    found, S = np.empty(len(a)), np.empty((size, size))
    for cell in range(len(a)):
        found[cell] = np.inf
        for sign in (-1.0, 1.0):
            _slack(m[cell], a[cell], sign, S)
            for i in range(size):
                for j in range(i):
                    S[j, i] = S[i, j]
            found[cell] = min(found[cell], lowest(S))
    return found


@compiled(error_model="numpy")
def _newton(
    m: Array,
    a: Array,
    inverse: Array,
    pull: Array,
    budget: float,
    barrier: float,
    V: Array,
    W: Array,
    pairs: Array,
    K: Array,
    change: Array,
) -> bool:
    """One step in m (p,) and a (D,), in place; False where rounding leaves none.

    ``pull``: the gradient of the quadratic; V, W, pairs, K, ``change``: room to work in.
    """
    p = len(m)
    _slack(m, a, -1.0, V)
    _slack(m, a, 1.0, W)
    if not (_invert(V) and _invert(W)):
        return False
    _fill(K, pairs, V, W, inverse, pull, barrier)
    step = change[0]
    if not _solve(K, p, budget - a.sum(), step, change[1]):
        return False
    length = 1.0
    for _ in range(60):
        tried, spent = m + length * step[:p], a + length * step[p:]
        _slack(tried, spent, -1.0, V)
        _slack(tried, spent, 1.0, W)
        if _definite(V) and _definite(W):
            break
        length *= 0.8
    else:
        return False
    if length < 1.0:
        length *= 0.9
    m += length * step[:p]
    a += length * step[p:]
    return True


@compiled(error_model="numpy", fastmath=_SUMS)
def _fill(
    K: Array, pairs: Array, V: Array, W: Array, inverse: Array, pull: Array, barrier: float
) -> None:
    """The upper triangle of the Hessian by rows; right sides: minus the gradient, and 1 for a.

    ``pairs`` (4 D p) is room to work in. Everything in long loops is flat, so that it is
    vectorized.
    """
    one, size, p = np.uintp(1), np.uintp(len(V)), np.uintp(len(pull))
    order = p + size
    width, turn = np.uintp(len(K)) // order, size * p
    _spread(V, pairs[: 2 * turn])
    _spread(W, pairs[2 * turn :])
    flat, r = inverse.ravel(), np.uintp(0)
    for i in range(np.uintp(0), size):
        for j in range(i, size):
            own = barrier * (1.0 if i == j else np.sqrt(2.0))
            at, row = r * width, r * p
            a, b = i * p, j * p
            c, d = a + turn, b + turn
            e, f = c + turn, d + turn
            g, h = e + turn, f + turn
            for k in range(r, p):
                K[at + k] = flat[row + k] + own * (
                    pairs[a + k] * pairs[d + k]
                    + pairs[c + k] * pairs[b + k]
                    + pairs[e + k] * pairs[h + k]
                    + pairs[g + k] * pairs[f + k]
                )
            for k in range(size):
                K[at + p + k] = own * (W[i, k] * W[j, k] - V[i, k] * V[j, k])
            K[at + order] = pull[r] - own * (V[i, j] - W[i, j])
            K[at + order + one] = 0.0
            r += one
    for k in range(size):
        at = (p + k) * width
        for q in range(k, size):
            K[at + p + q] = barrier * (V[k, q] * V[k, q] + W[k, q] * W[k, q])
        K[at + order] = barrier * (V[k, k] + W[k, k])
        K[at + order + one] = 1.0


@compiled(error_model="numpy")
def _spread(V: Array, pairs: Array) -> None:
    """For each row of V its entries at k and, with the factor of svec, at q of all pairs (k, q)."""
    one, size = np.uintp(1), np.uintp(len(V))
    p = size * (size + one) // np.uintp(2)
    root = np.sqrt(0.5)
    for i in range(np.uintp(0), size):
        first = i * p
        second = (size + i) * p
        for k in range(size):
            left = V[i, k]
            pairs[first], pairs[second] = left, 0.5 * left
            for q in range(one, size - k):
                pairs[first + q] = left
                pairs[second + q] = root * V[i, k + q]
            first += size - k
            second += size - k


@compiled(error_model="numpy", fastmath=_SUMS)
def _slack(m: Array, a: Array, sign: float, S: Array) -> None:
    """``Diag(a) + sign smat(m)``, of which the lower triangle is written to S (D, D)."""
    half, k = sign * np.sqrt(0.5), 0
    for i in range(len(a)):
        S[i, i] = a[i] + sign * m[k]
        k += 1
        for j in range(i + 1, len(a)):
            S[j, i] = half * m[k]
            k += 1


@compiled(error_model="numpy", fastmath=_SUMS)
def _definite(S: Array) -> bool:
    """Whether a Cholesky factorization of the lower triangle, in place, runs to its end."""
    for j in range(len(S)):
        for i in range(j, len(S)):
            entry = S[i, j]
            for k in range(j):
                entry -= S[i, k] * S[j, k]
            if i > j:
                S[i, j] = entry / S[j, j]
            elif entry > 0.0:
                S[j, j] = np.sqrt(entry)
            else:
                return False
    return True


@compiled(error_model="numpy", fastmath=_SUMS)
def _invert(S: Array) -> bool:
    """The inverse, both triangles, of what is positive definite and has its lower one in S."""
    if not _definite(S):
        return False
    size = len(S)
    # The factor's inverse goes to the upper triangle, by columns of the factor.
    for j in range(size):
        S[j, j] = 1.0 / S[j, j]
        for i in range(j + 1, size):
            entry = S[i, j] * S[j, j]
            for k in range(j + 1, i):
                entry += S[i, k] * S[j, k]
            S[j, i] = -entry / S[i, i]
    for i in range(size):
        for j in range(i, size):
            entry = 0.0
            for k in range(j, size):
                entry += S[i, k] * S[j, k]
            S[i, j] = entry
    for i in range(size):
        for j in range(i):
            S[i, j] = S[j, i]
    return True


@compiled(error_model="numpy", fastmath=_SUMS)
def _solve(K: Array, p: int, rest: float, x: Array, other: Array) -> bool:
    """Solve a positive definite system for a mixture of two right sides, into x (n,).

    The second's share is such that the entries of x from p on add up to ``rest``; ``other`` (n,) is
    room to work in. K has flat rows, both right sides behind each; of the matrix the upper triangle
    is read, and becomes the factor. Four rows are taken off two at once, from the multiple of 4
    below the diagonal on, so that loops are whole vectors; LAPACK is no faster below an order of
    some 200.
    """
    n = len(x)
    one, four, order = np.uintp(1), np.uintp(4), np.uintp(n)
    long = np.uintp(len(K)) // order
    for first in range(np.uintp(0), order, four):
        last = min(first + four, order)
        for row in range(first, last):
            at = row * long
            for q in range(first, row):
                K[at + q] = 0.0
            for above in range(first, row):
                _subtract(K, at, above * long, K[above * long + row], first, long)
            if not K[at + row] > 0.0:
                return False
            scale = 1.0 / np.sqrt(K[at + row])
            for q in range(first, long):
                K[at + q] *= scale
        if last < order:
            for row in range(last, order - one, np.uintp(2)):
                _subtract_four(K, row, first, long)
            if (order - last) % np.uintp(2):
                for above in range(first, last):
                    at = (order - one) * long
                    factor = K[above * long + order - one]
                    _subtract(K, at, above * long, factor, order - one, long)
    # The last, those of a, for both right sides: they tell the share of the second.
    spent, spread = 0.0, 0.0
    for row in range(n - 1, p - 1, -1):
        i = np.uintp(row)
        at = i * long
        left, right = K[at + order], K[at + order + one]
        for q in range(i + one, order):
            left -= K[at + q] * x[q]
            right -= K[at + q] * other[q]
        x[i], other[i] = left / K[at + i], right / K[at + i]
        spent += x[i]
        spread += other[i]
    share = (rest - spent) / spread
    for k in range(p, n):
        x[k] += share * other[k]
    for row in range(p - 1, -1, -1):
        i = np.uintp(row)
        at = i * long
        left = K[at + order] + share * K[at + order + one]
        for q in range(i + one, order):
            left -= K[at + q] * x[q]
        x[i] = left / K[at + i]
    return True


@compiled(inline="always", error_model="numpy", fastmath=_SUMS)
def _subtract(K: Array, at: int, other: int, factor: float, start: int, width: int) -> None:
    """A multiple of the flat row at ``other`` is taken off the one at ``at``."""
    for q in range(start, width):
        K[at + q] -= factor * K[other + q]


@compiled(inline="always", error_model="numpy", fastmath=_SUMS)
def _subtract_four(K: Array, row: int, first: int, width: int) -> None:
    """The multiples of four flat rows from ``first`` on are taken off ``row`` and the next."""
    one = np.uintp(1)
    at, second = row * width, (row + one) * width
    p = first * width
    q = p + width
    r = q + width
    s = r + width
    a, b, c, d = K[p + row], K[q + row], K[r + row], K[s + row]
    next_row = row + one
    e, f, g, h = K[p + next_row], K[q + next_row], K[r + next_row], K[s + next_row]
    for k in range(row & ~np.uintp(3), width):
        t, u, v, w = K[p + k], K[q + k], K[r + k], K[s + k]
        K[at + k] -= a * t + b * u + c * v + d * w
        K[second + k] -= e * t + f * u + g * v + h * w
