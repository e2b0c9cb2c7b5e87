"""Odd sets that a moment matrix violates, and the pool in which a tree keeps them.

A cut is an odd vector b, `(bᵀx)² ≥ 1` for all signs x. Triangles are found by trying all; sets of
5 and 7 by adding the best pair of signs to the tightest sets that are known.
"""

from __future__ import annotations

import numpy as np

from qnn.moments.csp.forms import Leaf
from qnn.numerics.compiled import compiled
from qnn.semidefinite.squares import Vectors

Array = np.ndarray

# Extended signs beyond which not all triples are tried, only those with entry 0.
ALL_TRIPLES = 400
# Sets that are tried to be made larger.
SEEDS = 300
_BINS = 2048


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
            found[row] = self._number(entries[own], vectors.coefficients[own].astype(np.int8))
        return found

    def _number(self, entries: Array, coefficients: Array) -> int:
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
    sets, signs, squares = _triangles(E, leaf.owners(), triples, least, most)
    parts = [_combined(extended, sets, signs, leaf)]
    if larger and 5 <= len(E) <= ALL_TRIPLES:
        tight = _tightest(E, leaf.owners(), sets, signs, squares)
        for _ in range(2):
            sets, signs, squares = _grown(E, leaf.owners(), *tight)
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


def _triangles(
    E: Array, owner: Array, triples: int, least: float, most: int
) -> tuple[Array, Array, Array]:
    """The most violated triangles: sets (m, 3), signs (m, 3) and their squares (m,)."""
    counts = np.zeros(_BINS, dtype=np.int64)
    _count_triangles(E, owner, triples, least, counts)
    # From the most violated down, as many bins as fit, and one more.
    below = np.cumsum(counts[::-1])[::-1]
    fitting = np.flatnonzero(below <= most)
    first = max(int(fitting[0]) - 1, 0) if len(fitting) else _BINS - 1
    room = min(int(below[first]), 2 * most + 1000)
    sets, signs = np.empty((room, 3), dtype=np.int32), np.empty((room, 3))
    squares = np.empty(room)
    count = _list_triangles(E, owner, triples, least, first, sets, signs, squares)
    return sets[:count], signs[:count], squares[:count]


def _tightest(
    E: Array, owner: Array, sets: Array, signs: Array, squares: Array
) -> tuple[Array, Array]:
    """Sets of 3 to start larger ones from: the violated, else those nearest to it."""
    if len(sets) < SEEDS:
        triples = len(E)
        near = _triangles(E, owner, triples, -2.0, SEEDS)
        sets, signs, squares = near
    order = np.argsort(squares, kind="stable")[:SEEDS]
    return sets[order], signs[order]


def _grown(E: Array, owner: Array, sets: Array, signs: Array) -> tuple[Array, Array, Array]:
    count, width = sets.shape
    larger = np.empty((count, width + 2), dtype=np.int32)
    larger_signs = np.empty((count, width + 2))
    squares = np.full(count, np.inf)
    _grow(E, owner, sets, signs, larger, larger_signs, squares)
    good = np.isfinite(squares)
    return larger[good], larger_signs[good], squares[good]


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
def _bin(square: float, least: float) -> int:
    """Which bin of violations, the larger the higher."""
    place = int((1.0 - least - square) / (2.0 - least) * _BINS)
    return min(max(place, 0), _BINS - 1)


@compiled(nogil=True)
def _count_triangles(
    E: np.ndarray, owner: np.ndarray, triples: int, least: float, counts: np.ndarray
) -> None:
    size = len(E)
    for i in range(min(triples, size - 2)):
        for j in range(i + 1, size - 1):
            if owner[j] == owner[i]:
                continue
            x = E[i, j]
            for k in range(j + 1, size):
                if owner[k] == owner[j] or owner[k] == owner[i]:
                    continue
                y, z = E[i, k], E[j, k]
                # The least of 3 + 2 (±x ±y ±z), the product of signs being +1.
                low = min(min(x + y + z, x - y - z), min(-x + y - z, -x - y + z))
                square = 3.0 + 2.0 * low
                if square < 1.0 - least:
                    counts[_bin(square, least)] += 1


@compiled(nogil=True)
def _list_triangles(
    E: np.ndarray,
    owner: np.ndarray,
    triples: int,
    least: float,
    first: int,
    sets: np.ndarray,
    signs: np.ndarray,
    squares: np.ndarray,
) -> int:
    size = len(E)
    count = 0
    for i in range(min(triples, size - 2)):
        for j in range(i + 1, size - 1):
            if owner[j] == owner[i]:
                continue
            x = E[i, j]
            for k in range(j + 1, size):
                if owner[k] == owner[j] or owner[k] == owner[i]:
                    continue
                y, z = E[i, k], E[j, k]
                a, b, c, d = x + y + z, x - y - z, -x + y - z, -x - y + z
                low = min(min(a, b), min(c, d))
                square = 3.0 + 2.0 * low
                if square < 1.0 - least and _bin(square, least) >= first:
                    if count == len(sets):
                        return count
                    sets[count, 0], sets[count, 1], sets[count, 2] = i, j, k
                    signs[count, 0] = 1.0
                    signs[count, 1] = 1.0 if low in (a, b) else -1.0
                    signs[count, 2] = 1.0 if low == a or (low == c and low != b) else -1.0
                    squares[count] = square
                    count += 1
    return count


@compiled(nogil=True)
def _grow(
    E: np.ndarray,
    owner: np.ndarray,
    sets: np.ndarray,
    signs: np.ndarray,
    larger: np.ndarray,
    larger_signs: np.ndarray,
    squares: np.ndarray,
) -> None:
    """Add to each set the pair of signs that makes its square smallest."""
    size, width = len(E), sets.shape[1]
    g = np.empty(size)
    taken = np.empty(size, dtype=np.bool_)
    for m in range(len(sets)):
        square = 0.0
        for p in range(size):
            total = 0.0
            taken[p] = False
            for t in range(width):
                total += signs[m, t] * E[sets[m, t], p]
                if owner[p] == owner[sets[m, t]]:
                    taken[p] = True
            g[p] = total
        for t in range(width):
            square += signs[m, t] * g[sets[m, t]]
        best = np.inf
        for p in range(size - 1):
            if taken[p]:
                continue
            for q in range(p + 1, size):
                if taken[q] or owner[q] == owner[p]:
                    continue
                same = -abs(g[p] + g[q]) + E[p, q]
                apart = -abs(g[p] - g[q]) - E[p, q]
                low = min(same, apart)
                if low < best:
                    best = low
                    larger[m, width], larger[m, width + 1] = p, q
                    sign = 1.0 if same <= apart else -1.0
                    head = -1.0 if g[p] + sign * g[q] > 0.0 else 1.0
                    larger_signs[m, width], larger_signs[m, width + 1] = head, sign * head
        if best < np.inf:
            squares[m] = square + 2.0 + 2.0 * best
            for t in range(width):
                larger[m, t] = sets[m, t]
                larger_signs[m, t] = signs[m, t]


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
