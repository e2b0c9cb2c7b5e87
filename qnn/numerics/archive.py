"""Small npz files that are the same bytes every time and are read back strictly, without pickle.

`numpy.load` reads what is written here. Reading goes through `read_arrays`, because `numpy.load`
neither checks a member's CRC when the array header asks for fewer bytes than the member holds, nor
minds members it was not asked for.
"""

import io
import lzma
import math
import os
import struct
import zipfile
import zlib
from collections.abc import Mapping
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


def pack_arrays(arrays: Mapping[str, np.ndarray]) -> bytes:
    """The bytes of an npz file with these arrays, in this order, stored without compression.

    Equal arrays give equal bytes: no time stamps, no compressor whose versions differ.
    """
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, array in arrays.items():
            member = io.BytesIO()
            npy.write_array(member, np.asarray(array), version=(1, 0), allow_pickle=False)
            archive.writestr(zipfile.ZipInfo(f"{name}.npy"), member.getvalue())
    return buffer.getvalue()


def unpack_arrays(data: bytes, where: str, what: str) -> dict[str, np.ndarray]:
    """The arrays of an npz file given as bytes; every member is read whole and its CRC checked.

    `where` and `what` name the file and its kind in messages. Raises InputError, one line, for
    anything that is not an intact npz file of plain (not object) arrays.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            names = archive.namelist()
            if len(set(names)) != len(names):
                raise ValueError("a member occurs twice")
            return {name.removesuffix(".npy"): _parse(archive.read(name)) for name in names}
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


def read_file(path: str | os.PathLike[str], what: str) -> bytes:
    """The bytes of a file. Raises InputError, one line, if there is none or it cannot be read."""
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise InputError(
            f"{path}: cannot be read ({error.strerror}); give the path of a {what} file"
        ) from error


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
