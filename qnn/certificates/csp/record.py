"""The record of a proof of an upper bound: its file, and the checker behind it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import numpy as np

from qnn.certificates.csp.checker import verify_csp
from qnn.certificates.csp.layout import CspProof
from qnn.certificates.csp.packing import pack, unpack
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
# Format 2: `words`, what is packed, and `reals`, the diagonals and then the exclusions.
_PACKED: dict[str, Reader] = {
    "words": numbers(1, np.uint8),
    "reals": numbers(1, np.float32),
}
_SCALARS = ("n", "k", "problem_sha256", "upper_bound", "free", "format")


@dataclass(frozen=True, eq=False)
class CspCertificate(CspProof, FieldByField):
    """A proof (see `CspProof`) with its file; its evidence is the file of the `Payoffs`."""

    kind: ClassVar[str] = "csp"
    evidence: ClassVar[str | None] = "problem"
    claims: ClassVar[str] = "a problem's bound"
    version: ClassVar[int] = 1
    readers: ClassVar[Mapping[str, Reader]] = _READERS

    def arrays(self) -> dict[str, np.ndarray]:
        """The file's members; InputError where format 2 cannot hold the numbers."""
        if self.format == 1:
            return super().arrays()
        try:
            words = pack(self)
        except ValueError as error:
            raise InputError(f"the certificate cannot be packed: {error}") from None
        reals = np.concatenate([self.diagonals, self.exclusions])
        scalars = {name: np.asarray(getattr(self, name)) for name in _SCALARS}
        return {"kind": np.asarray(self.kind), **scalars, "words": words, "reals": reals}

    @classmethod
    def from_arrays(cls, arrays: dict[str, np.ndarray], where: str) -> Self:
        """The record from the members of a file of either format."""
        if "words" not in arrays:
            return super().from_arrays(arrays, where)
        return replace(super().from_arrays(_unpacked(arrays, where), where), format=2)

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


def _unpacked(arrays: dict[str, np.ndarray], where: str) -> dict[str, np.ndarray]:
    """The members of a file of format 2 as those of format 1; InputError for foreign ones."""
    odd = sorted(set(arrays) ^ {"kind", *_SCALARS, *_PACKED})
    if odd:
        what = "has" if odd[0] in arrays else "lacks"
        claims = CspCertificate.claims
        raise InputError(f"{where}: not a certificate of {claims}: it {what} {odd[0]!r}")
    try:
        words, reals = (read(arrays[name]) for name, read in _PACKED.items())
        fields = unpack(words)
        split = fields.pop("split")
        if split > len(reals) or integer(arrays["format"]) != 2:
            raise ValueError("they are not laid out as in format 2")
    except ValueError as error:
        raise InputError(f"{where}: the certificate's numbers cannot be read: {error}") from None
    scalars = {name: arrays[name] for name in ("kind", *_SCALARS)} | {"format": np.asarray(1)}
    return {**scalars, "diagonals": reals[:split], "exclusions": reals[split:], **fields}
