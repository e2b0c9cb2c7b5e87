"""Rows of plain numbers from files of each kind."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.datasets.numbers import read_rows
from qnn.errors import InputError


def test_a_file_without_rows_is_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.ones((0, 3)))
    (tmp_path / "a.csv").write_text("a,b\n")
    pq.write_table(pa.table({"a": pa.array([], pa.float64())}), tmp_path / "a.parquet")
    for suffix in ("npy", "csv", "parquet"):
        with pytest.raises(InputError, match=rf"a\.{suffix}: has no rows"):
            read_rows(tmp_path / f"a.{suffix}")


def test_a_first_line_of_numbers_is_no_names(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("1.5,-2e3\n3,4\n")
    with pytest.raises(InputError, match="its first line holds numbers: put a line of names"):
        read_rows(tmp_path / "a.csv")
