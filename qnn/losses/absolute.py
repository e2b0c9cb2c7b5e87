"""The absolute loss."""

from typing import Any

import numpy as np

from qnn.losses.base import Array, Loss, largest_scale
from qnn.numerics.floating import sum_below


class Absolute(Loss):
    """``l = |yhat - y|``; ``-g*(-nu) = nu'y`` for ``|nu_i| <= 1``."""

    name = "absolute"
    formula = "Σ |ŷᵢ − yᵢ|"
    dual_formula = "νᵀy"
    dual_domain = "|νᵢ| ≤ 1"
    degree = 1
    piecewise_linear = True

    def value(self, predictions: Array, y: Array) -> float:
        """``sum |yhat - y|``."""
        return float(np.abs(predictions - y).sum())

    def gradient(self, predictions: Array, y: Array) -> Array:
        """The sign of the residual."""
        return np.sign(predictions - y)

    def dual_value(self, nu: Array, y: Array) -> float:
        """``nu'y`` where ``|nu| <= 1``, else -inf."""
        if np.any(np.abs(nu) > 1.0):
            return -np.inf
        return float(nu @ y)

    def proven_dual_value(self, nu: Array, y: Array, margin: float) -> float:
        """``nu'y``, rounded down."""
        self.require(np.abs(nu) <= 1.0)
        return sum_below(nu * y, nu, margin)

    def expression(self, cp: Any, predictions: Any, y: Array) -> Any:
        """The l1 norm."""
        return cp.norm1(predictions - y)

    def prox(self, v: Array, y: Array, step: float) -> Array:
        """Soft-threshold the residual by step."""
        r = v - y
        return y + np.sign(r) * np.maximum(np.abs(r) - step, 0.0)

    def clip_dual(self, nu: Array, y: Array) -> Array:
        """Clipped to +-1."""
        return np.clip(nu, -1.0, 1.0)

    def domain_scale(self, nu: Array, y: Array) -> float:
        """``1 / max|nu|``."""
        return largest_scale(np.abs(nu), 1.0)

    def best_dual_scale(self, nu: Array, y: Array, limit: float) -> float:
        """As large as allowed if ``nu'y > 0``: the dual is linear in the scale."""
        top = min(limit, self.domain_scale(nu, y))
        return top if np.isfinite(top) and float(nu @ y) > 0.0 else 0.0
