"""Sums of proven bounds, and the gap between two bounds."""

import math
from collections.abc import Sequence
from fractions import Fraction

import numpy as np


def sum_down(bounds: Sequence[float]) -> float:
    """The largest float64 not above the exact sum: proven lower bounds stay proven when summed."""
    nearest = math.fsum(bounds)
    if Fraction(nearest) > sum(map(Fraction, bounds)):
        return math.nextafter(nearest, -math.inf)
    return nearest


def relative_gap(upper: float, lower: float) -> float:
    """``(upper - lower) / |upper|``; 0 where both are 0."""
    if upper == lower:
        return 0.0
    return (upper - lower) / abs(upper) if upper != 0.0 else np.inf
