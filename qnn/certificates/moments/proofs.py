"""Bounds of the gauge proven for many behaviours at once, in floating arithmetic.

The gauge of a behaviour b is the least s at which ``noise + (b - noise)/s`` is inside the level,
noise being the behaviour whose outcomes are all equally likely; b is inside exactly where it is at
most 1. Times s, the moment matrix has s in the entries of the moment 1, ``(s - 1) noise + b`` in
the fixed ones and any numbers m in the free ones:

* from above: s and m such that this matrix is positive semidefinite prove ``g <= s``;
* from below: any ``Y >= 0`` has a product of at least zero with it. A moment of a semidefinite
  moment matrix is at most its first entry, s: with two outcomes all diagonal entries are s, and of
  projectors ``<w* w>``, w = l v, is the entry (v, w) too, so at most ``<v* v>``, and so on down to
  the word 1. So with kappa_k, r_i the sums of Y over the entries of coordinate k and free moment i,
  and e over those of the moment 1,

      g >= sum_k (noise_k - b_k) kappa_k / (e + sum_k noise_k kappa_k + sum_i |r_i|),

  and what Y misses in the equalities r_i = 0 is paid for, not ignored.

A matrix is positive definite where the floating Cholesky factorization of it, its diagonal lowered
by the shift of N. Higham, Accuracy and Stability of Numerical Algorithms, 2002, theorem 10.3, runs
to its end (see `qnn.certificates.checker`, whose argument this follows). Sums of N products are off
by at most gamma_{N + 2} times their absolute values; underflow is covered by absolute allowances.
"""

import numpy as np

from qnn.certificates.moments.structure import Structure
from qnn.numerics.compiled import compiled
from qnn.numerics.floating import TINY, UNIT, gamma

Array = np.ndarray

# Largest and least sizes of Y that are read, far from where anything overflows or vanishes.
_LARGE, _SMALL = 2.0**300, 2.0**-300


def shift(n: int) -> float:
    """The part of the diagonal that a proof of an n x n matrix takes off."""
    return 1.01 * n * gamma(2 * n + 10)


def prove_upper(level: Structure, b: Array, m: Array, s: Array) -> Array:
    """Whether s (N,), with the free moments m (N, f), proves the gauge of b (N, p) to be below it.

    Anything that is not finite proves nothing.
    """
    proven = np.zeros(len(b), dtype=np.bool_)
    _uppers(level.size, level.row, level.column, level.kind, level.noise, b, m, s,
            shift(level.size), proven)  # fmt: skip
    return proven


def prove_lower(level: Structure, b: Array, Y: Array) -> Array:
    """What Y (N, n, n), its lower triangles mirrored, proves the gauges of b (N, p) to reach: (N,).

    0, which is always true, where it proves nothing.
    """
    bounds = np.zeros(len(b))
    _lowers(level.size, level.row, level.column, level.kind, level.noise, level.free, b, Y,
            shift(level.size), bounds)  # fmt: skip
    return bounds


def definite(matrix: Array) -> bool:
    """Whether a symmetric matrix, each entry rounded once to nearest, is proven positive definite.

    Its exact entries may differ from these by a relative 2^-53.
    """
    S = np.tril(matrix)
    if not (np.abs(matrix) < _LARGE).all():
        return False
    error = 1.01 * UNIT * np.abs(matrix).sum(axis=1) + len(S) * TINY
    S[np.diag_indices(len(S))] -= error + 4.0 * UNIT * (np.abs(np.diagonal(S)) + error)
    return bool(_definite(S, np.zeros_like(S), len(S), shift(len(S))))


@compiled(nogil=True)
def _definite(S: Array, L: Array, n: int, relative: float) -> bool:
    """Whether the lower triangle of S is proven positive definite; S's diagonal is lowered."""
    for i in range(n):
        S[i, i] = S[i, i] * (1.0 - relative) - n * TINY
        for j in range(i):
            total = S[i, j]
            for k in range(j):
                total -= L[i, k] * L[j, k]
            L[i, j] = total / L[j, j]
        total = S[i, i]
        for k in range(i):
            total -= L[i, k] * L[i, k]
        # Not the same as `total <= 0`: of NaN nothing is true.
        if not (total > 0.0 and total < 1e300):
            return False
        L[i, i] = np.sqrt(total)
    return True


@compiled(nogil=True)
def _uppers(
    n: int,
    row: Array,
    column: Array,
    kind: Array,
    noise: Array,
    b: Array,
    m: Array,
    s: Array,
    relative: float,
    proven: Array,
) -> None:
    S, L, radius = np.zeros((n, n)), np.zeros((n, n)), np.zeros(n)
    p = len(noise)
    for item in range(len(b)):
        radius[:] = 0.0
        size = s[item]
        finite = size > 0.0 and size < _LARGE
        for e in range(len(row)):
            i, j, k = row[e], column[e], kind[e]
            if k < 0:
                S[i, j] = size
                continue
            value = b[item, k] if k < p else m[item, k - p]
            if not abs(value) < _LARGE:
                finite = False
            if k < p and noise[k] != 0.0:
                # The exact noise is a fraction; roundings: of it, of s - 1, of product and sum.
                error = 8.0 * UNIT * ((size + 1.0) * noise[k] + abs(value)) + TINY
                value += (size - 1.0) * noise[k]
                radius[i] += error
                if i != j:
                    radius[j] += error
            S[i, j] = value
        for i in range(n):
            S[i, i] -= radius[i] * (1.0 + 1e-10) + 4.0 * UNIT * (abs(S[i, i]) + radius[i])
        proven[item] = finite and _definite(S, L, n, relative)


@compiled(nogil=True)
def _lowers(
    n: int,
    row: Array,
    column: Array,
    kind: Array,
    noise: Array,
    free: int,
    b: Array,
    Y: Array,
    relative: float,
    bounds: Array,
) -> None:
    S, L = np.zeros((n, n)), np.zeros((n, n))
    p, factor = len(noise), (2.0 * n * n + 20.0) * 1.01 * UNIT
    residual, residual_size = np.zeros(free), np.zeros(free)
    for item in range(len(b)):
        residual[:] = 0.0
        residual_size[:] = 0.0
        above, above_size, below, below_size = 0.0, 0.0, 0.0, 0.0
        finite = True
        for i in range(n):
            for j in range(i + 1):
                S[i, j] = Y[item, i, j]
                if not abs(S[i, j]) < _LARGE:
                    finite = False
        for e in range(len(row)):
            i, j, k = row[e], column[e], kind[e]
            value = S[i, j] if i == j else 2.0 * S[i, j]
            if k < 0:
                below += value
                below_size += abs(value)
            elif k < p:
                coordinate = b[item, k]
                if not abs(coordinate) < _LARGE:
                    finite = False
                above += (noise[k] - coordinate) * value
                above_size += (abs(noise[k]) + abs(coordinate)) * abs(value)
                below += noise[k] * value
                below_size += abs(noise[k] * value)
            else:
                residual[k - p] += value
                residual_size[k - p] += abs(value)
        for i in range(free):
            below += abs(residual[i]) + factor * residual_size[i]
            below_size += abs(residual[i]) + residual_size[i]
        numerator = above - factor * above_size - TINY * n * n * _LARGE
        denominator = (below + factor * below_size) * (1.0 + 8.0 * UNIT)
        bounds[item] = 0.0
        if not (finite and numerator > 0.0 and denominator > _SMALL and denominator < _LARGE):
            continue
        if _definite(S, L, n, relative):
            bounds[item] = numerator / denominator * (1.0 - 8.0 * UNIT)
