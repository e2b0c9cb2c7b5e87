"""What a first pass over the blocks learns of the columns: enough to fit a preprocessing.

Means and sums of squared deviations of two blocks are merged as T. Chan, G. Golub and R. LeVeque
do it (Updating formulae, 1979); the tree over blocks fixes the order, and so the bits.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np

from pipeline.datasets.blocks.row_groups import Columns
from pipeline.datasets.sources import MAX_CATEGORIES
from qnn.errors import InputError
from qnn.features import tables
from qnn.features.columns import Column
from qnn.features.preprocessing import FeatureLayout, Preprocessing
from qnn.features.targets import TargetCoding, plain

_TOO_LARGE = "column '{}': values too large to standardize (squares overflow): rescale the data"


@dataclass(frozen=True)
class ColumnStatistics:
    """Of one column: numbers (mean, sum of squared deviations, extremes) or categories' counts."""

    name: str
    count: int
    mean: float = 0.0
    squares: float = 0.0
    least: float = np.inf
    most: float = -np.inf
    categories: tuple[tuple[str, int], ...] | None = None

    @property
    def constant(self) -> bool:
        """Whether it has one value only."""
        if self.categories is not None:
            return len(self.categories) < 2
        return self.least == self.most

    @property
    def deviation(self) -> float:
        """Standard deviation (ddof 0)."""
        return float(np.sqrt(self.squares / self.count))


def merged(left: ColumnStatistics, right: ColumnStatistics) -> ColumnStatistics:
    """Of the rows of both. InputError where a column is text in one block, numbers in another."""
    count = left.count + right.count
    if (left.categories is None) != (right.categories is None):
        raise InputError(f"column '{left.name}' is text in some files and numbers in others")
    if left.categories is not None and right.categories is not None:
        counts = Counter(dict(left.categories))
        counts.update(dict(right.categories))
        return _categories(left.name, count, counts)
    delta = right.mean - left.mean
    share = right.count / count
    return ColumnStatistics(
        left.name,
        count,
        left.mean + delta * share,
        left.squares + right.squares + delta * delta * left.count * share,
        min(left.least, right.least),
        max(left.most, right.most),
    )


def _categories(name: str, count: int, counts: Counter[str]) -> ColumnStatistics:
    if len(counts) > MAX_CATEGORIES:
        raise InputError(
            f"column '{name}' has more than {MAX_CATEGORIES} categories; list it in data.exclude"
        )
    return ColumnStatistics(name, count, categories=tuple(sorted(counts.items())))


def describe(name: str, values: np.ndarray) -> ColumnStatistics:
    """Of one piece; InputError for missing and infinite values."""
    if values.dtype == object:
        column = tables.to_categories(values)
        tables.refuse_bad_values(column, name, "refuse")
        return _categories(name, len(column), Counter(column.tolist()))
    tables.refuse_bad_values(values, name, "refuse")
    with np.errstate(over="ignore", invalid="ignore"):
        mean = float(values.mean())
        mean += float((values - mean).mean())
        squares = float(((values - mean) ** 2).sum())
    if not np.isfinite(squares):
        raise InputError(_TOO_LARGE.format(name))
    least, most = float(values.min()), float(values.max())
    return ColumnStatistics(name, len(values), mean, squares, least, most)


@dataclass(frozen=True)
class TableStatistics:
    """Of all columns of some blocks; ``labels``: the target's, None where it is a quantity."""

    columns: tuple[ColumnStatistics, ...]
    labels: frozenset[Any] | None


@dataclass(frozen=True)
class StatisticsPass:
    """The work on a block of raw columns."""

    target: str
    classification: bool

    def __call__(self, index: int, pieces: Any) -> TableStatistics:
        """Of one block; InputError names it."""
        try:
            return reduce(merge_tables, self._described(pieces()))
        except InputError as error:
            raise InputError(f"block {index}: {error}") from None

    def _described(self, pieces: Iterator[Columns]) -> Iterator[TableStatistics]:
        for piece in pieces:
            labels, target = None, piece[self.target]
            if self.classification:
                labels = frozenset(plain(label) for label in np.unique(_labels(target)))
            names = [name for name in piece if not (self.classification and name == self.target)]
            yield TableStatistics(tuple(describe(name, piece[name]) for name in names), labels)


def _labels(values: np.ndarray) -> np.ndarray:
    """A target's labels; InputError where one is missing."""
    if values.dtype != object:
        if np.isnan(values).any():
            raise InputError("the target is missing in some rows")
        return values
    if any(value is None for value in values):
        raise InputError("the target is missing in some rows")
    return values.astype(str)


def merge_tables(left: TableStatistics, right: TableStatistics) -> TableStatistics:
    """Of the rows of both."""
    labels = None if left.labels is None or right.labels is None else left.labels | right.labels
    pairs = zip(left.columns, right.columns, strict=True)
    return TableStatistics(tuple(merged(a, b) for a, b in pairs), labels)


def fit(
    found: TableStatistics,
    target: str,
    positive: Any,
    scaling: str,
    bias: bool,
    clip: float | None,
) -> Preprocessing:
    """The preprocessing that standardizes (or not) these columns and codes the target.

    Two classes, or one (``positive``) against all others. InputError where that is not so, where
    nothing is left, or for a scaling that needs quantiles.
    """
    if scaling not in ("standardize", "none"):
        raise InputError(
            f"preprocessing.scaling: {scaling} needs quantiles of all rows, which blocks do not "
            "have: choose standardize or none"
        )
    features = [column for column in found.columns if column.name != target]
    columns = tuple(_column(column) for column in features)
    if all(column.dropped for column in columns):
        raise InputError("all feature columns are constant: nothing to learn")
    kept = [c for c, column in zip(features, columns, strict=True) if not column.dropped]
    layout = FeatureLayout(columns, "refuse", bias, scaling, clip)
    means, scales = _moments(kept) if scaling == "standardize" else _plain_moments(kept)
    fill = tuple(c.mean if c.categories is None else c.categories[0][0] for c in kept)
    coding = _coding(found, target, positive, scaling != "none")
    return Preprocessing(layout, fill, means, scales, coding)


def _column(found: ColumnStatistics) -> Column:
    names = None if found.categories is None else tuple(name for name, _ in found.categories)
    return Column(found.name, names, dropped=found.constant)


def _moments(kept: Sequence[ColumnStatistics]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and deviation of each feature: of a category's the share p and ``sqrt(p (1 - p))``."""
    means, scales = [], []
    for column in kept:
        if column.categories is None:
            means.append(column.mean)
            scales.append(column.deviation or 1.0)
            if not np.isfinite(scales[-1]):
                raise InputError(_TOO_LARGE.format(column.name))
            continue
        for _, count in column.categories:
            p = count / column.count
            means.append(p)
            scales.append(float(np.sqrt(p * (1.0 - p))))
    return tuple(means), tuple(scales)


def _plain_moments(kept: Sequence[ColumnStatistics]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    width = sum(1 if c.categories is None else len(c.categories) for c in kept)
    return (0.0,) * width, (1.0,) * width


def _coding(found: TableStatistics, target: str, positive: Any, scaled: bool) -> TargetCoding:
    if found.labels is None:
        (column,) = (c for c in found.columns if c.name == target)
        if column.categories is not None:
            raise InputError(f"the target '{target}' holds text: set task: classification")
        if not scaled:
            return TargetCoding(None, 0.0, 1.0)
        return TargetCoding(None, column.mean, column.deviation or 1.0)
    labels = sorted(found.labels, key=lambda label: (str(type(label)), label))
    if all(isinstance(label, float) and label.is_integer() for label in labels):
        labels = [int(label) for label in labels]
    if positive is None and len(labels) == 2:
        return TargetCoding(classes=tuple(labels))
    if positive is None:
        raise InputError(
            f"the target '{target}' has {len(labels)} classes: say in data.positive which one is "
            "learned against the others"
        )
    if str(positive) not in {_spelt(label) for label in labels}:
        raise InputError(f"data.positive: {positive!r} is no label of '{target}'")
    return TargetCoding(classes=(False, True))


def _spelt(label: Any) -> str:
    """A whole number without its point."""
    if isinstance(label, float) and label.is_integer():
        return str(int(label))
    return str(label)


@dataclass(frozen=True)
class TargetReading:
    """How the target column becomes the solver's numbers."""

    name: str
    coding: TargetCoding
    positive: str | None = None

    def __call__(self, values: np.ndarray) -> np.ndarray:
        """(n,) float64."""
        if self.positive is None:
            plain_values = values if values.dtype != object else values.astype(str)
            return self.coding.encode(plain_values)
        hits = np.array([_spelt(plain(value)) == self.positive for value in values])
        return np.where(hits, 1.0, -1.0)
