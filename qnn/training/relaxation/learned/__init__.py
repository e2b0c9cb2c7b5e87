"""Bounds of a whole β grid at once, before any solver: one Newton step a cell, then a repair."""

from qnn.training.relaxation.learned.bounds import BoundMap, Bounds, learn, refusal

__all__ = ["BoundMap", "Bounds", "learn", "refusal"]
