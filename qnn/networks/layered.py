"""Affine layers with a ReLU between each and the next: what an MLP or a small CNN comes down to."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from qnn.errors import InputError
from qnn.numerics.archive import pack_arrays, read_bytes, unpack_arrays, write_file
from qnn.numerics.arrays import floats_of

Array = np.ndarray
FORMAT = 1


@dataclass(frozen=True, eq=False)
class LayeredNetwork:
    """``x_i = max(0, W_i'x_{i-1} + b_i)``, without the maximum in the last layer.

    weights: W_i (inputs, outputs) float64; biases: b_i (outputs,). A convolution stands there as
    its matrix. With one output the class is 1 where the score is positive and else 0; with several
    the class of the largest, the first where several are equal.

    The arrays are copied and made read-only. Raises InputError for shapes that do not fit and
    values that are not finite.
    """

    weights: tuple[Array, ...]
    biases: tuple[Array, ...]

    def __post_init__(self) -> None:
        if not self.weights or len(self.weights) != len(self.biases):
            raise InputError("network: it needs one bias for each weight matrix, and at least one")
        for name in ("weights", "biases"):
            object.__setattr__(self, name, tuple(map(_frozen, getattr(self, name))))
        width = None
        for index, (W, b) in enumerate(zip(self.weights, self.biases, strict=True)):
            fits = W.ndim == 2 and W.size and b.shape == W.shape[1:] and width in (None, len(W))
            if not fits:
                raise InputError(
                    f"network: layer {index} has weights {W.shape} and bias {b.shape}, which do "
                    f"not fit each other or the {width} outputs of the layer before"
                )
            if not (np.isfinite(W).all() and np.isfinite(b).all()):
                raise InputError(f"network: layer {index} has values that are not finite")
            width = W.shape[1]

    @property
    def d(self) -> int:
        """Inputs."""
        return len(self.weights[0])

    @property
    def outputs(self) -> int:
        """Scores."""
        return len(self.biases[-1])

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
        arrays = {"format": np.array(FORMAT, "<i8"), "layers": np.array(len(self.weights), "<i8")}
        for index, (W, b) in enumerate(zip(self.weights, self.biases, strict=True)):
            arrays[f"W{index}"], arrays[f"b{index}"] = W.astype("<f8"), b.astype("<f8")
        return pack_arrays(arrays)

    @classmethod
    def from_bytes(cls, data: bytes, where: str = "network") -> LayeredNetwork:
        """The network in an npz file's bytes; InputError, one line, for anything else."""
        arrays = unpack_arrays(data, where, "network")
        count = arrays.get("layers", np.array(0.0))
        known = count.dtype.kind == "i" and count.shape == () and 0 < count < 1000
        names = [f"{name}{index}" for index in range(int(count) if known else 0) for name in "Wb"]
        if not known or set(arrays) != {"format", "layers", *names} or arrays["format"] != FORMAT:
            raise InputError(f"{where}: not a file of a layered network of format {FORMAT}")
        if any(arrays[name].dtype != np.float64 for name in names):
            raise InputError(f"{where}: weights and biases must be float64")
        try:
            return cls(
                tuple(arrays[name] for name in names[::2]),
                tuple(arrays[name] for name in names[1::2]),
            )
        except InputError as error:
            raise InputError(f"{where}: {error}") from error

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the npz file, under a temporary name first: never half a file at `path`."""
        write_file(path, self.to_bytes())

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> LayeredNetwork:
        """Read a file made by `save`; InputError, one line, if it is not one or is damaged."""
        return cls.from_bytes(read_bytes(path, "network"), str(path))


def joined(layers: Sequence[tuple[Array, Array, bool]]) -> LayeredNetwork:
    """The network of affine steps (W, b, whether a ReLU follows), those without one multiplied out.

    Raises InputError where a ReLU follows the last: the last layer of a network has none.
    """
    weights: list[Array] = []
    biases: list[Array] = []
    open_step: tuple[Array, Array] | None = None
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
        open_step = (np.eye(width), np.zeros(width))
    return LayeredNetwork((*weights, open_step[0]), (*biases, open_step[1]))


def _frozen(array: Array) -> Array:
    copy = np.array(array, dtype=np.float64, order="C")
    copy.flags.writeable = False
    return copy
