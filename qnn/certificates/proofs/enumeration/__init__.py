"""The proof of the exact optimum that stores nothing: the checker tries all signs itself."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np

from qnn.certificates.claim import Claim
from qnn.certificates.fields import Reader
from qnn.certificates.proofs.base import Proof, checked_radius, prove_signs

__all__ = ["EnumerationProof", "sign_form", "sign_norm"]

Array = np.ndarray


@dataclass(frozen=True, eq=False)
class EnumerationProof(Proof):
    """``max |u'Mv|`` over all signs, or ``max |u'Mu|`` with the last sign +1, is computed again."""

    name: ClassVar[str] = "enumeration"
    kind: ClassVar[str] = "exact"
    method: ClassVar[str] = "enumeration"
    fields: ClassVar[Mapping[str, Reader]] = {}
    long: ClassVar[bool] = True

    @classmethod
    def read(cls, members: Mapping[str, Any]) -> Self:
        """Nothing to read."""
        return cls()

    def members(self) -> dict[str, Any]:
        """The kind and the method."""
        return {"kind": self.kind, "method": self.method}

    def fits(self, claim: Claim) -> None:
        """Always."""

    def prove(self, M: Array, radius: Array, claim: Claim, margin: float) -> None:
        """Some 2^D steps: what is found, and the bounds of its errors, are within the budget."""
        radius = checked_radius(margin * radius)
        found, rounding = _enumerated(M, claim.bilinear)
        prove_signs(found, margin * rounding, radius, claim)


def _enumerated(M: Array, pairs: bool) -> tuple[float, float]:
    # Only here: the compiler takes a second to import, and other proofs do not need it.
    from qnn.certificates.proofs.enumeration.sign_form import largest_sign_form
    from qnn.certificates.proofs.enumeration.sign_norm import largest_sign_product

    return largest_sign_product(M) if pairs else largest_sign_form(M)
