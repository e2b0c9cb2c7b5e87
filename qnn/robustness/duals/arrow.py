"""Symmetric matrices that are diagonal but for a core of few rows, their inverses and completions.

The inputs of a network meet each other only through its neurons, so the block of the inputs in the
dual's matrix is diagonal, and everything about it happens in the Schur complement of the core. Of
the moments only the same entries count; the others are those of the completion of largest
determinant, whose inverse is an arrow too (M. Fukuda, M. Kojima, K. Murota, K. Nakata, SIAM J.
Optim. 11, 2001).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.linalg.lapack import dpotrf, dpotri, dpotrs, dtrtrs

Array = np.ndarray


@dataclass(frozen=True)
class Arrow:
    """The matrix: diagonal (k,) of the plain rows, edge (k, t) to the core, core (t, t)."""

    diagonal: Array
    edge: Array
    core: Array

    def schur(self) -> Array:
        """The core after the plain rows are eliminated."""
        return np.asarray(self.core - self.edge.T @ (self.edge / self.diagonal[:, None]))

    def factor(self) -> Array | None:
        """Cholesky factor of the Schur complement; None unless the matrix is positive definite."""
        if self.diagonal.size and not self.diagonal.min() > 0.0:
            return None
        factor, info = dpotrf(self.schur(), lower=1)
        return factor if info == 0 and np.isfinite(factor.diagonal()).all() else None

    def inverse(self) -> Spread | None:
        """The inverse; None where the matrix is not positive definite."""
        factor = self.factor()
        if factor is None:
            return None
        return Spread(1.0 / self.diagonal, -(self.edge / self.diagonal[:, None]), _inverted(factor))

    def completed(self) -> Spread | None:
        """The positive definite matrix with these entries whose inverse is an arrow.

        None where there is none: what the core leaves of a diagonal entry must be positive.
        """
        factor, info = dpotrf(self.core, lower=1)
        if info or not np.isfinite(factor.diagonal()).all():
            return None
        G = np.ascontiguousarray(dpotrs(factor, self.edge.T, lower=1)[0].T)
        rest = self.diagonal - np.einsum("ij,ij->i", G, self.edge)
        if rest.size and not rest.min() > 0.0:
            return None
        return Spread(rest, G, self.core)

    def has_completion(self) -> bool:
        """Whether `completed` finds one."""
        factor, info = dpotrf(self.core, lower=1)
        if info or not np.isfinite(factor.diagonal()).all():
            return False
        if not self.diagonal.size:
            return True
        part = dtrtrs(factor, self.edge.T, lower=1)[0]
        return bool((self.diagonal > np.einsum("ij,ij->j", part, part)).all())

    def plus(self, other: Arrow, factor: float) -> Arrow:
        """``self + factor other``."""
        return Arrow(
            self.diagonal + factor * other.diagonal,
            self.edge + factor * other.edge,
            self.core + factor * other.core,
        )

    def times(self, factor: float) -> Arrow:
        """``factor self``."""
        return Arrow(factor * self.diagonal, factor * self.edge, factor * self.core)

    def inner(self, other: Arrow) -> float:
        """The trace of the product of both, of which only these entries count."""
        value = float(self.diagonal @ other.diagonal) + float(np.sum(self.core * other.core))
        return value + 2.0 * float(np.sum(self.edge * other.edge))


@dataclass(frozen=True)
class Spread:
    """``[Diag(rest) + G C G', G C; C G', C]``: the inverse of an arrow. rest (k,), G (k, t)."""

    rest: Array
    G: Array
    C: Array

    def arrow(self) -> Arrow:
        """Its entries where an arrow has some."""
        GC = self.GC
        return Arrow(self.rest + np.einsum("ij,ij->i", GC, self.G), GC, self.C)

    @cached_property
    def GC(self) -> Array:
        """The part of the plain rows and the core (k, t)."""
        return self.G @ self.C

    def plain(self) -> Array:
        """The part of the plain rows (k, k)."""
        done = self.GC @ self.G.T
        done.flat[:: len(done) + 1] += self.rest
        return done

    def squares(self, other: Spread, done: Array) -> None:
        """Write 4 times the products, entry by entry, of both without row 0 of the core.

        Of the symmetric result its lower triangle, in the order plain rows, core.
        """
        k = len(self.rest)
        plain = self.plain()
        plain *= other.plain()
        np.multiply(plain, 4.0, out=done[:k, :k])
        np.multiply(4.0 * self.GC.T[1:], other.GC.T[1:], out=done[k:, :k])
        np.multiply(4.0 * self.C[1:, 1:], other.C[1:, 1:], out=done[k:, k:])

    def around(self, Z: Arrow, Y: Spread) -> Arrow:
        """The even part of ``self Z Y`` where an arrow has entries."""
        T = Z.diagonal[:, None] * self.G + Z.edge
        inner = T.T @ Y.G + self.G.T @ Z.edge + Z.core
        right = self.rest[:, None] * (Z.diagonal[:, None] * Y.G + Z.edge)
        GC = self.GC
        edge = (right + GC @ inner) @ Y.C
        core = self.C @ inner @ Y.C
        other = Y.rest[:, None] * (T @ self.C) + Y.G @ core.T
        diagonal = self.rest * Z.diagonal * Y.rest + np.einsum("ij,ij->i", edge, Y.G)
        diagonal += np.einsum("ij,ij->i", GC, T) * Y.rest
        return Arrow(diagonal, 0.5 * (edge + other), 0.5 * (core + core.T))

    def change_around(self, dX: Arrow, Z: Arrow, Y: Spread) -> Arrow:
        """The even part of ``D Z Y`` where an arrow has entries.

        D is how this completion changes with its arrow: elsewhere by ``dE G' + G dE' - G dC G'``.
        """
        N = dX.edge - self.G @ dX.core
        rest = dX.diagonal - np.einsum("ij,ij->i", N + dX.edge, self.G)
        T = Z.diagonal[:, None] * self.G + Z.edge
        TN = Z.diagonal[:, None] * N
        inner = T.T @ Y.G + self.G.T @ Z.edge + Z.core
        lower = dX.core @ inner + TN.T @ Y.G + N.T @ Z.edge
        right = rest[:, None] * (Z.diagonal[:, None] * Y.G + Z.edge)
        edge = (right + N @ inner + self.G @ lower) @ Y.C
        core = lower @ Y.C
        left = T @ dX.core + TN
        other = Y.rest[:, None] * left + Y.G @ core.T
        diagonal = rest * Z.diagonal + np.einsum("ij,ij->i", N, T)
        diagonal = (diagonal + np.einsum("ij,ij->i", self.G, left)) * Y.rest
        diagonal += np.einsum("ij,ij->i", edge, Y.G)
        return Arrow(diagonal, 0.5 * (edge + other), 0.5 * (core + core.T))


def _inverted(factor: Array) -> Array:
    lower = np.tril(dpotri(factor, lower=1)[0])
    return np.asarray(lower + np.tril(lower, -1).T)
