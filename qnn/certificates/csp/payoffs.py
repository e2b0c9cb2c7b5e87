"""The payoffs that a proof speaks of: a problem over pairs of variables, and its file."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass

import numpy as np

from qnn.errors import InputError
from qnn.numerics.archive import pack_arrays, read_bytes, unpack_arrays, write_file

Array = np.ndarray

_WHAT = "problem"
_DTYPES = {"unary": np.float64, "pairs": np.int32, "tables": np.float64}


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

    def to_bytes(self) -> bytes:
        """An npz file without pickle, the same bytes for the same payoffs."""
        arrays = {"n": np.asarray(self.n), "k": np.asarray(self.k)}
        arrays["constant"] = np.asarray(self.constant, dtype=np.float64)
        for name, dtype in _DTYPES.items():
            arrays[name] = np.ascontiguousarray(getattr(self, name), dtype=dtype)
        return pack_arrays(arrays)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the file under a temporary name first, then renamed."""
        write_file(path, self.to_bytes())

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Payoffs:
        """Read a file; InputError where it is not a whole one."""
        return cls.from_bytes(read_bytes(path, _WHAT), str(path))

    @classmethod
    def from_bytes(cls, data: bytes, where: str) -> Payoffs:
        """The payoffs of a file; ``where`` names it in errors. Shapes are for the checker."""
        arrays = unpack_arrays(data, where, _WHAT)
        if set(arrays) != {"n", "k", "constant", *_DTYPES}:
            raise InputError(f"{where}: not the file of a constraint satisfaction problem")
        n, k, constant = (arrays[name] for name in ("n", "k", "constant"))
        good = all(arrays[name].dtype == dtype for name, dtype in _DTYPES.items())
        good = good and [arrays[name].ndim for name in _DTYPES] == [2, 2, 3]
        scalars = (n.ndim, k.ndim, constant.ndim) == (0, 0, 0)
        if not (good and scalars and n.dtype.kind == k.dtype.kind == "i"):
            raise InputError(f"{where}: a field of the problem has the wrong type")
        if constant.dtype != np.float64:
            raise InputError(f"{where}: a field of the problem has the wrong type")
        rest = (arrays[name] for name in _DTYPES)
        return cls(int(n), int(k), float(constant), *rest)
