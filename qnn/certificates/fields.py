"""The members of certificates' files, read strictly, and what every record with a file has."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any, ClassVar, Self

import numpy as np

from qnn.errors import InputError
from qnn.numerics.archive import pack_arrays, read_bytes, unpack_arrays, write_file

Array = np.ndarray

# From a member to its value; raises ValueError where it is of another type.
Reader = Callable[[Array], Any]


def text(array: Array) -> str:
    """One text."""
    if array.ndim != 0 or array.dtype.kind != "U":
        raise ValueError("not a text")
    return str(array)


def integer(array: Array) -> int:
    """One whole number."""
    if array.ndim != 0 or array.dtype.kind != "i":
        raise ValueError("not a whole number")
    return int(array)


def number(array: Array) -> float:
    """One float64."""
    if array.ndim != 0 or array.dtype != np.float64:
        raise ValueError("not a float64")
    return float(array)


def numbers(ndim: int, dtype: Any = np.float64) -> Reader:
    """An array of this many axes and this type."""

    def read(array: Array) -> Array:
        if array.ndim != ndim or array.dtype != dtype:
            raise ValueError("not an array of this kind")
        return array

    return read


class Filed(ABC):
    """A record and its npz file; a subclass says which members the file has."""

    @abstractmethod
    def arrays(self) -> dict[str, Array]:
        """The file's members in their order, as plain arrays."""

    @classmethod
    @abstractmethod
    def from_arrays(cls, arrays: dict[str, Array], where: str) -> Self:
        """The record from plain arrays; ``where`` names their origin in errors.

        Raises InputError for a missing, foreign or mistyped one.
        """

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write to path as npz without pickle, under a temporary name first, then renamed."""
        write_file(path, self.to_bytes())

    def to_bytes(self) -> bytes:
        """The npz file's bytes, the same for the same record."""
        return pack_arrays(self.arrays())

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Read a record; InputError where the file is not a whole one of a known format."""
        return cls.from_bytes(read_bytes(path, "certificate"), str(path))

    @classmethod
    def from_bytes(cls, data: bytes, where: str = "certificate") -> Self:
        """The record from a file's bytes; ``where`` names their origin in errors."""
        return cls.from_arrays(unpack_arrays(data, where, "certificate"), where)


class FieldByField(Filed):
    """A dataclass whose file has its kind, then every field, as ``readers`` read them.

    ``claims``: what it is a certificate of, in a word or two; ``version``: of its format.
    """

    kind: ClassVar[str]
    claims: ClassVar[str]
    version: ClassVar[int]
    readers: ClassVar[Mapping[str, Reader]]

    def arrays(self) -> dict[str, Array]:
        """The kind, then the fields as plain arrays."""
        # Each kind is a dataclass; this class alone is none, as it has no fields.
        names = (field.name for field in fields(self))  # type: ignore[arg-type]
        return {"kind": np.asarray(self.kind)} | {
            name: np.asarray(getattr(self, name)) for name in names
        }

    @classmethod
    def from_arrays(cls, arrays: dict[str, Array], where: str) -> Self:
        """The record from plain arrays; ``where`` names their origin in errors."""
        odd = sorted(set(arrays) ^ {"kind", *cls.readers})
        if odd:
            what = "has" if odd[0] in arrays else "lacks"
            raise InputError(f"{where}: not a certificate of {cls.claims}: it {what} {odd[0]!r}")
        try:
            kind = text(arrays["kind"])
            values: dict[str, Any] = {
                name: read(arrays[name]) for name, read in cls.readers.items()
            }
        except ValueError:
            raise InputError(f"{where}: a field of the certificate has the wrong type") from None
        if kind != cls.kind or values["format"] != cls.version:
            raise InputError(
                f"{where}: certificate {kind!r} of format {values['format']} is not "
                f"{cls.kind!r} of format {cls.version}: use the version that wrote it"
            )
        return cls(**values)
