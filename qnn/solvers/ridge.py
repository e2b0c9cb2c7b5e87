"""Linear solves with ``K + s I``, K the kernel of the lifted rows, in the smaller of two spaces."""

from __future__ import annotations

import numpy as np
from scipy.linalg import lapack

from qnn.lift import Lift

Array = np.ndarray

_BLOCK = 512


class Ridge:
    """Solves ``(K + s I) x = b`` for changing s; ``K[i, k] = <A_i, A_k>``.

    For lifts with separate diagonals the rows are first projected to matrices of constant
    diagonal, the subspace on which such a step may move. The n x n kernel is inverted where n is
    at most the dimension p of the symmetric matrices; otherwise the p x p Gram matrix is, by
    ``(Phi Phi' + s)^-1 = (1 - Phi (Phi' Phi + s)^-1 Phi') / s``.
    """

    def __init__(self, lift: Lift) -> None:
        self.lift = lift
        self.in_rows = len(lift.features) <= dimension(lift)
        self.matrix = kernel(lift) if self.in_rows else design_gram(lift)
        self.shift = np.nan
        self.factorizations = 0
        self._inverse = np.empty((0, 0))

    def set_shift(self, shift: float) -> None:
        """Invert for this s > 0."""
        if shift == self.shift:
            return
        A = self.matrix.copy()
        A.flat[:: len(A) + 1] += shift
        factor, info = lapack.dpotrf(A, lower=0, clean=0, overwrite_a=1)
        if info != 0:
            raise np.linalg.LinAlgError("the kernel is not positive definite after its shift")
        inverse, _ = lapack.dpotri(factor, lower=0, overwrite_c=1)
        upper = np.triu(inverse)
        self._inverse = upper + np.triu(inverse, 1).T
        self.shift = shift
        self.factorizations += 1

    def solve(self, b: Array) -> Array:
        """``(K + s I)^-1 b``, (n,)."""
        if self.in_rows:
            return np.asarray(self._inverse @ b)
        inner = self._inverse @ svec(self.lift, self.lift.adjoint(b))
        return (b - self.lift.apply(smat(self.lift, inner))) / self.shift


def dimension(lift: Lift) -> int:
    """p: the dimension of the matrices Z that matter, all symmetric or of constant diagonal."""
    off = lift.size * (lift.size - 1) // 2
    return off + (lift.size if lift.joint else 1)


def kernel(lift: Lift) -> Array:
    """K, of the projected rows where the diagonals are separate."""
    K = lift.gram()
    if not lift.joint:
        diagonals = lift_diagonals(lift)
        traces = diagonals.sum(axis=1)
        K = K - diagonals @ diagonals.T + np.outer(traces, traces) / lift.size
    return np.asarray(K)


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
    """``Phi' Phi`` (p, p), without ever holding all of Phi."""
    p, n = dimension(lift), len(lift.features)
    gram = np.zeros((p, p))
    for start in range(0, n, _BLOCK):
        block = design(lift, slice(start, start + _BLOCK))
        gram += block.T @ block
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
