"""Statistics of columns: what imputation and standardization are fitted with."""

from __future__ import annotations

from collections import Counter

import numpy as np

from qnn.errors import InputError


def median(values: np.ndarray) -> float:
    """Median of a numeric column without its NaN; 0 where nothing is present."""
    present = values[~np.isnan(values)]
    return float(np.median(present)) if len(present) else 0.0


def most_frequent(values: np.ndarray) -> str | None:
    """Most frequent category without the None; None where nothing is present."""
    counts = Counter(value for value in values if value is not None)
    # Ties go to the first in sorted order, so that row order never matters.
    return min(counts, key=lambda value: (-counts[value], value)) if counts else None


def mean_and_scale(features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation (ddof 0) by column; (the value, 1) for a constant column."""
    if not len(features):
        raise InputError("no rows to fit the preprocessing on")
    with np.errstate(over="ignore", invalid="ignore"):
        means = features.mean(axis=0)
        means += (features - means).mean(axis=0)
        scales = np.sqrt(np.mean((features - means) ** 2, axis=0))
    # Rounding would leave a constant column a scale of 1e-17 instead of 0, hence the comparison.
    constant = (features == features[0]).all(axis=0) | (scales == 0)
    means[constant], scales[constant] = features[0, constant], 1.0
    if not (np.isfinite(means).all() and np.isfinite(scales).all()):
        raise InputError("values too large to standardize (squares overflow): rescale the data")
    return means, scales
