"""Finding the atoms `(u, v)` that violate the dual constraint `|uᵀM(ν)v| ≤ βd`."""

from qnn.networks.atoms.maxima import alternating_maximization

__all__ = ["alternating_maximization"]
