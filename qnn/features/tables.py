"""Reading columns out of whatever holds a table: a mapping, a data frame, a 2-D array.

Data frames and tables of pandas, polars and pyarrow are recognised by what they can do (`columns`,
`column_names`, `[]`, `to_numpy`, `to_pylist`, `to_list`), so that none of them is imported here.
Rows in messages are counted from 1, as a person counts them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import date, time, timedelta
from decimal import Decimal
from typing import Any

import numpy as np

from qnn.errors import InputError
from qnn.numerics.arrays import plain_array

#: text that says "missing", as the readers of CSV files take it; `FeatureLayout` may have more
MISSING_WORDS = (
    *("", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN"),
    *("N/A", "NA", "NULL", "NaN", "n/a", "nan", "null"),
)
#: text that `pandas.read_csv` takes for a missing cell where it is not told otherwise
PANDAS_WORDS = frozenset((*MISSING_WORDS, "None", "<NA>"))

NUMBERS = (int, float, Decimal, np.number, np.bool_)
# Of which the second is a number to numpy.
NUMPY_DATES = (np.datetime64, np.timedelta64)
DATES = (date, time, timedelta, *NUMPY_DATES)

Table = Any  # Mapping[str, array], a data frame, or a 2-D array in column order


def column_names(table: Table) -> tuple[str, ...]:
    """The column names of a table in order; a 2-D array's are x0, x1, …

    Raises:
        InputError: duplicate names, or something that is no table.
    """
    if not is_named(table):
        return tuple(f"x{j}" for j in range(_matrix(table).shape[1]))
    names = [str(name) for name in _own_names(table)]
    refuse_duplicates(names)
    return tuple(names)


def is_named(table: Table) -> bool:
    """Whether columns have names: a mapping, or a data frame or table of any library.

    Raises InputError for a frame whose rows are not computed yet.
    """
    if hasattr(type(table), "collect"):
        raise InputError("a lazy frame has no rows yet: give what its collect() returns")
    return isinstance(table, Mapping) or hasattr(table, "columns")


def _own_names(table: Table) -> Sequence[Any]:
    """The names of the columns as the table itself has them."""
    if isinstance(table, Mapping):
        return list(table)
    # pyarrow's `columns` are the columns themselves.
    return list(table.column_names if hasattr(table, "column_names") else table.columns)


def refuse_duplicates(names: Sequence[str]) -> None:
    """Raise InputError naming the column names that occur more than once."""
    twice = sorted(name for name, count in Counter(names).items() if count > 1)
    if twice:
        shown = ", ".join(name or "'' (columns without a name)" for name in twice)
        raise InputError(f"duplicate column names: {shown}; rename or remove one of each")


def get_columns(table: Table, names: Sequence[str], needed: Sequence[str]) -> dict[str, np.ndarray]:
    """The columns `needed` of a table as 1-D arrays of one length.

    A mapping or a data frame is read by name and may hold more; a 2-D array must have exactly the
    columns `names`, in that order.

    Raises:
        InputError: a column is missing, a wrong number of columns, columns of different lengths.
    """
    if is_named(table):
        present = {str(name): name for name in _own_names(table)}
        absent = [name for name in needed if name not in present]
        if absent:
            raise InputError(
                f"columns missing from the data: {shorten(absent)} (present: {shorten(present)})"
            )
        found = {name: _as_array(table[present[name]], name) for name in needed}
    else:
        matrix = _matrix(table)
        if matrix.shape[1] != len(names):
            raise InputError(
                f"the array has {matrix.shape[1]} columns, but {len(names)} are expected"
            )
        position = {name: j for j, name in enumerate(names)}
        found = {name: matrix[:, position[name]] for name in needed}
    lengths = {len(column) for column in found.values()}
    if len(lengths) > 1:
        raise InputError(f"columns have different lengths: {sorted(lengths)}")
    return found


def shorten(names: Any, limit: int = 12) -> str:
    """Names joined by commas, the rest counted where there are more than `limit`."""
    listed = [str(name) for name in names]
    more = f", … {len(listed) - limit} more" if len(listed) > limit else ""
    return ", ".join(listed[:limit]) + more


def is_numeric(values: np.ndarray) -> bool:
    """Whether every present value of a column is a number or a boolean (text never is)."""
    if values.dtype.kind in "fiub":
        return True
    return values.dtype.kind == "O" and all(
        (isinstance(value, NUMBERS) and not isinstance(value, NUMPY_DATES)) or is_missing(value)
        for value in values
    )


def is_missing(value: object) -> bool:
    """Whether a single value is None or a NaN."""
    return value is None or (isinstance(value, (float, np.floating)) and bool(np.isnan(value)))


def without_words(values: np.ndarray, words: Collection[str]) -> np.ndarray:
    """A column (n,) with None in the place of text that is one of the words."""
    if values.dtype.kind not in "OUT":
        return values
    found = np.array([isinstance(value, str) and value in words for value in values], dtype=bool)
    if not found.any():
        return values
    kept = values.astype(object)
    kept[found] = None
    return kept


def with_word(values: np.ndarray, word: str) -> np.ndarray:
    """A column (n,) with the word in the place of missing values."""
    filled = values.astype(object)
    filled[[is_missing(value) for value in values]] = word
    return filled


def to_numbers(values: np.ndarray, name: str, before: int = 0) -> np.ndarray:
    """A column, or its values after the first so many rows, as float64, missing ones as NaN.

    Raises:
        InputError: the first value that is no number, or too large for one, with its row.
    """
    if values.dtype.kind in "fiub":
        return values.astype(np.float64)
    numbers = np.empty(len(values))
    for row, value in enumerate(values):
        if isinstance(value, NUMPY_DATES):
            # To the nanosecond they would convert.
            refuse_dates(values, name)
        try:
            numbers[row] = np.nan if is_missing(value) else _number(value)
        except (TypeError, ValueError):
            raise InputError(
                f"column '{name}' should be numeric, but row {before + row + 1} holds "
                f"{brief(value)}; correct it, or declare the column categorical"
            ) from None
        except OverflowError:
            raise InputError(
                f"column '{name}' has a number beyond ±1.8e308 in row {row + 1}: correct it"
            ) from None
    return numbers


def _number(value: Any) -> float:
    """A value as a float; text as a CSV file spells numbers, so without Python's 1_000 or ١٢."""
    if isinstance(value, str) and ("_" in value or not value.strip().isascii()):
        raise ValueError(value)
    return float(value)


def to_categories(values: np.ndarray, known: Sequence[str] = ()) -> np.ndarray:
    """A column as an object array of str, missing values as None.

    Whole numbers lose their ".0", so that an integer column that became float on its way (as pandas
    does to columns with gaps) keeps its categories. A boolean is spelled as the `known` categories
    spell it, "true", "TRUE" or "1", as a reader of text makes booleans of such a column; else
    "True" or "False".
    """
    spelled = {truth: _spelled(truth, known) for truth in (False, True)}
    keys = np.empty(len(values), dtype=object)
    for row, value in enumerate(values):
        if is_missing(value):
            keys[row] = None
        elif isinstance(value, (bool, np.bool_)):
            keys[row] = spelled[bool(value)]
        elif isinstance(value, (float, np.floating)) and float(value).is_integer():
            keys[row] = str(int(value))
        else:
            keys[row] = str(value)
    return keys


def _spelled(truth: bool, known: Sequence[str]) -> str:
    """The one category that says so, in whatever case; else Python's own word."""
    for word in (str(truth).lower(), str(int(truth))):
        found = [one for one in known if one.strip().lower() == word]
        if len(found) == 1:
            return found[0]
    return str(truth)


def refuse_bad_values(values: np.ndarray, name: str, missing: str, before: int = 0) -> None:
    """Raise InputError for infinite values, and for missing ones where `missing` is "refuse".

    before: rows of the column that are not among its `values`, but above them.
    """
    numeric = values.dtype.kind == "f"
    infinite = np.flatnonzero(np.isinf(values)) if numeric else np.array([], dtype=int)
    if len(infinite):
        raise InputError(
            f"column '{name}' has infinite values in {rows_text(before + infinite)}; "
            "correct or remove them"
        )
    absent = (
        np.isnan(values) if numeric else np.array([value is None for value in values], dtype=bool)
    )
    if missing == "refuse" and absent.any():
        raise InputError(
            f"column '{name}' has missing values in {rows_text(before + np.flatnonzero(absent))}; "
            "fill them, or set missing to impute"
        )


def refuse_dates(values: np.ndarray, name: str) -> None:
    """Raise InputError for dates and times.

    Each would become a category of its own, and every later one an unseen category.
    """
    if values.dtype.kind in "mM" or any(isinstance(value, DATES) for value in values.tolist()):
        raise InputError(
            f"column '{name}' holds dates or times: make numbers of them (days since the first), "
            "text if they are categories, or leave it out"
        )


def rows_text(rows: np.ndarray) -> str:
    """How many rows and which is the first, counted from 1; `rows` is not empty."""
    return f"{len(rows)} row{'s' if len(rows) > 1 else ''} (first: row {rows[0] + 1})"


def brief(value: object, limit: int = 40) -> str:
    """A value's repr, cut where it is long, for one-line messages."""
    plain = value.item() if isinstance(value, np.generic) else value
    text = repr(plain)
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _as_array(column: Any, name: str) -> np.ndarray:
    listed = getattr(column, "to_pylist", None)
    if listed is None and hasattr(column, "null_count"):
        listed = getattr(column, "to_list", None)
    if listed is not None:
        # pyarrow and polars: as Python's own values, None where there is none.
        array = _listed(listed())
    elif hasattr(column, "to_numpy"):
        # Extension types (pandas' NA) only become None when told to; plain dtypes keep theirs.
        kind = getattr(column.dtype, "kind", "O")
        native = isinstance(column.dtype, np.dtype) and kind in "fiub"
        array = column.to_numpy() if native else column.to_numpy(dtype=object, na_value=None)
    else:
        array = np.ma.asarray(column) if np.ma.isMaskedArray(column) else np.asarray(column)
    array = plain_array(array, f"column '{name}'")
    if array.ndim != 1:
        raise InputError(f"column '{name}' should be one-dimensional, but has shape {array.shape}")
    return array


def _listed(values: list[Any]) -> np.ndarray:
    """Values as booleans or numbers where all are, else as objects."""
    if values and all(isinstance(value, bool) for value in values):
        return np.array(values, dtype=bool)
    if all(isinstance(value, (int, float)) for value in values):
        return np.array(values, dtype=np.float64 if values else object)
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array


def _matrix(table: Any) -> np.ndarray:
    matrix = plain_array(table, "the table")
    if matrix.ndim != 2:
        raise InputError(f"expected a table with named columns or a 2-D array, got {matrix.ndim}-D")
    return matrix


def alike(values: Iterable[Any]) -> list[str]:
    """Of values that differ only in case or blanks: which, one text a group."""
    groups: dict[str, list[Any]] = {}
    for value in values:
        groups.setdefault(" ".join(str(value).casefold().split()), []).append(value)
    return [" and ".join(map(brief, group)) for group in groups.values() if len(group) > 1]
