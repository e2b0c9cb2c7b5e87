"""The checker's own reading of a network's npz file, quantized or of ReLU layers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy import sparse

from qnn.errors import CertificateError, InputError
from qnn.numerics.archive import unpack_arrays

Array = np.ndarray
_DIVISORS = {"binary": 1, "ternary": 1, **{str(bits): 2**bits - 1 for bits in range(2, 8)}}


@dataclass(frozen=True)
class QuadraticNetwork:
    """A quantized network: arrays, the integers' divisor, its preprocessing's JSON."""

    arrays: dict[str, Array]
    divisor: int
    preprocessing: str

    @property
    def d(self) -> int:
        """Its inputs."""
        return len(self.arrays["U"])

    @property
    def outputs(self) -> int:
        """Its scores; 1 also where alpha has one axis."""
        return int(np.prod(self.arrays["alpha"].shape[1:], dtype=int))


@dataclass(frozen=True)
class ReluNetwork:
    """Affine layers (W (inputs, outputs), b) with a ReLU between each and the next.

    A W of few entries is a sparse array, by columns.
    """

    layers: list[tuple[Any, Array]]
    preprocessing: str = field(default="", init=False)

    @property
    def d(self) -> int:
        """Its inputs."""
        return int(self.layers[0][0].shape[0])

    @property
    def outputs(self) -> int:
        """Its scores."""
        return len(self.layers[-1][1])

    @property
    def sparse(self) -> bool:
        """Whether a layer is a sparse array."""
        return any(sparse.issparse(W) for W, _ in self.layers)


def read_network(data: bytes) -> QuadraticNetwork | ReluNetwork:
    """A network from its file's bytes; CertificateError where they are not one."""
    try:
        arrays = unpack_arrays(data, "network", "network")
    except InputError as error:
        raise CertificateError(str(error)) from None
    return _relu(arrays) if "layers" in arrays else _quadratic(arrays)


def _relu(arrays: dict[str, Array]) -> ReluNetwork:
    layers_array = arrays["layers"]
    known = layers_array.dtype.kind == "i" and layers_array.ndim == 0
    count = int(layers_array) if known and layers_array < 1000 else 0
    layers, width = [], None
    for index in range(count):
        b = arrays.get(f"b{index}", np.zeros(0))
        W = arrays.get(f"W{index}")
        if W is None:
            W = _sparse(arrays, index)
        elif f"data{index}" in arrays:
            raise CertificateError(f"layer {index} of the network is there twice")
        fits = W.ndim == 2 and b.shape == W.shape[1:] and width in (None, W.shape[0])
        if not fits or 0 in W.shape:
            raise CertificateError(f"layer {index} of the network does not fit the one before")
        if W.dtype != np.float64 or b.dtype != np.float64:
            raise CertificateError(f"layer {index} of the network is not float64")
        values = W.data if sparse.issparse(W) else W
        if not (np.isfinite(values).all() and np.isfinite(b).all()):
            raise CertificateError(f"layer {index} of the network is not finite")
        layers.append((W, b))
        width = W.shape[1]
    if not layers:
        raise CertificateError("the network has no layers")
    return ReluNetwork(layers)


def _sparse(arrays: dict[str, Array], index: int) -> Any:
    """A layer's weights by columns: each column's inputs in rising order, and their values."""
    empty = np.zeros(0)
    data, indices, starts, inputs = (
        arrays.get(f"{name}{index}", empty) for name in ("data", "indices", "starts", "inputs")
    )
    shaped = data.ndim == indices.ndim == starts.ndim == 1 and inputs.shape == ()
    typed = all(array.dtype.kind == "i" for array in (indices, starts, inputs))
    if not shaped or not typed or len(starts) < 2 or len(data) != len(indices):
        raise CertificateError(f"layer {index} of the network is missing or no sparse matrix")
    # Compared, not subtracted: differences of any int64 wrap around, and are lengths below.
    right = starts[0] == 0 and np.all(starts[1:] >= starts[:-1]) and starts[-1] == len(data)
    inside = right and np.all(indices >= 0) and np.all(indices < inputs)
    if inside:
        columns = np.repeat(np.arange(len(starts) - 1), np.diff(starts))
        inside = np.all((indices[1:] > indices[:-1]) | (columns[1:] > columns[:-1]))
    if not inside or not 0 < inputs < 2**31:
        raise CertificateError(f"layer {index} of the network is no sparse matrix")
    return sparse.csc_array((data, indices, starts), shape=(int(inputs), len(starts) - 1))


def _quadratic(arrays: dict[str, Array]) -> QuadraticNetwork:
    empty = np.zeros(0)
    U, alpha = arrays.get("U", empty), arrays.get("alpha", empty)
    shaped = U.ndim == 2 and alpha.ndim in (1, 2) and alpha.shape[0] == U.shape[1] and len(U) > 0
    if not shaped or U.dtype != np.int8 or alpha.dtype != np.float64:
        raise CertificateError("the network's weights do not fit each other")
    polynomial = arrays.get("polynomial")
    if ("V" in arrays) == (polynomial is not None):
        raise CertificateError("the network has no activation, or two")
    if polynomial is None and (arrays["V"].shape != U.shape or arrays["V"].dtype != np.int8):
        raise CertificateError("the network's weights do not fit each other")
    if polynomial is not None and (polynomial.shape, polynomial.dtype) != ((3,), np.float64):
        raise CertificateError("a polynomial activation has three numbers")
    numbers = [alpha] if polynomial is None else [alpha, polynomial]
    if not all(np.isfinite(array).all() for array in numbers):
        raise CertificateError("the network's numbers are not finite")
    texts = [arrays.get(name, empty) for name in ("alphabet", "preprocessing")]
    if any(text.dtype.kind != "U" or text.shape != () for text in texts):
        raise CertificateError("the network's texts are missing")
    divisor = _DIVISORS.get(str(texts[0]))
    if divisor is None:
        raise CertificateError(f"unknown alphabet {str(texts[0])!r}")
    return QuadraticNetwork(arrays, divisor, str(texts[1]))
