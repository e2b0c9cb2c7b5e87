"""Metrics of predicted numbers.

Intervals: Student's of a mean of squared or absolute errors; of R² = 1 − Σe²/Σ(y − ȳ)² that of a
ratio of means, by its linearization in the rows (W. G. Cochran, Sampling Techniques, 1977, ch. 6).
"""

import math
from collections.abc import Sequence
from functools import partial

import numpy as np

from pipeline.results.metrics.intervals import (
    NONE,
    Estimate,
    Interval,
    mean_of_positive,
    mean_of_rows,
)


def number_metrics(
    predicted: np.ndarray, target: np.ndarray, scale: float | Sequence[float] = 1.0
) -> dict[str, Estimate]:
    """RMSE, MAE and R² of predictions against targets, (n,) or (n, C) for C targets.

    The errors of one target are in its own units; those of several are over all their entries,
    each in units of its target's `scale` (C,), else the target of the largest numbers would be all
    that counts. R² of several is the mean of theirs; None where one of them is constant.
    """
    errors = np.asarray(predicted - target)
    units = errors / scale if target.ndim == 2 else errors[:, None]
    return {
        "rmse": _root_mean_square(units),
        "mae": _mean_of(np.mean(np.abs(units), axis=1)),
        "r2": _shares(errors, target) if target.ndim == 2 else _shares(units, target[:, None]),
    }


def _root_mean_square(errors: np.ndarray) -> Estimate:
    def interval() -> Interval | None:
        found = mean_of_positive(np.mean(errors**2, axis=1))
        return None if found is None else (math.sqrt(found[0]), math.sqrt(found[1]))

    if errors.shape[1] == 1:
        return math.sqrt(float(np.sum(errors**2)) / len(errors)), interval
    # The mean of the targets' own, as rows of earlier versions have it.
    own = [math.sqrt(float(np.sum(column**2)) / len(errors)) for column in errors.T]
    return math.sqrt(float(np.mean(np.array(own) ** 2))), interval


def _mean_of(values: np.ndarray) -> Estimate:
    return float(np.mean(values)), partial(mean_of_positive, values)


def _shares(errors: np.ndarray, target: np.ndarray) -> Estimate:
    """The mean R² of the columns, (n, C) each, and its interval."""
    # Of equal numbers the mean may be off by a rounding error, and the spread not be 0.
    if not np.all(np.ptp(target, axis=0) > 0.0):
        return NONE
    squares, spreads = errors**2, (target - np.mean(target, axis=0)) ** 2
    unexplained = squares.sum(axis=0) / spreads.sum(axis=0)
    value = math.fsum(1.0 - unexplained) / len(unexplained)

    def interval() -> Interval | None:
        slopes = np.mean((squares - unexplained * spreads) / spreads.mean(axis=0), axis=1)
        found = mean_of_rows(slopes)
        if found is None:
            return None
        half = 0.5 * (found[1] - found[0])
        return value - half, min(1.0, value + half)

    return value, interval
