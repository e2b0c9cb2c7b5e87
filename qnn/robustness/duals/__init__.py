"""The duals that bound a margin: a quadratic form's best diagonal, a ReLU network's matrix."""

__all__ = ["arrow", "box_dual", "first_order", "interior_point"]
