"""The shard as the solver saw it, as Parquet: columns x0 … x{d−1} and y, float64."""

import re
from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.logs.messages import one_line

BLOCK_ROWS = 65_536


def data_table(X: np.ndarray, y: np.ndarray) -> pa.Table:
    """Return X (n×d) and y (n, or n×C) as columns x0 … x{d−1} and y (y0 … y{C−1})."""
    columns = {f"x{j}": np.ascontiguousarray(X[:, j], dtype="<f8") for j in range(X.shape[1])}
    if y.ndim == 1:
        columns["y"] = np.ascontiguousarray(y, dtype="<f8")
    else:
        for k in range(y.shape[1]):
            columns[f"y{k}"] = np.ascontiguousarray(y[:, k], dtype="<f8")
    return pa.table(columns)


def blocks_of(path: str) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """X and y of a data file on this machine, so many rows at a time.

    Raises `FileNotFoundError`, or `ValueError` where it is no data file.
    """
    try:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(BLOCK_ROWS):
                yield matrices(pa.Table.from_batches([batch]))
    except FileNotFoundError:
        raise
    except (pa.ArrowException, OSError) as error:
        raise ValueError(f"{path}: not a sound Parquet file ({one_line(error)})") from error


def matrices(table: pa.Table) -> tuple[np.ndarray, np.ndarray]:
    """Return X (n×d) and y (n, or n×C) of a data file; `ValueError` where it is none."""
    names = table.schema.names
    inputs = [name for name in names if re.fullmatch(r"x\d+", name)]
    outputs = [name for name in names if re.fullmatch(r"y\d*", name)]
    expected = [f"x{j}" for j in range(len(inputs))]
    targets = ["y"] if outputs == ["y"] else [f"y{k}" for k in range(len(outputs))]
    if names != expected + targets or not inputs or not outputs:
        raise ValueError("not a data file: its columns must be x0, x1, … and then y or y0, y1, …")
    if any(field.type != pa.float64() for field in table.schema):
        raise ValueError("not a data file: its columns must be float64")
    if any(table[name].null_count for name in names):
        raise ValueError("not a data file: it has empty cells")
    X = np.empty((table.num_rows, len(inputs)))
    for j, name in enumerate(inputs):
        X[:, j] = table[name].to_numpy()
    y = np.column_stack([table[name].to_numpy() for name in outputs])
    return X, y[:, 0].copy() if outputs == ["y"] else y
