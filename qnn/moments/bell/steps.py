"""Compiled completion steps: from any free entries to a bracket of the gauge, instance by instance.

One step is a Newton step of ``min s/mu - logdet S``, ``S = s G + K(b) + F(x) > 0``. With Z the
inverse of S, H the Hessian in (s, x) and ``t = (<G, Z>, <F_i, Z>)``, two solves with H,
``u = H^-1 e_s`` and ``w = H^-1 t``, give the step ``D = w - u/mu`` of every mu at once. For each mu
the matrix ``Y = mu (Z - Z dS Z)``, dS the change of S, satisfies ``<G, Y> = 1`` and ``<F_i, Y> = 0``
exactly; it is semidefinite where ``S - dS`` is, and then proves

    g(b) >= -<K(b), Y> = s - mu (n - t'w) - t'u

(the dual scaling of S. Benson, Y. Ye and X. Zhang, SIAM Journal on Optimization 10, 2000). The
bound falls with mu. So each step asks directly: is there a mu whose Y proves more than the wanted
number, and is the new point, with s lowered to that number, still positive definite?

Nothing here is trusted: whatever comes out is proven elsewhere, or counts for nothing.
"""

import numpy as np

from qnn.compiled import compiled

_FAST = {"nogil": True, "fastmath": {"contract", "reassoc", "nsz", "arcp"}, "error_model": "numpy"}


@compiled(**_FAST)
def factor(A: np.ndarray, L: np.ndarray, size: int) -> bool:
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
def invert(L: np.ndarray, R: np.ndarray, Z: np.ndarray, size: int) -> None:
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
def solve(L: np.ndarray, right: np.ndarray, out: np.ndarray, size: int) -> None:
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
def newton(
    Z: np.ndarray,
    T: np.ndarray,
    G: np.ndarray,
    plain: bool,
    row: np.ndarray,
    column: np.ndarray,
    label: np.ndarray,
    H: np.ndarray,
    t: np.ndarray,
) -> None:
    """The Hessian H (1 + f, 1 + f), its lower triangle, and t (1 + f,); T is work space for ZG."""
    n, f, count = Z.shape[0], H.shape[0] - 1, len(row)
    if plain:
        T = Z
    else:
        for i in range(n):
            for j in range(n):
                total = 0.0
                for k in range(n):
                    total += Z[i, k] * G[k, j]
                T[i, j] = total
    for i in range(f + 1):
        t[i] = 0.0
        for j in range(i + 1):
            H[i, j] = 0.0
    for i in range(n):
        t[0] += T[i, i]
        for j in range(n):
            H[0, 0] += T[i, j] * T[j, i]
    for a in range(count):
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


@compiled(**_FAST)
def place(
    s: float,
    G: np.ndarray,
    K: np.ndarray,
    x: np.ndarray,
    row: np.ndarray,
    column: np.ndarray,
    label: np.ndarray,
    S: np.ndarray,
) -> None:
    """The lower triangle of ``S = s G + K + F(x)``."""
    n = S.shape[0]
    for i in range(n):
        for j in range(i + 1):
            S[i, j] = s * G[i, j] + K[i, j]
    for a in range(len(row)):
        S[row[a], column[a]] += x[label[a]]


@compiled(**_FAST)
def dual_point(Z: np.ndarray, D: np.ndarray, mu: float, T: np.ndarray, Y: np.ndarray) -> None:
    """``Y = mu (Z - Z D Z)``, D given by its lower triangle; T is work space."""
    n = Z.shape[0]
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


@compiled(**_FAST)
def move(x: np.ndarray, step: np.ndarray, alpha: float, out: np.ndarray) -> None:
    """``out = x + alpha step``, of which the first entry is that of s."""
    for k in range(len(x)):
        out[k] = x[k] + alpha * step[k + 1]


@compiled(**_FAST)
def bracket(
    G: np.ndarray,
    plain: bool,
    fixed: tuple[np.ndarray, np.ndarray, np.ndarray],
    free: tuple[np.ndarray, np.ndarray, np.ndarray],
    b: np.ndarray,
    x: np.ndarray,
    first: float,
    shrink: float,
    back: float,
    steps: int,
    target: float,
    gap: float,
    upper: np.ndarray,
    lower: np.ndarray,
    Y: np.ndarray,
    taken: np.ndarray,
) -> None:
    """At most ``steps`` steps for each behaviour b (N, p) from its free entries x (N, f), in place.

    Stops where s falls below target, a bound rises above it, or they are within gap relative.
    Writes upper (N,) with x, lower (N,) with Y (N, n, n), and the number of steps taken (N,).
    """
    n, f = G.shape[0], x.shape[1]
    row, column, label = free
    K, S, Z, L = np.zeros((n, n)), np.zeros((n, n)), np.zeros((n, n)), np.zeros((n, n))
    R, T, zero = np.zeros((n, n)), np.zeros((n, n)), np.zeros((n, n))
    H, M = np.zeros((f + 1, f + 1)), np.zeros((f + 1, f + 1))
    t, u, w, first_unit = np.zeros(f + 1), np.zeros(f + 1), np.zeros(f + 1), np.zeros(f + 1)
    step, trial = np.zeros(f + 1), np.zeros(f)
    first_unit[0] = 1.0
    below, above = target * (1.0 - 1e-12), target * (1.0 + 1e-11) if target > 0.0 else 1e300
    for item in range(len(b)):
        size = 0.0
        for a in range(len(fixed[0])):
            value = b[item, fixed[2][a]]
            K[fixed[0][a], fixed[1][a]] = value
            size += 2.0 * value * value
        point = x[item]
        s = first * np.sqrt(size) + 1e-9
        place(s, G, K, point, row, column, label, S)
        while not factor(S, L, n):
            s *= 1.5
            place(s, G, K, point, row, column, label, S)
            if not s < 1e300:
                break
        best, count, decided = 0.0, 0, not s < 1e300
        lower[item] = 0.0
        while count < steps and not decided:
            count += 1
            invert(L, R, Z, n)
            newton(Z, T, G, plain, row, column, label, H, t)
            if not factor(H, M, f + 1):
                break
            solve(M, first_unit, u, f + 1)
            solve(M, t, w, f + 1)
            a, tu, tw = u[0], 0.0, 0.0
            for k in range(f + 1):
                tu += t[k] * u[k]
                tw += t[k] * w[k]
            kappa = n - tw
            centre = a / tu if tu > 0 else 1e300
            # The least mu of decrement 1, whose Y is semidefinite for certain.
            root = tu * tu - a * (tw - 1.0)
            mu = a / (tu + np.sqrt(root)) if root > 0.0 else -1.0
            wanted = -1.0
            if target > 0.0 and s - tu > above and kappa > 0.0:
                wanted = min((s - tu - above) / kappa, centre)
            if mu > 0.0:
                best = max(best, s - mu * kappa - tu)
            for attempt in range(2):
                chosen = wanted if attempt == 0 else mu
                last = count == steps or best > above or (gap > 0.0 and s - best <= gap * s)
                if not chosen > 0.0 or (attempt == 1 and not last):
                    continue
                for k in range(f + 1):
                    step[k] = w[k] - u[k] / chosen
                place(step[0], G, zero, step[1:], row, column, label, R)
                for i in range(n):
                    for j in range(i + 1):
                        T[i, j] = S[i, j] - R[i, j]
                if factor(T, L, n):
                    dual_point(Z, R, chosen, T, Y[item])
                    lower[item] = s - chosen * kappa - tu
                    best = max(best, lower[item])
                    decided = attempt == 0 or best > above or (gap > 0.0 and s - best <= gap * s)
                    break
            if decided:
                break
            mu = max((s - best) / (shrink * n), 1e-14 * s)
            for k in range(f + 1):
                step[k] = w[k] - u[k] / mu
            # Short of the boundary by a part of the way, so that the next step starts well inside.
            alpha = 1.0
            for _ in range(60):
                move(point, step, alpha, trial)
                place(s + alpha * step[0], G, K, trial, row, column, label, S)
                if factor(S, L, n):
                    break
                alpha *= 0.8
            if alpha < 1.0:
                alpha *= back
            s += alpha * step[0]
            move(point, step, alpha, point)
            place(s, G, K, point, row, column, label, S)
            factor(S, L, n)
            if s < below:
                break
            if target > 0.0:
                place(below, G, K, point, row, column, label, R)
                if factor(R, T, n):
                    s = below
                    break
        upper[item] = s
        taken[item] = count
