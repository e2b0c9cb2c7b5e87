"""Rows for a network that exists: read as it takes them, their labels as it calls its classes."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline.configuration.paths import expanded
from pipeline.configuration.settings import DataConfig
from pipeline.datasets.embedded import read_embedded
from pipeline.datasets.files import read_source, to_labels, to_numpy
from pipeline.datasets.sources import csv_format, read_columns
from pipeline.datasets.spellings import TRUTHS, labels_of, plain_numbers, same_label, without_nan
from qnn.errors import InputError
from qnn.features import tables
from qnn.features.targets import plain
from qnn.networks.from_onnx import read_onnx
from qnn.networks.layered import LayeredNetwork
from qnn.networks.quantized import QuantizedNetwork
from qnn.numerics.archive import read_bytes, unpack_arrays

Array = np.ndarray
Network = QuantizedNetwork | LayeredNetwork

# The column that holds the labels where nothing else is said.
TARGET = "target"


@dataclass(frozen=True, eq=False)
class Examples:
    """Raw rows of a file and, where it has them, their labels.

    rows: columns by name where the network has a preprocessing, else a matrix (n, d); names: of the
    numeric columns; labels: the network's own, one a row.
    """

    rows: dict[str, Array] | Array
    names: tuple[str, ...]
    labels: tuple[Any, ...] | None

    @property
    def n(self) -> int:
        """Number of rows."""
        if isinstance(self.rows, dict):
            return len(next(iter(self.rows.values())))
        return len(self.rows)

    def row(self, index: int) -> Any:
        """One raw row, values by column name or (d,)."""
        if isinstance(self.rows, dict):
            return {name: values[index : index + 1] for name, values in self.rows.items()}
        return self.rows[index]

    @property
    def ranges(self) -> dict[str, float]:
        """Largest less smallest value of each numeric column; 0 where it has none."""
        found = {}
        for j, name in enumerate(self.names):
            values = self.rows[name] if isinstance(self.rows, dict) else self.rows[:, j]
            present = values[~np.isnan(values)]
            found[name] = float(np.ptp(present)) if len(present) else 0.0
        return found

    def radii(self, radius: Any, unit: str) -> tuple[Any, str]:
        """A radius, one for all columns or one by name, and its unit, as `certify` takes them.

        unit: beside those of `certify` "range", each column's largest less smallest value.
        """
        named = isinstance(radius, Mapping)
        unknown = [name for name in radius if name not in self.names] if named else []
        if unknown:
            raise InputError(f"radius: the network reads no numeric column {unknown[0]!r}")
        if unit == "range":
            each = radius if named else dict.fromkeys(self.names, radius)
            ranges = self.ranges
            radius = {name: value * ranges[name] for name, value in each.items()}
        if isinstance(radius, Mapping) and not isinstance(self.rows, dict):
            radius = [radius.get(name, 0.0) for name in self.names]
        return radius, "raw" if unit == "range" else unit

    def limits(self, limits: Any) -> Any:
        """Values that columns may have, one pair or by name, as `certify` takes them."""
        if not isinstance(limits, Mapping):
            return limits
        unknown = [name for name in limits if name not in self.names]
        if unknown:
            raise InputError(f"limits: the network reads no numeric column {unknown[0]!r}")
        if isinstance(self.rows, dict):
            return dict(limits)
        # A network without preprocessing calls its inputs by their places.
        return {f"x{self.names.index(name)}": pair for name, pair in limits.items()}

    def refuse_flips(self, flips: Sequence[str]) -> None:
        """InputError for a column that holds no categories."""
        known = set(self.rows) - set(self.names) if isinstance(self.rows, dict) else set()
        unknown = [name for name in flips if name not in known]
        if unknown:
            raise InputError(f"flip: the network reads no categorical column {unknown[0]!r}")

    @cached_property
    def sha256(self) -> str:
        """The digest of rows and labels."""
        rows = self.rows if isinstance(self.rows, dict) else {"": self.rows}
        plain = [[name, values.tolist()] for name, values in rows.items()]
        return sha256(json.dumps([plain, self.labels]).encode()).hexdigest()


def load_network(path: str | os.PathLike[str]) -> Network:
    """The network of an npz file, quantized or layered, or of an ONNX file."""
    if str(path).lower().endswith(".onnx"):
        return read_onnx(path)
    return network_of(read_bytes(path, "network"), str(path))


def network_of(data: bytes, where: str = "network") -> Network:
    """The network in an npz file's bytes, of either kind."""
    if "layers" in unpack_arrays(data, where, "network"):
        return LayeredNetwork.from_bytes(data, where)
    return QuantizedNetwork.from_bytes(data, where)


def read_examples(source: str, network: Network, target: str | None = None) -> Examples:
    """The rows of a CSV or Parquet file (or `sklearn:NAME`), as a network takes them.

    target: the column of the labels; None: "target" where the file has it. A network without a
    preprocessing takes all other columns, in their order.

    Raises InputError: no such file or column, no rows, values or labels that the network does not
    have.
    """
    with rows_of(source):
        data = DataConfig(source=source)
        table = read_table_of(data)
        raw = raw_rows(table, network, data)
        named = TARGET if target is None else target
        if target is not None and target not in raw:
            raise InputError(f"no column {target!r} (columns: {tables.shorten(raw)})")
        labels = None if raw.pop(named, None) is None else _label_column(table[named], named)
        if not raw or not len(next(iter(raw.values()))):
            raise InputError("has no rows")
        return examples_of(raw, labels, network, named)


def read_numbers(source: str, width: int, what: str) -> Examples:
    """The rows of a file of ``width`` numeric columns, a matrix (n, width); ``what`` they are."""
    with rows_of(source):
        raw = read_columns(DataConfig(source=source))
        if len(raw) != width:
            raise InputError(f"has {len(raw)} columns, but the network has {width} {what}")
        if not len(next(iter(raw.values()))):
            raise InputError("has no rows")
        return Examples(matrix_of(raw, width), tuple(raw), None)


def read_table_of(data: DataConfig) -> Any:
    """A source's columns by name, as they are: an Arrow table, in which text is not changed."""
    scheme, _, name = data.source.partition(":")
    if scheme == "sklearn":
        return read_embedded(name)
    return read_source(expanded(data.source), None, csv_format(data))


def raw_rows(table: Any, network: Network, data: DataConfig) -> dict[str, Any]:
    """The columns of `read_table_of` as raw rows for the network's `predict`.

    It knows itself which words are missing values. Columns of numbers may have a decimal comma,
    grouped digits, true and false. Raises InputError as the reading of a sweep's data does.
    """
    if isinstance(table, dict):
        return dict(table)
    preprocessing = None if isinstance(network, LayeredNetwork) else network.preprocessing
    words: Sequence[str] = tables.MISSING_WORDS
    kinds = dict.fromkeys(table.column_names, True)
    if preprocessing is not None:
        layout = preprocessing.layout
        words = layout.missing_words
        kinds = {column.name: column.categories is None for column in layout.kept}
    raw = {name: table[name] for name in table.column_names}
    for name in [name for name in kinds if name in raw]:
        raw[name] = _values(table[name], name)
        if kinds[name] and raw[name].dtype == object:
            raw[name] = _spelt(tables.without_words(raw[name], words), name, data)
    return raw


def _values(column: Any, name: str) -> Array:
    """As `to_numpy`, but true and false stay: a network may know them by a category's word."""
    if not pa.types.is_boolean(column.type):
        return to_numpy(column, name)
    values = np.empty(len(column), dtype=object)
    values[:] = column.to_pylist()
    return values


def _spelt(values: Array, name: str, data: DataConfig) -> Array:
    """A column of numbers in the ways that people and programs write them."""
    texts = [value for value in values if isinstance(value, str)]
    if not texts:
        return values
    if {text.strip().lower() for text in texts} <= set(TRUTHS):
        spelt = [None if text is None else TRUTHS[text.strip().lower()] for text in values]
        return np.array(spelt, dtype=object)
    return plain_numbers(values, name, data.decimal, data.thousands)


@contextmanager
def rows_of(source: str) -> Iterator[None]:
    """A block in which every InputError begins with where the rows come from."""
    if ":" not in source and not Path(expanded(source)).exists():
        raise InputError(f"{source}: no such file")
    try:
        yield
    except InputError as error:
        text = str(error).removeprefix("data.source: ").removeprefix(f"{source} ")
        raise InputError(f"{source}: {text}") from None


def examples_of(
    raw: dict[str, Array], labels: Array | None, network: Network, named: str
) -> Examples:
    """Columns in memory, and labels of the column `named`, as a network takes them."""
    rows, names = _rows(raw, network)
    return Examples(rows, names, None if labels is None else _labels(labels, named, network))


def answers(network: Network, rows: Any) -> list[Any]:
    """What the network answers for rows, as labels of it."""
    if isinstance(network, LayeredNetwork) or network.preprocessing is not None:
        found: list[Any] = network.predict(rows).tolist()
        return found
    scores = network.decision_function(rows)
    if scores.ndim == 1:
        return np.where(scores > 0.0, 1, -1).tolist()
    return scores.argmax(axis=1).tolist()


def _rows(
    raw: dict[str, Array], network: Network
) -> tuple[dict[str, Array] | Array, tuple[str, ...]]:
    if isinstance(network, LayeredNetwork) or network.preprocessing is None:
        return matrix_of(raw, network.d), tuple(raw)
    layout = network.preprocessing.layout
    numeric = [column.name for column in layout.kept if column.categories is None]
    return layout.read(raw), tuple(numeric)


def matrix_of(raw: dict[str, Array], d: int) -> Array:
    """Columns of numbers as rows (n, d); InputError, with what is wrong, for others."""
    if len(raw) != d:
        raise InputError(
            f"has {len(raw)} columns beside the labels, but the network reads {d} "
            f"(columns: {tables.shorten(raw, 6)})"
        )
    columns = []
    for name, values in raw.items():
        columns.append(tables.to_numbers(values, name))
        tables.refuse_bad_values(columns[-1], name, "refuse")
    return np.stack(columns, axis=1)


def _label_column(column: Any, name: str) -> Array:
    """Labels as they stand; None where one is missing."""
    if isinstance(column, np.ndarray):
        values = column
    elif pa.types.is_boolean(column.type):
        values = _values(column, name)
    else:
        values = without_nan(to_labels(column, name))
    return tables.without_words(values, tables.MISSING_WORDS)


def _labels(values: Array, name: str, network: Network) -> tuple[Any, ...]:
    """Labels as the network's own, found by what they say: 1, 1.0 and "1" are one label."""
    absent = np.array([tables.is_missing(value) for value in values])
    if absent.any():
        raise InputError(
            f"the label '{name}' is missing in {tables.rows_text(np.flatnonzero(absent))}"
        )
    known = classes_of(network)
    place: dict[Any, int] = {}
    for row, value in enumerate(values):
        if value in place:
            continue
        same = place_of(value, known)
        if same is None:
            whole = isinstance(value, float) and value.is_integer()
            shown = tables.brief(int(value) if whole else value)
            raise InputError(
                f"row {row + 1} has the label {shown} in '{name}'; the network knows "
                f"{tables.shorten(map(tables.brief, known), 10)}"
            )
        place[value] = same
    return tuple(known[place[value]] for value in values)


def place_of(value: Any, known: tuple[Any, ...]) -> int | None:
    """Which label a value is: the one that is written so, else the one of its number; None: none.

    A network may have "007" and "x" for labels, while a file with "007" alone holds numbers.
    """
    kind = object if isinstance(value, str) else None
    (number,) = labels_of(np.asarray([value], dtype=kind))
    written = [str(label) for label in known]
    for text in (str(value), str(number)):
        if text in written:
            return written.index(text)
    if number in known:
        return known.index(number)
    return next((k for k, label in enumerate(known) if same_label(label, plain(value))), None)


def classes_of(network: Network) -> tuple[Any, ...]:
    """The labels that a network answers with; InputError where it predicts a number."""
    if isinstance(network, LayeredNetwork):
        return tuple(range(max(network.outputs, 2)))
    if network.preprocessing is not None:
        if network.preprocessing.classes is None:
            raise InputError("the network predicts a number, no label")
        return network.preprocessing.classes
    return (-1, 1) if network.alpha.ndim == 1 else tuple(range(network.alpha.shape[1]))
