"""The proof of the relaxation: diagonals that dominate M and -M within the budget.

``Diag(a) - M >= 0`` gives ``u'Mu <= sum(a)`` for all signs, and with ``Diag(a) + M >= 0`` too
``|u'Mv| <= sum(a)``: u'Mv is the difference of two forms at (u + v)/2 and (u - v)/2, whose entries'
squares add up to 1. A bilinear activation has one diagonal for both, a polynomial one has one each.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np

from qnn.certificates.claim import Claim
from qnn.certificates.fields import Reader, numbers
from qnn.certificates.proofs.base import Proof
from qnn.certificates.slack import prove_budget, prove_semidefinite
from qnn.errors import CertificateError

Array = np.ndarray

# One for both signs, or first that of M, then that of -M.
DIAGONALS: Mapping[str, Reader] = {
    "diag": numbers(1),
    "diag_positive": numbers(1),
    "diag_negative": numbers(1),
}


@dataclass(frozen=True, eq=False)
class DiagonalProof(Proof):
    """``diagonals``: one (d,) for M and -M, or two (D,), that of M first."""

    name: ClassVar[str] = "diagonal"
    kind: ClassVar[str] = "relaxation"
    fields: ClassVar[Mapping[str, Reader]] = DIAGONALS

    diagonals: tuple[Array, ...]

    @classmethod
    def read(cls, members: Mapping[str, Any]) -> Self:
        """From ``diag``, or ``diag_positive`` and ``diag_negative``."""
        return cls(read_diagonals(members))

    def members(self) -> dict[str, Any]:
        """The diagonals by their names, and the kind."""
        return {**named(self.diagonals), "kind": self.kind}

    def fits(self, claim: Claim) -> None:
        """As many finite diagonals as the activation has, of M's order."""
        check_diagonals(self.diagonals, claim)

    def prove(self, M: Array, radius: Array, claim: Claim, margin: float) -> None:
        """Semidefinite and within the budget, both signs."""
        prove_diagonals(self.diagonals, M, radius, claim, margin)


def read_diagonals(members: Mapping[str, Any]) -> tuple[Array, ...]:
    """One diagonal or two, from their names; raises CertificateError for any other set of them."""
    present = [name for name in DIAGONALS if name in members]
    if present not in (["diag"], ["diag_positive", "diag_negative"]):
        rest = [name for name in DIAGONALS if name not in present]
        odd = present[1] if "diag" in present else rest[-1] if present else "diag"
        raise CertificateError(_misplaced(odd))
    return tuple(members[name] for name in present)


def named(diagonals: tuple[Array, ...]) -> dict[str, Array]:
    """The diagonals as a file has them."""
    names = ["diag"] if len(diagonals) == 1 else ["diag_positive", "diag_negative"]
    return dict(zip(names, diagonals, strict=True))


def check_diagonals(diagonals: tuple[Array, ...], claim: Claim) -> None:
    """Raise CertificateError unless they belong to the claim's activation and are finite."""
    if len(diagonals) != (1 if claim.bilinear else 2):
        raise CertificateError(_misplaced("diag"))
    for name, a in named(diagonals).items():
        if not (a.shape == (claim.size,) and np.isfinite(a).all()):
            raise CertificateError(f"{name} must be {claim.size} finite numbers")


def slacks(diagonals: tuple[Array, ...]) -> list[tuple[Array, float]]:
    """The pairs (a, s) whose ``Diag(a) + s M`` must be semidefinite."""
    return [(diagonals[0], -1.0), (diagonals[-1], 1.0)]


def prove_diagonals(
    diagonals: tuple[Array, ...], M: Array, radius: Array, claim: Claim, margin: float
) -> None:
    """Prove both slacks semidefinite and the diagonals within the budget; as `Proof.prove`."""
    for a, sign in slacks(diagonals):
        prove_semidefinite(a, sign * M, margin * radius, margin)
        prove_budget(a, claim.beta, claim.d)


def _misplaced(name: str) -> str:
    return DiagonalProof.misplaced.format(name=name)
