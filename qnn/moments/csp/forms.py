"""A constraint satisfaction problem as a quadratic form over signs, its leaves, and their basis.

A variable of k values is k − 1 signs, −1 where it has the value a; entry 0 is +1 (see
`qnn.certificates.csp`). For k ≥ 3 the signs of one variable are nearly dependent, so leaves are
bounded in another basis: `x = Tu`, u_i ∈ ℝᵏ⁻¹ a vertex of the regular simplex with its centre at
0, for which 1 + Σ‖u_i‖² is the number of variables and one.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np

from qnn.certificates.csp import Payoffs
from qnn.semidefinite.squares import Vectors

Array = np.ndarray


@dataclass(frozen=True, eq=False)
class Leaf:
    """A part of all assignments: `values` (n,) int, −1 where free, and what is left of the form.

    C (D, D): the form over w = (1, free signs). signs, column (width,): each entry of x as one of
    w. T (D, D): the basis, None where it is the signs themselves. equalities: vectors over w with
    squares 1, first the D unit vectors. shift: their multipliers that add the identity (in u).
    """

    values: Array
    k: int
    C: Array
    signs: Array
    column: Array

    @property
    def size(self) -> int:
        """Entries of w."""
        return len(self.C)

    @property
    def free(self) -> Array:
        """The free variables."""
        return np.flatnonzero(self.values < 0)

    @cached_property
    def equalities(self) -> Vectors:
        """Over w: unit vectors, then `−w_0 + w_ia + w_ib` of each free variable and a < b."""
        units = Vectors.units(self.size)
        a, b = np.triu_indices(self.k - 1, 1)
        first = 1 + np.arange(len(self.free)) * (self.k - 1)
        if not len(a) or not len(first):
            return units
        sets = np.empty((len(first), len(a), 3), dtype=np.int32)
        sets[:, :, 0] = 0
        sets[:, :, 1] = first[:, None] + a
        sets[:, :, 2] = first[:, None] + b
        entries = sets.reshape(-1, 3)
        return units.joined(Vectors.of_rows(entries, np.tile([-1.0, 1.0, 1.0], (len(entries), 1))))

    @cached_property
    def T(self) -> Array | None:
        """The basis (D, D)."""
        if self.k == 2:
            return None
        constant, own = _simplex(self.k)
        T = np.zeros_like(self.C)
        T[0, 0] = 1.0
        T[1:, 0] = constant
        for first in range(1, self.size, self.k - 1):
            T[first : first + self.k - 1, first : first + self.k - 1] = own
        return T

    @cached_property
    def shift(self) -> Array:
        """Multipliers of the equalities whose sum of squares is the identity of the basis."""
        if self.k == 2:
            return np.ones(self.size)
        first, unit, pair = _identity(self.k)
        free = len(self.free)
        head = np.concatenate([[1.0 + free * first], np.full(free * (self.k - 1), unit)])
        return np.concatenate([head, np.full(len(self.equalities) - self.size, pair)])

    @property
    def trace(self) -> float:
        """Of every feasible matrix, in the basis."""
        return 1.0 + len(self.free)

    @cached_property
    def extended(self) -> Vectors:
        """The signs that triangles join, as odd vectors over w: entry 0, then by variable."""
        if self.k == 2:
            return Vectors.units(self.size)
        rows = np.zeros((1 + len(self.free) * self.k, self.size))
        rows[0, 0] = 1.0
        for number in range(len(self.free)):
            own = 1 + number * (self.k - 1)
            for a in range(self.k - 1):
                rows[1 + number * self.k + a, own + a] = 1.0
            last = rows[1 + number * self.k + self.k - 1]
            last[0], last[own : own + self.k - 1] = self.k - 2.0, -1.0
        return _sparse(rows)

    def owners(self) -> Array:
        """The free variable, counted, of each extended sign; −1 of entry 0."""
        each = 1 if self.k == 2 else self.k
        return np.append(-1, np.repeat(np.arange(len(self.free)), each)).astype(np.int64)


@dataclass(frozen=True, eq=False)
class SignForm:
    """`4 (value(x) − constant) = xᵀFx`, F (width, width) symmetric."""

    payoffs: Payoffs
    F: Array

    @classmethod
    def of(cls, payoffs: Payoffs) -> SignForm:
        """Sum the tables, sparse rows of a few entries each, into F."""
        n, k = payoffs.n, payoffs.k
        width = 1 + n * (k - 1)
        W = pair_payoffs(payoffs)
        flat = W.reshape(n * k, n * k)
        flat[np.arange(n * k), np.arange(n * k)] += 2.0 * payoffs.unary.ravel()
        # Rows of twice the indicators, first by the constant, then by the variable's own signs.
        own = np.vstack([-np.eye(k - 1), np.ones((1, k - 1))])
        constant = np.append(np.ones(k - 1), 3.0 - k)
        half = np.empty((n * k, width))
        half[:, 0] = (W * constant).sum(axis=(2, 3)).ravel()
        half[:, 1:] = (W @ own).reshape(n * k, n * (k - 1))
        rows = half.reshape(n, k, width)
        F = np.empty((width, width))
        F[0] = np.einsum("a,naw->w", constant, rows)
        F[1:] = np.einsum("ab,naw->nbw", own, rows).reshape(width - 1, width)
        return cls(payoffs, 0.25 * (F + F.T))

    def leaf(self, values: Array) -> Leaf:
        """What is left of the form where these values are fixed."""
        k = self.payoffs.k
        fixed = np.repeat(values >= 0, k - 1)
        own = np.tile(np.arange(k - 1), len(values))
        signs = np.where(fixed & (np.repeat(values, k - 1) == own), -1.0, 1.0)
        column = np.where(fixed, 0, np.cumsum(~fixed))
        signs, column = np.append(1.0, signs), np.append(0, column)
        stay = np.flatnonzero(column > 0)
        merged = np.flatnonzero(column == 0)
        row = signs[merged] @ self.F[merged]
        C = np.empty((len(stay) + 1, len(stay) + 1))
        C[0, 0] = row[merged] @ signs[merged]
        C[0, 1:] = C[1:, 0] = row[stay]
        C[1:, 1:] = self.F[np.ix_(stay, stay)]
        return Leaf(values, k, C, signs, column)

    def value_of(self, bound: float) -> float:
        """A bound of the form as one of the value."""
        return 0.25 * bound + self.payoffs.constant


def pair_payoffs(payoffs: Payoffs) -> Array:
    """W (n, k, n, k): the tables summed, once for each order of a pair."""
    n, k = payoffs.n, payoffs.k
    W = np.zeros((n, k, n, k))
    i, j = payoffs.pairs.T
    for c in range(len(i)):
        W[i[c], :, j[c]] += payoffs.tables[c]
    return np.ascontiguousarray(W + W.transpose(2, 3, 0, 1))


def symmetric(payoffs: Payoffs) -> bool:
    """Whether adding 1 (mod k) to all values changes no payoff: one variable may be taken as 0."""
    turned = np.roll(payoffs.tables, (1, 1), axis=(1, 2))
    same = np.array_equal(np.roll(payoffs.unary, 1, axis=1), payoffs.unary)
    return bool(same and np.array_equal(turned, payoffs.tables))


@lru_cache
def _simplex(k: int) -> tuple[float, Array]:
    """The signs of a variable, `constant + own u`: x_a = 1 − 2 z_a, z_a = 1/k + (k − 1)/k p_a'u."""
    values, vectors = np.linalg.eigh(np.eye(k) - 1.0 / k)
    vertices = vectors[:, values > 0.5] * np.sqrt(k / (k - 1.0))
    return 1.0 - 2.0 / k, -2.0 * (k - 1.0) / k * vertices[: k - 1]


@lru_cache
def _identity(k: int) -> tuple[float, float, float]:
    """Multipliers of e_0, e_a and the exclusions that sum to `‖u‖²` of one variable."""
    constant, own = _simplex(k)
    T = np.eye(k)
    T[1:, 0], T[1:, 1:] = constant, own
    pairs = np.zeros(((k - 1) * (k - 2) // 2, k))
    a, b = np.triu_indices(k - 1, 1)
    pairs[:, 0] = -1.0
    pairs[np.arange(len(a)), 1 + a] = pairs[np.arange(len(a)), 1 + b] = 1.0
    wanted = np.eye(k)
    wanted[0, 0] = 0.0
    wanted = np.linalg.inv(T).T @ wanted @ np.linalg.inv(T)
    first = np.zeros((k, k))
    first[0, 0] = 1.0
    units = np.eye(k) - first
    parts = np.array([part.ravel() for part in (first, units, pairs.T @ pairs)]).T
    found = np.linalg.lstsq(parts, wanted.ravel(), rcond=None)[0]
    return float(found[0]), float(found[1]), float(found[2])


def _sparse(rows: Array) -> Vectors:
    """Rows of a matrix, without their zeros."""
    at, entries = np.nonzero(np.abs(rows) > 1e-12)
    starts = np.concatenate([[0], np.cumsum(np.bincount(at, minlength=len(rows)))])
    return Vectors(starts.astype(np.int64), entries.astype(np.int32), rows[at, entries])
