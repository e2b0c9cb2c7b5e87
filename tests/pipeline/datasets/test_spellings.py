"""Files as offices write them: separators, decimal marks, encodings, index columns, dates."""

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.configuration.settings import DataConfig
from pipeline.datasets.sources import Table, read_table
from qnn.errors import InputError


def read(folder: Path, content: str | bytes, **options: Any) -> Table:
    path = folder / "t.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_table(DataConfig(source=str(path), **options))


@pytest.mark.parametrize("mark", [";", "\t", "|", ","])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_separators_and_encodings_are_found(tmp_path: Path, mark: str, encoding: str) -> None:
    text = f"größe{mark} ort {mark}target\n1.5{mark}Zürich{mark}no\n2{mark}Genève{mark}yes\n"
    table = read(tmp_path, text.encode(encoding))
    assert table.columns["größe"].tolist() == [1.5, 2.0]
    assert table.columns["ort"].tolist() == ["Zürich", "Genève"]


def test_a_byte_order_mark_is_no_letter_also_where_the_encoding_is_told(tmp_path: Path) -> None:
    content = "ort,target\nBern,no\nBasel,yes\n".encode("utf-8-sig")
    assert list(read(tmp_path, content, encoding="utf-8").columns) == ["ort"]


def test_the_sign_that_quotes_can_be_told(tmp_path: Path) -> None:
    table = read(tmp_path, "ort,target\n'Bern, West',no\nBasel,yes\n", quote="'")
    assert table.columns["ort"].tolist() == ["Bern, West", "Basel"]


def test_latin_1_is_read_and_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    content = "ort;target\nZürich;no\nGenève;yes\n".encode("latin-1")
    with caplog.at_level(logging.INFO):
        table = read(tmp_path, content)
    assert table.columns["ort"].tolist() == ["Zürich", "Genève"]
    assert "is not UTF-8" in caplog.text
    with pytest.raises(InputError, match=r"is not utf-8 in line 2; set data\.encoding"):
        read(tmp_path, content, encoding="utf-8")
    with pytest.raises(InputError, match=r"data\.encoding: 'klingon' is not known"):
        read(tmp_path, content, encoding="klingon")


@pytest.mark.parametrize(
    ("cells", "numbers"),
    [
        (["72,51", "25,25", "106,1"], [72.51, 25.25, 106.1]),
        (["1.072,51", "25,2", "7"], [1072.51, 25.2, 7.0]),
        (["1'072.51", "25", "12'000"], [1072.51, 25.0, 12000.0]),
        (["1,072.50", "25,000", "7"], [1072.5, 25000.0, 7.0]),
        (["1\u00a0072,5", "-3,25", ""], [1072.5, -3.25, np.nan]),
    ],
)
def test_decimal_commas_and_grouped_digits_are_numbers(
    tmp_path: Path, cells: list[str], numbers: list[float]
) -> None:
    rows = "".join(f'"{cell}",{k % 2}\n' for k, cell in enumerate(cells))
    table = read(tmp_path, f"a,target\n{rows}", missing="impute")
    np.testing.assert_array_equal(table.columns["a"], numbers)


def test_a_comma_that_may_be_either_mark_asks_for_a_key(tmp_path: Path) -> None:
    text = 'a,target\n"1,234",0\n"5,678",1\n'
    with pytest.raises(
        InputError, match=r"looks like numbers with a comma, row 1 '1,234': set data\.decimal"
    ):
        read(tmp_path, text)
    assert read(tmp_path, text, decimal=",").columns["a"].tolist() == [1.234, 5.678]
    assert read(tmp_path, text, thousands=",").columns["a"].tolist() == [1234.0, 5678.0]


def test_a_spoilt_column_of_decimal_commas_is_no_category(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"column 'a' looks numeric, but row 3 holds 'n/v'"):
        read(tmp_path, "a;target\n72,51;0\n25,25;1\nn/v;1\n")


def test_lines_above_the_header_and_comments(tmp_path: Path) -> None:
    assert read(tmp_path, "# made by x\n# y\na,target\n1,0\n2,1\n").n == 2
    assert read(tmp_path, "a,target\n1,0\n% no\n2,1\n", comment="%").n == 2


def test_a_ragged_file_says_what_it_looks_like(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="looks separated by ';', but line 3 has 2 cells"):
        read(tmp_path, "a;b;target\n1;2;0\n1;2\n3;4;1\n")


@pytest.mark.parametrize("mark", [",", ";", "\t"])
def test_a_title_above_the_header_is_said_with_what_to_do(tmp_path: Path, mark: str) -> None:
    rows = "a,b,target\n1,2,0\n3,4,1\n"
    text = f"Report 2024\n\nmade by x\n{rows}".replace(",", mark)
    said = "line 4 has 3 cells, line 1 has 1: a title above the header.*set data.comment"
    with pytest.raises(InputError, match=said):
        read(tmp_path, text)
    assert (
        read(tmp_path, text.replace("Rep", "% Rep").replace("made", "% made"), comment="%").n == 2
    )


@pytest.mark.parametrize("above", ["", "# made by x\n\n", "sep=,\n"])
def test_a_ragged_row_is_told_by_its_line_in_the_file(tmp_path: Path, above: str) -> None:
    text = f'{above}a,target\n"1\n",0\n\n2,1,5\n3,1\n'
    head = above.count("\n") + 1
    said = (
        f"t.csv cannot be read: line {head + 4} has 3 cells, the header in line {head} has 2; cor"
    )
    with pytest.raises(InputError, match=said):
        read(tmp_path, text)


def test_comment_lines_count_as_lines(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="line 5 has 1 cell, the header in line 2 has 2"):
        read(tmp_path, "%\na,target\n%\n1,0\n2\n3,1\n", comment="%")


def test_a_header_with_too_few_names_is_no_title(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="line 2 has 3 cells, the header in line 1 has 2; correct"):
        read(tmp_path, "a,target\n1,0,4\n2,1,5\n")


def test_signs_that_python_takes_for_ends_of_lines_are_text(tmp_path: Path) -> None:
    assert read(tmp_path, "ort;target\nA\u2028B;0\nC\x0b;1\nA\x85;1\n").n == 3


@pytest.mark.parametrize("name", ["", "Unnamed: 0", "__index_level_0__"])
def test_a_column_that_counts_the_rows_is_left_out(
    tmp_path: Path, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    table = read(tmp_path, f"{name},a,target\n0,5,x\n1,7,y\n2,6,x\n")
    assert list(table.columns) == ["a"]
    assert "only counts the rows" in caplog.text
    kept = read(tmp_path, f"{name},a,target\n4,5,x\n1,7,y\n2,6,x\n")
    assert list(kept.columns) == [name, "a"]


@pytest.mark.parametrize("day", ["2024-01-05", "05.01.2024", "2024-01-05T10:00:00Z"])
def test_dates_are_refused_with_the_key_to_set(tmp_path: Path, day: str) -> None:
    text = f"a,day,target\n1,{day},0\n2,{day},1\n"
    with pytest.raises(InputError, match=r"column 'day' holds dates .* data\.exclude"):
        read(tmp_path, text)
    assert list(read(tmp_path, text, exclude=("day",)).columns) == ["a"]


def test_the_first_date_is_shown_with_its_row(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"'day' holds dates \(row 2 '2024-01-05'\)"):
        read(tmp_path, "a,day,target\n1,,0\n2,2024-01-05,1\n", missing="impute")


def test_columns_without_names_are_told_from_no_columns(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"column names: '' \(columns without a name\); rename"):
        read(tmp_path, "a,,,target\n1,5,7,0\n2,6,8,1\n")


def test_no_row_with_a_target_is_said(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"^no row has a target \('target'\): nothing to learn$"):
        read(tmp_path, "a,target\n1,\n2,\n", missing_target="drop")


def test_rows_without_a_target(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    text = "a,target\n1,yes\n2,\n3,no\n"
    with pytest.raises(InputError, match=r"target 'target' is missing in 1 row .*missing_target"):
        read(tmp_path, text, missing="impute")
    assert read(tmp_path, text, missing_target="drop").columns["a"].tolist() == [1.0, 3.0]
    assert "left out 1 row (first: row 2) without a target" in caplog.text


def test_labels_that_differ_in_case_are_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    read(tmp_path, "a,target\n1,Yes\n2,yes \n3,no\n")
    assert "'Yes' and 'yes ' differ only in case or blanks" in caplog.text


def test_a_hive_columns_name_is_decoded(tmp_path: Path) -> None:
    for site in ("a", "b"):
        (tmp_path / f"Gr%C3%B6%C3%9Fe={site}").mkdir()
        pq.write_table(
            pa.table({"a": [1.0, 2.0], "target": [0, 1]}),
            tmp_path / f"Gr%C3%B6%C3%9Fe={site}" / "0.parquet",
        )
    assert set(read_table(DataConfig(source=str(tmp_path))).columns) == {"a", "Größe"}


def test_a_hive_column_that_the_files_have_is_theirs(tmp_path: Path) -> None:
    for site in ("a", "b"):
        folder = tmp_path / f"my%20col={site}" / "n=1" / "n=2"
        folder.mkdir(parents=True)
        part = pa.table({"my col": [1.0, 2.0], "target": [0, 1]})
        pq.write_table(part, folder / "0.parquet")
    columns = read_table(DataConfig(source=str(tmp_path))).columns
    assert columns["my col"].tolist() == [1.0, 2.0] * 2
    assert columns["n"].tolist() == [1.0] * 4


def test_hive_folders_are_decoded(tmp_path: Path) -> None:
    for k, site in enumerate(["Gen%C3%A8ve%2F2", "a%3Db", "__HIVE_DEFAULT_PARTITION__"]):
        (tmp_path / f"site={site}").mkdir()
        part = pa.table({"a": [1.0 * k, 2.0], "target": [0, 1]})
        pq.write_table(part, tmp_path / f"site={site}" / "part-0.parquet")
    table = read_table(DataConfig(source=str(tmp_path), missing="impute"))
    assert set(table.columns["site"]) == {"Genève/2", "a=b", None}
    with pytest.raises(InputError, match=r"they are site=__HIVE_DEFAULT_PARTITION__: rename it or"):
        read_table(DataConfig(source=str(tmp_path)), "site")
    (tmp_path / "site=a%3Db" / "part-0.parquet").write_bytes(b"PAR1 broken")
    with pytest.raises(InputError, match=r"site=a%3Db/part-0\.parquet cannot be read"):
        read_table(DataConfig(source=str(tmp_path)))
