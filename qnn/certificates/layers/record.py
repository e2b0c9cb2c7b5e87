"""What a layer's certificate states, and its file; nothing here is trusted by the checker.

The objective of neuron j on rows x_r with weights ω_rj >= 0 is

    f_j(s, q) = (s q - w_j)' H_j (s q - w_j),
    H_j = sum_r ω_rj (x_r - m_j)(x_r - m_j)' / sum_r ω_rj + rho_j I,    m_j the weighted mean,

over codes q in {-2^(b-1), ..., 2^(b-1) - 1}^d. Its state says over what the bound holds:

* ``optimal``: over all steps s > 0 and all codes, and it is the neuron's own value but for a
  relative 1e-5;
* ``optimal_at_scale``: the same at the neuron's own step only;
* ``bounded``: at its own step, and the value may lie above.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from qnn.errors import InputError
from qnn.numerics.archive import pack_arrays, read_file, unpack_arrays, write_file

Array = np.ndarray

FORMAT = 1
LAYER_SUFFIX, ROWS_SUFFIX = ".layer.npz", ".rows.npz"
STATES = ("bounded", "optimal_at_scale", "optimal")

_TYPES = {
    "target": (2, "f8"),
    "rho": (1, "f8"),
    "bits": (1, "i8"),
    "scale": (1, "f8"),
    "codes": (2, "i1"),
    "value": (1, "f8"),
    "bound": (1, "f8"),
    "state": (1, "i8"),
    "square": (2, "f8"),
    "linear": (2, "f8"),
    "order": (2, "i8"),
    "edges": (1, "f8"),
    "edge_counts": (1, "i8"),
    "nodes": (1, "i8"),
}
_SCALARS = {"format": "i", "layer": "U", "data_sha256": "U"}


@dataclass(frozen=True, eq=False)
class LayerCertificate:
    """m neurons of d inputs; see the module for what is claimed.

    target w (m, d); rho (m,); bits, scale s, value, bound (m,); codes q (m, d) int8; state (m,):
    the place in STATES. The proof: ``square``, ``linear`` (m, d): the parabolas of a bounded
    neuron, zeros of others; ``order`` (1 or m, d): in which the search decides coordinates, the
    last one first; ``edges``: one after the other the cells of steps of each optimal neuron, as
    many as ``edge_counts`` (m,) says; ``nodes`` (m,): how long its search was.
    """

    layer: str
    data_sha256: str
    target: Array
    rho: Array
    bits: Array
    scale: Array
    codes: Array
    value: Array
    bound: Array
    state: Array
    square: Array
    linear: Array
    order: Array
    edges: Array
    edge_counts: Array
    nodes: Array
    format: int = FORMAT

    @property
    def states(self) -> list[str]:
        """The state of each neuron, by name."""
        return [STATES[k] for k in self.state]

    def counts(self) -> dict[str, int]:
        """How many neurons are in each state."""
        names = self.states
        return {name: names.count(name) for name in STATES}

    def cells(self, j: int) -> Array:
        """The ends of the cells of steps of neuron j."""
        ends = np.cumsum(self.edge_counts)
        cells: Array = self.edges[ends[j] - self.edge_counts[j] : ends[j]]
        return cells

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write to path as npz without pickle, under a temporary name first, then renamed."""
        write_file(path, self.to_bytes())

    def to_bytes(self) -> bytes:
        """The npz file's bytes, the same for the same certificate."""
        return pack_arrays({f.name: np.asarray(getattr(self, f.name)) for f in fields(self)})

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> LayerCertificate:
        """Read a certificate; InputError where the file is not a whole one of a known format."""
        return cls.from_bytes(read_file(path, "layer certificate"), str(path))

    @classmethod
    def from_bytes(cls, data: bytes, where: str) -> LayerCertificate:
        """The record from a file's bytes; ``where`` names their origin in errors."""
        arrays = unpack_arrays(data, where, "layer certificate")
        known = {field.name for field in fields(cls)}
        if set(arrays) != known:
            odd = sorted(known ^ set(arrays))[0]
            what = "lacks" if odd in known else "has"
            raise InputError(f"{where}: not a layer certificate: it {what} {odd!r}")
        return cls(**{name: _typed(name, array, where) for name, array in arrays.items()})


def _typed(name: str, array: Array, where: str) -> Any:
    if name in _SCALARS:
        if array.ndim != 0 or array.dtype.kind != _SCALARS[name]:
            raise InputError(f"{where}: the field {name!r} has the wrong type")
        return int(array) if name == "format" else str(array)
    ndim, kind = _TYPES[name]
    if array.ndim != ndim or array.dtype != np.dtype(kind):
        raise InputError(f"{where}: the field {name!r} has the wrong type or shape")
    return array


def save_rows(path: str | os.PathLike[str], X: Array, row_weights: Array | None) -> None:
    """The rows (n, d) that a certificate speaks of, and their weights (n, 1 or m), as npz.

    In 32 bits where that keeps every number as it is.
    """
    short = X.astype(np.float32)
    exact = bool((short == X).all())
    arrays = {"rows": short if exact else np.asarray(X, dtype=np.float64)}
    if row_weights is not None:
        arrays["row_weights"] = np.asarray(row_weights, dtype=np.float64)
    write_file(path, pack_arrays(arrays))


def load_rows(path: str | os.PathLike[str]) -> tuple[Array, Array | None]:
    """What `save_rows` wrote; InputError where the file is not such a one."""
    arrays = unpack_arrays(read_file(path, "layer's rows"), str(path), "layer's rows")
    rows, weights = arrays.pop("rows", None), arrays.pop("row_weights", None)
    for array in (rows, weights):
        if array is not None and (array.ndim != 2 or array.dtype.kind != "f"):
            raise InputError(f"{path}: its arrays are not tables of floating-point numbers")
    if rows is None or arrays:
        raise InputError(f"{path}: not a file of a layer's rows")
    return rows.astype(np.float64), weights
