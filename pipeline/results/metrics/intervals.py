"""95 % intervals for rows to come that are like those at hand; all analytic, none resampled."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from scipy.optimize import brentq
from scipy.special import stdtrit

# Two-sided 95 % of the normal distribution.
Z = 1.959963984540054
LEVEL = 0.975

Interval = tuple[float, float]
# A value, and the interval where one is told.
Estimate = tuple[float | None, Interval | None]
NONE: Estimate = (None, None)


def wilson(hits: int, rows: int) -> Interval:
    """Wilson's score interval of a share, `hits` of `rows` > 0.

    E. B. Wilson, J. Am. Stat. Assoc. 22 (1927).
    """
    share, weight = hits / rows, Z * Z / rows
    middle = (share + weight / 2.0) / (1.0 + weight)
    half = Z * math.sqrt(share * (1.0 - share) / rows + weight / (4.0 * rows)) / (1.0 + weight)
    return max(0.0, min(share, middle - half)), min(1.0, max(share, middle + half))


def mean_of_independent(values: Sequence[float], intervals: Sequence[Interval]) -> Interval:
    """Interval of the mean of independent estimates from an interval of each (MOVER).

    G. Y. Zou, A. Donner, Statistics in Medicine 27 (2008).
    """
    count, middle = len(values), math.fsum(values) / len(values)
    below = [(value - low) ** 2 for value, (low, _) in zip(values, intervals, strict=True)]
    above = [(high - value) ** 2 for value, (_, high) in zip(values, intervals, strict=True)]
    return middle - math.sqrt(math.fsum(below)) / count, middle + math.sqrt(
        math.fsum(above)
    ) / count


def mean_of_dependent(intervals: Sequence[Interval]) -> Interval:
    """Interval of the mean of estimates, however they depend on each other: the mean of theirs."""
    lows, highs = zip(*intervals, strict=True)
    return math.fsum(lows) / len(lows), math.fsum(highs) / len(highs)


def mean_of_rows(values: np.ndarray) -> Interval | None:
    """Student's interval of a mean of values (n,), one a row; None for a single row."""
    count = len(values)
    if count < 2:
        return None
    middle = float(np.mean(values))
    # A power of two changes no bit; the squares of large squared errors would overflow.
    unit = 2.0**500 if np.max(np.abs(values)) > 1e150 else 1.0
    spread = unit * float(np.std(values / unit, ddof=1))
    half = float(stdtrit(count - 1, LEVEL)) * spread / math.sqrt(count)
    return middle - half, middle + half


def rank_share(area: float, positive: int, negative: int) -> Interval:
    """Score interval of an area under the ROC curve, by Hanley and McNeil's variance.

    The areas θ with `(θ − area)² ≤ z² V(θ)` (R. G. Newcombe, Statistics in Medicine 25 (2006);
    J. A. Hanley, B. J. McNeil, Radiology 143 (1982)); of a perfect one it is not empty.
    """

    def beyond(theta: float) -> float:
        spread = theta * (1.0 - theta)
        one, two = theta / (2.0 - theta), 2.0 * theta * theta / (1.0 + theta)
        spread += (positive - 1) * (one - theta**2) + (negative - 1) * (two - theta**2)
        return (theta - area) ** 2 - Z * Z * spread / (positive * negative)

    return _edge(beyond, area, 0.0), _edge(beyond, area, 1.0)


def _edge(beyond: Callable[[float], float], within: float, end: float) -> float:
    """Where an interval around `within` ends on the way to `end`: a root of `beyond`."""
    if within == end or beyond(end) <= 0.0:
        return end
    # At 0 and 1 themselves nothing varies, and `beyond` is 0; it is below 0 beside them.
    start = within + 1e-12 * (end - within)
    return float(brentq(beyond, start, end)) if beyond(start) < 0.0 else within
