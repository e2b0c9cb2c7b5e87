"""The network run in numpy: forwards, with other weights and quantized inputs, and backwards."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from qnn.networks.onnx_files import opset_of
from qnn.networks.windows import patches
from qnn.quantization.graph.operators import (
    BACKWARD,
    FORWARD,
    by_reference,
    known,
    scatter,
)
from qnn.quantization.graph.reading import Graph, Layer, Node

Array = np.ndarray
#: weights (m, d) and biases (m,) of a layer
Weights = tuple[Array, Array]


@dataclass(frozen=True)
class ActivationGrid:
    """Codes 0 .. 2^bits - 1 of a tensor: ``x = step (code - zero)``, the step of 32 bits."""

    step: float
    zero: int
    bits: int

    def apply(self, x: Array) -> Array:
        """The values that the codes nearest to x stand for, as onnxruntime computes them."""
        step = np.float32(self.step)
        codes = np.rint(x.astype(np.float32) / step) + np.float32(self.zero)
        codes = np.clip(codes, 0.0, float((1 << self.bits) - 1)) - np.float32(self.zero)
        values: Array = (codes * step).astype(np.float64)
        return values


def activation_grid(x: Array, bits: int) -> ActivationGrid:
    """The grid of the range of x that errs least in the mean square, 0 always exactly in it."""
    low, high = min(float(x.min()), 0.0), max(float(x.max()), 0.0)
    if high == low:
        return ActivationGrid(1.0, 0, bits)
    sample = x.reshape(-1)[:: max(1, x.size // 200_000)]
    shares = (1.0,) if bits >= 8 else (1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4)
    grids = [_grid(share * low, share * high, bits) for share in shares]
    return min(grids, key=lambda grid: float(((grid.apply(sample) - sample) ** 2).sum()))


def _grid(low: float, high: float, bits: int) -> ActivationGrid:
    top = (1 << bits) - 1
    step = max(float(np.float32((high - low) / top)), 1e-30)
    return ActivationGrid(step, int(np.clip(np.rint(-low / step), 0, top)), bits)


def layer_rows(layer: Layer, x: Array) -> Array:
    """The rows that each group's weights multiply: (groups, rows, d)."""
    if layer.kind != "conv":
        return x.reshape(1, -1, layer.W.shape[1])
    height, width = layer.shape[2:4]
    windows = patches(x, (height, width), layer.attributes, 0.0)
    n, c, h, w = windows.shape[:4]
    split = windows.reshape(n, layer.groups, c // layer.groups, h, w, *windows.shape[4:])
    return split.transpose(1, 0, 3, 4, 2, 5, 6).reshape(layer.groups, n * h * w, -1)


def layer_output(layer: Layer, x: Array, weights: Weights) -> Array:
    """The layer's output on its input tensor."""
    W, b = weights
    if layer.kind != "conv":
        return x @ W.T + b
    rows = layer_rows(layer, x)
    each = len(W) // layer.groups
    outputs = [rows[g] @ W[g * each : (g + 1) * each].T for g in range(layer.groups)]
    n, (h, w) = len(x), _out_size(layer, x)
    flat = np.concatenate(outputs, axis=1) + b
    return flat.reshape(n, h, w, len(W)).transpose(0, 3, 1, 2)


def output_rows(layer: Layer, y: Array) -> Array:
    """An output tensor, or its gradient, as rows (rows, m) beside those of `layer_rows`."""
    if layer.kind != "conv":
        return y.reshape(-1, len(layer.W))
    return y.transpose(0, 2, 3, 1).reshape(-1, len(layer.W))


def _out_size(layer: Layer, x: Array) -> tuple[int, int]:
    top, left, bottom, right = layer.attributes["pads"]
    (sh, sw), (dh, dw) = layer.attributes["strides"], layer.attributes["dilations"]
    kh, kw = layer.shape[2:4]
    high = (x.shape[2] + top + bottom - (kh - 1) * dh - 1) // sh + 1
    wide = (x.shape[3] + left + right - (kw - 1) * dw - 1) // sw + 1
    return high, wide


def run(
    graph: Graph,
    X: Array,
    weights: Mapping[str, Weights] | None = None,
    grids: Mapping[str, ActivationGrid] | None = None,
    until: str | None = None,
    values: dict[str, Array] | None = None,
) -> dict[str, Array]:
    """All tensors of a pass over rows X, by name; up to the tensor `until` where that is given.

    weights: of layers by name, instead of their own; grids: of layers' input tensors by name.
    values: of an earlier pass that went less far, which goes on in place. A quantized input is kept
    under its name with "^" after it.
    """
    values = {} if values is None else values
    values[graph.input] = np.asarray(X, dtype=np.float64)
    for step in graph.steps:
        if until is not None and until in values:
            break
        target = step.target if isinstance(step, Layer) else step.outputs[0]
        if target in values or target in graph.idle:
            continue
        if isinstance(step, Layer):
            x = quantized_input(values, step.source, grids)
            pair = (weights or {}).get(step.name, (step.W, step.b))
            values[step.target] = layer_output(step, x, pair)
        else:
            _run_node(graph, step, values)
    return values


def quantized_input(
    values: dict[str, Array], name: str, grids: Mapping[str, ActivationGrid] | None
) -> Array:
    """The tensor at the codes of its grid, kept beside it; as it is where it has none."""
    if grids is None or name not in grids:
        return values[name]
    if name + "^" not in values:
        values[name + "^"] = grids[name].apply(values[name])
    return values[name + "^"]


def _run_node(graph: Graph, node: Node, values: dict[str, Array]) -> None:
    inputs = [_argument(graph, name, values) for name in node.inputs]
    if known(node):
        values[node.outputs[0]] = FORWARD[node.op](node, *inputs)
        return
    opset = opset_of(graph.model)
    given = [np.zeros(0) if value is None else value for value in inputs]
    values.update(zip(node.outputs, by_reference(node, opset, *given), strict=False))


def _argument(graph: Graph, name: str, values: dict[str, Array]) -> Array | None:
    if name in values:
        return values[name]
    return graph.constants[name] if name else None


def backward(
    graph: Graph,
    values: Mapping[str, Array],
    gradient: Array,
    weights: Mapping[str, Weights] | None = None,
    grids: Mapping[str, ActivationGrid] | None = None,
) -> dict[str, Array]:
    """Gradients by the outputs of layers, by layer name, of a sum with this gradient by the output.

    Rounding of inputs counts as the identity inside its range. A layer before a node whose
    derivative is not known is left out.
    """
    back: dict[str, Array] = {logits_of(graph): gradient}
    found: dict[str, Array] = {}
    for step in reversed(graph.steps):
        if isinstance(step, Layer):
            if step.target in back:
                found[step.name] = back[step.target]
                pair = (weights or {}).get(step.name, (step.W, step.b))
                g = _layer_back(step, values[step.source], back[step.target], pair[0])
                _add(back, step.source, g * _inside(values, step.source, grids))
        elif step.outputs[0] in back and known(step):
            read = tuple(_argument(graph, name, dict(values)) for name in step.inputs)
            output = step.outputs[0]
            gradients = BACKWARD[step.op](step, read, values[output], back[output])
            for name, part in zip(step.inputs, gradients, strict=False):
                if part is not None and name not in graph.constants:
                    _add(back, name, part)
    return found


def logits_of(graph: Graph) -> str:
    """The tensor before a final Softmax, which may be passed on as it is; else the output."""
    name = graph.output
    for step in reversed(graph.steps):
        if isinstance(step, Node) and step.outputs[0] == name:
            if step.op == "Softmax":
                return step.inputs[0]
            if step.op != "Identity":
                break
            name = step.inputs[0]
    return graph.output


def _add(back: dict[str, Array], name: str, gradient: Array) -> None:
    back[name] = back[name] + gradient if name in back else gradient


def _inside(
    values: Mapping[str, Array], name: str, grids: Mapping[str, ActivationGrid] | None
) -> Array | float:
    if grids is None or name not in grids:
        return 1.0
    grid = grids[name]
    low, high = -grid.step * grid.zero, grid.step * ((1 << grid.bits) - 1 - grid.zero)
    return ((values[name] >= low) & (values[name] <= high)).astype(np.float64)


def _layer_back(layer: Layer, x: Array, g: Array, W: Array) -> Array:
    if layer.kind != "conv":
        return g @ W
    n, _, h, w = g.shape
    rows, each = output_rows(layer, g), len(W) // layer.groups
    kernel = layer.shape[1:4]
    parts = [
        (rows[:, k * each : (k + 1) * each] @ W[k * each : (k + 1) * each]).reshape(
            n, h, w, *kernel
        )
        for k in range(layer.groups)
    ]
    back = np.concatenate(parts, axis=3).transpose(0, 3, 1, 2, 4, 5)
    return scatter(back, x.shape, layer.attributes)
