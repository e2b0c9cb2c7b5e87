"""The logistic loss."""

import numpy as np
from scipy.special import expit, xlog1py, xlogy

from qnn.losses.base import Array, MarginLoss, largest_scale


class Logistic(MarginLoss):
    """``l = log(1 + exp(-y yhat))``; ``-g*(-nu) = sum H(y nu)``, H the binary entropy in nats."""

    name = "logistic"
    curvature = 0.25

    def value(self, predictions: Array, y: Array) -> float:
        """``sum log(1 + exp(-y yhat))``, without overflow."""
        return float(np.logaddexp(0.0, -y * predictions).sum())

    def gradient(self, predictions: Array, y: Array) -> Array:
        """``-y / (1 + exp(y yhat))``."""
        return -y * expit(-y * predictions)

    def dual_value(self, nu: Array, y: Array) -> float:
        """``sum H(y nu)`` where ``0 <= y nu <= 1``, else -inf."""
        w = y * nu
        if np.any(w < 0.0) or np.any(w > 1.0):
            return -np.inf
        return float(-(xlogy(w, w) + xlog1py(1.0 - w, -w)).sum())

    def prox(self, v: Array, y: Array, step: float) -> Array:
        """Newton on the dual weight ``w = y nu`` in (0, 1), safeguarded by bisection.

        The optimum has ``r = v + step y w`` with ``w = expit(-y r)``: one increasing scalar
        equation a row, ``w - expit(-(y v + step w)) = 0``.
        """
        margin = y * v
        low, high = np.zeros_like(v), np.ones_like(v)
        w = expit(-margin)
        for _ in range(60):
            p = expit(-(margin + step * w))
            f = w - p
            high, low = np.where(f > 0, w, high), np.where(f > 0, low, w)
            if np.max(np.abs(f), initial=0.0) <= 1e-15:
                break
            newton = w - f / (1.0 + step * p * (1.0 - p))
            inside = (newton > low) & (newton < high)
            w = np.where(inside, newton, 0.5 * (low + high))
        return v + step * y * w

    def clip_dual(self, nu: Array, y: Array) -> Array:
        """``y nu`` clipped to [0, 1]."""
        return y * np.clip(y * nu, 0.0, 1.0)

    def domain_scale(self, nu: Array, y: Array) -> float:
        """``1 / max(y nu)``."""
        return largest_scale(y * nu, 1.0)
