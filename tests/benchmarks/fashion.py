"""Fashion-MNIST at 14x14 or whole, and networks trained on it, for the benchmarks."""

from __future__ import annotations

import gzip
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from qnn.numerics.adam import Adam

Array = np.ndarray
FASHION = Path("/usr/share/datasets/fashion-mnist")


def images(folder: Path, whole: bool = False) -> tuple[Array, Array, Array, Array]:
    """Rows in [0, 1] and labels of training and test; 196 numbers a row, 784 of ``whole`` images.

    Without the folder scikit-learn's digits, 64 numbers a row.
    """
    if not folder.exists():
        from sklearn.datasets import load_digits

        X, y = load_digits(return_X_y=True)
        X = (X / 16.0).astype(np.float32)
        return X[:1400], y[:1400], X[1400:], y[1400:]
    parts = []
    for kind in ("train", "t10k"):
        raw = gzip.decompress((folder / f"{kind}-images-idx3-ubyte.gz").read_bytes())
        pixels = np.frombuffer(raw, np.uint8, offset=16).reshape(-1, 14, 2, 14, 2)
        small = pixels if whole else pixels.mean((2, 4))
        labels = gzip.decompress((folder / f"{kind}-labels-idx1-ubyte.gz").read_bytes())
        parts += [
            (small.reshape(len(small), -1) / 255.0).astype(np.float32),
            np.frombuffer(labels, np.uint8, offset=8).astype(int),
        ]
    return parts[0], parts[1], parts[2], parts[3]


def trained(X: Array, y: Array, sizes: tuple[int, ...], steps: int = 3000) -> onnx.ModelProto:
    """A ReLU network trained by Adam, as ONNX."""
    rng = np.random.default_rng(0)
    W = [rng.normal(0, np.sqrt(2 / d), (m, d)).astype(np.float32) for d, m in pairwise(sizes)]
    b = [np.zeros(m, np.float32) for m in sizes[1:]]
    adam = Adam([*W, *b], 2e-3)
    for step in range(steps):
        rows = rng.integers(0, len(X), 128)
        inputs = [X[rows]]
        for k in range(len(W)):
            z = inputs[-1] @ W[k].T + b[k]
            inputs.append(np.maximum(z, 0.0) if k < len(W) - 1 else z)
        p = np.exp(inputs[-1] - inputs[-1].max(axis=1, keepdims=True))
        back = p / p.sum(axis=1, keepdims=True)
        back[np.arange(128), y[rows]] -= 1.0
        back /= 128.0
        slopes: list[Any] = [None] * (2 * len(W))
        for k in range(len(W) - 1, -1, -1):
            slopes[k], slopes[len(W) + k] = back.T @ inputs[k], back.sum(axis=0)
            back = (back @ W[k]) * (inputs[k] > 0.0)
        adam.step(slopes, 1.0 - step / steps)
    return as_onnx(W, b)


def as_onnx(W: list[Array], b: list[Array]) -> onnx.ModelProto:
    nodes, constants, x = [], [], "x"
    for k, (weights, bias) in enumerate(zip(W, b, strict=True)):
        constants.append(numpy_helper.from_array(weights, f"W{k}"))
        constants.append(numpy_helper.from_array(bias, f"b{k}"))
        last = k == len(W) - 1
        target = "y" if last else f"a{k}"
        nodes.append(
            helper.make_node("Gemm", [x, f"W{k}", f"b{k}"], [target], f"dense{k}", transB=1)
        )
        if not last:
            nodes.append(helper.make_node("Relu", [target], [f"h{k}"]))
            x = f"h{k}"
    ends = [("x", W[0].shape[1]), ("y", len(W[-1]))]
    tensors = [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["n", d]) for n, d in ends]
    graph = helper.make_graph(nodes, "net", tensors[:1], tensors[1:], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
