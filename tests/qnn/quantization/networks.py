"""Small float networks as ONNX models, and rows for them."""

from itertools import pairwise
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

Array = np.ndarray


def rows(n: int, shape: tuple[int, ...], seed: int = 0) -> Array:
    rng = np.random.default_rng(seed)
    d = int(np.prod(shape))
    mixed = rng.standard_normal((n, d)) @ (rng.standard_normal((d, d)) / np.sqrt(d))
    return np.maximum(mixed + 0.3, 0.0).reshape(n, *shape).astype(np.float32)


class Maker:
    """An ONNX model under construction."""

    def __init__(self, seed: int = 0) -> None:
        self.rng = np.random.default_rng(seed)
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def constant(self, values: Any, name: str | None = None) -> str:
        name = name or f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(values), name))
        return name

    def weights(self, *shape: int) -> str:
        fan = int(np.prod(shape[1:])) or 1
        return self.constant((self.rng.standard_normal(shape) / np.sqrt(fan)).astype(np.float32))

    def node(self, op: str, *inputs: str, output: str | None = None, **attributes: Any) -> str:
        name = output or f"t{len(self.nodes)}"
        self.nodes.append(
            helper.make_node(op, inputs, [name], f"{op}{len(self.nodes)}", **attributes)
        )
        return name

    def model(self, shape: tuple[int, ...], opset: int = 17, rank: int = 2) -> onnx.ModelProto:
        graph = helper.make_graph(
            self.nodes,
            "net",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", *shape])],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, [f"y{k}" for k in range(rank)])],
            self.constants,
        )
        made = helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8
        )
        onnx.checker.check_model(made)
        return made


def mlp(sizes: tuple[int, ...] = (12, 10, 8, 4), seed: int = 0) -> onnx.ModelProto:
    make = Maker(seed)
    x = "x"
    for k, (d, m) in enumerate(pairwise(sizes)):
        last = k == len(sizes) - 2
        bias = make.constant((0.1 * make.rng.standard_normal(m)).astype(np.float32))
        x = make.node("Gemm", x, make.weights(m, d), bias, transB=1, output="y" if last else None)
        if not last:
            x = make.node("Relu", x)
    return make.model((sizes[0],))


def cnn(seed: int = 0) -> onnx.ModelProto:
    """Convolutions with stride, padding and groups, batch normalization, a branch, both pools."""
    make = Maker(seed)

    def normalized(x: str, channels: int) -> str:
        gamma, beta, mean = (
            make.constant(make.rng.uniform(low, 1.5, channels).astype(np.float32))
            for low in (0.5, -0.5, -0.5)
        )
        spread = make.constant(make.rng.uniform(0.5, 2.0, channels).astype(np.float32))
        return make.node("BatchNormalization", x, gamma, beta, mean, spread)

    x = make.node("Conv", "x", make.weights(6, 2, 3, 3), pads=[1, 1, 1, 1], kernel_shape=[3, 3])
    x = make.node("Relu", normalized(x, 6))
    pooled = make.node("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2])
    bias = make.weights(6)
    deep = make.node(
        "Conv",
        pooled,
        make.weights(6, 3, 3, 3),
        bias,
        group=2,
        pads=[1, 1, 1, 1],
        kernel_shape=[3, 3],
    )
    six = make.constant(np.float32(6.0))
    deep = make.node("Clip", normalized(deep, 6), make.constant(np.float32(0.0)), six)
    x = make.node("Add", deep, pooled)
    x = make.node(
        "Concat", x, make.node("AveragePool", x, kernel_shape=[3, 3], pads=[1] * 4), axis=1
    )
    x = make.node("Relu", make.node("Conv", x, make.weights(8, 12, 1, 1), strides=[2, 2]))
    side = make.node("Flatten", make.node("GlobalAveragePool", x))
    x = make.node("Concat", make.node("Flatten", x), side, axis=1)
    y = make.node(
        "MatMul", x, make.constant(make.rng.standard_normal((40, 5)).astype(np.float32) / 6)
    )
    make.node("Add", y, make.weights(5), output="y")
    return make.model((2, 8, 8))


def silenced(model: onnx.ModelProto, biases: dict[int, list[int]]) -> onnx.ModelProto:
    """Some neurons' biases at -100, by the place of their vector among the constants."""
    made = onnx.ModelProto()
    made.CopyFrom(model)
    flat = [t for t in made.graph.initializer if len(t.dims) == 1]
    for place, neurons in biases.items():
        values = numpy_helper.to_array(flat[place]).copy()
        values[neurons] = -100.0
        flat[place].CopyFrom(numpy_helper.from_array(values, flat[place].name))
    return made
