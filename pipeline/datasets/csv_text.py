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
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from threading import Lock

from pipeline.datasets.spellings import is_number
from qnn.errors import InputError

log = logging.getLogger(__name__)

# The number of a line in the file, from 1, and its text.
Line = tuple[int, str]
SEPARATORS = (",", ";", "\t", "|")
# Rows enough to see how many cells a line has.
_SAMPLE = 200
# A line that no file has: a cell that holds it was not closed.
_END = "\0"
_LIMIT = Lock()
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


def without_comments(text: str, comment: str | None) -> list[Line]:
    """The lines from the header on, without comment lines.

    Where no comment sign is told, only lines above the header that begin with "#" are left out.
    """
    lines = list(enumerate(io.StringIO(text, newline=""), 1))
    if comment is not None:
        lines = [(number, line) for number, line in lines if not line.startswith(comment)]
    sign = "#" if comment is None else comment
    start = 0
    while start < len(lines) - 1 and (
        not lines[start][1].strip() or lines[start][1].startswith(sign)
    ):
        start += 1
    return lines[start:]


def told_separator(lines: list[Line]) -> tuple[str | None, list[Line]]:
    """The separator that a first line "sep=;" tells, as Excel reads it, and the lines below it."""
    told = re.fullmatch(r'"?sep=(.)"?', lines[0][1].rstrip("\r\n"), re.IGNORECASE)
    return (None, lines) if told is None else (told[1], lines[1:])


def find_separator(lines: list[Line], name: str, quote: str) -> str:
    """The separator that cuts every line of the sample into as many cells as the header has.

    A comma where it fits, or where nothing does and the header has one cell alone. Raises
    InputError, saying what the file looks like, where nothing fits.
    """
    counts = {mark: _cells(lines, mark, quote) for mark in SEPARATORS}
    fitting = [mark for mark, cells in counts.items() if cells[0] > 1 and len(set(cells)) == 1]
    if "," in fitting or all(set(cells) == {1} for cells in counts.values()):
        return ","
    if len(fitting) == 1:
        return fitting[0]
    heads = {mark: cells[0] for mark, cells in counts.items() if cells[0] > 1}
    if not heads:
        # Below a title, which is one cell, all lines may have as many.
        below = {
            mark: cells[-1]
            for mark, cells in counts.items()
            if len(cells) > 2 and cells[-1] == cells[-2] > 1
        }
        return max(below, key=lambda mark: below[mark], default=",")
    likely = max(heads, key=lambda mark: heads[mark])
    if likely == ",":
        return ","  # Reported, with its row, by the reader.
    raise InputError(
        f"data.source: {name} looks separated by {likely!r}, but {uneven(lines, likely, quote)}"
    )


def refuse_open_quote(lines: list[Line], name: str, separators: Sequence[str], quote: str) -> None:
    """Raise InputError where a quote is opened and not closed, whichever of the separators holds.

    An even number of quotation marks counts as pairs.
    """
    if sum(line.count(quote) for _, line in lines) % 2 == 0:
        return
    for mark in separators:
        opened = _open_quote(lines, mark, quote)
        if opened is not None:
            raise InputError(
                f"data.source: {name} cannot be read: a quote ({quote}) is opened in line {opened} "
                "and not closed; close it, or set data.quote to another sign"
            )


def _open_quote(lines: list[Line], separator: str, quote: str) -> int | None:
    """The line in which the last cell is opened, where nothing closes it."""
    _, row = deque(rows_of([*lines, (0, _END)], separator, quote), maxlen=1).pop()
    if row == [_END]:
        return None
    spanned = len(io.StringIO(row[-1].removesuffix(_END), newline="").readlines())
    return lines[len(lines) - max(spanned, 1)][0]


def uneven(lines: list[Line], separator: str, quote: str) -> str | None:
    """The first line with more or fewer cells than the header, and what to do; None: none is."""
    (head, names), *rows = rows_of(lines, separator, quote)
    other = next((k for k, (_, row) in enumerate(rows) if len(row) != len(names)), None)
    if other is None:
        return None
    line, first = rows[other]
    said = f"line {line} has {_counted(first)}, "
    even = all(len(row) == len(first) for _, row in rows[other:])
    if even and len(first) > len(names) and not any(map(is_number, first)):
        return (
            f"{said}line {head} has {len(names)}: a title above the header? Remove such lines, or "
            "set data.comment to the sign that they begin with"
        )
    return (
        f"{said}the header in line {head} has {len(names)}; correct it, or set data.separator, "
        "data.quote or data.comment"
    )


def _counted(row: list[str]) -> str:
    return f"{len(row)} cell{'s' * (len(row) != 1)}"


def rows_of(lines: list[Line], separator: str, quote: str) -> Iterator[tuple[int, list[str]]]:
    """The rows that are not blank, each with the line that it begins in."""
    _allow_cells_of(sum(len(line) for _, line in lines))
    texts = (line for _, line in lines)
    reader = csv.reader(texts, delimiter=separator, quotechar=quote)
    start = 0
    for row in reader:
        if row:
            yield lines[start][0], row
        start = reader.line_num


def _allow_cells_of(size: int) -> None:
    """Let a cell be as long as a text that is in memory already.

    The limit is the whole process's: never lowered, so that no thread meets another one's.
    """
    with _LIMIT:
        if size > csv.field_size_limit():
            csv.field_size_limit(size)


def _cells(lines: list[Line], separator: str, quote: str) -> list[int]:
    return [len(row) for _, row in islice(rows_of(lines, separator, quote), _SAMPLE)] or [0]
