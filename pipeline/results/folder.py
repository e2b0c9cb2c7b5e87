"""A run's folder: every file is written under a temporary name beside its place and then moved.

A reader therefore sees a file whole or not at all, whatever kills the writer. The folder may lie on
any `pyarrow.fs` file system.
"""

import errno
import hashlib
import logging
import os
import re
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime

import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq

from pipeline.configuration.paths import expanded, parted, refuse_half_uri
from pipeline.logs.messages import one_line
from pipeline.logs.redact import redact
from qnn.errors import InputError, QnnError

log = logging.getLogger(__name__)

CONFIG_FILE = "sweep.yaml"

RESULTS, DATA, CERTIFICATES, NETWORKS = "results", "data", "certificates", "networks"
# What a finished run leaves for good; pages, tracking and what was found damaged may still change.
KEPT = (RESULTS, DATA, CERTIFICATES, NETWORKS)

# What was found damaged, under its own name, for a person to look at; nothing here is read again.
QUARANTINE = "quarantine"
# Where the writers of a run put files, whatever its study; below them nobody else has business.
WRITTEN = (*KEPT, "blocks", "evidence", "input", "under_way", "verdicts")

# Most file systems take names of 255 bytes; a file's temporary one is longer than `name.parquet`.
LONGEST_FOLDER = 255
LONGEST_FILE = LONGEST_FOLDER - len("." + ".parquet" + "." + 32 * "f" + ".tmp")
_TEMPORARY = re.compile(r"\..+\.[0-9a-f]{32}\.tmp")


class StoreError(QnnError, OSError):
    """The run's folder could not be read or written (disk full, storage away, no permission)."""


def safe_name(name: str, longest: int = LONGEST_FILE) -> str:
    """Return `name` as one path component: what is outside `[A-Za-z0-9._=+-]` becomes `%XX`.

    A leading dot is escaped too, so that no name is hidden or climbs out of its folder. What is
    longer than `longest` bytes then is cut and ends in a digest of the whole.
    """
    escaped = re.sub(
        r"[^A-Za-z0-9._=+-]",
        lambda match: "".join(f"%{byte:02X}" for byte in match.group().encode()),
        name,
    )
    whole = re.sub(r"^\.", "%2E", escaped) or "%00"
    if len(whole) <= longest:
        return whole
    digest = hashlib.sha256(name.encode()).hexdigest()[:16]
    # No half of an escaped character.
    return f"{re.sub('%.?$', '', whole[: longest - len(digest) - 1])}-{digest}"


def data_file(dataset: str, shard: str) -> str:
    """Return where the training matrix of a shard lies, relative to the run's folder."""
    return f"{DATA}/{safe_name(dataset, LONGEST_FOLDER)}/{safe_name(shard)}.parquet"


class RunFolder:
    """A folder of results on a `pyarrow.fs` file system.

    `location` is what a person would type (a local path or a URI) and what worker processes open
    again; `label` is the same without credentials and query, for messages, `address` without
    credentials alone, for commands. Paths given to the methods are relative, with forward slashes.
    """

    def __init__(self, filesystem: pafs.FileSystem, root: str, location: str) -> None:
        self.filesystem = filesystem
        self.root = root.rstrip("/")
        self.location = location
        self.address = redact(location) if "://" in location else location
        self.label = parted(self.address)[0]
        self._made: set[str] = set()

    @classmethod
    def open(cls, location: str | os.PathLike[str]) -> "RunFolder":
        """Open a local path or a `pyarrow.fs` URI (`s3://…`, `gs://…`, `file:///…`).

        Raises `InputError` where the URI names no known file system.
        """
        text = expanded(os.fspath(location))
        refuse_half_uri(text)
        if "://" not in text:
            path = os.path.abspath(text)
            return cls(pafs.LocalFileSystem(), path, path)
        if "endpoint_override=" in text or "AWS_ENDPOINT_URL" in os.environ:
            # Many S3-compatible servers know no checksums in trailers, the SDK's default.
            os.environ.setdefault("AWS_REQUEST_CHECKSUM_CALCULATION", "when_required")
        try:
            filesystem, root = pafs.FileSystem.from_uri(text)
        except (pa.ArrowException, OSError, ValueError) as error:
            raise InputError(
                f"{redact(text)}: not a folder that pyarrow can open ({redact(one_line(error))}); "
                "give a path or a file://, s3:// or gs:// URI"
            ) from error
        return cls(filesystem, root, text)

    @classmethod
    def around(cls, file: str) -> tuple["RunFolder", str]:
        """Open the run's folder of a file, two levels above it; the file's name in that folder too.

        `file`: a path or a URI, with its query. Raises `InputError` as `open`.
        """
        base, query = parted(expanded(file))
        parts = (base if "://" in base else os.path.abspath(base)).rsplit("/", 2)
        above = parts[0] if len(parts) == 3 and parts[0] else "/"
        return cls.open(above + query), "/".join(parts[1:])

    @classmethod
    def to_write(cls, location: str | os.PathLike[str]) -> "RunFolder":
        """Open what results go to. Raises `InputError` as `open`, and where a file lies there."""
        folder = cls.open(location)
        if folder.local_path is not None and os.path.isfile(folder.local_path):
            raise InputError(
                f"--out {redact(os.fspath(location))}: a file lies there; give a folder"
            )
        return folder

    @property
    def local_path(self) -> str | None:
        """The folder as a path of this machine, or None where it is elsewhere."""
        return self.root if isinstance(self.filesystem, pafs.LocalFileSystem) else None

    def _path(self, relative: str) -> str:
        parts = relative.split("/")
        if relative.startswith("/") or ".." in parts:
            raise InputError(f"{relative}: leaves the run's folder {self.label}")
        # Of this machine, nothing is its root; of an object store it is the list of buckets.
        at_root = not self.root and self.local_path is None
        return relative if at_root else f"{self.root}/{relative}"

    def _make_folder(self, path: str) -> None:
        if path and path not in self._made:
            self.filesystem.create_dir(path, recursive=True)
            self._made.add(path)

    def create(self) -> None:
        """Make the folder where it is missing. Raises `StoreError` where that is impossible."""
        try:
            self._make_folder(self.root)
        except OSError as error:
            raise StoreError(f"{self.label}: cannot be created: {one_line(error)}") from error

    def write(self, relative: str, content: bytes | pa.Buffer) -> None:
        """Write a whole file under a temporary name and move it to its place.

        Raises `StoreError`; the file is then as it was before.
        """
        target = self._path(relative)
        folder, _, name = target.rpartition("/")
        temporary = f"{folder}/.{name}.{uuid.uuid4().hex}.tmp"
        try:
            self._make_folder(folder)
            with self.filesystem.open_output_stream(temporary) as stream:
                stream.write(content)
            self.filesystem.move(temporary, target)
        except OSError as error:
            self._forget(temporary)
            raise StoreError(
                f"{self.label}/{relative}: cannot be written: {one_line(error)}{_advice(error)}"
            ) from error

    @contextmanager
    def _faults(self, relative: str, what: str) -> Iterator[None]:
        """Raise what the file system raises as a `StoreError` that says what cannot be done."""
        try:
            yield
        except OSError as error:
            raise StoreError(
                f"{self.label}/{relative}: cannot be {what}: {one_line(error)}"
            ) from error

    def _forget(self, path: str) -> None:
        try:
            self.filesystem.delete_file(path)
        except OSError:
            log.debug("%s could not be removed", path)

    def write_table(self, relative: str, table: pa.Table) -> None:
        """Write a Parquet file, in which flipped bytes are noticed."""
        self.write(relative, encode_table(table))

    def read(self, relative: str) -> bytes:
        """Return a file's bytes. Raises `FileNotFoundError` or `StoreError`."""
        try:
            with self.filesystem.open_input_file(self._path(relative)) as stream:
                return bytes(stream.read())
        except FileNotFoundError:
            raise
        except OSError as error:
            raise StoreError(
                f"{self.label}/{relative}: cannot be read: {one_line(error)}"
            ) from error

    def read_table(self, relative: str, columns: Sequence[str] | None = None) -> pa.Table:
        """Return a Parquet file, or these columns of it.

        Raises `FileNotFoundError`, `StoreError`, or `ValueError`, which says that the bytes are
        there but no sound Parquet file.
        """
        return decode_table(self.read(relative), relative, columns)

    def exists(self, relative: str) -> bool:
        """Whether there is such a file."""
        return self.modified(relative) is not None

    def modified(self, relative: str) -> datetime | None:
        """Return when a file was written, by the store's own clock; None where there is none."""
        with self._faults(relative, "looked up"):
            info = self.filesystem.get_file_info(self._path(relative))
        return info.mtime if info.type == pafs.FileType.File else None

    def files(self, folder: str = "", suffix: str = "") -> list[str]:
        """Return the files under `folder`, sorted, relative to the run's folder.

        Hidden names (temporary ones among them) are left out.
        """
        return [path for path in self._all_files(folder) if _visible(path, suffix)]

    def _all_files(self, folder: str) -> list[str]:
        return _files(self._infos(folder), self.root)

    def _infos(self, folder: str, recursive: bool = True) -> list[pafs.FileInfo]:
        selector = pafs.FileSelector(
            self._path(folder) if folder else self.root, allow_not_found=True, recursive=recursive
        )
        try:
            return list(self.filesystem.get_file_info(selector))
        except OSError as error:
            raise StoreError(f"{self.label}: cannot be listed: {one_line(error)}") from error

    def newest(self, folder: str) -> dict[str, datetime]:
        """Return the time of the newest file under each folder in `folder`, by relative path."""
        found: dict[str, datetime] = {}
        start = len(self._path(folder)) + 1
        for info in self._infos(folder):
            if info.type == pafs.FileType.File:
                path = f"{folder}/{info.path[start:].partition('/')[0]}"
                found[path] = max(found.get(path, info.mtime), info.mtime)
        return found

    def remove(self, relative: str) -> None:
        """Remove a file; it is no error if there is none."""
        if not self.exists(relative):
            return
        with self._faults(relative, "removed"):
            self.filesystem.delete_file(self._path(relative))

    def remove_folder(self, relative: str) -> None:
        """Remove a folder and all that is in it; it is no error if there is none."""
        with self._faults(relative, "removed"):
            try:
                self.filesystem.delete_dir(self._path(relative))
            except FileNotFoundError:
                return
            except OSError:
                self._remove_one_by_one(relative)

    def _remove_one_by_one(self, relative: str) -> None:
        """Empty a folder where the store takes no request for many objects at once.

        Several S3-compatible servers refuse the checksum that the SDK sends with such a request.
        """
        infos = self._infos(relative)
        for info in infos:
            if info.type == pafs.FileType.File:
                self.filesystem.delete_file(info.path)
        folders = [info.path for info in infos if info.type == pafs.FileType.Directory]
        for path in (*sorted(folders, reverse=True), self._path(relative)):
            self.filesystem.delete_dir(path)

    def quarantine(self, relative: str, reason: str) -> None:
        """Move a file that cannot be trusted under `quarantine/`, and say so.

        Raises `StoreError`.
        """
        place = f"{QUARANTINE}/{relative}"
        earlier = sum(file.startswith(place) for file in self.files(QUARANTINE))
        if earlier:
            place = f"{place}.{earlier + 1}"
        log.warning("%s: %s; kept as %s", relative, reason, place)
        with self._faults(relative, "moved"):
            self._make_folder(self._path(place).rpartition("/")[0])
            self.filesystem.move(self._path(relative), self._path(place))

    def clean(self) -> int:
        """Remove what dead writers left under temporary names; return how many files.

        Only where a run's files go: another program's, or another run's, may lie beside them.
        """
        infos = self._infos("", recursive=False)
        folders = {info.base_name for info in infos if info.type == pafs.FileType.Directory}
        places = [_files(infos, self.root), *(self._all_files(x) for x in WRITTEN if x in folders)]
        left = [path for files in places for path in files if _temporary(path)]
        for path in left:
            self._forget(self._path(path))
        return len(left)


def _advice(error: OSError) -> str:
    """What to do where there is no more room."""
    if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return ""
    return "; what is finished is kept: make room and run the same command again"


def _files(infos: Sequence[pafs.FileInfo], root: str) -> list[str]:
    """The files among what was listed, by their places in the folder."""
    start = len(root) + 1 if root else 0
    return sorted(info.path[start:] for info in infos if info.type == pafs.FileType.File)


def _visible(path: str, suffix: str) -> bool:
    return path.endswith(suffix) and not path.rpartition("/")[2].startswith(".")


def _temporary(path: str) -> bool:
    return _TEMPORARY.fullmatch(path.rpartition("/")[2]) is not None


def encode_table(table: pa.Table) -> pa.Buffer:
    """A Parquet file of a table, with a checksum in each page."""
    buffer = pa.BufferOutputStream()
    pq.write_table(table, buffer, write_page_checksum=True)
    return buffer.getvalue()


def decode_table(content: bytes, name: str, columns: Sequence[str] | None = None) -> pa.Table:
    """Return the Parquet file in `content`, or these columns; `ValueError` where it is not sound.

    No thread but this one touches it: one of Arrow's that lets go of Python's bytes while the
    interpreter ends aborts the process, whatever its exit code was to be.
    """
    with _sound(name):
        return _parquet(content).read(None if columns is None else list(columns), use_threads=False)


def rows_in(content: bytes, name: str) -> int:
    """Return the rows that a Parquet file's footer counts; `ValueError` where it has none."""
    with _sound(name):
        return int(_parquet(content).metadata.num_rows)


def _parquet(content: bytes) -> pq.ParquetFile:
    return pq.ParquetFile(
        pa.BufferReader(content), page_checksum_verification=True, pre_buffer=False
    )


@contextmanager
def _sound(name: str) -> Iterator[None]:
    try:
        yield
    except (pa.ArrowException, OSError) as error:
        raise ValueError(f"{name}: not a sound Parquet file ({one_line(error)})") from error
