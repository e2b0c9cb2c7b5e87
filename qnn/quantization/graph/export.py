"""The quantized network as an ONNX model that onnxruntime runs: QDQ, weights of 2, 4 and 8 bits.

ONNX has no type of 3 bits or of rows with different bits: the rows of a layer are grouped by the
type they need (3 bits are stored as 4), each group is one initializer with one step a row, and the
dequantized groups are put together again. Where the next layer reads the rows' outputs through
nodes that treat every channel alike, its columns take the new order; else a Gather restores it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from qnn.errors import InputError
from qnn.networks.onnx_files import OWN_DOMAINS, require_onnx
from qnn.quantization.graph.channels import readers_of
from qnn.quantization.graph.execution import ActivationGrid
from qnn.quantization.graph.reading import OPSET, Graph, Layer
from qnn.quantization.layers.grids import Codes

if TYPE_CHECKING:
    import onnx

Array = np.ndarray

IR_VERSION = 13


@dataclass(frozen=True, eq=False)
class QuantizedLayer:
    """Codes with steps (m,), biases (m,) and bits (m,) of one layer."""

    codes: Codes
    bias: Array
    bits: Array

    @property
    def weights(self) -> tuple[Array, Array]:
        """What the layer computes with: W (m, d) and b (m,)."""
        return self.codes.weights, self.bias


def stored_bits(bits: Array) -> Array:
    """Bits that a code takes in the file: 2, 4 or 8."""
    table = np.array([0, 2, 2, 4, 4, 8, 8, 8, 8])
    stored: Array = table[np.asarray(bits)]
    return stored


def packed_codes(q: Array, bits: int) -> bytes:
    """Codes of 2, 4 or 8 bits in ONNX's raw order: of each byte the lowest bits first."""
    flat = q.ravel().astype(np.int64) & ((1 << bits) - 1)
    each = 8 // bits
    flat = np.concatenate([flat, np.zeros(-len(flat) % each, np.int64)]).reshape(-1, each)
    return (flat << (bits * np.arange(each))).sum(axis=1).astype(np.uint8).tobytes()


def export(
    graph: Graph, layers: dict[str, QuantizedLayer], grids: dict[str, ActivationGrid]
) -> onnx.ModelProto:
    """The model; layers by name, grids by the name of a layer's input tensor."""
    writer = _Writer(graph, layers, grids)
    for step in graph.steps:
        if isinstance(step, Layer):
            writer.layer(step)
        else:
            writer.nodes.append(step.proto)
    return writer.model()


class _Writer:
    """Nodes and initializers under construction."""

    def __init__(
        self, graph: Graph, layers: dict[str, QuantizedLayer], grids: dict[str, ActivationGrid]
    ) -> None:
        self.onnx = require_onnx()
        self.graph, self.layers, self.grids = graph, layers, grids
        self.nodes: list[Any] = []
        self.constants: dict[str, Any] = {}
        self.done: dict[str, str] = {}
        # Names take a good part of a small file.
        self.short = {layer.name: f"_l{k}" for k, layer in enumerate(graph.layers)}
        self.taken = {graph.input, graph.output, *graph.constants}
        self.taken |= {
            name for node in graph.model.graph.node for name in (*node.input, *node.output)
        }
        self.count = 0
        # How the channels of a tensor are ordered, where that is not its own order.
        self.orders: dict[str, Array] = {}
        self.opset = max(
            OPSET, *(o.version for o in graph.model.opset_import if o.domain in OWN_DOMAINS)
        )

    def layer(self, layer: Layer) -> None:
        """Write one layer, its input quantized."""
        made = self.layers[layer.name]
        q = self._columns(layer, made.codes.q)
        source = self._activation(layer.source)
        order, weights = self._weights(layer, made, q)
        readers = readers_of(self.graph, layer)
        if readers is None and (order != np.arange(len(order))).any():
            index = self._constant(self._new(), np.argsort(order).astype(np.int32))
            weights = self._node("Gather", [weights, index], self._new(), axis=0)
            order = np.arange(len(order))
        for reader in readers or ():
            self.orders[reader.name] = order
        bias = self._constant(self._new(), made.bias[order].astype(np.float32))
        self._product(layer, source, weights, bias)

    def _columns(self, layer: Layer, q: Array) -> Array:
        """The codes with their columns in the order of the channels that they read."""
        order = self.orders.get(layer.name)
        if order is None:
            return q
        each = q.shape[1] // len(order)
        return q.reshape(len(q), len(order), each)[:, order].reshape(q.shape)

    def _activation(self, name: str) -> str:
        """The tensor, quantized and dequantized once for all that read it."""
        if name in self.done or name not in self.grids:
            return self.done.get(name, name)
        grid = self.grids[name]
        kind = {8: self.onnx.TensorProto.UINT8, 4: self.onnx.TensorProto.UINT4}[grid.bits]
        step, zero = self._constant(self._new(), np.float32(grid.step)), self._new()
        self.constants[zero] = self.onnx.helper.make_tensor(zero, kind, [], [grid.zero])
        codes = self._node("QuantizeLinear", [name, step, zero], self._new())
        self.done[name] = self._node("DequantizeLinear", [codes, step, zero], self._new())
        return self.done[name]

    def _weights(self, layer: Layer, made: QuantizedLayer, q: Array) -> tuple[Array, str]:
        """The order of rows in the file, and the tensor of dequantized weights in that order."""
        stored = stored_bits(made.bits)
        order = np.argsort(stored, kind="stable")
        types = self.onnx.TensorProto
        parts = []
        for bits, kind in ((2, types.INT2), (4, types.INT4), (8, types.INT8)):
            rows = order[stored[order] == bits]
            if not len(rows):
                continue
            name = self._free(f"{self.short[layer.name]}.w{bits}")
            shape = (
                (len(rows), *layer.shape[1:]) if layer.kind == "conv" else (len(rows), q.shape[1])
            )
            raw = packed_codes(q[rows], bits)
            self.constants[name] = self.onnx.helper.make_tensor(name, kind, shape, raw, raw=True)
            steps = self._constant(self._new(), made.codes.s[rows].astype(np.float32))
            parts.append(self._node("DequantizeLinear", [name, steps], self._new(), axis=0))
        if len(parts) == 1:
            return order, parts[0]
        return order, self._node("Concat", parts, self._new(), axis=0)

    def _product(self, layer: Layer, source: str, weights: str, bias: str) -> None:
        if layer.kind == "gemm":
            self._node("Gemm", [source, weights, bias], layer.target, transB=1)
        elif layer.kind == "matmul":
            turned = self._node("Transpose", [weights], self._new(), perm=[1, 0])
            product = self._node("MatMul", [source, turned], self._new())
            self._node("Add", [product, bias], layer.target)
        else:
            attributes = {key: list(value) for key, value in layer.attributes.items()}
            inputs = [source, weights, bias]
            self._node("Conv", inputs, layer.target, group=layer.groups, **attributes)

    def _free(self, name: str) -> str:
        """The name, longer where the given model has it already."""
        while name in self.taken:
            name += "_"
        return name

    def _new(self) -> str:
        """A short name that nothing has yet."""
        while True:
            name = f"_{np.base_repr(self.count, 36)}"
            self.count += 1
            if name not in self.taken:
                return name

    def _node(self, op: str, inputs: list[str], output: str, **attributes: Any) -> str:
        self.nodes.append(self.onnx.helper.make_node(op, inputs, [output], **attributes))
        return output

    def _constant(self, name: str, values: Any) -> str:
        array = np.ascontiguousarray(values).reshape(np.shape(values))
        self.constants[name] = self.onnx.numpy_helper.from_array(array, name)
        return name

    def model(self) -> onnx.ModelProto:
        """The checked model with the constants that its nodes still read."""
        helper, old = self.onnx.helper, self.graph.model
        read = {name for node in self.nodes for name in node.input}
        read |= {value.name for value in old.graph.output}
        kept = {
            name: self.onnx.numpy_helper.from_array(np.asarray(value), name)
            for name, value in self.graph.constants.items()
            if name in read
        }
        graph = helper.make_graph(
            self.nodes,
            old.graph.name or "quantized",
            [value for value in old.graph.input if value.name == self.graph.input],
            list(old.graph.output),
            list({**kept, **self.constants}.values()),
        )
        others = [o for o in old.opset_import if o.domain not in OWN_DOMAINS]
        model = helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid("", self.opset), *others],
            ir_version=max(IR_VERSION, old.ir_version),
            producer_name="qnn-sdp",
        )
        model.metadata_props.extend(old.metadata_props)
        for field in ("doc_string", "model_version"):
            if getattr(old, field):
                setattr(model, field, getattr(old, field))
        try:
            self.onnx.checker.check_model(model, full_check=True)
        except Exception as error:  # onnx raises kinds of its own
            text = " ".join(str(error).split())[:160]
            raise InputError(
                f"the quantized network is no valid ONNX model ({text}): report this, or export "
                "the network again with simpler nodes"
            ) from None
        return model


def mixing_bits(graph: Graph) -> Array:
    """By layer (L, 2) what rows of more than one type take in the file beside their codes, in bits.

    First: of each part beyond the first, a node and two initializers; then of there being several:
    a node that joins them, and one that restores their order where no layer after can take it.
    """
    helper = require_onnx().helper
    step, code, name = "_00", "_l0.w2", "_00"
    node = helper.make_node("DequantizeLinear", [code, step], [name], axis=0)
    codes = helper.make_tensor(code, 3, [64, 64], bytes(4096), raw=True).ByteSize() - 4096
    steps = helper.make_tensor(step, 1, [64], bytes(256), raw=True).ByteSize() - 256
    # A tag and a length of each, and the name once more where the parts are joined.
    part = node.ByteSize() + codes + steps + 8 + len(name) + 2
    join = helper.make_node("Concat", [], [name], axis=0).ByteSize() + 2
    gather = helper.make_node("Gather", [name, name], [name], axis=0).ByteSize() + 2
    rows = []
    for layer in graph.layers:
        restored = readers_of(graph, layer) is None
        index = gather + steps + 3 + 4 * len(layer.W)
        rows.append([8.0 * part, 8.0 * (join + restored * index)])
    return np.array(rows)
