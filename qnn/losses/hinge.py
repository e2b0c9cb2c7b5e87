"""The hinge loss."""

from typing import Any

import numpy as np

from qnn.losses.base import Array, MarginLoss, largest_scale
from qnn.numerics.floating import sum_below


class Hinge(MarginLoss):
    """``l = max(0, 1 - y yhat)``; ``-g*(-nu) = sum y nu`` for ``0 <= y nu <= 1``."""

    name = "hinge"
    formula = "Σ max(0, 1 − yᵢŷᵢ)"
    dual_formula = "Σ yᵢνᵢ"
    dual_domain = "0 ≤ yᵢνᵢ ≤ 1"
    piecewise_linear = True

    def value(self, predictions: Array, y: Array) -> float:
        """``sum max(0, 1 - y yhat)``."""
        return float(np.maximum(0.0, 1.0 - y * predictions).sum())

    def gradient(self, predictions: Array, y: Array) -> Array:
        """``-y`` where the margin is below 1, else 0."""
        return np.where(y * predictions < 1.0, -y, 0.0)

    def dual_value(self, nu: Array, y: Array) -> float:
        """``sum y nu`` where ``0 <= y nu <= 1``, else -inf."""
        w = y * nu
        if np.any(w < 0.0) or np.any(w > 1.0):
            return -np.inf
        return float(w.sum())

    def proven_dual_value(self, nu: Array, y: Array, margin: float) -> float:
        """``sum y nu``, rounded down."""
        w = y * nu
        self.require((w >= 0.0) & (w <= 1.0))
        return sum_below(w, nu, margin)

    def expression(self, cp: Any, predictions: Any, y: Array) -> Any:
        """The positive parts' sum."""
        return cp.sum(cp.pos(1.0 - cp.multiply(y, predictions)))

    def prox(self, v: Array, y: Array, step: float) -> Array:
        """Move the margin towards 1 by at most step."""
        margin = y * v
        return y * np.where(margin >= 1.0, margin, np.minimum(margin + step, 1.0))

    def clip_dual(self, nu: Array, y: Array) -> Array:
        """``y nu`` clipped to [0, 1]."""
        return y * np.clip(y * nu, 0.0, 1.0)

    def domain_scale(self, nu: Array, y: Array) -> float:
        """``1 / max(y nu)``."""
        return largest_scale(y * nu, 1.0)

    def best_dual_scale(self, nu: Array, y: Array, limit: float) -> float:
        """As large as allowed: the dual is linear and increasing in the scale."""
        top = min(limit, self.domain_scale(nu, y))
        return top if np.isfinite(top) else 0.0
