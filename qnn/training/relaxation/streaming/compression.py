"""Exact compression of many rows: what the squared loss needs of them, in one pass.

With ``phi_i = svec(x_i x_i')`` (p = d (d + 1) / 2 entries, off-diagonal ones times sqrt(2)) the
loss is ``1/2 z'Gz - c'z + 1/2 y'y`` for ``z = svec(Z)``, ``G = sum phi phi'`` and
``c = sum y phi``: p x p numbers whatever the number of rows.

The Gram matrix is accumulated, not a QR factor: a small part of the operations, as its entries are
few different moments (`qnn.training.relaxation.streaming.moments`). QR would keep digits that
matter for z where the design is ill-conditioned, but here nothing rests on z: the bounds are
computed again from the rows, in a second pass, and any z gives valid ones. The entries of G are
exact to ``n u |phi_j| |phi_k|``, so their errors move the *optimal value* by some 1e-13 of ``y'y``:
only gaps finer than that, relative to the loss left, need the QR factor.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from qnn.numerics.batches import Batches
from qnn.semidefinite.diagonal import optimal_diagonals
from qnn.training.relaxation.streaming.moments import Fourth, Moments, moments_of

Array = np.ndarray


@dataclass(frozen=True, eq=False)
class Compression:
    """``gram`` (p, p), ``cross`` (p,), ``square = y'y``, and the digest of the n rows."""

    n: int
    d: int
    gram: Array
    cross: Array
    square: float
    data_sha256: str

    @cached_property
    def beta_max(self) -> float:
        """The smallest beta at which the relaxation's answer is the zero network."""
        (a,) = optimal_diagonals(smat(self.cross, self.d), 1)
        return float(a.sum()) / self.d

    def loss(self, z: Array) -> float:
        """Half the sum of squared errors at ``z = svec(Z)``."""
        return 0.5 * float(z @ (self.gram @ z)) - float(self.cross @ z) + 0.5 * self.square

    def dual_value(self, z: Array) -> float:
        """``nu'y - ||nu||^2 / 2`` at ``nu = y - Phi z``, that is ``(y'y - z'Gz) / 2``."""
        return 0.5 * (self.square - float(z @ (self.gram @ z)))

    def adjoint(self, z: Array) -> Array:
        """``M(nu)`` at ``nu = y - Phi z``, (d, d)."""
        return smat(self.cross - self.gram @ z, self.d)

    @cached_property
    def least_squares(self) -> Array:
        """A z of least loss without any penalty, (p,); directions lost to rounding stay 0."""
        scale = 1.0 / np.sqrt(np.maximum(np.diag(self.gram), 1e-300))
        scale[np.diag(self.gram) == 0.0] = 0.0
        values, vectors = np.linalg.eigh(self.gram * scale[:, None] * scale[None, :])
        kept = values > 1e-14 * len(values) * max(float(values[-1]), 0.0)
        inner = vectors[:, kept].T @ (scale * self.cross)
        return np.asarray(scale * (vectors[:, kept] @ (inner / values[kept])))


def compress(batches: Batches) -> Compression:
    """One pass over the rows; memory is that of a block and of p x p numbers.

    Raises
    ------
    InputError : unreadable batches (see `qnn.numerics.batches`), or more columns than p x p numbers
        allow.
    """
    return compressed_from(moments_of(batches))


def compressed_from(found: Moments) -> Compression:
    """The compression of the rows that these moments are of."""
    gram = Fourth(found.d).gram(found.fourth)
    cross = svec(found.cross)
    return Compression(found.n, found.d, gram, cross, found.square, found.data_sha256)


def svec(Z: Array) -> Array:
    """The upper triangle by rows, off-diagonal entries times sqrt(2): an isometry."""
    weights = np.where(np.eye(len(Z), dtype=bool), 1.0, np.sqrt(2.0))
    return np.asarray((Z * weights)[np.triu_indices(len(Z))])


def smat(z: Array, d: int) -> Array:
    """The symmetric (d, d) matrix of ``svec``."""
    upper = np.zeros((d, d))
    upper[np.triu_indices(d)] = z
    diagonal = np.diag(np.diag(upper))
    return diagonal + (upper - diagonal + (upper - diagonal).T) / np.sqrt(2.0)
