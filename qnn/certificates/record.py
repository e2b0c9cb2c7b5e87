"""The certificate: all that is needed to check a lower bound, and nothing else."""

from __future__ import annotations

import os
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from qnn.errors import InputError
from qnn.numerics.archive import pack_arrays, read_file, unpack_arrays, write_file

Array = np.ndarray

FORMAT = 1
_TEXTS = ("activation", "alphabet", "loss", "kind", "method", "data", "data_sha256")
_VECTORS = ("nu", "diag", "diag_positive", "diag_negative", "polynomial", "multipliers")
_MATRICES = ("nu_matrix", "cuts", "leaves", "leaf_diagonals")
_OPTIONAL = ("loss_parameter", "method", *_MATRICES, *_VECTORS[1:])


@dataclass(frozen=True, eq=False)
class Certificate:
    """A dual point whose objective bounds every network of a problem, of any width, from below.

    Bilinear: ``Diag(diag) - M(nu) >= 0``, ``Diag(diag) + M(nu) >= 0`` and ``sum(diag) <= beta d``
    with ``M(nu) = X' diag(nu) X``. Polynomial: ``Diag(diag_positive) - M >= 0`` and
    ``Diag(diag_negative) + M >= 0``, each sum within ``beta d``. Of kind "exact" there is no
    diagonal: ``|u'M(nu)v| <= beta d`` for all signs (polynomial: u = v, the last sign +1), as its
    ``method`` proves ("enumeration": by trying them; "branch_and_bound": by ``leaves`` (L, d) that
    cover them, with the numbers ``leaf_diagonals`` (L, 2d + 1) that bound each, polynomial both (L,
    size of the lift): see `qnn.certificates.branching`). Of kind "tightened", ``cuts`` (T, 2d) and
    their ``multipliers`` (T,) >= 0 join the diagonal: ``sum(diag) - sum(multipliers) <= beta d``;
    polynomial: ``cuts`` (T, size of the lift) and ``multipliers`` (2T,), first those of M and
    ``diag_positive``, then those of -M and ``diag_negative`` (see `qnn.certificates.cuts`). The
    bound is ``-g*(-nu)``, less what verified arithmetic takes off. ``nu`` (n,); ``diag`` (d,),
    the others the length of the lift. Where rows are too many to store a number for each,
    ``nu`` is empty and ``nu_matrix`` (d, d) gives it: ``nu_i = y_i - x_i' nu_matrix x_i``
    (squared loss; see `verify_stream`).
    ``data`` names the file of the training matrix, ``data_sha256`` its content.
    """

    nu: Array
    lower_bound: float
    beta: float
    d: int
    data_sha256: str
    loss: str = "squared"
    loss_parameter: float | None = None
    activation: str = "bilinear"
    polynomial: Array | None = None
    alphabet: str = "binary"
    diag: Array | None = None
    diag_positive: Array | None = None
    diag_negative: Array | None = None
    nu_matrix: Array | None = None
    cuts: Array | None = None
    multipliers: Array | None = None
    kind: str = "relaxation"
    method: str | None = None
    leaves: Array | None = None
    leaf_diagonals: Array | None = None
    output: int = 0
    data: str = ""
    format: int = FORMAT

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write to path as npz without pickle, under a temporary name first, then renamed."""
        write_file(path, self.to_bytes())

    def to_bytes(self) -> bytes:
        """The npz file's bytes, the same for the same certificate."""
        return pack_arrays(self.arrays())

    def arrays(self) -> dict[str, Array]:
        """The fields as plain arrays, those without a value left out."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: np.asarray(value) for name, value in values.items() if value is not None}

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Certificate:
        """Read a certificate; InputError where the file is not a whole one of a known format."""
        return cls.from_bytes(read_file(path, "certificate"), str(path))

    @classmethod
    def from_bytes(cls, data: bytes, where: str) -> Certificate:
        """The record from a file's bytes; ``where`` names their origin in errors."""
        return cls.from_arrays(unpack_arrays(data, where, "certificate"), where)

    @classmethod
    def from_arrays(cls, arrays: dict[str, Array], where: str) -> Certificate:
        """The record from plain arrays; ``where`` names their origin in errors."""
        known = {field.name for field in fields(cls)}
        missing = known - set(_OPTIONAL) - set(arrays)
        foreign = set(arrays) - known
        if missing or foreign:
            what = f"lacks {sorted(missing)[0]!r}" if missing else f"has {sorted(foreign)[0]!r}"
            raise InputError(f"{where}: not a certificate of format {FORMAT}: it {what}")
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


def _value(name: str, array: Array) -> Any:
    if name in (*_VECTORS, "nu_matrix"):
        if array.ndim != (2 if name == "nu_matrix" else 1) or array.dtype != np.float64:
            raise ValueError(name)
        return array
    if name == "leaf_diagonals":
        if array.ndim != 2 or array.dtype != np.float32:
            raise ValueError(name)
        return array
    if name in ("cuts", "leaves"):
        if array.ndim != 2 or array.dtype != np.int8:
            raise ValueError(name)
        return array
    if array.ndim != 0:
        raise ValueError(name)
    if name in _TEXTS:
        if array.dtype.kind != "U":
            raise ValueError(name)
        return str(array)
    if name in ("d", "output", "format"):
        if array.dtype.kind != "i":
            raise ValueError(name)
        return int(array)
    if array.dtype != np.float64:
        raise ValueError(name)
    return float(array)
