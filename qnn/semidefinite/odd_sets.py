"""Odd sets of signs that a moment matrix violates: all triangles, and larger sets grown from them.

E (D, D): moments with a diagonal of 1. A set with signs s is a vector b whose entries are those
signs there and 0 elsewhere; an odd one has `(bᵀx)² ≥ 1` at all sign vectors x, so that `bᵀEb < 1`
is a violation. owner (D,): no set has two entries of one owner.
"""

from __future__ import annotations

import numpy as np

from qnn.numerics.compiled import compiled

Array = np.ndarray

_BINS = 2048


def triangles(
    E: Array, owner: Array, triples: int, least: float, most: int
) -> tuple[Array, Array, Array]:
    """The most violated triangles, by more than `least`, at most so many.

    triples: their first entries are those before it. Returns sets (m, 3), signs (m, 3) and their
    squares (m,).
    """
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


def grown(E: Array, owner: Array, sets: Array, signs: Array) -> tuple[Array, Array, Array]:
    """Each set (m, s) with the two further entries that make its square least, and the squares."""
    count, width = sets.shape
    larger = np.empty((count, width + 2), dtype=np.int32)
    larger_signs = np.empty((count, width + 2))
    squares = np.full(count, np.inf)
    _grow(E, owner, sets, signs, larger, larger_signs, squares)
    good = np.isfinite(squares)
    return larger[good], larger_signs[good], squares[good]


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
