"""95 % intervals for rows to come that are like those at hand; all analytic, none resampled."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import cache

import numpy as np
from scipy.special import stdtrit

# Two-sided 95 % of the normal distribution.
Z = 1.959963984540054
LEVEL = 0.975
# Newton's method ends after a step so small, or so many.
CLOSE, ITERATIONS = 1e-14, 100

Interval = tuple[float, float]
# A value, and what finds its interval where one is told, if it has one.
Estimate = tuple[float | None, Callable[[], Interval | None]]


def no_interval() -> None:
    """Of a value that is told without one."""


NONE: Estimate = (None, no_interval)


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


def mean(values: np.ndarray) -> float:
    """The mean of values (n,); `ndarray.mean` takes five times as long for the same bits."""
    return float(np.add.reduce(values)) / len(values)


@cache
def _student(freedom: int) -> float:
    """Student's quantile at `LEVEL`."""
    return float(stdtrit(freedom, LEVEL))


def mean_of_rows(values: np.ndarray) -> Interval | None:
    """Student's interval of a mean of values (n,), one a row; None for a single row."""
    count = len(values)
    if count < 2:
        return None
    middle = mean(values)
    # A power of two changes no bit; the squares of large squared errors would overflow.
    unit = 2.0**500 if float(np.abs(values).max()) > 1e150 else 1.0
    rest = values - middle if unit == 1.0 else values / unit - middle / unit
    spread = unit * math.sqrt(float(np.add.reduce(rest * rest)) / (count - 1))
    half = _student(count - 1) * spread / math.sqrt(count)
    return middle - half, middle + half


def mean_of_positive(values: np.ndarray) -> Interval | None:
    """As `mean_of_rows`, of values that are never below 0."""
    found = mean_of_rows(values)
    return None if found is None else (max(0.0, found[0]), found[1])


def rank_share(area: float, positive: int, negative: int) -> Interval:
    """Score interval of an area under the ROC curve, by Hanley and McNeil's variance.

    The areas θ with `(θ − area)² ≤ z² V(θ)` (R. G. Newcombe, Statistics in Medicine 25 (2006);
    J. A. Hanley, B. J. McNeil, Radiology 143 (1982)); of a perfect one it is not empty.
    """
    weight = Z * Z / (positive * negative)

    def beyond(theta: float) -> tuple[float, float]:
        """The left side less the right one, and its derivative."""
        rest, one, two = 1.0 - theta, 1.0 / (2.0 - theta), 1.0 / (1.0 + theta)
        share = 1.0 + (positive - 1) * rest * one + (negative - 1) * theta * two
        slope = (negative - 1) * two * two - (positive - 1) * one * one
        varied = weight * (theta * rest * slope + (rest - theta) * share)
        return (theta - area) ** 2 - weight * theta * rest * share, 2.0 * (theta - area) - varied

    return _edge(beyond, area, 0.0), _edge(beyond, area, 1.0)


def _edge(beyond: Callable[[float], tuple[float, float]], within: float, end: float) -> float:
    """Where an interval around `within` ends on the way to `end`: a root of `beyond`.

    By Newton's method, kept between points where it is not and where it is beyond.
    """
    if within == end:
        return end
    # At 0 and 1 themselves nothing varies, and `beyond` is 0; it is below 0 beside them.
    inner, outer = within + 1e-12 * (end - within), end
    if beyond(inner)[0] >= 0.0:
        return within
    at = outer
    for _ in range(ITERATIONS):
        value, slope = beyond(at)
        step = value / slope if slope else math.inf
        if abs(step) <= CLOSE:
            break
        inner, outer = (at, outer) if value < 0.0 else (inner, at)
        at -= step
        if not min(inner, outer) < at < max(inner, outer):
            at = 0.5 * (inner + outer)
    return at
