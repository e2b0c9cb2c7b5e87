"""Compiled completion steps: from any free entries to a bracket of the gauge, instance by instance.

One step is a Newton step of ``min s/mu - logdet S``, ``S = s G + K(b) + F(x) > 0``. With Z the
inverse of S, H the Hessian in (s, x) and ``t = (<G, Z>, <F_i, Z>)``, two solves with H,
``u = H^-1 e_s`` and ``w = H^-1 t``, give the step ``D = w - u/mu`` of every mu at once. For each mu
the matrix ``Y = mu (Z - Z dS Z)``, dS the change of S, satisfies ``<G, Y> = 1`` and
``<F_i, Y> = 0`` exactly; it is semidefinite where ``S - dS`` is, and then proves

    g(b) >= -<K(b), Y> = s - mu (n - t'w) - t'u

(the dual scaling of S. Benson, Y. Ye and X. Zhang, SIAM Journal on Optimization 10, 2000). The
bound falls with mu. So each step asks directly: is there a mu whose Y proves more than the wanted
number, and is the new point, with s lowered to that number, still positive definite?

Nothing here is trusted: whatever comes out is proven elsewhere, or counts for nothing.
"""

from typing import NamedTuple

import numpy as np

from qnn.numerics.compiled import compiled

Array = np.ndarray

_FAST = {"nogil": True, "fastmath": {"contract", "reassoc", "nsz", "arcp"}, "error_model": "numpy"}

# Chosen on cold starts, CHSH at 1+AB, of 0.5 ... 1, 1.5 ... 20 and 0.6 ... 1: the first s by the
# norm of K; the bracket by which mu is divided, times n; how far to the boundary a cut step goes.
_FIRST, _SHRINK, _BACK = 0.7, 3.0, 0.9
# By how much s grows until S is positive definite, from a predictor's x.
_GROW = 1.05
# Numbers that stand for infinity, which fast arithmetic does not know.
_ENDLESS = 1e300


class Level(NamedTuple):
    """G (n, n), whether it is the identity, and (row, column, label) of fixed and free entries."""

    G: Array
    plain: bool
    fixed: tuple[Array, Array, Array]
    free: tuple[Array, Array, Array]


class Goal(NamedTuple):
    """Stop where s is below, a bound above, or both within ``gap`` relative; at most ``steps``.

    ``below`` = 0 and ``above`` = 1e300 ask for the gap alone. ``start``: the first s tried, 0 for
    one by the norm of K.
    """

    below: float
    above: float
    gap: float
    steps: int
    start: float


class _Work(NamedTuple):
    """S, its inverse Z and factor L; K; two spare matrices; H, its factor; five vectors."""

    S: Array
    Z: Array
    L: Array
    K: Array
    zero: Array
    R: Array
    T: Array
    H: Array
    M: Array
    t: Array
    u: Array
    w: Array
    unit: Array
    step: Array
    trial: Array


@compiled(**_FAST)
def factor(A: Array, L: Array, size: int) -> bool:
    """Cholesky of the lower triangle of A into L; False where a pivot is not positive."""
    for i in range(size):
        for j in range(i):
            total = A[i, j]
            for k in range(j):
                total -= L[i, k] * L[j, k]
            L[i, j] = total * L[j, j]
        total = A[i, i]
        for k in range(i):
            total -= L[i, k] * L[i, k]
        if not total > 0.0:
            return False
        # The pivot's inverse: every later use divides by it.
        L[i, i] = 1.0 / np.sqrt(total)
    return True


@compiled(**_FAST)
def invert(L: Array, R: Array, Z: Array, size: int) -> None:
    """``Z = (L L')^-1``, full, from `factor`'s L; R is work space."""
    for j in range(size):
        R[j, j] = L[j, j]
        for i in range(j + 1, size):
            total = 0.0
            for k in range(j, i):
                total -= L[i, k] * R[j, k]
            R[j, i] = total * L[i, i]
    for i in range(size):
        for j in range(i + 1):
            total = 0.0
            for k in range(i, size):
                total += R[i, k] * R[j, k]
            Z[i, j] = total
            Z[j, i] = total


@compiled(**_FAST)
def solve(L: Array, right: Array, out: Array, size: int) -> None:
    """``out = (L L')^-1 right`` from `factor`'s L."""
    for i in range(size):
        total = right[i]
        for k in range(i):
            total -= L[i, k] * out[k]
        out[i] = total * L[i, i]
    for i in range(size - 1, -1, -1):
        total = out[i]
        for k in range(i + 1, size):
            total -= L[k, i] * out[k]
        out[i] = total * L[i, i]


@compiled(**_FAST)
def _sandwich(Z: Array, G: Array, T: Array) -> None:
    """``T = Z G``."""
    n = len(Z)
    for i in range(n):
        for j in range(n):
            total = 0.0
            for k in range(n):
                total += Z[i, k] * G[k, j]
            T[i, j] = total


@compiled(**_FAST)
def _newton(level: Level, Z: Array, T: Array, H: Array, t: Array) -> None:
    """The Hessian H (1 + f, 1 + f), its lower triangle, and t (1 + f,), with ``T = Z G``."""
    n, f = len(Z), len(t) - 1
    row, column, label = level.free
    for i in range(f + 1):
        t[i] = 0.0
        for j in range(i + 1):
            H[i, j] = 0.0
    for i in range(n):
        t[0] += T[i, i]
        for j in range(n):
            H[0, 0] += T[i, j] * T[j, i]
    for a in range(len(row)):
        r, c, k = row[a], column[a], label[a] + 1
        weight = 2.0 if r != c else 1.0
        total = 0.0
        for i in range(n):
            total += T[r, i] * Z[c, i]
        t[k] += weight * Z[r, c]
        H[k, 0] += weight * total
        for b in range(a + 1):
            p, q, m = row[b], column[b], label[b] + 1
            value = weight * (Z[r, p] * Z[c, q] + Z[r, q] * Z[c, p])
            if p == q:
                value *= 0.5
            H[k, m] += value
            if k == m and a != b:
                H[k, m] += value


@compiled(inline="always", **_FAST)
def _place(level: Level, s: float, K: Array, x: Array, S: Array) -> None:
    """The lower triangle of ``S = s G + K + F(x)``."""
    row, column, label = level.free
    for i in range(len(S)):
        for j in range(i + 1):
            S[i, j] = s * level.G[i, j] + K[i, j]
    for a in range(len(row)):
        S[row[a], column[a]] += x[label[a]]


@compiled(inline="always", **_FAST)
def _move(x: Array, step: Array, alpha: float, out: Array) -> None:
    """``out = x + alpha step``, of which the first entry is that of s."""
    for k in range(len(x)):
        out[k] = x[k] + alpha * step[k + 1]


@compiled(**_FAST)
def _dual_point(Z: Array, D: Array, mu: float, T: Array, Y: Array) -> None:
    """``Y = mu (Z - Z D Z)``, D given by its lower triangle; T is work space."""
    n = len(Z)
    for i in range(n):
        for j in range(n):
            total = 0.0
            for k in range(n):
                total += Z[i, k] * (D[k, j] if k >= j else D[j, k])
            T[i, j] = total
    for i in range(n):
        for j in range(i + 1):
            total = Z[i, j]
            for k in range(n):
                total -= T[i, k] * Z[k, j]
            Y[i, j] = mu * total
            Y[j, i] = mu * total


@compiled(inline="always", **_FAST)
def _begin(level: Level, b: Array, x: Array, start: float, work: _Work) -> float:
    """Write K(b), and find an s whose S is positive definite, factored; 1e300 where none is."""
    row, column, label = level.fixed
    size = 0.0
    for a in range(len(row)):
        value = b[label[a]]
        work.K[row[a], column[a]] = value
        size += 2.0 * value * value
    s = start if start > 0.0 else _FIRST * np.sqrt(size) + 1e-9
    _place(level, s, work.K, x, work.S)
    while s < _ENDLESS and not factor(work.S, work.L, len(work.S)):
        s *= 1.5 if start == 0.0 else _GROW
        _place(level, s, work.K, x, work.S)
    return s


@compiled(inline="always", **_FAST)
def _directions(level: Level, work: _Work) -> tuple[bool, float, float]:
    """U and w of the current S: whether H is definite, t'u and t'w."""
    n, f = len(work.S), len(work.t) - 1
    invert(work.L, work.R, work.Z, n)
    if level.plain:
        _newton(level, work.Z, work.Z, work.H, work.t)
    else:
        _sandwich(work.Z, level.G, work.T)
        _newton(level, work.Z, work.T, work.H, work.t)
    if not factor(work.H, work.M, f + 1):
        return False, 0.0, 0.0
    solve(work.M, work.unit, work.u, f + 1)
    solve(work.M, work.t, work.w, f + 1)
    tu, tw = 0.0, 0.0
    for k in range(f + 1):
        tu += work.t[k] * work.u[k]
        tw += work.t[k] * work.w[k]
    return True, tu, tw


@compiled(inline="always", **_FAST)
def _turn(work: _Work, mu: float) -> None:
    """The step of a mu."""
    for k in range(len(work.step)):
        work.step[k] = work.w[k] - work.u[k] / mu


@compiled(inline="always", **_FAST)
def _prove(level: Level, work: _Work, mu: float, Y: Array) -> bool:
    """Whether mu's Y is semidefinite; it is written then."""
    n = len(work.S)
    _turn(work, mu)
    _place(level, work.step[0], work.zero, work.step[1:], work.R)
    for i in range(n):
        for j in range(i + 1):
            work.T[i, j] = work.S[i, j] - work.R[i, j]
    if not factor(work.T, work.L, n):
        return False
    _dual_point(work.Z, work.R, mu, work.T, Y)
    return True


@compiled(inline="always", **_FAST)
def _advance(level: Level, work: _Work, s: float, x: Array) -> float:
    """Go along the step, short of the boundary by a part of the way; the new s, S factored."""
    alpha = 1.0
    for _ in range(60):
        _move(x, work.step, alpha, work.trial)
        _place(level, s + alpha * work.step[0], work.K, work.trial, work.S)
        if factor(work.S, work.L, len(work.S)):
            break
        alpha *= 0.8
    if alpha < 1.0:
        alpha *= _BACK
        _move(x, work.step, alpha, work.trial)
        _place(level, s + alpha * work.step[0], work.K, work.trial, work.S)
        factor(work.S, work.L, len(work.S))
    x[:] = work.trial
    return s + alpha * work.step[0]


@compiled(inline="always", **_FAST)
def _reached(level: Level, s: float, x: Array, goal: Goal, work: _Work) -> bool:
    """Whether S is still positive definite with s lowered to what is wanted."""
    if not goal.below > 0.0:
        return False
    _place(level, goal.below, work.K, x, work.R)
    return s < goal.below or factor(work.R, work.T, len(work.R))


@compiled(inline="always", **_FAST)
def _one(
    level: Level, b: Array, x: Array, goal: Goal, work: _Work, Y: Array
) -> tuple[float, float, int]:
    """The bracket of one behaviour and the steps taken: s with x, and what Y proves, 0 if none."""
    n = len(work.S)
    s, best, proven = _begin(level, b, x, goal.start, work), 0.0, 0.0
    if _reached(level, s, x, goal, work):
        return min(s, goal.below), proven, 0
    for count in range(1, goal.steps + 1):
        done, tu, tw = _directions(level, work)
        if not (done and s < _ENDLESS):
            return s, proven, count
        kappa, first = n - tw, work.u[0]
        # A mu whose bound is what is wanted, or the most central one, of a higher bound.
        if s - tu > goal.above and kappa > 0.0 and tu > 0.0:
            mu = min((s - tu - goal.above) / kappa, first / tu)
            if _prove(level, work, mu, Y):
                return s, s - mu * kappa - tu, count
        # The least mu of decrement 1: its Y is semidefinite for certain.
        root = tu * tu - first * (tw - 1.0)
        if root > 0.0 and tu + np.sqrt(root) > 0.0:
            mu = first / (tu + np.sqrt(root))
            best = max(best, s - mu * kappa - tu)
            close = s - best <= goal.gap * s
            if (close or count == goal.steps) and _prove(level, work, mu, Y):
                proven = s - mu * kappa - tu
                if close:
                    return s, proven, count
        _turn(work, max((s - best) / (_SHRINK * n), 1e-14 * s))
        s = _advance(level, work, s, x)
        if _reached(level, s, x, goal, work):
            return min(s, goal.below), proven, count
    return s, proven, goal.steps


@compiled(**_FAST)
def bracket(
    level: Level,
    b: Array,
    x: Array,
    goal: Goal,
    upper: Array,
    lower: Array,
    Y: Array,
    taken: Array,
) -> None:
    """Steps for each behaviour b (N, p), relative to the centre, from x (N, f), which is improved.

    Writes upper (N,), reached with x; lower (N,) and Y (N, n, n), which proves it where it is
    positive; and the number of steps taken (N,).
    """
    n, f = len(level.G), x.shape[1]
    unit = np.zeros(f + 1)
    unit[0] = 1.0
    work = _Work(
        np.zeros((n, n)), np.zeros((n, n)), np.zeros((n, n)), np.zeros((n, n)), np.zeros((n, n)),
        np.zeros((n, n)), np.zeros((n, n)), np.zeros((f + 1, f + 1)), np.zeros((f + 1, f + 1)),
        np.zeros(f + 1), np.zeros(f + 1), np.zeros(f + 1), unit, np.zeros(f + 1), np.zeros(f),
    )  # fmt: skip
    for item in range(len(b)):
        upper[item], lower[item], taken[item] = _one(level, b[item], x[item], goal, work, Y[item])
