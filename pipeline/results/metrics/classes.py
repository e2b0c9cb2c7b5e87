"""Metrics of predicted classes.

Of two classes, precision, recall and F1 are of the second, the positive one; of more, means over
the classes that the rows have. Intervals: Wilson's for shares; F1 is 2J/(1+J) with the share
J = TP / (TP + FP + FN); balanced accuracy puts the classes' own together, which are independent.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from pipeline.results.metrics.intervals import (
    NONE,
    Estimate,
    Interval,
    mean,
    mean_of_dependent,
    mean_of_independent,
    mean_of_positive,
    no_interval,
    rank_share,
    wilson,
)
from qnn.training.sigmoid import Sigmoids

# Parts of [0, 1] in which the share of positive rows is held against the probability.
BINS = 10
# Digits of a probability that decide its part: an iteration fitted it, and 0.5 is on an edge.
BINNED = 6
# A probability of 0 for what is true would make the loss infinite.
LEAST = 1e-15
# Scores that agree to so many digits of the largest are equal: an order of summation is no rank.
DIGITS = 12
# The interval of a share of which nothing is known.
ALL = (0.0, 1.0)
_Share = tuple[float, Callable[[], Interval]]


def class_metrics(
    said: np.ndarray,
    codes: np.ndarray,
    size: int,
    scores: np.ndarray | None,
    calibration: Sigmoids | None,
) -> dict[str, Any]:
    """Each metric with its interval, of the numbers (n,), n > 0, of predicted and true classes.

    `size`: how many classes there are; `Scored` says what the others are.
    """
    rows = len(codes)
    table = _counted(codes, said, size)
    hits, counts = [row[code] for code, row in enumerate(table)], list(map(sum, table))
    found: dict[str, Any] = {
        "accuracy": (sum(hits) / rows, partial(wilson, sum(hits), rows)),
        "majority_share": (max(counts) / rows, no_interval),
        "balanced_accuracy": _balanced(hits, counts),
        **_by_class(table, counts),
        "confusion": (tuple(count for row in table for count in row), no_interval),
    }
    if scores is not None:
        found["roc_auc"] = _area(scores, codes, size) if all(counts) else NONE
        if calibration is not None:
            found |= _of_probabilities(calibration, scores, said, codes, size)
    return found


def _counted(codes: np.ndarray, said: np.ndarray, size: int) -> list[list[int]]:
    """Counts of rows: a list a true class, a number a predicted one."""
    counts = np.bincount(codes * size + said, minlength=size * size)
    table: list[list[int]] = counts.reshape(size, size).tolist()
    return table


def _balanced(hits: Sequence[int], counts: Sequence[int]) -> Estimate:
    """The mean of the recalls of those classes that there are."""
    known = [(hit, count) for hit, count in zip(hits, counts, strict=True) if count]
    shares = [hit / count for hit, count in known]
    return math.fsum(shares) / len(shares), lambda: mean_of_independent(
        shares, [wilson(hit, count) for hit, count in known]
    )


def _by_class(table: Sequence[Sequence[int]], counts: Sequence[int]) -> dict[str, Estimate]:
    """Precision, recall and F1: of the positive class of two, else means over the classes."""
    wanted = [1] if len(table) == 2 else [code for code, count in enumerate(counts) if count]
    if not all(counts[code] for code in wanted):
        return {"precision": NONE, "recall": NONE, "f1": NONE}
    told = [sum(column) for column in zip(*table, strict=True)]
    found = [_of_one(table[code][code], counts[code], told[code]) for code in wanted]
    return {name: _mean([one[name] for one in found]) for name in ("precision", "recall", "f1")}


def _of_one(hits: int, count: int, said: int) -> dict[str, _Share]:
    """Of a class with `count` > 0 rows, told of `said`; of none, its precision is 0."""
    return {
        "precision": (hits / said, partial(wilson, hits, said)) if said else (0.0, lambda: ALL),
        "recall": (hits / count, partial(wilson, hits, count)),
        "f1": (2.0 * hits / (count + said), partial(_f1_interval, hits, count + said - hits)),
    }


def _f1_interval(hits: int, either: int) -> Interval:
    low, high = wilson(hits, either)
    return 2.0 * low / (1.0 + low), 2.0 * high / (1.0 + high)


def _mean(found: Sequence[_Share]) -> Estimate:
    values, intervals = zip(*found, strict=True)
    return math.fsum(values) / len(values), lambda: mean_of_dependent([one() for one in intervals])


def _area(scores: np.ndarray, codes: np.ndarray, classes: int) -> Estimate:
    """Area under the ROC curve; of more than two classes the mean of each against the rest."""
    if scores.ndim == 1:
        return _area_of(scores, codes == 1)
    return _mean([_area_of(scores[:, code], codes == code) for code in range(classes)])


def _area_of(scores: np.ndarray, positive: np.ndarray) -> _Share:
    """The share of pairs in which the positive row's score is larger; equal ones count half."""
    largest = float(np.abs(scores).max()) or 1.0
    units = (scores / largest).round(DIGITS)
    others, own = np.sort(units[~positive]), units[positive]
    below, upto = others.searchsorted(own), others.searchsorted(own, "right")
    more, fewer = len(own), len(others)
    area = 0.5 * float(np.add.reduce(below + upto)) / (more * fewer)
    return area, partial(rank_share, area, more, fewer)


def _log_loss(own: np.ndarray) -> Estimate:
    """From the probability of each row's own class."""
    losses = -np.log(np.maximum(own, LEAST))
    return mean(losses), partial(mean_of_positive, losses)


def _of_probabilities(
    calibration: Sigmoids, scores: np.ndarray, said: np.ndarray, codes: np.ndarray, size: int
) -> dict[str, Any]:
    """Log loss, Brier score, and where the probabilities of what is told apart lie."""
    if size > 2:
        every, rows = calibration.probabilities(scores), np.arange(len(codes))
        own = every[rows, codes]
        brier = _brier(np.sum((every - np.eye(size)[codes]) ** 2, axis=1), 2.0)
        counts = reliability(every[rows, said], said == codes)
    else:
        own, positive = calibration.of_classes(scores, codes), codes == 1
        brier = _brier((1.0 - own) ** 2, 1.0)
        counts = reliability(np.where(positive, own, 1.0 - own), positive)
    return {"log_loss": _log_loss(own), "brier": brier, "reliability": (counts, no_interval)}


def _brier(squares: np.ndarray, largest: float) -> Estimate:
    """Mean of `(p − 1[class])²`: of two classes for the positive one, of more summed over all.

    G. W. Brier, Monthly Weather Review 78 (1950).
    """

    def interval() -> Interval | None:
        found = mean_of_positive(squares)
        return None if found is None else (found[0], min(largest, found[1]))

    return mean(squares), interval


def reliability(probability: np.ndarray, right: np.ndarray) -> tuple[int, ...]:
    """Rows, then rows of the class asked for, of each tenth of its probability (n,)."""
    part = np.minimum((probability.round(BINNED) * BINS).astype(np.int64), BINS - 1)
    counts = np.bincount(2 * part + right, minlength=2 * BINS)
    counts[::2] += counts[1::2]
    return tuple(counts.tolist())
