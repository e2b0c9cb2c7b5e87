"""A trained network: compiled evaluation, row by row, and its npz file without pickle."""

from __future__ import annotations

import os
from dataclasses import dataclass

import numpy as np

from qnn.errors import InputError
from qnn.numerics.archive import pack_arrays, read_bytes, unpack_arrays, write_file
from qnn.numerics.compiled import compiled

Array = np.ndarray

FORMAT = 1
# Wider or deeper ones would take longer than the programs they are for.
_MOST_LAYERS, _MOST_WIDTH = 8, 4096


@dataclass(frozen=True, eq=False)
class Network:
    """Layers ``z -> r(z W + c)``, the last without r; ``r(t) = t (1 + t / sqrt(1 + t^2)) / 2``.

    r is a smooth rectifier without an exponential. ``weights`` and ``biases``: float32, (in, out)
    and (out,) a layer. ``purpose`` names what it was trained for; a reader compares it.
    """

    weights: tuple[Array, ...]
    biases: tuple[Array, ...]
    purpose: str

    def __call__(self, rows: Array) -> Array:
        """The outputs (N, out), float32, of rows (N, in); of each row alone, so in any batch."""
        out = np.zeros((len(rows), self.biases[-1].size), dtype=np.float32)
        width = max(bias.size for bias in self.biases)
        # Of numbers beyond 32 bits it makes infinities, of which nothing will be proven.
        with np.errstate(over="ignore"):
            small = np.ascontiguousarray(rows, dtype=np.float32)
        _evaluate(small, self.weights, self.biases, width, out)
        return out

    @property
    def inputs(self) -> int:
        """How many numbers a row has."""
        return len(self.weights[0])

    @property
    def outputs(self) -> int:
        """How many numbers come out."""
        return self.biases[-1].size

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write to path as npz without pickle, under a temporary name first, then renamed."""
        write_file(path, self.to_bytes())

    def to_bytes(self) -> bytes:
        """The npz file's bytes, the same for the same network."""
        arrays = {"format": np.asarray(FORMAT), "purpose": np.asarray(self.purpose)}
        for k, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            arrays |= {f"weight_{k}": weight, f"bias_{k}": bias}
        return pack_arrays(arrays)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Network:
        """Read a network; InputError where the file is not a whole one of a known format."""
        return cls.from_bytes(read_bytes(path, "network"), str(path))

    @classmethod
    def from_bytes(cls, data: bytes, where: str) -> Network:
        """The network from a file's bytes; ``where`` names their origin in errors."""
        arrays = unpack_arrays(data, where, "network")
        purpose, version = arrays.get("purpose"), arrays.get("format")
        layers = (len(arrays) - 2) // 2
        names = {f"{part}_{k}" for k in range(layers) for part in ("weight", "bias")}
        if (
            purpose is None
            or version is None
            or purpose.dtype.kind != "U"
            or purpose.ndim
            or version.dtype.kind != "i"
            or version.ndim
            or set(arrays) != names | {"purpose", "format"}
            or not 1 <= layers <= _MOST_LAYERS
        ):
            raise InputError(f"{where}: not a file of a predictor's network")
        if version != FORMAT:
            raise InputError(f"{where}: network format {int(version)} is not {FORMAT}")
        weights = tuple(arrays[f"weight_{k}"] for k in range(layers))
        biases = tuple(arrays[f"bias_{k}"] for k in range(layers))
        if not _fit(weights, biases):
            raise InputError(f"{where}: the layers of the network do not fit one another")
        return cls(tuple(map(_owned, weights)), tuple(map(_owned, biases)), str(purpose))


def _owned(array: Array) -> Array:
    """Writable and contiguous, as the compiled loops have them."""
    return np.array(array, dtype=np.float32, order="C")


def _fit(weights: tuple[Array, ...], biases: tuple[Array, ...]) -> bool:
    for k, (weight, bias) in enumerate(zip(weights, biases, strict=True)):
        if weight.dtype != np.float32 or bias.dtype != np.float32 or weight.ndim != 2:
            return False
        if bias.shape != weight.shape[1:] or not 1 <= bias.size <= _MOST_WIDTH or not len(weight):
            return False
        if k and len(weight) != biases[k - 1].size:
            return False
    return True


@compiled(nogil=True, fastmath={"contract", "reassoc", "nsz", "arcp"}, error_model="numpy")
def _layer(z: Array, weight: Array, bias: Array, out: Array) -> None:
    for j in range(weight.shape[1]):
        out[j] = bias[j]
    for i in range(weight.shape[0]):
        value = z[i]
        row = weight[i]
        for j in range(weight.shape[1]):
            out[j] += value * row[j]


@compiled(nogil=True, fastmath={"contract", "reassoc", "nsz", "arcp"}, error_model="numpy")
def _evaluate(
    rows: Array, weights: tuple[Array, ...], biases: tuple[Array, ...], width: int, out: Array
) -> None:
    last = len(weights) - 1
    z, hidden = np.zeros(width, dtype=np.float32), np.zeros(width, dtype=np.float32)
    half, one = np.float32(0.5), np.float32(1.0)
    for item in range(len(rows)):
        _layer(rows[item], weights[0], biases[0], z)
        for k in range(1, last + 1):
            for j in range(len(biases[k - 1])):
                t = z[j]
                hidden[j] = half * t * (one + t / np.sqrt(one + t * t))
            _layer(hidden, weights[k], biases[k], z)
        out[item] = z[: out.shape[1]]
