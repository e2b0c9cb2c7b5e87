"""Metrics of predicted numbers.

Intervals: Student's of a mean of squared or absolute errors; of R² = 1 − Σe²/Σ(y − ȳ)² that of a
ratio of means, by its linearization in the rows (W. G. Cochran, Sampling Techniques, 1977, ch. 6).
"""

import math
from collections.abc import Sequence

import numpy as np

from pipeline.results.metrics.intervals import NONE, Estimate, mean_of_rows


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
        "mae": _of_rows(np.mean(np.abs(units), axis=1)),
        "r2": _shares(errors, target) if target.ndim == 2 else _shares(units, target[:, None]),
    }


def _root_mean_square(errors: np.ndarray) -> Estimate:
    squares = np.mean(errors**2, axis=1)
    interval = mean_of_rows(squares)
    if interval is not None:
        interval = (math.sqrt(max(0.0, interval[0])), math.sqrt(interval[1]))
    if errors.shape[1] == 1:
        return math.sqrt(float(np.sum(errors**2)) / len(errors)), interval
    # The mean of the targets' own, as rows of earlier versions have it.
    own = [math.sqrt(float(np.sum(column**2)) / len(errors)) for column in errors.T]
    return math.sqrt(float(np.mean(np.array(own) ** 2))), interval


def _of_rows(values: np.ndarray) -> Estimate:
    interval = mean_of_rows(values)
    clipped = None if interval is None else (max(0.0, interval[0]), interval[1])
    return float(np.mean(values)), clipped


def _shares(errors: np.ndarray, target: np.ndarray) -> Estimate:
    """The mean R² of the columns, (n, C) each, and its interval."""
    # Of equal numbers the mean may be off by a rounding error, and the spread not be 0.
    if not np.all(np.ptp(target, axis=0) > 0.0):
        return NONE
    squares, spreads = errors**2, (target - np.mean(target, axis=0)) ** 2
    unexplained = squares.sum(axis=0) / spreads.sum(axis=0)
    value = math.fsum(1.0 - unexplained) / len(unexplained)
    slopes = np.mean((squares - unexplained * spreads) / spreads.mean(axis=0), axis=1)
    interval = mean_of_rows(slopes)
    if interval is None:
        return value, None
    half = 0.5 * (interval[1] - interval[0])
    return value, (value - half, min(1.0, value + half))
