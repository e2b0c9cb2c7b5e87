"""The best diagonal for a quadratic form on a box: a small semidefinite program.

``min c + g'z + z'Hz / 2`` over ``|z_j| <= 1`` is at least ``c - (k_0 + sum(k)) / 2`` for all
numbers with

    Z = [[k_0, g'], [g, H + Diag(k)]] >= 0,   k_j >= 0  (of any sign where z_j is a sign).

Its dual has the moments X of (1, z): ``X_00 = 1``, ``X_jj + s_j = 1`` with slacks ``s >= 0`` (0
where z_j is a sign). With Y = Z^-1 the Schur matrix of the primal-dual direction is the entrywise
product X o Y plus Diag(s / k) (C. Helmberg, F. Rendl, R. Vanderbei, H. Wolkowicz, SIAM J. Optim. 6,
1996), and the step is corrected as by S. Mehrotra. It starts feasible on both sides and stays so:
the trace of XZ plus s'k is twice what the bound can still gain. All of it is compiled; forms have
some tens of rows.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from qnn.certificates.robustness.forms import BoxForm
from qnn.numerics.compiled import compiled

Array = np.ndarray
_MOST_STEPS = 60


@dataclass(frozen=True)
class Bounded:
    """A diagonal (n,), the bound that it gives (not yet proven) and a point z (n,) of the box."""

    kappa: Array
    value: float
    z: Array
    steps: int


def best_diagonal(
    form: BoxForm,
    signs: Array | None = None,
    tol: float = 1e-7,
    target: float = np.inf,
    known: float = np.inf,
) -> Bounded:
    """The diagonal with the largest bound, up to ``tol`` relative to the form's size.

    signs (n,): where z is a sign, so that its multiplier is free. It ends early once the bound
    exceeds ``target``, or once what it can still gain is small against what it lacks to ``known``,
    a value that the form attains.
    """
    widest = np.abs(form.H).sum(axis=1) + np.abs(form.g)
    power = int(np.frexp(widest.max(initial=0.0))[1])
    if not widest.any() or power < -1000:
        return Bounded(widest, form.c - float(widest.sum()), np.zeros(len(widest)), 0)
    # By a power of two, so exactly: no size of numbers is special to what follows.
    g, H = np.ldexp(form.g, -power), np.ldexp(form.H, -power)
    limited = np.ones(len(g), dtype=np.bool_) if signs is None else ~signs
    ends = [float(np.ldexp(value - form.c, -power)) for value in (target, known)]
    kappa, value, z, steps = _solve(
        np.ascontiguousarray(H), g, limited, tol, ends[0], ends[1], _MOST_STEPS
    )
    bound = form.c + float(np.ldexp(value, power))
    return Bounded(np.ldexp(kappa, power), bound, np.clip(z, -1.0, 1.0), int(steps))


@compiled()
def _cholesky(S: np.ndarray, L: np.ndarray) -> bool:
    """The lower factor of S in L; False where S is not positive definite."""
    n = len(S)
    for i in range(n):
        for j in range(i + 1):
            total = S[i, j]
            for k in range(j):
                total -= L[i, k] * L[j, k]
            if i == j:
                if not total > 0.0:
                    return False
                L[i, i] = np.sqrt(total)
            else:
                L[i, j] = total / L[j, j]
    return True


@compiled()
def _invert(L: np.ndarray, W: np.ndarray, Y: np.ndarray) -> None:
    """Y = (L L')^-1; W is room for the inverse of L, transposed."""
    n = len(L)
    for j in range(n):
        for i in range(j):
            W[j, i] = 0.0
        W[j, j] = 1.0 / L[j, j]
        for i in range(j + 1, n):
            total = 0.0
            for k in range(j, i):
                total += L[i, k] * W[j, k]
            W[j, i] = -total / L[i, i]
    for i in range(n):
        for j in range(i + 1):
            total = 0.0
            for k in range(i, n):
                total += W[i, k] * W[j, k]
            Y[i, j] = total
            Y[j, i] = total


@compiled()
def _solved(L: np.ndarray, b: np.ndarray) -> np.ndarray:
    n = len(b)
    x = b.copy()
    for i in range(n):
        for k in range(i):
            x[i] -= L[i, k] * x[k]
        x[i] /= L[i, i]
    for i in range(n - 1, -1, -1):
        x[i] /= L[i, i]
        for k in range(i):
            x[k] -= L[i, k] * x[i]
    return x


@compiled()
def _length(S: np.ndarray, dS: np.ndarray, most: float, L: np.ndarray, T: np.ndarray) -> float:
    """A step up to ``most`` and 1 for which S + step dS stays positive definite."""
    size = min(1.0, most)
    n = len(S)
    for _ in range(80):
        for i in range(n):
            for j in range(i + 1):
                T[i, j] = S[i, j] + size * dS[i, j]
        if _cholesky(T, L):
            return size
        size *= 0.8
    return 0.0


@compiled()
def _ratio(values: np.ndarray, changes: np.ndarray, limited: np.ndarray) -> float:
    """How far the limited values may go before one of them is 0."""
    most = np.inf
    for j in range(len(limited)):
        if limited[j] and changes[j] < 0.0:
            most = min(most, -values[j] / changes[j])
    return most


@compiled()
def _direction(
    X: np.ndarray,
    Y: np.ndarray,
    M: np.ndarray,
    theta: np.ndarray,
    s: np.ndarray,
    limited: np.ndarray,
    target: float,
    K: np.ndarray,
    k: np.ndarray,
    dX: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Changes of theta and s, and of X in dX; M is the factor of the Schur matrix."""
    n = len(theta)
    rhs = np.empty(n)
    for i in range(n):
        rhs[i] = target * Y[i, i] - K[i, i] - 1.0
        if i > 0 and limited[i - 1]:
            rhs[i] += (target - k[i - 1]) / theta[i]
    change = _solved(M, rhs)
    ds = np.zeros(n - 1)
    for j in range(n - 1):
        if limited[j]:
            t = theta[j + 1]
            ds[j] = (target - k[j]) / t - s[j] - s[j] / t * change[j + 1]
    product = (X * change) @ Y
    for i in range(n):
        for j in range(n):
            even = 0.5 * (product[i, j] + product[j, i])
            dX[i, j] = target * Y[i, j] - X[i, j] - even - K[i, j]
    return change, ds


@compiled()
def _solve(
    H: np.ndarray,
    g: np.ndarray,
    limited: np.ndarray,
    tol: float,
    target: float,
    known: float,
    most_steps: int,
) -> tuple[np.ndarray, float, np.ndarray, int]:
    """The diagonal, its bound without the constant, the moments of z, and the steps taken."""
    n = len(g) + 1
    count = n + limited.sum()
    theta = np.empty(n)
    theta[0] = np.abs(g).sum() + 1.0
    for j in range(n - 1):
        theta[j + 1] = np.abs(H[j]).sum() + np.abs(g[j]) - min(H[j, j], 0.0) + 0.1
    Z, X = np.zeros((n, n)), np.eye(n)
    Z[1:, 1:] = H
    Z[0, 1:] = g
    Z[1:, 0] = g
    s = np.zeros(n - 1)
    for j in range(n - 1):
        if limited[j]:
            X[j + 1, j + 1] = s[j] = 0.5
    own = np.zeros(n)
    own[1:] = np.diag(H)
    L, T, W, Y, M, dX = (
        np.zeros((n, n)), np.zeros((n, n)), np.zeros((n, n)), np.zeros((n, n)), np.zeros((n, n)),
        np.zeros((n, n)),
    )  # fmt: skip
    dZ = np.zeros((n, n))
    nothing, none = np.zeros((n, n)), np.zeros(n - 1)
    best_value, best = -np.inf, theta[1:].copy()
    z = np.zeros(n - 1)
    steps = 0
    while steps < most_steps:
        steps += 1
        for i in range(n):
            Z[i, i] = own[i] + theta[i]
        if not _cholesky(Z, L):
            break
        _invert(L, W, Y)
        # The best k_0 of these k.
        value = -0.5 * (theta.sum() - 1.0 / Y[0, 0])
        if value > best_value:
            best_value, best = value, theta[1:].copy()
        z = X[1:, 0].copy()
        total = np.sum(X * Z) + np.sum(s * theta[1:])
        gain = 0.5 * total
        undecided = value <= target < value + gain
        small = known < np.inf and gain <= 0.05 * (known - value)
        if value > target or gain <= tol or (small and not undecided):
            break
        for i in range(n):
            for j in range(n):
                M[i, j] = X[i, j] * Y[i, j]
            if i > 0 and limited[i - 1]:
                M[i, i] += s[i - 1] / theta[i]
            M[i, i] *= 1.0 + 1e-13
        if not _cholesky(M, T):
            break
        M, T = T, M
        change, ds = _direction(X, Y, M, theta, s, limited, 0.0, nothing, none, dX)
        for i in range(n):
            dZ[i, i] = change[i]
        dual = _length(Z, dZ, 0.98 * _ratio(theta[1:], change[1:], limited), L, T)
        primal = _length(X, dX, 0.98 * _ratio(s, ds, limited), L, T)
        ahead = np.sum((X + primal * dX) * (Z + dual * dZ))
        ahead += np.sum((s + primal * ds) * (theta[1:] + dual * change[1:]))
        share = max(ahead, 0.0) / total
        centre = total / count * max(1e-4, min(1.0, share * share * share))
        K = (dX * change) @ Y
        K = 0.5 * (K + K.T)
        change, ds = _direction(X, Y, M, theta, s, limited, centre, K, ds * change[1:], dX)
        for i in range(n):
            dZ[i, i] = change[i]
        dual = _length(Z, dZ, 0.95 * _ratio(theta[1:], change[1:], limited), L, T)
        primal = _length(X, dX, 0.95 * _ratio(s, ds, limited), L, T)
        # A step that was cut stays away from the boundary.
        dual *= 1.0 if dual == 1.0 else 0.9
        primal *= 1.0 if primal == 1.0 else 0.9
        if not max(dual, primal) > 1e-8:
            break
        theta = theta + dual * change
        X = X + primal * dX
        s = s + primal * ds
    return best, best_value, z, steps
