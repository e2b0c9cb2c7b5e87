"""From an ONNX model to its layers, which are quantized, and other nodes, which stay as they are.

Layers are Gemm, MatMul with a constant, and Conv (2-D, groups); an Add of a constant and a
BatchNormalization that follow one alone are folded into it. onnx is imported when first needed.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from qnn.errors import InputError
from qnn.networks.onnx_files import OLDEST_OPSET, OWN_DOMAINS, load_model, opset_of, require_onnx
from qnn.quantization.graph.preparing import (
    Shapes,
    computed_constants,
    shapes_of,
    with_explicit_pads,
)

if TYPE_CHECKING:
    import onnx

Array = np.ndarray

# INT2 weights came with this opset; older models are converted to it.
OPSET = 25


@dataclass(eq=False)
class Layer:
    """Weights W (m, d) and biases b (m,) that act on `source` and give `target`.

    ``kind``: "gemm", "matmul" or "conv"; d counts one group's inputs. ``shape`` is the weights'
    own, (m, inputs, *kernel) of a convolution; ``attributes`` those of its node. ``normalized``
    says that a batch normalization was folded in.
    """

    name: str
    kind: str
    source: str
    target: str
    W: Array
    b: Array
    shape: tuple[int, ...]
    attributes: dict[str, Any] = field(default_factory=dict)
    groups: int = 1
    normalized: bool = False


@dataclass(frozen=True, eq=False)
class Node:
    """Any other node, with its attributes as Python values."""

    op: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: dict[str, Any]
    proto: onnx.NodeProto


@dataclass(eq=False)
class Graph:
    """Layers and nodes in the order in which they run; names of the input and the output.

    ``constants`` are the initializers and Constant nodes, by name; ``idle`` the first outputs of
    nodes that do not lead to the output, such as the labels beside scores: they are kept, not run.
    ``bytes`` is the size of the model as it was given.
    """

    input: str
    output: str
    shape: tuple[int | None, ...]
    steps: list[Layer | Node]
    constants: dict[str, Array]
    model: onnx.ModelProto
    idle: frozenset[str] = frozenset()
    bytes: int = 0

    @property
    def layers(self) -> list[Layer]:
        """The layers alone."""
        return [step for step in self.steps if isinstance(step, Layer)]

    def users(self, name: str) -> list[Layer | Node]:
        """The steps that read a tensor."""
        return [step for step in self.steps if name in inputs_of(step)]


def inputs_of(step: Layer | Node) -> tuple[str, ...]:
    """The tensors that a step reads."""
    return (step.source,) if isinstance(step, Layer) else step.inputs


def read_model(model: str | os.PathLike[str] | bytes | onnx.ModelProto) -> Graph:
    """The graph of a model given as a path, bytes or ModelProto.

    Raises InputError for what is no ONNX model, an opset that cannot be converted, more than one
    input, weights that are not finite 32-bit floats, or a model without any layer to quantize.
    """
    onnx = require_onnx()
    given = load_model(model)
    proto = _converted(given, onnx)
    graph = proto.graph
    constants = {t.name: onnx.numpy_helper.to_array(t) for t in graph.initializer}
    inputs = [value for value in graph.input if value.name not in constants]
    if len(inputs) != 1:
        raise InputError(f"the model has {len(inputs)} inputs: only one can be calibrated")
    if inputs[0].type.tensor_type.elem_type != onnx.TensorProto.FLOAT:
        raise InputError(
            "the model's input is not of 32-bit floats: export it in float32 (scores in 64 bits "
            "cannot be quantized for onnxruntime)"
        )
    output = _scores(graph, onnx)
    idle, shapes = _idle(graph, output), shapes_of(proto, onnx)
    shape = shapes.get(inputs[0].name)
    if shape is None:
        raise InputError(
            "the model does not say the shape of its input: export it with one, its first axis "
            "may be free"
        )
    nodes = {
        place: with_explicit_pads(node, shapes, constants, onnx)
        for place, node in computed_constants(graph.node, constants, onnx).items()
    }
    steps = _steps(nodes, constants, onnx, idle)
    made = Graph(inputs[0].name, output, shape, steps, constants, proto, idle, given.ByteSize())
    _fold(made, shapes)
    if not made.layers:
        raise InputError("the model has no Gemm, MatMul or Conv with constant weights to quantize")
    _check_weights(made)
    return made


def _scores(graph: Any, onnx: Any) -> str:
    """The first output that is a tensor of 32-bit floats; InputError where there is none."""
    for value in graph.output:
        if value.type.tensor_type.elem_type == onnx.TensorProto.FLOAT:
            return str(value.name)
    names = ", ".join(value.name for value in graph.output)
    raise InputError(
        f"none of the model's outputs ({names}) is a tensor of 32-bit floats: export its scores "
        "(with skl2onnx: options={'zipmap': False})"
    )


def _idle(graph: Any, output: str) -> frozenset[str]:
    """The first outputs of the nodes that the output does not depend on."""
    needed, idle = {output}, set()
    for node in reversed(graph.node):
        if needed.intersection(node.output):
            needed.update(node.input)
        else:
            idle.add(str(node.output[0]))
    return frozenset(idle)


def _converted(proto: onnx.ModelProto, onnx: Any) -> onnx.ModelProto:
    version, newest = opset_of(proto), onnx.defs.onnx_opset_version()
    if version > newest:
        raise InputError(
            f"the model's opset {version} is not known to onnx {onnx.__version__}, which ends with "
            f"{newest}: export it with opset {OPSET} or older, or install a newer onnx"
        )
    if version >= OPSET:
        return proto
    try:
        if version < OLDEST_OPSET:
            raise ValueError("too old")
        return onnx.version_converter.convert_version(proto, OPSET)
    except Exception as error:
        text = " ".join(str(error).split())[:80]
        raise InputError(
            f"the model's opset {version} cannot be converted to {OPSET} ({text}): export it with "
            "a newer opset"
        ) from None


def _steps(
    nodes: dict[int, Any], constants: dict[str, Array], onnx: Any, idle: frozenset[str]
) -> list[Layer | Node]:
    steps: list[Layer | Node] = []
    taken: set[str] = set()
    for index, proto in nodes.items():
        attributes = {a.name: onnx.helper.get_attribute_value(a) for a in proto.attribute}
        node = Node(proto.op_type, tuple(proto.input), tuple(proto.output), attributes, proto)
        name = proto.name or f"{proto.op_type.lower()}{index}"
        # ONNX asks for no different names; layers are known by theirs here.
        name = f"{name}-{index}" if name in taken else name
        taken.add(name)
        layer = None if proto.output[0] in idle else _layer(node, name, constants)
        steps.append(layer or node)
    return steps


def _layer(node: Node, name: str, constants: dict[str, Array]) -> Layer | None:
    """The node as a layer, None where it is none or not in a form that is quantized."""
    if node.op not in ("Gemm", "MatMul", "Conv") or node.proto.domain not in OWN_DOMAINS:
        return None
    if node.inputs[0] in constants:
        return None
    weights = constants.get(node.inputs[1])
    bias = constants.get(node.inputs[2]) if len(node.inputs) > 2 and node.inputs[2] else None
    named = len(node.inputs) > 2 and bool(node.inputs[2])
    if weights is None or weights.dtype != np.float32 or (named and bias is None):
        return None
    if bias is not None and not _by_neuron(node, weights, bias):
        return None
    make = {"Gemm": _gemm, "MatMul": _matmul, "Conv": _conv}[node.op]
    return make(node, name, weights.astype(np.float64), bias)


def _by_neuron(node: Node, weights: Array, bias: Array) -> bool:
    """Whether the bias is one number, or one a neuron: Gemm's may also differ from row to row."""
    if node.op == "Conv":
        return True
    neurons = weights.shape[0 if node.attributes.get("transB", 0) else 1]
    return bias.shape in ((), (1,), (1, 1), (neurons,), (1, neurons))


def _gemm(node: Node, name: str, weights: Array, bias: Array | None) -> Layer | None:
    attributes = node.attributes
    if attributes.get("transA", 0):
        return None
    W = attributes.get("alpha", 1.0) * (weights if attributes.get("transB", 0) else weights.T)
    b = np.zeros(len(W))
    if bias is not None:
        b = b + attributes.get("beta", 1.0) * np.asarray(bias, dtype=np.float64).reshape(-1)
    return Layer(name, "gemm", node.inputs[0], node.outputs[0], W, b, W.shape)


def _matmul(node: Node, name: str, weights: Array, bias: Array | None) -> Layer | None:
    if weights.ndim != 2:
        return None
    W = weights.T
    return Layer(name, "matmul", node.inputs[0], node.outputs[0], W, np.zeros(len(W)), W.shape)


def _conv(node: Node, name: str, weights: Array, bias: Array | None) -> Layer | None:
    attributes = node.attributes
    if weights.ndim != 4 or attributes.get("auto_pad", b"NOTSET") not in (b"NOTSET", "NOTSET"):
        return None
    kept = {
        "strides": tuple(attributes.get("strides", (1, 1))),
        "pads": tuple(attributes.get("pads", (0, 0, 0, 0))),
        "dilations": tuple(attributes.get("dilations", (1, 1))),
    }
    m = len(weights)
    b = np.zeros(m) if bias is None else bias.astype(np.float64)
    W = weights.reshape(m, -1)
    source, target, groups = node.inputs[0], node.outputs[0], int(attributes.get("group", 1))
    return Layer(name, "conv", source, target, W, b, weights.shape, kept, groups)


def _fold(graph: Graph, shapes: Shapes) -> None:
    """Fold an Add of a constant and a BatchNormalization into the layer before, and drop them."""
    ends = {value.name for value in graph.model.graph.output}
    for layer in graph.layers:
        # The axis of channels, by which a normalization goes, is the second.
        last = layer.kind != "matmul" or len(shapes.get(layer.source, ())) == 2
        while True:
            users = graph.users(layer.target)
            if len(users) != 1 or layer.target in ends:
                break
            node = users[0]
            if not isinstance(node, Node) or not _folded(layer, node, graph.constants, last):
                break
            layer.target = node.outputs[0]
            graph.steps.remove(node)


def _folded(layer: Layer, node: Node, constants: dict[str, Array], normalizable: bool) -> bool:
    m = len(layer.W)
    if node.proto.domain not in OWN_DOMAINS:
        return False
    if node.op == "Add":
        other = [constants[name] for name in node.inputs if name in constants]
        channels = (m,) if layer.kind != "conv" else (m, 1, 1)
        if not other or other[0].shape not in (channels, (1, *channels)):
            return False
        layer.b = layer.b + other[0].reshape(-1)
        return True
    trained = node.attributes.get("training_mode", 0) or len(node.outputs) > 1
    normalizable = normalizable and not trained
    normalizable = normalizable and all(name in constants for name in node.inputs[1:5])
    if node.op == "BatchNormalization" and normalizable:
        gamma, beta, mean, variance = (
            constants[name].astype(np.float64) for name in node.inputs[1:5]
        )
        factor = gamma / np.sqrt(variance + node.attributes.get("epsilon", 1e-5))
        layer.W = layer.W * factor[:, None]
        layer.b = (layer.b - mean) * factor + beta
        layer.normalized = True
        return True
    return False


def _check_weights(graph: Graph) -> None:
    for layer in graph.layers:
        if not (np.isfinite(layer.W).all() and np.isfinite(layer.b).all()):
            raise InputError(f"layer {layer.name}: its weights are not finite: train it again")
