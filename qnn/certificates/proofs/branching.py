"""The proof of the exact optimum by a branch and bound's leaves, each with a bound of its own.

Bilinear activation: a leaf fixes the signs s of some entries of u. Its numbers a (one of the fixed
part, one of each free entry) and b (d) prove ``u'Mv <= (sum(a) + sum(b)) / 2`` for all v and all u
with these signs: with B the row ``sum s_i M_i`` above the free rows of M and w = (1, free u),

    0 <= (w, v)' [Diag(a), -B; -B', Diag(b)] (w, v) = sum(a) + sum(b) - 2 w'Bv.

v is free, so the same holds for -u and for |u'Mv|. The leaves must cover all u, up to the sign of
u: that is decided by splitting them, again and again, on an entry that all of them fix.

Polynomial activation: u has a last entry of +1. In its place a leaf says whether it bounds M (+1)
or -M (-1), here tM; it fixes signs of some of the other entries, and its numbers a >= 0 (one of
the fixed part, one of each free entry) prove ``tu'Mu <= tr B + sum(a)`` for all u with these signs:
with S the fixed signs as one column beside the free entries, B = tS'MS and w = (1, free u),

    0 <= w' [Diag(a) + Diag(diag B) - B] w = sum(a) + tr B - w'Bw.

The leaves of each t must cover all u, up to the sign of u where sigma is even.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np

from qnn.certificates.claim import Claim
from qnn.certificates.fields import Reader, numbers
from qnn.certificates.proofs.base import Proof, checked_radius, prove_signs
from qnn.certificates.slack import prove_semidefinite
from qnn.errors import CertificateError
from qnn.numerics.floating import TINY, gamma

Array = np.ndarray

# Proves Diag(diagonal) + M' >= 0 for all M' within row sums of errors; raises where it cannot.
ProveSemidefinite = Callable[[Array, Array, Array, float], None]


@dataclass(frozen=True, eq=False)
class BranchingProof(Proof):
    """``leaves`` (L, d) int8 that cover all signs, ``leaf_diagonals`` (L, 2d + 1) float32.

    Of a polynomial activation both (L, D).
    """

    name: ClassVar[str] = "branching"
    kind: ClassVar[str] = "exact"
    method: ClassVar[str] = "branch_and_bound"
    fields: ClassVar[Mapping[str, Reader]] = {
        "leaves": numbers(2, np.int8),
        "leaf_diagonals": numbers(2, np.float32),
    }
    misplaced: ClassVar[str] = "leaves do not belong to the method {method!r}"

    leaves: Array
    leaf_diagonals: Array

    @classmethod
    def read(cls, members: Mapping[str, Any]) -> Self:
        """From ``leaves`` and ``leaf_diagonals``."""
        if "leaves" not in members or "leaf_diagonals" not in members:
            raise CertificateError("the leaves or their diagonals are missing")
        return cls(members["leaves"], members["leaf_diagonals"])

    def members(self) -> dict[str, Any]:
        """The kind and the method, the leaves and their numbers."""
        own = {"leaves": self.leaves, "leaf_diagonals": self.leaf_diagonals}
        return {"kind": self.kind, "method": self.method, **own}

    def fits(self, claim: Claim) -> None:
        """The leaves cover all signs, and their numbers are finite and nonnegative."""
        if claim.bilinear:
            check_leaves(self.leaves, self.leaf_diagonals, claim.d)
            return
        template = claim.template
        even = template is not None and template[1] == 0.0
        check_form_leaves(self.leaves, self.leaf_diagonals, claim.size, even)

    def prove(self, M: Array, radius: Array, claim: Claim, margin: float) -> None:
        """Leaf by leaf; the largest of their bounds is within the budget."""
        radius = checked_radius(margin * radius)
        largest_of = largest_of_leaves if claim.bilinear else largest_of_form_leaves
        found, rounding = largest_of(
            M, self.leaves, self.leaf_diagonals, prove_semidefinite, margin
        )
        prove_signs(found, margin * rounding, radius, claim)


def check_leaves(leaves: Array, diagonals: Array, d: int) -> None:
    """Raise CertificateError unless these are the leaves of a tree that covers all sign vectors."""
    check_cover(_well_formed(leaves, diagonals, d, 2 * d + 1), symmetric=True)


def check_form_leaves(leaves: Array, diagonals: Array, size: int, even: bool) -> None:
    """The same for forms, of ``size`` entries with the last; ``even``: u and -u give the same."""
    leaves = _well_formed(leaves, diagonals, size, size)
    if not leaves[:, -1].all():
        raise CertificateError("a leaf does not say whether it is one of M or of -M")
    for side in (1, -1):
        check_cover(leaves[leaves[:, -1] == side, :-1], symmetric=even)


def _well_formed(leaves: Array, diagonals: Array, width: int, entries: int) -> Array:
    count = len(leaves)
    if leaves.shape != (count, width) or diagonals.shape != (count, entries) or count == 0:
        raise CertificateError(f"leaves must be rows of {width} signs with {entries} numbers each")
    if not np.isin(leaves, (-1, 0, 1)).all():
        raise CertificateError("a leaf's signs must be -1, 0 or +1")
    if not (np.isfinite(diagonals).all() and np.all(diagonals >= 0.0)):
        raise CertificateError("a leaf's diagonal is negative or not finite")
    return leaves


def check_cover(leaves: Array, symmetric: bool) -> None:
    """Raise unless every vector, or where ``symmetric`` it or its negative, fits a leaf."""
    common = np.all(leaves == leaves[:1], axis=0) & leaves.any(axis=0)
    # Where u and -u give the same, one entry may have the same sign in all leaves.
    pending = [(np.arange(len(leaves)), np.flatnonzero(common)[: int(symmetric)])]
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
    for signs, values in zip(leaves, diagonals, strict=True):
        free = signs == 0
        rows = np.vstack([signs.astype(np.float64) @ M, M[free]])
        diagonal = np.concatenate([values[:1], values[1 : d + 1][free], values[d + 1 :]])
        size = len(diagonal)
        block = np.zeros((size, size))
        block[len(rows) :, : len(rows)] = -rows.T
        block[: len(rows), len(rows) :] = -rows
        diagonal = diagonal.astype(np.float64)
        prove(diagonal, block, np.zeros(size), margin)
        largest = max(largest, 0.5 * float(diagonal.sum()))
    # The sums of rows and of the diagonals, some d additions each.
    rounding = gamma(2 * d + 20) * (float(np.abs(M).sum()) + 2.0 * largest)
    return largest, rounding + d * d * TINY


def largest_of_form_leaves(
    M: Array, leaves: Array, diagonals: Array, prove: ProveSemidefinite, margin: float
) -> tuple[float, float]:
    """A number that no ``|u'Mu|`` exceeds by more than the second one, a bound of all roundings.

    M (D, D), the last entry of u being +1. Raises CertificateError where a leaf is not proven.
    """
    size = len(M)
    largest = spent = 0.0
    for signs, values in zip(leaves, diagonals, strict=True):
        side = float(signs[-1])
        s = signs.astype(np.float64)
        s[-1] = 1.0
        free = np.flatnonzero(signs == 0)
        row = s @ M
        block = np.zeros((len(free) + 1, len(free) + 1))
        block[0, 1:] = block[1:, 0] = -side * row[free]
        block[1:, 1:] = -side * M[np.ix_(free, free)]
        trace = side * (float(row @ s) + float(M[free, free].sum()))
        np.fill_diagonal(block, 0.0)
        diagonal = values[np.append(0, free + 1)].astype(np.float64)
        prove(diagonal, block, np.zeros(len(block)), margin)
        total = float(diagonal.sum())
        largest, spent = max(largest, trace + total), max(spent, total)
    # Sums of at most D^2 entries of M, row by row, for the trace, D of them for each entry of B's
    # first row and column, and the sums of the diagonal.
    rounding = gamma(4 * size + 20) * (4.0 * float(np.abs(M).sum()) + 2.0 * spent)
    return largest, rounding + size * size * TINY
