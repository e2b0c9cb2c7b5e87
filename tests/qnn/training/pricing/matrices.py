"""Matrices that every pricer has to take, the pricers, and what all sign vectors give."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from qnn.training.pricing.branch_and_bound import branch_and_bound, branch_and_bound_forms
from qnn.training.pricing.enumeration import enumerate_forms, enumerate_signs
from qnn.training.pricing.scans import FormScan, ProductScan, Scan
from tests.qnn.bruteforce import sign_vectors

Array = np.ndarray


def dense(d: int, seed: int) -> Array:
    """M(ν) of thirty Gaussian rows."""
    rng = np.random.default_rng(100 * d + seed)
    X = rng.normal(size=(30, d))
    return X.T @ (rng.normal(size=30)[:, None] * X)


def sparse(d: int, seed: int) -> Array:
    """Entries that are 0, of order 1 or of order 10."""
    rng = np.random.default_rng(seed)
    A = rng.standard_normal((d, d)) * rng.choice([0.0, 1.0, 10.0], (d, d))
    return A + A.T


def even(d: int, seed: int) -> Array:
    """Nothing beside the last diagonal entry: of a polynomial without a linear part."""
    A = sparse(d, seed)
    A[-1, :-1] = A[:-1, -1] = 0.0
    return A


def heavy(d: int, seed: int) -> Array:
    """A diagonal beside which the pairs nearly vanish."""
    A = 1e-6 * dense(d, seed)
    A[np.diag_indices(d)] = 1e4
    return A


MATRICES: dict[str, Callable[[int, int], Array]] = {
    "dense": dense,
    "sparse": sparse,
    "even": even,
    "heavy diagonal": heavy,
    "integers": lambda d, seed: np.round(dense(d, seed)),
    "diagonal": lambda d, seed: np.diag(np.diag(dense(d, seed))),
    "rank one": lambda d, seed: np.outer(*[dense(d, seed)[0]] * 2),
    "negative": lambda d, seed: -(dense(d, seed) @ dense(d, seed)),
    "zero": lambda d, seed: np.zeros((d, d)),
    "tiny": lambda d, seed: 1e-30 * dense(d, seed),
    "huge": lambda d, seed: 1e30 * dense(d, seed),
}


def products(M: Array) -> Array:
    """`max_v uᵀMv` of all u with a last entry of +1, the largest first."""
    return np.sort(np.abs(M @ _signs(len(M))).sum(axis=0))[::-1]


def forms(M: Array) -> Array:
    """`|uᵀMu|` of all u with a last entry of +1, the largest first."""
    U = _signs(len(M))
    return np.sort(np.abs(np.einsum("ij,ij->j", U, M @ U)))[::-1]


def _signs(d: int) -> Array:
    U = sign_vectors(d)
    return U[:, U[-1] > 0]


@dataclass(frozen=True)
class Pricer:
    """A way to the largest value of all sign vectors; `scan`: of those that enumerate."""

    price: Callable[..., Any]
    values: Callable[[Array], Array]
    scan: type[Scan] | None = None


def branched_forms(M: Array, floor: float, **given: Any) -> Any:
    """Half of the vectors are enough where nothing is beside the last diagonal entry."""
    return branch_and_bound_forms(M, floor, even=len(M) > 1 and not M[-1, :-1].any(), **given)


PRICERS = {
    "products enumerated": Pricer(enumerate_signs, products, ProductScan),
    "forms enumerated": Pricer(enumerate_forms, forms, FormScan),
    "products branched": Pricer(branch_and_bound, products),
    "forms branched": Pricer(branched_forms, forms),
}
