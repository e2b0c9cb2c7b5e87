"""The active set of a large ℓ1 problem, with the inverse of its block updated, not made anew.

The same feature-sign search as in `qnn.training.rounding.refit.lasso`: coordinates that join or
leave change the inverse by a low rank (W. Hager, Updating the inverse of a matrix, SIAM Review
1989). Where one leaves on the way, the rest of the step follows from the step itself, so that a
chain of them is m work each, where a factorization is m³. Steps are proximal ones, repeated until
the residual is small: an inexact inverse costs steps and not accuracy, and one that no longer
shrinks the residual is made anew. Where columns are dependent no inverse helps: that is told.
"""

from __future__ import annotations

import numpy as np
from scipy.linalg import blas, lapack

Array = np.ndarray

# Proximal weight on the diagonal, relative: solves stay defined where columns are dependent.
RIDGE = 1e-12
# A step on an unchanged support that leaves more than this of the residual asks for a new inverse.
SHRINKS = 0.3
# Columns of which less than this is independent of the others, of their square, are dependent.
INDEPENDENT = 1e-9
# Repeated steps on an unchanged support, against the ridge and rounding errors, at most.
CORRECTIONS = 4
# What may be left of a residual after these, over the penalty: rounding errors of the gradient.
ROUNDED = 1e-8
# Changes by coordinates that left, kept as factors until they are this many.
PENDING = 48


class ActiveSet:
    """`min ½aᵀGa − qᵀa + penalty·Σ|a_j|` over the coordinates whose sign is not 0.

    G (m, m), q (m,); `inverse` (m, m) is that of G on the support, 0 elsewhere, None to be made.
    It is changed in place. `gradient` is `q − Ga`, `solves` the steps made; `dependent` once the
    support's columns are, or steps do not shrink the residual: the point is good, its steps are
    not.
    """

    def __init__(
        self, G: Array, q: Array, penalty: float, start: Array, inverse: Array | None = None
    ) -> None:
        self.G, self.q, self.penalty = G, q, penalty
        self.a = np.array(start, dtype=np.float64)
        self.signs = np.sign(self.a)
        diagonal = G.diagonal()
        # The floor keeps the solves defined where an atom vanishes on all rows.
        self._scale = np.maximum(diagonal, 1e-8 * diagonal.max())
        self.solves, self.dependent = 0, False
        # The inverse is `_whole − left rightᵀ` of the factors' first `_pending` columns.
        self._whole = np.empty((0, 0)) if inverse is None else inverse
        self._left, self._right = (np.empty((len(q), PENDING), order="F") for _ in range(2))
        self._pending = 0
        self.renew_gradient()
        if inverse is None:
            self._invert()

    @property
    def inverse(self) -> Array:
        """As it is now, (m, m)."""
        self._flush()
        return self._whole

    def renew_gradient(self) -> None:
        """`q − Ga`."""
        self.gradient = self.q - self.G @ self.a

    def add(self, joining: Array) -> None:
        """Coordinates (k,) join, each with the sign of its gradient."""
        self.signs[joining] = np.sign(self.gradient[joining])
        self._flush()
        columns = self.G[:, joining]
        reached = self._whole @ columns
        complement = self.G[np.ix_(joining, joining)] - columns.T @ reached
        own = self._inverse(complement, joining)
        if own is None:
            self._invert()
            return
        left = reached @ own
        self._add_product(1.0, left, reached)
        self._whole[:, joining] = -left
        self._whole[joining] = -left.T
        self._whole[np.ix_(joining, joining)] = own

    def settle(self, tol: float, limit: int) -> bool:
        """Minimise with the signs as they are; coordinates that reach 0 leave.

        At most `limit` steps in all. Returns whether nothing but steps of length 0 was made.
        """
        moved, corrections, last = False, 0, np.inf
        while self.solves < limit and not self.dependent:
            residual = np.where(self.signs != 0.0, self.gradient - self.penalty * self.signs, 0.0)
            size = float(np.abs(residual).max())
            if size == 0.0 or (np.isfinite(last) and size <= tol * self.penalty):
                break
            if corrections > CORRECTIONS:
                self.dependent = size > ROUNDED * self.penalty
                break
            if corrections and size > SHRINKS * last:
                self._invert()
            last = size
            travelled, left = self._walk(self._times(residual), limit)
            self.renew_gradient()
            moved = moved or travelled > 0.0
            corrections = 0 if left else corrections + 1
        return self.solves > 0 and not moved

    def _walk(self, step: Array, limit: int) -> tuple[float, bool]:
        """To the minimum along `step`, turning where coordinates reach 0, which leave there.

        Returns the part of the way made and whether a coordinate has left.
        """
        rest, left = 1.0, False
        while self.solves < limit:
            self.solves += 1
            new = self.a + step
            crossed = np.flatnonzero(new * self.signs < 0.0)
            if not len(crossed):
                self.a = new
                return 1.0, left
            ratio = np.abs(self.a[crossed] / step[crossed])
            length = float(ratio.min())
            gone = crossed[ratio <= length]
            self.a += length * step
            self.a[gone] = 0.0
            left = True
            rest *= 1.0 - length
            # The residual of the others is what is left of it, so the step to them is known.
            turn = self._drop(gone)
            if turn is None:
                break
            step = (1.0 - length) * (step - turn @ step[gone])
            step[self.signs == 0.0] = 0.0
        return 1.0 - rest, left

    def _times(self, residual: Array) -> Array:
        """The inverse times a vector, 0 off the support."""
        k = self._pending
        step = self._whole @ residual
        if k:
            step -= self._left[:, :k] @ (self._right[:, :k].T @ residual)
        step[self.signs == 0.0] = 0.0
        return np.asarray(step)

    def _drop(self, leaving: Array) -> Array | None:
        """Coordinates (k,) leave; returns `C (C_kk)⁻¹` of the inverse's columns C, None if anew."""
        k = self._pending
        columns = self._whole[:, leaving]
        if k:
            columns = columns - self._left[:, :k] @ self._right[leaving, :k].T
        columns[self._gone_before(leaving)] = 0.0
        self.signs[leaving] = 0.0
        own = _inverse(columns[leaving])
        if own is None or not np.isfinite(own).all():
            self._invert()
            return None
        turn = columns @ own
        end = k + len(leaving)
        if end > PENDING:
            self._flush()
            k, end = 0, len(leaving)
        if end > PENDING:
            self._add_product(-1.0, turn, columns)
            self._clear()
        else:
            self._left[:, k:end], self._right[:, k:end] = turn, columns
            self._pending = end
        return np.asarray(turn)

    def _gone_before(self, leaving: Array) -> Array:
        outside = self.signs == 0.0
        outside[leaving] = False
        return np.asarray(outside)

    def _flush(self) -> None:
        """Subtract the pending factors."""
        if self._pending:
            k, self._pending = self._pending, 0
            self._add_product(-1.0, self._left[:, :k], self._right[:, :k])
            self._clear()

    def _clear(self) -> None:
        """Rows and columns off the support are 0 but for rounding errors: make them so."""
        outside = self.signs == 0.0
        self._whole[outside] = 0.0
        self._whole[:, outside] = 0.0

    def _add_product(self, factor: float, left: Array, right: Array) -> None:
        """`inverse += factor · left rightᵀ`, in place."""
        self._whole = blas.dgemm(
            factor, left, right, beta=1.0, c=self._whole, trans_b=1, overwrite_c=1
        )

    def _invert(self) -> None:
        """Anew."""
        m = len(self.q)
        support = np.flatnonzero(self.signs)
        self._whole, self._pending = np.zeros((m, m), order="F"), 0
        if not len(support):
            return
        block = np.ix_(support, support)
        own = self._inverse(self.G[block], support)
        if own is None:
            self.dependent = True
        else:
            self._whole[block] = own

    def _inverse(self, block: Array, coordinates: Array) -> Array | None:
        """Of a block (k, k) lifted by the ridge; None where the coordinates (k,) are dependent."""
        scale = self._scale[coordinates]
        block.flat[:: len(block) + 1] += RIDGE * scale
        return _inverse(block, INDEPENDENT * scale)


def _inverse(block: Array, least: Array | float = 0.0) -> Array | None:
    """Of a symmetric matrix; None where a pivot of its Cholesky factor is not above `least`."""
    factor, info = lapack.dpotrf(block, lower=1, clean=1)
    if info != 0 or not np.all(factor.diagonal() ** 2 > least):
        return None
    lower, _ = lapack.dpotri(factor, lower=1, overwrite_c=1)
    whole = lower + lower.T
    whole.flat[:: len(whole) + 1] *= 0.5
    return np.asarray(whole)
