"""Newton's system of the interior point: closed-form blocks, in the smaller of two spaces.

With the slack ``S = Diag(a) - s M(nu)`` of a side s, its inverse W and its multiplier P, the blocks
are ``<A_i, sym(P A_k W)>`` for nu, ``<A_i, sym(P e_k e_k' W)>`` between nu and a, and ``P o W`` for
a (o: entrywise). The bilinear lift has ``A_i = x_i x_i'``, so that the first is ``(X P X') o
(X W X')`` and the second ``(X P) o (X W)``.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.linalg import cho_solve, lapack, solve_triangular

from qnn.networks.activations.lift import Lift
from qnn.semidefinite.coordinates import svec
from qnn.training.relaxation.costs import few_rows

Array = np.ndarray
#: a side's sign, its multiplier and the inverse of its slack, (D, D) each
Side = tuple[float, Array, Array]

_RIDGE = 1e-15
_BLOCK = 1024
_ACCURACY, _CONJUGATE_STEPS = 1e-10, 8


class RowSystem:
    """For few rows: one Cholesky factor of the whole matrix in (nu, a), n + D or n + 2 D."""

    def __init__(self, lift: Lift) -> None:
        self.lift = lift
        self._factor = np.empty((0, 0))

    def factorize(self, weights: Array, sides: Sequence[Side], prices: Sequence[float]) -> None:
        """Weights (n,) are what the loss adds to nu's diagonal; prices what the budgets add to a's.

        Raises LinAlgError where rounding decides.
        """
        lift = self.lift
        n, D, count = len(weights), lift.size, len(prices)
        K = np.zeros((n + count * D, n + count * D))
        K[np.arange(n), np.arange(n)] = weights
        for index, (sign, P, W) in enumerate(sides):
            own = n + (index % count) * D
            part = slice(own, own + D)
            rows, cross = _blocks(lift, P, W)
            K[:n, :n] += rows
            K[part, :n] -= sign * cross.T
            K[part, part] += P * W
        for index, price in enumerate(prices):
            part = slice(n + index * D, n + (index + 1) * D)
            K[part, part] += price
        self._factor = _cholesky(K)

    def solve(self, g_nu: Array, g_a: Array) -> tuple[Array, Array]:
        """The step in nu (n,) and a (k D,)."""
        x = cho_solve((self._factor, True), np.concatenate([g_nu, g_a]), check_finite=False)
        return x[: len(g_nu)], x[len(g_nu) :]


class CoordinateSystem:
    """For many rows: the same through the p x p matrix of the lifted rows' coordinates Phi (n, p).

    ``(E + Phi G Phi')^-1 = E^-1 - E^-1 Phi L (I + L' Phi' E^-1 Phi L)^-1 L' Phi' E^-1``, G = L L'
    (M. Woodbury, Inverting modified matrices, 1950).
    """

    def __init__(self, lift: Lift) -> None:
        self.lift = lift
        self.design = lifted_rows(lift)
        basis = np.eye(lift.size)
        self._diagonals = np.stack([svec(np.diag(e), True) for e in basis], axis=1)
        self._gram: Array | None = None
        self._gram_of = np.empty(0)

    def factorize(self, weights: Array, sides: Sequence[Side], prices: Sequence[float]) -> None:
        """As in `RowSystem`."""
        D, count = self.lift.size, len(prices)
        p = self.design.shape[1]
        G, B = np.zeros((p, p)), np.zeros((p, count * D))
        A = np.zeros((count * D, count * D))
        for index, (sign, P, W) in enumerate(sides):
            own = (index % count) * D
            part = slice(own, own + D)
            kernel = _kronecker(P, W)
            G += kernel
            B[:, part] -= sign * (kernel @ self._diagonals)
            A[part, part] += P * W
        for index, price in enumerate(prices):
            part = slice(index * D, (index + 1) * D)
            A[part, part] += price
        if self._gram is None or not np.array_equal(weights, self._gram_of):
            self._gram, self._gram_of = self._weighted_gram(weights), weights
        self._weights, self._B, self._A = weights, B, _cholesky(A)
        half = solve_triangular(self._A, B.T, lower=True, check_finite=False)
        self._L = _cholesky(G - half.T @ half)
        inner = self._L.T @ (self._gram @ self._L)
        inner.flat[:: p + 1] += 1.0
        self._inner = _cholesky(inner)

    def solve(self, g_nu: Array, g_a: Array) -> tuple[Array, Array]:
        """As in `RowSystem`."""
        free = cho_solve((self._A, True), g_a, check_finite=False)
        # What the matrices answer, q, is the unknown: E nu + Phi q = g_nu, q = G' Phi' nu + B free.
        direct = g_nu - self.design @ (self._B @ free)
        moment = self._L.T @ (self.design.T @ (direct / self._weights))
        q = self._L @ cho_solve((self._inner, True), moment, check_finite=False)
        nu = (direct - self.design @ q) / self._weights
        image = self.design.T @ nu
        a = cho_solve((self._A, True), g_a - self._B.T @ image, check_finite=False)
        return nu, a

    def _weighted_gram(self, weights: Array) -> Array:
        p = self.design.shape[1]
        gram = np.zeros((p, p))
        for start in range(0, len(weights), _BLOCK):
            rows = slice(start, start + _BLOCK)
            block = self.design[rows] / np.sqrt(weights[rows])[:, None]
            gram += block.T @ block
        return gram


System = RowSystem | CoordinateSystem


class Newton:
    """Newton's system by conjugate gradients on the operators, a factored system before them.

    The factors' rounding, and the ridges that they need near the end, cost iterations and not
    digits.
    """

    def __init__(self, lift: Lift) -> None:
        self.lift = lift
        few = few_rows(len(lift.features), lift.size)
        self._factored: System = RowSystem(lift) if few else CoordinateSystem(lift)

    def factorize(self, weights: Array, sides: Sequence[Side], prices: Sequence[float]) -> None:
        """As in `RowSystem`."""
        self._weights, self._sides, self._prices = weights, sides, np.asarray(prices)
        self._factored.factorize(weights, sides, prices)

    def solve(self, g_nu: Array, g_a: Array) -> tuple[Array, Array]:
        """The step in nu (n,) and a (k D,)."""
        n = len(g_nu)
        right = np.concatenate([g_nu, g_a])
        x = np.concatenate(self._factored.solve(g_nu, g_a))
        residual = right - self._apply(x)
        wanted = _ACCURACY * float(np.linalg.norm(right))
        direction, before = np.zeros_like(x), np.inf
        for _ in range(_CONJUGATE_STEPS):
            if float(np.linalg.norm(residual)) <= wanted:
                break
            z = np.concatenate(self._factored.solve(residual[:n], residual[n:]))
            product = float(residual @ z)
            direction = z + (product / before) * direction
            image = self._apply(direction)
            curvature = float(direction @ image)
            if not (product > 0.0 and curvature > 0.0):
                break
            x += (product / curvature) * direction
            residual -= (product / curvature) * image
            before = product
        return x[:n], x[n:]

    def _apply(self, x: Array) -> Array:
        lift, D, count = self.lift, self.lift.size, len(self._prices)
        nu, a = x[: len(self._weights)], x[len(self._weights) :].reshape(count, D)
        M = lift.adjoint(nu)
        top = np.zeros((D, D))
        bottom = self._prices[:, None] * a.sum(axis=1)[:, None] * np.ones((count, D))
        for index, (sign, P, W) in enumerate(self._sides):
            S = -sign * M
            S.flat[:: D + 1] += a[index % count]
            moved = P @ S @ W
            top -= (0.5 * sign) * (moved + moved.T)
            bottom[index % count] += moved.diagonal()
        return np.concatenate([self._weights * nu + lift.apply(top), bottom.ravel()])


def lifted_rows(lift: Lift) -> Array:
    """Coordinates (svec) of ``A_i = T o f_i f_i'`` in an orthonormal basis, (n, p)."""
    F, size = lift.features, lift.size
    i, j = np.triu_indices(size, 1)
    diagonal, off = F * F, F[:, i] * F[:, j]
    if lift.template is not None:
        diagonal *= lift.template.diagonal()
        off *= lift.template[i, j]
    return np.hstack([diagonal, np.sqrt(2.0) * off])


def _blocks(lift: Lift, P: Array, W: Array) -> tuple[Array, Array]:
    """``<A_i, sym(P A_k W)>`` (n, n) and ``<A_i, sym(P e_k e_k' W)>`` (n, D)."""
    F = lift.features
    if lift.template is None:
        left, right = F @ P, F @ W
        return (left @ F.T) * (right @ F.T), left * right
    # A_i = U C U' with U = [(x_i; 0), e], the last unit vector, and C of the polynomial.
    a, h, c = lift.template[0, 0], lift.template[0, -1], lift.template[-1, -1]
    scale = F[:, -1:]
    head = F.copy()
    head[:, -1] = 0.0
    left, right = head @ P, head @ W
    PP, WW = left @ head.T, right @ head.T
    p, w = left[:, -1:] * scale, right[:, -1:] * scale
    p0, w0 = P[-1, -1] * scale * scale.T, W[-1, -1] * scale * scale.T
    rows = (a * PP + h * p.T) * (a * WW + h * w) + (a * p + h * p0) * (h * WW + c * w)
    rows += (h * PP + c * p.T) * (a * w.T + h * w0) + (h * p + c * p0) * (h * w.T + c * w0)
    tail_P, tail_W = scale * P[-1], scale * W[-1]
    cross = a * left * right + h * (left * tail_W + tail_P * right) + c * tail_P * tail_W
    return 0.5 * (rows + rows.T), cross


def _kronecker(P: Array, W: Array) -> Array:
    """The matrix of ``Z -> sym(P Z W)`` in svec's coordinates, (p, p)."""
    size = len(P)
    i, j = np.triu_indices(size, 1)
    i, j = np.concatenate([np.arange(size), i]), np.concatenate([np.arange(size), j])
    # <E_ij, P E_kl W> for symmetric E, off-diagonal ones being (e_i e_j' + e_j e_i') / sqrt 2.
    found = P[np.ix_(i, i)] * W[np.ix_(j, j)] + P[np.ix_(j, j)] * W[np.ix_(i, i)]
    found += P[np.ix_(i, j)] * W[np.ix_(j, i)] + P[np.ix_(j, i)] * W[np.ix_(i, j)]
    factor = np.where(i == j, np.sqrt(0.5), 1.0)
    return 0.5 * np.outer(factor, factor) * found


def _cholesky(S: Array) -> Array:
    """The lower factor of S (its lower triangle is read), lifted by a ridge where rounding asks."""
    scale = S.diagonal().copy()
    if not (np.isfinite(scale).all() and np.all(scale > 0.0)):
        raise np.linalg.LinAlgError("Newton's matrix has lost its diagonal")
    ridge = _RIDGE * len(S)
    for _ in range(4):
        lifted = S.copy(order="F")
        lifted.flat[:: len(S) + 1] = scale * (1.0 + ridge)
        factor, info = lapack.dpotrf(lifted, lower=1, clean=1, overwrite_a=1)
        if info == 0:
            return np.asarray(factor)
        ridge *= 100.0
    raise np.linalg.LinAlgError("Newton's matrix is not positive definite")
