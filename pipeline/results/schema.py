"""The columns of the results: one row a network, or whatever else a study asks about."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, is_dataclass
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

import pyarrow as pa

METRICS = ("accuracy", "rmse", "r2")
PARTS = ("train", "validation", "test")

_TEXT = ("trial", "path", "certificate", "network", "dataset", "shard")
_IDENTITY = (
    *("rounding", "loss", "activation", "polynomial", "alphabet", "second_layer"),
    *("certify", "solver"),
)
_REAL = ("lower_bound", "upper_bound", "gap", "relaxation_value", "loss_value")

# The bounds of one problem as they closed in, seconds since the relaxation was solved.
BOUNDS = pa.struct([(name, pa.float64()) for name in ("seconds", "lower", "upper")])
RESULTS_SCHEMA = pa.schema(
    [
        *(pa.field(name, pa.string()) for name in _TEXT),
        pa.field("output", pa.int64()),
        pa.field("certificates", pa.list_(pa.string())),
        pa.field("n", pa.int64()),
        pa.field("d", pa.int64()),
        pa.field("beta", pa.float64()),
        pa.field("beta_fraction", pa.float64()),
        pa.field("beta_max", pa.float64()),
        pa.field("seed", pa.int64()),
        pa.field("width", pa.int64()),
        *(pa.field(name, pa.string()) for name in _IDENTITY),
        pa.field("loss_parameter", pa.float64()),
        *(pa.field(name, pa.float64()) for name in _REAL),
        *(pa.field(f"{part}_{metric}", pa.float64()) for part in PARTS for metric in METRICS),
        pa.field("neurons", pa.int64()),
        pa.field("bytes", pa.int64()),
        pa.field("preprocessing_bytes", pa.int64()),
        pa.field("seconds", pa.float64()),
        pa.field("relaxation_seconds", pa.float64()),
        pa.field("rounding_seconds", pa.float64()),
        pa.field("certify_seconds", pa.float64()),
        pa.field("baseline_seconds", pa.float64()),
        pa.field("proof", pa.string()),
        pa.field("bounds", pa.list_(BOUNDS)),
        pa.field("status", pa.string()),
        pa.field("error", pa.string()),
        pa.field("versions", pa.string()),
    ]
)
# Columns younger than the first results; null where a file of earlier versions has none.
LATER_COLUMNS = ("output", "certificates", "baseline_seconds")
# The columns in which two runs of one config may differ.
TIMING_COLUMNS = ("seconds", "relaxation_seconds", "rounding_seconds", "certify_seconds", "bounds")


# What every study's rows have: which unit gave them, on what, and what became of them.
COMMON = ("trial", "path", "shard", "status", "error", "seconds", "versions")
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
        cls, record: type, later: Sequence[str] = (), timings: Sequence[str] = ("seconds",)
    ) -> RowSchema:
        """The columns of a frozen record: its fields, and those of records among them, in order.

        Fields are text, whole or real numbers, booleans, or tuples of records or of these; each may
        be None. Raises `TypeError` for others, or where one of `COMMON` is missing.
        """
        columns = pa.schema(_fields_of(record))
        missing = set(COMMON) - set(columns.names)
        if missing:
            raise TypeError(f"{record.__name__}: no fields {', '.join(sorted(missing))}")
        return cls(columns, tuple(later), tuple(timings))

    def table(self, rows: Sequence[dict[str, Any]]) -> pa.Table:
        """Rows as a table; a column left out is null. `ValueError` on one that there is not."""
        unknown = {key for row in rows for key in row} - set(self.columns.names)
        if unknown:
            raise ValueError(f"no such result columns: {', '.join(sorted(unknown))}")
        return pa.Table.from_pylist(list(rows), schema=self.columns)

    def read(self, table: pa.Table) -> pa.Table:
        """A table, of an earlier version too, as one of these columns; or `ValueError`."""
        for name in self.later:
            if name not in table.schema.names:
                empty = pa.nulls(len(table), self.columns.field(name).type)
                table = table.append_column(name, empty)
        if sorted(table.schema.names) != sorted(self.columns.names):
            raise ValueError("not the columns of a results file of this version")
        return table.select(self.columns.names).cast(self.columns)


def _fields_of(record: type) -> list[pa.Field]:
    hints = get_type_hints(record)
    found: list[pa.Field] = []
    for field in fields(record):
        kind = hints[field.name]
        if is_dataclass(kind):
            found += _fields_of(kind)  # type: ignore[arg-type]
        else:
            found.append(pa.field(field.name, _type_of(kind, field.name)))
    return found


def _type_of(kind: Any, name: str) -> pa.DataType:
    """The Parquet type of a field's annotation."""
    if get_origin(kind) in (Union, UnionType):
        (kind,) = (part for part in get_args(kind) if part is not NoneType)
    if get_origin(kind) is tuple:
        return pa.list_(_type_of(get_args(kind)[0], name))
    if is_dataclass(kind):
        return pa.struct(_fields_of(kind))  # type: ignore[arg-type]
    if kind not in _TYPES:
        raise TypeError(f"{name}: no column can hold {kind}")
    return _TYPES[kind]


RESULTS_ROWS = RowSchema(RESULTS_SCHEMA, LATER_COLUMNS, TIMING_COLUMNS)


def as_results(table: pa.Table) -> pa.Table:
    """Return a table, of an earlier version too, as one of `RESULTS_SCHEMA`; or `ValueError`."""
    return RESULTS_ROWS.read(table)
