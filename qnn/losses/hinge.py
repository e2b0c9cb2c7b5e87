"""The hinge loss."""

from typing import Any

import numpy as np

from qnn.losses.base import Array, MarginLoss, largest_scale
from qnn.numerics.floating import sum_below


class Hinge(MarginLoss):
    """``l = max(0, 1 - y yhat)``; ``-g*(-nu) = sum y nu`` for ``0 <= y nu <= w``."""

    name = "hinge"
    formula = "Σ max(0, 1 − yᵢŷᵢ)"
    dual_formula = "Σ yᵢνᵢ"
    dual_domain = "0 ≤ yᵢνᵢ ≤ 1"
    weighted_formula = "Σ wᵢ max(0, 1 − yᵢŷᵢ)"
    weighted_dual_formula = "Σ yᵢνᵢ"
    weighted_dual_domain = "0 ≤ yᵢνᵢ ≤ wᵢ"
    piecewise_linear = True
    takes_weights = True

    def value(self, predictions: Array, y: Array) -> float:
        """``sum max(0, 1 - y yhat)``."""
        return float((self.weight * np.maximum(0.0, 1.0 - y * predictions)).sum())

    def gradient(self, predictions: Array, y: Array) -> Array:
        """``-y`` where the margin is below 1, else 0."""
        return self.weight * np.where(y * predictions < 1.0, -y, 0.0)

    def dual_value(self, nu: Array, y: Array) -> float:
        """``sum y nu`` where ``0 <= y nu <= w``, else -inf."""
        s = y * nu
        if np.any(s < 0.0) or np.any(s > self.weight):
            return -np.inf
        return float(s.sum())

    def proven_dual_value(self, nu: Array, y: Array, margin: float) -> float:
        """``sum y nu``, rounded down."""
        s = y * nu
        self.require((s >= 0.0) & (s <= self.weight))
        return sum_below(s, nu, margin)

    def expression(self, cp: Any, predictions: Any, y: Array) -> Any:
        """The positive parts' sum."""
        slack = cp.pos(1.0 - cp.multiply(y, predictions))
        return cp.sum(cp.multiply(self.weight, slack))

    def prox(self, v: Array, y: Array, step: float) -> Array:
        """Move the margin towards 1 by at most step."""
        margin, steps = y * v, step * self.weight
        return y * np.where(margin >= 1.0, margin, np.minimum(margin + steps, 1.0))

    def clip_dual(self, nu: Array, y: Array) -> Array:
        """``y nu`` clipped to [0, w]."""
        return y * np.clip(y * nu, 0.0, self.weight)

    def domain_scale(self, nu: Array, y: Array) -> float:
        """``1 / max(y nu / w)``."""
        return largest_scale(y * nu, self.weight)

    def best_dual_scale(self, nu: Array, y: Array, limit: float) -> float:
        """As large as allowed: the dual is linear and increasing in the scale."""
        top = min(limit, self.domain_scale(nu, y))
        return top if np.isfinite(top) else 0.0
