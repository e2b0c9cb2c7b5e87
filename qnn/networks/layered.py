"""Affine layers with a ReLU between each and the next: what an MLP or a small CNN comes down to."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import sparse

from qnn.errors import InputError
from qnn.numerics.archive import pack_arrays, read_bytes, unpack_arrays, write_file
from qnn.numerics.arrays import floats_of

Array = np.ndarray
FORMAT, SPARSE_FORMAT = 1, 2
# A layer is stored sparse where it has at least so many entries and at most this part are not 0.
_LARGE, _PART = 2**20, 0.25


@dataclass(frozen=True, eq=False)
class LayeredNetwork:
    """``x_i = max(0, W_i'x_{i-1} + b_i)``, without the maximum in the last layer.

    weights: W_i (inputs, outputs) float64; biases: b_i (outputs,). A convolution stands there as
    its matrix, of many entries as a sparse array by columns (`scipy.sparse.csc_array`). With one
    output the class is 1 where the score is positive and else 0; with several the class of the
    largest, the first where several are equal.

    left_out: the node at the end of the model it was read from, "Softmax" or "LogSoftmax", that
    the scores go into there; "" where there was none. It is no part of the network or its file.

    The arrays are copied and made read-only. Raises InputError for shapes that do not fit and
    values that are not finite.
    """

    weights: tuple[Any, ...]
    biases: tuple[Array, ...]
    left_out: str = ""

    def __post_init__(self) -> None:
        if not self.weights or len(self.weights) != len(self.biases):
            raise InputError("network: it needs one bias for each weight matrix, and at least one")
        object.__setattr__(self, "weights", tuple(map(_frozen_weights, self.weights)))
        object.__setattr__(self, "biases", tuple(map(_frozen, self.biases)))
        width = None
        for index, (W, b) in enumerate(zip(self.weights, self.biases, strict=True)):
            fits = W.ndim == 2 and 0 not in W.shape and b.shape == W.shape[1:]
            if not fits or width not in (None, W.shape[0]):
                raise InputError(
                    f"network: layer {index} has weights {W.shape} and bias {b.shape}, which do "
                    f"not fit each other or the {width} outputs of the layer before"
                )
            values = W.data if sparse.issparse(W) else W
            if not (np.isfinite(values).all() and np.isfinite(b).all()):
                raise InputError(f"network: layer {index} has values that are not finite")
            width = W.shape[1]

    @property
    def d(self) -> int:
        """Inputs."""
        return int(self.weights[0].shape[0])

    @property
    def outputs(self) -> int:
        """Scores."""
        return len(self.biases[-1])

    @property
    def sparse(self) -> bool:
        """Whether a layer is a sparse array."""
        return any(sparse.issparse(W) for W in self.weights)

    @property
    def hidden(self) -> int:
        """Neurons with a ReLU."""
        return sum(map(len, self.biases[:-1]))

    def scores(self, X: Array) -> Array:
        """X (n, d) → (n, outputs). InputError for another shape and values that are not finite."""
        X = floats_of(X, "X")
        if X.ndim != 2 or X.shape[1] != self.d:
            raise InputError(
                f"network: X has shape {X.shape} but the network reads {self.d} columns"
            )
        if not np.isfinite(X).all():
            raise InputError("network: X has values that are not finite")
        for W, b in zip(self.weights[:-1], self.biases[:-1], strict=True):
            X = np.maximum(X @ W + b, 0.0)
        return np.asarray(X @ self.weights[-1] + self.biases[-1])

    def predict(self, X: Array) -> Array:
        """The classes (n,), as whole numbers."""
        scores = self.scores(X)
        if self.outputs == 1:
            return (scores[:, 0] > 0.0).astype(np.int64)
        return np.asarray(scores.argmax(axis=1))

    def to_bytes(self) -> bytes:
        """The network's npz file as bytes; equal networks give equal bytes."""
        number = SPARSE_FORMAT if self.sparse else FORMAT
        arrays = {"format": np.array(number, "<i8"), "layers": np.array(len(self.weights), "<i8")}
        for index, (W, b) in enumerate(zip(self.weights, self.biases, strict=True)):
            if sparse.issparse(W):
                arrays[f"data{index}"] = W.data.astype("<f8")
                arrays[f"indices{index}"] = W.indices.astype("<i4")
                arrays[f"starts{index}"] = W.indptr.astype("<i8")
                arrays[f"inputs{index}"] = np.array(W.shape[0], "<i8")
            else:
                arrays[f"W{index}"] = W.astype("<f8")
            arrays[f"b{index}"] = b.astype("<f8")
        return pack_arrays(arrays)

    @classmethod
    def from_bytes(cls, data: bytes, where: str = "network") -> LayeredNetwork:
        """The network in an npz file's bytes; InputError, one line, for anything else."""
        arrays = unpack_arrays(data, where, "network")
        count = arrays.get("layers", np.array(0.0))
        known = count.dtype.kind == "i" and count.shape == () and 0 < count < 1000
        layers = range(int(count) if known else 0)
        thin = [index for index in layers if f"W{index}" not in arrays]
        names = [f"{name}{index}" for index in layers for name in _members(index in thin)]
        number = SPARSE_FORMAT if thin else FORMAT
        fits = known and set(arrays) == {"format", "layers", *names}
        if not fits or arrays["format"].shape != () or arrays["format"] != number:
            raise InputError(f"{where}: not a file of a layered network of format {number}")
        floats = [name for name in names if name[:4] not in ("indi", "star", "inpu")]
        if any(arrays[name].dtype != np.float64 for name in floats):
            raise InputError(f"{where}: weights and biases must be float64")
        try:
            weights = [
                _unpacked(arrays, index) if index in thin else arrays[f"W{index}"]
                for index in layers
            ]
            return cls(tuple(weights), tuple(arrays[f"b{index}"] for index in layers))
        except (ValueError, InputError) as error:
            raise InputError(f"{where}: {error}") from error

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the npz file, under a temporary name first: never half a file at `path`."""
        write_file(path, self.to_bytes())

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> LayeredNetwork:
        """Read a file made by `save`; InputError, one line, if it is not one or is damaged."""
        return cls.from_bytes(read_bytes(path, "network"), str(path))


def joined(layers: Sequence[tuple[Any, Array, bool]], left_out: str = "") -> LayeredNetwork:
    """The network of affine steps (W, b, whether a ReLU follows), those without one multiplied out.

    Raises InputError where a ReLU follows the last: the last layer of a network has none.
    """
    weights: list[Any] = []
    biases: list[Array] = []
    open_step: tuple[Any, Array] | None = None
    for W, b, relu in layers:
        if open_step is not None:
            W, b = open_step[0] @ W, open_step[1] @ W + b
        open_step = (W, b)
        if relu:
            weights.append(W)
            biases.append(b)
            open_step = None
    if open_step is None:
        width = weights[-1].shape[1] if weights else 1
        open_step = (sparse.eye_array(width, format="csc"), np.zeros(width))
    stored = tuple(map(_stored, [*weights, open_step[0]]))
    return LayeredNetwork(stored, (*biases, open_step[1]), left_out)


def _stored(W: Any) -> Any:
    """Sparse only where that pays."""
    if not sparse.issparse(W):
        return W
    entries = W.shape[0] * W.shape[1]
    return W if entries >= _LARGE and W.nnz <= _PART * entries else W.toarray()


def _members(thin: bool) -> tuple[str, ...]:
    return ("data", "indices", "starts", "inputs", "b") if thin else ("W", "b")


def _unpacked(arrays: dict[str, Array], index: int) -> Any:
    data, indices, starts, inputs = (
        arrays[f"{name}{index}"] for name in ("data", "indices", "starts", "inputs")
    )
    whole = all(array.dtype.kind == "i" for array in (indices, starts, inputs))
    if not whole or inputs.shape != () or not 0 < inputs < 2**31:
        raise InputError(f"layer {index} is no sparse matrix")
    W = sparse.csc_array((data, indices, starts), shape=(int(inputs), len(starts) - 1))
    W.check_format(full_check=True)
    if not W.has_canonical_format:
        raise InputError(f"layer {index} has inputs twice or out of order")
    return W


def _frozen_weights(W: Any) -> Any:
    if not sparse.issparse(W):
        return _frozen(W)
    copy = sparse.csc_array(W, dtype=np.float64, copy=True)
    copy.sum_duplicates()
    for array in (copy.data, copy.indices, copy.indptr):
        array.flags.writeable = False
    return copy


def _frozen(array: Array) -> Array:
    copy = np.array(array, dtype=np.float64, order="C")
    copy.flags.writeable = False
    return copy
