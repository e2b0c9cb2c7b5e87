"""From a table of named columns to the matrix a solver sees, and back from scores to answers.

Two records. A `FeatureLayout` says *which* columns the matrix has: their order, the categories of
the one-hot blocks, the constant columns that were left out. It is taken once from all rows that may
be trained on, so d is the same on every shard. A `Preprocessing` adds the *numbers*: means, scales,
imputed values, coding of the target; they are fitted on one training part and travel with the
network.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from qnn.errors import InputError
from qnn.features import tables
from qnn.features.block_floating_point import Block, round_scaling, stored
from qnn.features.columns import (
    Column,
    ConstantColumns,
    Missing,
    check_missing,
    column_from_record,
    describe_table,
    fill_from_record,
)
from qnn.features.encoders import (
    KINDS,
    Encoder,
    Thermometer,
    encoder_from_record,
    fit_encoder,
)
from qnn.features.scalings import SCALINGS, check_bias, check_scaling
from qnn.features.statistics import TINIEST, correlation_weights, mean_and_scale, typical
from qnn.features.tables import Table
from qnn.features.targets import Label, TargetCoding, coding_from_record, fit_regression, plain

# Records without an encoder are written in format 1, as they were before there were encoders.
PLAIN, ENCODED = 1, 2
THRESHOLDS = 3
BIAS_NAME = "(bias)"


@dataclass(frozen=True)
class FeatureLayout:
    """Which features the matrix has: frozen before any row is used for training.

    Features stand in the table's column order, each categorical column as one 0/1 feature per
    category (sorted), and last, where `bias` is above 0, that constant, which is neither scaled nor
    clipped: the larger it is, the less the price of a neuron limits what it adds. With
    `scaling="standardize"` every other feature gets mean 0 and variance 1 (ddof 0) on the rows it
    is fitted on; `clip` then limits its absolute value. "weighted" divides the scale by
    the root of the feature's correlation with the target on those rows: what tells more counts
    more. "quantile" standardizes after numeric columns went through their normal scores.
    "thermometer" makes every feature −1 or +1: each numeric column becomes up to `thresholds` bits,
    cut at quantiles of the rows it is fitted on, and a category's feature is +1 where it applies,
    so that the network counts in integers.

    Text counts as missing where it is one of `MISSING_WORDS` of `qnn.features.tables`, or of
    `missing_values`, and no category of its column: in training and in all rows read later. Where
    exactly one category of a column is such a word, or another that pandas takes for one (`None`),
    a missing value is this category: pandas does not tell them apart.

    A `compact` layout's means, scales and thresholds are rounded as they are fitted, and take one
    or two bytes each (`qnn.features.block_floating_point`).
    """

    columns: tuple[Column, ...]
    missing: Missing = "refuse"
    bias: int = True
    scaling: str = "standardize"
    clip: float | None = None
    warnings: tuple[str, ...] = ()
    thresholds: int = THRESHOLDS
    missing_values: tuple[str, ...] = ()
    compact: bool = False

    @staticmethod
    def from_table(
        table: Table,
        categorical: Sequence[str] | None = None,
        missing: Missing = "refuse",
        constant_columns: ConstantColumns = "drop",
        bias: int = True,
        scaling: str = "standardize",
        clip: float | None = None,
        thresholds: int = THRESHOLDS,
        missing_values: Sequence[str] = (),
        compact: bool = False,
        columns: Sequence[str] | None = None,
    ) -> FeatureLayout:
        """Take the layout from a table with every row that may ever be trained on.

        Args:
            table: mapping name → 1-D array, data frame, or 2-D array (columns x0, x1, …).
            categorical: names of the categorical columns; None: those that hold text.
            missing: "refuse" missing values, or "impute" them (median, most frequent category).
            constant_columns: "drop" columns with one value (said in `warnings`), or "keep" them.
            bias: what the constant column holds, a whole number up to 1,024, True for 1; False
                for none.
            scaling: "standardize", "weighted", "none", "quantile" or "thermometer".
            clip: limit of the absolute value of a feature after scaling; None with "thermometer".
            thresholds: bits of a numeric column under "thermometer".
            missing_values: text that says "missing", here and in all rows that are read later.
            compact: whether means, scales and thresholds are rounded to few bits; not with "none"
                and "quantile".
            columns: names of those that are read, whatever the others hold; None: all.

        Raises:
            InputError: no rows, no columns left, duplicate or unknown names, text in a numeric
                column, infinite values, missing values where they are refused, an unknown option.
        """
        check_scaling(scaling, clip, thresholds, compact)
        bits = thresholds if SCALINGS[scaling].bits else None
        described, warnings = describe_table(
            table, categorical, missing, constant_columns, bits, missing_values, columns
        )
        layout = FeatureLayout(
            described, missing, check_bias(bias), scaling, clip, warnings, int(thresholds),
            tuple(missing_values), compact,
        )  # fmt: skip
        return layout if columns is None else layout.only(columns)

    def only(self, names: Sequence[str]) -> FeatureLayout:
        """The same with no other column read than these; which are not, its `warnings` say.

        Raises InputError where one of them is no column, or none is left.
        """
        unknown = [name for name in names if name not in {column.name for column in self.columns}]
        if unknown:
            raise InputError(
                f"columns to read that are not in the data: {tables.shorten(unknown)} "
                f"(columns: {tables.shorten(column.name for column in self.columns)})"
            )
        away = [column.name for column in self.kept if column.name not in names]
        if len(away) == len(self.kept):
            raise InputError("no column is left to read: name others, that are not constant")
        columns = [
            Column(one.name, dropped=True) if one.name in away else one for one in self.columns
        ]
        said = (f"not read: {tables.shorten(away)}",) if away else ()
        return replace(self, columns=tuple(columns), warnings=(*self.warnings, *said))

    @property
    def d(self) -> int:
        """Number of columns of the matrix, the bias included."""
        return len(self.feature_names)

    @property
    def feature_names(self) -> tuple[str, ...]:
        """Names of the d features."""
        names = [name for column in self.columns for name in column.feature_names]
        return (*names, BIAS_NAME) if self.bias else tuple(names)

    @property
    def kept(self) -> tuple[Column, ...]:
        """The columns that are read: those not dropped."""
        return tuple(column for column in self.columns if not column.dropped)

    @property
    def digest(self) -> str:
        """SHA-256 over the layout's canonical JSON; neither warnings nor words count."""
        aside = ("warnings", "missing_values")
        content = {key: value for key, value in self.record().items() if key not in aside}
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    def record(self) -> dict[str, Any]:
        """The layout as plain values; what only bits need, and words, where there are any."""
        content = asdict(self)
        if not self.missing_values:
            del content["missing_values"]
        if not self.compact:
            del content["compact"]
        if not SCALINGS[self.scaling].bits:
            del content["thresholds"]
        for column in content["columns"]:
            if column["levels"] is None:
                del column["levels"]
        return content

    def fit(
        self,
        table: Table,
        target: np.ndarray,
        classes: Sequence[Label] | None = None,
        names: Sequence[str] | None = None,
        weights: np.ndarray | None = None,
    ) -> Preprocessing:
        """Fit scaling, imputation and target coding on the rows of one training part.

        Args:
            table: the training rows, with the columns of this layout.
            target: (n,) labels or numbers, or (n, C) numbers.
            classes: the labels. Two are coded −1 and +1, more than two one against the rest, as
                (n, C). None: one or several regression targets, each centred and scaled to
                variance 1 unless `scaling="none"`.
            names: what several regression targets are called.
            weights: (n,), how often each row counts in all statistics; None: once.

        Raises:
            InputError: what `transform` refuses; fewer than two classes; a target that is not
                finite; values so large that their variance overflows.
        """
        read = self.read(table)
        fill = tuple(
            column.fill(self.missing, typical(read[column.name], weights)) for column in self.kept
        )
        encoder = self._fit_encoder(read, fill, weights)
        features = self.expand(read, fill, encoder)
        means, scales = np.zeros(features.shape[1]), np.ones(features.shape[1])
        if SCALINGS[self.scaling].standardized:
            means, scales = mean_and_scale(features, weights)
        if classes is None:
            coding = fit_regression(target, self.scaling != "none", names, weights)
        else:
            coding = TargetCoding(classes=tuple(plain(label) for label in classes))
            coding.encode(target)
        if SCALINGS[self.scaling].weighted:
            own = correlation_weights((features - means) / scales, coding.encode(target), weights)
            scales = np.maximum(scales / own, TINIEST)
        if self.compact and SCALINGS[self.scaling].standardized:
            pairs = map(round_scaling, means.tolist(), scales.tolist())
            means, scales = np.array(list(pairs)).reshape(-1, 2).T
        numbers = tuple(means.tolist()), tuple(scales.tolist())
        return Preprocessing(self, fill, *numbers, coding, encoder)

    def _fit_encoder(
        self,
        read: dict[str, np.ndarray],
        fill: Sequence[float | str | None],
        weights: np.ndarray | None,
    ) -> Encoder | None:
        numeric = [
            (column.levels, np.where(np.isnan(read[column.name]), value, read[column.name]))
            for column, value in zip(self.kept, fill, strict=True)
            if isinstance(value, float)
        ]
        return fit_encoder(self.scaling, numeric, weights, self.compact)

    @property
    def missing_words(self) -> tuple[str, ...]:
        """All text that says "missing", but where it is a category."""
        return tuple(dict.fromkeys((*tables.MISSING_WORDS, *self.missing_values)))

    def unseen(self, table: Table) -> dict[str, int]:
        """How many rows hold a category that no training row has, by column; those that have any.

        Raises InputError as `read`.
        """
        counts = {}
        for column, values in zip(self.kept, self.read(table).values(), strict=True):
            if column.categories is not None:
                known = {None, *column.categories}
                counts[column.name] = sum(value not in known for value in values)
        return {name: count for name, count in counts.items() if count}

    def read(self, table: Table) -> dict[str, np.ndarray]:
        """The kept columns, numeric ones as float64, categorical ones as str or None.

        Raises:
            InputError: columns missing, text in a numeric column, infinite values, or missing
                values where the layout refuses them.
        """
        names = [column.name for column in self.columns]
        raw = tables.get_columns(table, names, [column.name for column in self.kept])
        read, words = {}, set(self.missing_words)
        for column in self.kept:
            given = raw[column.name]
            if self.missing == "refuse" and column.missing_category is not None:
                given = tables.with_word(given, column.missing_category)
            values = tables.without_words(given, words - set(column.categories or ()))
            if column.categories is None:
                read[column.name] = tables.to_numbers(values, column.name)
            else:
                read[column.name] = tables.to_categories(values, column.categories)
            if self.missing == "refuse":
                column.refuse_unclear(read[column.name])
            tables.refuse_bad_values(read[column.name], column.name, self.missing)
        return read

    def expand(
        self,
        read: dict[str, np.ndarray],
        fill: Sequence[float | str | None],
        encoder: Encoder | None,
    ) -> np.ndarray:
        """Impute, one-hot code and encode: the (n, d) features before scaling, without the bias."""
        n = len(next(iter(read.values())))
        absent = -1.0 if SCALINGS[self.scaling].bits else 0.0
        features = np.full((n, self.d - bool(self.bias)), absent)
        j = numeric = 0
        for column, value in zip(self.kept, fill, strict=True):
            values = read[column.name]
            width = len(column.feature_names)
            if column.categories is None:
                if isinstance(value, float):
                    values = np.where(np.isnan(values), value, values)
                encoded = values[:, None] if encoder is None else encoder.encode(numeric, values)
                features[:, j : j + width] = encoded
                numeric += 1
                j += width
                continue
            codes = column.codes(values, value)
            rows = np.flatnonzero(codes >= 0)
            features[rows, j + codes[rows]] = 1.0
            j += width
        return features


@dataclass(frozen=True)
class Preprocessing:
    """A layout with its fitted numbers; equal ones give equal matrices, bit for bit.

    `fill` has the imputed value of every kept column (None: a category that was never seen there),
    `means` and `scales` one number a feature without the bias; `encoder` what "quantile" and
    "thermometer" have learned of the numeric columns, in their order.
    """

    layout: FeatureLayout
    fill: tuple[float | str | None, ...]
    means: tuple[float, ...]
    scales: tuple[float, ...]
    target: TargetCoding
    encoder: Encoder | None = None

    @property
    def feature_names(self) -> tuple[str, ...]:
        """Names of the d features."""
        return self.layout.feature_names

    @property
    def classes(self) -> tuple[Label, ...] | None:
        """The labels, in the order of their outputs (two: coded −1 and +1); None for regression."""
        return self.target.classes

    @property
    def size_in_bytes(self) -> int:
        """What a predictor must carry of this: its numbers, categories and labels as UTF-8."""
        kept = self.layout.kept
        texts = [category for column in kept for category in column.categories or ()]
        texts += [str(label) for label in self.classes or ()]
        return self.bytes_of_numbers + sum(len(text.encode()) for text in texts)

    @property
    def bytes_of_numbers(self) -> int:
        """8 bytes a number; those of a compact layout's blocks as they are stored."""
        if not self.layout.compact:
            return 8 * self.numbers
        inside = sum(len(block.numbers) for block in self.blocks)
        return 8 * (self.numbers - inside) + sum(block.size_in_bytes for block in self.blocks)

    @cached_property
    def blocks(self) -> tuple[Block, ...]:
        """Of a compact layout: a column's thresholds each, or a feature's mean and scale."""
        if isinstance(self.encoder, Thermometer):
            return tuple(map(stored, self.encoder.thresholds))
        return tuple(map(stored, zip(self.means, self.scales, strict=True)))

    @property
    def numbers(self) -> int:
        """How many numbers a predictor must carry.

        Mean and scale of each feature that is standardized, thresholds or tables of an encoder, the
        imputed values where missing values are imputed, the clip, offset and scale of each
        regression target.
        """
        numbers = 2 * len(self.means) if SCALINGS[self.layout.scaling].standardized else 0
        numbers += 0 if self.encoder is None else self.encoder.numbers
        numbers += len(self.fill) if self.layout.missing == "impute" else 0
        return numbers + (self.layout.clip is not None) + self.target.numbers

    def transform(self, table: Table) -> np.ndarray:
        """The (n, d) float64 matrix of a table's rows, in C order.

        An unseen category is a block of zeros before scaling, of −1 under "thermometer".

        Raises:
            InputError: columns missing, text in a numeric column, infinite values, or missing
                values where the layout refuses them.
        """
        features = self.layout.expand(self.layout.read(table), self.fill, self.encoder)
        features -= np.array(self.means)
        features /= np.array(self.scales)
        if self.layout.clip is not None:
            np.clip(features, -self.layout.clip, self.layout.clip, out=features)
        if not self.layout.bias:
            return features
        constant = np.full((len(features), 1), float(self.layout.bias))
        return np.concatenate([features, constant], axis=1)

    def coded(self, multi_class: str) -> Preprocessing:
        """The same with its target coded as `TargetCoding.coded`; the features stay."""
        return replace(self, target=self.target.coded(multi_class))

    def encode_target(self, target: Any) -> np.ndarray:
        """Targets as the solver's (n,) or (n, C) float64; InputError for unknown or non-finite."""
        return self.target.encode(target)

    def decode(self, scores: np.ndarray) -> np.ndarray:
        """Network outputs (n,) or (n, C) as labels (n,) or in the targets' units."""
        return self.target.decode(scores)

    def to_json(self) -> str:
        """JSON text; floats are written so that they read back to the same bits."""
        return self._text

    @cached_property
    def _text(self) -> str:
        # Made once: every network of a shard has the same preprocessing in its file.
        record = {**asdict(self), "layout": self.layout.record()}
        if self.encoder is None:
            del record["encoder"]
        if self.target.names is None:
            del record["target"]["names"]
        if not self.target.pairs:
            del record["target"]["pairs"]
        version = PLAIN if self.encoder is None else ENCODED
        return json.dumps({"format": version, **record}, allow_nan=False, ensure_ascii=False)

    @staticmethod
    def from_json(text: str) -> Preprocessing:
        """Read what `to_json` wrote.

        Raises:
            InputError: the text is not such JSON, is of another format version, or does not fit
                together.
        """
        try:
            return _from_record(json.loads(text))
        except (KeyError, TypeError, ValueError, RecursionError, OverflowError) as error:
            raise InputError(
                f"not a preprocessing record: {type(error).__name__}: {error}"
            ) from error


def _from_record(record: dict[str, Any]) -> Preprocessing:
    if record["format"] != (ENCODED if "encoder" in record else PLAIN):
        raise ValueError(f"format {record['format']!r}, this version reads {PLAIN} and {ENCODED}")
    described = dict(record["layout"])
    columns = tuple(map(column_from_record, described.pop("columns")))
    texts = {
        key: tuple(map(str, described[key]))
        for key in ("warnings", "missing_values")
        if key in described
    }
    layout = FeatureLayout(columns, **{**described, **texts})
    check_missing(layout.missing)
    if type(layout.bias) is not type(check_bias(layout.bias)):
        raise ValueError(f"bias {layout.bias!r}")
    check_scaling(layout.scaling, layout.clip, layout.thresholds, layout.compact)
    coding = coding_from_record(record["target"])
    means, scales = (tuple(map(float, record[key])) for key in ("means", "scales"))
    fill = fill_from_record(layout.kept, record["fill"])
    finite = np.isfinite([*means, *scales]).all() and min(scales, default=1.0) > 0
    if not finite or not len(means) == len(scales) == layout.d - bool(layout.bias):
        raise ValueError("means and scales do not fit the layout")
    levels = [column.levels for column in layout.kept if column.categories is None]
    encoder = encoder_from_record(record["encoder"], levels) if "encoder" in record else None
    if not isinstance(encoder, KINDS.get(layout.scaling, type(None))):
        raise ValueError(f"scaling {layout.scaling!r} does not fit the encoder")
    return Preprocessing(layout, fill, means, scales, coding, encoder)
