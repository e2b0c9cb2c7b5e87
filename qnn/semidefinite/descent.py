"""A few Newton steps from a diagonal that dominates to one of a lesser sum, compiled."""

from __future__ import annotations

import numpy as np

from qnn.numerics.compiled import compiled

Array = np.ndarray

_STEPS = 6


def lesser_diagonal(blocks: Array, a: Array, shifted: Array) -> Array:
    """A diagonal (D,) that dominates the blocks (k, D, D) as ``shifted`` does, of a lesser sum.

    Log barrier for ``min sum(a)`` with ``Diag(a) - B >= 0``, at one parameter that leaves a tenth
    of what ``shifted`` has more than ``a``; the Hessian is the sum of the entrywise squares of the
    inverses. ``shifted`` itself where there is none.
    """
    return np.asarray(_descend(np.ascontiguousarray(blocks), a, shifted))


@compiled(nogil=True, error_model="numpy", fastmath={"contract", "nsz"})
def _descend(blocks: Array, a: Array, shifted: Array) -> Array:
    count, size = len(blocks), len(a)
    excess = shifted.sum() - a.sum()
    best, least = shifted.copy(), shifted.sum()
    if not excess > 0.0:
        return best
    mu = 0.1 * excess / (size * count)
    a = shifted + 0.1 * excess / size
    factor, inverse = np.zeros((size, size)), np.zeros((size, size))
    gradient, hessian = np.empty(size), np.empty((size, size))
    if not _slopes(blocks, a, mu, factor, inverse, gradient, hessian):
        return best
    for _ in range(_STEPS):
        if not _factorize(hessian, factor):
            break
        step = -_solved(factor, gradient)
        decrement = np.sqrt(max(-(gradient * step).sum(), 0.0))
        if not decrement >= 0.3:
            break
        length, start = min(1.0, 2.0 / (1.0 + decrement)), a
        inside = False
        while not inside and length > 1e-9:
            a = start + length * step
            inside = _slopes(blocks, a, mu, factor, inverse, gradient, hessian)
            length *= 0.6
        spent = a.sum()
        if not inside or spent >= least:
            break
        progress, least = least - spent, spent
        best[:] = a
        if progress < 0.02 * excess:
            break
    return best


@compiled(nogil=True, error_model="numpy", fastmath={"contract", "nsz"})
def _slopes(
    blocks: Array,
    a: Array,
    mu: float,
    factor: Array,
    inverse: Array,
    gradient: Array,
    hessian: Array,
) -> bool:
    """The barrier's gradient and Hessian at a; False where a does not dominate."""
    size = len(a)
    gradient[:], hessian[:] = 1.0 / mu, 0.0
    for B in blocks:
        S = -B
        for i in range(size):
            S[i, i] += a[i]
        if not _factorize(S, factor):
            return False
        _invert(factor.ravel(), S.ravel(), inverse.ravel(), size)
        for i in range(size):
            gradient[i] -= inverse[i, i]
            for j in range(i + 1):
                hessian[i, j] += inverse[i, j] * inverse[i, j]
    return True


@compiled(nogil=True, error_model="numpy", fastmath={"reassoc", "contract", "nsz"})
def _factorize(S: Array, factor: Array) -> bool:
    """Cholesky's lower factor of S, of which the lower triangle is read; False where it ends."""
    n, L = np.uintp(len(S)), factor.ravel()
    for i in range(n):
        row = i * n
        for j in range(i + np.uintp(1)):
            other, total = j * n, S[i, j]
            for k in range(j):
                total -= L[row + k] * L[other + k]
            if j < i:
                L[row + j] = total / L[other + j]
            elif total > 0.0:
                L[row + j] = np.sqrt(total)
            else:
                return False
    return True


@compiled(nogil=True, error_model="numpy", fastmath={"contract", "nsz"})
def _solved(factor: Array, b: Array) -> Array:
    x, n = b.copy(), len(b)
    for i in range(n):
        for k in range(i):
            x[i] -= factor[i, k] * x[k]
        x[i] /= factor[i, i]
    for i in range(n - 1, -1, -1):
        x[i] /= factor[i, i]
        for k in range(i):
            x[k] -= factor[i, k] * x[i]
    return x


@compiled(nogil=True, error_model="numpy", fastmath={"contract", "nsz"})
def _invert(L: Array, work: Array, out: Array, size: int) -> None:
    """``(L L')^-1``, its lower triangle, from flat rows; work gets ``L^-1``."""
    n, one = np.uintp(size), np.uintp(1)
    work[:], out[:] = 0.0, 0.0
    for i in range(n):
        row = i * n
        for k in range(i):
            other, entry = k * n, L[row + k]
            for j in range(k + one):
                work[row + j] -= entry * work[other + j]
        scale = 1.0 / L[row + i]
        for j in range(i):
            work[row + j] *= scale
        work[row + i] = scale
        for k in range(i + one):
            other, entry = k * n, work[row + k]
            for j in range(k + one):
                out[other + j] += entry * work[row + j]
