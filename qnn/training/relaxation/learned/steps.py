"""The compiled map from a problem's fourth moments and its β to dual points.

With ``phi_i = svec(f_i f_i')`` (n rows of p = D (D + 1) / 2), ``G = Phi'Phi`` and ``m0 = Phi'y``
the best dual point of the squared loss with ``M(nu) = smat(m)`` is ``nu = y - Phi z``,
``z = G^-1 (m0 - m)``. So the dual is ``max y'y / 2 - (m - m0)' G^-1 (m - m0) / 2`` over
``Diag(a) - M >= 0``, ``Diag(a) + M >= 0``, ``sum(a) = beta d``: what rows the data have no longer
matters. A step is Newton's for that with a logarithmic barrier of both slacks (S. Boyd,
L. Vandenberghe, Convex Optimization, 2004, sections 10.2 and 11.3), cut so that the slacks stay
positive definite; a common scale then brings the point to the boundary.
"""

from __future__ import annotations

import numpy as np

from qnn.numerics.compiled import compiled

Array = np.ndarray


@compiled(error_model="numpy")
def follow(
    inverse: Array,
    ridge: float,
    m0: Array,
    square: float,
    budgets: Array,
    plan: Array,
    centrality: float,
    z: Array,
    a: Array,
    values: Array,
) -> None:
    """Fill in dual points along budgets (K,) from large to small.

    ``inverse`` (p, p) of ``G + ridge I``, ``m0`` (p,), ``square`` = y'y; ``plan`` (K,): Newton
    steps of each cell; ``centrality``: the share of the bound that the barrier's gap is set to.
    Out: ``z`` (K, p), of which ``nu ~ y - Phi z``; ``a`` (K, D) within the budget; ``values`` (K,),
    the bound after the repair, in floating arithmetic.
    """
    size = a.shape[1]
    m = np.zeros(len(m0))
    diagonal = np.full(size, budgets[0] / size)
    budget = budgets[0]
    for cell in range(len(budgets)):
        m *= budgets[cell] / budget
        diagonal *= budgets[cell] / budget
        budget = budgets[cell]
        for _ in range(plan[cell]):
            bound = _value(inverse @ (m0 - m), m, diagonal, ridge, m0, square)
            barrier = centrality * max(bound, 0.01 * square) / (2.0 * size)
            _newton(m, diagonal, inverse, m0, budget, barrier)
        z[cell] = inverse @ (m0 - m)
        a[cell] = diagonal
        values[cell] = _value(z[cell], m, diagonal, ridge, m0, square)


@compiled(error_model="numpy")
def _value(z: Array, m: Array, a: Array, ridge: float, m0: Array, square: float) -> float:
    """The bound of ``nu = t (y - Phi z)`` with the best t that a allows."""
    exact = m + ridge * z
    M = np.empty((len(a), len(a)))
    k = 0
    for i in range(len(a)):
        for j in range(i, len(a)):
            M[i, j] = exact[k] / np.sqrt(a[i] * a[j]) * (1.0 if i == j else np.sqrt(0.5))
            M[j, i] = M[i, j]
            k += 1
    eigenvalues = np.linalg.eigvalsh(M)
    norm = max(-eigenvalues[0], eigenvalues[-1], 1e-300)
    along = square - z @ m0
    length = along - z @ exact
    scale = min(max(along, 0.0) / max(length, 1e-300), 1.0 / norm)
    return scale * along - 0.5 * scale * scale * length


@compiled(error_model="numpy")
def _newton(m: Array, a: Array, inverse: Array, m0: Array, budget: float, barrier: float) -> None:
    """One step in m (p,) and a (D,), in place."""
    p, size = len(m), len(a)
    below, above = _slack(m, a, -1.0), _slack(m, a, 1.0)
    V, W = np.linalg.inv(below), np.linalg.inv(above)
    K = np.empty((p + size, p + size))
    right = np.empty((p + size, 2))
    pull = inverse @ (m0 - m)
    _fill(K, right, V, W, inverse, pull, barrier)
    step = _solved(K, right)
    share = (budget - a.sum() - step[p:, 0].sum()) / step[p:, 1].sum()
    change = step[:, 0] + share * step[:, 1]
    length = 1.0
    for _ in range(60):
        tried, spent = m + length * change[:p], a + length * change[p:]
        if _definite(_slack(tried, spent, -1.0)) and _definite(_slack(tried, spent, 1.0)):
            break
        length *= 0.8
    else:
        return
    if length < 1.0:
        length *= 0.9
    m += length * change[:p]
    a += length * change[p:]


@compiled(error_model="numpy")
def _fill(
    K: Array, right: Array, V: Array, W: Array, inverse: Array, pull: Array, barrier: float
) -> None:
    """The lower triangle of the Hessian, and the right sides: minus the gradient, and 1 for a."""
    size = len(V)
    p = len(pull)
    r = 0
    for i in range(size):
        for j in range(i, size):
            own = 1.0 if i == j else np.sqrt(2.0)
            c = 0
            for k in range(i + 1):
                for q in range(k, size):
                    if c > r:
                        break
                    both = 0.5 * own * (1.0 if k == q else np.sqrt(2.0))
                    second = V[i, k] * V[j, q] + V[i, q] * V[j, k]
                    second += W[i, k] * W[j, q] + W[i, q] * W[j, k]
                    K[r, c] = inverse[r, c] + barrier * both * second
                    c += 1
            for k in range(size):
                K[p + k, r] = barrier * own * (W[i, k] * W[j, k] - V[i, k] * V[j, k])
            right[r, 0] = pull[r] - barrier * own * (V[i, j] - W[i, j])
            right[r, 1] = 0.0
            r += 1
    for k in range(size):
        for q in range(k + 1):
            K[p + k, p + q] = barrier * (V[k, q] * V[k, q] + W[k, q] * W[k, q])
        right[p + k, 0] = barrier * (V[k, k] + W[k, k])
        right[p + k, 1] = 1.0


@compiled(error_model="numpy")
def _slack(m: Array, a: Array, sign: float) -> Array:
    """``Diag(a) + sign smat(m)``, (D, D)."""
    S = np.empty((len(a), len(a)))
    k = 0
    for i in range(len(a)):
        for j in range(i, len(a)):
            S[i, j] = sign * m[k] * (1.0 if i == j else np.sqrt(0.5))
            S[j, i] = S[i, j]
            k += 1
        S[i, i] += a[i]
    return S


@compiled(error_model="numpy")
def _definite(S: Array) -> bool:
    """Whether a Cholesky factorization, in place, runs to its end."""
    for j in range(len(S)):
        for k in range(j):
            S[j, j] -= S[j, k] * S[j, k]
        if not S[j, j] > 0.0:
            return False
        S[j, j] = np.sqrt(S[j, j])
        for i in range(j + 1, len(S)):
            for k in range(j):
                S[i, j] -= S[i, k] * S[j, k]
            S[i, j] /= S[j, j]
    return True


@compiled(error_model="numpy")
def _solved(K: Array, right: Array) -> Array:
    """``K^-1 right`` of a positive definite K, of which the lower triangle is read."""
    L = np.linalg.cholesky(K)
    x = right.copy()
    for i in range(len(L)):
        for k in range(i):
            for q in range(x.shape[1]):
                x[i, q] -= L[i, k] * x[k, q]
        for q in range(x.shape[1]):
            x[i, q] /= L[i, i]
    for i in range(len(L) - 1, -1, -1):
        for q in range(x.shape[1]):
            x[i, q] /= L[i, i]
            for k in range(i):
                x[k, q] -= L[i, k] * x[i, q]
    return x
