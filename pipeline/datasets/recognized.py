"""What a table's columns look like beside numbers and categories: counters, ids, dates, giants."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime

import numpy as np

from pipeline.configuration.settings import SweepConfig
from pipeline.datasets.spellings import all_dates, is_number, looks_like
from qnn.errors import InputError
from qnn.features import tables
from qnn.features.scalings import SCALINGS
from qnn.features.statistics import mean_and_scale

# What pandas, R and Arrow call a column of row numbers that was written along.
_INDEX = re.compile(r"|Unnamed: \d+|__index_level_\d+__|\.\.\.1")
_ADVICE = "; it is learnt from unless data.exclude lists it"
_ID = re.compile(r"(.*[ _.-])?(?i:id|uuid|guid|key|nr)|[A-Za-z0-9]*[a-z](Id|ID)")


def is_index(name: str, values: np.ndarray) -> bool:
    """Whether a column only counts the rows, under a name that pandas and others give it."""
    return _INDEX.fullmatch(name) is not None and _counts(values)


def has_no_value(values: np.ndarray) -> bool:
    """Whether every cell of a column is missing."""
    return all(tables.is_missing(value) for value in values)


def refuse_empty(columns: dict[str, np.ndarray]) -> None:
    """Raise `InputError` for columns without a value: imputing is no way out for them."""
    empty = [name for name, values in columns.items() if has_no_value(values)]
    if empty:
        raise InputError(
            f"column {tables.shorten(map(repr, empty))} has no value in any row; list it in "
            "data.exclude"
        )


def _counts(values: np.ndarray) -> bool:
    """Whether each row's number is one more than that of the row before."""
    if len(values) < 2:
        return False
    if values.dtype == object:
        if not all(value is not None and is_number(str(value)) for value in values):
            return False
        values = np.array([float(value) for value in values])
    return bool((np.diff(values) == 1.0).all())


def notes_of(columns: dict[str, np.ndarray], raw: dict[str, np.ndarray]) -> tuple[str, ...]:
    """A line for each feature that looks like an id or holds dates, and for columns left out.

    `columns`: the features as they are learnt from; `raw`: as the source has them.
    """
    found = []
    for name, column in columns.items():
        if column.dtype == object and _are_dates(raw[name]):
            found.append(f"column '{name}' holds dates, each taken for a category of its own")
        elif column.dtype == object and (looks := looks_like(column)) is not None:
            found.append(
                f"column '{name}' looks like {looks}, each taken for a category of its own; write "
                "plain numbers to have it learnt as a quantity"
            )
        elif (day := _day_written(column)) is not None:
            found.append(
                f"column '{name}' looks like dates written as whole numbers (as {day}), "
                "learnt as a quantity: December to January is a leap of 8,870; write days since "
                "the first, or list it in data.exclude"
            )
        elif _counts(column):
            found.append(f"column '{name}' only counts the rows, as an id does{_ADVICE}")
        elif _ID.fullmatch(name) and _distinct(column):
            found.append(f"column '{name}' looks like an id: no two rows share one{_ADVICE}")
    return tuple(found)


def _are_dates(values: np.ndarray) -> bool:
    return values.dtype == object and all_dates(values)


def _day_written(values: np.ndarray) -> int | None:
    """The first value of a column that holds days as YYYYMMDD and nothing else; else None."""
    if values.dtype == object:
        return None
    present = values[~np.isnan(values)]
    if len(present) < 2 or not ((present >= 19000101.0) & (present <= 20991231.0)).all():
        return None
    texts = {f"{value:.10g}" for value in np.unique(present)}
    return int(present[0]) if len(texts) > 1 and all(map(_is_day, texts)) else None


def _is_day(text: str) -> bool:
    try:
        return len(text) == 8 and datetime.strptime(text, "%Y%m%d") is not None
    except ValueError:
        return False


def _distinct(values: np.ndarray) -> bool:
    """Whether every row has its own text or whole number."""
    if values.dtype != object and not (values == np.floor(values)).all():
        return False
    return len(values) > 1 and len(set(values.tolist())) == len(values)


def counting_words(index: Sequence[str]) -> str:
    """What is said of columns that are left out because they count the rows."""
    named = ", ".join(repr(name) if name else "the column without a name" for name in index)
    return f"left out {named}, which only counts the rows"


def left_out(
    index: Sequence[str],
    raw: dict[str, np.ndarray],
    exclude: Sequence[str],
    unlisted: Sequence[str] = (),
) -> list[str]:
    """What is said of columns that are no features, so that none is missed unnoticed.

    `index`: those that count the rows; `exclude`: those of data.exclude, dates by themselves;
    `unlisted`: those that data.features does not list.
    """
    said = [counting_words(index)] if index else []
    dates = [name for name in exclude if _are_dates(raw[name])]
    said += [f"left out '{name}', which holds dates" for name in dates]
    told = {"data.exclude lists": [name for name in exclude if name not in dates],
            "data.features does not list": unlisted}  # fmt: skip
    return said + [
        f"left out {tables.shorten(map(repr, names))}, which {key}"
        for key, names in told.items()
        if names
    ]


def refuse_giants(config: SweepConfig, columns: dict[str, np.ndarray], rows: np.ndarray) -> None:
    """Raise `InputError`, naming column and row, where squares of values overflow.

    `rows`: those that are trained on. Encoders that look at ranks alone take any number.
    """
    scaling = SCALINGS[config.preprocessing.scaling]
    if scaling.bits or config.preprocessing.scaling == "quantile":
        return
    for name, column in columns.items():
        if column.dtype == object:
            continue
        there = column[rows]
        known = np.where(np.isnan(there), 0.0, there)
        if _squares_overflow(known, scaling.standardized):
            worst = int(np.argmax(np.abs(known)))
            raise InputError(
                f"column '{name}', row {int(rows[worst]) + 1}: {known[worst]:g} is too large, its "
                "square overflows; correct or rescale it, set preprocessing.scaling to quantile or "
                "thermometer, or list the column in data.exclude"
            )


def refuse_giant_target(values: np.ndarray, name: str) -> None:
    """Raise `InputError`, naming column and row, where losses and metrics of a target overflow."""
    with np.errstate(over="ignore"):
        # Twice each: the deviation from a mean may be as large as that.
        if np.isfinite(np.sum((2.0 * values) ** 2)):
            return
    worst = int(np.argmax(np.abs(values)))
    raise InputError(
        f"the target '{name}', row {worst + 1}: {values[worst]:g} is too large, its square "
        "overflows; correct it, or give the target in another unit"
    )


def _squares_overflow(values: np.ndarray, standardized: bool) -> bool:
    if not len(values) or np.abs(values).max() < 1e140:
        return False
    with np.errstate(over="ignore", invalid="ignore"):
        if not standardized:
            return not np.isfinite((values**2).sum())
        try:
            mean_and_scale(values[:, None])
        except InputError:
            return True
    return False
