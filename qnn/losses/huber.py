"""The Huber loss."""

from typing import Any

import numpy as np

from qnn.errors import InputError
from qnn.losses.base import Array, Loss, largest_scale
from qnn.numerics.floating import parabola_below


class Huber(Loss):
    """``l = r^2/2`` for ``|r| <= delta``, ``delta |r| - delta^2/2`` beyond, ``r = yhat - y``.

    ``-g*(-nu) = nu'y - ||nu||^2 / 2`` for ``|nu_i| <= delta``. ``delta`` is in units of y.
    """

    name = "huber"
    formula = "Σ huber(ŷᵢ − yᵢ)"
    dual_formula = "νᵀy − ½‖ν‖²"
    dual_domain = "|νᵢ| ≤ δ"
    degree = 2
    parameter: float = 1.0
    curvature = 1.0

    def __init__(self, delta: float | None = None) -> None:
        super().__init__(delta)
        if not (np.isfinite(self.parameter) and self.parameter > 0):
            raise InputError(f"loss 'huber': its parameter must be positive (got {delta})")

    @property
    def outlier_price(self) -> float:
        """Delta."""
        return self.parameter

    def in_units(self, unit: float) -> Loss:
        """Delta in the same units."""
        return Huber(self.parameter / unit)

    def value(self, predictions: Array, y: Array) -> float:
        """Quadratic inside delta, linear outside."""
        delta = self.parameter
        r = np.abs(predictions - y)
        return float(np.where(r <= delta, 0.5 * r * r, delta * r - 0.5 * delta**2).sum())

    def gradient(self, predictions: Array, y: Array) -> Array:
        """The residual, clipped to +-delta."""
        return np.clip(predictions - y, -self.parameter, self.parameter)

    def second_derivative(self, predictions: Array, y: Array) -> Array:
        """1 inside delta, 0 outside."""
        return np.where(np.abs(predictions - y) <= self.parameter, 1.0, 0.0)

    def dual_value(self, nu: Array, y: Array) -> float:
        """``nu'y - ||nu||^2 / 2`` where ``|nu| <= delta``, else -inf."""
        if np.any(np.abs(nu) > self.parameter):
            return -np.inf
        return float(nu @ y) - 0.5 * float(nu @ nu)

    def dual_slopes(self, nu: Array, y: Array) -> tuple[Array, Array]:
        """``y - nu`` and -1."""
        return y - nu, np.full(len(nu), -1.0)

    def proven_dual_value(self, nu: Array, y: Array, margin: float) -> float:
        """``nu'y - ||nu||^2 / 2``, rounded down."""
        self.require(np.abs(nu) <= self.parameter)
        return parabola_below(nu, y, margin)

    def expression(self, cp: Any, predictions: Any, y: Array) -> Any:
        """Half of cvxpy's own Huber atom."""
        return 0.5 * cp.sum(cp.huber(predictions - y, self.parameter))

    def prox(self, v: Array, y: Array, step: float) -> Array:
        """Shrink the residual by the factor 1/(1+step), by at most step*delta."""
        r = v - y
        inside = np.abs(r) <= self.parameter * (1.0 + step)
        return y + np.where(inside, r / (1.0 + step), r - step * self.parameter * np.sign(r))

    def clip_dual(self, nu: Array, y: Array) -> Array:
        """Clipped to +-delta."""
        return np.clip(nu, -self.parameter, self.parameter)

    def domain_scale(self, nu: Array, y: Array) -> float:
        """``delta / max|nu|``."""
        return largest_scale(np.abs(nu), self.parameter)

    def best_dual_scale(self, nu: Array, y: Array, limit: float) -> float:
        """``nu'y / ||nu||^2``, clipped: the dual is a parabola in the scale."""
        square = float(nu @ nu)
        if square == 0.0:
            return 0.0
        top = min(limit, self.domain_scale(nu, y))
        return float(np.clip(float(nu @ y) / square, 0.0, top))
