"""Rows of plain numbers: a table's number columns or lists, a CSV or Parquet file, a .npy array."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.datasets.files import CSV_SUFFIXES, PARQUET_SUFFIXES, read_source
from pipeline.datasets.spellings import is_number
from pipeline.logs.messages import one_line
from qnn.errors import InputError

Array = np.ndarray


def read_rows(source: str | Path) -> Array:
    """Rows (n, ...) of a CSV, Parquet or .npy file.

    A CSV file has a line of names, then a row a line. A Parquet file has a number column for each
    of a row's numbers, or one column of lists. A .npy array has any shape, rows first; it is read
    without pickle.

    Raises InputError: no such file, another suffix, no rows, or something that is no table of
    numbers.
    """
    name = str(source).lower()
    if name.endswith(".npy"):
        return _array(Path(source))
    if not name.endswith((*CSV_SUFFIXES, *PARQUET_SUFFIXES)):
        suffixes = ", ".join((*CSV_SUFFIXES, *PARQUET_SUFFIXES, ".npy"))
        raise InputError(f"{source}: rows are read from files named *{suffixes}")
    try:
        table = read_source(str(source))
    except InputError as error:
        raise InputError(f"{source}: {str(error).removeprefix('data.source: ')}") from None
    if name.endswith(CSV_SUFFIXES):
        table = _parsed(table, str(source))
    if not len(table):
        raise InputError(f"{source}: has no rows")
    return numbers_of(table, str(source))


def _array(path: Path) -> Array:
    try:
        # Mapped first: the file must be as long as its header says before any memory is asked for.
        array = np.lib.format.open_memmap(path, mode="r")
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except (ValueError, OSError, EOFError, SyntaxError, TypeError, OverflowError) as error:
        raise InputError(
            f"{path}: not a sound .npy file of plain numbers ({one_line(error)})"
        ) from None
    if array.dtype.kind not in "fiub" or not array.ndim:
        raise InputError(f"{path}: holds no rows of numbers ({array.dtype}, shape {array.shape})")
    if not len(array):
        raise InputError(f"{path}: has no rows")
    return np.array(array)


def _parsed(table: pa.Table, where: str) -> pa.Table:
    """A CSV file's columns of text as numbers."""
    if all(is_number(name) for name in table.column_names) and table.column_names != [
        str(k) for k in range(table.num_columns)
    ]:
        raise InputError(f"{where}: its first line holds numbers: put a line of names before it")
    columns = []
    for name in table.column_names:
        try:
            columns.append(pc.cast(table[name], pa.float64()))
        except pa.ArrowInvalid:
            raise InputError(f"{where}: column {name!r} does not hold numbers") from None
    return pa.table(columns, names=table.column_names)


def numbers_of(table: pa.Table, source: str) -> Array:
    """The numbers of each row, (n, columns), or (n, length) of one column of lists.

    Raises InputError, beginning with ``source``, for other columns and missing values.
    """
    kinds = {field.name: field.type for field in table.schema}
    lists = [name for name, kind in kinds.items() if _is_list(kind)]
    if len(lists) == 1:
        return _listed(table[lists[0]].combine_chunks(), f"{source}: column {lists[0]}")
    wrong = [name for name, kind in kinds.items() if not _is_number(kind)]
    if wrong:
        raise InputError(f"{source}: column {wrong[0]!r} holds no numbers ({kinds[wrong[0]]})")
    empty = [name for name in kinds if table[name].null_count]
    if empty:
        raise InputError(f"{source}: column {empty[0]!r} has missing values")
    columns = [table[name].to_numpy().astype(np.float64) for name in kinds]
    return np.stack(columns, axis=1)


def _listed(column: pa.Array, where: str) -> Array:
    flat = column.flatten()
    if column.null_count or flat.null_count or not _is_number(flat.type):
        raise InputError(f"{where}: must hold lists of numbers, none missing")
    size, left = divmod(len(flat), len(column))
    lengths = column.value_lengths().unique().to_pylist() if len(column) else []
    if left or lengths != [size]:
        raise InputError(f"{where}: its lists have different lengths")
    return flat.to_numpy(zero_copy_only=False).astype(np.float64).reshape(-1, size)


def _is_list(kind: pa.DataType) -> bool:
    return (
        pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    )


def _is_number(kind: pa.DataType) -> bool:
    return pa.types.is_floating(kind) or pa.types.is_integer(kind)
