"""Quotes that nothing closes, and cells longer than Python's reader takes by itself."""

import csv
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.configuration.settings import DataConfig
from pipeline.datasets.sources import Table, read_table
from qnn.errors import InputError


@pytest.fixture(autouse=True)
def _limit() -> Iterator[None]:
    """The limit that a process begins with."""
    before = csv.field_size_limit(131_072)
    yield
    csv.field_size_limit(before)


def read(folder: Path, text: str) -> Table:
    (folder / "t.csv").write_text(text)
    return read_table(DataConfig(source=str(folder / "t.csv")))


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ('a,"target\n1,x\n2,y\n', 1),
        ('a,target\n1,x\n2,y\n3,"x', 4),
        ('a,target\n1,x\n2,y\n3,"', 4),
        ('a,target\n1,"x\n2,y\n3,x\n', 2),
        ('a,b,target\n1,u,x\n2,"v,y\n3,u,x\n', 3),
        ('a;b;target\n1;u;x\n2;"v;y\n3;u;x\n', 3),
        ('# made by x\na,target\n1,x\n2,"y\n2"\n3,"\n3\n3', 6),
        ('a,b,target\n1,u,x\n2,"v,y\n3,' + "u\n" * 70_000, 3),
        ('a;b;target\n1;u;x\n2;"v;y\n3;' + "u\n" * 70_000, 3),
    ],
)
def test_a_quote_that_is_left_open_is_told_by_its_line(
    tmp_path: Path, text: str, line: int
) -> None:
    with pytest.raises(InputError) as error:
        read(tmp_path, text)
    assert str(error.value) == (
        f'data.source: t.csv cannot be read: a quote (") is opened in line {line} and not closed; '
        "close it, or set data.quote to another sign"
    )


def test_a_sign_within_a_cell_opens_nothing(tmp_path: Path) -> None:
    table = read(tmp_path, 'a,b,target\n1,5" pipe,x\n2,"""v"" w",y\n')
    assert table.columns["b"].tolist() == ['5" pipe', '"v" w']


@pytest.mark.parametrize("mark", [",", ";"])
@pytest.mark.parametrize("size", [140_000, 3_000_000])
def test_a_long_cell_is_read(tmp_path: Path, mark: str, size: int) -> None:
    rows = ["a,b,target", "1,u,x", f"2,{'v' * size},y"]
    table = read(tmp_path, "\n".join(rows).replace(",", mark))
    assert table.columns["b"].tolist() == ["u", "v" * size]


def test_a_higher_limit_stays(tmp_path: Path) -> None:
    csv.field_size_limit(1_000_000)
    read(tmp_path, f"a,target\n1,x\n2,{'y' * 140_000}\n")
    assert csv.field_size_limit() == 1_000_000
