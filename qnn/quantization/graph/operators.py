"""The arithmetic of nodes that are not quantized, with their derivatives, in numpy.

`FORWARD[op](node, *inputs)` gives the output, `BACKWARD[op](node, inputs, output, gradient)` the
gradients by the inputs, None for those that have none. An operator without an entry is run by
onnx's reference implementation, and no gradient passes it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from qnn.networks.onnx_files import OWN_DOMAINS, require_onnx
from qnn.networks.windows import averages, counts, patches
from qnn.quantization.graph.reading import Node

Array = np.ndarray
Gradients = list[Array | None]


def scatter(back: Array, shape: tuple[int, ...], attributes: dict[str, Any]) -> Array:
    """The adjoint of `patches`: sums windows (n, c, h', w', kh, kw) back to (n, c, h, w)."""
    top, left, bottom, right = attributes.get("pads", (0, 0, 0, 0))
    n, c, h, w = shape
    out = np.zeros((n, c, h + top + bottom, w + left + right))
    dh, dw = attributes.get("dilations", (1, 1))
    sh, sw = attributes.get("strides", (1, 1))
    rows, columns = back.shape[2:4]
    for i in range(back.shape[4]):
        for j in range(back.shape[5]):
            part = out[:, :, i * dh : i * dh + sh * rows : sh, j * dw : j * dw + sw * columns : sw]
            part += back[..., i, j]
    return out[:, :, top : top + h, left : left + w]


def _summed(gradient: Array, shape: tuple[int, ...]) -> Array:
    """The gradient of a broadcast input: summed over the axes that were spread."""
    while gradient.ndim > len(shape):
        gradient = gradient.sum(axis=0)
    for axis, size in enumerate(shape):
        if size == 1 and gradient.shape[axis] != 1:
            gradient = gradient.sum(axis=axis, keepdims=True)
    return gradient


def _limits(inputs: tuple[Array, ...]) -> tuple[float, float]:
    low = float(inputs[1]) if len(inputs) > 1 and inputs[1] is not None else -np.inf
    high = float(inputs[2]) if len(inputs) > 2 and inputs[2] is not None else np.inf
    return low, high


def _clip(node: Node, *inputs: Array) -> Array:
    return np.clip(inputs[0], *_limits(inputs))


def _clip_back(node: Node, inputs: tuple[Array, ...], y: Array, g: Array) -> Gradients:
    low, high = _limits(inputs)
    return [g * ((inputs[0] > low) & (inputs[0] < high))]


def _leaky(node: Node, x: Array) -> Array:
    return np.where(x > 0, x, node.attributes.get("alpha", 0.01) * x)


def _leaky_back(node: Node, inputs: tuple[Array, ...], y: Array, g: Array) -> Gradients:
    return [g * np.where(inputs[0] > 0, 1.0, node.attributes.get("alpha", 0.01))]


def softmax(x: Array, axis: int = -1) -> Array:
    """Exponentials that sum to 1 along an axis."""
    e = np.exp(x - x.max(axis=axis, keepdims=True))
    shares: Array = e / e.sum(axis=axis, keepdims=True)
    return shares


def _softmax_back(node: Node, inputs: tuple[Array, ...], y: Array, g: Array) -> Gradients:
    axis = node.attributes.get("axis", -1)
    return [y * (g - (g * y).sum(axis=axis, keepdims=True))]


def _flatten(node: Node, x: Array) -> Array:
    axis = node.attributes.get("axis", 1) % (x.ndim + 1)
    return x.reshape(int(np.prod(x.shape[:axis])), -1)


def _reshape(node: Node, x: Array, shape: Array) -> Array:
    sizes = [int(s) for s in shape]
    if not node.attributes.get("allowzero", 0):
        sizes = [x.shape[k] if s == 0 else s for k, s in enumerate(sizes)]
    # A first size that was traced with one row means all rows.
    if sizes and sizes[0] == 1 and -1 not in sizes and int(np.prod(sizes)) != x.size:
        sizes[0] = -1
    return x.reshape(sizes)


def _like_input(node: Node, inputs: tuple[Array, ...], y: Array, g: Array) -> Gradients:
    return [g.reshape(inputs[0].shape)]


def _concat(node: Node, *inputs: Array) -> Array:
    return np.concatenate(inputs, axis=node.attributes["axis"])


def _concat_back(node: Node, inputs: tuple[Array, ...], y: Array, g: Array) -> Gradients:
    axis = node.attributes["axis"]
    ends = np.cumsum([x.shape[axis] for x in inputs])[:-1]
    return list(np.split(g, ends, axis=axis))


def _transpose(node: Node, x: Array) -> Array:
    return x.transpose(node.attributes.get("perm"))


def _transpose_back(node: Node, inputs: tuple[Array, ...], y: Array, g: Array) -> Gradients:
    perm = node.attributes.get("perm", list(range(g.ndim))[::-1])
    return [g.transpose(np.argsort(perm))]


def _max_pool(node: Node, x: Array) -> Array:
    kernel = tuple(node.attributes["kernel_shape"])
    return patches(x, kernel, node.attributes, -np.inf).max(axis=(4, 5))


def _max_pool_back(node: Node, inputs: tuple[Array, ...], y: Array, g: Array) -> Gradients:
    kernel = tuple(node.attributes["kernel_shape"])
    windows = patches(inputs[0], kernel, node.attributes, -np.inf)
    flat = windows.reshape(*windows.shape[:4], -1)
    chosen = np.arange(flat.shape[-1]) == flat.argmax(axis=-1)[..., None]
    back = (g[..., None] * chosen).reshape(windows.shape)
    return [scatter(back, inputs[0].shape, node.attributes)]


def _average_pool_back(node: Node, inputs: tuple[Array, ...], y: Array, g: Array) -> Gradients:
    kernel = tuple(node.attributes["kernel_shape"])
    share = (g / counts(node.attributes, inputs[0].shape[2:]))[..., None, None]
    back = np.broadcast_to(share, (*g.shape, *kernel))
    return [scatter(back, inputs[0].shape, node.attributes)]


def _global_back(node: Node, inputs: tuple[Array, ...], y: Array, g: Array) -> Gradients:
    x = inputs[0]
    return [np.broadcast_to(g / np.prod(x.shape[2:]), x.shape)]


def _normalize(node: Node, x: Array, *rest: Array) -> Array:
    shape = (1, -1) + (1,) * (x.ndim - 2)
    gamma, beta, mean, variance = (value.reshape(shape) for value in rest[:4])
    root = np.sqrt(variance + node.attributes.get("epsilon", 1e-5))
    return (x - mean) / root * gamma + beta


def _normalize_back(node: Node, inputs: tuple[Array, ...], y: Array, g: Array) -> Gradients:
    shape = (1, -1) + (1,) * (g.ndim - 2)
    root = np.sqrt(inputs[4] + node.attributes.get("epsilon", 1e-5))
    return [g * (inputs[1] / root).reshape(shape)]


def _binary(function: Any) -> Callable[..., Array]:
    return lambda node, a, b: function(a, b)


def _divided(a: Array, b: Array) -> Array:
    """The quotient; of whole numbers, such as sizes, rounded towards zero."""
    whole = all(np.issubdtype(np.asarray(x).dtype, np.integer) for x in (a, b))
    return np.trunc(a / b).astype(np.int64) if whole else np.asarray(a / b)


def _sums_back(sign: float) -> Callable[..., Gradients]:
    def back(node: Node, inputs: tuple[Array, ...], y: Array, g: Array) -> Gradients:
        return [_summed(g, inputs[0].shape), _summed(sign * g, inputs[1].shape)]

    return back


def _product_back(node: Node, inputs: tuple[Array, ...], y: Array, g: Array) -> Gradients:
    a, b = inputs
    return [_summed(g * b, a.shape), _summed(g * a, b.shape)]


def _quotient_back(node: Node, inputs: tuple[Array, ...], y: Array, g: Array) -> Gradients:
    a, b = inputs
    return [_summed(g / b, a.shape), _summed(-g * y / b, b.shape)]


def _ramp(node: Node, x: Array) -> Array:
    alpha, beta = node.attributes.get("alpha", 0.2), node.attributes.get("beta", 0.5)
    return np.clip(alpha * x + beta, 0.0, 1.0)


def _ramp_back(node: Node, inputs: tuple[Array, ...], y: Array, g: Array) -> Gradients:
    return [g * node.attributes.get("alpha", 0.2) * ((y > 0.0) & (y < 1.0))]


def _hard_swish_back(node: Node, inputs: tuple[Array, ...], y: Array, g: Array) -> Gradients:
    x = inputs[0]
    return [g * np.where(x >= 3.0, 1.0, np.where(x <= -3.0, 0.0, x / 3.0 + 0.5))]


def _sigmoid(node: Node, x: Array) -> Array:
    return 0.5 * (1.0 + np.tanh(0.5 * x))


FORWARD: dict[str, Callable[..., Array]] = {
    "Relu": lambda node, x: np.maximum(x, 0.0),
    "LeakyRelu": _leaky,
    "Clip": _clip,
    "Sigmoid": _sigmoid,
    "Tanh": lambda node, x: np.tanh(x),
    "Add": _binary(np.add),
    "Sub": _binary(np.subtract),
    "Mul": _binary(np.multiply),
    "Div": _binary(_divided),
    "HardSigmoid": _ramp,
    "HardSwish": lambda node, x: x * np.clip(x / 6.0 + 0.5, 0.0, 1.0),
    "Softmax": lambda node, x: softmax(x, node.attributes.get("axis", -1)),
    "Identity": lambda node, x: x,
    "Dropout": lambda node, x, *rest: x,
    "Flatten": _flatten,
    "Reshape": _reshape,
    "Concat": _concat,
    "Transpose": _transpose,
    "MaxPool": _max_pool,
    "AveragePool": lambda node, x: averages(x, node.attributes),
    "GlobalAveragePool": lambda node, x: x.mean(axis=tuple(range(2, x.ndim)), keepdims=True),
    "BatchNormalization": _normalize,
}

BACKWARD: dict[str, Callable[..., Gradients]] = {
    "Relu": lambda node, inputs, y, g: [g * (inputs[0] > 0)],
    "LeakyRelu": _leaky_back,
    "Clip": _clip_back,
    "Sigmoid": lambda node, inputs, y, g: [g * y * (1.0 - y)],
    "Tanh": lambda node, inputs, y, g: [g * (1.0 - y * y)],
    "Add": _sums_back(1.0),
    "Sub": _sums_back(-1.0),
    "Mul": _product_back,
    "Div": _quotient_back,
    "HardSigmoid": _ramp_back,
    "HardSwish": _hard_swish_back,
    "Softmax": _softmax_back,
    "Identity": lambda node, inputs, y, g: [g],
    "Dropout": lambda node, inputs, y, g: [g],
    "Flatten": _like_input,
    "Reshape": _like_input,
    "Concat": _concat_back,
    "Transpose": _transpose_back,
    "MaxPool": _max_pool_back,
    "AveragePool": _average_pool_back,
    "GlobalAveragePool": _global_back,
    "BatchNormalization": _normalize_back,
}

# Forms of known operators that the functions above do not cover.
_PLAIN = {
    "auto_pad": (b"NOTSET", "NOTSET"),
    "ceil_mode": (0,),
    "storage_order": (0,),
    "training_mode": (0,),
}


def known(node: Node) -> bool:
    """Whether this module computes the node and its derivative."""
    odd = any(node.attributes.get(k, v[0]) not in v for k, v in _PLAIN.items())
    pooled = node.op in ("MaxPool", "AveragePool") and len(node.attributes["kernel_shape"]) != 2
    plain = node.proto.domain in OWN_DOMAINS and not odd and not pooled
    return node.op in FORWARD and plain and len(node.outputs) == 1


def by_reference(node: Node, opset: int, *inputs: Array) -> list[Array]:
    """Run any other node by onnx's reference implementation, in 32 bits."""
    onnx = require_onnx()
    from onnx.reference import ReferenceEvaluator

    helper = onnx.helper
    made = helper.make_graph(
        [node.proto],
        "one",
        [helper.make_value_info(name, onnx.TypeProto()) for name in node.inputs if name],
        [helper.make_value_info(name, onnx.TypeProto()) for name in node.outputs if name],
    )
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", opset)])
    feeds = {
        name: value.astype(np.float32) if value.dtype == np.float64 else value
        for name, value in zip(node.inputs, inputs, strict=True)
        if name
    }
    outputs = ReferenceEvaluator(model).run(None, feeds)
    return [o.astype(np.float64) if o.dtype == np.float32 else o for o in outputs]
