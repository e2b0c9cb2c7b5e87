"""Partitions: their order, their digests, what is not looked at, and how they are joined."""

import hashlib
import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.retraining.partitions import (
    beside,
    in_order,
    join,
    list_partitions,
    read_partition,
)
from qnn.errors import InputError
from tests.pipeline.retraining.arriving import arrive, rows


def test_numbers_in_names_are_ordered_by_size() -> None:
    names = ["day-10", "day-9", "2026-01-02", "2025-12-31", "day-9b", "day-09"]
    assert sorted(names, key=in_order) == [
        *("2025-12-31", "2026-01-02", "day-09", "day-9", "day-9b", "day-10"),
    ]


def test_a_digest_is_that_of_the_bytes_and_time_stamps_do_not_matter(tmp_path: Path) -> None:
    file = arrive(tmp_path, "a.csv", seed=1)
    (before,) = list_partitions(str(tmp_path))
    assert before.digest == hashlib.sha256(file.read_bytes()).hexdigest()
    assert before.size == file.stat().st_size
    os.utime(file, (1, 1))
    assert list_partitions(str(tmp_path)) == [before]
    file.write_bytes(file.read_bytes() + b" ")
    assert list_partitions(str(tmp_path))[0].digest != before.digest


def test_a_folder_of_parquet_files_is_one_partition(tmp_path: Path) -> None:
    arrive(tmp_path, "day=1/part-0.parquet", seed=1, count=10)
    arrive(tmp_path, "day=1/part-1.parquet", seed=2, count=20)
    arrive(tmp_path, "day=2/part-0.parquet", seed=3, count=5)
    one, two = list_partitions(tmp_path.as_uri())
    assert (one.name, two.name) == ("day=1", "day=2")
    table = read_partition(tmp_path.as_uri(), one.name)
    assert table.num_rows == 30
    assert table["day"].unique().to_pylist() == ["1"]
    (tmp_path / "day=1" / "part-1.parquet").unlink()
    again, same = list_partitions(str(tmp_path))
    assert again.digest != one.digest
    assert same == two


def test_work_in_progress_is_not_looked_at(tmp_path: Path) -> None:
    arrive(tmp_path, "1.parquet")
    for name in ("_temporary/0.parquet", ".2.parquet"):
        arrive(tmp_path, name)
    (tmp_path / "notes.txt").write_text("x")
    assert [one.name for one in list_partitions(str(tmp_path))] == ["1.parquet"]


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("{}/nothing", "holds no partitions"),
        ("{}/1.csv", "is one file; retrain needs a folder"),
        ("sklearn:breast_cancer", "never changes; retrain needs a folder"),
    ],
)
def test_no_partitions_is_one_line(tmp_path: Path, source: str, message: str) -> None:
    arrive(tmp_path, "1.csv")
    with pytest.raises(InputError, match=message) as caught:
        list_partitions(source.format(tmp_path))
    assert "\n" not in str(caught.value)


def test_partitions_that_do_not_fit_together_are_named() -> None:
    table = rows(5, 0)
    with pytest.raises(InputError, match="partitions b and a have different columns: c, e"):
        join([("a", table), ("b", table.rename_columns(["a", "b", "e", "d", "y", "target"]))])
    text = table.set_column(0, "a", table["a"].cast(pa.string()))
    with pytest.raises(InputError, match=r"different types .*cannot be mixed"):
        join([("a", table), ("b", text)])


def test_columns_may_come_in_another_order_and_wider(tmp_path: Path) -> None:
    table = pa.table({"a": pa.array([1, 2], pa.int32()), "b": [1.0, 2.0]})
    other = pa.table({"b": [3.0], "a": pa.array([3], pa.int64())})
    assert join([("x", table), ("y", other)]).to_pydict() == {"a": [1, 2, 3], "b": [1.0, 2.0, 3.0]}
    pq.write_table(table, tmp_path / "x y%.parquet")
    assert read_partition(tmp_path.as_uri(), "x y%.parquet").num_rows == 2


def test_a_uris_query_stays_at_its_end() -> None:
    assert beside("s3://b/x/?region=eu", "a b.csv") == "s3://b/x/a%20b.csv?region=eu"
    assert beside("/x/", "a b.csv") == "/x/a b.csv"
