"""Odd sets that a moment matrix violates, and the pool in which a tree keeps them.

A cut is an odd vector b, `(bᵀx)² ≥ 1` for all signs x. Triangles are found by trying all; sets of
5 and 7 by adding the best pair of signs to the tightest sets that are known.
"""

from __future__ import annotations

import numpy as np

from qnn.moments.csp.forms import Leaf
from qnn.numerics.compiled import compiled
from qnn.semidefinite.odd_sets import grown, triangles
from qnn.semidefinite.squares import Vectors

Array = np.ndarray

# Extended signs beyond which not all triples are tried, only those with entry 0.
ALL_TRIPLES = 400
# Sets that are tried to be made larger.
SEEDS = 300


class CutPool:
    """The cuts of a tree, over all entries of x, each once; a leaf's are these after merging."""

    def __init__(self) -> None:
        self.numbers: dict[bytes, int] = {}
        self.rows: list[tuple[Array, Array]] = []

    def add(self, vectors: Vectors, leaf: Leaf) -> Array:
        """Numbers of cuts over a leaf's w; entry 0 of w stands for entry 0 of x."""
        place = np.zeros(leaf.size, dtype=np.int32)
        stay = leaf.column > 0
        place[leaf.column[stay]] = np.flatnonzero(stay)
        entries = place[vectors.entries]
        found = np.empty(len(vectors), dtype=np.int64)
        for row in range(len(vectors)):
            own = slice(vectors.starts[row], vectors.starts[row + 1])
            found[row] = self.number(entries[own], vectors.coefficients[own].astype(np.int8))
        return found

    def number(self, entries: Array, coefficients: Array) -> int:
        """Of a cut over x, which joins where it is new."""
        order = np.argsort(entries, kind="stable")
        entries, coefficients = entries[order], coefficients[order]
        if coefficients[0] < 0:
            coefficients = -coefficients
        key = entries.tobytes() + coefficients.tobytes()
        number = self.numbers.setdefault(key, len(self.rows))
        if number == len(self.rows):
            self.rows.append((entries, coefficients))
        return number

    def vectors(self, numbers: Array) -> Vectors:
        """The cuts with these numbers, over x."""
        rows = [self.rows[number] for number in numbers]
        starts = np.concatenate([[0], np.cumsum([len(entries) for entries, _ in rows])])
        if not rows:
            return Vectors.none()
        return Vectors(
            starts.astype(np.int64),
            np.concatenate([entries for entries, _ in rows]).astype(np.int32),
            np.concatenate([coefficients for _, coefficients in rows]).astype(np.float64),
        )


def merged(vectors: Vectors, leaf: Leaf, every: bool = False) -> tuple[Vectors, Array]:
    """Cuts over x as cuts over a leaf's w, and the rows that still say something; or every one."""
    entries = np.empty(len(vectors.entries), dtype=np.int32)
    coefficients = np.empty(len(vectors.entries))
    starts = np.zeros(len(vectors) + 1, dtype=np.int64)
    kept = np.zeros(len(vectors), dtype=np.bool_)
    _merge(
        vectors.starts,
        vectors.entries,
        vectors.coefficients,
        leaf.signs,
        leaf.column,
        starts,
        entries,
        coefficients,
        kept,
    )
    total = starts[-1]
    all_rows = Vectors(starts, entries[:total].copy(), coefficients[:total].copy())
    rows = np.flatnonzero(kept | every)
    return all_rows.chosen(rows), rows


def violated(X: Array, leaf: Leaf, least: float, most: int, larger: bool = True) -> Vectors:
    """Cuts over w with `bᵀXb < 1 − least`, most violated first, at most so many.

    X (D, D), over w; scaled to a diagonal of 1. larger: also sets of 5 and 7.
    """
    scale = 1.0 / np.sqrt(np.maximum(X.diagonal(), 1e-9))
    Y = X * scale[:, None] * scale
    extended = leaf.extended
    E = Y if leaf.k == 2 else _congruent(extended, Y)
    triples = len(E) if len(E) <= ALL_TRIPLES else 1
    sets, signs, squares = triangles(E, leaf.owners(), triples, least, most)
    parts = [_combined(extended, sets, signs, leaf)]
    if larger and 5 <= len(E) <= ALL_TRIPLES:
        tight = _tightest(E, leaf.owners(), sets, signs, squares)
        for _ in range(2):
            sets, signs, squares = grown(E, leaf.owners(), *tight)
            good = squares < 1.0 - least
            parts.append(_combined(extended, sets[good], signs[good], leaf))
            tight = sets, signs
    joined = parts[0]
    for part in parts[1:]:
        joined = joined.joined(part)
    order = np.argsort(joined.squares(Y), kind="stable")[:most]
    return joined.chosen(order)


def _congruent(rows: Vectors, X: Array) -> Array:
    dense = rows.dense(len(X))
    return np.asarray(dense @ X @ dense.T)


def _tightest(
    E: Array, owner: Array, sets: Array, signs: Array, squares: Array
) -> tuple[Array, Array]:
    """Sets of 3 to start larger ones from: the violated, else those nearest to it."""
    if len(sets) < SEEDS:
        triples = len(E)
        near = triangles(E, owner, triples, -2.0, SEEDS)
        sets, signs, squares = near
    order = np.argsort(squares, kind="stable")[:SEEDS]
    return sets[order], signs[order]


def _combined(extended: Vectors, sets: Array, signs: Array, leaf: Leaf) -> Vectors:
    """Sums of extended signs as odd vectors over w."""
    if leaf.k == 2:
        return Vectors.of_rows(sets, signs)
    dense = extended.dense(leaf.size)
    rows = np.einsum("ms,msd->md", signs, dense[sets]) if len(sets) else np.zeros((0, leaf.size))
    at, entries = np.nonzero(rows)
    starts = np.concatenate([[0], np.cumsum(np.bincount(at, minlength=len(rows)))])
    return Vectors(starts.astype(np.int64), entries.astype(np.int32), rows[at, entries])


@compiled(nogil=True)
def _merge(
    starts: np.ndarray,
    entries: np.ndarray,
    coefficients: np.ndarray,
    signs: np.ndarray,
    column: np.ndarray,
    new_starts: np.ndarray,
    new_entries: np.ndarray,
    new_coefficients: np.ndarray,
    kept: np.ndarray,
) -> None:
    at = 0
    for c in range(len(starts) - 1):
        constant = 0.0
        first = at
        for p in range(starts[c], starts[c + 1]):
            entry = entries[p]
            if column[entry] == 0:
                constant += coefficients[p] * signs[entry]
            else:
                new_entries[at] = column[entry]
                new_coefficients[at] = coefficients[p]
                at += 1
        if constant != 0.0:
            new_entries[at] = 0
            new_coefficients[at] = constant
            at += 1
        # With less than three entries, or a constant that alone outweighs the rest, it is empty.
        others = 0.0
        for p in range(first, at):
            others += abs(new_coefficients[p])
        kept[c] = at - first >= 3 and abs(constant) < others - abs(constant)
        new_starts[c + 1] = at
