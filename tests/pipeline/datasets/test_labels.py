"""Class labels in files: which are numbers, which are one, and which label of a network each is."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import qnn
from pipeline.configuration.settings import DataConfig
from pipeline.datasets.examples import examples_of, read_examples
from pipeline.datasets.sources import Table, read_table
from pipeline.datasets.spellings import without_nan
from qnn.errors import InputError
from qnn.features.preprocessing import FeatureLayout


def csv_of(folder: Path, labels: list[Any]) -> str:
    path = folder / "t.csv"
    rows = "".join(f"{k % 7}.5,{label}\n" for k, label in enumerate(labels))
    path.write_text(f"a,target\n{rows}")
    return str(path)


def parquet_of(folder: Path, labels: Any) -> str:
    table = pa.table({"a": np.arange(len(labels)) + 0.5, "target": labels})
    pq.write_table(table, folder / "t.parquet")
    return str(folder / "t.parquet")


def read(source: str, **options: Any) -> Table:
    return read_table(DataConfig(source=source, **options))


@pytest.mark.parametrize(
    ("written", "labels"),
    [
        (["1", "2", "10"], [1, 2, 10]),
        (["1", "1.0", "2", " 2", "+2.00"], [1, 1, 2, 2, 2]),
        (["0.5", ".5", "1"], [0.5, 0.5, 1.0]),
        (["0", "-0.0", "1"], [0, 0, 1]),
        (["00", "01", "02"], [0, 1, 2]),
        (["1e3", "2E3", "1E+3"], [1000, 2000, 1000]),
        (["01", "1", "2"], ["01", "1", "2"]),
        (["1e3", "1000", "7"], ["1e3", "1000", "7"]),
        (["9007199254740993", "9007199254740992"],) * 2,
        (["9007199254740993", "5"],) * 2,
        (["9007199254740992", "5"], [9007199254740992, 5]),
        (["1e-400", "0"],) * 2,
        (["inf", "1"],) * 2,
        (["1e999", "-inf"],) * 2,
        (["Nan", "Bob"],) * 2,
    ],
)
def test_labels_are_numbers_where_these_tell_as_much(
    tmp_path: Path, written: list[str], labels: list[Any]
) -> None:
    table = read(csv_of(tmp_path, written))
    found = table.target.tolist()
    assert found == labels
    assert list(map(type, found)) == list(map(type, labels))
    layout = FeatureLayout.from_table(table.columns)
    assert table.classes == tuple(sorted(set(labels)))
    layout.fit(table.columns, table.target, table.classes).to_json()


@pytest.mark.parametrize("word", ["NAN", " Nan", "+nan"])
def test_a_nan_however_spelt_is_a_missing_target(tmp_path: Path, word: str) -> None:
    source = csv_of(tmp_path, ["1", word, "0", "1"])
    with pytest.raises(InputError, match=r"'target' is missing in 1 row \(first: row 2\)"):
        read(source)
    assert read(source, missing_target="drop").target.tolist() == [1, 0, 1]
    kept = np.array(["1", None, "x", word], dtype=object)
    assert without_nan(kept) is kept


def test_whole_numbers_of_parquet_stay_apart(tmp_path: Path) -> None:
    wide = [2**53, 2**53 + 1, 2**53]
    assert read(parquet_of(tmp_path, wide)).classes == ("9007199254740992", "9007199254740993")
    assert read(parquet_of(tmp_path, [2**60, 3, 2**60])).classes == (3, 2**60)
    number = read_table(DataConfig(source=parquet_of(tmp_path, [2**53 + 2, 5])), task="regression")
    assert number.target.tolist() == [2.0**53 + 2.0, 5.0]


def network(*classes: Any) -> qnn.QuantizedNetwork:
    columns = {"a": np.arange(6.0)}
    labels = np.array([classes[k % len(classes)] for k in range(6)], dtype=object)
    prepared = FeatureLayout.from_table(columns).fit(columns, labels, classes)
    U = np.ones((2, len(classes)), dtype=np.int8)
    alpha = np.ones(2) if len(classes) == 2 else np.eye(len(classes))
    return qnn.QuantizedNetwork(
        U[:, : len(alpha)], U[:, : len(alpha)], alpha, preprocessing=prepared
    )


@pytest.mark.parametrize(
    ("classes", "written", "labels"),
    [
        (("007", "x"), ["007", "007"], ["007", "007"]),
        (("01", "1"), ["1", "1.0", "01"], ["1", "1", "01"]),
        (("1000", "1e3"), ["1e3", "1e3"], ["1e3", "1e3"]),
        ((1, 2), ["01", "1", "2.0"], [1, 1, 2]),
        ((0.5, 1.0), ["0.50", "1"], [0.5, 1.0]),
        (("1", "x"), ["1", "1.0"], ["1", "1"]),
        ((False, True), ["true", "0", "False"], [True, False, False]),
    ],
)
def test_a_label_is_found_as_it_stands_or_by_its_number(
    tmp_path: Path, classes: tuple[Any, ...], written: list[str], labels: list[Any]
) -> None:
    found = read_examples(csv_of(tmp_path, written), network(*classes)).labels
    assert found == tuple(labels)
    assert list(map(type, found)) == list(map(type, labels))


@pytest.mark.parametrize(
    ("classes", "column", "labels"),
    [
        (("false", "true"), [True, False], ("true", "false")),
        ((False, True), [True, False], (True, False)),
        ((0, 1), [True, False], (1, 0)),
        (("1", "x"), [1.0, 1.0], ("1", "1")),
        (("9007199254740992", "9007199254740993"), [2**53 + 1], ("9007199254740993",)),
    ],
)
def test_labels_of_parquet_are_found(
    tmp_path: Path, classes: tuple[Any, ...], column: list[Any], labels: tuple[Any, ...]
) -> None:
    found = read_examples(parquet_of(tmp_path, column), network(*classes)).labels
    assert found == labels


def test_labels_in_memory_are_found() -> None:
    labels = np.array([1, 0, 1], dtype=object)
    found = examples_of({"a": np.arange(3.0)}, labels, network(0, 1), "target").labels
    assert found == (1, 0, 1)


@pytest.mark.parametrize(
    ("written", "said"),
    [
        (["x", "08"], "row 2 has the label '08' in 'target'; the network knows '007', 'x'"),
        (["x", "nan"], r"the label 'target' is missing in 1 row \(first: row 2\)"),
        (["7", "NAN"], r"the label 'target' is missing in 1 row \(first: row 2\)"),
    ],
)
def test_other_labels_are_refused(tmp_path: Path, written: list[str], said: str) -> None:
    with pytest.raises(InputError, match=said):
        read_examples(csv_of(tmp_path, written), network("007", "x"))
