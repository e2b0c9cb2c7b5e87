"""`qnn bell`: verdicts of a Parquet file as a Parquet file, certificates, one line on bad input."""

import shlex
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from pipeline.commands.cli import app
from pipeline.studies.bell.behaviours import read_behaviours
from pipeline.studies.bell.rows import behaviours_of
from qnn.certificates.moments import MomentCertificate, verify_moments
from qnn.errors import InputError
from qnn.moments.bell import decide, probabilities, sample, train_predictor


def coordinates_file(folder: Path, b: np.ndarray) -> Path:
    file = folder / "b.parquet"
    pq.write_table(pa.table({f"c{k}": column for k, column in enumerate(b.T)}), file)
    return file


def test_verdicts_and_certificates(tmp_path: Path) -> None:
    b = sample("B", 9000, 1)  # more than one block
    out = tmp_path / "verdicts.parquet"
    arguments = ["bell", str(coordinates_file(tmp_path, b)), "--out", str(out)]
    result = CliRunner().invoke(app, [*arguments, "--certificates", "5"])
    assert result.exit_code == 0, result.output
    table = pq.read_table(out)
    decision = decide(b)
    assert np.array_equal(behaviours_of(table), b)
    assert table["row"].to_pylist() == list(range(9000))
    assert table["verdict"].to_pylist() == decision.verdict.tolist()
    assert f"{(decision.verdict == 'outside').sum():,} outside" in result.output
    place = tmp_path / "verdicts.certificates"
    files = sorted(place.iterdir())
    assert len(files) == 5
    command = shlex.split(result.output.splitlines()[-1].partition(": ")[2])
    assert command == ["qnn", "verify", str(place)]
    verified = CliRunner().invoke(app, command[1:])
    assert verified.exit_code == 0
    assert "5 files, all verified" in verified.output
    for file in files:
        certificate, row = MomentCertificate.load(file), int(file.stem)
        verify_moments(certificate, b[row], exact=True)
        assert certificate.claim == decision.verdict[row]


def test_certificates_of_an_earlier_run_are_not_taken_for_new_ones(tmp_path: Path) -> None:
    out, place = tmp_path / "out.parquet", tmp_path / "out.certificates"
    arguments = ["bell", str(coordinates_file(tmp_path, sample("B", 30, 1))), "--out", str(out)]
    place.mkdir()
    assert CliRunner().invoke(app, [*arguments, "--certificates", "5"]).exit_code == 0
    before = {file: file.read_bytes() for file in [out, *place.iterdir()]}
    assert len(before) == 6
    again = CliRunner().invoke(app, [*arguments, "--level", "1", "--certificates", "3"])
    assert isinstance(again.exception, InputError)
    assert "exists and is no empty folder" in str(again.exception)
    assert {file: file.read_bytes() for file in [out, *place.iterdir()]} == before


def test_where_nothing_is_decided_nothing_is_told_to_be_verified(tmp_path: Path) -> None:
    b = sample("B", 400, 1)
    opened = decide(b, fallback=None, steps=1).verdict == "inconclusive"
    file = coordinates_file(tmp_path, b[np.flatnonzero(opened)[:2]])
    arguments = ["bell", str(file), "--fallback", "none", "--steps", "1", "--certificates", "2"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    assert result.output.splitlines()[-1] == "no certificates: nothing is decided"
    assert "verify" not in result.output


def test_lists_and_another_scenario(tmp_path: Path) -> None:
    b = sample("U", 20, 1, "3322")
    flat = pa.FixedSizeListArray.from_arrays(pa.array(b.reshape(-1)), b.shape[1])
    pq.write_table(pa.table({"id": pa.array(["x"] * 20), "b": flat}), tmp_path / "b.parquet")
    arguments = ["bell", str(tmp_path / "b.parquet"), "--scenario", "3322", "--level", "1"]
    result = CliRunner().invoke(app, [*arguments, "--fallback", "none", "--steps", "1"])
    verdict = decide(b, "3322", "1", fallback=None, steps=1).verdict
    assert result.exit_code == 0
    assert f"{(verdict == 'inside').sum()} inside" in result.output
    assert [path.name for path in tmp_path.iterdir()] == ["b.parquet"]


def refused(folder: Path, table: pa.Table | None, *more: str) -> str:
    file = folder / "bad.parquet"
    if table is not None:
        pq.write_table(table, file)
    result = CliRunner().invoke(
        app, ["bell", str(file), "--out", str(folder / "out.parquet"), *more]
    )
    assert isinstance(result.exception, InputError)
    assert not (folder / "out.parquet").exists()
    assert "\n" not in str(result.exception)
    return str(result.exception)


def table_of(b: np.ndarray) -> pa.Table:
    return pa.table({f"c{k}": column for k, column in enumerate(b.T)})


def test_bad_input_is_a_line(tmp_path: Path) -> None:
    b = sample("U", 20, 1)
    assert refused(tmp_path, None).endswith("bad.parquet: no such file")
    (tmp_path / "bad.parquet").write_bytes(b"no parquet")
    assert "not a sound Parquet file" in refused(tmp_path, None)
    text_file = tmp_path / "rows.csv"
    text_file.write_text("c\n1\n")
    with pytest.raises(InputError, match=r"rows\.csv: CSV is not read here: .*to_parquet\("):
        read_behaviours(text_file, "2222")
    with pytest.raises(InputError, match=r"none\.csv: no such file"):
        read_behaviours(tmp_path / "none.csv", "2222")
    assert "has no rows" in refused(tmp_path, table_of(b[:0]))
    assert "has 7 numbers a row; scenario 2222 takes 8" in refused(tmp_path, table_of(b[:, :7]))
    b[17, 4] = 1.5
    assert "behaviour 17 (the first is 0): it is not a distribution" in refused(
        tmp_path, table_of(b)
    )
    b[17, 4] = np.nan
    assert "behaviour 17 (the first is 0): it has a number" in refused(tmp_path, table_of(b))
    text = pa.table({"c": pa.array(["a", "b"])})
    assert "column 'c' holds no numbers" in refused(tmp_path, text)
    missing = pa.table({"c": pa.array([1.0, None])})
    assert "column 'c' has missing values" in refused(tmp_path, missing)
    ragged = pa.table({"b": pa.array([[1.0], [1.0, 2.0, 3.0]])})
    assert "its lists have different lengths" in refused(tmp_path, ragged)
    none = pa.table({"b": pa.array([[1.0], None])})
    assert "none missing" in refused(tmp_path, none)


@pytest.mark.parametrize(("option", "value"), [("--level", "5"), ("--scenario", "2")])
def test_an_unknown_name_is_a_line(tmp_path: Path, option: str, value: str) -> None:
    said = refused(tmp_path, table_of(sample("U", 3, 1)), option, value)
    assert repr(value) in said


def test_a_folder_that_is_not_there_is_a_line(tmp_path: Path) -> None:
    file = coordinates_file(tmp_path, sample("U", 3, 1))
    result = CliRunner().invoke(app, ["bell", str(file), "--out", str(tmp_path / "no" / "x")])
    assert "its folder does not exist" in str(result.exception)


def test_a_network_saves_steps_and_decides_the_same(tmp_path: Path) -> None:
    b = sample("N", 300, 1)
    file, out = coordinates_file(tmp_path, b), tmp_path / "out.parquet"
    arguments = ["bell", str(file), "--out", str(out), "--certificates", "3"]
    result = CliRunner().invoke(app, [*arguments, "--model", "shipped"])
    assert result.exit_code == 0, result.output
    table, cold = pq.read_table(out), decide(b)
    assert table["verdict"].to_pylist() == cold.verdict.tolist()
    assert sum(table["steps"].to_pylist()) < 0.5 * cold.steps.sum()
    assert len(list((tmp_path / "out.certificates").iterdir())) == 3


def test_a_network_of_another_level_or_none_is_a_line(tmp_path: Path) -> None:
    network = tmp_path / "level_1.npz"
    train_predictor("2222", "1", 2, 0, (4,)).save(network)
    (tmp_path / "text.npz").write_text("no network")
    table = table_of(sample("U", 3, 1))
    assert "trained for 'free moments of 2222 at level 1'" in refused(
        tmp_path, table, "--model", str(network)
    )
    for file, said in (("text.npz", "not a readable network file"), ("no.npz", "cannot be read")):
        assert said in refused(tmp_path, table, "--model", str(tmp_path / file))
    assert "no network is shipped for scenario 2222 at level 1" in refused(
        tmp_path, table, "--model", "shipped", "--level", "1"
    )


def test_tables_that_signal_or_do_not_sum_to_one_are_a_line(tmp_path: Path) -> None:
    p = probabilities(sample("U", 3, 1)).reshape(3, -1)
    p[1, 0] += 0.1
    assert "behaviour 1 (the first is 0): its probabilities do not sum to 1" in refused(
        tmp_path, table_of(p)
    )
    p[1] = [0.25] * 4 + [0.5, 0.0, 0.5, 0.0] + [0.25] * 8
    assert "behaviour 1 (the first is 0): it signals" in refused(tmp_path, table_of(p))
    large = table_of(np.zeros((1, 99)))
    assert "too large" in refused(tmp_path, large, "--scenario", "9922", "--level", "3")


def test_places_are_looked_at_before_anything_is_decided(tmp_path: Path) -> None:
    file = coordinates_file(tmp_path, sample("U", 3, 1))
    before = file.read_bytes()
    (tmp_path / "taken.certificates").write_text("a file")
    (tmp_path / "folder").mkdir()
    for out, more, said in (
        (file, (), "is the behaviours' file itself"),
        (tmp_path / "folder", (), "is a folder"),
        (tmp_path / "taken.parquet", ("--certificates", "1"), "is no empty folder"),
    ):
        result = CliRunner().invoke(app, ["bell", str(file), "--out", str(out), *more])
        assert isinstance(result.exception, InputError)
        assert said in str(result.exception)
    assert file.read_bytes() == before
    assert not (tmp_path / "taken.parquet").exists()
