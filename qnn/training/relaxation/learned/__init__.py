"""Bounds of a whole β grid at once, before any solver: one Newton step a cell, then a repair."""

from typing import TYPE_CHECKING

from qnn.registry import imported_later
from qnn.training.relaxation.learned.limits import refusal

if TYPE_CHECKING:
    from qnn.training.relaxation.learned.bounds import BoundMap, Bounds, learn

__all__ = ["BoundMap", "Bounds", "learn", "refusal"]

# Plans ask for refusals; the compiler is for those that compute.
__getattr__ = imported_later(
    __name__,
    dict.fromkeys(("BoundMap", "Bounds", "learn"), "qnn.training.relaxation.learned.bounds"),
)
