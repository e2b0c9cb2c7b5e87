"""A lower bound of a neuron's error at its step: the semidefinite relaxation through one diagonal.

At the step s put ``A = s^2 H``, ``c = w / s``. For lambda, mu >= 0 with ``A - Diag(D) >= 0``,
``D = lambda - mu``,

    g = min over q in [lo, hi]^d of (q - c)' A (q - c)
            + sum_i lambda_i (phi(q_i) - q_i^2) + mu_i (q_i^2 - (lo + hi) q_i + lo hi)

bounds f from below on the grid, where phi is the lower hull of the points (k, k^2), piecewise
linear: on the grid the sum is at most 0. Its maximum is the value of the relaxation over (q, Q)
with every (q_i, Q_ii) in the hull of the grid's points; for two levels it is MaxCut's. g is concave
with a continuous derivative; it is maximized by Newton's method on
``g + t (log det(A - Diag(D)) + sum log lambda + sum log mu)`` for falling t. What is stored are per
coordinate the two numbers of a parabola that is at most 0 on the grid once its largest value there
is taken off.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import cho_factor, cho_solve, eigvalsh

from qnn.numerics.compiled import compiled
from qnn.quantization.layers.grids import limits

Array = np.ndarray

# Newton stops where the barrier can still hide this share of the neuron's error; five times that
# for many inputs.
_LAST = 2e-3
_START = 0.3
_SWEEPS = 400
# A diagonal of another neuron lies on the boundary of the cone, from where Newton cannot go far;
# as it is, it is only kept inside.
_WARM, _KEPT = 0.8, 0.99
_SMALL = 1e-2


@dataclass(frozen=True, eq=False)
class Parabolas:
    """``square_i k^2 + linear_i k`` per coordinate (d,), and the bound they give, in units of f."""

    square: Array
    linear: Array
    bound: float


def diagonal_bound(
    H: Array, w: Array, s: float, bits: int, value: float, start: Array | None, steps: int
) -> tuple[Parabolas, Array]:
    """A bound of the neuron w at the step s, whose best error so far is ``value`` > 0.

    Returns also (lambda, mu) (2, d) in units of H: where the next neuron that shares H starts.
    ``steps`` Newton steps at most; with none the start is kept, which gives a bound too.
    """
    unit = s * s / value
    inner = _Inner(unit * H, w / s, *limits(bits))
    few = len(w) <= 64
    share = _WARM if steps else _KEPT
    y = _start(inner.A) if start is None or few else _inside(inner.A, share * unit * start)
    q = np.clip(inner.c, inner.lo, inner.hi)
    t = _START / len(w)
    last, fall = (_LAST, 0.4) if len(w) <= 96 else (5.0 * _LAST, 0.2)
    g, q = inner.lower(y, q)
    best, best_y, best_q = g, y, q
    for _ in range(steps):
        if t * len(w) < last:
            break
        y, q, g, small = _newton(inner, y, q, t)
        if g > best:
            best, best_y, best_q = g, y, q
        if small:
            t *= fall
    return _parabolas(inner, best_y, best_q, value), best_y / unit


@dataclass(frozen=True, eq=False)
class _Inner:
    """The inner problem: A (d, d), c (d,) and the ends of the grid."""

    A: Array
    c: Array
    lo: int
    hi: int

    def lower(self, y: Array, q: Array) -> tuple[float, Array]:
        """G and where it is attained, from q on."""
        lam, mu = y
        q = _descend(self.A, self.c, lam, mu, q.copy(), self.lo, self.hi, _SWEEPS)
        e = q - self.c
        return float(e @ self.A @ e + (y * self.slopes(q)).sum()), q

    def slopes(self, q: Array) -> Array:
        """The derivatives of g by lambda and mu (2, d)."""
        k = np.clip(np.floor(q), self.lo, self.hi - 1)
        hull = (2 * k + 1) * q - k * (k + 1)
        chord = (self.lo + self.hi) * q - self.lo * self.hi
        return np.stack([hull - q * q, q * q - chord])

    def matrix(self, y: Array) -> Array:
        """``A - Diag(lambda - mu)``."""
        return self.A - np.diag(y[0] - y[1])


def _start(A: Array) -> Array:
    """A multiple of the conditional curvatures ``1 / (A^-1)_ii`` inside the cone."""
    curvature = 1.0 / np.diag(cho_solve(cho_factor(A), np.eye(len(A))))
    root = np.sqrt(curvature)
    least = eigvalsh(A / np.outer(root, root), subset_by_index=[0, 0])[0]
    lam = 0.9 * least * curvature
    return np.stack([lam, _SMALL * lam])


def _inside(A: Array, y: Array) -> Array:
    """The same multipliers, shortened until ``A - Diag(D)`` has a Cholesky factor."""
    for share in (1.0, 0.95, 0.8, 0.5, 0.2):
        if _logdet(A - share * np.diag(y[0] - y[1])) > -np.inf:
            return share * y
    return _start(A)


def _logdet(M: Array) -> float:
    """Of a positive definite matrix; minus infinity of another."""
    try:
        return 2.0 * float(np.log(np.diag(np.linalg.cholesky(M))).sum())
    except np.linalg.LinAlgError:
        return -np.inf


@compiled(nogil=True)
def _descend(
    A: Array, c: Array, lam: Array, mu: Array, q: Array, lo: int, hi: int, sweeps: int
) -> Array:
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
            curve = 2.0 * (A[i, i] - lam[i] + mu[i])
            # The derivative by q_i is base + curve q_i + lam_i (2 k + 1) in the k-th piece.
            base = gradient[i] - 2.0 * A[i, i] * q[i] - mu[i] * (lo + hi)
            k = int(np.floor(min(max(q[i], lo), hi - 1.0)))
            while k + 1 < hi and -(base + lam[i] * (2 * k + 3)) > curve * (k + 1):
                k += 1
            while k > lo and -(base + lam[i] * (2 * k - 1)) < curve * k:
                k -= 1
            new = min(max(-(base + lam[i] * (2 * k + 1)) / curve, float(k)), k + 1.0)
            change = new - q[i]
            if change != 0.0:
                largest = max(largest, abs(change))
                q[i] = new
                for j in range(d):
                    gradient[j] += 2.0 * A[i, j] * change
        if largest < 1e-9:
            break
    return q


def _newton(inner: _Inner, y: Array, q: Array, t: float) -> tuple[Array, Array, float, bool]:
    """One step on the barrier function: (y, q, g) after it; whether t may fall now."""
    M = inner.matrix(y)
    factor = cho_factor(M, lower=True, check_finite=False)
    inverse = cho_solve(factor, np.eye(len(q)), check_finite=False)
    barrier = np.stack([-np.diag(inverse), np.diag(inverse)]) + 1.0 / y
    gradient = (inner.slopes(q) + t * barrier).ravel()
    hessian = _hessian(inner, y, q, t, M, inverse)
    scale = 1.0 / np.sqrt(np.diag(hessian))
    system = hessian * np.outer(scale, scale) + 1e-12 * np.eye(len(scale))
    step = (scale * np.linalg.solve(system, scale * gradient)).reshape(y.shape)
    decrement = float(gradient @ step.ravel())
    ratio = float((-step / y).max())
    length = min(1.0, 0.95 / ratio) if ratio > 0.0 else 1.0
    now = inner.lower(y, q)[0] + t * (_logdet(M) + np.log(y).sum())
    while length > 1e-6:
        trial = y + length * step
        logdet = _logdet(inner.matrix(trial))
        if logdet > -np.inf:
            g, at = inner.lower(trial, q)
            if g + t * (logdet + np.log(trial).sum()) >= now:
                return trial, at, g, decrement < 0.3 * t * len(q)
        length *= 0.4
    g, q = inner.lower(y, q)
    return y, q, g, True


def _hessian(inner: _Inner, y: Array, q: Array, t: float, M: Array, inverse: Array) -> Array:
    """Minus the second derivative by (lambda, mu), (2d, 2d); coordinates at a code do not move."""
    d = len(q)
    square = t * inverse * inverse
    hessian = np.block([[square, -square], [-square, square]])
    hessian.flat[:: 2 * d + 1] += t / y.ravel() ** 2
    free = np.flatnonzero(q != np.rint(q))
    if len(free):
        k = np.floor(q[free])
        slope = np.concatenate([2 * k + 1 - 2 * q[free], 2 * q[free] - (inner.lo + inner.hi)])
        part = cho_factor(M[np.ix_(free, free)], lower=True, check_finite=False)
        moved = 0.5 * np.tile(cho_solve(part, np.eye(len(free)), check_finite=False), (2, 2))
        both = np.concatenate([free, free + d])
        hessian[np.ix_(both, both)] += np.outer(slope, slope) * moved
    return hessian


def _parabolas(inner: _Inner, y: Array, q: Array, value: float) -> Parabolas:
    """Those under which q is stationary, and their bound, which is the minimum there."""
    D, e = y[0] - y[1], q - inner.c
    pull = inner.A @ e
    square, linear = -D, -2.0 * pull + 2.0 * D * q
    levels = np.arange(inner.lo, inner.hi + 1)
    top = (square[:, None] * levels**2 + linear[:, None] * levels).max(axis=1)
    bound = float(e @ pull + (square * q * q + linear * q - top).sum())
    return Parabolas(value * square, value * linear, value * bound)
