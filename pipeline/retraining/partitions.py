"""The data location as partitions, each known by the digest of its bytes.

A partition is one entry of the folder: a CSV or Parquet file, or a folder of Parquet files. Their
order is that of their names, numbers by size: the last one is the freshest. Names that begin with
"." or "_" are somebody's work in progress and are not looked at.
"""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from urllib.parse import quote

import pyarrow as pa
import pyarrow.fs as pafs

from pipeline.datasets.files import CSV_SUFFIXES, PARQUET_SUFFIXES, read_source
from pipeline.logs.messages import one_line
from pipeline.results.folder import RunFolder, StoreError
from qnn.errors import InputError

_READERS = 4
_CHUNK = 1 << 20


@dataclass(frozen=True)
class Partition:
    """One entry of the data location; `digest` is the SHA-256 of its content, in hexadecimal."""

    name: str
    digest: str
    size: int


def list_partitions(source: str) -> list[Partition]:
    """The partitions under `source` (a folder or a `pyarrow.fs` URI), the freshest last.

    Every byte is read: time stamps are not trusted. Raises `InputError` where there is no such
    folder or nothing in it, `StoreError` where it cannot be read.
    """
    if source.startswith("sklearn:"):
        raise InputError(f"data.source: {source} never changes; retrain needs a folder of files")
    folder = RunFolder.open(source)
    kind = folder.filesystem.get_file_info(folder.root).type
    if kind == pafs.FileType.File:
        raise InputError(
            f"data.source: {folder.label} is one file; retrain needs a folder to which files come"
        )
    grouped: dict[str, list[str]] = defaultdict(list)
    for file in folder.files():
        steps = file.split("/")
        known = CSV_SUFFIXES + PARQUET_SUFFIXES if len(steps) == 1 else PARQUET_SUFFIXES
        if file.lower().endswith(known) and not any(step.startswith((".", "_")) for step in steps):
            grouped[steps[0]].append(file)
    if not grouped:
        raise InputError(
            f"data.source: {folder.label} holds no partitions (CSV or Parquet files, or folders "
            "of Parquet files)"
        )
    names = sorted(grouped, key=in_order)
    with ThreadPoolExecutor(_READERS) as pool:
        return list(pool.map(lambda name: _partition(folder, name, grouped[name]), names))


def in_order(name: str) -> tuple[list[tuple[int, int, str]], str]:
    """Sort key of a partition's name: runs of digits count as numbers, so that 9 is before 10."""
    steps = [step for step in re.split(r"(\d+)", name) if step]
    return [(0, int(step), "") if step.isdecimal() else (1, 0, step) for step in steps], name


def _partition(folder: RunFolder, name: str, files: Sequence[str]) -> Partition:
    digests = []
    size = 0
    for file in sorted(files):
        digest, length = _digest(folder, file)
        size += length
        digests.append(f"{file[len(name) :]} {digest}\n")
    # A file's own digest, so that `sha256sum` gives the same.
    single = digests[0].split()[-1] if files == [name] else None
    whole = single or hashlib.sha256("".join(digests).encode()).hexdigest()
    return Partition(name, whole, size)


def _digest(folder: RunFolder, file: str) -> tuple[str, int]:
    total, length = hashlib.sha256(), 0
    try:
        # Not open_input_stream, which would decompress.
        with folder.filesystem.open_input_file(f"{folder.root}/{file}") as stream:
            while chunk := stream.read(_CHUNK):
                total.update(chunk)
                length += len(chunk)
    except OSError as error:
        raise StoreError(f"{folder.label}/{file}: cannot be read: {one_line(error)}") from error
    return total.hexdigest(), length


def beside(location: str, relative: str) -> str:
    """`relative` under a folder given as a path or as a URI, whose query stays at its end."""
    if "://" not in location:
        return f"{location.rstrip('/')}/{relative}"
    base, mark, query = location.partition("?")
    return f"{base.rstrip('/')}/{quote(relative)}{mark}{query}"


def read_partition(source: str, name: str, missing_values: Sequence[str] = ()) -> pa.Table:
    """The rows of one partition, in the order of its file. Raises `InputError`."""
    table = read_source(beside(source, name), missing_values)
    key, equals, value = name.partition("=")
    if equals and key not in table.column_names:
        table = table.append_column(key, pa.array([value] * len(table), pa.string()))
    return table


def join(parts: Sequence[tuple[str, pa.Table]]) -> pa.Table:
    """Named partitions one after the other. Raises `InputError` where columns or types differ."""
    first, head = parts[0]
    tables = [head]
    for name, table in parts[1:]:
        differ = sorted(set(head.column_names) ^ set(table.column_names))
        if differ:
            raise InputError(
                f"data.source: partitions {name} and {first} have different columns: "
                f"{', '.join(differ)}"
            )
        tables.append(table.select(head.column_names))
    try:
        return pa.concat_tables(tables, promote_options="permissive")
    except pa.ArrowException as error:
        raise InputError(
            f"data.source: the partitions' columns have different types ({one_line(error)}); "
            "CSV and Parquet cannot be mixed"
        ) from None
