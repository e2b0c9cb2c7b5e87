"""The squared hinge loss."""

from typing import Any

import numpy as np

from qnn.losses.base import Array, MarginLoss
from qnn.numerics.floating import parabola_below


class SquaredHinge(MarginLoss):
    """``l = max(0, 1 - y yhat)^2 / 2``; ``-g*(-nu) = sum y nu - nu^2 / 2`` for ``y nu >= 0``."""

    name = "squared_hinge"
    formula = "½ Σ max(0, 1 − yᵢŷᵢ)²"
    dual_formula = "νᵀy − ½‖ν‖²"
    dual_domain = "yᵢνᵢ ≥ 0"
    weighted_formula = "½ Σ wᵢ max(0, 1 − yᵢŷᵢ)²"
    weighted_dual_formula = "νᵀy − ½ Σ νᵢ² / wᵢ"
    weighted_dual_domain = "yᵢνᵢ ≥ 0"
    curvature = 1.0
    takes_weights = True

    def value(self, predictions: Array, y: Array) -> float:
        """``sum max(0, 1 - y yhat)^2 / 2``."""
        slack = np.maximum(0.0, 1.0 - y * predictions)
        return 0.5 * float(slack @ (self.weight * slack))

    def gradient(self, predictions: Array, y: Array) -> Array:
        """``-y max(0, 1 - y yhat)``."""
        return -y * self.weight * np.maximum(0.0, 1.0 - y * predictions)

    def second_derivative(self, predictions: Array, y: Array) -> Array:
        """1 where the margin is below 1, else 0."""
        return self.weight * np.where(y * predictions < 1.0, 1.0, 0.0)

    def dual_value(self, nu: Array, y: Array) -> float:
        """``sum y nu - nu^2 / 2`` where ``y nu >= 0``, else -inf."""
        if np.any(y * nu < 0.0):
            return -np.inf
        return float(nu @ y) - 0.5 * float(nu @ (nu / self.weight))

    def dual_slopes(self, nu: Array, y: Array) -> tuple[Array, Array]:
        """``y - nu`` and -1."""
        return y - nu / self.weight, np.full(len(nu), -1.0) / self.weight

    def proven_dual_value(self, nu: Array, y: Array, margin: float) -> float:
        """``sum y nu - nu^2 / 2``, rounded down."""
        self.require(y * nu >= 0.0)
        return parabola_below(nu, y, margin, self.weight)

    def expression(self, cp: Any, predictions: Any, y: Array) -> Any:
        """Half the positive parts' sum of squares."""
        slack = cp.pos(1.0 - cp.multiply(y, predictions))
        return 0.5 * cp.sum_squares(cp.multiply(np.sqrt(self.weight), slack))

    def prox(self, v: Array, y: Array, step: float) -> Array:
        """The weighted mean of the margin and 1, where the margin is below 1."""
        margin, steps = y * v, step * self.weight
        return y * np.where(margin >= 1.0, margin, (margin + steps) / (1.0 + steps))

    def clip_dual(self, nu: Array, y: Array) -> Array:
        """Entries of the wrong sign become 0."""
        return y * np.maximum(y * nu, 0.0)

    def best_dual_scale(self, nu: Array, y: Array, limit: float) -> float:
        """``nu'y / ||nu||^2``, clipped: the dual is a parabola in the scale."""
        square = float(nu @ (nu / self.weight))
        if square == 0.0:
            return 0.0
        return float(np.clip(float(nu @ y) / square, 0.0, limit))
