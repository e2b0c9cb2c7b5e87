"""How a CSV file is written: its encoding, separator and comment lines, told or found out.

What is found is what fits alone; what fits in two ways is taken for the plain one (commas), so that
a file is never read in one way today and in another tomorrow.
"""

from __future__ import annotations

import codecs
import csv
import io
import logging
import re
from dataclasses import dataclass

from qnn.errors import InputError

log = logging.getLogger(__name__)

SEPARATORS = (",", ";", "\t", "|")
# Rows enough to see how many cells a line has.
_SAMPLE = 200
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


@dataclass(frozen=True)
class CsvFormat:
    """What the config says of a CSV file; None: found out."""

    separator: str | None = None
    quote: str = '"'
    encoding: str | None = None
    comment: str | None = None


def decode(content: bytes, name: str, encoding: str | None) -> str:
    """The file's text: as told, by its byte-order mark, as UTF-8, else as Latin-1, which is said.

    Raises InputError where the encoding told does not fit or is not known.
    """
    marked = next((known for mark, known in _MARKS if content.startswith(mark)), None)
    chosen = encoding or marked or "utf-8"
    try:
        return content.decode(chosen).removeprefix("\ufeff")
    except LookupError:
        raise InputError(
            f"data.encoding: {chosen!r} is not known; try utf-8, latin-1 or utf-16"
        ) from None
    except UnicodeDecodeError as error:
        if encoding is not None or marked is not None:
            row = content[: error.start].count(b"\n") + 1
            raise InputError(
                f"data.source: {name} is not {chosen} in line {row}; set data.encoding "
                "(utf-8, latin-1, utf-16 …)"
            ) from None
    if b"\0" in content[:1000]:
        raise InputError(f"data.source: {name} is no text in UTF-8; set data.encoding (utf-16?)")
    log.info("%s is not UTF-8: read as cp1252 (Latin-1); set data.encoding for another", name)
    return content.decode("cp1252", errors="replace")


def without_comments(text: str, comment: str | None) -> str:
    """The text from its header on, without comment lines.

    Where no comment sign is told, only lines above the header that begin with "#" are left out.
    """
    lines = text.splitlines(keepends=True)
    if comment is not None:
        return "".join(line for line in lines if not line.startswith(comment))
    start = 0
    while start < len(lines) - 1 and (not lines[start].strip() or lines[start].startswith("#")):
        start += 1
    return "".join(lines[start:])


def told_separator(text: str) -> tuple[str | None, str]:
    """The separator that a first line "sep=;" tells, as Excel reads it, and the lines below it."""
    first, _, rest = text.partition("\n")
    told = re.fullmatch(r'"?sep=(.)"?\r?', first, re.IGNORECASE)
    return (None, text) if told is None else (told[1], rest)


def find_separator(text: str, name: str, quote: str) -> str:
    """The separator that cuts every line of the sample into as many cells as the header has.

    A comma where it fits, or where nothing does and the header has one cell alone. Raises
    InputError, saying what the file looks like, where nothing fits.
    """
    counts = {mark: _cells(text, mark, quote) for mark in SEPARATORS}
    fitting = [mark for mark, cells in counts.items() if cells[0] > 1 and len(set(cells)) == 1]
    if "," in fitting or all(set(cells) == {1} for cells in counts.values()):
        return ","
    if len(fitting) == 1:
        return fitting[0]
    heads = {mark: cells[0] for mark, cells in counts.items() if cells[0] > 1}
    if not heads:
        return ","
    likely = max(heads, key=lambda mark: heads[mark])
    row = next((k for k, n in enumerate(counts[likely]) if n != heads[likely]), 0)
    if likely == ",":
        return ","  # Reported, with its row, by the reader.
    raise InputError(
        f"data.source: {name} looks separated by {likely!r}, but line {row + 1} has "
        f"{counts[likely][row]} cells instead of {heads[likely]}; correct it, or set data.separator"
    )


def _cells(text: str, separator: str, quote: str) -> list[int]:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, quotechar=quote)
    counts = []
    for row in reader:
        if row:
            counts.append(len(row))
        if len(counts) == _SAMPLE:
            break
    return counts or [0]
