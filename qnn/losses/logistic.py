"""The logistic loss."""

import math
from typing import Any

import numpy as np
from scipy.special import expit, xlog1py, xlogy

from qnn.losses.base import Array, MarginLoss, largest_scale
from qnn.numerics.floating import TINY, UNIT


class Logistic(MarginLoss):
    """``l = log(1 + exp(-y yhat))``; ``-g*(-nu) = sum w H(y nu / w)``.

    H is the binary entropy in nats.
    """

    name = "logistic"
    formula = "Σ log(1 + exp(−yᵢŷᵢ))"
    dual_formula = "Σ H(yᵢνᵢ), H the binary entropy"
    dual_domain = "0 ≤ yᵢνᵢ ≤ 1"
    weighted_formula = "Σ wᵢ log(1 + exp(−yᵢŷᵢ))"
    weighted_dual_formula = "Σ wᵢ H(yᵢνᵢ / wᵢ), H the binary entropy"
    weighted_dual_domain = "0 ≤ yᵢνᵢ ≤ wᵢ"
    curvature = 0.25
    takes_weights = True

    def value(self, predictions: Array, y: Array) -> float:
        """``sum log(1 + exp(-y yhat))``, without overflow."""
        return float((self.weight * np.logaddexp(0.0, -y * predictions)).sum())

    def gradient(self, predictions: Array, y: Array) -> Array:
        """``-y / (1 + exp(y yhat))``."""
        return -y * self.weight * expit(-y * predictions)

    def second_derivative(self, predictions: Array, y: Array) -> Array:
        """``p (1 - p)``, p the probability of a class."""
        p = expit(predictions)
        return self.weight * p * (1.0 - p)

    def dual_value(self, nu: Array, y: Array) -> float:
        """``sum H(y nu)`` where ``0 <= y nu <= 1``, else -inf."""
        p = y * nu / self.weight
        if np.any(p < 0.0) or np.any(p > 1.0):
            return -np.inf
        return float(-(self.weight * (xlogy(p, p) + xlog1py(1.0 - p, -p))).sum())

    def dual_slopes(self, nu: Array, y: Array) -> tuple[Array, Array]:
        """``y log((1 - p) / p)`` and ``-1 / (w p (1 - p))``, where ``p = y nu / w``."""
        p = y * nu / self.weight
        return y * (np.log1p(-p) - np.log(p)), -1.0 / (self.weight * p * (1.0 - p))

    def proven_dual_value(self, nu: Array, y: Array, margin: float) -> float:
        """``sum w H(y nu / w)``, rounded down."""
        s = y * nu
        self.require((s >= 0.0) & (s <= self.weight))
        if self.weights is not None:
            return self._proven_weighted(s, self.weights, margin)
        inner = s[(s > 0.0) & (s < 1.0)]
        # Both terms are nonnegative; logarithms are taken as good to 16 units in the last place.
        entropy = -inner * np.log(inner) - (1.0 - inner) * np.log1p(-inner)
        return math.fsum(entropy.tolist()) * (1.0 - margin * 32.0 * UNIT)

    @staticmethod
    def _proven_weighted(s: Array, w: Array, margin: float) -> float:
        """Below ``sum w H(s / w)``, for ``0 <= s <= w``.

        H is concave with H(0) = 0, so ``H(p (1 + e)) <= (1 + e) H(p)``: the nearer of the two ends
        is divided, which rounds p at most twice relatively, and the entropy as much. What is left
        out where p would lose digits is nonnegative.
        """
        p = np.minimum(s, w - s) / w
        kept = p > TINY
        p, w = p[kept], w[kept]
        entropy = w * (-p * np.log(p) - (1.0 - p) * np.log1p(-p))
        return math.fsum(entropy.tolist()) * (1.0 - margin * 40.0 * UNIT)

    def expression(self, cp: Any, predictions: Any, y: Array) -> Any:
        """The sum of cvxpy's own logistic atom."""
        terms = cp.logistic(-cp.multiply(y, predictions))
        return cp.sum(cp.multiply(self.weight, terms))

    def prox(self, v: Array, y: Array, step: float) -> Array:
        """Newton's method on the margin ``s = y r``: ``F(s) = s - y v - step expit(-s) = 0``.

        F is increasing, convex for s < 0 and concave for s > 0, so from 0 (or the nearer end of the
        bracket ``[y v, y v + step]``) the iterates approach the root from one side.
        """
        margin, steps = y * v, step * self.weight
        s = np.clip(0.0, margin, margin + steps)
        for _ in range(100):
            p = expit(-s)
            change = (s - margin - steps * p) / (1.0 + steps * p * (1.0 - p))
            s = s - change
            if np.max(np.abs(change) - 4e-16 * np.abs(s), initial=0.0) <= 1e-15:
                break
        return y * s

    def clip_dual(self, nu: Array, y: Array) -> Array:
        """``y nu`` clipped to [0, w]."""
        return y * np.clip(y * nu, 0.0, self.weight)

    def domain_scale(self, nu: Array, y: Array) -> float:
        """``1 / max(y nu / w)``."""
        return largest_scale(y * nu, self.weight)
