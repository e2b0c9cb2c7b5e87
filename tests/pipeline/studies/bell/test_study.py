"""A study of Bell scenarios: plan, rows, resume, what verify refuses, bad input, page, MLflow."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rich.console import Console

from pipeline.commands.terminal import print_outcome
from pipeline.configuration.reading import load_config
from pipeline.plans.studies import get_study, study_at
from pipeline.results.folder import RunFolder
from pipeline.results.ledger import read_results
from pipeline.studies.bell.behaviours import axes_of_plane, drawn, plane_grid
from pipeline.studies.bell.figures import planes
from pipeline.studies.bell.nearest import nearest
from pipeline.studies.bell.rows import behaviours_of
from pipeline.studies.bell.summary import contradictions, findings, finished, groups
from pipeline.tracking.store import open_store
from qnn.errors import InputError
from qnn.moments.bell import decide, probabilities, sample
from qnn.moments.words import Scenario
from tests.pipeline.studies.cases import CASES, checks, copied, rows_of, run
from tests.pipeline.tracked import artifacts_of, runs_of

CASE = CASES["bell"]
CHSH = Scenario.parse("2222")


@pytest.fixture
def whole(finished: Callable[[str], Path]) -> Path:
    return finished("bell")


def test_level_one_of_the_plane_is_the_arcsine_condition(whole: Path) -> None:
    rows = finished(read_results(RunFolder.open(whole), get_study("bell").rows))
    found = {plane.title: plane for plane in planes(RunFolder.open(whole), rows)}
    plane = found["2222, level 1, 30 steps"]
    b = plane.places @ np.stack(axes_of_plane(CHSH))
    correlators = b[:, 4:]
    means = b[:, [0, 0, 1, 1]] * b[:, [2, 3, 2, 3]]
    widths = np.sqrt((1.0 - b[:, [0, 0, 1, 1]] ** 2) * (1.0 - b[:, [2, 3, 2, 3]] ** 2))
    with np.errstate(divide="ignore", invalid="ignore"):
        angles = np.arcsin(np.clip((correlators - means) / widths, -1.0, 1.0))
    signs = 1.0 - 2.0 * np.eye(4)
    size = np.abs(angles @ signs).max(axis=1)
    clear = np.isfinite(size) & (np.abs(size - np.pi) > 1e-6)
    decided = plane.verdict != "inconclusive"
    assert (clear & decided).sum() > 0.9 * len(size)
    assert ((size > np.pi) == (plane.verdict == "outside"))[clear & decided].all()
    # The levels differ here, and few steps leave a shell open that more steps close.
    above = found["2222, level 1+AB, 30 steps"].verdict == "outside"
    assert (above & (plane.verdict == "inside")).any()
    shell = [(found[f"2222, level 1+AB, {k} steps"].verdict == "inconclusive").sum()
             for k in (2, 30)]  # fmt: skip
    assert shell[0] > shell[1]


def test_rows_say_what_the_tables_hold(whole: Path) -> None:
    folder, rows = RunFolder.open(whole), rows_of(whole)
    assert len(rows) == 2 * 2 * 3
    assert {row["status"] for row in rows} == {"ok"}
    for row in rows:
        verdict = folder.read_table(row["verdicts"])["verdict"].to_pylist()
        assert [verdict.count(name) for name in ("inside", "outside", "inconclusive")] == [
            row["inside"], row["outside"], row["inconclusive"]
        ]  # fmt: skip
        assert len(row["certificates"]) == row["certified"] == 2
        assert row["refused"] == 0
    assert contradictions(folder, rows) == (0, 60 + len(plane_grid(CHSH, 31)[0]))
    drawn = [row for row in rows if row["set"] == "N"]
    assert len({row["content"] for row in drawn}) == 1


def test_a_contradiction_is_counted(whole: Path, tmp_path: Path) -> None:
    out = copied(whole, tmp_path / "out")
    folder, rows = RunFolder.open(out), rows_of(out)
    row = next(row for row in rows if row["level"] == "1" and row["set"] == "N")
    table = folder.read_table(row["verdicts"])
    other = next(r for r in rows if r["level"] == "1+AB" and r["content"] == row["content"])
    inside = folder.read_table(other["verdicts"])["verdict"].to_pylist().index("inside")
    forged = table["verdict"].to_pylist()
    forged[inside] = "outside"
    column = table.column_names.index("verdict")
    folder.write_table(row["verdicts"], table.set_column(column, "verdict", pa.array(forged)))
    assert contradictions(folder, rows)[0] == 1


def test_verify_proves_everything_again(whole: Path) -> None:
    found = checks(whole)
    assert len(found) == 12 + 24 + 1
    assert all(check.ok and check.proven for check in found.values())
    certificate = next(file for file in found if file.startswith("certificates/"))
    (single,) = study_at(str(whole / certificate)).verify(str(whole / certificate))
    assert single.ok
    assert "gauge" in single.text
    quick = checks(whole, fast=True)
    assert {file for file, check in quick.items() if not check.proven} == {
        file for file in quick if file.startswith("results/")
    }


@pytest.mark.parametrize(
    ("column", "place", "value", "said"),
    [
        ("inside", None, 1, "the row states inside"),
        ("refused", None, 1, "certified"),
        ("steps", None, 31, "verdicts say"),
        ("gauge_upper", "inside", 0.01, "contradict a proof"),
        ("gauge_lower", "outside", 99.0, "contradict a proof"),
        ("verdict", "outside", "inside", "verdicts say"),
        ("behaviour", "inside", [0.0] * 8, "content"),
        ("row", "inside", 7, "not numbered"),
    ],
)
def test_what_is_tampered_with_is_refused(
    whole: Path, tmp_path: Path, column: str, place: str | None, value: Any, said: str
) -> None:
    out = copied(whole, tmp_path / "out")
    folder = RunFolder.open(out)
    row = next(row for row in rows_of(out) if row["set"] == "N" and row["steps"] == 30)
    name = f"results/{row['path']}.parquet"
    target = row["verdicts"] if place or column == "steps" else name
    table = folder.read_table(target)
    values = table[column].to_pylist()
    at = table["verdict"].to_pylist().index(place) if place else 0
    values[at] = value
    kind = table.schema.field(column).type
    where = table.column_names.index(column)
    folder.write_table(target, table.set_column(where, column, pa.array(values, kind)))
    check = checks(out)[name]
    assert not check.ok
    assert said in check.text


def test_a_swapped_verdict_with_its_counts_is_refused(whole: Path, tmp_path: Path) -> None:
    out = copied(whole, tmp_path / "out")
    folder = RunFolder.open(out)
    row = next(row for row in rows_of(out) if row["set"] == "N" and row["steps"] == 30)
    table = folder.read_table(row["verdicts"])
    values = table["verdict"].to_pylist()
    i, j = values.index("inside"), values.index("outside")
    values[i], values[j] = values[j], values[i]
    where = table.column_names.index("verdict")
    folder.write_table(row["verdicts"], table.set_column(where, "verdict", pa.array(values)))
    check = checks(out)[f"results/{row['path']}.parquet"]
    assert not check.ok
    assert "proven again is" in check.text


def test_what_is_dropped_is_missed_and_an_earlier_folder_verifies(
    whole: Path, tmp_path: Path
) -> None:
    out = copied(whole, tmp_path / "out")
    row = rows_of(out)[0]
    gone = [row["verdicts"], f"results/{row['path']}.parquet"]
    for name in gone:
        (out / name).unlink()
    found = checks(out, fast=True)
    assert {"is in the manifest, but the file is missing"} == {found[name].text for name in gone}
    assert found[f"results/{row['path']}"].text == "has 0 rows, the plan expects 1"
    (out / "verdicts" / "foreign.parquet").write_bytes(b"")
    assert not checks(out, fast=True)["verdicts/foreign.parquet"].ok
    (out / "manifest.json").unlink()
    found = checks(out, fast=True)
    assert all(check.ok for check in found.values())
    assert found["manifest.json"].text.startswith("none, so dropped files and rows are not missed")


def test_a_foreign_certificate_is_refused(whole: Path, tmp_path: Path) -> None:
    out = copied(whole, tmp_path / "out")
    row, other = (
        next(r for r in rows_of(out) if r["level"] == level and r["set"] == "N")
        for level in ("1", "1+AB")
    )
    first, second = row["certificates"][0], other["certificates"][0]
    (out / first).write_bytes((out / second).read_bytes())
    (out / second).unlink()
    found = checks(out)
    assert not found[first].ok
    assert "another scenario or level" in found[first].text
    assert not found[second].ok
    assert "missing" in found[second].text


def test_a_certificate_counts_once_and_for_one_row(whole: Path, tmp_path: Path) -> None:
    out = copied(whole, tmp_path / "out")
    folder, (row, other) = RunFolder.open(out), rows_of(out)[:2]
    first, name = row["certificates"][0], f"results/{row['path']}.parquet"
    copy = f"certificates/copy-{first.rpartition('-')[2]}"
    (out / copy).write_bytes((out / first).read_bytes())
    table = folder.read_table(name)
    where = table.column_names.index("certificates")
    for files in ([first, first], [first, copy], [first, other["certificates"][0]]):
        kind = table.schema.field("certificates").type
        changed = table.set_column(where, "certificates", pa.array([files], kind))
        folder.write_table(name, changed)
        check = checks(out, fast=True)[name]
        assert not check.ok
        assert "names a certificate twice, or one of no behaviour" in check.text


def test_a_rerun_takes_up_what_is_there(whole: Path, tmp_path: Path) -> None:
    out = copied(whole, tmp_path / "out")
    before = rows_of(out)
    first, second, third = before[0], before[1], before[2]
    (out / "results" / f"{first['path']}.parquet").unlink()
    (out / second["verdicts"]).unlink()
    (out / third["certificates"][0]).write_bytes(b"torn")
    outcome = run(CASE.file(tmp_path), out)
    assert (outcome.exit_code, outcome.reused_paths) == (0, len(before) - 3)
    assert rows_of(out) == before
    assert all(check.ok for check in checks(out).values())


def test_a_file_of_tables_is_decided(tmp_path: Path) -> None:
    tables = probabilities(sample("N", 50, 3)).reshape(50, -1)
    file = tmp_path / "seen.parquet"
    pq.write_table(pa.table({f"p{k}": column for k, column in enumerate(tables.T)}), file)
    data = {"source": "seen.parquet"}
    outcome = run(CASE.file(tmp_path, data=data, levels=["1+AB"], steps=[30]), tmp_path / "out")
    assert outcome.exit_code == 0
    (row,) = rows_of(tmp_path / "out")
    assert (row["set"], row["seed"], row["count"]) == ("file", None, 50)
    table = RunFolder.open(tmp_path / "out").read_table(row["verdicts"])
    assert np.allclose(behaviours_of(table), sample("N", 50, 3), rtol=0, atol=1e-15)
    # The same config over other behaviours is another sweep.
    pq.write_table(pa.table({f"p{k}": column for k, column in enumerate(tables[:40].T)}), file)
    with pytest.raises(InputError, match="other data"):
        run(tmp_path / "bell.yaml", tmp_path / "out")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"data": {}}, "data: give either source, a Parquet file, or sets"),
        ({"data": {"sets": ["U"], "source": "x"}}, "data: give either source"),
        ({"data": {"sets": ["Q"]}}, "data.sets[0]: must be 'U', 'N', 'B' or 'plane'"),
        ({"data": {"sets": ["U"], "count": 0}}, "data.count: must be at least 1"),
        ({"levels": ["4"]}, "levels[0]: must be"),
        ({"steps": []}, "steps: must not be empty"),
        ({"learned": "x.npz"}, "learned: unknown key"),
        ({"scenarios": ["22"]}, "scenario '22': give a digit"),
        ({"scenarios": ["2233"]}, "data.sets: are of two parties with two outcomes"),
        ({"scenarios": ["9922"], "levels": ["3"]}, "level"),
        ({"data": {"source": "x", "count": 5}}, "data: count is about sets: a source has its own"),
        ({"data": {"source": "x", "seeds": [1]}}, "data: seeds is about sets"),
        ({"data": {"source": "x", "points": 31}}, "data: points is about sets"),
        ({"data": {"source": "nothing.parquet"}}, "nothing.parquet: no such file"),
    ],
)
def test_bad_input_is_a_line(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError) as error:
        run(CASE.file(tmp_path, **changes), tmp_path / "out")
    assert said in str(error.value)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "out").exists()


def test_the_page_and_the_tracked_run(whole: Path) -> None:
    page = (whole / "report.html").read_text()
    assert page.count("<figure") == 2
    # The answer is first, what it is made of is folded away.
    assert page.index('id="answers"') < page.index('id="figures"') < page.index("All 8 rows")
    assert "0 of 24" in page
    folder = RunFolder.open(whole)
    config = load_config(CASE.file(whole.parent), [], get_study("bell").config)
    store = open_store(config, folder)
    (tracked,) = runs_of(store, "sweep")
    assert tracked.info.status == "FINISHED"
    assert tracked.data.params["levels"] == "1, 1+AB"
    assert tracked.data.metrics["verdicts_refused"] == tracked.data.metrics["contradictions"] == 0
    total = sum(
        group.inside for group in groups(finished(read_results(folder, get_study("bell").rows)))
    )
    assert tracked.data.metrics["verdicts_inside"] == total
    artifacts = artifacts_of(store, tracked.info.run_id)
    assert {
        "report.html",
        "sweep.yaml",
        "figures/plane.png",
        "results/results.parquet",
    } <= artifacts
    assert sum(name.endswith(".npz") for name in artifacts) == 24


def test_the_terminal_says_what_was_found(whole: Path, tmp_path: Path) -> None:
    outcome = run(CASE.file(tmp_path), copied(whole, tmp_path / "out"))
    console = Console(record=True, width=200)
    print_outcome(outcome, console)
    said = console.export_text()
    total = sum(row["count"] for row in rows_of(whole))
    assert f"verdicts {total:,}, each decided one with a proof; 0 of 24 refused" in said
    for level in ("1", "1+AB"):
        shares = [
            f"{row['inconclusive'] / row['count']:.2%} of N with {steps} steps"
            for steps in (2, 30)
            for row in rows_of(whole)
            if (row["level"], row["set"], row["steps"]) == (level, "N", steps)
        ]
        assert f"level    2222 {level}, cold: open {shares[0]}, {shares[1]}, " in said
    assert "µs each" in said
    assert "faster than cold" not in said
    assert findings(read_results(RunFolder.open(whole), get_study("bell").rows)[:0]) == []


def test_blocks_are_drawn_once_and_nobody_spoils_them() -> None:
    block = "B", 40, 1, 5000, "2222"
    first = drawn(*block, "1+AB")
    again = drawn(*block, "1+AB")
    assert np.array_equal(first, sample("B", 40, np.random.default_rng([1, 5000])))
    again[:] = 0.0
    assert np.array_equal(drawn(*block, "1+AB"), first)
    assert not np.array_equal(drawn(*block, "1"), first)
    uniform = "U", 20_000, 1, 0, "2222"  # too many to be kept
    assert np.array_equal(drawn(*uniform, "1")[:10], drawn(*uniform, "1+AB")[:10])


def test_the_nearest_of_both_sides() -> None:
    b = sample("B", 300, 5)
    decision = decide(b)
    known = decide(b, gap=1e-7, steps=60)
    distance = np.abs(0.5 * (known.gauge_lower + known.gauge_upper) - 1.0)
    chosen = nearest(b, decision.verdict, decision.steps, "2222", "1+AB", 6)
    assert len(chosen) == 6
    for name in ("inside", "outside"):
        side = np.flatnonzero(decision.verdict == name)
        closest = side[np.argsort(distance[side])][:10]
        mine = [row for row in chosen if decision.verdict[row] == name]
        assert len(mine) == 3
        assert set(mine) <= set(closest)
        assert closest[0] in mine
    verdict = np.full(300, "inconclusive")
    assert not len(nearest(b, verdict, decision.steps, "2222", "1+AB", 6))
    verdict[7] = "inside"
    assert nearest(b, verdict, decision.steps, "2222", "1+AB", 6).tolist() == [7]
