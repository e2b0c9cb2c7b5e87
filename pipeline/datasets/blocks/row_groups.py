"""Parquet files, a folder of them or hive partitions at any `pyarrow.fs` URI: rows by number.

Rows count through the files in the order of their paths; footers say where each begins. What is
read does not depend on how the rows lie in files and row groups.
"""

from __future__ import annotations

import logging
import re
import time
import zlib
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq

from pipeline.datasets.files import PARQUET_SUFFIXES, listed, open_source, partitions, to_numpy
from pipeline.logs.messages import one_line
from pipeline.logs.redact import redact
from qnn.errors import InputError

log = logging.getLogger(__name__)

Columns = dict[str, np.ndarray]
T = TypeVar("T")

#: rows of a piece that is yielded
CHUNK = 16_384
# What pyarrow 25's messages of a page that does not decode have in common.
DECODING = re.compile(
    "corrupt|deseriali[sz]e|decompress|inflate|codec|unexpected end of|encoding", re.I
)
#: seconds between tries while a store does not answer: two minutes in all
WAITS = (1.0, 2.0, 4.0, 8.0, 15.0, 30.0, 60.0)


@dataclass(frozen=True)
class GroupFile:
    """A Parquet file: the rows of each of its row groups, and the columns that its path gives."""

    path: str
    groups: tuple[int, ...]
    partitions: tuple[tuple[str, str | None], ...] = ()


@dataclass(frozen=True)
class RowGroups:
    """All row groups of a source; a small value that goes to every actor."""

    source: str
    files: tuple[GroupFile, ...]
    columns: tuple[str, ...]

    @property
    def rows(self) -> int:
        """All rows."""
        return sum(sum(file.groups) for file in self.files)

    @classmethod
    def of(cls, source: str) -> RowGroups:
        """Look at the footers of a file or folder; no row is read.

        Raises InputError: nothing there, unreadable, files of different columns, no rows.
        """
        filesystem, root = open_source(source)
        info = patiently(lambda: filesystem.get_file_info(root), redact(source))
        if info.type == pafs.FileType.NotFound:
            raise InputError(f"data.source: no such file or folder: {redact(source)}")
        paths = [(root, "")]
        if info.type == pafs.FileType.Directory:
            paths = _listed(filesystem, root, redact(source))
        files: list[GroupFile] = []
        columns: tuple[str, ...] = ()
        for path, inside in paths:
            names, groups = patiently(partial(_footer, filesystem, path), redact(path))
            given = partitions(inside, names)
            found = (*names, *(name for name, _ in given))
            if columns and set(found) != set(columns):
                differ = ", ".join(sorted(set(found) ^ set(columns)))
                raise InputError(f"data.source: {redact(path)} has other columns: {differ}")
            columns = columns or found
            files.append(GroupFile(path, groups, given))
        found_groups = cls(source, tuple(files), columns)
        if not found_groups.rows:
            raise InputError(f"data.source: {redact(source)} has no rows")
        return found_groups


def patiently(work: Callable[[], T], what: str) -> T:
    """Do it again while a store does not answer; what is absent or damaged is said at once.

    Raises InputError that names ``what``.
    """
    for wait in (*WAITS, None):
        try:
            return work()
        except FileNotFoundError:
            raise InputError(f"data.source: {what} is not there (any more)") from None
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError, PermissionError) as error:
            raise InputError(f"data.source: {what} cannot be read: {_said(error)}") from None
        except (OSError, pa.ArrowException) as error:
            if _damaged(error):
                raise InputError(f"data.source: {what} cannot be read: {_said(error)}") from None
            if wait is None:
                raise InputError(
                    f"data.source: {what} cannot be read, after {len(WAITS)} tries: {_said(error)}"
                ) from None
            log.warning("%s: %s; once more in %g s", what, _said(error), wait)
        time.sleep(wait)
    raise AssertionError


def _damaged(error: Exception) -> bool:
    """Whether what was read does not decode: pyarrow says so by the class of a store's faults."""
    return DECODING.search(str(error)) is not None


class RowReader:
    """Reads runs of rows; a run that begins where the last one ended goes on without a seek."""

    def __init__(self, groups: RowGroups, names: tuple[str, ...]) -> None:
        self.groups, self.names = groups, names
        self._filesystem, _ = open_source(groups.source)
        self._at = -1
        self._stream: Iterator[Columns] = iter(())
        self._rest: Columns | None = None

    def rows(self, first: int, last: int) -> Iterator[Columns]:
        """Rows from the first to before the last, in pieces of `CHUNK` rows and a rest.

        Numbers come as float64 with NaN, text as objects with None. Raises InputError.
        """
        if self._at != first:
            self._at, self._stream, self._rest = first, self._pieces(first), None
        position, wanted = first, min(CHUNK, last - first)
        parts: list[Columns] = []
        while position < last:
            piece = self._rest if self._rest is not None else next(self._stream, None)
            if piece is None:
                self._at = -1
                raise InputError(f"data.source: it has fewer rows than before ({position})")
            take = min(len(_first(piece)), wanted)
            rest = {name: values[take:] for name, values in piece.items()}
            self._rest = rest if len(_first(rest)) else None
            parts.append({name: values[:take] for name, values in piece.items()})
            wanted -= take
            position += take
            self._at = position
            if wanted == 0:
                yield {name: np.concatenate([p[name] for p in parts]) for name in self.names}
                wanted, parts = min(CHUNK, last - position), []

    def _pieces(self, first: int) -> Iterator[Columns]:
        """All rows from the first on, as the files have them."""
        start = 0
        for file in self.groups.files:
            for group, count in enumerate(file.groups):
                if start + count > first:
                    yield from self._group(file, group, count, max(first - start, 0))
                start += count

    def _group(self, file: GroupFile, group: int, count: int, skip: int) -> Iterator[Columns]:
        """One row group, from a row of it on; taken up again where a store failed in between."""
        what = f"row group {group} of {redact(file.path)}"
        with closing(_GroupStream(self._filesystem, file, group, self.names, skip)) as stream:
            while stream.position < count:
                piece = patiently(stream.advance, what)
                if piece is None:
                    raise InputError(f"data.source: {what} has {stream.position} rows, not {count}")
                yield piece


class _GroupStream:
    """A row group piece by piece; after a fault it opens the file again where it was."""

    def __init__(
        self, filesystem: Any, file: GroupFile, group: int, names: tuple[str, ...], position: int
    ) -> None:
        self.filesystem, self.file, self.group = filesystem, file, group
        self.names, self.position = names, position
        self._batches: Generator[Columns, None, None] | None = None

    def advance(self) -> Columns | None:
        """The next piece; None after the last."""
        try:
            if self._batches is None:
                self._batches = self._open()
            piece = next(self._batches, None)
        except Exception:
            self._batches = None
            raise
        self.position += 0 if piece is None else len(_first(piece))
        return piece

    def close(self) -> None:
        """Let the file go at once; its iterator refers to this, and would wait for a collection."""
        if self._batches is not None:
            self._batches.close()
        self._batches = None

    def _open(self) -> Generator[Columns, None, None]:
        given, skip = dict(self.file.partitions), self.position
        wanted = [name for name in self.names if name not in given]
        stream = self.filesystem.open_input_file(self.file.path)
        with pq.ParquetFile(stream, pre_buffer=False) as reader:
            if self.group >= reader.num_row_groups:
                return
            for batch in reader.iter_batches(
                CHUNK, row_groups=[self.group], columns=wanted, use_threads=False
            ):
                rows = batch.num_rows
                if skip < rows:
                    columns = {name: to_numpy(batch.column(name), name)[skip:] for name in wanted}
                    for name in (name for name in self.names if name in given):
                        columns[name] = np.full(rows - skip, given[name], dtype=object)
                    yield columns
                skip = max(skip - rows, 0)


def checksum(columns: Columns, before: int = 0) -> int:
    """CRC-32 of raw rows that follow others whose is ``before``: finds what changed by accident."""
    for values in columns.values():
        text = values.dtype == object
        before = zlib.crc32(repr(values.tolist()).encode() if text else values.data, before)
    return before


def _first(columns: Columns) -> np.ndarray:
    return next(iter(columns.values()))


def _footer(filesystem: Any, path: str) -> tuple[tuple[str, ...], tuple[int, ...]]:
    with filesystem.open_input_file(path) as stream:
        meta = pq.ParquetFile(stream, pre_buffer=False)
        groups = tuple(
            meta.metadata.row_group(k).num_rows for k in range(meta.metadata.num_row_groups)
        )
        return tuple(meta.schema_arrow.names), groups


def _listed(filesystem: Any, root: str, shown: str) -> list[tuple[str, str]]:
    """The Parquet files under a folder with their places in it; hidden ones are left out."""
    selector = pafs.FileSelector(root, recursive=True)
    infos = patiently(lambda: filesystem.get_file_info(selector), shown)
    found = listed(infos, root, PARQUET_SUFFIXES)
    if not found:
        raise InputError(f"data.source: {shown} holds no Parquet files")
    return found


def _said(error: BaseException) -> str:
    return redact(one_line(error))
