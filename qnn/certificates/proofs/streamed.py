"""The proof of the relaxation where rows are too many to store a number for each.

For the squared loss the dual point of a problem with more rows than ``d (d + 1) / 2`` is
``nu_i = y_i - x_i' Z x_i`` for a (d, d) matrix Z, which is all that the certificate stores. The
numbers that the formula gives in floating arithmetic *are* the dual point that is proven, so its
evaluation needs no error bound; the sums over rows do, as in the checker.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np

from qnn.certificates.claim import Claim
from qnn.certificates.fields import Reader, numbers
from qnn.certificates.proofs.base import Proof
from qnn.certificates.proofs.diagonal import (
    DIAGONALS,
    check_diagonals,
    named,
    prove_diagonals,
    read_diagonals,
)
from qnn.errors import CertificateError

Array = np.ndarray


@dataclass(frozen=True, eq=False)
class StreamedProof(Proof):
    """``diagonals``: one (d,) for M and -M; ``nu_matrix`` (d, d): Z."""

    name: ClassVar[str] = "streamed"
    kind: ClassVar[str] = "relaxation"
    fields: ClassVar[Mapping[str, Reader]] = {**DIAGONALS, "nu_matrix": numbers(2)}
    compressed: ClassVar[bool] = True

    diagonals: tuple[Array, ...]
    nu_matrix: Array

    @classmethod
    def read(cls, members: Mapping[str, Any]) -> Self:
        """From the diagonal and the matrix."""
        return cls(read_diagonals(members), members["nu_matrix"])

    def members(self) -> dict[str, Any]:
        """The diagonal, the matrix, and the kind."""
        return {**named(self.diagonals), "nu_matrix": self.nu_matrix, "kind": self.kind}

    def fits(self, claim: Claim) -> None:
        """Of the squared loss, the bilinear activation and binary weights alone."""
        if claim.loss != "squared" or claim.loss_parameter is not None:
            raise CertificateError("a compressed dual point belongs to the squared loss")
        if claim.activation != "bilinear" or claim.polynomial is not None:
            raise CertificateError("a compressed dual point belongs to the bilinear activation")
        if claim.alphabet != "binary":
            raise CertificateError("a compressed dual point belongs to the binary alphabet")
        claim.check()
        d = claim.d
        if claim.weights is not None:
            raise CertificateError("a compressed dual point has no sample weights")
        if self.nu_matrix.shape != (d, d) or not np.isfinite(self.nu_matrix).all():
            raise CertificateError(f"nu_matrix must be {d} x {d} finite numbers")
        check_diagonals(self.diagonals, claim)

    def prove(self, M: Array, radius: Array, claim: Claim, margin: float) -> None:
        """Semidefinite and within the budget, both signs."""
        prove_diagonals(self.diagonals, M, radius, claim, margin)

    def dual_point(self, X: Array, y: Array) -> Array:
        """``nu`` of some rows X (k, d) with targets y (k,)."""
        return np.asarray(y - np.einsum("ij,ij->i", X @ self.nu_matrix, X))
