"""Odd sets as inequalities of one leaf: kept, weighed, and exchanged for those that are violated.

The inequalities are those of `cuts.py` beside this file, on (V, Z) and ρ, here in compiled loops:
a leaf takes thousands of steps. With `X = [V, Z; Z, V]`, whose diagonal is ρ, that of an odd
vector b over (u; v) is `½ (bᵀXb − ρ) ≥ 0`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from qnn.numerics.compiled import compiled
from qnn.semidefinite.odd_sets import grown, triangles
from qnn.training.relaxation.tightening.cuts import (
    ADDED,
    LARGER_ADDED,
    LARGER_FROM,
    LARGER_VIOLATION,
    LARGEST,
    VIOLATION,
    largest_eigenvalue,
)

Array = np.ndarray


@dataclass(frozen=True, eq=False)
class OddCuts:
    """Vectors b (T, 2d) int8 of entries ±1 and 0, with multipliers tau (T,) ≥ 0."""

    rows: Array
    tau: Array

    def __len__(self) -> int:
        return len(self.rows)

    @cached_property
    def _pairs(self) -> tuple[Array, Array, Array]:
        """Of each row its pairs of entries: starts (T + 1,), places in (V, Z), and b_i b_j.

        A place is that of V_ij or Z_ij, i ≤ j, in the two matrices' entries one after the other.
        """
        counts = np.count_nonzero(self.rows, axis=1)
        starts = np.concatenate([[0], np.cumsum(counts * (counts - 1) // 2)]).astype(np.int64)
        places = np.empty(starts[-1], dtype=np.int32)
        signs = np.empty(starts[-1])
        _list_pairs(self.rows, places, signs)
        return starts, places, signs

    @cached_property
    def constants(self) -> Array:
        """What ρ is multiplied by, `(s − 1)/2` for s entries, (T,)."""
        return (np.count_nonzero(self.rows, axis=1) - 1.0) / 2.0

    @cached_property
    def scales(self) -> Array:
        """2 over the number of pairs, (T,): with their roots all have a norm of about 1."""
        return 2.0 / np.maximum(np.diff(self._pairs[0]), 1.0)

    def slacks(self, V: Array, Z: Array, rho: float) -> Array:
        """(T,), not negative where the inequalities hold; diag(V) is ρ."""
        return self.pairs(V, Z) + rho * self.constants

    def pairs(self, V: Array, Z: Array) -> Array:
        """What of the slacks comes from pairs of entries, (T,)."""
        out = np.empty(len(self))
        _sums(*self._pairs, np.concatenate([V.ravel(), Z.ravel()]), out)
        return out

    def adjoint(self, weights: Array) -> tuple[Array, Array]:
        """The matrices (K_V, K_Z) with `⟨K_V, V⟩ + ⟨K_Z, Z⟩` the weighted sum of `pairs`."""
        K = self.sums(weights)
        K = 0.5 * (K + K.transpose(0, 2, 1))
        return K[0], K[1]

    def sums(self, weights: Array) -> Array:
        """The same, (2, d, d), of each pair of entries in one place, on or above the diagonal."""
        d = self.rows.shape[1] // 2
        K = np.zeros((2, d, d))
        _add_sums(*self._pairs, weights, K.ravel())
        return K

    @cached_property
    def square_norm(self) -> float:
        """An estimate from above of the largest eigenvalue of scaled `pairs` and its adjoint."""
        roots = np.sqrt(self.scales)
        return largest_eigenvalue(
            lambda tau: roots * self.pairs(*self.adjoint(roots * tau)), len(self)
        )

    def weighing(self, tau: Array) -> OddCuts:
        """The same vectors with other multipliers; what is known of them stays known."""
        other = replace(self, tau=tau)
        for name in ("_pairs", "constants", "scales", "square_norm"):
            if name in self.__dict__:
                other.__dict__[name] = self.__dict__[name]
        return other

    def exchanged(self, V: Array, Z: Array, rho: float, free: Array, threshold: float) -> OddCuts:
        """Those with multipliers above a threshold, and the most violated others.

        free (d,): where v is no copy of u, up to the sign.
        """
        kept = self.rows[self.tau > threshold]
        fresh = violated(stacked(V, Z) / rho, kept, free)
        tau = np.concatenate([self.tau[self.tau > threshold], np.zeros(len(fresh))])
        return OddCuts(np.vstack([kept, fresh]), tau)


def stacked(V: Array, Z: Array) -> Array:
    """`[V, Z; Z, V]`."""
    return np.block([[V, Z], [Z, V]])


def violated(X: Array, known: Array, free: Array) -> Array:
    """Violated odd vectors (T, 2d) that are not known: triangles, where they are few larger sets.

    X (2d, 2d) with a diagonal of 1. known (K, 2d): larger sets are the triangles and these with two
    more entries each. One of b and its exchange of u and v, one of ±b.
    """
    d = len(free)
    entries = np.concatenate([np.arange(d), d + np.flatnonzero(free)])
    E = np.ascontiguousarray(X[np.ix_(entries, entries)])
    owners = np.arange(len(E), dtype=np.int64)
    sets, signs, _ = triangles(E, owners, len(E), 2.0 * VIOLATION, ADDED)
    found = _unknown(known, _canonical(_rows(entries[sets], signs, d)))
    if len(found) >= LARGER_FROM:
        return found
    place = np.full(2 * d, -1)
    place[entries] = np.arange(len(entries))
    larger = _larger(E, owners, np.vstack([known, found]), place, entries)
    return np.vstack([found, _unknown(known, _canonical(larger))])


def _larger(E: Array, owners: Array, bases: Array, place: Array, entries: Array) -> Array:
    """The most violated sets that have two entries more than a base."""
    d = len(place) // 2
    bases = bases[np.all((place >= 0) | (bases == 0), axis=1)]
    sizes = np.count_nonzero(bases, axis=1)
    parts, squares = [np.zeros((0, 2 * d), dtype=np.int8)], [np.zeros(0)]
    for size in range(3, LARGEST, 2):
        own = bases[sizes == size]
        if not len(own):
            continue
        at = np.nonzero(own)[1].reshape(-1, size)
        signs = np.take_along_axis(own, at, axis=1).astype(np.float64)
        sets, signs, square = grown(E, owners, place[at].astype(np.int32), signs)
        worse = square < 1.0 - 2.0 * LARGER_VIOLATION
        parts.append(_rows(entries[sets[worse]], signs[worse], d))
        squares.append(square[worse])
    order = np.argsort(np.concatenate(squares), kind="stable")[:LARGER_ADDED]
    return np.vstack(parts)[order]


def _rows(sets: Array, signs: Array, d: int) -> Array:
    rows = np.zeros((len(sets), 2 * d), dtype=np.int8)
    rows[np.arange(len(sets))[:, None], sets] = signs
    return rows


def _canonical(rows: Array) -> Array:
    """Of each row one of ±b and of the two orders of u and v: the last as bytes."""
    d = rows.shape[1] // 2
    swapped = np.hstack([rows[:, d:], rows[:, :d]])
    best = rows
    for other in (-rows, swapped, -swapped):
        apart = best != other
        first = apart.argmax(axis=1)[:, None]
        larger = np.take_along_axis(other, first, 1) > np.take_along_axis(best, first, 1)
        best = np.where(larger, other, best)
    return np.ascontiguousarray(best)


def _unknown(known: Array, rows: Array) -> Array:
    """The rows that are not among the known, nor earlier among themselves."""
    seen = set(map(bytes, known))
    fresh = []
    for at, row in enumerate(map(bytes, rows)):
        if row not in seen:
            seen.add(row)
            fresh.append(at)
    return rows[fresh]


@compiled(nogil=True)
def _list_pairs(rows: np.ndarray, places: np.ndarray, signs: np.ndarray) -> None:
    d = rows.shape[1] // 2
    count = 0
    for t in range(len(rows)):
        for i in range(2 * d):
            if rows[t, i] == 0:
                continue
            for j in range(i + 1, 2 * d):
                if rows[t, j] == 0:
                    continue
                mixed = i < d <= j
                first, second = min(i % d, j % d), max(i % d, j % d)
                places[count] = (d * d if mixed else 0) + first * d + second
                signs[count] = rows[t, i] * rows[t, j]
                count += 1


@compiled(nogil=True)
def _sums(
    starts: np.ndarray,
    places: np.ndarray,
    signs: np.ndarray,
    entries: np.ndarray,
    out: np.ndarray,
) -> None:
    for t in range(len(starts) - 1):
        total = 0.0
        for p in range(starts[t], starts[t + 1]):
            total += signs[p] * entries[places[p]]
        out[t] = total


@compiled(nogil=True)
def _add_sums(
    starts: np.ndarray,
    places: np.ndarray,
    signs: np.ndarray,
    weights: np.ndarray,
    entries: np.ndarray,
) -> None:
    for t in range(len(starts) - 1):
        weight = weights[t]
        if weight != 0.0:
            for p in range(starts[t], starts[t + 1]):
                entries[places[p]] += weight * signs[p]
