"""What a kind of proof must offer: how it stands in a file, and how it is checked."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from fractions import Fraction
from typing import Any, ClassVar, Self

import numpy as np

from qnn.certificates.claim import Claim
from qnn.certificates.fields import Reader
from qnn.errors import CertificateError

Array = np.ndarray


class Proof(ABC):
    """Why a dual point is feasible: ``|u'M(nu)v| <= beta d`` for all signs u, v.

    Of a polynomial activation ``|u'M(nu)u| <= beta d`` for all signs whose last is +1.
    """

    #: the file's name
    name: ClassVar[str] = ""
    #: what stands in a certificate's file as ``kind``, and as ``method`` where one kind has several
    kind: ClassVar[str]
    method: ClassVar[str | None] = None
    #: the members of a file that are this proof's own
    fields: ClassVar[Mapping[str, Reader]]
    #: what is said where one of them, ``name``, stands in the file of another proof
    misplaced: ClassVar[str] = "{name} does not belong to this activation, or is missing"
    #: whether the check may take hours, so that a fast one leaves it out
    long: ClassVar[bool] = False
    #: whether the dual point is computed from each row: checked in a stream, see `verify_stream`
    compressed: ClassVar[bool] = False

    @classmethod
    @abstractmethod
    def read(cls, members: Mapping[str, Any]) -> Self:
        """The proof from its own members; raises CertificateError where one is missing."""

    @abstractmethod
    def members(self) -> dict[str, Any]:
        """What a file holds of it, kind and method too, in the file's order."""

    @abstractmethod
    def fits(self, claim: Claim) -> None:
        """Raise CertificateError unless its arrays have the shapes and values they may have."""

    @abstractmethod
    def prove(self, M: Array, radius: Array, claim: Claim, margin: float) -> None:
        """Prove the bound for every M' that differs from M by row sums of at most ``radius``.

        M (D, D) symmetric, radius (D,); ``margin`` multiplies every allowance, radius included.
        Raises CertificateError where it is not proven.
        """


def prove_signs(largest: float, rounding: float, radius: Array, claim: Claim) -> None:
    """Prove that signs whose largest product is ``largest``, as computed, keep within the budget.

    ``rounding`` bounds the error of that, ``radius`` (D,) the row sums of the errors of M.
    """
    if not np.isfinite(largest + rounding):
        raise CertificateError("the bounds of the signs overflow")
    allowances = [rounding, *radius.tolist()]
    # An extra relative 2^-50 for the roundings of the radius itself.
    total = Fraction(largest) + sum(map(Fraction, allowances)) * (1 + Fraction(1, 2**50))
    if total > Fraction(claim.beta) * claim.d:
        product = "u, v exceed the budget: |u'M(nu)v|"
        if not claim.bilinear:
            product = "u exceed the budget: |u'M(nu)u|"
        raise CertificateError(f"some signs {product} > beta * d")


def checked_radius(radius: Array) -> Array:
    """The errors of M; raises CertificateError where they are not finite."""
    if not np.isfinite(radius).all():
        raise CertificateError("the errors of M overflow")
    return radius
