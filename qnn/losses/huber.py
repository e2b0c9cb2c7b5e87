"""The Huber loss."""

from copy import copy
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
    weighted_formula = "Σ wᵢ huber(ŷᵢ − yᵢ)"
    weighted_dual_formula = "νᵀy − ½ Σ νᵢ² / wᵢ"
    weighted_dual_domain = "|νᵢ| ≤ δ wᵢ"
    degree = 2
    parameter: float = 1.0
    curvature = 1.0
    takes_weights = True

    def __init__(self, delta: float | None = None) -> None:
        super().__init__(delta)
        if not (np.isfinite(self.parameter) and self.parameter > 0):
            raise InputError(f"loss 'huber': its parameter must be positive (got {delta})")

    @property
    def outlier_price(self) -> float:
        """Delta."""
        return self.parameter

    @property
    def largest(self) -> Array | float:
        """At most ``delta w``, the largest |nu|: with weights the product is rounded down."""
        if self.weights is None:
            return self.parameter
        return np.nextafter(self.parameter * self.weights, 0.0)

    def in_units(self, unit: float) -> Loss:
        """Delta in the same units."""
        twin = copy(self)
        twin.parameter = self.parameter / unit
        return twin

    def value(self, predictions: Array, y: Array) -> float:
        """Quadratic inside delta, linear outside."""
        delta = self.parameter
        r = np.abs(predictions - y)
        terms = np.where(r <= delta, 0.5 * r * r, delta * r - 0.5 * delta**2)
        return float((self.weight * terms).sum())

    def gradient(self, predictions: Array, y: Array) -> Array:
        """The residual times w, clipped to +-delta w."""
        return self.clip_dual(self.weight * (predictions - y), y)

    def second_derivative(self, predictions: Array, y: Array) -> Array:
        """1 inside delta, 0 outside."""
        inside = np.abs(predictions - y) <= self.parameter
        return self.weight * np.where(inside, 1.0, 0.0)

    def dual_value(self, nu: Array, y: Array) -> float:
        """``nu'y - ||nu||^2 / 2`` where ``|nu| <= delta``, else -inf."""
        if np.any(np.abs(nu) > self.largest):
            return -np.inf
        return float(nu @ y) - 0.5 * float(nu @ (nu / self.weight))

    def dual_slopes(self, nu: Array, y: Array) -> tuple[Array, Array]:
        """``y - nu`` and -1."""
        return y - nu / self.weight, np.full(len(nu), -1.0) / self.weight

    def proven_dual_value(self, nu: Array, y: Array, margin: float) -> float:
        """``nu'y - ||nu||^2 / 2``, rounded down."""
        self.require(np.abs(nu) <= self.largest)
        return parabola_below(nu, y, margin, self.weight)

    def expression(self, cp: Any, predictions: Any, y: Array) -> Any:
        """Half of cvxpy's own Huber atom."""
        terms = cp.huber(predictions - y, self.parameter)
        return 0.5 * cp.sum(cp.multiply(self.weight, terms))

    def prox(self, v: Array, y: Array, step: float) -> Array:
        """Shrink the residual by the factor 1/(1+step), by at most step*delta."""
        r, steps = v - y, step * self.weight
        inside = np.abs(r) <= self.parameter * (1.0 + steps)
        return y + np.where(inside, r / (1.0 + steps), r - steps * self.parameter * np.sign(r))

    def clip_dual(self, nu: Array, y: Array) -> Array:
        """Clipped to +-delta w."""
        return np.clip(nu, -1.0 * self.largest, self.largest)

    def domain_scale(self, nu: Array, y: Array) -> float:
        """``delta / max|nu / w|``."""
        return largest_scale(np.abs(nu), self.largest)

    def best_dual_scale(self, nu: Array, y: Array, limit: float) -> float:
        """``nu'y / ||nu||^2``, clipped: the dual is a parabola in the scale."""
        square = float(nu @ (nu / self.weight))
        if square == 0.0:
            return 0.0
        top = min(limit, self.domain_scale(nu, y))
        return float(np.clip(float(nu @ y) / square, 0.0, top))
