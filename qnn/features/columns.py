"""One column of a table and the features that it becomes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, time, timedelta
from typing import Any, Literal

import numpy as np

from qnn.errors import InputError
from qnn.features import tables

Missing = Literal["refuse", "impute"]


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


def describe(
    name: str, raw: np.ndarray, text: bool, missing: Missing, thresholds: int | None
) -> tuple[Column, bool]:
    """The column and whether it is constant, missing values aside.

    A column of few values gets fewer than `thresholds` bits: one less than its distinct values.
    """
    if text:
        _refuse_dates(raw, name)
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


def _refuse_dates(values: np.ndarray, name: str) -> None:
    """Each would become a category of its own, and every later one an unseen category."""
    if any(isinstance(value, (date, time, timedelta)) for value in values.tolist()):
        raise InputError(
            f"column '{name}' holds dates or times: make numbers of them (days since the first), "
            "text if they are categories, or leave it out"
        )
