import datetime
import gzip
import os
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.fs
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import datasets

from pipeline.configuration.settings import DataConfig
from pipeline.datasets.embedded import EMBEDDED, read_embedded
from pipeline.datasets.sources import Table, read_table
from qnn.errors import InputError

DATA = Path(__file__).parents[2] / "data"


def read(source: object, **options: Any) -> Table:
    task, group = options.pop("task", "classification"), options.pop("group", None)
    return read_table(DataConfig(source=str(source), **options), group, task)


def csv_file(folder: Path, text: str, name: str = "t.csv") -> Path:
    path = folder / name
    path.write_text(text)
    return path


GOOD = "a,b,site,target\n1,x,s1,no\n2.5,y,s2,yes\n-3e2,x,s1,no\n"


def test_csv_numbers_categories_groups(tmp_path: Path) -> None:
    table = read(csv_file(tmp_path, GOOD), group="site")
    assert (table.name, table.n, list(table.columns)) == ("t", 3, ["a", "b"])
    assert table.columns["a"].tolist() == [1, 2.5, -300]
    assert table.columns["b"].tolist() == ["x", "y", "x"]
    assert table.target.tolist() == ["no", "yes", "no"]
    assert table.classes == ("no", "yes")
    assert table.groups is not None
    assert table.groups.tolist() == ["s1", "s2", "s1"]
    assert read(csv_file(tmp_path, GOOD), positive="no").classes == ("yes", "no")


@pytest.mark.parametrize("name", EMBEDDED)
def test_embedded_sets_are_those_of_scikit_learn(name: str) -> None:
    bunch = getattr(datasets, f"load_{name}")()
    columns = read_embedded(name)
    target = columns.pop("target")
    assert list(columns) == [str(feature) for feature in bunch.feature_names]
    np.testing.assert_array_equal(np.column_stack(list(columns.values())), bunch.data)
    expected = bunch.target
    if name in ("breast_cancer", "iris", "wine"):
        expected = bunch.target_names[bunch.target]
    assert target.tolist() == expected.tolist()


def test_embedded_sets_without_their_files_come_from_the_loader(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    usual = read("sklearn:breast_cancer")
    monkeypatch.setattr("pipeline.datasets.embedded._path", lambda name: None)
    assert read("sklearn:breast_cancer").sha256 == usual.sha256


def test_the_files_that_come_along() -> None:
    shapes = {
        name: (read(DATA / f"{name}.csv").n, len(read(DATA / f"{name}.csv").columns))
        for name in ("ionosphere", "pima", "german_credit")
    }
    assert shapes == {"ionosphere": (351, 34), "pima": (768, 8), "german_credit": (1000, 20)}
    german = read(DATA / "german_credit.csv")
    assert sum(column.dtype == object for column in german.columns.values()) == 13


def test_parquet_csv_and_gzip_with_one_content_have_one_digest(tmp_path: Path) -> None:
    plain = csv_file(tmp_path, GOOD)
    packed = tmp_path / "t.csv.gz"
    packed.write_bytes(gzip.compress(GOOD.encode()))
    columns = {
        "a": [1.0, 2.5, -300.0],
        "b": pa.array(["x", "y", "x"]).dictionary_encode(),
        "site": ["s1", "s2", "s1"],
        "target": ["no", "yes", "no"],
    }
    pq.write_table(pa.table(columns), tmp_path / "t.parquet")
    tables = [read(path, group="site") for path in (plain, packed, tmp_path / "t.parquet")]
    assert len({table.sha256 for table in tables}) == 1
    assert read(plain).sha256 != tables[0].sha256  # there, site is a feature
    assert read(plain.as_uri(), group="site").sha256 == tables[0].sha256


@pytest.mark.parametrize(
    ("old", "new"),
    [("2.5", "2.6"), ("y,", "z,"), ("a,", "A,"), ("s2", "s3"), ("s1,no\n2", "s1,yes\n2")],
)
def test_any_change_of_the_content_changes_the_digest(tmp_path: Path, old: str, new: str) -> None:
    before = read(csv_file(tmp_path, GOOD), group="site").sha256
    assert read(csv_file(tmp_path, GOOD.replace(old, new)), group="site").sha256 != before


def test_the_digest_does_not_know_times(tmp_path: Path) -> None:
    path = csv_file(tmp_path, GOOD)
    before = read(path).sha256
    os.utime(path, (1, 1))
    assert read(path).sha256 == before


@pytest.mark.parametrize("name", ["T.CSV", "t.Csv.GZ", "T.PARQUET", "t.Pq"])
def test_endings_are_told_in_any_case_alone_and_in_a_folder(tmp_path: Path, name: str) -> None:
    plain = csv_file(tmp_path, GOOD)
    file = tmp_path / "folder" / name
    file.parent.mkdir()
    if name.lower().endswith((".parquet", ".pq")):
        pq.write_table(pa.csv.read_csv(plain), file)
    else:
        content = GOOD.encode()
        file.write_bytes(gzip.compress(content) if name.lower().endswith(".gz") else content)
    assert read(file).sha256 == read(plain).sha256
    assert read(file.parent).sha256 == read(plain).sha256


def test_a_folder_of_csv_files_is_one_table(tmp_path: Path) -> None:
    folder = tmp_path / "all"
    for site, text in (("a", "x;target\n1,5;yes\n2,5;no\n"), ("b", "target;x\nno;?\nyes;4\n")):
        (folder / f"site={site}").mkdir(parents=True)
        (folder / f"site={site}" / "part.csv").write_text(text)
    (folder / "_notes.csv").write_text("not,a;table\n")
    data = DataConfig(source=str(folder), decimal=",", missing_values=("?",), missing="impute")
    table = read_table(data)
    assert list(table.columns["x"][:2]) == [1.5, 2.5]
    assert np.isnan(table.columns["x"][2])
    assert list(table.columns["site"]) == ["a", "a", "b", "b"]
    assert list(table.target) == ["yes", "no", "no", "yes"]
    (folder / "site=b" / "part.csv").write_text("other\n1\n")
    with pytest.raises(InputError, match=r"site=b/part\.csv and site=a/part\.csv have diff"):
        read_table(data)
    # Beside Parquet files, CSV files are notes.
    pq.write_table(pa.table({"x": [1.0, 2.0], "target": ["u", "v"]}), folder / "part.parquet")
    assert list(read_table(data).target) == ["u", "v"]


def test_a_folder_is_read_in_the_order_of_its_paths(tmp_path: Path) -> None:
    def part(name: str, values: list[float]) -> None:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        pq.write_table(pa.table({"a": values, "target": ["n", "y"][: len(values)]}), path)

    part("site=b/0.parquet", [5.0, 6.0])
    part("site=a/1.parquet", [3.0, 4.0])
    part("site=a/0.parquet", [1.0, 2.0])
    part("_temporary/0.parquet", [9.0, 9.0])
    (tmp_path / "notes.txt").touch()
    for source in (tmp_path, tmp_path.as_uri()):
        table = read(source, group="site")
        assert table.columns["a"].tolist() == [1, 2, 3, 4, 5, 6]
        assert table.groups is not None
        assert table.groups.tolist() == ["a", "a", "a", "a", "b", "b"]
    pq.write_table(pa.table({"b": [1.0]}), tmp_path / "site=b" / "1.parquet")
    with pytest.raises(InputError) as error:
        read(tmp_path)
    assert str(error.value) == (
        "data.source: site=b/1.parquet and site=a/0.parquet have different columns: a, b, target"
    )


def test_types_of_parquet_columns(tmp_path: Path) -> None:
    columns = {
        "whole": pa.array([1, None, 3]),
        "flag": [True, False, True],
        "day": [datetime.date(2024, 1, 2), None, datetime.date(2024, 1, 1)],
        "empty": pa.nulls(3),
        "target": [1, 0, 1],
    }
    path = tmp_path / "t.parquet"
    pq.write_table(pa.table(columns), path)
    with pytest.raises(InputError, match=r"column 'day' holds dates \(row 1 '2024-01-02'\)"):
        read(path, missing="impute")
    table = read(path, missing="impute", categorical=("day",))
    np.testing.assert_array_equal(table.columns["whole"], [1, np.nan, 3])
    assert table.columns["flag"].tolist() == [1, 0, 1]
    assert table.columns["day"].tolist() == ["2024-01-02", None, "2024-01-01"]
    assert np.isnan(table.columns["empty"]).all()
    assert table.classes == (0, 1)
    pq.write_table(pa.table({"a": [[1], [2]], "target": [0, 1]}), path)
    with pytest.raises(
        InputError, match=r"^column 'a' holds list<.*>; only numbers, text and dates"
    ):
        read(path)


def test_a_late_text_value_is_seen_beyond_any_first_block(tmp_path: Path) -> None:
    rows = "".join(f"{k},{k % 2}\n" for k in range(200_000))
    path = csv_file(tmp_path, f"a,target\n{rows}oops,1\n")
    with pytest.raises(InputError, match="column 'a' looks numeric, but row 200001 holds 'oops'"):
        read(path)


def test_declared_columns(tmp_path: Path) -> None:
    path = csv_file(tmp_path, "code,b,target\n1,?,0\n2, 3 ,1\n1,4,1\n")
    table = read(path, categorical=("code",), missing_values=("?",), missing="impute")
    assert table.columns["code"].tolist() == ["1", "2", "1"]
    np.testing.assert_array_equal(table.columns["b"], [np.nan, 3, 4])
    assert list(read(path, features=("code",)).columns) == ["code"]
    assert list(read(path, exclude=("b",)).columns) == ["code"]
    assert table.classes == (0, 1)


def test_quoted_cells_and_a_byte_order_mark(tmp_path: Path) -> None:
    path = csv_file(tmp_path, '\ufeff"a, b","c\nd",target\n1,"x\ny",0\n2,"z",1\n')
    table = read(path)
    assert list(table.columns) == ["a, b", "c\nd"]
    assert table.columns["c\nd"].tolist() == ["x\ny", "z"]


def test_regression_targets(tmp_path: Path) -> None:
    path = csv_file(tmp_path, "a,target\n1,0.5\n2,7\n3,1e3\n")
    table = read(path, task="regression")
    assert table.target.tolist() == [0.5, 7, 1000]
    assert table.classes is None
    for text, expected in [
        ("a,target\n1,5\n2,5\n", "the target 'target' is the same in all rows: nothing to learn"),
        (
            "a,target\n1,5\n2,x\n",
            "column 'target' should be numeric, but row 2 holds 'x'; correct it, or set task: "
            "classification if it is a label",
        ),
    ]:
        with pytest.raises(InputError) as error:
            read(csv_file(tmp_path, text), task="regression")
        assert str(error.value) == expected


BAD = [
    ("", {}, "data.source: t.csv is empty"),
    ("a,target\n", {}, "data.source: t.csv has no rows"),
    ("a,a,target\n1,2,3\n", {}, "duplicate column names: a; rename or remove one of each"),
    ("a,b\n1,2\n", {}, "data.target: no column 'target' in the data (columns: a, b)"),
    ("a,target\n1,0\n", {"features": ("z",)},
     "data.features: no column 'z' in the data (columns: a, target)"),
    ("a,target\n1,0\n", {"exclude": ("z",)},
     "data.exclude: no column 'z' in the data (columns: a, target)"),
    ("a,target\n1,0\n", {"categorical": ("z",)},
     "data.categorical: no column 'z' in the data (columns: a, target)"),
    ("a,target\n1,0\n", {"group": "site"},
     "shards.column: no column 'site' in the data (columns: a, target)"),
    ("a,target\n1,0\n", {"exclude": ("a",)},
     "data: no feature columns are left; check features and exclude"),
    ("a,target\n1,0\n2,0\n", {},
     "the target 'target' has one class (0); two or more are needed"),
    ("a,target\n" + "".join(f"1,{k}.5\n" for k in range(101)), {},
     "the target 'target' has 101 classes (0.5, 1.5, 2.5, 3.5, 4.5, … 96 more); at most 100 are "
     "supported; set task: regression if it is a quantity"),
    ("a,target\n1,x\n2,y\n", {"positive": "z"},
     "data.positive: 'z' is no label of 'target' (labels: 'x', 'y')"),
    ("a,target\n1,x\n2,\n3,y\n", {},
     "the target 'target' is missing in 1 row (first: row 2); fill it, or set "
     "data.missing_target to drop to leave such rows out"),
    ("a,target\n1,0\n,1\nNA,1\n", {},
     "column 'a' has missing values in 2 rows (first: row 2); fill them, or set missing to impute"),
    ("a,site,target\n1,x,0\n2,,1\n", {"group": "site", "missing": "impute"},
     "shards.column: 'site' is missing in 1 row (first: row 2); fill it, or choose another column"),
    ("a,target\n1,0\ninf,1\n", {"missing": "impute"},
     "column 'a' has infinite values in 1 row (first: row 2); correct or remove them"),
    ("a,target\n1,0\n2,1\n?,1\n", {},
     "column 'a' looks numeric, but row 3 holds '?'; correct it, list it in data.missing_values, "
     "or list all categorical columns in data.categorical"),
    ("a,b,target\n1,x,0\n2,y,1\n", {"categorical": ()},
     "column 'b' should be numeric, but row 1 holds 'x'; correct it, or list the column in "
     "data.categorical"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "options", "expected"), BAD)
def test_bad_data_is_one_line(
    tmp_path: Path, text: str, options: dict[str, Any], expected: str
) -> None:
    with pytest.raises(InputError) as error:
        read(csv_file(tmp_path, text), **options)
    assert str(error.value) == expected


def test_a_column_of_ids_is_refused(tmp_path: Path) -> None:
    rows = "".join(f"id{k},{k % 2}\n" for k in range(101))
    with pytest.raises(InputError) as error:
        read(csv_file(tmp_path, f"a,target\n{rows}"))
    assert str(error.value) == (
        "column 'a' has 101 categories, at most 100 are supported; list it in data.exclude"
    )


def test_sources_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "t.txt").touch()
    (tmp_path / "bad.parquet").write_bytes(b"PAR1 nothing of the kind")
    csv_file(tmp_path, "a,target\n1,2,3\n", "ragged.csv")
    cases = [
        ("no.csv", "data.source: no such file or folder: no.csv (looked beside the config and in "
         f"{tmp_path})"),
        (f"{tmp_path}/no.csv", f"data.source: no such file or folder: {tmp_path}/no.csv"),
        ("empty", "data.source: empty holds no Parquet or CSV files (.parquet, .csv)"),
        ("t.txt", "data.source: t.txt is neither a folder nor a file named *.csv, .csv.gz, "
         ".csv.bz2, .parquet, .pq"),
        ("sklearn:moons", "data.source: sklearn:moons is not known (known: breast_cancer, iris, "
         "wine, digits, diabetes)"),
    ]  # fmt: skip
    for source, expected in cases:
        with pytest.raises(InputError) as error:
            read(source)
        assert str(error.value) == expected
    for source in ("bad.parquet", "ragged.csv", "gopher://x/t.csv"):
        with pytest.raises(InputError, match=r"^data\.source: .* cannot be read: ") as error:
            read(source)
        assert "\n" not in str(error.value)


def test_files_whose_types_do_not_go_together_are_named(tmp_path: Path) -> None:
    columns: list[Any] = [[None, None], [1.5, 2.0], [1, 2], ["x", "y"]]
    for k, values in enumerate(columns):
        table = pa.table({"b": ["u", "v"], "a": values, "target": [0, 1]})
        pq.write_table(table, tmp_path / f"part-{k}.parquet")
    said = (
        "data.source: column 'a' holds string in part-3.parquet, but double in part-1.parquet; "
        "write it as one type in all files"
    )
    with pytest.raises(InputError) as error:
        read(str(tmp_path))
    assert str(error.value) == said
    (tmp_path / "part-3.parquet").unlink()
    assert read(str(tmp_path), missing="impute").n == 6


def test_secrets_in_a_uri_are_not_repeated() -> None:
    with pytest.raises(InputError) as error:
        read("nofs://user:canary@host/t.csv?secret_key=canary")
    assert "canary" not in str(error.value)


cells = st.floats(allow_nan=False, allow_infinity=False)


@settings(deadline=None, max_examples=30)
@given(values=st.lists(cells, min_size=2, max_size=20))
def test_csv_and_memory_agree_to_the_last_bit(
    tmp_path_factory: pytest.TempPathFactory, values: list[float]
) -> None:
    rows = "".join(f"{value!r},{k % 2}\n" for k, value in enumerate(values))
    path = csv_file(tmp_path_factory.mktemp("csv"), f"a,target\n{rows}")
    np.testing.assert_array_equal(read(path).columns["a"], values)


def test_arrow_reads_text_from_memory_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its threads would need the interpreter, where it has ended, to let go of Python's."""
    given = []
    reads = pa.csv.read_csv

    def watched(source: Any, **options: Any) -> Any:
        given.append(source)
        return reads(source, **options)

    monkeypatch.setattr(pa.csv, "read_csv", watched)
    assert read(csv_file(tmp_path, "a,target\n1,x\n2,y\n")).n == 2
    (source,) = given
    assert isinstance(source, pa.BufferReader)
    source.seek(0)
    # Bytes of Python's could not be changed.
    assert source.read_buffer().parent.is_mutable
