"""Statistics of columns: what imputation and standardization are fitted with."""

from __future__ import annotations

from collections import Counter

import numpy as np

from qnn.errors import InputError

# A feature without correlation may still matter beside others: its weight is not 0.
LEAST_CORRELATION = 0.02
# The least positive float: a scale is never 0.
TINIEST = float(np.nextafter(0.0, 1.0))


def median(values: np.ndarray, weights: np.ndarray | None = None) -> float:
    """Median of a numeric column without its NaN; 0 where nothing is present.

    With weights (n,) it is that of rows repeated as often as their weight says: the mean of the two
    values in the middle.
    """
    present = ~np.isnan(values)
    if not present.any():
        return 0.0
    if weights is None:
        return float(np.median(values[present]))
    distinct, counts = counted(values[present], weights[present])
    upto = np.cumsum(counts)
    half = 0.5 * upto[-1]
    below = int(np.searchsorted(upto, half, side="left"))
    above = int(np.searchsorted(upto, half, side="right"))
    return float(0.5 * (distinct[below] + distinct[min(above, len(distinct) - 1)]))


def counted(values: np.ndarray, weights: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """The distinct values in order, and how often each stands there, by weight."""
    if weights is None:
        return np.unique(values, return_counts=True)
    distinct, place = np.unique(values, return_inverse=True)
    return distinct, np.bincount(place, weights=weights)


def most_frequent(values: np.ndarray, weights: np.ndarray | None = None) -> str | None:
    """Most frequent category without the None, by weight; None where nothing is present."""
    counts: Counter[str] = Counter()
    each = [1] * len(values) if weights is None else weights.tolist()
    for value, weight in zip(values, each, strict=True):
        if value is not None:
            counts[value] += weight
    # Ties go to the first in sorted order, so that row order never matters.
    return min(counts, key=lambda value: (-counts[value], value)) if counts else None


def typical(values: np.ndarray, weights: np.ndarray | None = None) -> float | str | None:
    """What stands for a missing value: the most frequent category of objects, else the median."""
    return (most_frequent if values.dtype == object else median)(values, weights)


def mean_and_scale(
    features: np.ndarray, weights: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation (ddof 0) by column; (the value, 1) for a constant column.

    With weights (n,), a row counts as much as its weight.
    """
    if not len(features):
        raise InputError("no rows to fit the preprocessing on")
    with np.errstate(over="ignore", invalid="ignore"):
        means = _mean(features, weights)
        means += _mean(features - means, weights)
        scales = np.sqrt(_mean((features - means) ** 2, weights))
    # Rounding would leave a constant column a scale of 1e-17 instead of 0, hence the comparison.
    constant = (features == features[0]).all(axis=0) | (scales == 0)
    means[constant], scales[constant] = features[0, constant], 1.0
    if not (np.isfinite(means).all() and np.isfinite(scales).all()):
        raise InputError("values too large to standardize (squares overflow): rescale the data")
    return means, scales


def correlation_weights(
    features: np.ndarray, coded: np.ndarray, weights: np.ndarray | None = None
) -> np.ndarray:
    """A weight for each standardized feature: the root of its correlation with the target.

    Of several outputs the largest correlation counts; less than `LEAST_CORRELATION` is taken for
    that. The weights have mean square 1, so that features keep their size beside the constant.

    Parameters
    ----------
    features : (n, d), of mean 0 and variance 1, or 0 in a constant column.
    coded : (n,) or (n, C), targets as the solver sees them.
    weights : (n,), how much each row counts; None: once.
    """
    largest = np.zeros(features.shape[1])
    for column in coded.reshape(len(coded), -1).T:
        apart = column - _mean(column, weights)
        spread = float(np.sqrt(_mean(apart**2, weights)))
        if spread > 0.0:
            products = features * (apart / spread)[:, None]
            largest = np.maximum(largest, np.abs(_mean(products, weights)))
    roots = np.sqrt(np.clip(largest, LEAST_CORRELATION, 1.0))
    return np.asarray(roots / np.sqrt(np.mean(roots**2)))


def _mean(features: np.ndarray, weights: np.ndarray | None) -> np.ndarray:
    if weights is None:
        return np.asarray(features.mean(axis=0))
    return np.asarray(np.average(features, axis=0, weights=weights))
