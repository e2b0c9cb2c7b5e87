"""Small npz files that are the same bytes every time and are read back strictly, without pickle.

`numpy.load` reads what is written here. Reading goes through `unpack_arrays`, which takes one form
alone, so that no two readers can see two different things in one file: members named `NAME.npy`,
each once, stored without compression, one right behind the other from the first byte to the
directory, and nothing after that. `numpy.load` neither checks a member's CRC when the array header
asks for fewer bytes than the member holds, nor minds members it was not asked for.
"""

import io
import lzma
import math
import os
import struct
import zipfile
import zlib
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.lib import format as npy

from qnn.errors import InputError

# All that zipfile, zlib and numpy were seen to raise on damaged bytes.
_DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    struct.error,
    EOFError,
    KeyError,
    LookupError,
    MemoryError,
    NotImplementedError,
    OSError,
    OverflowError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
)


# The zip format (PKWARE APPNOTE 4.3): sizes of a local header, a directory entry and the end
# record; where a local header has the lengths of its name and extra field; the flag of UTF-8 names.
_HEADER, _ENTRY, _END, _LENGTHS, _UTF8 = 30, 46, 22, 26, 0x800
# A date of 1 January 1980; a file that its owner reads and writes; more than the headers of a
# member ever take here.
_FIRST_DAY, _OWN_FILE, _LARGEST_HEADERS = 33, 0o600 << 16, 1000


def pack_arrays(arrays: Mapping[str, np.ndarray]) -> bytes:
    """The bytes of an npz file with these arrays, in this order, stored without compression.

    Equal arrays give equal bytes: no time stamps, no compressor whose versions differ.
    """
    members = {f"{name}.npy": _npy(np.asarray(array)) for name, array in arrays.items()}
    if sum(map(len, members.values())) + _LARGEST_HEADERS * len(members) > zipfile.ZIP64_LIMIT:
        return _zip(members)
    return _small_zip(members)


def _npy(array: np.ndarray) -> bytes:
    if array.dtype.hasobject:
        raise ValueError("arrays of objects are not stored")
    fortran = array.flags.f_contiguous and not array.flags.c_contiguous
    return _array_header(array.dtype, fortran, array.shape) + array.tobytes("F" if fortran else "C")


@lru_cache(maxsize=1024)
def _array_header(dtype: np.dtype, fortran: bool, shape: tuple[int, ...]) -> bytes:
    header = io.BytesIO()
    told = {"descr": npy.dtype_to_descr(dtype), "fortran_order": fortran, "shape": shape}
    npy.write_array_header_1_0(header, told)
    return header.getvalue()


def _small_zip(members: Mapping[str, bytes]) -> bytes:
    """What `_zip` gives for members that need no 64-bit sizes, in a fraction of its time."""
    parts: list[bytes] = []
    directory: list[bytes] = []
    place = 0
    for name, data in members.items():
        encoded, flags = name.encode(), 0 if name.isascii() else _UTF8
        # Version 2.0, stored, at the first date there is; no extra field and no comment.
        sizes = (zlib.crc32(data), len(data), len(data), len(encoded))
        said = (20, 0, flags, 0, 0, _FIRST_DAY, *sizes, 0)
        parts += [struct.pack("<4s2B4H3L2H", b"PK\3\4", *said), encoded, data]
        entry = struct.pack("<4s4B4H3L5H2L", b"PK\1\2", 20, 3, *said, 0, 0, 0, _OWN_FILE, place)
        directory += [entry, encoded]
        place += _HEADER + len(encoded) + len(data)
    size, count = sum(map(len, directory)), len(members)
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, count, count, size, place, 0)
    return b"".join([*parts, *directory, end])


def _zip(members: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, data in members.items():
            archive.writestr(zipfile.ZipInfo(name), data)
    return buffer.getvalue()


def unpack_arrays(data: bytes, where: str, what: str) -> dict[str, np.ndarray]:
    """The arrays of an npz file given as bytes; every member is read whole and its CRC checked.

    `where` and `what` name the file and its kind in messages. Raises InputError, one line, for
    anything that is not an intact npz file of plain (not object) arrays.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = archive.infolist()
            _check_form(data, members, archive.start_dir, archive.comment)
            return {one.filename.removesuffix(".npy"): _parse(archive.read(one)) for one in members}
    except _DAMAGE as error:
        raise InputError(
            f"{where}: not a readable {what} file (damaged, cut short or something else: "
            f"{_one_line(error)}); make it again or restore it from a copy"
        ) from error


def write_file(path: str | os.PathLike[str], data: bytes) -> None:
    """Write `data` under a temporary name beside `path`, then rename: never half a file.

    Raises InputError if the folder does not exist or cannot be written to.
    """
    target = Path(path)
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(target)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise InputError(
            f"{target}: cannot be written ({error.strerror}); choose a folder that exists and is "
            "writable"
        ) from error


def read_bytes(path: str | os.PathLike[str], what: str) -> bytes:
    """The bytes of a file. Raises InputError, one line, if there is none or it cannot be read."""
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise InputError(
            f"{path}: cannot be read ({error.strerror}); give the path of a {what} file"
        ) from error


def _check_form(
    data: bytes, members: list[zipfile.ZipInfo], directory: int, comment: bytes
) -> None:
    """Raise ValueError unless the archive has the one form; nothing is inflated or allocated."""
    if len({one.filename for one in members}) != len(members):
        raise ValueError("a member occurs twice")
    place = 0
    for one in members:
        if not one.filename.endswith(".npy") or one.filename.count(".") != 1:
            raise ValueError(f"a member named {one.filename[:40]!r}")
        if one.compress_type != zipfile.ZIP_STORED or one.flag_bits & ~_UTF8:
            raise ValueError(f"{one.filename[:40]} is compressed or encrypted")
        if one.header_offset != place or one.file_size != one.compress_size:
            raise ValueError("bytes between its members")
        name, extra = struct.unpack_from("<HH", data, place + _LENGTHS)
        place += _HEADER + name + extra + one.compress_size
    # The directory, its end record and the comment that there is none of close the file.
    records = sum(_ENTRY + len(one.orig_filename.encode()) + len(one.extra) for one in members)
    if place != directory or comment or len(data) != directory + records + _END:
        raise ValueError("bytes beside its members")


def _parse(member: bytes) -> np.ndarray:
    stream = io.BytesIO(member)
    if npy.read_magic(stream) != (1, 0):
        raise ValueError("an array format other than 1.0")
    shape, fortran_order, dtype = npy.read_array_header_1_0(stream)
    body = member[stream.tell() :]
    # Checked before any allocation: a header can promise terabytes.
    if dtype.hasobject or len(body) != math.prod(shape) * dtype.itemsize:
        raise ValueError("an array's header does not fit its data")
    array = np.frombuffer(body, dtype=dtype) if body else np.empty(math.prod(shape), dtype)
    return array.reshape(shape, order="F" if fortran_order else "C")


def _one_line(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return text[:120] or type(error).__name__
