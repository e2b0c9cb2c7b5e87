"""Tables of pages: columns, what each cell shows, what it is sorted by, where it links to."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar
from urllib.parse import quote

import numpy as np

R = TypeVar("R")
# Pixels that a table has on a phone and on a desktop, and that a character takes in it.
PHONE, DESKTOP, CHARACTER = 350, 1040, 8.4


@dataclass(frozen=True)
class Column(Generic[R]):
    """A column of rows R: `value` sorts, `write` shows it, `link` is a path relative to the page.

    `text`: words and not numbers, `wrap`: long ones, over several lines.
    """

    title: str
    value: Callable[[R], Any]
    write: Callable[[Any], str] = str
    text: bool = False
    wrap: bool = False
    link: Callable[[R], Any] | None = None

    def cell(self, row: R) -> dict[str, str]:
        """A cell as the templates take it; what there is not is a dash and sorts last."""
        value = self.value(row)
        missing = value is None or (isinstance(value, float) and not np.isfinite(value))
        if missing:
            return {"sort": "", "text": "–", "href": ""}
        target = None if self.link is None else self.link(row)
        key = value if isinstance(value, str) else f"{float(value):.10g}"
        return {"sort": key, "text": self.write(value), "href": _link(target)}


def words(title: str, value: Callable[[R], Any], **how: Any) -> Column[R]:
    """A column of text."""
    return Column(title, value, text=True, **how)


def by_name(title: str, name: str, how: str) -> Column[dict[str, Any]]:
    """A column of what rows hold under a name, as numbers that `format` writes."""
    return Column(title, lambda row: row[name], formatted(how))


def formatted(how: str) -> Callable[[Any], str]:
    """How a number is written, as `format` takes it."""
    return lambda value: format(value, how)


def whole(value: float) -> str:
    """A whole number, also of a column that has it as a float."""
    return f"{value:,.0f}"


def short(value: float) -> str:
    """A number by four significant digits."""
    return f"{value:.4g}"


def table_of(
    columns: Sequence[Column[R]],
    rows: Iterable[R],
    chosen: Callable[[R], bool] | None = None,
) -> dict[str, Any]:
    """A table as the templates take it; its first column says which row it is and stays in sight.

    `over` says on which screens it is wider than its box, as far as its texts tell.
    """
    made, texts = [], []
    for row in rows:
        cells = [one.cell(row) for one in columns]
        made.append({"chosen": chosen is not None and chosen(row), "cells": cells})
        texts.append([cell["text"] for cell in cells])
    width = sum(_width(one, [row[k] for row in texts]) for k, one in enumerate(columns))
    return {
        "columns": [{"title": c.title, "text": c.text, "wrap": c.wrap} for c in columns],
        "rows": made,
        "over": [name for name, room in (("phone", PHONE), ("desktop", DESKTOP)) if width > room],
    }


def _width(column: Column[Any], texts: list[str]) -> float:
    head = max(map(len, column.title.split()), default=0) + 2
    longest = max(map(len, texts), default=0)
    if column.wrap:
        longest = min(24, longest)
    return CHARACTER * max(head, longest) + 20.0


def _link(target: Any) -> str:
    """A path as a link; a data frame has NaN where there is none."""
    return href(target) if isinstance(target, str) and target else ""


def href(path: str) -> str:
    """A file's path, relative to the page, as a link."""
    return quote(path)
