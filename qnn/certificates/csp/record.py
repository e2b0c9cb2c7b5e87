"""The record of a proof of an upper bound: its file, and the checker behind it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from qnn.certificates.csp.checker import verify_csp
from qnn.certificates.csp.layout import FORMAT, CspProof
from qnn.certificates.csp.payoffs import Payoffs
from qnn.certificates.fields import FieldByField, Reader, integer, number, numbers, text
from qnn.errors import CertificateError, InputError

_READERS: dict[str, Reader] = {
    "n": integer,
    "k": integer,
    "problem_sha256": text,
    "upper_bound": number,
    "free": integer,
    "tree": numbers(1, np.int32),
    "diagonals": numbers(1, np.float32),
    "exclusions": numbers(1, np.float32),
    "cut_starts": numbers(1, np.int32),
    "cut_entries": numbers(1, np.int32),
    "cut_coefficients": numbers(1, np.int8),
    "leaf_starts": numbers(1, np.int32),
    "leaf_cuts": numbers(1, np.int32),
    "multipliers": numbers(1, np.float32),
    "format": integer,
}


@dataclass(frozen=True, eq=False)
class CspCertificate(CspProof, FieldByField):
    """A proof (see `CspProof`) with its file; its evidence is the file of the `Payoffs`."""

    kind: ClassVar[str] = "csp"
    evidence: ClassVar[str | None] = "problem"
    claims: ClassVar[str] = "a problem's bound"
    version: ClassVar[int] = FORMAT
    readers: ClassVar[Mapping[str, Reader]] = _READERS

    def check(self, evidence: bytes | None, fast: bool = False) -> str:
        """What is proven of the problem whose file's bytes these are; fast is the same."""
        if evidence is None:
            raise CertificateError("it is about a problem: its file is needed")
        try:
            payoffs = Payoffs.from_bytes(evidence, "the problem")
        except InputError as error:
            raise CertificateError(str(error)) from None
        return f"value <= {self.verify(payoffs, fast=fast)!r} ({self.leaves} leaves)"

    def verify(self, *evidence: Any, fast: bool = False) -> float:
        """The proven upper bound; evidence: the `Payoffs`."""
        (payoffs,) = evidence
        return verify_csp(self, payoffs)
