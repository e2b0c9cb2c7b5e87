"""The contract of a run's folder, over several file systems."""

import errno
import logging
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.fs as pafs
import pytest

from pipeline.plans.studies import get_study, study_names
from pipeline.results.folder import WRITTEN, RunFolder, StoreError, data_file, safe_name
from pipeline.results.ledger import clear_lost, read_results, write_lost, write_results
from pipeline.results.matrices import data_table, matrices
from pipeline.results.record import RESULTS_SCHEMA
from pipeline.retraining.window import INPUT
from pipeline.studies.bell.rows import VERDICTS_FOLDER
from pipeline.studies.quantization.rows import EVIDENCE_FOLDER
from pipeline.sweeps.resume import completed_units
from pipeline.sweeps.under_way import UNDER_WAY
from qnn.errors import InputError


def local(root: Path) -> RunFolder:
    return RunFolder.open(root / "run")


def by_uri(root: Path) -> RunFolder:
    return RunFolder.open((root / "run").as_uri())


def subtree(root: Path) -> RunFolder:
    return RunFolder(pafs.SubTreeFileSystem(str(root), pafs.LocalFileSystem()), "run", "sub://run")


@pytest.fixture(params=[local, by_uri, subtree])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> RunFolder:
    made: RunFolder = request.param(tmp_path)
    made.create()
    return made


def row(path: str = "a" * 16, **values: Any) -> dict[str, Any]:
    return {"trial": "t0", "path": path, "shard": "fold-00", "status": "ok", "gap": 0.5, **values}


def test_a_written_file_is_read_back_and_leaves_nothing_beside_it(folder, tmp_path):
    folder.write("networks/x.npz", b"first")
    folder.write("networks/x.npz", b"second")
    assert folder.read("networks/x.npz") == b"second"
    assert os.listdir(tmp_path / "run" / "networks") == ["x.npz"]
    assert folder.files() == ["networks/x.npz"]
    assert folder.exists("networks/x.npz")
    assert not folder.exists("networks/y.npz")


def test_temporary_names_are_ignored_and_cleaned(folder, tmp_path):
    write_results(folder, "a" * 16, [row()])
    place = tmp_path / "run"
    left = [
        place / "results" / f".{'b' * 16}.parquet.{'0' * 32}.tmp",
        place / f".sweep.yaml.{'a' * 32}.tmp",
    ]
    others = [
        place / ".editor.tmp",
        place / "results" / ".x.parquet.0123.tmp",
        # A run of its own that is being written.
        place / "other" / "results" / f".{'c' * 16}.parquet.{'0' * 32}.tmp",
    ]
    for file in (*left, *others):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"half a fi")
    assert folder.files("results", ".parquet") == [f"results/{'a' * 16}.parquet"]
    assert read_results(folder).num_rows == 1
    assert folder.clean() == 2
    assert not any(file.exists() for file in left)
    assert all(file.exists() for file in others)
    assert folder.clean() == 0


def test_what_a_dead_writer_leaves_is_known_by_its_name(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(RunFolder, "_forget", lambda *_: None)
    for name in ("sweep.yaml", "data/a/b.parquet"):
        (tmp_path / "run" / name).mkdir(parents=True)
        with pytest.raises(StoreError, match="cannot be written"):
            folder.write(name, b"half")
    monkeypatch.undo()
    assert folder.clean() == 2


def test_every_study_writes_where_dead_writers_are_cleaned_up_after():
    places = {place for name in study_names() for place in get_study(name).kept}
    assert {*places, EVIDENCE_FOLDER, VERDICTS_FOLDER, UNDER_WAY, INPUT} == set(WRITTEN)


def test_a_failed_write_leaves_the_old_file_and_no_temporary(tmp_path, monkeypatch):
    class Full(pafs.LocalFileSystem):
        def move(self, source: str, target: str) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

    good = local(tmp_path)
    good.write("report.html", b"old")
    full = RunFolder(Full(), good.root, good.location)
    with pytest.raises(StoreError, match=r"report\.html: cannot be written: .*No space left"):
        full.write("report.html", b"new")
    assert good.read("report.html") == b"old"
    assert os.listdir(good.root) == ["report.html"]


class OneByOne(pafs.LocalFileSystem):
    """Refuses to remove several files in one request, as some S3-compatible servers do."""

    def delete_dir(self, path: str) -> None:
        if os.listdir(path):
            raise OSError("Missing required header for this request: Content-MD5")
        super().delete_dir(path)


@pytest.mark.parametrize("filesystem", [pafs.LocalFileSystem, OneByOne])
def test_a_removed_folder_is_gone_with_all_in_it_and_nothing_else(tmp_path, filesystem):
    folder = RunFolder(filesystem(), str(tmp_path / "run"), "run")
    for name in ("a/b/c.npz", "a/b/.c.tmp", "a/d.json", "a/b/e/f.npz", "ab/stays.json", "g.json"):
        folder.write(f"runs/{name}", b"content")
    folder.remove_folder("runs/a")
    folder.remove_folder("runs/none")
    assert folder.files() == ["runs/ab/stays.json", "runs/g.json"]
    assert sorted(os.listdir(tmp_path / "run" / "runs")) == ["ab", "g.json"]


def test_a_folder_that_cannot_be_removed_is_said(tmp_path):
    class Denied(OneByOne):
        def delete_file(self, path: str) -> None:
            raise OSError(errno.EACCES, "Permission denied")

    folder = RunFolder(Denied(), str(tmp_path / "run"), "run")
    folder.write("runs/a/b.json", b"content")
    with pytest.raises(StoreError, match=r"^run/runs/a: cannot be removed: .*Permission denied"):
        folder.remove_folder("runs/a")
    assert folder.read("runs/a/b.json") == b"content"


def test_a_damaged_file_that_cannot_be_set_aside_is_said(tmp_path):
    class Away(pafs.LocalFileSystem):
        def move(self, source: str, target: str) -> None:
            raise OSError("Could not connect to server")

    good = local(tmp_path)
    good.write("networks/x.npz", b"damaged")
    with pytest.raises(StoreError, match=r"run/networks/x\.npz: cannot be moved: Could not conn"):
        RunFolder(Away(), good.root, good.location).quarantine("networks/x.npz", "damaged")
    assert good.files() == ["networks/x.npz"]


def test_results_come_back_in_their_schema(folder):
    assert read_results(folder).schema == RESULTS_SCHEMA
    write_results(folder, "b" * 16, [row("b" * 16, width=8), row("b" * 16, trial="t1")])
    write_results(folder, "a" * 16, [row(error="x", status="failed", gap=None)])
    table = read_results(folder)
    assert table.schema == RESULTS_SCHEMA
    assert table["path"].to_pylist() == ["a" * 16, "b" * 16, "b" * 16]
    assert table["width"].to_pylist() == [None, 8, None]
    with pytest.raises(ValueError, match="no such result columns: colour"):
        write_results(folder, "c" * 16, [row("c" * 16, colour="red")])


def test_lost_paths_are_rows_until_their_results_come(folder):
    write_lost(folder, "a" * 16, [row(status="failed", error="worker died")])
    assert read_results(folder)["status"].to_pylist() == ["failed"]
    write_results(folder, "a" * 16, [row()])
    assert read_results(folder)["status"].to_pylist() == ["ok"]
    clear_lost(folder)
    assert folder.files("results") == [f"results/{'a' * 16}.parquet"]


@pytest.mark.parametrize("damage", ["cut", "empty", "flip", "foreign", "other path"])
def test_readers_leave_damaged_results_out_and_a_resume_quarantines_them(
    folder, tmp_path, caplog, damage
):
    write_results(folder, "a" * 16, [row(dataset="t")])
    write_results(folder, "b" * 16, [row("b" * 16)])
    file = tmp_path / "run" / "results" / f"{'b' * 16}.parquet"
    content = bytearray(file.read_bytes())
    if damage == "cut":
        content = content[: len(content) // 2]
    elif damage == "empty":
        content = bytearray()
    elif damage == "flip":
        content[content.index(b"fold-00")] ^= 1
    elif damage == "foreign":
        content = bytearray(to_bytes(pa.table({"x0": [1.0]})))
    else:
        content = bytearray(folder.read(f"results/{'a' * 16}.parquet"))
    file.write_bytes(content)
    with caplog.at_level(logging.WARNING):
        table = read_results(folder)
    assert table["path"].to_pylist() == ["a" * 16]
    assert f"results/{'b' * 16}.parquet: " in caplog.text
    assert caplog.text.rstrip().endswith("; left out")
    assert file.read_bytes() == bytes(content)
    with caplog.at_level(logging.WARNING):
        completed_units(folder)
    kept = f"quarantine/results/{'b' * 16}.parquet"
    assert f"kept as {kept}" in caplog.text
    assert folder.read(kept) == bytes(content)
    assert not file.exists()


def to_bytes(table: pa.Table) -> bytes:
    import pyarrow.parquet as pq

    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    return bytes(sink.getvalue())


def test_paths_cannot_leave_the_folder(folder):
    for path in ("../x", "a/../../x", "/etc/passwd"):
        with pytest.raises(InputError, match="leaves the run's folder"):
            folder.read(path)


def test_shard_names_become_one_component():
    assert data_file("wdbc", "site=a/../b") == "data/wdbc/site=a%2F..%2Fb.parquet"
    assert data_file("..", ".hid") == "data/%2E./%2Ehid.parquet"
    assert safe_name("é") == "%C3%A9"
    names = ["a b", "a%20b", "a/b", "a_b", ".", "..", ""]
    assert len({safe_name(name) for name in names}) == len(names)


def test_names_too_long_for_a_file_are_cut_and_stay_apart(folder):
    letter = "\N{CYRILLIC SMALL LETTER ZHE}"
    for dataset, shard in (("x" * 255, "y" * 209), (63 * letter, 90 * letter), ("%" * 86, "s")):
        place = data_file(dataset, shard)
        folder.write_table(place, data_table(np.ones((2, 1)), np.ones(2)))
        assert folder.files("data") == [place]
        folder.remove(place)
    assert data_file("x" * 255, "y" * 209) == f"data/{'x' * 255}/{'y' * 209}.parquet"
    assert data_file(42 * letter, "a") == f"data/{42 * '%D0%B6'}/a.parquet"
    cut = [safe_name(90 * letter + end) for end in ("", "a", "b")]
    assert len(set(cut)) == 3
    for length in range(17, 30):
        for name in (90 * letter, "a" + 90 * letter, "ab" + 90 * letter):
            short = safe_name(name, length)
            assert re.fullmatch(r"(ab?)?(%[0-9A-F]{2})*-[0-9a-f]{16}", short), short
            assert len(short) <= length


def test_an_unknown_uri_is_an_input_error():
    with pytest.raises(InputError, match="nonsense://x: not a folder that pyarrow can open"):
        RunFolder.open("nonsense://x")
    with pytest.raises(InputError) as caught:
        RunFolder.open("nonsense://user:hunter22@x")
    assert "hunter22" not in str(caught.value)


def test_data_files_hold_the_matrix_bit_for_bit(folder):
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((7, 12)), rng.standard_normal(7)
    folder.write_table("data/a/b.parquet", data_table(X, y))
    read_X, read_y = matrices(folder.read_table("data/a/b.parquet"))
    assert np.array_equal(read_X, X)
    assert np.array_equal(read_y, y)
    Y = rng.standard_normal((7, 2))
    assert np.array_equal(matrices(data_table(X, Y))[1], Y)


@pytest.mark.parametrize(
    "table",
    [
        pa.table({"x0": [1.0], "x2": [1.0], "y": [1.0]}),
        pa.table({"y": [1.0], "x0": [1.0]}),
        pa.table({"x0": [1.0]}),
        pa.table({"x0": [1], "y": [1.0]}),
        pa.table({"x0": [1.0], "y": [1.0], "z": [1.0]}),
        pa.table({"x0": pa.array([None], pa.float64()), "y": [1.0]}),
    ],
)
def test_other_tables_are_no_data_files(table):
    with pytest.raises(ValueError, match="not a data file"):
        matrices(table)


def test_tables_are_read_without_threads_of_arrow(tmp_path: Path) -> None:
    """One that still holds Python's bytes while the interpreter ends aborts the process."""
    code = (
        "import os, sys\n"
        "from pipeline.results.folder import RunFolder, decode_table\n"
        "def threads(): return len(os.listdir('/proc/self/task'))\n"
        "folder = RunFolder.open(sys.argv[1])\n"
        "content = folder.read('results/a.parquet')\n"
        "before = threads()\n"
        "rows = decode_table(content, 'a').num_rows\n"
        "print(rows, threads() - before)\n"
    )
    folder = RunFolder.open(str(tmp_path))
    folder.write_table("results/a.parquet", RESULTS_SCHEMA.empty_table())
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True
    )
    assert done.stdout.split() == ["0", "0"], done.stderr
