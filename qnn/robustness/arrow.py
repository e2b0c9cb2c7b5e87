"""Symmetric matrices that are diagonal but for a core of few rows: inverse, test, products.

The inputs of a network meet each other only through its neurons, so the block of the inputs in the
dual's matrix is diagonal, and everything about it happens in the Schur complement of the core.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg.lapack import dpotrf, dpotri

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

    def inverse(self, plain: Array, core: Array) -> Array | None:
        """The inverse as a full matrix, rows at the given places; None where it is not definite."""
        factor = self.factor()
        if factor is None:
            return None
        lower = np.tril(dpotri(factor, lower=1)[0])
        C = lower + np.tril(lower, -1).T
        E = -(self.edge / self.diagonal[:, None])
        full = np.empty((len(plain) + len(core),) * 2)
        EC = E @ C
        inner = EC @ E.T
        inner.flat[:: len(plain) + 1] += 1.0 / self.diagonal
        full[np.ix_(plain, plain)] = inner
        full[np.ix_(plain, core)] = EC
        full[np.ix_(core, plain)] = EC.T
        full[np.ix_(core, core)] = C
        return full

    def times(self, S: Array, plain: Array, core: Array) -> Array:
        """``S @ self`` of a full matrix S."""
        done = np.empty_like(S)
        P, Q = S[:, plain], S[:, core]
        done[:, plain] = P * self.diagonal + Q @ self.edge.T
        done[:, core] = P @ self.edge + Q @ self.core
        return done

    def plus(self, other: Arrow, factor: float) -> Arrow:
        """``self + factor other``."""
        return Arrow(
            self.diagonal + factor * other.diagonal,
            self.edge + factor * other.edge,
            self.core + factor * other.core,
        )

    def inner(self, S: Array, plain: Array, core: Array) -> float:
        """The trace of the product with a full symmetric matrix S."""
        edge = float(np.sum(self.edge * S[np.ix_(plain, core)]))
        value = float(self.diagonal @ S[plain, plain]) + 2.0 * edge
        return value + float(np.sum(self.core * S[np.ix_(core, core)]))
