"""Parquet files as batches of rows for the streaming solver and verifier."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds

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
        raise InputError(f"{path}: cannot be read as Parquet: {_one_line(error)}") from None
    for name in (*columns, target):
        if name not in schema.names:
            raise InputError(f"{path}: has no column {name!r}")
        kind = schema.field(name).type
        if not (pa.types.is_integer(kind) or pa.types.is_floating(kind)):
            raise InputError(f"{path}: column {name!r} is not numeric (it is {kind})")

    def read() -> Iterator[Batch]:
        # Ahead-of-time reading would hold many blocks at once.
        scanner = dataset.scanner(
            columns=[*columns, target],
            batch_size=batch_rows,
            batch_readahead=1,
            fragment_readahead=1,
        )
        for batch in scanner.to_batches():
            if batch.num_rows:
                X = np.empty((batch.num_rows, len(columns)))
                for index in range(len(columns)):
                    X[:, index] = _numbers(batch.column(index))
                yield X, _numbers(batch.column(len(columns)))

    return read


def _numbers(column: pa.Array) -> np.ndarray:
    """Float64; nulls become NaN, which `qnn.batches` refuses."""
    return np.asarray(column.to_numpy(zero_copy_only=False), dtype=np.float64)


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:200]
