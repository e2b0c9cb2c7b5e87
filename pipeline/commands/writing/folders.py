"""Folders of files that are there when all of them are, or not at all."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from qnn.errors import InputError


@contextmanager
def new_folder(place: Path | None) -> Iterator[Path | None]:
    """A folder for a block to fill, which is at ``place`` when the block ends without an error.

    Of a block that fails nothing stays, of one that writes nothing no folder. None for no place. An
    empty folder that is there already is filled. Raises InputError where it cannot be written.
    """
    if place is None:
        yield None
        return
    there, name = place.exists(), f".{place.absolute().name}.{os.getpid()}.tmp"
    temporary = place / name if there else place.absolute().with_name(name)
    try:
        temporary.mkdir()
        yield temporary
        files = sorted(temporary.iterdir())
        if files and not there:
            temporary.replace(place)
        for file in files if there else ():
            file.replace(place / file.name)
    except OSError as error:
        raise InputError(
            f"{error.filename or place}: cannot be written: {error.strerror}"
        ) from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
