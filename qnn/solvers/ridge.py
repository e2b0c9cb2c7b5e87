"""The linear step of ADMM: a ridge regression with the lifted rows, in the smaller of two spaces.

``Z = argmin ||A(Z) - target||^2 + s ||Z - base||^2``, either through the n x n kernel
``K[i, k] = <A_i, A_k>``, ``nu = s (K + s)^-1 (target - A(base))``, ``Z = base + M(nu) / s``,
``A(Z) = target - nu``; or through the p x p Gram matrix of the lifted rows' coordinates. For lifts
with separate diagonals the step moves only in the matrices of constant diagonal: rows and base are
projected there.
"""

from __future__ import annotations

import numpy as np
from scipy.linalg import blas, lapack

from qnn.lift import Lift

Array = np.ndarray

_BLOCK = 256


class Ridge:
    """The step for changing s; a change of s costs one Cholesky factorization."""

    def __init__(self, lift: Lift) -> None:
        self.lift = lift
        self.in_rows = len(lift.features) <= dimension(lift)
        # Only the lower triangle, in Fortran order, is valid.
        self.matrix = kernel(lift) if self.in_rows else design_gram(lift)
        self.shift = np.nan
        self.factorizations = 0
        self._factor = np.empty((0, 0))
        self._moment: tuple[Array, Array] | None = None

    def set_shift(self, shift: float) -> None:
        """Factorize for this s > 0."""
        if shift == self.shift:
            return
        shifted = self.matrix.copy(order="F")
        shifted.flat[:: len(shifted) + 1] += shift
        self._factor, info = lapack.dpotrf(shifted, lower=1, clean=0, overwrite_a=1)
        if info != 0:
            raise np.linalg.LinAlgError("the kernel is not positive definite after its shift")
        self.shift = shift
        self.factorizations += 1

    def step(self, target: Array, base: Array, predictions: Array) -> tuple[Array, Array]:
        """``(Z, A(Z))``, (D, D) and (n,), for base (D, D) with ``predictions = A(base)``."""
        s = self.shift
        if self.in_rows:
            nu = self._solve(s * (target - predictions))
            Z = self.adjoint(nu)
            Z *= 1.0 / s
            Z += base
            return Z, target - nu
        if self._moment is None or self._moment[0] is not target:
            self._moment = (target, svec(self.lift, self.lift.adjoint(target)))
        z = self._solve(self._moment[1] + s * svec(self.lift, base))
        Z = smat(self.lift, z)
        return Z, self.lift.apply(Z)

    def adjoint(self, nu: Array) -> Array:
        """``M(nu)``, projected where the diagonals are separate."""
        F = self.lift.features
        M = np.dot((F * nu[:, None]).T, F)
        if self.lift.template is not None:
            M *= self.lift.template
        return M if self.lift.joint else constant_diagonal(M)

    def _solve(self, b: Array) -> Array:
        # Two triangular solves: LAPACK's potrs is made for many right-hand sides and slower.
        half = blas.dtrsv(self._factor, b, lower=1)
        return np.asarray(blas.dtrsv(self._factor, half, lower=1, trans=1, overwrite_x=1))


def dimension(lift: Lift) -> int:
    """p: the dimension of the matrices Z that matter, all symmetric or of constant diagonal."""
    off = lift.size * (lift.size - 1) // 2
    return off + (lift.size if lift.joint else 1)


def constant_diagonal(Z: Array) -> Array:
    """Z (D, D) with its diagonal replaced by the diagonal's mean, in place."""
    Z.flat[:: len(Z) + 1] = np.trace(Z) / len(Z)
    return Z


def kernel(lift: Lift) -> Array:
    """K (n, n), of the projected rows where the diagonals are separate; lower triangle, F order."""
    F = lift.features
    if lift.joint:
        K = blas.dsyrk(1.0, F.T, trans=1, lower=1)
        np.multiply(K, K, out=K)
        return np.asarray(K)
    K = lift.gram()
    diagonals = lift_diagonals(lift)
    traces = diagonals.sum(axis=1)
    K -= diagonals @ diagonals.T
    K += np.outer(traces, traces) / lift.size
    return np.asarray(K, order="F")


def lift_diagonals(lift: Lift) -> Array:
    """``diag(A_i)`` as rows, (n, D)."""
    squares = lift.features**2
    return squares if lift.template is None else squares * np.diag(lift.template)


def design(lift: Lift, rows: slice) -> Array:
    """Phi for some rows: the coordinates of (projected) A_i in an orthonormal basis, (m, p)."""
    F = lift.features[rows]
    i, j = np.triu_indices(lift.size, 1)
    off = F[:, i] * F[:, j]
    off *= np.sqrt(2.0)
    if lift.template is not None:
        off *= lift.template[i, j]
    diagonals = lift_diagonals(Lift(F, lift.template, lift.joint))
    if not lift.joint:
        diagonals = diagonals.sum(axis=1, keepdims=True) / np.sqrt(lift.size)
    return np.hstack([diagonals, off])


def design_gram(lift: Lift) -> Array:
    """``Phi' Phi`` (p, p), without ever holding all of Phi; lower triangle, F order."""
    p, n = dimension(lift), len(lift.features)
    gram = np.zeros((p, p), order="F")
    for start in range(0, n, _BLOCK):
        block = design(lift, slice(start, start + _BLOCK))
        gram = blas.dsyrk(1.0, block.T, beta=1.0, c=gram, lower=1, overwrite_c=1)
    return gram


def svec(lift: Lift, Z: Array) -> Array:
    """Coordinates of Z (projected where the diagonals are separate), (p,)."""
    off = np.sqrt(2.0) * Z[np.triu_indices(lift.size, 1)]
    diagonal = np.diag(Z)
    if not lift.joint:
        diagonal = np.array([diagonal.sum() / np.sqrt(lift.size)])
    return np.concatenate([diagonal, off])


def smat(lift: Lift, z: Array) -> Array:
    """The matrix of coordinates z, (D, D)."""
    size = lift.size
    head = size if lift.joint else 1
    Z = np.zeros((size, size))
    Z[np.triu_indices(size, 1)] = z[head:] / np.sqrt(2.0)
    Z += Z.T
    Z.flat[:: size + 1] = z[:head] if lift.joint else z[0] / np.sqrt(size)
    return Z
