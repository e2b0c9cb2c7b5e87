"""Attacks on ReLU networks: projected gradient descent of the margins, from many starts at once."""

from __future__ import annotations

import numpy as np

from qnn.networks.layered import LayeredNetwork

Array = np.ndarray
_STEPS = 60


def margin_gradients(network: LayeredNetwork, X: Array, C: Array) -> tuple[Array, Array]:
    """``c'f(x)`` (n,) of each row with its own c, C (n, outputs), and the gradients (n, d)."""
    active = []
    for W, b in zip(network.weights[:-1], network.biases[:-1], strict=True):
        X = X @ W + b
        active.append(X > 0.0)
        X = np.maximum(X, 0.0)
    values = np.sum((X @ network.weights[-1] + network.biases[-1]) * C, axis=1)
    slope = C @ network.weights[-1].T
    for W, on in zip(network.weights[-2::-1], active[::-1], strict=True):
        slope = (slope * on) @ W.T
    return values, slope


class Ball:
    """Where attacks may go: a box, or the ellipsoid around its middle that touches it."""

    def __init__(self, low: Array, high: Array, norm: str) -> None:
        self.low, self.high, self.norm = low, high, norm
        self.middle, self.radius = 0.5 * (low + high), 0.5 * (high - low)

    def step(self, X: Array, slope: Array, size: float) -> Array:
        """Downhill by a part of the radius, and back into the region."""
        if self.norm == "linf":
            return np.clip(X - size * self.radius * np.sign(slope), self.low, self.high)
        scaled = slope * self.radius
        length = np.linalg.norm(scaled, axis=1, keepdims=True)
        return self.inside(X - size * self.radius * scaled / np.maximum(length, 1e-300))

    def inside(self, X: Array) -> Array:
        """The nearest points of the region, along rays where it is an ellipsoid."""
        if self.norm == "linf":
            return np.clip(X, self.low, self.high)
        z = (X - self.middle) / np.where(self.radius > 0.0, self.radius, 1.0)
        length = np.linalg.norm(z, axis=1, keepdims=True)
        return self.middle + self.radius * z / np.maximum(length, 1.0)


def descended(
    network: LayeredNetwork, ball: Ball, C: Array, starts: Array, steps: int = _STEPS
) -> tuple[Array, Array]:
    """The best point (K, d) and margin (K,) of each row of C (K, outputs), from starts (q, d)."""
    K, q = len(C), len(starts)
    X = np.tile(ball.inside(starts), (K, 1))
    rows = np.repeat(C, q, axis=0)
    best, values = X.copy(), np.full(K * q, np.inf)
    for index in range(steps + 1):
        value, slope = margin_gradients(network, X, rows)
        better = value < values
        best[better], values[better] = X[better], value[better]
        X = ball.step(X, slope, 0.5 * 0.93**index)
    chosen = values.reshape(K, q).argmin(axis=1) + q * np.arange(K)
    return best[chosen], values[chosen]
