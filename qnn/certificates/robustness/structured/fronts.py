"""A proof that a large sparse matrix is positive semidefinite, in the memory of a front.

Rows are eliminated some at a time; at any time there is one dense matrix of the rows that those
eliminated so far have reached: of a chain of layers about one layer, of convolutions a few lines of
their images (the multifrontal method: I. Duff, J. Reid, ACM Trans. Math. Softw. 9, 1983). These are
the operations of a Cholesky factorization in another order, so the bound of its rounding errors
holds (N. Higham, Accuracy and Stability of Numerical Algorithms, 2002, theorem 10.3; S. Rump,
BIT 46, 2006): completed for the matrix with a little less of its diagonal, it proves the matrix.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import sparse
from scipy.linalg import solve_triangular
from scipy.sparse.csgraph import reverse_cuthill_mckee

from qnn.errors import CertificateError
from qnn.numerics.floating import TINY, gamma

Array = np.ndarray

_STEP = 96
MOST_FRONT = 30_000


def prove_semidefinite(diagonal: Array, couplings: Any, margin: float) -> None:
    """Prove ``Diag(diagonal) + couplings >= 0``, couplings symmetric, sparse, of diagonal 0.

    Raises CertificateError where it is not proven. ``margin`` multiplies the allowance.
    """
    A = sparse.csr_array(couplings)
    A.sum_duplicates()
    A.eliminate_zeros()
    if not (np.isfinite(diagonal).all() and np.isfinite(A.data).all()):
        raise CertificateError("the dual's matrix overflows")
    coupled = np.diff(A.indptr) > 0
    if np.any(diagonal < 0.0) or np.any(diagonal[coupled] <= 0.0):
        raise CertificateError("a diagonal entry of the dual's matrix is not proven positive")
    rows = np.flatnonzero(coupled)
    size = len(rows)
    shift = margin * 1.01 * size * gamma(2 * size + 10)
    s = diagonal[rows] * (1.0 - shift) - size * TINY
    if shift >= 0.5 or not np.all(s > 0.0):
        raise CertificateError("a diagonal entry of the dual's matrix is not proven positive")
    if size:
        A = sparse.csr_array(A[rows][:, rows])
        _eliminate(s, A, best_order(A))


def best_order(A: Any) -> Array:
    """The order of elimination that needs least, of a few; any order proves as much."""
    natural = np.arange(A.shape[0])
    degrees = np.diff(A.indptr)
    orders = [natural, natural[::-1]]
    for limit in {A.shape[0], int(8 * np.median(degrees)) + 8}:
        few, many = np.flatnonzero(degrees <= limit), np.flatnonzero(degrees > limit)
        part = sparse.csr_array(A[few][:, few])
        near = few[reverse_cuthill_mckee(part, symmetric_mode=True)]
        orders += [np.concatenate([near, many]), np.concatenate([near[::-1], many])]
    return min(orders, key=lambda order: _cost(A, order))


def _cost(A: Any, order: Array) -> float:
    """The sum of the squares of the fronts, as rows are eliminated in an order."""
    place = np.empty(len(order), dtype=np.int64)
    place[order] = np.arange(len(order))
    first = np.minimum(place, np.minimum.reduceat(place[A.indices], A.indptr[:-1]))
    begun = np.cumsum(np.bincount(first, minlength=len(order)))
    return float(np.sum((begun - np.arange(len(order))).astype(np.float64) ** 2))


def _eliminate(diagonal: Array, A: Any, order: Array) -> None:
    place = np.empty(len(order), dtype=np.int64)
    place[order] = np.arange(len(order))
    front, F = np.zeros(0, dtype=np.int64), np.zeros((0, 0))
    for start in range(0, len(order), _STEP):
        own = order[start : start + _STEP]
        block = A[own].tocoo()
        later = place[block.col] >= start
        i, j, values = own[block.row[later]], block.col[later], block.data[later]
        new = np.setdiff1d(np.concatenate([own, j]), front)
        front, F = np.concatenate([front, new]), _grown(F, diagonal[new])
        if len(front) > MOST_FRONT:
            raise CertificateError("the dual's matrix is coupled too densely to be proven")
        sorter = np.argsort(front)
        a, b = (sorter[np.searchsorted(front, k, sorter=sorter)] for k in (i, j))
        F[a, b] += values
        outside = place[j] >= start + len(own)
        F[b[outside], a[outside]] += values[outside]
        out = sorter[np.searchsorted(front, own, sorter=sorter)]
        rest = np.setdiff1d(np.arange(len(front)), out)
        front, F = front[rest], _schur(F, out, rest)


def _grown(F: Array, diagonal: Array) -> Array:
    size = len(F)
    grown = np.zeros((size + len(diagonal),) * 2)
    grown[:size, :size] = F
    grown.flat[size * (len(grown) + 1) :: len(grown) + 1] = diagonal
    return grown


def _schur(F: Array, out: Array, rest: Array) -> Array:
    """What is left of a front once some rows are eliminated; CertificateError if that fails."""
    try:
        factor = np.linalg.cholesky(F[np.ix_(out, out)])
    except np.linalg.LinAlgError:
        raise CertificateError("the dual's matrix is not proven positive semidefinite") from None
    if not np.isfinite(factor).all():
        raise CertificateError("the dual's matrix is not proven positive semidefinite")
    X = solve_triangular(factor, F[np.ix_(out, rest)], lower=True, check_finite=False)
    left = F[np.ix_(rest, rest)]
    left -= X.T @ X
    return left
