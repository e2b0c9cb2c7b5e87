"""K-best sphere decoding: of one neuron, or of many with many inputs at once, in blocks of them.

The centres of coordinates that are not decided yet depend on all that are. Inside a block of
coordinates only the block's own are kept up to date; at its end one product of matrices brings all
others up to date, for every neuron and beginning at once.
"""

from __future__ import annotations

import numpy as np

from qnn.numerics.compiled import compiled
from qnn.quantization.threads import in_threads

Array = np.ndarray

# Candidates around the centre where the grid has more codes than these.
_NEAR = 5
_BLOCK = 32
# Beginnings of neurons together that a thread works on at once: 784 inputs take 2 x 6 MB.
_ROWS = 1024


def decoded_alone(unit: Array, curvature: Array, c: Array, lo: int, hi: int, beam: int) -> Array:
    """Codes (d,) of one neuron with centres c (d,), as `decoded_in_blocks`: all in one block."""
    cost = np.zeros((1, beam))
    kept, _, rest = _one_block(unit, curvature, c[None, None], c[None], cost, 1, lo, hi, beam)
    return np.rint(c - rest[0, cost[0, :kept].argmin()]).astype(np.int8)


def decoded_in_blocks(
    unit: Array, curvature: Array, C: Array, lo: int, hi: int, beam: int
) -> Array:
    """Codes (m, d) of the cheapest of `beam` beginnings, centres C (m, d) in the order of `unit`.

    unit (d, d): upper triangular with a diagonal of ones; curvature (d,): the squares that were it.
    """
    each = max(1, _ROWS // beam)
    turned = np.ascontiguousarray(unit.T)

    def decoded(start: int) -> Array:
        own = C[start : start + each]
        return _decoded_together(unit, turned, curvature, own, lo, hi, beam)

    return np.concatenate(in_threads(decoded, range(0, len(C), each)))


def _decoded_together(
    unit: Array, turned: Array, curvature: Array, C: Array, lo: int, hi: int, beam: int
) -> Array:
    m, d = C.shape
    centres = C[:, None, :]
    cost = np.zeros((m, beam))
    codes = np.zeros((m, 1, d), np.int8)
    kept, neurons = 1, np.arange(m)[:, None]
    for end in range(d, 0, -_BLOCK):
        start = max(0, end - _BLOCK)
        own = slice(start, end)
        block = np.ascontiguousarray(unit[own, own])
        near = np.ascontiguousarray(centres[:, :, own])
        kept, origin, rest = _one_block(
            block, curvature[own], near, np.ascontiguousarray(C[:, own]), cost, kept, lo, hi, beam
        )
        codes = codes[neurons, origin]
        codes[:, :, own] = np.rint(C[:, None, own] - rest)
        moved = (rest.reshape(-1, end - start) @ turned[own, :start]).reshape(m, kept, start)
        centres = centres[neurons, origin, :start] + moved
    best: Array = codes[neurons[:, 0], cost[:, :kept].argmin(axis=1)]
    return best


@compiled(nogil=True)
def _one_block(
    unit: Array,
    curvature: Array,
    centres: Array,
    C: Array,
    cost: Array,
    kept: int,
    lo: int,
    hi: int,
    beam: int,
) -> tuple[int, Array, Array]:
    """Decide a block's coordinates, last to first: how many are kept, whence, and what is left.

    cost (m, beam) changes in place; centres (m, kept, size) are those at the block's begin; what is
    left of C (m, size) is ``C - codes`` (m, kept, size).
    """
    m, _, size = centres.shape
    width = min(hi - lo + 1, _NEAR)
    count, most = kept, kept
    for _ in range(size):
        most = min(beam, most * width)
    origins, left = np.empty((m, most), np.int64), np.empty((m, most, size))
    rest, spare = np.zeros((beam, size)), np.zeros((beam, size))
    origin, other = np.zeros(beam, np.int64), np.zeros(beam, np.int64)
    first, centre = np.zeros(beam, np.int64), np.zeros(beam)
    new_cost = np.zeros(beam)
    candidates = np.empty(beam * width)
    for n in range(m):
        count = kept
        for a in range(kept):
            origin[a] = a
        for i in range(size - 1, -1, -1):
            for a in range(count):
                inner = centres[n, origin[a], i]
                for j in range(i + 1, size):
                    inner += unit[i, j] * rest[a, j]
                centre[a] = inner
                low = int(np.rint(min(max(inner, lo), hi))) - width // 2
                low = min(max(low, lo), hi - width + 1)
                first[a] = low
                for t in range(width):
                    off = low + t - inner
                    candidates[a * width + t] = cost[n, a] + curvature[i] * off * off
            keep = min(beam, count * width)
            limit = np.partition(candidates[: count * width], keep - 1)[keep - 1]
            taken = 0
            for strict in (True, False):
                for index in range(count * width):
                    value = candidates[index]
                    wanted = value < limit if strict else value == limit
                    if wanted and taken < keep:
                        a = index // width
                        for j in range(i + 1, size):
                            spare[taken, j] = rest[a, j]
                        spare[taken, i] = C[n, i] - (first[a] + index - a * width)
                        new_cost[taken] = value
                        other[taken] = origin[a]
                        taken += 1
            count = taken
            rest, spare = spare, rest
            origin, other = other, origin
            for a in range(count):
                cost[n, a] = new_cost[a]
        for a in range(count):
            origins[n, a] = origin[a]
            for j in range(size):
                left[n, a, j] = rest[a, j]
    return most, origins, left
