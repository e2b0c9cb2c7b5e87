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
        # Only the lower triangle, in Fortran order, is valid.
        self.matrix = self._kernel() if self.in_rows else self._gram()
        self.shift = np.nan
        self.factorizations = 0
        self._factor = np.empty((0, 0))
        self._weighted = np.empty_like(lift.features)

    def set_shift(self, shift: float) -> None:
        """Factorize for this s > 0; LinAlgError where the precision is not enough for it."""
        if shift == self.shift:
            return
        shifted = self.matrix.copy(order="F")
        shifted.flat[:: len(shifted) + 1] += shift
        self._factor, info = self._potrf(shifted, lower=1, clean=0, overwrite_a=1)
        if info != 0:
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
        half = self._trsv(self._factor, b, lower=1, overwrite_x=1)
        return np.asarray(self._trsv(self._factor, half, lower=1, trans=1, overwrite_x=1))

    def _kernel(self) -> Array:
        """K (n, n), of the rows with diagonals as that of Z."""
        lift = self.lift
        if lift.free_diagonal and lift.template is None:
            K = self._syrk(1.0, lift.features.T, trans=1, lower=1)
            np.multiply(K, K, out=K)
            return np.asarray(K)
        K = lift.gram()
        if lift.free_diagonal:
            return np.asarray(K, order="F")
        diagonals = lift_diagonals(lift)
        traces = diagonals.sum(axis=1)
        K -= diagonals @ diagonals.T
        K += np.outer(traces, traces) / lift.size
        return np.asarray(K, order="F")

    def _gram(self) -> Array:
        """``Phi' Phi`` (p, p), without ever holding all of Phi."""
        lift, p = self.lift, dimension(self.lift)
        gram = np.zeros((p, p), self.dtype, order="F")
        for start in range(0, len(lift.features), _BLOCK):
            block = design(lift, slice(start, start + _BLOCK))
            gram = self._syrk(1.0, block.T, beta=1.0, c=gram, lower=1, overwrite_c=1)
        return gram


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
