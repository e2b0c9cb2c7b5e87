"""The record of a proof about a behaviour or a Bell functional, and its npz file, no pickle."""

from __future__ import annotations

import os
from dataclasses import dataclass, fields
from typing import Any, ClassVar

import numpy as np

from qnn.errors import InputError
from qnn.numerics.archive import pack_arrays, read_file, unpack_arrays, write_file

Array = np.ndarray

FORMAT = 1
CLAIMS = ("inside", "outside", "maximum")
_TEXTS = ("claim", "scenario", "level", "bound")
_VECTORS = {"behaviour": 1, "moments": 1, "matrix": 2}


@dataclass(frozen=True, eq=False)
class MomentCertificate:
    """What proves a claim about a level of moment matrices of a Bell scenario.

    ``claim`` is

    * "inside": with the free ``moments`` (f,), the moment matrix of ``behaviour`` (p,) at the gauge
      ``bound`` is positive definite, so the gauge is at most that, and that is at most 1;
    * "outside": ``matrix`` (n, n), symmetric and positive definite, proves the gauge to be at least
      ``bound``, above 1;
    * "maximum": ``matrix`` proves that no behaviour of the level has a value above ``bound`` of the
      functional ``constant + behaviour . b``, whose coefficients stand in ``behaviour``.

    ``bound`` is a decimal or a fraction "p/q", exact as it stands. The arrays are what
    `qnn.certificates.moments.proofs` calls b, m and Y.
    """

    claim: str
    scenario: str
    level: str
    behaviour: Array
    bound: str
    moments: Array | None = None
    matrix: Array | None = None
    constant: float = 0.0
    format: int = FORMAT

    kind: ClassVar[str] = "moments"
    # The file names the behaviour, or the functional, that it speaks of.
    evidence: ClassVar[str | None] = None

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write to path as npz without pickle, under a temporary name first, then renamed."""
        write_file(path, self.to_bytes())

    def to_bytes(self) -> bytes:
        """The npz file's bytes, the same for the same certificate."""
        return pack_arrays(self.arrays())

    def arrays(self) -> dict[str, Array]:
        """The kind, and the fields as plain arrays, those without a value left out."""
        values = {"kind": self.kind} | {
            field.name: getattr(self, field.name) for field in fields(self)
        }
        return {name: np.asarray(value) for name, value in values.items() if value is not None}

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> MomentCertificate:
        """Read a certificate; InputError where the file is not a whole one of a known format."""
        return cls.from_bytes(read_file(path, "certificate"), str(path))

    @classmethod
    def from_bytes(cls, data: bytes, where: str) -> MomentCertificate:
        """The record from a file's bytes; ``where`` names their origin in errors."""
        return cls.from_arrays(unpack_arrays(data, where, "certificate"), where)

    @classmethod
    def from_arrays(cls, arrays: dict[str, Array], where: str) -> MomentCertificate:
        """The record from plain arrays; ``where`` names their origin in errors."""
        known = {field.name for field in fields(cls)}
        arrays = {name: array for name, array in arrays.items() if name != "kind"}
        missing = known - {"moments", "matrix"} - set(arrays)
        foreign = set(arrays) - known
        if missing or foreign:
            what = f"lacks {sorted(missing)[0]!r}" if missing else f"has {sorted(foreign)[0]!r}"
            raise InputError(f"{where}: not a certificate of moments, format {FORMAT}: it {what}")
        try:
            values = {name: _value(name, array) for name, array in arrays.items()}
        except (TypeError, ValueError):
            raise InputError(f"{where}: a field of the certificate has the wrong type") from None
        if values["format"] != FORMAT:
            raise InputError(
                f"{where}: certificate format {values['format']} is not {FORMAT}: use the version "
                "that wrote it"
            )
        return cls(**values)


    def check(self, evidence: bytes | None = None, fast: bool = False) -> str:
        """What is proven, in a few words; CertificateError where anything is not."""
        from qnn.certificates.moments.checker import verify_moments

        bound = float(verify_moments(self))
        where = f"level {self.level} of {self.scenario}"
        if self.claim == "maximum":
            return f"at most {bound:.10g} on {where}"
        sign = "<=" if self.claim == "inside" else ">="
        return f"{self.claim} {where}: gauge {sign} {bound:.10g}"

    def verify(self, *evidence: Any, fast: bool = False) -> float:
        """The proven bound, as a float; ``evidence``: the behaviour (p,), where it is at hand."""
        from qnn.certificates.moments.checker import verify_moments

        return float(verify_moments(self, *evidence))


def _value(name: str, array: Array) -> Any:
    kind = "U" if name in _TEXTS else "i" if name == "format" else "f"
    if array.dtype.kind != kind or array.ndim != _VECTORS.get(name, 0):
        raise ValueError(name)
    if name in _VECTORS or kind == "f":
        if array.dtype != np.float64:
            raise ValueError(name)
        return array if name in _VECTORS else float(array)
    return str(array) if kind == "U" else int(array)
