"""Parquet files as batches of rows for the streaming solver and verifier."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from pipeline.logs.messages import one_line
from qnn.errors import InputError

Batch = tuple[np.ndarray, np.ndarray]


def parquet_batches(
    path: str, columns: Sequence[str], target: str, batch_rows: int = 65_536
) -> Callable[[], Iterator[Batch]]:
    """A function that reads (X, y) blocks of a Parquet file or folder anew, in the files' order.

    Parameters
    ----------
    path : a file or a folder.
    columns : the numeric features, in X's order (d of them).
    target : the numeric target column.
    batch_rows : the most rows of a block.

    Raises
    ------
    InputError : no such data, or a column that is missing or not numeric.
    """
    try:
        dataset = ds.dataset(path, format="parquet")
        schema = dataset.schema
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"{path}: cannot be read as Parquet: {one_line(error)}") from None
    for name in (*columns, target):
        if name not in schema.names:
            raise InputError(f"{path}: has no column {name!r}")
        kind = schema.field(name).type
        if not (pa.types.is_integer(kind) or pa.types.is_floating(kind)):
            raise InputError(f"{path}: column {name!r} is not numeric (it is {kind})")

    def read() -> Iterator[Batch]:
        for fragment in dataset.get_fragments():
            with pq.ParquetFile(fragment.path, filesystem=fragment.filesystem) as file:
                for group in range(file.num_row_groups):
                    yield from _blocks(file, group, columns, target, batch_rows)

    return read


def _blocks(
    file: pq.ParquetFile, group: int, columns: Sequence[str], target: str, batch_rows: int
) -> Iterator[Batch]:
    """One row group at a time: readers of whole data sets read ahead, and grow with the file."""
    wanted = [*columns, target]
    for batch in file.iter_batches(batch_rows, row_groups=[group], columns=wanted):
        # By name: Parquet gives columns in the file's order.
        X = np.empty((batch.num_rows, len(columns)))
        for index, name in enumerate(columns):
            X[:, index] = _numbers(batch.column(name))
        yield X, _numbers(batch.column(target))


def _numbers(column: pa.Array) -> np.ndarray:
    """Float64; nulls become NaN, which `qnn.numerics.batches` refuses."""
    return np.asarray(column.to_numpy(zero_copy_only=False), dtype=np.float64)
