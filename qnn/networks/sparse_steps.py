"""Affine nodes of an ONNX model as sparse matrices, for layers too wide to be unrolled densely.

A convolution's or a pool's matrix has the entries of its kernel at each place; which input each of
them meets is read off an image of the inputs' numbers, cut into windows as the images are.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy import sparse

from qnn.errors import InputError
from qnn.networks.windows import patches, with_pads

Array = np.ndarray
Constants = list[Array | None]
Apply = Callable[[Array, Array, Constants, dict[str, Any]], Array]

# A layer of more entries, or a matrix with more that are not 0, is not made.
MOST_WIDTH, MOST_ENTRIES = 2**20, 2**28

SAME = ("Identity", "Dropout", "Flatten", "Reshape")
ELEMENTWISE = ("Add", "Sub", "Mul", "Div", "BatchNormalization")


def nothing(width: int) -> tuple[Any, Array]:
    """The step that changes nothing: W (inputs, outputs), b."""
    if width > MOST_WIDTH:
        raise InputError(f"a layer of {width} entries is too large to be unrolled")
    return sparse.eye_array(width, format="csc"), np.zeros(width)


def applied(
    kind: str,
    apply: Apply,
    step: tuple[Any, Array],
    shape: tuple[int, ...],
    constants: Constants,
    given: dict[str, Any],
) -> tuple[Any, Array, tuple[int, ...]]:
    """W'x + b after a node, and the shape of what it gives.

    apply: the node on rows of values, with the weight of constants in each row. InputError for a
    product along an axis of an image.
    """
    W, b = step
    if kind in SAME:
        shape = apply(np.zeros((1, *shape)), np.zeros(1), constants, given).shape[1:]
        return W, b, shape
    if kind in ELEMENTWISE:
        rows = np.stack([np.ones(shape), np.zeros(shape)])
        scale, shift = apply(rows, np.array([0.0, 1.0]), constants, given).reshape(2, -1)
        return W @ sparse.diags_array(scale, format="csc"), b * scale + shift, shape
    K, shift, shape = _matrix(kind, shape, constants, given)
    return sparse.csc_array(W @ K), K.T @ b + shift, shape


def _matrix(
    kind: str, shape: tuple[int, ...], constants: Constants, given: dict[str, Any]
) -> tuple[Any, Array, tuple[int, ...]]:
    if kind in ("Gemm", "MatMul"):
        return _dense(kind, shape, constants, given)
    numbers = np.arange(1.0, math.prod(shape) + 1.0).reshape(1, *shape)
    if kind == "GlobalAveragePool":
        channels, places = shape[0], math.prod(shape[1:])
        columns = np.repeat(np.arange(channels), places)
        values = np.full(len(columns), 1.0 / places)
        K = _entries(numbers.ravel(), columns, values, (math.prod(shape), channels))
        return K, np.zeros(channels), (channels, *(1 for _ in shape[1:]))
    if kind == "AveragePool":
        return _pool(windows_of(numbers, given["kernel_shape"], given)[0], math.prod(shape), given)
    return _convolution(numbers, constants, given)


def factor(kind: str, constants: Constants, given: dict[str, Any]) -> tuple[Array, Array]:
    """The matrix (inputs, outputs) of a Gemm or MatMul and its constants (outputs,).

    InputError where it is none, ValueError where its bias is not one number or one each output.
    """
    K = constants[1]
    if constants[0] is not None or K is None or K.ndim != 2:
        raise InputError(f"node {kind} must multiply its flat input with a constant on its right")
    if kind == "MatMul":
        return K, np.zeros(K.shape[1])
    K = given.get("alpha", 1.0) * (K.T if given.get("transB", 0) else K)
    bias = constants[2] if len(constants) > 2 and constants[2] is not None else np.zeros(())
    return K, given.get("beta", 1.0) * np.broadcast_to(bias, (1, K.shape[1]))[0]


def windows_of(rows: Array, size: Any, given: dict[str, Any]) -> Array:
    """Windows (n, channels, height, width, rows of the result, its columns) of images."""
    kernel = (int(size[0]), int(size[1]))
    padded = with_pads(given, kernel, rows.shape[2:])
    return patches(rows, kernel, padded, 0.0).transpose(0, 1, 4, 5, 2, 3)


def kernel_of(constants: Constants, given: dict[str, Any], channels: int) -> Array:
    """The kernels (outputs, channels of a group, height, width) of a Conv; else InputError."""
    kernel, groups = constants[1], int(given.get("group", 1))
    if kernel is None or kernel.ndim != 4:
        raise InputError("node Conv must have constant weights in two dimensions")
    if groups < 1 or len(kernel) % groups or channels != groups * kernel.shape[1]:
        raise InputError(
            f"node Conv has {len(kernel)} kernels of {kernel.shape[1]} channels in {groups} groups "
            f"for {channels} channels"
        )
    return kernel


def _dense(
    kind: str, shape: tuple[int, ...], constants: Constants, given: dict[str, Any]
) -> tuple[Any, Array, tuple[int, ...]]:
    K, shift = factor(kind, constants, given)
    if len(shape) != 1:
        raise InputError(f"node {kind} must multiply its flat input with a constant on its right")
    return sparse.csc_array(K), shift, (K.shape[1],)


def _pool(places: Array, size: int, given: dict[str, Any]) -> tuple[Any, Array, tuple[int, ...]]:
    channels, height, width, rows, columns = places.shape
    inside = places > 0.0
    counts = inside.sum(axis=(1, 2), keepdims=True)
    if given.get("count_include_pad", 0):
        counts = np.full_like(counts, height * width)
    outputs = np.arange(channels * rows * columns).reshape(channels, 1, 1, rows, columns)
    to = np.broadcast_to(outputs, places.shape)[inside]
    values = np.broadcast_to(1.0 / counts, places.shape)[inside]
    K = _entries(places[inside], to, values, (size, outputs.size))
    return K, np.zeros(outputs.size), (channels, rows, columns)


def _convolution(
    numbers: Array, constants: Constants, given: dict[str, Any]
) -> tuple[Any, Array, tuple[int, ...]]:
    kernel = kernel_of(constants, given, numbers.shape[1])
    places = windows_of(numbers, kernel.shape[2:], given)[0]
    rows, columns = places.shape[-2:]
    groups, outputs = int(given.get("group", 1)), len(kernel)
    parts = []
    for own, of in zip(np.split(places, groups), np.split(np.arange(outputs), groups), strict=True):
        # (outputs of the group, its channels, kernel's rows, columns, rows, columns)
        full = (len(of), *own.shape)
        if math.prod(full) * groups > MOST_ENTRIES:
            raise InputError(f"a convolution of {math.prod(full) * groups} entries is too large")
        at = np.broadcast_to(own, full)
        to = of[:, None, None] * (rows * columns) + np.arange(rows * columns).reshape(rows, columns)
        to = np.broadcast_to(to[:, None, None, None], full)
        values = np.broadcast_to(kernel[of][..., None, None], full)
        inside = (at > 0.0) & (values != 0.0)
        parts.append((at[inside], to[inside], values[inside]))
    at, to, values = (np.concatenate(part) for part in zip(*parts, strict=True))
    K = _entries(at, to, values, (numbers.size, outputs * rows * columns))
    shift = np.zeros(outputs)
    if len(constants) > 2 and constants[2] is not None:
        shift = constants[2].reshape(-1)
    return K, np.repeat(shift, rows * columns), (outputs, rows, columns)


def _entries(numbers: Array, to: Array, values: Array, shape: tuple[int, int]) -> Any:
    """The matrix (inputs, outputs) from inputs counted from 1, outputs and values."""
    return sparse.csc_array((values, (numbers.astype(np.int64) - 1, to)), shape=shape)
