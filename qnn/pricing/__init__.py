"""Finding the atoms `(u, v)` that violate the dual constraint `|uᵀM(ν)v| ≤ βd`."""

from qnn.pricing.heuristic import alternating_maximization

__all__ = ["alternating_maximization"]
