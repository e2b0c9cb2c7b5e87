"""What a proof of an upper bound speaks of, and what it consists of."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from qnn.errors import InputError
from qnn.numerics.archive import pack_arrays, read_file, unpack_arrays, write_file

Array = np.ndarray

FORMAT = 1
_WHAT = "certificate of a constraint satisfaction problem"
_TYPES: dict[str, Any] = {
    "tree": np.int32,
    "diagonals": np.float32,
    "exclusions": np.float32,
    "cut_starts": np.int32,
    "cut_entries": np.int32,
    "cut_coefficients": np.int8,
    "leaf_starts": np.int32,
    "leaf_cuts": np.int32,
    "multipliers": np.float32,
}


@dataclass(frozen=True, eq=False)
class Payoffs:
    """`value(x) = constant + Σ_i unary[i, x_i] + Σ_c tables[c, x_i, x_j]`, x in {0..k−1}ⁿ.

    unary (n, k), pairs (m, 2) int32, i ≠ j, tables (m, k, k); to be maximized.
    """

    n: int
    k: int
    constant: float
    unary: Array
    pairs: Array
    tables: Array

    def digest(self) -> str:
        """SHA-256 of n, k, constant, unary, pairs, tables, little-endian, in this order."""
        digest = hashlib.sha256()
        digest.update(np.array([self.n, self.k, len(self.pairs)], dtype="<i8").tobytes())
        digest.update(np.array([self.constant], dtype="<f8").tobytes())
        digest.update(np.ascontiguousarray(self.unary, dtype="<f8").tobytes())
        digest.update(np.ascontiguousarray(self.pairs, dtype="<i4").tobytes())
        digest.update(np.ascontiguousarray(self.tables, dtype="<f8").tobytes())
        return digest.hexdigest()


@dataclass(frozen=True, eq=False)
class CspCertificate:
    """A tree over all assignments, and of each leaf the numbers that bound its values from above.

    A variable i of k values is written as k − 1 signs, entries 1 + i (k − 1) + a of x: −1 where
    the value is a, else +1; the entry 0 of x is +1. `tree` lists the nodes in preorder: a
    variable, followed by the k subtrees in which it has the values 0..k−1, or −1, a leaf. `free`:
    the root's first variable is 0 without a node of its own, all else following from the symmetry
    of values (see the checker); else −1. Of each leaf, one after the other in the order of the
    tree, for `w` = (the fixed part, the free signs in their order): `diagonals`, one number for
    each entry of w; `exclusions`, one for each pair a < b of signs of each free variable (none if
    k = 2); and its cuts, `leaf_cuts[leaf_starts[l]:leaf_starts[l + 1]]` with `multipliers` ≥ 0.
    A cut c is an odd vector over x: `cut_entries`, `cut_coefficients` from `cut_starts[c]`.
    """

    n: int
    k: int
    problem_sha256: str
    upper_bound: float
    free: int
    tree: Array
    diagonals: Array
    exclusions: Array
    cut_starts: Array
    cut_entries: Array
    cut_coefficients: Array
    leaf_starts: Array
    leaf_cuts: Array
    multipliers: Array
    format: int = FORMAT

    @property
    def leaves(self) -> int:
        """How many the tree has."""
        return int(np.count_nonzero(self.tree == -1))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write to path as npz without pickle, under a temporary name first, then renamed."""
        write_file(path, self.to_bytes())

    def to_bytes(self) -> bytes:
        """The npz file's bytes, the same for the same certificate."""
        return pack_arrays({f.name: np.asarray(getattr(self, f.name)) for f in fields(self)})

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> CspCertificate:
        """Read a certificate; InputError where the file is not a whole one of a known format."""
        return cls.from_bytes(read_file(path, _WHAT), str(path))

    @classmethod
    def from_bytes(cls, data: bytes, where: str) -> CspCertificate:
        """The record from a file's bytes; ``where`` names their origin in errors."""
        arrays = unpack_arrays(data, where, _WHAT)
        known = {field.name for field in fields(cls)}
        if set(arrays) != known:
            odd = sorted(known ^ set(arrays))[0]
            what = "lacks" if odd in known else "has"
            raise InputError(f"{where}: not a {_WHAT}: it {what} {odd!r}")
        try:
            values = {name: _value(name, array) for name, array in arrays.items()}
        except ValueError:
            raise InputError(f"{where}: a field of the {_WHAT} has the wrong type") from None
        if values["format"] != FORMAT:
            raise InputError(
                f"{where}: format {values['format']} of a {_WHAT} is not {FORMAT}: use the version "
                "that wrote it"
            )
        return cls(**values)


def _value(name: str, array: Array) -> Any:
    if name in _TYPES:
        if array.ndim != 1 or array.dtype != _TYPES[name]:
            raise ValueError(name)
        return array
    kind = {"problem_sha256": "U", "upper_bound": "f"}.get(name, "i")
    if array.ndim != 0 or array.dtype.kind != kind:
        raise ValueError(name)
    return array.item()
