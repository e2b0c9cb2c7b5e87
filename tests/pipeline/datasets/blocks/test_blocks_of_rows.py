"""Blocks are of rows, however they lie in files; faults of the data and the store are one line."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.datasets.blocks import row_groups
from pipeline.datasets.blocks.reader import BlockTable, Reading
from pipeline.datasets.blocks.row_groups import RowGroups, RowReader
from pipeline.datasets.blocks.statistics import (
    StatisticsPass,
    fit,
    merge_tables,
)
from pipeline.datasets.blocks.targets import TargetReading
from pipeline.sweeps.cluster.block_actors import TableBlocks
from qnn.certificates.blockwise import verify_blocks
from qnn.errors import CertificateError, InputError
from qnn.features.preprocessing import FeatureLayout, Preprocessing
from qnn.training.relaxation.blocks.solve import first_pass, solve_blocks

N = 3000


def table() -> pa.Table:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(N, 4)) * [1.0, 10.0, 0.1, 1.0] + [0.0, 1000.0, 0.0, 0.0]
    y = X[:, 0] * (X[:, 1] - 1000.0) / 10.0 + X[:, 3] ** 2 + 0.2 * rng.normal(size=N)
    columns = {f"x{j}": X[:, j] for j in range(4)}
    return pa.table({**columns, "same": np.ones(N), "c": rng.choice(list("abc"), N), "y": y})


TABLE = table()


def one_file(folder: Path, rows: pa.Table = TABLE) -> str:
    pq.write_table(rows, folder / "one.parquet")
    return str(folder / "one.parquet")


def many_files(folder: Path, count: int = 60) -> str:
    (folder / "many").mkdir()
    cuts = [N * k // count for k in range(count + 1)]
    for k in range(count):
        part = TABLE.slice(cuts[k], cuts[k + 1] - cuts[k])
        pq.write_table(part, folder / "many" / f"{k:04d}.parquet", row_group_size=17)
    return str(folder / "many")


def fitted(source: str, count: int = 5) -> TableBlocks:
    groups = RowGroups.of(source)
    blocks = TableBlocks(BlockTable.of(groups, groups.columns, count))
    return prepared(blocks)


def prepared(blocks: TableBlocks) -> TableBlocks:
    found = blocks.reduce(StatisticsPass("y", False), merge_tables)
    preprocessing = fit(found, "y", None)
    blocks.reading = Reading(preprocessing, TargetReading("y", preprocessing.target))
    return blocks


def solved(blocks: TableBlocks) -> list[bytes]:
    assert blocks.reading is not None
    first = first_pass(blocks)
    relaxed = solve_blocks(blocks, 0.1 * first.beta_max, first=first)
    bytes_of = relaxed.certificate.to_bytes()
    return [blocks.reading.preprocessing.to_json().encode(), bytes_of, relaxed.P.tobytes()]


def test_one_file_or_many_give_the_same_bits(tmp_path):
    assert solved(fitted(one_file(tmp_path))) == solved(fitted(many_files(tmp_path)))


def test_rows_can_be_read_from_anywhere(tmp_path):
    groups = RowGroups.of(many_files(tmp_path))
    reader = RowReader(groups, groups.columns)
    x0, c = (np.asarray(TABLE[name].to_pylist()) for name in ("x0", "c"))
    for first, last in ((0, 10), (10, 400), (2990, 3000), (399, 401), (0, 3000), (17, 18)):
        pieces = list(reader.rows(first, last))
        np.testing.assert_array_equal(np.concatenate([p["x0"] for p in pieces]), x0[first:last])
        np.testing.assert_array_equal(np.concatenate([p["c"] for p in pieces]), c[first:last])


def test_hive_partitions_are_columns(tmp_path):
    for site in ("a", "b b"):
        folder = tmp_path / "hive" / f"site={site.replace(' ', '%20')}"
        folder.mkdir(parents=True)
        pq.write_table(TABLE.slice(0, 50), folder / "part.parquet")
    groups = RowGroups.of(f"file://{tmp_path}/hive")
    assert groups.rows == 100
    pieces = list(RowReader(groups, groups.columns).rows(40, 60))
    assert [*np.concatenate([p["site"] for p in pieces])] == ["a"] * 10 + ["b b"] * 10


def test_the_preprocessing_is_that_of_the_whole_table(tmp_path):
    ours = fitted(one_file(tmp_path), 7).reading
    assert ours is not None
    features = {name: TABLE[name].to_numpy() for name in TABLE.column_names if name != "y"}
    theirs = FeatureLayout.from_table(features).fit(features, TABLE["y"].to_numpy())
    mine = ours.preprocessing
    assert mine.layout.columns == theirs.layout.columns
    np.testing.assert_allclose(mine.means, theirs.means, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(mine.scales, theirs.scales, rtol=1e-12)
    np.testing.assert_allclose(mine.target.offset, theirs.target.offset, rtol=1e-12)
    again = Preprocessing.from_json(mine.to_json())
    np.testing.assert_array_equal(again.transform(features), mine.transform(features))


def test_one_class_is_learned_against_all_others():
    labels = pa.array(np.array(list("abc"))[np.arange(N) % 3])
    found = StatisticsPass("k", True)(0, lambda: iter([{
        "x": np.arange(N, dtype=float), "k": np.asarray(labels.to_pylist(), dtype=object),
    }]))  # fmt: skip
    with pytest.raises(InputError, match="3 classes: say in data"):
        fit(found, "k", None)
    with pytest.raises(InputError, match="is no label"):
        fit(found, "k", "d")
    coding = fit(found, "k", "b").target
    y = TargetReading("k", coding, "b")(np.array(["a", "b", "c", "b"], dtype=object))
    np.testing.assert_array_equal(y, [-1.0, 1.0, -1.0, 1.0])


@pytest.mark.parametrize(
    ("labels", "positive", "hits"),
    [
        ([0.0, 1.0, 1.0], True, [-1.0, 1.0, 1.0]),
        ([0.0, 1.0, 2.0], 1.0, [-1.0, 1.0, -1.0]),
        ([0.0, 1.0, 2.0], "1", [-1.0, 1.0, -1.0]),
        ([0.5, 1.0, 2.0], "1", [-1.0, 1.0, -1.0]),
        (["true", "false", "true"], True, [1.0, -1.0, 1.0]),
        (["True", "true", "no"], "true", [-1.0, 1.0, -1.0]),
    ],
)
def test_a_class_is_named_as_in_other_studies(labels, positive, hits):
    values = np.array(labels, dtype=object if isinstance(labels[0], str) else float)
    piece = {"x": np.arange(3.0), "k": values}
    coding = fit(StatisticsPass("k", True)(0, lambda: iter([piece])), "k", positive).target
    np.testing.assert_array_equal(TargetReading("k", coding, positive)(values), hits)


def test_a_truth_that_two_classes_are_is_refused():
    piece = {"x": np.arange(3.0), "k": np.array(["True", "true", "no"], dtype=object)}
    found = StatisticsPass("k", True)(0, lambda: iter([piece]))
    with pytest.raises(InputError, match="True may be 'True' or 'true': write it in quotes"):
        fit(found, "k", True)


def _with(name, values):
    return TABLE.set_column(TABLE.column_names.index(name), name, pa.array(values))


@pytest.mark.parametrize(
    ("rows", "classes", "message"),
    [
        (
            _with("x0", [*[1.0] * 2500, None, None, *[1.0] * 498]),
            False,
            "column 'x0' has missing values in 2 rows (first: row 2501); fill them, or set missing "
            "to impute",
        ),
        (
            _with("x0", [*[1.0] * 2500, np.inf, *[1.0] * 499]),
            False,
            "column 'x0' has infinite values in 1 row (first: row 2501); correct or remove them",
        ),
        (
            _with("c", [*["a", "b"] * 1250, None, *["a"] * 499]),
            False,
            "column 'c' has missing values in 1 row (first: row 2501); fill them, or set missing "
            "to impute",
        ),
        (
            _with("y", [*[1.0] * 2500, None, *[2.0] * 499]),
            True,
            "the target 'y' is missing in 1 row (first: row 2501); fill it, or remove such rows",
        ),
        (
            _with("y", [*["a"] * 2500, None, *["b"] * 499]),
            True,
            "the target 'y' is missing in 1 row (first: row 2501); fill it, or remove such rows",
        ),
        (
            _with("y", [*[1.0] * 2500, np.inf, *[2.0] * 499]),
            True,
            "column 'y' has infinite values in 1 row (first: row 2501); correct or remove them",
        ),
    ],
)
def test_rows_are_counted_through_all_blocks(tmp_path, rows, classes, message):
    groups = RowGroups.of(one_file(tmp_path, rows))
    blocks = TableBlocks(BlockTable.of(groups, groups.columns, 5))
    with pytest.raises(InputError) as error:
        blocks.reduce(StatisticsPass("y", classes, cuts=blocks.table.cuts), merge_tables)
    assert str(error.value) == f"block 4: rows 2401 to 3000: {message}"


def test_rows_are_counted_through_the_pieces_of_a_block():
    pieces = [{"x": np.arange(3.0), "y": np.arange(3.0)}, {"x": [1.0, np.nan], "y": [1.0, 2.0]}]
    arrays = [{name: np.asarray(values) for name, values in one.items()} for one in pieces]
    with pytest.raises(InputError, match=r"^block 2: rows 4 to 5: column 'x' .*\(first: row 5\)"):
        StatisticsPass("y", False)(2, lambda: iter(arrays))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.set_column(0, "x0", pa.array([None, *[1.0] * (N - 1)])), "block 0: .*missing"),
        (lambda t: t.set_column(0, "x0", pa.array([*[1.0] * (N - 1), np.inf])), "block 4: .*inf"),
        (
            lambda t: t.set_column(0, "x0", pa.array([1e200, -1e200] * (N // 2))),
            "squares overflow",
        ),
        (lambda t: t.slice(0, 0), "has no rows"),
        (lambda t: t.select(["same", "y"]), "all feature columns are constant"),
    ],
)
def test_bad_columns_are_named(tmp_path, change, message):
    with pytest.raises(InputError, match=message):
        fitted(one_file(tmp_path, change(TABLE)))


def test_bad_sources_are_named(tmp_path):
    with pytest.raises(InputError, match="no such file or folder"):
        RowGroups.of(str(tmp_path / "none.parquet"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="holds no Parquet files"):
        RowGroups.of(str(tmp_path / "empty"))
    (tmp_path / "text.parquet").write_text("no Parquet")
    with pytest.raises(InputError, match=r"text.parquet cannot be read"):
        RowGroups.of(str(tmp_path / "text.parquet"))
    source = many_files(tmp_path)
    pq.write_table(TABLE.select(["x0", "y"]), f"{source}/zzz.parquet")
    with pytest.raises(InputError, match=r"zzz.parquet has other columns: "):
        RowGroups.of(source)


def test_a_block_that_cannot_be_read_is_named(tmp_path):
    source = many_files(tmp_path)
    blocks = fitted(source)
    damaged = Path(f"{source}/0030.parquet")
    content = bytearray(damaged.read_bytes())
    content[4:400] = bytes(396)
    damaged.write_bytes(bytes(content))
    with pytest.raises(InputError, match=r"^block 2: .*row group 0 of .*0030.parquet cannot be"):
        solved(blocks)
    damaged.unlink()
    with pytest.raises(InputError, match=r"^block 2: .*0030.parquet is not there"):
        solved(blocks)


def test_a_block_that_changes_between_passes_is_found_by_its_hash(tmp_path):
    source = many_files(tmp_path)
    blocks = fitted(source)
    first = first_pass(blocks)
    changed = pq.read_table(f"{source}/0059.parquet")
    values = changed["x3"].to_numpy().copy()
    values[0] += 1e-9
    pq.write_table(changed.set_column(3, "x3", pa.array(values)), f"{source}/0059.parquet")
    with pytest.raises(InputError, match="block 4 has changed between two passes"):
        solve_blocks(blocks, 0.1 * first.beta_max, first=first)


@pytest.mark.parametrize("column", ["x3", "c"])
@pytest.mark.parametrize("keep", [0.0, 1e6])
def test_rows_that_change_after_the_preprocessing_are_found(tmp_path, column, keep):
    source = many_files(tmp_path)
    groups = RowGroups.of(source)
    blocks = TableBlocks(BlockTable.of(groups, groups.columns, 5), keep)
    checksums = blocks.reduce(StatisticsPass("y", False), merge_tables).checksums
    assert len(checksums) == 5
    reading = prepared(blocks).reading
    blocks.reading = replace(reading, checksums=checksums)
    unchanged = TableBlocks(blocks.table, reading=blocks.reading)
    first_pass(unchanged)
    changed = pq.read_table(f"{source}/0037.parquet")
    place = changed.column_names.index(column)
    values = changed[column].to_pylist()
    values[5] = {"a": "b", "b": "c", "c": "a"}[values[5]] if column == "c" else values[5] + 1e-12
    changed = changed.set_column(place, column, pa.array(values))
    pq.write_table(changed, f"{source}/0037.parquet", row_group_size=17)
    with pytest.raises(InputError, match=r"^block 3 has changed since the preprocessing was"):
        first_pass(blocks)


def test_verification_reads_the_blocks_that_the_certificate_lists(tmp_path):
    blocks = fitted(many_files(tmp_path))
    first = first_pass(blocks)
    certificate = solve_blocks(blocks, 0.1 * first.beta_max, first=first).certificate
    groups = RowGroups.of(one_file(tmp_path))
    rows = certificate.arrays()["block_rows"].tolist()
    again = TableBlocks(BlockTable.listed(groups, groups.columns, rows), reading=blocks.reading)
    assert verify_blocks(certificate, again) >= certificate.lower_bound
    with pytest.raises(InputError, match="the data have 3000 rows, not 2400"):
        BlockTable.listed(groups, groups.columns, rows[:-1])
    swapped = one_file(tmp_path, TABLE.take(pa.array([1, 0, *range(2, N)])))
    other = TableBlocks(BlockTable.listed(RowGroups.of(swapped), groups.columns, rows))
    other.reading = blocks.reading
    with pytest.raises(CertificateError, match="block 0 has other rows"):
        verify_blocks(certificate, other)


def test_a_store_that_goes_away_for_a_while_is_waited_for(tmp_path, monkeypatch):
    source = many_files(tmp_path)
    calm = solved(fitted(source))
    waited, calls = [], [0]
    monkeypatch.setattr(row_groups.time, "sleep", waited.append)
    real = row_groups._GroupStream._open

    def flaky(self):
        calls[0] += 1
        if calls[0] % 7 < 3:
            raise OSError("connection reset")
        for number, piece in enumerate(real(self)):
            yield piece
            if calls[0] % 11 == 5 and number == 0:
                raise OSError("connection lost")

    monkeypatch.setattr(row_groups._GroupStream, "_open", flaky)
    assert solved(fitted(source)) == calm
    assert waited

    def gone(self):
        raise OSError("no route to host")
        yield

    monkeypatch.setattr(row_groups._GroupStream, "_open", gone)
    waited.clear()
    with pytest.raises(InputError, match=r"block 0: .*after 7 tries: no route to host"):
        solved(fitted(source))
    assert sum(waited) >= 60.0


def test_blocks_may_stay_in_memory(tmp_path, monkeypatch):
    source = one_file(tmp_path)
    groups = RowGroups.of(source)
    kept = prepared(TableBlocks(BlockTable.of(groups, groups.columns, 5), keep=1e6))
    bits = solved(kept)
    monkeypatch.setattr(row_groups, "open_source", None)
    monkeypatch.setattr(row_groups._GroupStream, "_open", None)
    assert solved(kept) == bits
    monkeypatch.undo()
    assert solved(fitted(source)) == bits
