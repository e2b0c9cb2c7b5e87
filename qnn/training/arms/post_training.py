"""Float networks quantized after training, from their own training rows; labels play no part.

`qnn.quantization.quantize` by its defaults, without proofs, at most 1,024 rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from qnn.networks.onnx_files import require_onnx
from qnn.quantization import Quantized, quantize

Array = np.ndarray

#: mean stored bits a weight
BUDGET = 3.0
_LEAST_ROWS, _MOST_ROWS = 8, 1024


@dataclass(frozen=True, eq=False)
class QuantizedFloat:
    """A float network in few bits, as its ONNX file computes."""

    made: Quantized

    def outputs(self, X: Array) -> Array:
        """Rows (n, d) to outputs (n, k)."""
        return self.made.simulate(np.asarray(X, np.float32).astype(np.float64))

    @property
    def size_in_bytes(self) -> int:
        """Bytes of the ONNX file, the graph included."""
        return self.made.bytes


def quantized(model: Any, X: Array, seed: int) -> QuantizedFloat:
    """A float ONNX network quantized on rows X (n, d); InputError without the package onnx.

    Fewer rows than a calibration takes are repeated.
    """
    order = np.random.default_rng(seed).permutation(len(X))[:_MOST_ROWS]
    rows = X[np.resize(order, max(len(order), _LEAST_ROWS))]
    return QuantizedFloat(quantize(model, rows, BUDGET, certify="none", seed=seed))


def relu_model(weights: list[Array], biases: list[Array]) -> Any:
    """A ReLU network as ONNX: weights (out, in), biases (out,)."""
    nodes: list[tuple[Any, ...]] = []
    for k in range(len(weights)):
        source = "x" if k == 0 else f"h{k}"
        nodes.append(("Gemm", source, k, f"z{k + 1}"))
        if k < len(weights) - 1:
            nodes.append(("Relu", f"z{k + 1}", None, f"h{k + 1}"))
    return _model(nodes, weights, biases)


def squares_model(R: Array, signs: Array) -> Any:
    """`Σ_k signs_k (xᵀ r_k)²` as ONNX: R (d, r), signs (r,)."""
    nodes = [("Gemm", "x", 0, "z1"), ("Mul", "z1", None, "h1"), ("Gemm", "h1", 1, "z2")]
    return _model(nodes, [R.T, signs[None]], [np.zeros(R.shape[1]), np.zeros(1)])


def _model(nodes: list[tuple[Any, ...]], weights: list[Array], biases: list[Array]) -> Any:
    onnx = require_onnx()
    made, constants = [], []
    for op, source, layer, target in nodes:
        inputs = [source, source] if op == "Mul" else [source]
        more: dict[str, Any] = {}
        if layer is not None:
            inputs, more = [source, f"W{layer}", f"b{layer}"], {"transB": 1}
        made.append(onnx.helper.make_node(op, inputs, [target], target, **more))
    for k, (W, b) in enumerate(zip(weights, biases, strict=True)):
        for name, values in ((f"W{k}", W), (f"b{k}", b)):
            part = np.ascontiguousarray(values, dtype=np.float32)
            constants.append(onnx.numpy_helper.from_array(part, name))
    ends = (("x", weights[0].shape[1]), (nodes[-1][-1], len(weights[-1])))
    tensors = [
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["n", size])
        for name, size in ends
    ]
    graph = onnx.helper.make_graph(made, "net", tensors[:1], tensors[1:], constants)
    opset = [onnx.helper.make_opsetid("", 17)]
    return onnx.helper.make_model(graph, opset_imports=opset, ir_version=8)
