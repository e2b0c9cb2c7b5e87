"""What a first pass over the blocks learns of the columns: enough to fit a preprocessing.

Means and sums of squared deviations of two blocks are merged as T. Chan, G. Golub and R. LeVeque
do it (Updating formulae, 1979); the tree over blocks fixes the order, and so the bits.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from typing import Any

import numpy as np

from pipeline.datasets.blocks.quantiles import Spread
from pipeline.datasets.blocks.row_groups import Columns, checksum
from pipeline.datasets.blocks.targets import coding_of, labels_in
from pipeline.datasets.sources import MAX_CATEGORIES
from qnn.errors import InputError
from qnn.features import tables
from qnn.features.columns import Column, Missing
from qnn.features.encoders import (
    KINDS,
    Encoder,
    QuantileToNormal,
    Thermometer,
    fit_table,
    fit_thresholds,
)
from qnn.features.preprocessing import THRESHOLDS, FeatureLayout, Preprocessing
from qnn.features.scalings import SCALINGS, check_bias
from qnn.features.statistics import mean_and_scale, median
from qnn.features.targets import TargetCoding

_TOO_LARGE = "column '{}': values too large to standardize (squares overflow): rescale the data"


@dataclass(frozen=True)
class ColumnStatistics:
    """Of one column: numbers (mean, sum of squared deviations, extremes) or categories' counts.

    ``count`` values are there, ``missing`` ones are not; ``spread`` where quantiles are asked for.
    """

    name: str
    count: int
    mean: float = 0.0
    squares: float = 0.0
    least: float = np.inf
    most: float = -np.inf
    categories: tuple[tuple[str, int], ...] | None = None
    missing: int = 0
    spread: Spread | None = None

    @property
    def constant(self) -> bool:
        """Whether it has one value only."""
        if self.categories is not None:
            return len(self.categories) < 2
        return self.least >= self.most

    @property
    def deviation(self) -> float:
        """Standard deviation (ddof 0)."""
        return float(np.sqrt(self.squares / self.count))


def merged(left: ColumnStatistics, right: ColumnStatistics) -> ColumnStatistics:
    """Of the rows of both. InputError where a column is text in one block, numbers in another."""
    count, missing = left.count + right.count, left.missing + right.missing
    if (left.categories is None) != (right.categories is None):
        raise InputError(f"column '{left.name}' is text in some files and numbers in others")
    if left.categories is not None and right.categories is not None:
        counts = Counter(dict(left.categories))
        counts.update(dict(right.categories))
        return _categories(left.name, count, counts, missing)
    delta = right.mean - left.mean
    share = right.count / max(count, 1)
    spread = None
    if left.spread is not None and right.spread is not None:
        spread = left.spread + right.spread
    return ColumnStatistics(
        left.name,
        count,
        left.mean + delta * share,
        left.squares + right.squares + delta * delta * left.count * share,
        min(left.least, right.least),
        max(left.most, right.most),
        missing=missing,
        spread=spread,
    )


def _categories(name: str, count: int, counts: Counter[str], missing: int = 0) -> ColumnStatistics:
    if len(counts) > MAX_CATEGORIES:
        raise InputError(
            f"column '{name}' has more than {MAX_CATEGORIES} categories; list it in data.exclude"
        )
    categories = tuple(sorted(counts.items()))
    return ColumnStatistics(name, count, categories=categories, missing=missing)


@dataclass(frozen=True)
class Asked:
    """What the columns are read for: as the config's keys of these names."""

    scaling: str = "standardize"
    thresholds: int = THRESHOLDS
    bias: int = True
    clip: float | None = None
    missing: Missing = "refuse"
    missing_values: tuple[str, ...] = ()
    categorical: tuple[str, ...] | None = None

    @property
    def quantiles(self) -> str | None:
        """What needs them; None where nothing does."""
        if self.missing == "impute":
            return "data.missing: impute"
        if self.scaling in KINDS:
            return f"preprocessing.scaling: {self.scaling}"
        return None

    def describe(self, name: str, values: np.ndarray, before: int = 0) -> ColumnStatistics:
        """Of a feature's piece with so many rows before it.

        InputError for infinite values, and missing ones if refused.
        """
        text = values.dtype == object
        if self.categorical is not None:
            text = name in self.categorical
        present = tables.without_words(values, self.missing_values)
        if not text:
            # As `FeatureLayout.from_table`: of numbers these words are always missing ones.
            present = tables.without_words(present, tables.MISSING_WORDS)
            numbers = tables.to_numbers(present, name, before)
            return describe(name, numbers, self.missing, self.quantiles is not None, before)
        column = tables.to_categories(present)
        tables.refuse_bad_values(column, name, self.missing, before)
        counts = Counter(value for value in column if value is not None)
        return _categories(name, counts.total(), counts, len(column) - counts.total())


def describe(
    name: str,
    values: np.ndarray,
    missing: Missing = "refuse",
    quantiles: bool = False,
    before: int = 0,
) -> ColumnStatistics:
    """Of one piece of numbers (n,); InputError as above, or where squares overflow."""
    tables.refuse_bad_values(values, name, missing, before)
    present = values[~np.isnan(values)] if missing == "impute" else values
    spread = Spread.of(present) if quantiles else None
    absent = len(values) - len(present)
    if not len(present):
        return ColumnStatistics(name, 0, missing=absent, spread=spread)
    with np.errstate(over="ignore", invalid="ignore"):
        mean = float(present.mean())
        mean += float((present - mean).mean())
        squares = float(((present - mean) ** 2).sum())
    if not np.isfinite(squares):
        raise InputError(_TOO_LARGE.format(name))
    least, most = float(present.min()), float(present.max())
    return ColumnStatistics(
        name, len(present), mean, squares, least, most, missing=absent, spread=spread
    )


@dataclass(frozen=True)
class TableStatistics:
    """Of all columns of some blocks; ``labels``: the target's, None where it is a quantity.

    ``checksums``: of each block's raw rows, see `checksum`.
    """

    columns: tuple[ColumnStatistics, ...]
    labels: frozenset[Any] | None
    checksums: tuple[int, ...] = ()


@dataclass(frozen=True)
class StatisticsPass:
    """The work on a block of raw columns.

    ``cuts``: the first row of each block, from which messages count rows; without: each from 0.
    """

    target: str
    classification: bool
    asked: Asked = Asked()
    cuts: tuple[int, ...] = ()

    def __call__(self, index: int, pieces: Any) -> TableStatistics:
        """Of one block; InputError names it."""
        found = 0

        def summed() -> Iterator[Columns]:
            nonlocal found
            for piece in pieces():
                found = checksum(piece, found)
                yield piece

        first = self.cuts[index] if self.cuts else 0
        try:
            statistics = reduce(merge_tables, self._described(summed(), first))
        except InputError as error:
            raise InputError(f"block {index}: {error}") from None
        return replace(statistics, checksums=(found,))

    def _described(self, pieces: Iterator[Columns], before: int) -> Iterator[TableStatistics]:
        for piece in pieces:
            last = before + len(piece[self.target])
            try:
                found = self._piece(piece, before)
            except InputError as error:
                raise InputError(f"rows {before + 1} to {last}: {error}") from None
            yield found
            before = last

    def _piece(self, piece: Columns, before: int) -> TableStatistics:
        target = piece[self.target]
        labels = labels_in(target, self.target, before) if self.classification else None
        columns = [
            self.asked.describe(name, piece[name], before) for name in piece if name != self.target
        ]
        if not self.classification:
            columns.append(_quantity(self.target, target, before))
        return TableStatistics(tuple(columns), labels)


def _quantity(name: str, values: np.ndarray, before: int) -> ColumnStatistics:
    """Of a piece of a regression's target."""
    if values.dtype == object:
        raise InputError(f"the target '{name}' holds text: set task: classification")
    return describe(name, values, before=before)


def merge_tables(left: TableStatistics, right: TableStatistics) -> TableStatistics:
    """Of the rows of both."""
    labels = None if left.labels is None or right.labels is None else left.labels | right.labels
    pairs = zip(left.columns, right.columns, strict=True)
    columns = tuple(merged(a, b) for a, b in pairs)
    return TableStatistics(columns, labels, left.checksums + right.checksums)


def fit(
    found: TableStatistics, target: str, positive: Any, asked: Asked | None = None
) -> Preprocessing:
    """The preprocessing that these columns and their target are given.

    Two classes, or one (``positive``) against all others. InputError where that is not so, where
    nothing is left, or where columns are to be weighted.
    """
    asked = asked or Asked()
    if SCALINGS[asked.scaling].weighted:
        raise InputError("blocks of rows have no correlations: columns cannot be weighted by them")
    features = [column for column in found.columns if column.name != target]
    bits = SCALINGS[asked.scaling].bits
    columns = tuple(_column(column, asked.thresholds if bits else None) for column in features)
    if all(column.dropped for column in columns):
        raise InputError("all feature columns are constant: nothing to learn")
    pairs = zip(features, columns, strict=True)
    kept = [_filled(one, column, asked.missing) for one, column in pairs if not column.dropped]
    layout = FeatureLayout(
        columns, asked.missing, check_bias(asked.bias), asked.scaling, asked.clip,
        thresholds=asked.thresholds, missing_values=asked.missing_values,
    )  # fmt: skip
    encoder = _encoder(asked.scaling, layout.kept, kept)
    moments = _moments(kept, encoder)
    if not SCALINGS[asked.scaling].standardized:
        width = layout.d - bool(layout.bias)
        moments = (0.0,) * width, (1.0,) * width
    coding = _coding(found, target, positive, asked.scaling != "none")
    return Preprocessing(layout, tuple(c.fill for c in kept), *moments, coding, encoder)


def _column(found: ColumnStatistics, thresholds: int | None) -> Column:
    if found.categories is not None:
        names = tuple(name for name, _ in found.categories)
        return Column(found.name, names, dropped=found.constant)
    levels = None
    if thresholds is not None and found.spread is not None:
        levels = int(max(1, min(thresholds, found.spread.distinct - 1)))
    return Column(found.name, dropped=found.constant, levels=levels)


@dataclass(frozen=True)
class _Filled:
    """A column with its missing values filled in as `FeatureLayout.fit` does.

    ``points``: values and how many rows each stands for, where there are quantiles.
    """

    fill: float | str
    described: ColumnStatistics
    points: tuple[np.ndarray, np.ndarray] | None = None


def _filled(found: ColumnStatistics, column: Column, missing: Missing) -> _Filled:
    if found.categories is not None:
        # Ties go to the first in sorted order, as everywhere.
        common = min(found.categories, key=lambda pair: (-pair[1], pair[0]))[0]
        fill = str(column.fill(missing, common))
        if not found.missing:
            return _Filled(fill, found)
        counts = Counter(dict(found.categories))
        counts[fill] += found.missing
        return _Filled(fill, _categories(found.name, found.count + found.missing, counts))
    if found.spread is None:
        return _Filled(found.mean, found)
    values, weights = found.spread.points()
    middle = median(values, weights)
    if not found.missing:
        return _Filled(middle, found, (values, weights))
    absent = ColumnStatistics(found.name, found.missing, middle, 0.0, middle, middle)
    points = np.append(values, middle), np.append(weights, float(found.missing))
    return _Filled(middle, merged(found, absent), points)


def _encoder(scaling: str, columns: Sequence[Column], kept: Sequence[_Filled]) -> Encoder | None:
    """As `qnn.features.encoders.fit_encoder`, from points with weights of each column."""
    if scaling not in KINDS:
        return None
    pairs = zip(columns, (one.points for one in kept), strict=True)
    numeric = [(column.levels or 1, *points) for column, points in pairs if points is not None]
    if scaling == "thermometer":
        return Thermometer(
            tuple(fit_thresholds(values, levels, weights) for levels, values, weights in numeric)
        )
    tables_of = [fit_table(values, weights) for _, values, weights in numeric]
    knots, scores, slopes = (tuple(one[k] for one in tables_of) for k in range(3))
    return QuantileToNormal(knots, scores, slopes)


def _moments(
    kept: Sequence[_Filled], encoder: Encoder | None
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and deviation of each feature: of a category's the share p and ``sqrt(p (1 - p))``."""
    means: list[float] = []
    scales: list[float] = []
    numeric = 0
    for one in kept:
        column = one.described
        if column.categories is not None:
            for _, count in column.categories:
                p = count / column.count
                means.append(p)
                scales.append(float(np.sqrt(p * (1.0 - p))))
            continue
        mean, scale = column.mean, column.deviation or 1.0
        if encoder is not None and one.points is not None:
            values, weights = one.points
            encoded = encoder.encode(numeric, values)[:, :1]
            (mean,), (scale,) = (part.tolist() for part in mean_and_scale(encoded, weights))
        numeric += 1
        means.append(mean)
        scales.append(scale)
        if not np.isfinite(scale):
            raise InputError(_TOO_LARGE.format(column.name))
    return tuple(means), tuple(scales)


def _coding(found: TableStatistics, target: str, positive: Any, scaled: bool) -> TargetCoding:
    if found.labels is not None:
        return coding_of(found.labels, target, positive)
    (column,) = (c for c in found.columns if c.name == target)
    if not scaled:
        return TargetCoding(None, 0.0, 1.0)
    return TargetCoding(None, column.mean, column.deviation or 1.0)
