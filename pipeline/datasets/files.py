"""CSV and Parquet from the local disk or any `pyarrow.fs` URI, as an Arrow table, or numpy columns.

CSV columns come as text: what they mean is decided over whole columns, not over the first block.
Rows keep the order of the file; a folder's files are read in the order of their paths.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Collection, Iterable, Sequence
from datetime import date, datetime
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.fs

from pipeline.datasets.csv_text import (
    SEPARATORS,
    CsvFormat,
    Line,
    decode,
    find_separator,
    refuse_open_quote,
    rows_of,
    told_separator,
    uneven,
    without_comments,
)
from pipeline.logs.redact import redact
from qnn.errors import InputError
from qnn.features.tables import refuse_duplicates

CSV_SUFFIXES = (".csv", ".csv.gz", ".csv.bz2")
PARQUET_SUFFIXES = (".parquet", ".pq")
_PACKED = {"gz": "gzip", "bz2": "bz2"}
HIVE_NULL = "__HIVE_DEFAULT_PARTITION__"
PLAIN = CsvFormat()
# Arrow counts a block's bytes in 32 bits.
_LARGEST_BLOCK = 2**31 - 1


def read_source(
    source: str, missing_values: Sequence[str] | None = (), written: CsvFormat = PLAIN
) -> pa.Table:
    """Read a CSV file, a Parquet file, or a folder of either; of both, its Parquet files.

    Args:
        source: local path (looked up under the current folder) or a `pyarrow.fs` URI.
        missing_values: text that means "missing" in CSV, beside the empty cell, NA, NaN, null, …;
            None: all text of CSV stays as it is.
        written: how a CSV file is written, where that is known.

    Raises:
        InputError: it does not exist, cannot be reached or parsed, or has an unknown suffix.
    """
    shown = redact(source)
    try:
        filesystem, path = open_source(source)
        info = filesystem.get_file_info(path)
        if info.type == pa.fs.FileType.NotFound:
            beside = (
                ""
                if "://" in source or Path(source).is_absolute()
                else (f" (looked beside the config and in {Path.cwd()})")
            )
            raise InputError(f"data.source: no such file or folder: {shown}{beside}")
        if info.type == pa.fs.FileType.Directory:
            return _read_folder(filesystem, path, shown, missing_values, written)
        if path.lower().endswith(CSV_SUFFIXES):
            return _read_csv(filesystem, path, missing_values, written)
        if path.lower().endswith(PARQUET_SUFFIXES):
            return _read_parquet(filesystem, path)
    except InputError:
        raise
    except (pa.ArrowException, OSError, ValueError, csv.Error) as error:
        reason = redact(" ".join(str(error).split()))
        raise InputError(f"data.source: {shown} cannot be read: {reason}") from None
    suffixes = ", ".join((*CSV_SUFFIXES, *PARQUET_SUFFIXES))
    raise InputError(f"data.source: {shown} is neither a folder nor a file named *{suffixes}")


def open_source(source: str) -> tuple[Any, str]:
    """The `pyarrow.fs` file system of a path or URI, and the path on it."""
    if "://" in source:
        return pa.fs.FileSystem.from_uri(source)
    return pa.fs.LocalFileSystem(), str(Path(source).resolve())


def _read_csv(
    filesystem: Any, path: str, missing_values: Sequence[str] | None, written: CsvFormat
) -> pa.Table:
    ending = path.lower().rpartition(".")[2]
    with filesystem.open_input_stream(path, compression=_PACKED.get(ending)) as stream:
        content = stream.read()
    name = Path(path).name
    lines = without_comments(decode(content, name, written.encoding), written.comment)
    told, lines = told_separator(lines) if lines else (None, lines)
    text = "".join(line for _, line in lines)
    if not text.strip():
        raise InputError(f"data.source: {name} is empty")
    separator = written.separator or told or _separator(lines, name, written.quote)
    refuse_open_quote(lines, name, (separator,), written.quote)
    _, written_names = next(rows_of(lines, separator, written.quote))
    names = [cell.strip() for cell in written_names]
    refuse_duplicates(names)
    convert = pa.csv.ConvertOptions(column_types=dict.fromkeys(written_names, pa.string()))
    convert.strings_can_be_null = missing_values is not None
    convert.null_values = [*convert.null_values, *(missing_values or ())]
    parse = pa.csv.ParseOptions(
        delimiter=separator, quote_char=written.quote, newlines_in_values=True
    )
    try:
        table = _parsed(text, parse, convert)
    except pa.ArrowInvalid as error:
        # Arrow tells neither the line nor what it may be.
        reason = uneven(lines, separator, written.quote) or " ".join(str(error).split())
        raise InputError(f"data.source: {name} cannot be read: {reason}") from None
    return table.rename_columns(names)


def _separator(lines: list[Line], name: str, quote: str) -> str:
    """As `find_separator`, of which a quote that is left open takes the cells away."""
    try:
        return find_separator(lines, name, quote)
    except InputError:
        refuse_open_quote(lines, name, SEPARATORS, quote)
        raise


def _parsed(text: str, parse: pa.csv.ParseOptions, convert: pa.csv.ConvertOptions) -> pa.Table:
    """The rows of a text; all in one block where one is longer than Arrow's blocks are."""
    held = _held_by_arrow(text)
    try:
        return pa.csv.read_csv(held, parse_options=parse, convert_options=convert)
    except pa.ArrowInvalid as error:
        if "straddling" not in str(error):
            raise
    held = _held_by_arrow(text)
    whole = pa.csv.ReadOptions(block_size=min(held.size() + 1, _LARGEST_BLOCK))
    return pa.csv.read_csv(held, whole, parse, convert)


def _held_by_arrow(text: str) -> pa.BufferReader:
    """The text as UTF-8 in Arrow's own memory.

    Arrow's threads may hold a source a moment longer than its reader: where it is an object of
    Python's they need the interpreter to let go of it, and abort where that has just ended.
    """
    sink = pa.BufferOutputStream()
    sink.write(text.encode())
    return pa.BufferReader(sink.getvalue())


def _read_parquet(filesystem: Any, path: str) -> pa.Table:
    import pyarrow.parquet as pq

    with filesystem.open_input_file(path) as file:
        reader = pq.ParquetFile(file)
        refuse_duplicates(reader.schema_arrow.names)
        return reader.read()


def _read_folder(
    filesystem: Any,
    folder: str,
    shown: str,
    missing_values: Sequence[str] | None,
    written: CsvFormat,
) -> pa.Table:
    found = filesystem.get_file_info(pa.fs.FileSelector(folder, recursive=True))
    tables = listed(found, folder, PARQUET_SUFFIXES)
    files = tables or listed(found, folder, CSV_SUFFIXES)
    if not files:
        raise InputError(f"data.source: {shown} holds no Parquet or CSV files (.parquet, .csv)")
    parts: list[Any] = []
    first = files[0][1]
    for path, inside in files:
        read = partial(_read_csv, missing_values=missing_values, written=written)
        part = _read_part(_read_parquet if tables else read, filesystem, path, inside)
        for name, value in partitions(inside, part.column_names):
            part = part.append_column(name, pa.array([value] * len(part), pa.string()))
        _refuse_other_columns(parts, part, first, inside)
        parts.append(part.select(parts[0].column_names) if parts else part)
    try:
        return pa.concat_tables(parts, promote_options="permissive")
    except pa.ArrowException:
        _refuse_other_types(parts, [inside for _, inside in files])
        raise


def listed(
    found: Iterable[pa.fs.FileInfo], folder: str, suffixes: tuple[str, ...]
) -> list[tuple[str, str]]:
    """The files that are not hidden and end so, by path, each with its place in the folder."""
    files = []
    for info in found:
        inside = info.path[len(folder) :].strip("/")
        hidden = any(step.startswith((".", "_")) for step in inside.split("/"))
        if info.is_file and not hidden and inside.lower().endswith(suffixes):
            files.append((info.path, inside))
    return sorted(files)


def partitions(inside: str, names: Collection[str]) -> tuple[tuple[str, str | None], ...]:
    """The columns that a file's folders give it as Hive writes them: site=a/part-0.parquet.

    names: of the columns that the file has itself, which its folders do not change. Names and
    values are percent-encoded there, null has a word of its own.
    """
    found: dict[str, str | None] = {}
    for step in inside.split("/")[:-1]:
        name, equals, value = step.partition("=")
        if equals and unquote(name) not in (*names, *found):
            found[unquote(name)] = None if value == HIVE_NULL else unquote(value)
    return tuple(found.items())


def _read_part(
    read: Callable[[Any, str], pa.Table], filesystem: Any, path: str, name: str
) -> pa.Table:
    try:
        return read(filesystem, path)
    except (pa.ArrowException, OSError) as error:
        reason = redact(" ".join(str(error).split()))
        raise InputError(f"data.source: {name} cannot be read: {reason}") from None


def to_numpy(column: Any, name: str) -> np.ndarray:
    """An Arrow column as float64 with NaN, or as objects: text with None; InputError for others."""
    kind = column.type
    if pa.types.is_dictionary(kind):
        column, kind = column.cast(kind.value_type), kind.value_type
    number = pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)
    if number or pa.types.is_boolean(kind) or pa.types.is_null(kind):
        # safe=False: integers beyond 2^53 are rounded, as any float64 computation would.
        numbers = pc.cast(column, pa.float64(), safe=False)
        if isinstance(numbers, pa.Array) and not numbers.null_count:
            # Arrow's own to_numpy imports pandas: over a second in each process of a cluster.
            return np.from_dlpack(numbers)
        return np.asarray(numbers.fill_null(np.nan).to_numpy(), dtype=np.float64)
    text = pa.types.is_string(kind) or pa.types.is_large_string(kind)
    if not (text or pa.types.is_temporal(kind)):
        raise InputError(f"column '{name}' holds {kind}; only numbers, text and dates can be used")
    values = np.empty(len(column), dtype=object)
    values[:] = [_text(value) for value in column.to_pylist()]
    return values


def to_labels(column: Any, name: str) -> np.ndarray:
    """As `to_numpy`, but whole numbers that float64 may not keep apart come as text."""
    if pa.types.is_integer(column.type):
        try:
            pc.cast(column, pa.float64())
        except pa.ArrowInvalid:
            column = pc.cast(column, pa.string())
    return to_numpy(column, name)


def _text(value: Any) -> str | None:
    if isinstance(value, (date, datetime)):
        return value.isoformat()
    return None if value is None else str(value)


def _refuse_other_columns(parts: list[pa.Table], part: pa.Table, first: str, name: str) -> None:
    if parts and set(parts[0].column_names) != set(part.column_names):
        differ = sorted(set(parts[0].column_names) ^ set(part.column_names))
        raise InputError(
            f"data.source: {name} and {first} have different columns: {', '.join(differ)}"
        )


def _refuse_other_types(parts: list[pa.Table], names: list[str]) -> None:
    """Raise InputError naming the first file with a column that does not go with one before it."""
    for (k, part), column in product(enumerate(parts), parts[0].column_names):
        field = part.schema.field(column)
        for name, earlier in zip(names[:k], parts, strict=False):
            before = earlier.schema.field(column)
            if not _go_together(before, field):
                raise InputError(
                    f"data.source: column '{column}' holds {field.type} in {names[k]}, but "
                    f"{before.type} in {name}; write it as one type in all files"
                )


def _go_together(one: pa.Field, other: pa.Field) -> bool:
    try:
        pa.unify_schemas([pa.schema([one]), pa.schema([other])], promote_options="permissive")
    except pa.ArrowException:
        return False
    return True
