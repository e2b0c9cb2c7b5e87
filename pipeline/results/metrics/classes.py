"""Metrics of predicted classes.

Of two classes, precision, recall and F1 are of the second, the positive one; of more, means over
the classes that the rows have. Intervals: Wilson's for shares; F1 is 2J/(1+J) with the share
J = TP / (TP + FP + FN); balanced accuracy puts the classes' own together, which are independent.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from pipeline.results.metrics.intervals import (
    NONE,
    Estimate,
    Interval,
    mean_of_dependent,
    mean_of_independent,
    mean_of_rows,
    rank_share,
    wilson,
)
from pipeline.results.metrics.probabilities import Calibration

# Parts of [0, 1] in which the share of positive rows is held against the probability.
BINS = 10
# Digits of a probability that decide its part: an iteration fitted it, and 0.5 is on an edge.
BINNED = 6
# A probability of 0 for what is true would make the loss infinite.
LEAST = 1e-15
# Scores that agree to so many digits of the largest are equal: an order of summation is no rank.
DIGITS = 12


def class_metrics(
    predicted: np.ndarray,
    target: np.ndarray,
    classes: Sequence[Any],
    scores: np.ndarray | None,
    calibration: Calibration | None,
) -> dict[str, Any]:
    """Each metric with its interval, of labels (n,), n > 0; `Scored` says what the others are."""
    codes, table = codes_of(target, classes), confusion(predicted, target, classes)
    hits, counts = np.diagonal(table), table.sum(axis=1)
    found: dict[str, Any] = {
        "accuracy": (float(np.mean(predicted == target)), wilson(int(hits.sum()), len(target))),
        "majority_share": (float(counts.max() / len(target)), None),
        "balanced_accuracy": _balanced(hits, counts),
        **_by_class(table),
        "confusion": (tuple(int(count) for count in table.ravel()), None),
    }
    if scores is not None:
        found["roc_auc"] = _area(scores, codes, len(classes))
        if calibration is not None:
            probabilities = calibration.probabilities(scores)
            found["log_loss"] = _log_loss(probabilities, codes)
            found["brier"] = _brier(probabilities, codes)
            if len(classes) == 2:
                found["reliability"] = (reliability(probabilities[:, 1], codes == 1), None)
    return found


def codes_of(labels: np.ndarray, classes: Sequence[Any]) -> np.ndarray:
    """The number of each label's class."""
    place = {label: code for code, label in enumerate(classes)}
    return np.array([place[label] for label in labels.tolist()], dtype=np.int64)


def confusion(predicted: np.ndarray, target: np.ndarray, classes: Sequence[Any]) -> np.ndarray:
    """Counts (C, C): a row a true class, a column a predicted one, in the order of `classes`."""
    size = len(classes)
    pairs = codes_of(target, classes) * size + codes_of(predicted, classes)
    return np.bincount(pairs, minlength=size * size).reshape(size, size)


def _balanced(hits: np.ndarray, counts: np.ndarray) -> Estimate:
    """The mean of the recalls of those classes that there are."""
    known = [(int(hit), int(count)) for hit, count in zip(hits, counts, strict=True) if count]
    shares = [hit / count for hit, count in known]
    return math.fsum(shares) / len(shares), mean_of_independent(
        shares, [wilson(hit, count) for hit, count in known]
    )


def _by_class(table: np.ndarray) -> dict[str, Estimate]:
    """Precision, recall and F1: of the positive class of two, else means over the classes."""
    counts = table.sum(axis=1)
    wanted = [1] if len(table) == 2 else np.flatnonzero(counts)
    if not counts[wanted].all():
        return {"precision": NONE, "recall": NONE, "f1": NONE}
    found = [_of_one(table, int(code)) for code in wanted]
    return {name: _mean([one[name] for one in found]) for name in ("precision", "recall", "f1")}


def _of_one(table: np.ndarray, code: int) -> dict[str, tuple[float, Interval]]:
    """Of a class that has rows; the precision of one that is never predicted is 0, as is usual."""
    hits, count, said = (
        int(table[code, code]), int(table[code].sum()), int(table[:, code].sum())
    )  # fmt: skip
    either = count + said - hits
    low, high = wilson(hits, either)
    return {
        "precision": (hits / said, wilson(hits, said)) if said else (0.0, (0.0, 1.0)),
        "recall": (hits / count, wilson(hits, count)),
        "f1": (2.0 * hits / (count + said), (2.0 * low / (1.0 + low), 2.0 * high / (1.0 + high))),
    }


def _mean(found: Sequence[tuple[float, Interval]]) -> Estimate:
    values, intervals = zip(*found, strict=True)
    return math.fsum(values) / len(values), mean_of_dependent(intervals)


def _area(scores: np.ndarray, codes: np.ndarray, classes: int) -> Estimate:
    """Area under the ROC curve; of more than two classes the mean of each against the rest.

    None where a class has no row.
    """
    if len(np.unique(codes)) < classes:
        return NONE
    if scores.ndim == 1:
        return _area_of(scores, codes == 1)
    return _mean([_area_of(scores[:, code], codes == code) for code in range(classes)])


def _area_of(scores: np.ndarray, positive: np.ndarray) -> tuple[float, Interval]:
    """By the ranks of the positive rows; equal scores share theirs (Mann, Whitney)."""
    largest = float(np.abs(scores).max()) or 1.0
    _, place, counts = np.unique(
        np.round(scores / largest, DIGITS), return_inverse=True, return_counts=True
    )
    ranks = (np.cumsum(counts) - 0.5 * (counts - 1))[place]
    more, fewer = int(np.sum(positive)), int(np.sum(~positive))
    area = (float(ranks[positive].sum()) - 0.5 * more * (more + 1)) / (more * fewer)
    return area, rank_share(area, more, fewer)


def _log_loss(probabilities: np.ndarray, codes: np.ndarray) -> Estimate:
    own = probabilities[np.arange(len(codes)), codes]
    losses = -np.log(np.clip(own, LEAST, 1.0))
    interval = mean_of_rows(losses)
    middle = float(np.mean(losses))
    return middle, None if interval is None else (max(0.0, interval[0]), interval[1])


def _brier(probabilities: np.ndarray, codes: np.ndarray) -> Estimate:
    """Mean of `(p − 1[class])²`: of two classes for the positive one, of more summed over all.

    G. W. Brier, Monthly Weather Review 78 (1950).
    """
    apart = probabilities - np.eye(probabilities.shape[1])[codes]
    squares = apart[:, 1] ** 2 if apart.shape[1] == 2 else np.sum(apart**2, axis=1)
    interval, largest = mean_of_rows(squares), 1.0 if apart.shape[1] == 2 else 2.0
    if interval is None:
        return float(np.mean(squares)), None
    return float(np.mean(squares)), (max(0.0, interval[0]), min(largest, interval[1]))


def reliability(probability: np.ndarray, positive: np.ndarray) -> tuple[int, ...]:
    """Rows, then positive rows, of each tenth of the probability; from probabilities (n,)."""
    part = np.minimum((np.round(probability, BINNED) * BINS).astype(int), BINS - 1)
    counts = (np.bincount(part[chosen], minlength=BINS) for chosen in (positive | True, positive))
    return tuple(int(count) for pair in zip(*counts, strict=True) for count in pair)
