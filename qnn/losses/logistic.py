"""The logistic loss."""

import math
from typing import Any

import numpy as np
from scipy.special import expit, xlog1py, xlogy

from qnn.losses.base import Array, MarginLoss, largest_scale
from qnn.numerics.floating import UNIT


class Logistic(MarginLoss):
    """``l = log(1 + exp(-y yhat))``; ``-g*(-nu) = sum H(y nu)``, H the binary entropy in nats."""

    name = "logistic"
    formula = "Σ log(1 + exp(−yᵢŷᵢ))"
    dual_formula = "Σ H(yᵢνᵢ), H the binary entropy,"
    dual_domain = "0 ≤ yᵢνᵢ ≤ 1"
    curvature = 0.25

    def value(self, predictions: Array, y: Array) -> float:
        """``sum log(1 + exp(-y yhat))``, without overflow."""
        return float(np.logaddexp(0.0, -y * predictions).sum())

    def gradient(self, predictions: Array, y: Array) -> Array:
        """``-y / (1 + exp(y yhat))``."""
        return -y * expit(-y * predictions)

    def second_derivative(self, predictions: Array, y: Array) -> Array:
        """``p (1 - p)``, p the probability of a class."""
        p = expit(predictions)
        return p * (1.0 - p)

    def dual_value(self, nu: Array, y: Array) -> float:
        """``sum H(y nu)`` where ``0 <= y nu <= 1``, else -inf."""
        w = y * nu
        if np.any(w < 0.0) or np.any(w > 1.0):
            return -np.inf
        return float(-(xlogy(w, w) + xlog1py(1.0 - w, -w)).sum())

    def dual_slopes(self, nu: Array, y: Array) -> tuple[Array, Array]:
        """``y log((1 - w) / w)`` and ``-1 / (w (1 - w))``, where ``w = y nu``."""
        w = y * nu
        return y * (np.log1p(-w) - np.log(w)), -1.0 / (w * (1.0 - w))

    def proven_dual_value(self, nu: Array, y: Array, margin: float) -> float:
        """``sum H(y nu)``, rounded down."""
        w = y * nu
        self.require((w >= 0.0) & (w <= 1.0))
        inner = w[(w > 0.0) & (w < 1.0)]
        # Both terms are nonnegative; logarithms are taken as good to 16 units in the last place.
        entropy = -inner * np.log(inner) - (1.0 - inner) * np.log1p(-inner)
        return math.fsum(entropy.tolist()) * (1.0 - margin * 32.0 * UNIT)

    def expression(self, cp: Any, predictions: Any, y: Array) -> Any:
        """The sum of cvxpy's own logistic atom."""
        return cp.sum(cp.logistic(-cp.multiply(y, predictions)))

    def prox(self, v: Array, y: Array, step: float) -> Array:
        """Newton's method on the margin ``s = y r``: ``F(s) = s - y v - step expit(-s) = 0``.

        F is increasing, convex for s < 0 and concave for s > 0, so from 0 (or the nearer end of the
        bracket ``[y v, y v + step]``) the iterates approach the root from one side.
        """
        margin = y * v
        s = np.clip(0.0, margin, margin + step)
        for _ in range(100):
            p = expit(-s)
            change = (s - margin - step * p) / (1.0 + step * p * (1.0 - p))
            s = s - change
            if np.max(np.abs(change) - 4e-16 * np.abs(s), initial=0.0) <= 1e-15:
                break
        return y * s

    def clip_dual(self, nu: Array, y: Array) -> Array:
        """``y nu`` clipped to [0, 1]."""
        return y * np.clip(y * nu, 0.0, 1.0)

    def domain_scale(self, nu: Array, y: Array) -> float:
        """``1 / max(y nu)``."""
        return largest_scale(y * nu, 1.0)
