"""Columns from records: what a study says a row is, is what its results files hold."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields, is_dataclass
from functools import cache, lru_cache
from operator import attrgetter
from types import NoneType, UnionType
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

import pyarrow as pa

# What every study's rows have: which unit gave them, on what, and what became of them.
COMMON = ("trial", "path", "shard", "status", "error", "seconds", "versions")
R = TypeVar("R")
_TYPES = {str: pa.string(), int: pa.int64(), float: pa.float64(), bool: pa.bool_()}

PROBLEM, NETWORK = "problem", "network"
PARAMETER, METRIC, YOUNG, TIMING = "parameter", "metric", "young", "timing"
_PREFIX = "prefix"


def told(*uses: str, default: Any = None) -> Any:
    """A column that is None where it is not known. `uses`, what else it serves:

    `PROBLEM`: it speaks of a problem of ours, so that a row without one leaves it out; `NETWORK`:
    the network's file says it too; `PARAMETER` and `METRIC`: MLflow is told; `YOUNG`: files of
    earlier versions have no such column; `TIMING`: two runs of one config may differ in it.
    """
    return field(default=default, metadata=dict.fromkeys(uses, True))


def prefixed(prefix: str) -> dict[str, str]:
    """What is said beside a field that is a record, so that its columns begin with `prefix`."""
    return {_PREFIX: prefix}


def columns_serving(record: type, use: str, prefix: str = "") -> Iterator[str]:
    """The columns of a record, and those of records among its fields, that serve a use."""
    hints = get_type_hints(record)
    for one in fields(record):
        if is_dataclass(hints[one.name]):
            own = prefix + one.metadata.get(_PREFIX, "")
            yield from columns_serving(hints[one.name], use, own)
        elif one.metadata.get(use, False):
            yield prefix + one.name


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
        # Rows of one kind have the same columns.
        unknown = set[str]().union(*{tuple(row) for row in plain}) - set(self.columns.names)
        if unknown:
            raise ValueError(f"no such result columns: {', '.join(sorted(unknown))}")
        return pa.Table.from_pylist(plain, schema=self.columns)

    def read(self, table: pa.Table) -> pa.Table:
        """A table, of an earlier version too, as one of these columns; or `ValueError`."""
        if table.schema.equals(self.columns):
            return table
        for name in self.later:
            if name not in table.schema.names:
                empty = pa.nulls(len(table), self.columns.field(name).type)
                table = table.append_column(name, empty)
        if sorted(table.schema.names) != sorted(self.columns.names):
            raise ValueError("not the columns of a results file of this version")
        return table.select(self.columns.names).cast(self.columns)


def _fields_of(record: Any, prefix: str = "") -> list[pa.Field]:
    hints = get_type_hints(record)
    found: list[pa.Field] = []
    for one in fields(record):
        kind = hints[one.name]
        if is_dataclass(kind):
            own = prefix + one.metadata.get(_PREFIX, "")
            found += _fields_of(kind, own)
        else:
            found.append(pa.field(prefix + one.name, _type_of(kind, one.name)))
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
    kind: Any = type(record)
    names, read, lists = _reader(kind)
    found = dict(zip(names, read(record), strict=True))
    for name in lists:
        if found[name] is not None:
            found[name] = [columns_of(one) if is_dataclass(one) else one for one in found[name]]
    return found


@cache
def _reader(record: Any) -> tuple[list[str], Callable[[Any], tuple[Any, ...]], list[str]]:
    """The columns of a kind of record, what reads them all, and those that hold several values."""
    names, places, lists = _columns(record)
    read = attrgetter(*places)
    return names, read if len(places) > 1 else lambda one: (read(one),), lists


def _columns(record: Any) -> tuple[list[str], list[str], list[str]]:
    """As `_reader`, with the place of each column in the record."""
    names: list[str] = []
    places: list[str] = []
    lists: list[str] = []
    hints = get_type_hints(record)
    for one in fields(record):
        kind = hints[one.name]
        if is_dataclass(kind):
            prefix = one.metadata.get(_PREFIX, "")
            own, inner, several = _columns(kind)
            names += [prefix + name for name in own]
            places += [f"{one.name}.{place}" for place in inner]
            lists += [prefix + name for name in several]
        else:
            names.append(one.name)
            places.append(one.name)
            lists += [one.name] if get_origin(_present(kind)) is tuple else []
    return names, places, lists


def part_of(kind: type[R], columns: Mapping[str, Any], prefix: str = "") -> R:
    """A record, and records among its fields, from the columns of its names.

    Columns that are not there are left to their defaults.
    """
    record: Any = kind
    made: R = _maker_of(record, prefix, tuple(columns))(columns)
    return made


# A table's rows have its columns, and tables are of few kinds.
@lru_cache(maxsize=256)
def _maker_of(
    record: Any, prefix: str, columns: tuple[str, ...]
) -> Callable[[Mapping[str, Any]], Any]:
    """What makes records of one kind from mappings with these columns."""
    plain: list[tuple[str, str, Callable[[Any], Any]]] = []
    nested: list[tuple[str, Callable[[Mapping[str, Any]], Any]]] = []
    hints = get_type_hints(record)
    for one in fields(record):
        kind = hints[one.name]
        if is_dataclass(kind):
            inner: Any = kind
            own = prefix + one.metadata.get(_PREFIX, "")
            nested.append((one.name, _maker_of(inner, own, columns)))
        elif prefix + one.name in columns:
            plain.append((one.name, prefix + one.name, _maker(kind)))
    build = _builder(record, {name for name, *_ in plain} | {name for name, _ in nested})

    def make(given: Mapping[str, Any]) -> Any:
        found = {
            name: value
            if (value := given[column]) is None or type(value) is wanted
            else wanted(value)
            for name, column, wanted in plain
        }
        for name, inner in nested:
            found[name] = inner(given)
        return build(found)

    return make


def _builder(record: Any, given: set[str]) -> Callable[[dict[str, Any]], Any]:
    """What makes a record of values for these fields, as its own `__init__` does.

    That of a frozen record sets one field after the other, which takes ten times as long.
    """
    defaults = {one.name: one.default for one in fields(record) if one.name not in given}
    if MISSING in defaults.values() or hasattr(record, "__post_init__"):
        return lambda found: record(**found)

    def build(found: dict[str, Any]) -> Any:
        made = object.__new__(record)
        vars(made).update(defaults, **found)
        return made

    return build


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
