"""The columns of a table and the features that each becomes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import numpy as np

from qnn.errors import InputError
from qnn.features import tables

Missing = Literal["refuse", "impute"]
ConstantColumns = Literal["drop", "keep"]


@dataclass(frozen=True)
class Column:
    """One column: numeric where `categories` is None, else a one-hot block of them.

    `levels` is the number of thermometer bits that a numeric column becomes; None: it stays one
    number.
    """

    name: str
    categories: tuple[str, ...] | None = None
    dropped: bool = False
    levels: int | None = None

    @property
    def feature_names(self) -> tuple[str, ...]:
        """Names of the features this column becomes; none where it was dropped."""
        if self.dropped:
            return ()
        if self.categories is not None:
            return tuple(f"{self.name}={category}" for category in self.categories)
        if self.levels is not None:
            return tuple(f"{self.name}>=t{k}" for k in range(1, self.levels + 1))
        return (self.name,)

    @property
    def pandas_words(self) -> tuple[str, ...]:
        """The categories that `pandas.read_csv` takes for missing cells, as `None`."""
        return tuple(word for word in self.categories or () if word in tables.PANDAS_WORDS)

    @property
    def missing_category(self) -> str | None:
        """The category that a missing value is: the one that pandas would not tell from it.

        None where there is none, or several, so that none of them is meant.
        """
        return self.pandas_words[0] if len(self.pandas_words) == 1 else None

    def fill(self, missing: Missing, typical: float | str | None) -> float | str | None:
        """What stands for a missing value: the category that is one, else the typical value."""
        named = self.missing_category if missing == "impute" else None
        return typical if named is None else named

    def refuse_unclear(self, read: np.ndarray) -> None:
        """Raise InputError for missing values (None) that may be any of several categories."""
        absent = np.flatnonzero([value is None for value in read])
        if len(self.pandas_words) > 1 and len(absent):
            raise InputError(
                f"column '{self.name}' has missing values in {tables.rows_text(absent)}, where "
                f"{_quoted(self.pandas_words)} are categories; fill them, or read the file with "
                "keep_default_na=False, as pandas calls it"
            )

    def codes(self, values: np.ndarray, fill: float | str | None) -> np.ndarray:
        """The number of each value's category, int64 (n,); −1 for none of them.

        `fill` stands for a missing one, None.
        """
        place: dict[Any, int] = {category: k for k, category in enumerate(self.categories or ())}
        filled = (fill if value is None else value for value in values)
        return np.fromiter((place.get(value, -1) for value in filled), np.int64, len(values))


def describe_table(
    table: tables.Table,
    categorical: Sequence[str] | None,
    missing: Missing,
    constant_columns: ConstantColumns,
    bits: int | None,
    missing_values: Sequence[str],
    read: Sequence[str] | None = None,
) -> tuple[tuple[Column, ...], tuple[str, ...]]:
    """The columns of a table in its order, and what there is to say of them.

    `bits`: of a numeric column under thermometer coding, None for none; `read`: the columns that
    are looked into, None for all; the others, and what is refused, as for
    `FeatureLayout.from_table`.
    """
    check_missing(missing)
    _check_one_of("constant_columns", constant_columns, get_args(ConstantColumns))
    raw = _columns_of(table, categorical, missing_values)
    columns, kept_constants = [], []
    for name, given in raw.items():
        if read is not None and name not in read:
            columns.append(Column(name))
            continue
        text = not tables.is_numeric(given) if categorical is None else name in categorical
        values = given if text else tables.without_words(given, tables.MISSING_WORDS)
        column, constant = _describe(name, values, text, missing, bits)
        drop = constant and (constant_columns == "drop" or column.categories == ())
        columns.append(replace(column, dropped=drop))
        kept_constants += [name] if constant and not drop else []
    dropped = [column.name for column in columns if column.dropped]
    if len(dropped) == len(columns):
        raise InputError(
            f"all feature columns are constant ({tables.shorten(dropped)}): nothing to learn"
        )
    said = {"dropped": dropped, "kept": kept_constants}
    warnings = [f"{what} constant columns: {', '.join(one)}" for what, one in said.items() if one]
    warnings += [
        f"column '{column.name}': {shown} differ only in case or blanks, and become categories each"
        for column in columns
        for shown in tables.alike(column.categories or ())
    ]
    warnings += [_pandas_note(one) for one in columns if one.pandas_words and not one.dropped]
    return tuple(columns), tuple(warnings)


def _pandas_note(column: Column) -> str:
    """What is said of categories that `pandas.read_csv` takes for missing cells."""
    said = f"column '{column.name}': {_quoted(column.pandas_words)}"
    if column.missing_category is not None:
        return f"{said} is a category, which pandas reads as missing: a missing value is taken so"
    return f"{said} are categories, which pandas reads as missing: give it keep_default_na=False"


def _quoted(words: Sequence[str]) -> str:
    return " and ".join(map(repr, words))


def _columns_of(
    table: tables.Table, categorical: Sequence[str] | None, missing_values: Sequence[str]
) -> dict[str, np.ndarray]:
    """The table's columns, without words that say "missing"; refused where there is nothing."""
    names = tables.column_names(table)
    unknown = [name for name in categorical or () if name not in names]
    if unknown:
        raise InputError(
            f"categorical columns not in the data: {tables.shorten(unknown)} "
            f"(columns: {tables.shorten(names)})"
        )
    found = tables.get_columns(table, names, names)
    raw = {name: tables.without_words(found[name], missing_values) for name in names}
    if not raw or not len(next(iter(raw.values()))):
        raise InputError("the data have no rows" if raw else "the data have no feature columns")
    return raw


def check_missing(missing: str) -> None:
    """Raise InputError for a treatment of missing values that there is not."""
    _check_one_of("missing", missing, get_args(Missing))


def _check_one_of(name: str, value: str, known: Sequence[str]) -> None:
    if value not in known:
        raise InputError(f"{name} must be one of {', '.join(known)} (got {tables.brief(value)})")


def _describe(
    name: str, raw: np.ndarray, text: bool, missing: Missing, thresholds: int | None
) -> tuple[Column, bool]:
    """The column and whether it is constant, missing values aside.

    A column of few values gets fewer than `thresholds` bits: one less than its distinct values.
    """
    if text:
        tables.refuse_dates(raw, name)
    values = tables.to_categories(raw) if text else tables.to_numbers(raw, name)
    tables.refuse_bad_values(values, name, missing)
    if text:
        categories = tuple(sorted({value for value in values if value is not None}))
        return Column(name, categories), len(categories) < 2
    distinct = len(np.unique(values[~np.isnan(values)]))
    levels = None if thresholds is None else max(1, min(thresholds, distinct - 1))
    return Column(name, levels=levels), distinct < 2


def column_from_record(record: dict[str, Any]) -> Column:
    """A column as JSON has it; raises KeyError, TypeError or ValueError where it is none."""
    categories = record["categories"]
    return Column(
        str(record["name"]),
        None if categories is None else tuple(map(str, categories)),
        bool(record["dropped"]),
        int(record["levels"]) if "levels" in record else None,
    )


def fill_from_record(
    columns: Sequence[Column], record: Sequence[Any]
) -> tuple[float | str | None, ...]:
    """What stands for a missing value of each column, as JSON has it; raises as above."""
    found: list[float | str | None] = []
    for column, value in zip(columns, record, strict=True):
        if column.categories is not None and value is not None and value not in column.categories:
            raise ValueError(f"fill of '{column.name}' is no category of it")
        found.append(float(value) if column.categories is None else value)
    return tuple(found)
