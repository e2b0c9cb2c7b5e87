"""The absolute loss."""

from typing import Any

import numpy as np

from qnn.losses.base import Array, Loss, largest_scale
from qnn.numerics.floating import sum_below


class Absolute(Loss):
    """``l = |yhat - y|``; ``-g*(-nu) = nu'y`` for ``|nu_i| <= w_i``."""

    name = "absolute"
    formula = "Σ |ŷᵢ − yᵢ|"
    dual_formula = "νᵀy"
    dual_domain = "|νᵢ| ≤ 1"
    weighted_formula = "Σ wᵢ |ŷᵢ − yᵢ|"
    weighted_dual_formula = "νᵀy"
    weighted_dual_domain = "|νᵢ| ≤ wᵢ"
    degree = 1
    piecewise_linear = True
    takes_weights = True

    def value(self, predictions: Array, y: Array) -> float:
        """``sum |yhat - y|``."""
        return float((self.weight * np.abs(predictions - y)).sum())

    def gradient(self, predictions: Array, y: Array) -> Array:
        """The sign of the residual."""
        return self.weight * np.sign(predictions - y)

    def dual_value(self, nu: Array, y: Array) -> float:
        """``nu'y`` where ``|nu| <= w``, else -inf."""
        if np.any(np.abs(nu) > self.weight):
            return -np.inf
        return float(nu @ y)

    def proven_dual_value(self, nu: Array, y: Array, margin: float) -> float:
        """``nu'y``, rounded down."""
        self.require(np.abs(nu) <= self.weight)
        return sum_below(nu * y, nu, margin)

    def expression(self, cp: Any, predictions: Any, y: Array) -> Any:
        """The l1 norm."""
        return cp.norm1(cp.multiply(self.weight, predictions - y))

    def prox(self, v: Array, y: Array, step: float) -> Array:
        """Soft-threshold the residual by step times w."""
        r, steps = v - y, step * self.weight
        return y + np.sign(r) * np.maximum(np.abs(r) - steps, 0.0)

    def clip_dual(self, nu: Array, y: Array) -> Array:
        """Clipped to +-w."""
        return np.clip(nu, -1.0 * self.weight, self.weight)

    def domain_scale(self, nu: Array, y: Array) -> float:
        """``1 / max|nu / w|``."""
        return largest_scale(np.abs(nu), self.weight)

    def best_dual_scale(self, nu: Array, y: Array, limit: float) -> float:
        """As large as allowed if ``nu'y > 0``: the dual is linear in the scale."""
        top = min(limit, self.domain_scale(nu, y))
        return top if np.isfinite(top) and float(nu @ y) > 0.0 else 0.0
