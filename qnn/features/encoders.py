"""Encoders of numeric columns, fitted on training rows: thermometer bits, quantiles to normal.

An encoder takes the numbers of one column, missing values already filled in, and gives its
features. Both keep the order of the values and nothing else of their scale, so that outliers and
units do not matter.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np

from qnn.errors import InputError
from qnn.features.block_floating_point import round_thresholds
from qnn.features.statistics import counted

# Knots of a column's table of normal scores, at most, and one where two are too far apart.
KNOTS = 64
# Shares that have a normal score.
LEAST_SHARE, MOST_SHARE = float(np.nextafter(0.0, 1.0)), float(np.nextafter(1.0, 0.0))


@dataclass(frozen=True)
class Thermometer:
    """Bits: feature k of a column is +1 where its value is at least `thresholds[column][k]`, or −1.

    The thresholds are values that occur in the training rows, or near them where they were rounded,
    in ascending order. The comparison is exact: a value equal to a threshold gives +1.
    """

    thresholds: tuple[tuple[float, ...], ...]

    @property
    def numbers(self) -> int:
        """How many float64 numbers a predictor must carry."""
        return sum(map(len, self.thresholds))

    def encode(self, column: int, values: np.ndarray) -> np.ndarray:
        """Values (n,) of the numeric column of this index to ±1 features (n, k)."""
        return np.where(values[:, None] >= np.array(self.thresholds[column]), 1.0, -1.0)


@dataclass(frozen=True)
class QuantileToNormal:
    """Each column by a piecewise linear table from its values to scores of mean 0 and variance 1.

    `knots[column]` are ascending numbers, training values but where two are too far apart,
    `scores[column]` and `slopes[column]` the score there and the slope to the right of it, 0 at the
    last: values outside get the score of the nearest end.
    """

    knots: tuple[tuple[float, ...], ...]
    scores: tuple[tuple[float, ...], ...]
    slopes: tuple[tuple[float, ...], ...]

    @property
    def numbers(self) -> int:
        """How many float64 numbers a predictor must carry."""
        return 3 * sum(map(len, self.knots))

    def encode(self, column: int, values: np.ndarray) -> np.ndarray:
        """Values (n,) of the numeric column of this index to scores (n, 1)."""
        knots = np.array(self.knots[column])
        inside = np.clip(values, knots[0], knots[-1])
        left = np.searchsorted(knots, inside, side="right") - 1
        step = inside - knots[left]
        scores = np.array(self.scores[column])[left] + step * np.array(self.slopes[column])[left]
        return scores[:, None]


Encoder = Thermometer | QuantileToNormal
KINDS = {"thermometer": Thermometer, "quantile": QuantileToNormal}


def fit_encoder(
    scaling: str,
    columns: Sequence[tuple[int | None, np.ndarray]],
    weights: np.ndarray | None = None,
    compact: bool = False,
) -> Encoder | None:
    """The encoder of a scaling for numeric columns, each its levels and training values (n,).

    weights: (n,), how often each row counts; None: once. compact: thresholds in few bits. The
    result is None for a scaling that has no encoder. Raises InputError where there are no rows.
    """
    if scaling not in KINDS:
        return None
    if any(not len(values) for _, values in columns):
        raise InputError("no rows to fit the preprocessing on")
    if scaling == "thermometer":
        return Thermometer(
            tuple(
                fit_thresholds(values, levels or 1, weights, compact) for levels, values in columns
            )
        )
    fitted = [fit_table(values, weights) for _, values in columns]
    knots, scores, slopes = (tuple(one[k] for one in fitted) for k in range(3))
    return QuantileToNormal(knots, scores, slopes)


def fit_thresholds(
    values: np.ndarray, count: int, weights: np.ndarray | None = None, compact: bool = False
) -> tuple[float, ...]:
    """`count` thresholds that cut the values (n,) into parts as even as ties allow, ascending.

    Threshold k of `count` is the value with the share of smaller values nearest to `k/(count + 1)`,
    a different one each time and never the smallest. Where the values have too few to choose from,
    the last is repeated. `compact` ones are near these and take few bits.
    """
    distinct, counts = counted(values, weights)
    upto = np.cumsum(counts)
    below = upto[:-1] / upto[-1]
    cuts = distinct[1:] if len(distinct) > 1 else distinct
    chosen: list[int] = []
    for k in range(min(count, len(below))):
        low = chosen[-1] + 1 if chosen else 0
        high = len(below) - (min(count, len(below)) - k - 1)
        shares = np.abs(below[low:high] - (k + 1) / (count + 1))
        chosen.append(low + int(np.argmin(shares)))
    thresholds = [float(cuts[index]) for index in chosen] or [float(cuts[-1])]
    found = tuple(thresholds + thresholds[-1:] * (count - len(thresholds)))
    return round_thresholds(found, distinct, counts) if compact else found


def fit_table(
    values: np.ndarray, weights: np.ndarray | None = None
) -> tuple[tuple[float, ...], tuple[float, ...], tuple[float, ...]]:
    """Knots, scores and slopes of one column's values (n,), for `QuantileToNormal`.

    The score of a value is `Φ⁻¹` of its mid-rank over n, shifted and scaled so that the training
    values have mean 0 and variance 1. Of more than 64 distinct values, 64 at even scores are kept.
    Between two that are further apart than the largest float there is one more, halfway.
    """
    distinct, counts = counted(values, weights)
    if len(distinct) < 2:
        return (float(distinct[0]),), (0.0,), (0.0,)
    upto = np.cumsum(counts)
    n, ranks = upto[-1], upto - 0.5 * counts
    if len(distinct) > KNOTS:
        low, high = (_normal_score(rank / n) for rank in (ranks[0], ranks[-1]))
        wanted = [n * NormalDist().cdf(score) for score in np.linspace(low, high, KNOTS)]
        kept = np.unique(np.searchsorted(ranks, wanted).clip(0, len(ranks) - 1))
        distinct, ranks = distinct[kept], ranks[kept]
    scores = np.array([_normal_score(rank / n) for rank in ranks])
    distinct, scores = _without_chasm(distinct, scores)
    trained = np.interp(values, distinct, scores)
    if weights is None:
        mean, scale = trained.mean(), trained.std()
    else:
        mean = np.average(trained, weights=weights)
        scale = np.sqrt(np.average((trained - mean) ** 2, weights=weights))
    scores = (scores - mean) / scale
    with np.errstate(over="ignore"):
        slopes = np.append(np.diff(scores) / np.diff(distinct), 0.0)
    # Neighbours a denormal apart have an infinite slope, and no value between them needs one.
    slopes[~np.isfinite(slopes)] = 0.0
    return tuple(distinct.tolist()), tuple(scores.tolist()), tuple(slopes.tolist())


def _normal_score(share: float) -> float:
    """`Φ⁻¹` of a share from 0 to 1; a weight too small to count may make one of 0 or 1."""
    return NormalDist().inv_cdf(min(max(share, LEAST_SHARE), MOST_SHARE))


def _without_chasm(knots: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """With a knot halfway between the two, there are no more, whose distance overflows."""
    with np.errstate(over="ignore"):
        wide = np.flatnonzero(np.isinf(np.diff(knots)))
    halfway = [0.5 * table[wide] + 0.5 * table[wide + 1] for table in (knots, scores)]
    return np.insert(knots, wide + 1, halfway[0]), np.insert(scores, wide + 1, halfway[1])


def encoder_from_record(record: dict[str, Any], levels: list[int | None]) -> Encoder:
    """Read an encoder from its JSON; ValueError where it does not fit columns of these levels."""
    tables = {
        name: tuple(tuple(map(float, column)) for column in record[name])
        for name in ("thresholds", "knots", "scores", "slopes")
        if name in record
    }
    if set(record) == {"thresholds"}:
        encoder: Encoder = Thermometer(**tables)
        fits = [len(column) for column in tables["thresholds"]] == levels
        ascending = tables["thresholds"]
    else:
        encoder = QuantileToNormal(**tables)
        lengths = [[len(column) for column in table] for table in tables.values()]
        fits = all(one == lengths[0] and min(one, default=1) > 0 for one in lengths)
        fits = fits and len(lengths[0]) == len(levels)
        ascending = tables["knots"]
    flat = [number for table in tables.values() for column in table for number in column]
    if not fits or not np.isfinite(flat).all():
        raise ValueError("the encoder does not fit the columns")
    with np.errstate(over="ignore"):
        steps = np.concatenate([np.diff(column) for column in ascending] or [np.zeros(0)])
    if np.any(steps < 0):
        raise ValueError("thresholds and knots must ascend")
    if isinstance(encoder, QuantileToNormal) and np.isinf(steps).any():
        raise ValueError("two knots are further apart than the largest float")
    return encoder
