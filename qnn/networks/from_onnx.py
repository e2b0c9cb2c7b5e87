"""ReLU networks out of ONNX models: dense layers and convolutions, unrolled to matrices.

A model is a chain of nodes from its one input to its one output. What is affine (Gemm, MatMul,
Conv, BatchNormalization, AveragePool, GlobalAveragePool, Add, Sub, Mul and Div with constants,
Flatten, Reshape, Identity, Dropout) is applied to the unit vectors, which gives its matrix; what is
ReLU ends a layer. Where a layer is wide, matrices are sparse (`sparse_steps`). A last Softmax over
all scores of a row is left out, which changes no decision, and the network says so (`left_out`).
"""

from __future__ import annotations

import math
import os
from typing import TYPE_CHECKING, Any

import numpy as np

from qnn.errors import InputError
from qnn.networks import sparse_steps
from qnn.networks.layered import LayeredNetwork, joined
from qnn.networks.onnx_files import OLDEST_OPSET, OWN_DOMAINS, constant_of, load_model, opset_of
from qnn.networks.windows import averages, with_pads

if TYPE_CHECKING:
    import onnx

Array = np.ndarray
SOFT = ("Softmax", "LogSoftmax")
# Since this opset a Softmax is along one axis; before, along all from an axis on.
SINGLE_AXIS = 13
# What attributes must be, where they are given, of all kinds of nodes that are read.
_PLAIN = {"ceil_mode": 0, "training_mode": 0, "transA": 0, "spatial": 1}
# Dense matrices of more entries than these are not made, the second of models with convolutions: a
# model with a layer as wide as that is read by sparse ones.
MOST_ENTRIES, MOST_OF_IMAGES = 2**28, 2**22


class _WideError(Exception):
    """A layer is too wide to be unrolled to a dense matrix."""


def read_onnx(path: str | os.PathLike[str]) -> LayeredNetwork:
    """The ReLU network of an ONNX file, in float64; inputs and scores are flattened in C order.

    Weights in a file of their own are read beside the model. Raises InputError, one line, where the
    package onnx is missing, the file is no model, or a node is none that a ReLU network has.
    """
    model = load_model(path)
    try:
        try:
            return _Chain(model).network()
        except _WideError:
            return _SparseChain(model).network()
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    except (ValueError, IndexError, TypeError, KeyError) as error:
        raise InputError(f"{path}: its shapes do not fit ({error})") from None


class _Chain:
    """A model's nodes in order, each of one input that is not constant."""

    def __init__(self, model: onnx.ModelProto) -> None:
        from onnx import numpy_helper

        graph, self.opset = model.graph, opset_of(model)
        if self.opset < OLDEST_OPSET:
            raise InputError(f"its opset {self.opset} is older than {OLDEST_OPSET}: export it anew")
        self.constants = {t.name: numpy_helper.to_array(t) for t in graph.initializer}
        self.nodes = []
        for node in graph.node:
            if node.domain not in OWN_DOMAINS:
                raise InputError(f"node {node.op_type} is of {node.domain}, no operator of ONNX's")
            if node.op_type == "Constant":
                self.constants[node.output[0]] = constant_of(node)
            else:
                self.nodes.append(node)
        inputs = [value for value in graph.input if value.name not in self.constants]
        if len(inputs) != 1 or len(graph.output) != 1:
            raise InputError("a network to be read has one input and one output")
        sizes = [int(entry.dim_value) for entry in inputs[0].type.tensor_type.shape.dim]
        if len(sizes) < 2 or min(sizes[1:]) < 1:
            raise InputError(
                f"its input has shape {sizes}: give all sizes but the first, that of the batch"
            )
        self.name, self.shape = inputs[0].name, tuple(sizes[1:])
        self.output = graph.output[0].name
        images = any(node.op_type == "Conv" for node in self.nodes)
        self.most = MOST_OF_IMAGES if images else MOST_ENTRIES

    def network(self) -> LayeredNetwork:
        """The network that the nodes make."""
        shape, steps, left_out = self.shape, [], ""
        W, b = self._nothing(shape)
        for index, node in enumerate(self.nodes):
            others = [name for name in node.input if name and name not in self.constants]
            if others != [self.name]:
                raise InputError(f"node {node.op_type} does not follow the one before: no chain")
            self.name = node.output[0]
            if node.op_type == "Relu":
                steps.append((W, b, True))
                W, b = self._nothing(shape)
            elif node.op_type in SOFT and index == len(self.nodes) - 1:
                self._check_last(node, shape)
                left_out = node.op_type
            else:
                W, b, shape = self._applied(node, W, b, shape)
        if self.name != self.output:
            raise InputError("its last node is not its output")
        steps.append((W, b, False))
        return joined(steps, left_out)

    def _check_last(self, node: onnx.NodeProto, shape: tuple[int, ...]) -> None:
        """InputError where shares of the scores have another order than the scores of a row."""
        axis = _attributes(node).get("axis", -1 if self.opset >= SINGLE_AXIS else 1)
        axis = axis - 1 if axis > 0 else axis + len(shape)
        if not 0 <= axis < len(shape) or not 1 < shape[axis] == math.prod(shape):
            raise InputError(
                f"node {node.op_type} is not over all scores of a row, {shape}, two at least: "
                "export the scores that go into it"
            )

    def _nothing(self, shape: tuple[int, ...]) -> tuple[Any, Array]:
        width = math.prod(shape)
        if width**2 > self.most:
            raise _WideError
        return np.eye(width), np.zeros(width)

    def _applied(
        self, node: onnx.NodeProto, W: Any, b: Array, shape: tuple[int, ...]
    ) -> tuple[Any, Array, tuple[int, ...]]:
        """W'x + b after a node that is affine, and the shape of what it gives."""
        rows = np.concatenate([W, b[None]]).reshape(len(W) + 1, *shape)
        apply, constants = self._operation(node)
        # The last row carries the constants.
        affine = np.zeros(len(rows))
        affine[-1] = 1.0
        done = apply(rows, affine, constants, _attributes(node))
        if done.size > self.most:
            raise _WideError
        flat = done.reshape(len(rows), -1)
        return flat[:-1], flat[-1], done.shape[1:]

    def _operation(self, node: onnx.NodeProto) -> tuple[sparse_steps.Apply, Constants]:
        """What a node does to rows, and its constants; InputError for one that is not affine."""
        apply = _OPERATIONS.get(node.op_type)
        if apply is None:
            known = ", ".join(sorted([*_OPERATIONS, "Relu"]))
            hint = ""
            if node.op_type in ("Sigmoid", *SOFT):
                hint = "; at the end it changes no class: export the scores that go into it"
            raise InputError(f"node {node.op_type} is none of a ReLU network ({known}){hint}")
        for name, value in _attributes(node).items():
            if value != _PLAIN.get(name, value):
                raise InputError(f"node {node.op_type} with {name} {value} is not read")
        return apply, [
            None if name not in self.constants else self.constants[name].astype(np.float64)
            for name in node.input
        ]


class _SparseChain(_Chain):
    """The same with sparse matrices."""

    def _nothing(self, shape: tuple[int, ...]) -> tuple[Any, Array]:
        return sparse_steps.nothing(math.prod(shape))

    def _applied(
        self, node: onnx.NodeProto, W: Any, b: Array, shape: tuple[int, ...]
    ) -> tuple[Any, Array, tuple[int, ...]]:
        apply, constants = self._operation(node)
        given = _attributes(node)
        return sparse_steps.applied(node.op_type, apply, (W, b), shape, constants, given)


def _attributes(node: onnx.NodeProto) -> dict[str, Any]:
    from onnx.helper import get_attribute_value

    return {attribute.name: get_attribute_value(attribute) for attribute in node.attribute}


Constants = sparse_steps.Constants


def _spread(affine: Array, values: Array, like: Array) -> Array:
    """Constants of a row, added where a row carries constants."""
    full = np.broadcast_to(values, (1, *like.shape[1:]))[0]
    return np.multiply.outer(affine, full)


def _same(rows: Array, affine: Array, constants: Constants, given: dict[str, Any]) -> Array:
    return rows


def _dropout(rows: Array, affine: Array, constants: Constants, given: dict[str, Any]) -> Array:
    if len(constants) > 2 and constants[2] is not None and constants[2].any():
        raise InputError("node Dropout draws at random: export the network for inference")
    return rows


def _flatten(rows: Array, affine: Array, constants: Constants, given: dict[str, Any]) -> Array:
    if given.get("axis", 1) != 1:
        raise InputError("node Flatten must keep the first axis, that of the batch, alone")
    return rows.reshape(len(rows), -1)


def _reshape(rows: Array, affine: Array, constants: Constants, given: dict[str, Any]) -> Array:
    if constants[1] is None or len(constants[1]) < 2:
        raise InputError("node Reshape must keep the first axis, that of the batch")
    sizes = [int(size) for size in constants[1][1:]]
    if given.get("allowzero", 0) and 0 in constants[1]:
        raise InputError("node Reshape to a size of 0 is not read")
    kept = [rows.shape[k + 1] if size == 0 else size for k, size in enumerate(sizes)]
    return rows.reshape(len(rows), *kept)


def _gemm(rows: Array, affine: Array, constants: Constants, given: dict[str, Any]) -> Array:
    K, shift = sparse_steps.factor("Gemm", constants, given)
    if rows.ndim != 2:
        raise InputError("node Gemm must multiply flat rows")
    return rows @ K + np.multiply.outer(affine, shift)


def _matmul(rows: Array, affine: Array, constants: Constants, given: dict[str, Any]) -> Array:
    K = constants[1]
    if constants[0] is not None or K is None:
        raise InputError("node MatMul must multiply its input with a constant on its right")
    # A constant of as many axes as the rows would be spread along the batch.
    if not 1 <= K.ndim <= max(2, rows.ndim - 1):
        raise InputError(f"node MatMul with a constant of {K.ndim} axes mixes rows of a batch")
    return np.asarray(rows @ K)


def _add(rows: Array, affine: Array, constants: Constants, given: dict[str, Any]) -> Array:
    first, second = constants
    values = first if second is None else second
    assert values is not None
    return rows + _spread(affine, values, rows)


def _subtract(rows: Array, affine: Array, constants: Constants, given: dict[str, Any]) -> Array:
    first, second = constants
    if second is None:
        assert first is not None
        return _spread(affine, first, rows) - rows
    return rows - _spread(affine, second, rows)


def _multiply(rows: Array, affine: Array, constants: Constants, given: dict[str, Any]) -> Array:
    first, second = constants
    values = first if second is None else second
    assert values is not None
    return rows * np.broadcast_to(values, (1, *rows.shape[1:]))


def _divide(rows: Array, affine: Array, constants: Constants, given: dict[str, Any]) -> Array:
    if constants[1] is None:
        raise InputError("node Div must divide its input by a constant")
    return rows / np.broadcast_to(constants[1], (1, *rows.shape[1:]))


def _batch_norm(rows: Array, affine: Array, constants: Constants, given: dict[str, Any]) -> Array:
    scale, bias, mean, variance = (value for value in constants[1:] if value is not None)
    slope = scale / np.sqrt(variance + given.get("epsilon", 1e-5))
    shape = (-1, *[1] * (rows.ndim - 2))
    shifted = _spread(affine, (bias - mean * slope).reshape(shape), rows)
    return rows * slope.reshape(shape) + shifted


def _conv(rows: Array, affine: Array, constants: Constants, given: dict[str, Any]) -> Array:
    kernel = sparse_steps.kernel_of(constants, given, rows.shape[1])
    groups = int(given.get("group", 1))
    windows = sparse_steps.windows_of(rows, kernel.shape[2:], given)
    parts = [
        np.einsum("ncklij,ockl->noij", part, own, optimize=True)
        for part, own in zip(
            np.split(windows, groups, axis=1), np.split(kernel, groups, axis=0), strict=True
        )
    ]
    done = np.concatenate(parts, axis=1)
    if len(constants) > 2 and constants[2] is not None:
        done += _spread(affine, constants[2].reshape(-1, 1, 1), done)
    return np.asarray(done)


def _average(rows: Array, affine: Array, constants: Constants, given: dict[str, Any]) -> Array:
    return averages(rows, with_pads(given, tuple(given["kernel_shape"]), rows.shape[2:]))


def _average_all(rows: Array, affine: Array, constants: Constants, given: dict[str, Any]) -> Array:
    return np.asarray(rows.mean(axis=tuple(range(2, rows.ndim)), keepdims=True))


_OPERATIONS = {
    "Identity": _same,
    "Dropout": _dropout,
    "Flatten": _flatten,
    "Reshape": _reshape,
    "Gemm": _gemm,
    "MatMul": _matmul,
    "Add": _add,
    "Sub": _subtract,
    "Mul": _multiply,
    "Div": _divide,
    "BatchNormalization": _batch_norm,
    "Conv": _conv,
    "AveragePool": _average,
    "GlobalAveragePool": _average_all,
}
