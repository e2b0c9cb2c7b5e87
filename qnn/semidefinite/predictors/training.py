"""Training without labels: the caller gives the gradient of a bound by the network's outputs."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

import numpy as np

from qnn.numerics.adam import Adam
from qnn.semidefinite.predictors.network import Network

Array = np.ndarray
# A batch of inputs (N, in) by a generator.
Draw = Callable[[np.random.Generator, int], Array]
# From inputs (N, in) and outputs (N, out): the mean loss, and its gradient by the outputs (N, out).
Loss = Callable[[Array, Array], tuple[float, Array]]


def train(
    widths: Sequence[int],
    draw: Draw,
    loss: Loss,
    steps: int,
    seed: int,
    purpose: str,
    batch: int = 512,
    rate: float = 2e-3,
    report: Callable[[int, float], None] | None = None,
) -> Network:
    """Adam with a cosine decay, for a number of steps: the same seed gives the same network.

    ``widths``: of the input, each hidden layer, and the output. ``report(step, loss)`` is called
    after each step.
    """
    rng = np.random.default_rng(seed)
    weights, biases = _drawn(widths, rng)
    adam = Adam([*weights, *biases], rate)
    for step in range(steps):
        rows = draw(rng, batch)
        layers = _forward(rows.astype(np.float32), weights, biases)
        value, gradient = loss(rows, layers[-1][1].astype(np.float64))
        adam.step(
            _backward(layers, weights, gradient.astype(np.float32)),
            0.5 * (1.0 + np.cos(np.pi * step / steps)),
        )
        if report is not None:
            report(step, value)
    return Network(tuple(weights), tuple(biases), purpose)


def _drawn(widths: Sequence[int], rng: np.random.Generator) -> tuple[list[Array], list[Array]]:
    """He's normal weights, those of the last layer a tenth of it; biases 0."""
    weights = []
    for before, after in itertools.pairwise(widths):
        weights.append(rng.normal(size=(before, after)) * (2.0 / before) ** 0.5)
    weights[-1] *= 0.1
    return [w.astype(np.float32) for w in weights], [
        np.zeros(width, dtype=np.float32) for width in widths[1:]
    ]


def _forward(rows: Array, weights: list[Array], biases: list[Array]) -> list[tuple[Array, Array]]:
    """Each layer's input, and its output before the rectifier."""
    layers = []
    for weight, bias in zip(weights, biases, strict=True):
        z = rows @ weight + bias
        layers.append((rows, z))
        rows = 0.5 * z * (1.0 + z / np.sqrt(1.0 + z * z))
    return layers


def _backward(
    layers: list[tuple[Array, Array]], weights: list[Array], gradient: Array
) -> list[Array]:
    """The gradients of all weights, then of all biases, from that of the last output."""
    by_weight, by_bias = [], []
    for k in range(len(weights) - 1, -1, -1):
        rows, _ = layers[k]
        by_weight.append(rows.T @ gradient)
        by_bias.append(gradient.sum(0))
        if k:
            z = layers[k - 1][1]
            root = 1.0 / np.sqrt(1.0 + z * z)
            slope = 0.5 * (1.0 + z * root + z * root**3)
            gradient = (gradient @ weights[k].T) * slope
    return by_weight[::-1] + by_bias[::-1]
