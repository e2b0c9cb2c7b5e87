"""A ResNet-20 trained here in numpy: ``python -m tests.benchmarks.residual FILE.onnx``.

The network of K. He et al. (CVPR 2016, section 4.2) on Fashion-MNIST at 14x14: 3 stages of 3 blocks
with 16, 32 and 64 channels, some 272,000 weights. Some minutes of one core; the batch
normalizations are left as nodes, as PyTorch and Keras export them.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from threadpoolctl import threadpool_limits

from qnn.numerics.adam import Adam
from tests.benchmarks.fashion import FASHION, images

Array = np.ndarray
Back = Callable[[Array], Array]

SIDE, CLASSES, BATCH = 14, 10, 128
STAGES = (16, 32, 64)
BLOCKS = 3
EPSILON, KEPT = 1e-5, 0.9


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("--data", type=Path, default=FASHION)
    parser.add_argument("--steps", type=int, default=700)
    arguments = parser.parse_args()
    with threadpool_limits(1):
        X, y, Xt, yt = images(arguments.data)
        network = Residual(np.random.default_rng(0))
        network.train(X.reshape(-1, SIDE, SIDE, 1), y, arguments.steps)
        arguments.file.write_bytes(network.as_onnx().SerializeToString())
        scores, _ = network.forward(Xt[:2000].reshape(-1, SIDE, SIDE, 1), learning=False)
        print(f"{100 * np.mean(scores.argmax(1) == yt[:2000]):.1f} % of 2,000 test rows")


class Residual:
    """Weights, statistics of the batch normalizations, and the passes; images are (n, h, w, c)."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng
        self.weights: dict[str, Array] = {}
        self.slopes: dict[str, Array] = {}
        self.statistics: dict[str, Array] = {}
        self.plan: list[tuple[str, int, int, int]] = []
        self._convolution("first", 1, STAGES[0], 3)
        channels = STAGES[0]
        for stage, width in enumerate(STAGES):
            for block in range(BLOCKS):
                name, stride = f"s{stage}b{block}", 2 if stage and not block else 1
                self._convolution(f"{name}.a", channels, width, 3)
                self._convolution(f"{name}.b", width, width, 3)
                if stride > 1:
                    self._convolution(f"{name}.side", channels, width, 1)
                self.plan.append((name, channels, width, stride))
                channels = width
        self.weights["last"] = self._normal(channels, CLASSES, channels)
        self.weights["last.bias"] = np.zeros(CLASSES, np.float32)

    def _normal(self, rows: int, columns: int, fan: int) -> Array:
        return self.rng.normal(0, np.sqrt(2 / fan), (rows, columns)).astype(np.float32)

    def _convolution(self, name: str, inputs: int, outputs: int, kernel: int) -> None:
        """Weights (kernel^2 inputs, outputs), and the normalization behind them."""
        fan = kernel * kernel * inputs
        self.weights[name] = self._normal(fan, outputs, fan)
        self.weights[f"{name}.scale"] = np.ones(outputs, np.float32)
        self.weights[f"{name}.shift"] = np.zeros(outputs, np.float32)
        self.statistics[f"{name}.mean"] = np.zeros(outputs, np.float32)
        self.statistics[f"{name}.variance"] = np.ones(outputs, np.float32)

    def train(self, X: Array, y: Array, steps: int) -> None:
        """Adam on cross-entropy, the rate falling to 0."""
        names = list(self.weights)
        adam, started = Adam([self.weights[n] for n in names], 4e-3), time.process_time()
        for step in range(steps):
            rows = self.rng.integers(0, len(X), BATCH)
            scores, back = self.forward(X[rows])
            p = np.exp(scores - scores.max(axis=1, keepdims=True))
            p /= p.sum(axis=1, keepdims=True)
            loss = float(-np.log(p[np.arange(BATCH), y[rows]] + 1e-12).mean())
            p[np.arange(BATCH), y[rows]] -= 1.0
            back(p / BATCH)
            adam.step([self.slopes[n] for n in names], 1.0 - step / steps)
            if step % 50 == 0:
                used = time.process_time() - started
                print(f"step {step} of {steps}: loss {loss:.3f}, {used:.0f} s", flush=True)

    def forward(self, x: Array, learning: bool = True) -> tuple[Array, Back]:
        """Scores (n, 10), and the function that takes their gradient back to all weights."""
        backs: list[Back] = []
        x = self._chain(backs, x, self._normalized("first", x, 1, learning), _positive)
        for name, _, _, stride in self.plan:
            x, back = self._block(name, x, stride, learning)
            backs.append(back)
        shape, flat = x.shape, x.mean(axis=(1, 2))
        W = self.weights["last"]

        def all_back(g: Array) -> Array:
            self.slopes["last"], self.slopes["last.bias"] = flat.T @ g, g.sum(axis=0)
            spread = (g @ W.T / (shape[1] * shape[2]))[:, None, None, :]
            g = np.broadcast_to(spread, shape)
            for back in reversed(backs):
                g = back(g)
            return g

        return flat @ W + self.weights["last.bias"], all_back

    @staticmethod
    def _chain(backs: list[Back], x: Array, first: tuple[Array, Back], then: Any) -> Array:
        middle, back = first
        y, after = then(middle)
        backs += [back, after]
        return y

    def _block(self, name: str, x: Array, stride: int, learning: bool) -> tuple[Array, Back]:
        backs: list[Back] = []
        middle = self._chain(
            backs, x, self._normalized(f"{name}.a", x, stride, learning), _positive
        )
        deep, deep_back = self._normalized(f"{name}.b", middle, 1, learning)
        side, side_back = x, None
        if stride > 1:
            side, side_back = self._normalized(f"{name}.side", x, stride, learning)
        y, end = _positive(deep + side)

        def back(g: Array) -> Array:
            g = end(g)
            along = g if side_back is None else side_back(g)
            return backs[0](backs[1](deep_back(g))) + along

        return y, back

    def _normalized(self, name: str, x: Array, stride: int, learning: bool) -> tuple[Array, Back]:
        """Convolution and batch normalization."""
        y, back = self._convolved(name, x, stride)
        scale, shift = self.weights[f"{name}.scale"], self.weights[f"{name}.shift"]
        mean, variance = self.statistics[f"{name}.mean"], self.statistics[f"{name}.variance"]
        if learning:
            now, spread = y.mean(axis=(0, 1, 2)), y.var(axis=(0, 1, 2))
            mean += (1.0 - KEPT) * (now - mean)
            variance += (1.0 - KEPT) * (spread - variance)
            mean, variance = now, spread
        root = np.sqrt(variance + EPSILON)
        unit = (y - mean) / root

        def normal_back(g: Array) -> Array:
            n = g.size // g.shape[3]
            by_shift, by_scale = g.sum(axis=(0, 1, 2)), (g * unit).sum(axis=(0, 1, 2))
            self.slopes[f"{name}.scale"], self.slopes[f"{name}.shift"] = by_scale, by_shift
            return back((scale / root) * (g - by_shift / n - unit * (by_scale / n)))

        return scale * unit + shift, normal_back

    def _convolved(self, name: str, x: Array, stride: int) -> tuple[Array, Back]:
        W = self.weights[name]
        n, h, w, c = x.shape
        kernel = 3 if len(W) == 9 * c else 1
        margin, high, wide = kernel // 2, -(-h // stride), -(-w // stride)
        padded = np.pad(x, ((0, 0), (margin, margin), (margin, margin), (0, 0)))
        windows = [
            (slice(i, i + stride * (high - 1) + 1, stride),
             slice(j, j + stride * (wide - 1) + 1, stride))
            for i in range(kernel)
            for j in range(kernel)
        ]  # fmt: skip
        rows = np.concatenate([padded[:, a, b] for a, b in windows], axis=3).reshape(-1, len(W))

        def back(g: Array) -> Array:
            g = g.reshape(-1, W.shape[1])
            self.slopes[name] = rows.T @ g
            parts = (g @ W.T).reshape(n, high, wide, len(windows), c)
            into = np.zeros_like(padded)
            for k, (a, b) in enumerate(windows):
                into[:, a, b] += parts[:, :, :, k]
            return into[:, margin : margin + h, margin : margin + w]

        return (rows @ W).reshape(n, high, wide, -1), back

    def as_onnx(self) -> onnx.ModelProto:
        """The network with its normalizations as nodes; images (n, 1, 14, 14)."""
        writer = _Writer(self)
        x = writer.node("Relu", writer.normalized("first", "x", 1))
        for name, _, _, stride in self.plan:
            deep = writer.node("Relu", writer.normalized(f"{name}.a", x, stride))
            deep = writer.normalized(f"{name}.b", deep, 1)
            side = writer.normalized(f"{name}.side", x, stride) if stride > 1 else x
            x = writer.node("Relu", writer.node("Add", deep, side))
        x = writer.node("Flatten", writer.node("GlobalAveragePool", x))
        W, b = writer.constant("last", self.weights["last"]), self.weights["last.bias"]
        writer.node("Gemm", x, W, writer.constant("last.bias", b), output="y")
        return writer.model()


def _positive(x: Array) -> tuple[Array, Back]:
    y = np.maximum(x, 0.0)
    return y, lambda g: g * (y > 0.0)


class _Writer:
    """ONNX nodes under construction."""

    def __init__(self, network: Residual) -> None:
        self.network = network
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def constant(self, name: str, values: Array) -> str:
        self.constants.append(numpy_helper.from_array(values.astype(np.float32), name))
        return name

    def node(self, op: str, *inputs: str, output: str | None = None, **attributes: Any) -> str:
        name = output or f"t{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, inputs, [name], name, **attributes))
        return name

    def normalized(self, name: str, x: str, stride: int) -> str:
        weights, statistics = self.network.weights, self.network.statistics
        W = weights[name]
        kernel = 1 if name.endswith("side") else 3
        square = W.reshape(kernel, kernel, -1, W.shape[1]).transpose(3, 2, 0, 1)
        pads, strides = [kernel // 2] * 4, [stride, stride]
        made = self.node(
            "Conv", x, self.constant(name, np.ascontiguousarray(square)),
            kernel_shape=[kernel] * 2, pads=pads, strides=strides,
        )  # fmt: skip
        rest = [self.constant(f"{name}.{k}", weights[f"{name}.{k}"]) for k in ("scale", "shift")]
        rest += [
            self.constant(f"{name}.{k}", statistics[f"{name}.{k}"]) for k in ("mean", "variance")
        ]
        return self.node("BatchNormalization", made, *rest, epsilon=EPSILON)

    def model(self) -> onnx.ModelProto:
        ends = [("x", ["n", 1, SIDE, SIDE]), ("y", ["n", CLASSES])]
        tensors = [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in ends]
        graph = helper.make_graph(self.nodes, "resnet20", tensors[:1], tensors[1:], self.constants)
        made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
        onnx.checker.check_model(made, full_check=True)
        return made


if __name__ == "__main__":
    main()
