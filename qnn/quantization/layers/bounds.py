"""A lower bound of a neuron's error at its step: the semidefinite relaxation through one diagonal.

At the step s put ``A = s^2 H``, ``c = w / s``. For a diagonal D with ``A - Diag(D) >= 0``

    g(D) = min over q in [lo, hi]^d of (q - c)' A (q - c) + sum_i D_i (phi_i(q_i) - q_i^2)

bounds f from below on the grid, where phi_i is the lower hull of the points (k, k^2) if D_i >= 0
(piecewise linear) and the upper one, the chord, otherwise: on the grid the sum is at most 0. Its
maximum is that of the relaxation over (q, Q) with every (q_i, Q_ii) in the hull of the grid's
points; for two levels it is MaxCut's. g is concave; D is found by Newton's method on
``g(D) + t log det(A - Diag(D))`` for falling t. What is stored are per coordinate the two numbers
of a parabola that is at most 0 on the grid once its largest value there is taken off.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import cho_factor, cho_solve, eigvalsh

from qnn.numerics.compiled import compiled
from qnn.quantization.layers.grids import limits

Array = np.ndarray

# Newton stops where the barrier can still hide this share of the neuron's error.
_LAST = 2e-3
_START = 0.3
_SWEEPS = 400
# The last diagonal lies on the boundary of the cone, from where Newton cannot go far.
_WARM = 0.8


@dataclass(frozen=True, eq=False)
class Parabolas:
    """``square_i k^2 + linear_i k`` per coordinate (d,), and the bound they give, in units of f."""

    square: Array
    linear: Array
    bound: float


def diagonal_bound(
    H: Array, w: Array, s: float, bits: int, value: float, start: Array | None, steps: int = 100
) -> tuple[Parabolas, Array]:
    """A bound of the neuron w at the step s, whose best error so far is ``value`` > 0.

    Returns also D in units of H: where the next neuron that shares H starts. ``steps`` Newton steps
    at most; none of them gives the bound of the start, which is valid too.
    """
    lo, hi = limits(bits)
    A, c = (s * s / value) * H, w / s
    D = _start(A) if start is None or len(c) <= 64 else _inside(A, (_WARM * s * s / value) * start)
    q = np.clip(c, lo, hi)
    t = _START / len(c)
    best, best_D, best_q = -np.inf, D, q
    for _ in range(steps):
        g, q = _lower(A, c, D, q, lo, hi)
        if g > best:
            best, best_D, best_q = g, D, q
        if t * len(c) < _LAST:
            break
        D, small = _newton(A, c, D, q, lo, hi, t)
        if small:
            t *= 0.4
    if not np.isfinite(best):
        best, best_q = _lower(A, c, D, q, lo, hi)
    return _parabolas(A, c, best_D, best_q, lo, hi, value), best_D * value / (s * s)


def _start(A: Array) -> Array:
    """A multiple of the conditional curvatures ``1 / (A^-1)_ii`` inside the cone."""
    curvature = 1.0 / np.diag(cho_solve(cho_factor(A), np.eye(len(A))))
    root = np.sqrt(curvature)
    least = eigvalsh(A / np.outer(root, root), subset_by_index=[0, 0])[0]
    return np.asarray(0.9 * least * curvature)


def _inside(A: Array, D: Array) -> Array:
    """The same diagonal, shortened until ``A - Diag(D)`` has a Cholesky factor."""
    for share in (0.999, 0.99, 0.95, 0.8, 0.5):
        if _definite(A, share * D):
            return share * D
    return _start(A)


def _definite(A: Array, D: Array) -> bool:
    try:
        np.linalg.cholesky(A - np.diag(D))
    except np.linalg.LinAlgError:
        return False
    return True


def _lower(A: Array, c: Array, D: Array, q: Array, lo: int, hi: int) -> tuple[float, Array]:
    """g(D) and where it is attained, from q on."""
    q = _descend(A, c, D, q.copy(), lo, hi, _SWEEPS)
    e = q - c
    hull = np.where(D >= 0.0, _pieces(q, lo, hi), (lo + hi) * q - lo * hi)
    return float(e @ A @ e + D @ (hull - q * q)), q


def _pieces(q: Array, lo: int, hi: int) -> Array:
    k = np.clip(np.floor(q), lo, hi - 1)
    pieces: Array = (2 * k + 1) * q - k * (k + 1)
    return pieces


@compiled()
def _descend(A: Array, c: Array, D: Array, q: Array, lo: int, hi: int, sweeps: int) -> Array:
    """Exact minimization by coordinates of the convex, piecewise quadratic inner problem."""
    d = len(c)
    gradient = np.zeros(d)
    for j in range(d):
        e = q[j] - c[j]
        for i in range(d):
            gradient[i] += 2.0 * A[j, i] * e
    for _ in range(sweeps):
        largest = 0.0
        for i in range(d):
            curve = A[i, i] - D[i]
            # The derivative by q_i is base + 2 curve q_i + D_i phi'.
            base = gradient[i] - 2.0 * A[i, i] * q[i]
            if D[i] < 0.0:
                new = -(base + D[i] * (lo + hi)) / (2.0 * curve)
            else:
                k = int(np.floor(min(max(q[i], lo), hi - 1.0)))
                while True:
                    new = -(base + D[i] * (2 * k + 1)) / (2.0 * curve)
                    if new > k + 1 and k + 1 < hi:
                        after = -(base + D[i] * (2 * k + 3)) / (2.0 * curve)
                        if after > k + 1:
                            k += 1
                            continue
                        new = k + 1.0
                    elif new < k and k > lo:
                        before = -(base + D[i] * (2 * k - 1)) / (2.0 * curve)
                        if before < k:
                            k -= 1
                            continue
                        new = float(k)
                    break
            new = min(max(new, lo), hi)
            change = new - q[i]
            if change != 0.0:
                largest = max(largest, abs(change))
                q[i] = new
                for j in range(d):
                    gradient[j] += 2.0 * A[i, j] * change
        if largest < 1e-9:
            break
    return q


def _newton(
    A: Array, c: Array, D: Array, q: Array, lo: int, hi: int, t: float
) -> tuple[Array, bool]:
    """One step on the barrier function; and whether it was so small that t may fall."""
    factor = cho_factor(A - np.diag(D), lower=True, check_finite=False)
    inverse = cho_solve(factor, np.eye(len(c)), check_finite=False)
    hull = np.where(D >= 0.0, _pieces(q, lo, hi), (lo + hi) * q - lo * hi)
    gradient = hull - q * q - t * np.diag(inverse)
    hessian = t * inverse * inverse
    k = np.clip(np.floor(q), lo, hi - 1)
    free = (q > lo) & (q < hi) & ((D < 0.0) | (q != np.rint(q)))
    if free.any():
        slope = np.where(D >= 0.0, 2 * k + 1, lo + hi) - 2.0 * q
        M = (A - np.diag(D))[np.ix_(free, free)]
        inner = cho_solve(cho_factor(M, lower=True, check_finite=False), np.eye(int(free.sum())))
        hessian[np.ix_(free, free)] += 0.5 * np.outer(slope[free], slope[free]) * inner
    scale = 1.0 / np.sqrt(np.diag(hessian))
    system = hessian * np.outer(scale, scale) + 1e-12 * np.eye(len(c))
    step = scale * np.linalg.solve(system, scale * gradient)
    decrement = float(gradient @ step)
    length, now = 1.0, _merit(A, c, D, q, lo, hi, t)
    while length > 1e-6:
        trial = D + length * step
        if _definite(A, trial) and _merit(A, c, trial, q, lo, hi, t) >= now:
            return trial, decrement < 0.3 * t * len(c)
        length *= 0.4
    return D, True


def _merit(A: Array, c: Array, D: Array, q: Array, lo: int, hi: int, t: float) -> float:
    logarithm = np.linalg.slogdet(A - np.diag(D))[1]
    return _lower(A, c, D, q, lo, hi)[0] + t * float(logarithm)


def _parabolas(
    A: Array, c: Array, D: Array, q: Array, lo: int, hi: int, value: float
) -> Parabolas:
    """Those under which q is stationary, and their bound, which is the minimum there."""
    e = q - c
    pull = A @ e
    square, linear = -D, -2.0 * pull + 2.0 * D * q
    levels = np.arange(lo, hi + 1)
    top = (square[:, None] * levels**2 + linear[:, None] * levels).max(axis=1)
    bound = float(e @ pull + (square * q * q + linear * q - top).sum())
    return Parabolas(value * square, value * linear, value * bound)
