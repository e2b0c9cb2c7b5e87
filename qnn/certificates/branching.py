"""The checker's own reading of a branch and bound's leaves; it shares no code with the search.

A leaf fixes the signs s of some entries of u. Its numbers a (one of the fixed part, one of each
free entry) and b (d) prove ``u'Mv <= (sum(a) + sum(b)) / 2`` for all v and all u with these signs:
with B the row ``sum s_i M_i`` above the free rows of M and w = (1, free u),

    0 <= (w, v)' [Diag(a), -B; -B', Diag(b)] (w, v) = sum(a) + sum(b) - 2 w'Bv.

v is free, so the same holds for -u and for |u'Mv|. The leaves must cover all u, up to the sign of
u: that is decided by splitting them, again and again, on an entry that all of them fix.
"""

from collections.abc import Callable

import numpy as np

from qnn.errors import CertificateError

Array = np.ndarray

# Proves Diag(diagonal) + M' >= 0 for all M' within row sums of errors; raises where it cannot.
ProveSemidefinite = Callable[[Array, Array, Array, float], None]


def check_leaves(leaves: Array | None, diagonals: Array | None, d: int) -> None:
    """Raise CertificateError unless these are the leaves of a tree that covers all sign vectors."""
    if leaves is None or diagonals is None:
        raise CertificateError("the leaves or their diagonals are missing")
    count = len(leaves)
    if leaves.shape != (count, d) or diagonals.shape != (count, 2 * d + 1) or count == 0:
        raise CertificateError(f"leaves must be rows of {d} signs with {2 * d + 1} numbers each")
    if not np.isin(leaves, (-1, 0, 1)).all():
        raise CertificateError("a leaf's signs must be -1, 0 or +1")
    if not (np.isfinite(diagonals).all() and np.all(diagonals >= 0.0)):
        raise CertificateError("a leaf's diagonal is negative or not finite")
    common = np.all(leaves == leaves[0], axis=0) & (leaves[0] != 0)
    # u and -u give the same: one entry may have the same sign in all leaves.
    one = np.flatnonzero(common)[:1]
    _check_cover(leaves, one)


def _check_cover(leaves: Array, fixed: Array) -> None:
    pending = [(np.arange(len(leaves)), fixed)]
    while pending:
        rows, fixed = pending.pop()
        free = np.ones(leaves.shape[1], dtype=bool)
        free[fixed] = False
        part = leaves[rows][:, free]
        if len(rows) and np.any(~part.any(axis=1)):
            continue
        split = np.flatnonzero(np.all(part != 0, axis=0)) if len(rows) else np.zeros(0, dtype=int)
        if not len(split):
            raise CertificateError("the leaves do not cover all sign vectors")
        entry = np.flatnonzero(free)[split[0]]
        for sign in (1, -1):
            pending.append((rows[leaves[rows, entry] == sign], np.append(fixed, entry)))


def largest_of_leaves(
    M: Array, leaves: Array, diagonals: Array, prove: ProveSemidefinite, margin: float
) -> tuple[float, float]:
    """A number that no ``|u'Mv|`` exceeds by more than the second one, a bound of all roundings.

    M (d, d). Raises CertificateError where a leaf is not proven.
    """
    d = len(M)
    largest = 0.0
    for signs, numbers in zip(leaves, diagonals, strict=True):
        free = signs == 0
        rows = np.vstack([signs.astype(np.float64) @ M, M[free]])
        diagonal = np.concatenate([numbers[:1], numbers[1 : d + 1][free], numbers[d + 1 :]])
        size = len(diagonal)
        block = np.zeros((size, size))
        block[len(rows) :, : len(rows)] = -rows.T
        block[: len(rows), len(rows) :] = -rows
        diagonal = diagonal.astype(np.float64)
        prove(diagonal, block, np.zeros(size), margin)
        largest = max(largest, 0.5 * float(diagonal.sum()))
    # The sums of rows and of the diagonals, some d additions each.
    unit = 2.0**-53
    gamma = (2 * d + 20) * unit / (1.0 - (2 * d + 20) * unit)
    rounding = gamma * (float(np.abs(M).sum()) + 2.0 * largest)
    return largest, rounding + d * d * float(np.finfo(np.float64).tiny)
