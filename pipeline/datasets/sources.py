"""From a data source to a `Table`: numeric columns as float64, categorical ones as text, a target.

Every fault of the data is one line that names column, row (counted from 1) and way out.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa

from pipeline.configuration.settings import DataConfig, SweepConfig, Task
from pipeline.datasets.csv_text import CsvFormat
from pipeline.datasets.embedded import read_embedded
from pipeline.datasets.files import (
    CSV_SUFFIXES,
    HIVE_NULL,
    PARQUET_SUFFIXES,
    read_source,
    to_labels,
    to_numpy,
)
from pipeline.datasets.recognized import (
    counting_words,
    has_no_value,
    is_index,
    left_out,
    notes_of,
    refuse_empty,
    refuse_giant_target,
)
from pipeline.datasets.spellings import (
    labels_of,
    parse_numbers,
    plain_numbers,
    refuse_dates,
    same_label,
    spelt_numbers,
    truth_of,
    without_nan,
)
from pipeline.logs.redact import redact
from qnn.errors import InputError
from qnn.features import tables
from qnn.features.noise import is_flag
from qnn.features.targets import Label

log = logging.getLogger(__name__)

# Hashing and one-hot coding a column with so many categories is never what was meant.
MAX_CATEGORIES = 100
# Each class is an SDP of its own; so many labels are a quantity, or a name.
MAX_CLASSES = 100


@dataclass(frozen=True, eq=False)
class Table:
    """The columns that a sweep uses, each of length n.

    `columns` are the features (float64 with NaN, or object arrays of str with None); `target` has
    labels (object) or float64 numbers, of several targets (n, C); `classes` the labels, of two
    those coded −1 and +1, of more one for each output; None for regression; `groups` the column
    that shards are made by, as text; `sha256` the digest of all of it, whatever file it came from;
    `held_out` (bool) the rows of the test where a column says so; `targets` the names of several
    regression targets, one for each output.
    """

    name: str
    columns: dict[str, np.ndarray]
    target: np.ndarray
    classes: tuple[Label, ...] | None
    groups: np.ndarray | None
    sha256: str
    held_out: np.ndarray | None = None
    targets: tuple[str, ...] | None = None
    notes: tuple[str, ...] = ()

    @property
    def outputs(self) -> tuple[Label, ...]:
        """The classes or targets that outputs stand for; () where one output does."""
        return self.targets or (self.classes if self.classes and len(self.classes) > 2 else ())

    @property
    def n(self) -> int:
        """Number of rows."""
        return len(self.target)

    @cached_property
    def flags(self) -> tuple[str, ...]:
        """The features of only 0 and 1, in which rows with noise have none."""
        return tuple(name for name, column in self.columns.items() if is_flag(column))

    def take(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        """The feature columns at some rows."""
        return {name: column[rows] for name, column in self.columns.items()}


def load_table(config: SweepConfig) -> Table:
    """The table of a sweep. Raises InputError as `read_table`."""
    return read_table(config.data, config.group_column, config.task, config.test.column)


def read_table(
    data: DataConfig,
    group_column: str | None = None,
    task: Task = "classification",
    test_column: str | None = None,
) -> Table:
    """Read features, target and the column that shards are made by.

    Args:
        data: where, and what the columns are.
        group_column: a column that is kept as `groups` and is no feature.
        task: "classification" (two labels or more) or "regression" (finite numbers).
        test_column: a column that is 1 (or true) in the rows of the test and is no feature.

    Raises:
        InputError: a missing or unreadable file, no rows, unknown or duplicate columns, text in a
            numeric column, infinite values, missing ones where they are refused, or a target that
            does not fit the task.
    """
    raw, truths = _read(data)
    names = list(raw)
    _refuse_absent(data.targets, names, "data.target")
    _refuse_absent([group_column] if group_column else [], names, "shards.column")
    _refuse_absent([test_column] if test_column else [], names, "test.column")
    for key in ("features", "exclude", "categorical"):
        _refuse_absent(getattr(data, key) or (), names, f"data.{key}")
    raw = {**raw, **{name: without_nan(raw[name]) for name in data.targets}}
    if not len(raw[data.targets[0]]):
        shown = re.split(r"[/\\]", redact(data.source).partition("?")[0].rstrip("/\\"))[-1]
        raise InputError(f"data.source: {shown} has no rows")
    if data.missing_target == "drop":
        raw = _without_missing(raw, data.targets)
    features, said = _feature_names(data, raw, {*data.targets, group_column, test_column})
    if data.missing == "refuse":
        refuse_empty({name: raw[name] for name in features})
    columns = {name: _feature(raw[name], name, data) for name in features}
    target, classes = _target([raw[name] for name in data.targets], data, task, truths)
    targets = data.targets if target.ndim == 2 else None
    groups = None if group_column is None else _groups(raw[group_column], group_column, data.source)
    held_out = None if test_column is None else _held_out(raw[test_column], test_column)
    marks = None if held_out is None else held_out.astype(np.float64)
    digest = _digest(
        [
            *columns.items(),
            *_named(as_numbers(target), targets),
            ("groups", groups),
            ("held_out", marks),
        ]
    )
    name = source_name(data.source)
    notes = (*said, *notes_of(columns, raw))
    return Table(name, columns, target, classes, groups, digest, held_out, targets, notes)


def read_columns(data: DataConfig) -> dict[str, np.ndarray]:
    """All columns of a source: float64 with NaN, or object arrays of text with None."""
    return _read(data)[0]


def _read(data: DataConfig) -> tuple[dict[str, np.ndarray], frozenset[str]]:
    """As `read_columns`, and the names of those that the source has as true and false."""
    scheme, _, name = data.source.partition(":")
    if scheme == "sklearn":
        return read_embedded(name), frozenset()
    arrow = read_source(data.source, data.missing_values, csv_format(data))
    truths = {name for name in arrow.column_names if pa.types.is_boolean(arrow[name].type)}
    reads = {name: to_labels if name in data.targets else to_numpy for name in arrow.column_names}
    return {name: read(arrow[name], name) for name, read in reads.items()}, frozenset(truths)


def csv_format(data: DataConfig) -> CsvFormat:
    """What the config says of how a CSV file is written."""
    return CsvFormat(data.separator, data.quote, data.encoding, data.comment)


def source_name(source: str) -> str:
    """The data set's name: the last part of the source, without its suffix."""
    last = re.split(r"[/:]", source.partition("?")[0].rstrip("/"))[-1]
    return last.partition(".")[0] or last or "data"


def _refuse_absent(wanted: Iterable[str], names: list[str], key: str) -> None:
    absent = [name for name in wanted if name not in names]
    if absent:
        raise InputError(
            f"{key}: no column {tables.shorten(map(repr, absent))} in the data "
            f"(columns: {tables.shorten(name or repr(name) for name in names)})"
        )


def _without_missing(raw: dict[str, np.ndarray], targets: Sequence[str]) -> dict[str, np.ndarray]:
    """The rows that have every target; how many are left out is said."""
    gaps = [np.array([tables.is_missing(value) for value in raw[name]]) for name in targets]
    absent = np.logical_or.reduce(gaps)
    if absent.all():
        every = "every target" if len(targets) > 1 else "a target"
        raise InputError(
            f"no row has {every} ({tables.shorten(map(repr, targets))}): nothing to learn"
        )
    if absent.any():
        log.warning("left out %s without a target", tables.rows_text(np.flatnonzero(absent)))
    return {name: values[~absent] for name, values in raw.items()}


def _feature_names(
    data: DataConfig, raw: dict[str, np.ndarray], other: set[str | None]
) -> tuple[list[str], list[str]]:
    """The features, and what there is to say of columns that are none."""
    away = {*other, *data.exclude}
    chosen = list(data.features or raw)
    index: list[str] = []
    blank = [name for name in raw if not name and name not in away and has_no_value(raw[name])]
    if data.features is None:
        away |= set(blank)
        index = [name for name in raw if name not in away and is_index(name, raw[name])]
        if index:
            log.warning("%s", counting_words(index))
        away |= set(index)
    found = [name for name in chosen if name not in away]
    if not found:
        raise InputError("data: no feature columns are left; check features and exclude")
    unlisted = [name for name in raw if name not in chosen and name not in away]
    excluded = [name for name in data.exclude if name not in other]
    said = left_out(index, raw, excluded, unlisted)
    if data.features is None and blank:
        said.append("left out a column without a name and without a value")
    return found, said


def _feature(values: np.ndarray, name: str, data: DataConfig) -> np.ndarray:
    if data.categorical is not None:
        categorical = name in data.categorical
    else:
        refuse_dates(values, name)
    if values.dtype == object and not (data.categorical and name in data.categorical):
        values = plain_numbers(values, name, data.decimal, data.thousands)
    if data.categorical is None:
        categorical = values.dtype == object and not spelt_numbers(values, name)
    column = tables.to_categories(values) if categorical else parse_numbers(values, name)
    tables.refuse_bad_values(column, name, data.missing)
    _refuse_many_categories(column, name)
    return column


def _refuse_many_categories(column: np.ndarray, name: str) -> None:
    count = len(set(column)) if column.dtype == object else 0
    if count > MAX_CATEGORIES:
        raise InputError(
            f"column '{name}' has {count} categories, at most {MAX_CATEGORIES} are supported; "
            "list it in data.exclude"
        )


def _named(target: np.ndarray, targets: tuple[str, ...] | None) -> Iterable[tuple[str, np.ndarray]]:
    """The target under a name that it has in every table; several under their own."""
    if targets is None:
        return [("target", target)]
    return [(f"target {name}", target[:, c]) for c, name in enumerate(targets)]


def _target(
    columns: Sequence[np.ndarray], data: DataConfig, task: Task, truths: frozenset[str]
) -> tuple[np.ndarray, tuple[Label, ...] | None]:
    if task == "regression":
        if len(columns) > MAX_CLASSES:
            raise InputError(
                f"data.target lists {len(columns)} columns; at most {MAX_CLASSES} are supported"
            )
        otherwise = "leave it out of data.target"
        if len(columns) == 1:
            otherwise = "set task: classification if it is a label"
        named = zip(columns, data.targets, strict=True)
        numbers = [_quantity(values, name, data, otherwise) for values, name in named]
        return numbers[0] if len(numbers) == 1 else np.stack(numbers, axis=1), None
    (values,), (name,) = columns, data.targets
    _refuse_missing_target(values, name)
    labels = labels_of(values)
    if name in truths:
        labels = [bool(label) for label in labels]
    classes = sorted(set(labels))
    for shown in tables.alike(classes):
        log.warning("the target '%s': %s differ only in case or blanks", name, shown)
    found = tables.shorten(map(tables.brief, classes), 5)
    if len(classes) == 1:
        raise InputError(f"the target '{name}' has one class ({found}); two or more are needed")
    if len(classes) > MAX_CLASSES:
        raise InputError(
            f"the target '{name}' has {len(classes)} classes ({found}); at most {MAX_CLASSES} are "
            "supported; set task: regression if it is a quantity"
        )
    if data.positive is not None and len(classes) > 2:
        raise InputError(
            f"data.positive is for two classes, but the target '{name}' has {len(classes)} "
            f"({found}); remove it to train one output a class"
        )
    if data.positive is not None:
        matching = [label for label in classes if same_label(label, data.positive)]
        if not matching:
            raise InputError(
                f"data.positive: {tables.brief(data.positive)} is no label of '{name}' "
                f"(labels: {', '.join(map(tables.brief, classes))})"
            )
        classes = [label for label in classes if label != matching[0]] + matching
    return np.array(labels, dtype=object), tuple(classes)


def _refuse_missing_target(values: np.ndarray, name: str) -> None:
    absent = np.array([tables.is_missing(value) for value in values])
    if absent.any():
        raise InputError(
            f"the target '{name}' is missing in {tables.rows_text(np.flatnonzero(absent))}; fill "
            "it, or set data.missing_target to drop to leave such rows out"
        )
    tables.refuse_bad_values(values, name, "refuse")


def _quantity(values: np.ndarray, name: str, data: DataConfig, otherwise: str) -> np.ndarray:
    """A regression target (n,) as float64, its marks told or found as a feature's are."""
    if values.dtype == object:
        values = plain_numbers(values, name, data.decimal, data.thousands)
    numbers = parse_numbers(values, name, otherwise)
    _refuse_missing_target(numbers, name)
    refuse_giant_target(numbers, name)
    if numbers.min() == numbers.max():
        raise InputError(f"the target '{name}' is the same in all rows: nothing to learn")
    return numbers


def _groups(values: np.ndarray, name: str, source: str) -> np.ndarray:
    """The values of the shards' column (n,): `data.missing` imputes features, not these."""
    absent = np.flatnonzero([tables.is_missing(value) for value in values])
    if len(absent):
        raise InputError(
            f"shards.column: '{name}' is missing in {tables.rows_text(absent)}; fill it, or choose "
            f"another column{_of_folder(source, name)}"
        )
    tables.refuse_bad_values(values, name, "refuse")
    return tables.to_categories(values)


def _of_folder(source: str, name: str) -> str:
    """Where rows without a value lie in a Hive folder, for a message; "" of a file."""
    if source.lower().partition("?")[0].endswith((*CSV_SUFFIXES, *PARQUET_SUFFIXES)):
        return ""
    return f" (in a folder of partitions they are {name}={HIVE_NULL}: rename it or move it away)"


def _held_out(values: np.ndarray, name: str) -> np.ndarray:
    """Which rows are the test's, bool (n,)."""
    marks = np.array([truth_of(value) for value in values])
    wrong = np.flatnonzero(~np.isin(marks, (0.0, 1.0)))
    if len(wrong):
        row = wrong[0]
        raise InputError(
            f"test.column: '{name}' must be 0 or 1 (or true and false) in every row, but row "
            f"{row + 1} holds {tables.brief(values[row])}"
        )
    return marks == 1.0


def as_numbers(labels: np.ndarray) -> np.ndarray:
    """Labels for a digest: true and false as 1 and 0, as earlier versions called them."""
    if labels.dtype != object:
        return labels
    plain = [int(label) if isinstance(label, bool) else label for label in labels.tolist()]
    return np.array(plain, dtype=object)


def _digest(named: Iterable[tuple[str, np.ndarray | None]]) -> str:
    """SHA-256 over names and values, numbers as little-endian float64 with one NaN and one zero."""
    total = hashlib.sha256()
    for name, values in named:
        if values is None:
            continue
        kind = "text" if values.dtype == object else "numbers"
        total.update(json.dumps([name, kind, len(values)]).encode())
        if values.dtype == object:
            total.update(json.dumps(values.tolist()).encode())
        else:
            numbers = np.where(np.isnan(values), np.nan, values + 0.0)
            total.update(numbers.astype("<f8").tobytes())
    return total.hexdigest()
