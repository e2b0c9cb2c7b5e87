"""The record of a layer's proof with its file, the rows' file, and the checker behind it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from qnn.certificates.fields import FieldByField, Reader, integer, numbers, text
from qnn.certificates.layers.checker import LayerProof, verify_layer
from qnn.certificates.layers.layout import FORMAT, LayerClaim
from qnn.errors import CertificateError, InputError
from qnn.numerics.archive import pack_arrays, read_bytes, unpack_arrays, write_file

Array = np.ndarray

LAYER_SUFFIX, ROWS_SUFFIX = ".layer.npz", ".rows.npz"
_ROWS = "layer's rows"
_READERS: dict[str, Reader] = {
    "layer": text,
    "data_sha256": text,
    "target": numbers(2),
    "rho": numbers(1),
    "bits": numbers(1, np.int64),
    "scale": numbers(1),
    "codes": numbers(2, np.int8),
    "value": numbers(1),
    "bound": numbers(1),
    "state": numbers(1, np.int64),
    "square": numbers(2),
    "linear": numbers(2),
    "order": numbers(2, np.int64),
    "edges": numbers(1),
    "edge_counts": numbers(1, np.int64),
    "nodes": numbers(1, np.int64),
    "format": integer,
}


@dataclass(frozen=True, eq=False)
class LayerCertificate(LayerClaim, FieldByField):
    """A layer's proof (see `LayerClaim`) with its file; its evidence is the file of its rows."""

    kind: ClassVar[str] = "layers"
    evidence: ClassVar[str | None] = "layer's rows"
    claims: ClassVar[str] = "a layer"
    version: ClassVar[int] = FORMAT
    readers: ClassVar[Mapping[str, Reader]] = _READERS

    def check(self, evidence: bytes | None, fast: bool = False) -> str:
        """What is proven on the rows whose file's bytes these are."""
        if evidence is None:
            raise CertificateError("it is about a layer's rows: their file is needed")
        try:
            X, row_weights = rows_of(evidence, "the rows")
        except InputError as error:
            raise CertificateError(str(error)) from None
        proof = verify_layer(self, X, row_weights, fast)
        states = ", ".join(f"{number} {name}" for name, number in self.counts().items() if number)
        return (
            f"layer {self.layer}: error {proof.value.sum():.6g} >= bound {proof.bound.sum():.6g} "
            f"({states})"
        )

    def verify(self, *evidence: Any, fast: bool = False) -> float:
        """The proven bound of all neurons' errors together; evidence: rows, and their weights."""
        X, row_weights = evidence if len(evidence) == 2 else (*evidence, None)
        return float(verify_layer(self, X, row_weights, fast).bound.sum())


def verify_layer_file(path: str | os.PathLike[str], fast: bool = False) -> LayerProof:
    """Verify ``NAME.layer.npz`` on the rows in ``NAME.rows.npz`` beside it.

    Raises InputError where a file is missing or damaged; else as `verify_layer`.
    """
    where = Path(path)
    if not where.name.endswith(LAYER_SUFFIX):
        raise InputError(f"{where}: a layer's certificate is called NAME{LAYER_SUFFIX}")
    beside = where.with_name(where.name.removesuffix(LAYER_SUFFIX) + ROWS_SUFFIX)
    return verify_layer(LayerCertificate.load(where), *load_rows(beside), fast=fast)


def save_rows(path: str | os.PathLike[str], X: Array, row_weights: Array | None) -> None:
    """Write `rows_bytes` to a file, under a temporary name first, then renamed."""
    write_file(path, rows_bytes(X, row_weights))


def rows_bytes(X: Array, row_weights: Array | None) -> bytes:
    """The rows (n, d) that a certificate speaks of, and their weights (n, 1 or m), as npz.

    In 32 bits where that keeps every number as it is.
    """
    short = X.astype(np.float32)
    exact = bool((short == X).all())
    arrays = {"rows": short if exact else np.asarray(X, dtype=np.float64)}
    if row_weights is not None:
        arrays["row_weights"] = np.asarray(row_weights, dtype=np.float64)
    return pack_arrays(arrays)


def load_rows(path: str | os.PathLike[str]) -> tuple[Array, Array | None]:
    """What `save_rows` wrote; InputError where the file is not such a one."""
    return rows_of(read_bytes(path, _ROWS), str(path))


def rows_of(data: bytes, where: str) -> tuple[Array, Array | None]:
    """The rows and their weights from a file's bytes; ``where`` names their origin in errors."""
    arrays = unpack_arrays(data, where, _ROWS)
    rows, weights = arrays.pop("rows", None), arrays.pop("row_weights", None)
    for array in (rows, weights):
        if array is not None and (array.ndim != 2 or array.dtype.kind != "f"):
            raise InputError(f"{where}: its arrays are not tables of floating-point numbers")
    if rows is None or arrays:
        raise InputError(f"{where}: not a file of a layer's rows")
    return rows.astype(np.float64), weights
