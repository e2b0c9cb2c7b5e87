"""Parquet as batches: the same rows in the same order as often as asked."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.datasets.batches import parquet_batches
from qnn.errors import InputError
from qnn.training.problems.problem import Problem
from qnn.training.relaxation.streaming.solve import solve_stream


@pytest.fixture
def table() -> pa.Table:
    rng = np.random.default_rng(0)
    columns = {f"x{j}": rng.normal(size=500) for j in range(3)}
    columns["count"] = np.arange(500)
    columns["y"] = columns["x0"] * columns["x1"] + rng.normal(size=500)
    return pa.table({**columns, "name": ["a"] * 500})


def test_file_and_folder_give_the_rows_in_order(tmp_path, table):
    pq.write_table(table, tmp_path / "one.parquet")
    folder = tmp_path / "many"
    folder.mkdir()
    for index in range(5):
        pq.write_table(table.slice(100 * index, 100), folder / f"part-{index}.parquet")
    names = ["x2", "x0", "count"]
    X = np.column_stack([table[name].to_numpy() for name in names])
    for path in (tmp_path / "one.parquet", folder):
        batches = parquet_batches(str(path), names, "y", batch_rows=64)
        for _ in range(2):
            blocks = list(batches())
            assert max(len(y) for _, y in blocks) <= 64
            np.testing.assert_array_equal(np.vstack([block for block, _ in blocks]), X)
            np.testing.assert_array_equal(
                np.concatenate([y for _, y in blocks]), table["y"].to_numpy()
            )


def test_a_solve_over_parquet(tmp_path, table):
    pq.write_table(table, tmp_path / "t.parquet")
    relaxed = solve_stream(parquet_batches(str(tmp_path / "t.parquet"), ["x0", "x1"], "y"), 10.0)
    X = np.column_stack([table["x0"].to_numpy(), table["x1"].to_numpy()])
    assert relaxed.outcome == "solved"
    assert relaxed.certificate.data_sha256 == Problem(X, table["y"].to_numpy(), 1.0).data_sha256


def test_bad_columns_are_named(tmp_path, table):
    path = str(tmp_path / "t.parquet")
    pq.write_table(table, path)
    with pytest.raises(InputError, match="has no column 'z'"):
        parquet_batches(path, ["x0", "z"], "y")
    with pytest.raises(InputError, match="column 'name' is not numeric"):
        parquet_batches(path, ["x0", "name"], "y")
    with pytest.raises(InputError, match="cannot be read as Parquet"):
        parquet_batches(str(tmp_path / "none.parquet"), ["x0"], "y")
