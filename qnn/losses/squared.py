"""Half the sum of squared errors."""

from typing import Any

import numpy as np

from qnn.losses.base import Array, Loss
from qnn.numerics.floating import parabola_below


class Squared(Loss):
    """``l = (yhat - y)^2 / 2``; ``-g*(-nu) = nu'y - sum nu^2 / (2 w)`` everywhere."""

    name = "squared"
    formula = "½‖ŷ − y‖²"
    dual_formula = "νᵀy − ½‖ν‖²"
    weighted_formula = "½ Σ wᵢ (ŷᵢ − yᵢ)²"
    weighted_dual_formula = "νᵀy − ½ Σ νᵢ² / wᵢ"
    degree = 2
    curvature = 1.0
    quadratic = True
    takes_weights = True

    def value(self, predictions: Array, y: Array) -> float:
        """``||predictions - y||^2 / 2``."""
        residual = predictions - y
        return 0.5 * float(residual @ (self.weight * residual))

    def gradient(self, predictions: Array, y: Array) -> Array:
        """``predictions - y``."""
        return self.weight * (predictions - y)

    def second_derivative(self, predictions: Array, y: Array) -> Array:
        """1."""
        return self.weight * np.ones(len(y))

    def dual_value(self, nu: Array, y: Array) -> float:
        """``nu'y - ||nu||^2 / 2``."""
        return float(nu @ y) - 0.5 * float(nu @ (nu / self.weight))

    def dual_slopes(self, nu: Array, y: Array) -> tuple[Array, Array]:
        """``y - nu`` and -1."""
        return y - nu / self.weight, np.full(len(nu), -1.0) / self.weight

    def proven_dual_value(self, nu: Array, y: Array, margin: float) -> float:
        """``nu'y - ||nu||^2 / 2``, rounded down."""
        return parabola_below(nu, y, margin, self.weight)

    def expression(self, cp: Any, predictions: Any, y: Array) -> Any:
        """Half a sum of squares."""
        return 0.5 * cp.sum_squares(cp.multiply(np.sqrt(self.weight), predictions - y))

    def prox(self, v: Array, y: Array, step: float) -> Array:
        """The weighted mean of v and y."""
        steps = step * self.weight
        return (v + steps * y) / (1.0 + steps)

    def best_dual_scale(self, nu: Array, y: Array, limit: float) -> float:
        """``nu'y / ||nu||^2``, clipped: the dual is a parabola in the scale."""
        square = float(nu @ (nu / self.weight))
        if square == 0.0:
            return 0.0
        return float(np.clip(float(nu @ y) / square, 0.0, limit))
