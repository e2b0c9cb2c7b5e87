"""The record of a proof of an upper bound: its file, and the checker behind it."""

from __future__ import annotations

import os
from dataclasses import dataclass, fields
from typing import Any, ClassVar

import numpy as np

from qnn.certificates.csp.checker import verify_csp
from qnn.certificates.csp.layout import FORMAT, CspProof
from qnn.certificates.csp.payoffs import Payoffs
from qnn.certificates.fields import Reader, integer, number, numbers, text
from qnn.errors import CertificateError, InputError
from qnn.numerics.archive import pack_arrays, read_file, unpack_arrays, write_file

Array = np.ndarray

_WHAT = "certificate"
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
class CspCertificate(CspProof):
    """A proof (see `CspProof`) with its file; its evidence is the file of the `Payoffs`."""

    kind: ClassVar[str] = "csp"
    evidence: ClassVar[str | None] = "problem"

    def arrays(self) -> dict[str, Array]:
        """The kind, then the fields as plain arrays."""
        return {"kind": np.asarray(self.kind)} | {
            field.name: np.asarray(getattr(self, field.name)) for field in fields(self)
        }

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write to path as npz without pickle, under a temporary name first, then renamed."""
        write_file(path, self.to_bytes())

    def to_bytes(self) -> bytes:
        """The npz file's bytes, the same for the same certificate."""
        return pack_arrays(self.arrays())

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> CspCertificate:
        """Read a certificate; InputError where the file is not a whole one of a known format."""
        return cls.from_bytes(read_file(path, _WHAT), str(path))

    @classmethod
    def from_bytes(cls, data: bytes, where: str) -> CspCertificate:
        """The record from a file's bytes; ``where`` names their origin in errors."""
        return cls.from_arrays(unpack_arrays(data, where, _WHAT), where)

    @classmethod
    def from_arrays(cls, arrays: dict[str, Array], where: str) -> CspCertificate:
        """The record from plain arrays; ``where`` names their origin in errors."""
        odd = sorted(set(arrays) ^ {"kind", *_READERS})
        if odd:
            what = "has" if odd[0] in arrays else "lacks"
            raise InputError(
                f"{where}: not a certificate of a problem's bound: it {what} {odd[0]!r}"
            )
        try:
            kind = text(arrays["kind"])
            values: dict[str, Any] = {name: read(arrays[name]) for name, read in _READERS.items()}
        except ValueError:
            raise InputError(f"{where}: a field of the certificate has the wrong type") from None
        if kind != cls.kind or values["format"] != FORMAT:
            raise InputError(
                f"{where}: certificate {kind!r} of format {values['format']} is not "
                f"{cls.kind!r} of format {FORMAT}: use the version that wrote it"
            )
        return cls(**values)

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
