"""Training a two-layer network: problem, relaxation, pricing, rounding, certified result."""

__all__ = [
    "arms",
    "certification",
    "estimators",
    "fit",
    "outputs",
    "pricing",
    "problems",
    "relaxation",
    "rounding",
    "widths",
]
