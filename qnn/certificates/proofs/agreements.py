"""The proof of kind "tightened" over leaves: inequalities, once it is said where u and v agree.

A leaf says of some entries whether ``u_i = v_i`` (+1) or ``u_i = -v_i`` (-1), of the others (0)
nothing. With its own diagonal a, multipliers tau >= 0 of inequalities ``b = (p, q)`` and the names
of `cuts.py` beside this file,

    S_P = Diag(a) - sum tau cc' - M >= 0 without the rows and columns where the leaf has -1,
    S_N = Diag(a) - sum tau ee' + M >= 0 without those where it has +1

prove ``u'Mv <= sum(a) - sum(tau)`` for the signs of the leaf: ``P = (u+v)(u+v)'/4`` has nothing in
the former rows, ``N = (u-v)(u-v)'/4`` nothing in the latter, so that ``0 <= <S_P, P> + <S_N, N>``
as before. The leaves must cover all sign vectors ``(u_i v_i)``. For -u'Mv take -v for v: these
signs have a leaf, too. So the largest of the leaves' bounds is one of ``|u'Mv|``.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np

from qnn.certificates.claim import Claim
from qnn.certificates.fields import Reader, numbers
from qnn.certificates.proofs.base import Proof, checked_radius
from qnn.certificates.proofs.branching import check_cover
from qnn.certificates.proofs.cuts import check_cuts, cut_sums
from qnn.certificates.slack import prove_budget, prove_semidefinite
from qnn.errors import CertificateError
from qnn.numerics.floating import UNIT

Array = np.ndarray


@dataclass(frozen=True, eq=False)
class AgreementsProof(Proof):
    """``leaves`` (L, d) int8 with their ``diagonals`` (L, d), and which cuts each uses.

    ``vectors`` (T, 2d) int8: the inequalities of all leaves. Leaf l has those with the numbers
    ``used[starts[l]:starts[l + 1]]``, and for each a multiplier >= 0. starts (L + 1,) int32, used
    (K,) int32, multipliers (K,).
    """

    name: ClassVar[str] = "agreements"
    kind: ClassVar[str] = "tightened"
    method: ClassVar[str] = "agreements"
    fields: ClassVar[Mapping[str, Reader]] = {
        "leaves": numbers(2, np.int8),
        "diagonals": numbers(2),
        "leaf_starts": numbers(1, np.int32),
        "leaf_cuts": numbers(1, np.int32),
        "leaf_multipliers": numbers(1),
        "cuts": numbers(2, np.int8),
    }
    misplaced: ClassVar[str] = "{name} belongs to the method agreements"

    leaves: Array
    diagonals: Array
    starts: Array
    used: Array
    multipliers: Array
    vectors: Array

    @classmethod
    def read(cls, members: Mapping[str, Any]) -> Self:
        """From the six members; raises CertificateError where one is missing."""
        missing = sorted(set(cls.fields) - set(members))
        if missing:
            raise CertificateError(f"the leaves lack {missing[0]!r}")
        return cls(*(members[name] for name in cls.fields))

    def members(self) -> dict[str, Any]:
        """The kind, the method, and the leaves with their numbers."""
        own = (
            self.leaves,
            self.diagonals,
            self.starts,
            self.used,
            self.multipliers,
            self.vectors,
        )
        return {
            "kind": self.kind,
            "method": self.method,
            **dict(zip(self.fields, own, strict=True)),
        }

    def fits(self, claim: Claim) -> None:
        """The leaves cover all signs, the inequalities are true, the multipliers nonnegative."""
        count, d = len(self.leaves), claim.d
        if not claim.bilinear:
            raise CertificateError("leaves of agreements belong to the bilinear activation")
        if count == 0 or self.leaves.shape != (count, d) or self.diagonals.shape != (count, d):
            raise CertificateError(f"leaves must be rows of {d} signs with {d} numbers each")
        if not np.isin(self.leaves, (-1, 0, 1)).all():
            raise CertificateError("a leaf's signs must be -1, 0 or +1")
        if not np.isfinite(self.diagonals).all():
            raise CertificateError("a leaf's diagonal is not finite")
        self._check_uses(count)
        check_cover(self.leaves, symmetric=False)
        check_cuts(self.vectors, np.zeros(len(self.vectors)), 2 * d, common=True)

    def _check_uses(self, count: int) -> None:
        starts, used, tau = self.starts, self.used, self.multipliers
        steps = np.diff(starts.astype(np.int64))
        if starts.shape != (count + 1,) or starts[0] != 0 or np.any(steps < 0):
            raise CertificateError("the leaves' inequalities do not follow each other")
        if starts[-1] != len(used) or used.shape != tau.shape:
            raise CertificateError("the leaves' inequalities and multipliers differ in number")
        if np.any(used < 0) or np.any(used >= len(self.vectors)):
            raise CertificateError("a leaf uses an inequality that is not there")
        if not (np.isfinite(tau).all() and np.all(tau >= 0.0)):
            raise CertificateError("a multiplier is negative or not finite")

    def prove(self, M: Array, radius: Array, claim: Claim, margin: float) -> None:
        """Leaf by leaf: both slacks semidefinite, and within the budget less the multipliers."""
        radius = checked_radius(radius)
        for leaf, signs in enumerate(self.leaves):
            own = slice(self.starts[leaf], self.starts[leaf + 1])
            tau = self.multipliers[own]
            a = self.diagonals[leaf]
            K_P, K_N, error = cut_sums(self.vectors[self.used[own]], tau, claim.d)
            for sign, K, stays in ((-1.0, K_P, signs >= 0), (1.0, K_N, signs <= 0)):
                if not stays.any():
                    continue
                # One more rounding in each entry of the sum; row sums of all columns.
                rounding = 4.0 * UNIT * (np.abs(K) + np.abs(M)).sum(axis=1)
                part, rest = np.ix_(stays, stays), margin * (radius + error + rounding)
                prove_semidefinite(a[stays], (sign * M - K)[part], rest[stays], margin)
            prove_budget(np.concatenate([a, -tau]), claim.beta, claim.d)
