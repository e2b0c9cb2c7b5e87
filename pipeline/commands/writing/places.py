"""Places that cannot be written to, or that hold what is read, refused before any work."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pipeline.configuration.paths import expanded
from qnn.errors import InputError


def refuse_file(out: Path | None, inputs: Mapping[str, str | Path | None]) -> None:
    """InputError where a file could not be written at ``out``, or would replace what is read.

    inputs: paths or URIs of what is read, None where nothing is, by what each is called.
    """
    if out is None:
        return
    _refuse_nowhere(out)
    if out.is_dir():
        raise InputError(f"{out}: is a folder: name a file")
    for what, given in inputs.items():
        other = None if given is None else Path(expanded(str(given)))
        if other is not None and out.exists() and other.exists() and out.samefile(other):
            raise InputError(f"{out}: is {what} itself: name another file")


def refuse_folder(place: Path | None, out: Path | None) -> None:
    """InputError where no new folder could be at ``place``, or the file ``out`` is to be there."""
    if place is None:
        return
    _refuse_nowhere(place)
    if place.exists() and (not place.is_dir() or any(place.iterdir())):
        raise InputError(f"{place}: exists and is no empty folder: give a new one")
    if out is not None and place.absolute() == out.absolute():
        raise InputError(f"{place}: is to be a file and a folder: name another")


def _refuse_nowhere(place: Path) -> None:
    if not place.absolute().parent.is_dir():
        raise InputError(f"{place}: its folder does not exist")
