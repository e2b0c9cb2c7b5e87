"""Columns from records: what a study says a row is, is what its results files hold."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from functools import cache
from types import NoneType, UnionType
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

import pyarrow as pa

# What every study's rows have: which unit gave them, on what, and what became of them.
COMMON = ("trial", "path", "shard", "status", "error", "seconds", "versions")
R = TypeVar("R")
_TYPES = {str: pa.string(), int: pa.int64(), float: pa.float64(), bool: pa.bool_()}


@dataclass(frozen=True)
class RowSchema:
    """The columns of a study's results files.

    `later`: columns younger than the first results, null where a file of earlier versions has none;
    `timings`: those in which two runs of one config may differ.
    """

    columns: pa.Schema
    later: tuple[str, ...] = ()
    timings: tuple[str, ...] = ("seconds",)

    @classmethod
    def of(
        cls,
        record: type,
        later: Sequence[str] = (),
        timings: Sequence[str] = ("seconds",),
        order: Sequence[str] = (),
    ) -> RowSchema:
        """The columns of a frozen record: its fields, and those of records among them, in order.

        Those that `order` names come first, as it has them.

        Fields are text, whole or real numbers, booleans, or tuples of records or of these; each may
        be None. Raises `TypeError` for others, or where one of `COMMON` is missing.
        """
        found = _fields_of(record)
        place = {name: k for k, name in enumerate(order)}
        columns = pa.schema(sorted(found, key=lambda one: place.get(one.name, len(place))))
        missing = set(COMMON) - set(columns.names)
        if missing:
            raise TypeError(f"{record.__name__}: no fields {', '.join(sorted(missing))}")
        return cls(columns, tuple(later), tuple(timings))

    def table(self, rows: Sequence[Any]) -> pa.Table:
        """Rows, records or mappings of columns, as a table; a column left out is null.

        Raises `ValueError` on a column that there is not.
        """
        plain = [row if isinstance(row, Mapping) else columns_of(row) for row in rows]
        unknown = {key for row in plain for key in row} - set(self.columns.names)
        if unknown:
            raise ValueError(f"no such result columns: {', '.join(sorted(unknown))}")
        return pa.Table.from_pylist(plain, schema=self.columns)

    def read(self, table: pa.Table) -> pa.Table:
        """A table, of an earlier version too, as one of these columns; or `ValueError`."""
        for name in self.later:
            if name not in table.schema.names:
                empty = pa.nulls(len(table), self.columns.field(name).type)
                table = table.append_column(name, empty)
        if sorted(table.schema.names) != sorted(self.columns.names):
            raise ValueError("not the columns of a results file of this version")
        return table.select(self.columns.names).cast(self.columns)


def _fields_of(record: Any) -> list[pa.Field]:
    hints = get_type_hints(record)
    found: list[pa.Field] = []
    for field in fields(record):
        kind = hints[field.name]
        if is_dataclass(kind):
            found += _fields_of(kind)
        else:
            found.append(pa.field(field.name, _type_of(kind, field.name)))
    return found


def _type_of(kind: Any, name: str) -> pa.DataType:
    """The Parquet type of a field's annotation."""
    kind = _present(kind)
    if get_origin(kind) is tuple:
        return pa.list_(_type_of(get_args(kind)[0], name))
    if is_dataclass(kind):
        return pa.struct(_fields_of(kind))
    if kind not in _TYPES:
        raise TypeError(f"{name}: no column can hold {kind}")
    return _TYPES[kind]


def columns_of(record: Any) -> dict[str, Any]:
    """A record as a plain mapping of columns: its fields, and those of records among them."""
    found: dict[str, Any] = {}
    for field in fields(record):
        value = getattr(record, field.name)
        if is_dataclass(value):
            found |= columns_of(value)
        elif isinstance(value, tuple):
            found[field.name] = [columns_of(one) if is_dataclass(one) else one for one in value]
        else:
            found[field.name] = value
    return found


def part_of(kind: type[R], columns: Mapping[str, Any]) -> R:
    """A record without records among its fields from the columns of its names.

    Columns that are not there are left to their defaults.
    """
    record: Any = kind
    given = {}
    for name, wanted in _makers(record).items():
        if name in columns:
            value = columns[name]
            given[name] = value if value is None else wanted(value)
    return kind(**given)


@cache
def _makers(record: Any) -> dict[str, Callable[[Any], Any]]:
    """For each field of a record what makes a plain value one of its own."""
    hints = get_type_hints(record)
    return {field.name: _maker(hints[field.name]) for field in fields(record)}


def _maker(kind: Any) -> Callable[[Any], Any]:
    kind = _present(kind)
    if get_origin(kind) is tuple:
        one = _maker(get_args(kind)[0])
        return lambda values: tuple(map(one, values))
    if is_dataclass(kind):
        record: Any = kind
        return lambda values: record(**values)
    # A data frame has whole numbers as floats where others are missing.
    made: Callable[[Any], Any] = kind
    return made


def _present(kind: Any) -> Any:
    """An annotation without its None."""
    if get_origin(kind) in (Union, UnionType):
        (kind,) = (part for part in get_args(kind) if part is not NoneType)
    return kind
