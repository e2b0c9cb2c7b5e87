"""The linear step of ADMM: a ridge regression with the lifted rows, in the smaller of two spaces.

``Z = argmin ||A(Z) - target||^2 + s ||Z - base||^2``, either through the n x n kernel
``K[i, k] = <A_i, A_k>``, ``x = (K + s)^-1 (target - A(base))``, ``Z = base + M(x)``,
``A(Z) = target - s x``; or through the p x p Gram matrix of the lifted rows' coordinates. For lifts
with separate diagonals the step moves only in the matrices of constant diagonal: rows and base are
projected there.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from scipy.linalg import get_blas_funcs, get_lapack_funcs

from qnn.networks.activations.lift import Lift
from qnn.numerics.compiled import compiled
from qnn.semidefinite.coordinates import smat, svec
from qnn.training.relaxation.costs import rows_pay

Array = np.ndarray

_BLOCK = 256


class Ridge:
    """The step for changing s, in one precision; a change of s costs a Cholesky factorization."""

    def __init__(self, lift: Lift, dtype: str = "float64") -> None:
        if dtype != "float64":
            template = None if lift.template is None else lift.template.astype(dtype)
            lift = lift.replaced(lift.features.astype(dtype), template)
        self.lift, self.dtype = lift, dtype
        self.in_rows = rows_pay(len(lift.features), dimension(lift), lift.size)
        self._syrk, self._trsv, self._potrf = _kernels(dtype)
        # In Fortran order: the factor below and on the diagonal, above it the matrix itself, so
        # that there is memory for one of them alone.
        self._matrix = self._kernel() if self.in_rows else self._gram()
        self._diagonal = self._matrix.diagonal().copy()
        self._fresh = True
        self.shift = np.nan
        self.factorizations = 0
        self._weighted = np.empty_like(lift.features)

    @property
    def order(self) -> int:
        """Of the matrix that is factorized: n or p."""
        return len(self._diagonal)

    def set_shift(self, shift: float) -> None:
        """Factorize for this s > 0; LinAlgError where the precision is not enough for it."""
        if shift == self.shift:
            return
        # By rows of its transpose, which is the same memory in the other order.
        _mirror(self._matrix.T, self._diagonal, self._fresh)
        self._fresh = False
        self._matrix.T.flat[:: self.order + 1] += self._diagonal.dtype.type(shift)
        self._matrix, info = self._potrf(self._matrix, lower=1, clean=0, overwrite_a=1)
        if info != 0:
            self.shift = np.nan
            raise np.linalg.LinAlgError("the kernel is not positive definite after its shift")
        self.shift = shift
        self.factorizations += 1

    def step(self, target: Array, base: Array, predictions: Array) -> tuple[Array, Array]:
        """``(Z, target - A(Z))``, (D, D) and (n,), for base (D, D) with ``predictions = A(base)``.

        The residual is computed as ``s x``: without the cancellation of a difference.
        """
        if self.in_rows:
            x = self._solve(target - predictions)
            Z = self.adjoint(x)
            Z += base
            x *= self.shift
            return Z, x
        Z = self.step_by_moment(self.moment(target), base)
        return Z, target - self.lift.apply(Z)

    def step_by_moment(self, moment: Array, base: Array) -> Array:
        """Z alone, from the target's moment: no work with the rows (only where not in_rows)."""
        z = self._solve(moment + self.shift * svec(base, self.lift.free_diagonal))
        return smat(z, self.lift.size, self.lift.free_diagonal)

    def moment(self, target: Array) -> Array:
        """The coordinates of ``M(target)``, (p,)."""
        return svec(self.adjoint(target), self.lift.free_diagonal)

    def adjoint(self, nu: Array) -> Array:
        """``M(nu)``, its diagonal as that of Z."""
        F = self.lift.features
        np.multiply(F, nu[:, None], out=self._weighted)
        M = np.dot(self._weighted.T, F)
        if self.lift.template is not None:
            M *= self.lift.template
        return self.lift.settled(M)

    def _solve(self, b: Array) -> Array:
        # Two triangular solves: LAPACK's potrs is made for many right-hand sides and slower.
        half = self._trsv(self._matrix, b, lower=1, overwrite_x=1)
        return np.asarray(self._trsv(self._matrix, half, lower=1, trans=1, overwrite_x=1))

    def _kernel(self) -> Array:
        """K (n, n), of the rows with diagonals as that of Z."""
        lift = self.lift
        if lift.free_diagonal and lift.template is None:
            K = self._syrk(1.0, lift.features.T, trans=1, lower=1)
            np.multiply(K, K, out=K)
            return np.asarray(K)
        K = lift.gram()
        if lift.free_diagonal:
            return np.asarray(K.T, order="F")
        diagonals = lift_diagonals(lift)
        traces = diagonals.sum(axis=1)
        K -= diagonals @ diagonals.T
        K += np.outer(traces, traces) / lift.size
        return np.asarray(K.T, order="F")

    def _gram(self) -> Array:
        """``Phi' Phi`` (p, p), without ever holding all of Phi."""
        lift, p = self.lift, dimension(self.lift)
        gram = np.zeros((p, p), self.dtype, order="F")
        for start in range(0, len(lift.features), _BLOCK):
            block = design(lift, slice(start, start + _BLOCK))
            gram = self._syrk(1.0, block.T, beta=1.0, c=gram, lower=1, overwrite_c=1)
        return gram


@compiled(nogil=True)
def _mirror(A: Array, diagonal: Array, keep: bool) -> None:
    """Copy the upper triangle of A (m, m) to the lower one, to keep it there, or back from there.

    In blocks, so that both lie in the cache.
    """
    order, block = len(A), 32
    for top in range(0, order, block):
        for left in range(top, order, block):
            for i in range(top, min(top + block, order)):
                for j in range(max(left, i + 1), min(left + block, order)):
                    if keep:
                        A[j, i] = A[i, j]
                    else:
                        A[i, j] = A[j, i]
    for i in range(order):
        A[i, i] = diagonal[i]


@cache
def _kernels(dtype: str) -> tuple[Callable[..., Any], Callable[..., Any], Callable[..., Any]]:
    syrk, trsv = get_blas_funcs(("syrk", "trsv"), dtype=dtype)
    (potrf,) = get_lapack_funcs(("potrf",), dtype=dtype)
    return syrk, trsv, potrf


def dimension(lift: Lift) -> int:
    """p: the dimension of the matrices Z that matter, all symmetric or of constant diagonal."""
    off = lift.size * (lift.size - 1) // 2
    return off + (lift.size if lift.free_diagonal else 1)


def lift_diagonals(lift: Lift) -> Array:
    """``diag(A_i)`` as rows, (n, D)."""
    squares = lift.features**2
    return squares if lift.template is None else squares * np.diag(lift.template)


def design(lift: Lift, rows: slice) -> Array:
    """Phi for some rows: the coordinates of (projected) A_i in an orthonormal basis, (m, p)."""
    F = lift.features[rows]
    i, j = np.triu_indices(lift.size, 1)
    off = F[:, i] * F[:, j]
    off *= F.dtype.type(np.sqrt(2.0))
    if lift.template is not None:
        off *= lift.template[i, j]
    diagonals = lift_diagonals(lift.replaced(F, lift.template))
    if not lift.free_diagonal:
        diagonals = diagonals.sum(axis=1, keepdims=True) / F.dtype.type(np.sqrt(lift.size))
    return np.hstack([diagonals, off])
