"""A study of CSPs: plan, rows, resume, what verify refuses, bad input, page, MLflow."""

from collections.abc import Callable
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from pipeline.configuration.reading import load_config
from pipeline.plans.studies import get_study, study_at
from pipeline.reports.figures.chart import Line
from pipeline.results.folder import RunFolder
from pipeline.results.ledger import read_results
from pipeline.studies.csp.checks import verify
from pipeline.studies.csp.figures import gap_figure, rounds_figure
from pipeline.studies.csp.rows import ROWS, SolveRow
from pipeline.studies.csp.solves import Solve
from pipeline.tracking.store import open_store
from qnn.certificates.csp import CspCertificate, Payoffs
from qnn.errors import InputError
from qnn.moments.correlation_rounding import spectrum, threshold_rank
from qnn.moments.csp import MaxCSP, planted_unique_games, rudy
from tests.pipeline.studies.cases import CASES, checks, copied, rows_of, run
from tests.pipeline.tracked import artifacts_of, runs_of

CASE = CASES["csp"]
GAME = "unique games n=12 k=3 degree=5 noise=0.4 seed=2"


@pytest.fixture
def whole(finished: Callable[[str], Path]) -> Path:
    return finished("csp")


def test_rows_are_what_the_solver_says(whole: Path) -> None:
    rows = rows_of(whole)
    assert len(rows) == 2 * 2 * 2
    assert {row["status"] for row in rows} == {"ok"}
    problems = {"g05_20.3": rudy("g05_20.3"), GAME: planted_unique_games(12, 3, 5.0, 0.4, 2)[0]}
    assert {row["shard"] for row in rows} == set(problems)
    for row in rows:
        problem = problems[row["shard"]]
        assert row["content"] == problem.payoffs.digest()
        solution = problem.solve(row["rounds"], row["rule"], cuts="none", seed=0)
        for name in ("upper_bound", "value", "nodes", "leaves", "cuts", "threshold_rank",
                     "guarantee", "local_correlation", "derandomized", "propagated"):  # fmt: skip
            assert row[name] == getattr(solution, name)
        assert row["leaves"] == problem.k ** row["rounds"]
        assert row["seeds"] == list(solution.seeds)
    assert any(row["gap"] > 0.0 for row in rows)


def test_verify_proves_everything_again(whole: Path) -> None:
    found = checks(whole)
    assert len(found) == 8 + 8 + 1
    assert all(check.ok and check.proven for check in found.values())
    file = whole / next(file for file in found if file.startswith("certificates/"))
    (single,) = study_at(str(file)).verify(str(file))
    assert single.ok
    assert "value <=" in single.text
    other = next(iter((whole / "problems").glob("*.npz")))
    results = [next(iter(verify(str(file), str(path)))).ok for path in other.parent.iterdir()]
    assert sorted(results) == [False, True]


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("upper_bound", 1.0),
        ("value", 1e9),
        ("gap", 0.5),
        ("optimal", None),
        ("assignment", [0] * 20),
        ("assignment", [0] * 3),
        ("assignment", [7] * 20),
        ("leaves", 9),
        ("nodes", 9),
        ("cuts", 9),
        ("n", 21),
        ("pairs", 1),
        ("content", "0" * 64),
        ("threshold_rank", 19),
        ("guarantee", 0.01),
        ("derandomized", 1e9),
        ("expected", float("nan")),
        ("problem", "problems/none.npz"),
    ],
)
def test_what_is_tampered_with_is_refused(
    whole: Path, tmp_path: Path, column: str, value: Any
) -> None:
    out = copied(whole, tmp_path / "out")
    folder = RunFolder.open(out)
    row = next(row for row in rows_of(out) if row["n"] == 20 and row["rounds"] == 2)
    name = f"results/{row['path']}.parquet"
    table = folder.read_table(name)
    where, kind = table.column_names.index(column), table.schema.field(column).type
    folder.write_table(name, table.set_column(where, column, pa.array([value], kind)))
    assert not checks(out)[name].ok


def test_a_foreign_or_missing_file_is_refused(whole: Path, tmp_path: Path) -> None:
    out = copied(whole, tmp_path / "out")
    first, second, third = (
        next(r for r in rows_of(out) if (r["shard"], r["rounds"]) == key)
        for key in (("g05_20.3", 0), ("g05_20.3", 2), (GAME, 2))
    )
    (out / first["certificate"]).write_bytes((out / third["certificate"]).read_bytes())
    (out / second["certificate"]).unlink()
    found = checks(out)
    assert not found[first["certificate"]].ok
    assert not found[second["certificate"]].ok
    assert "missing" in found[second["certificate"]].text
    (out / third["problem"]).write_bytes((out / first["problem"]).read_bytes())
    assert not checks(out)[f"results/{third['path']}.parquet"].ok


@pytest.mark.parametrize("optimal", [False, True])
def test_beside_a_large_constant_no_open_gap_is_verified_as_the_maximum(
    tmp_path: Path, optimal: bool
) -> None:
    triangle = np.array([[0, 1], [1, 2], [2, 0]])
    tables = np.tile(4.0 * (1.0 - np.eye(2)), (3, 1, 1))
    problem = MaxCSP.of_tables(3, 2, triangle, tables, constant=-1e7)
    solution = problem.solve(0, cuts="none")
    assert (solution.value, solution.upper_bound) == (8.0 - 1e7, 9.0 - 1e7)
    unit = Solve("s", problem.payoffs.digest(), 3, 2, 3, 0, "auto", "none", 0, None)
    folder = RunFolder.open(tmp_path)
    row = unit._finished(replace(solution, optimal=optimal), len(solution.certificate.to_bytes()))
    folder.write(str(row.problem), problem.payoffs.to_bytes())
    folder.write(str(row.certificate), solution.certificate.to_bytes())
    folder.write_table(f"results/{unit.id}.parquet", ROWS.table([row]))
    name = f"results/{unit.id}.parquet"
    (found,) = (check for check in verify(str(tmp_path)) if check.file == name)
    assert found.ok is not optimal, found.text
    assert ("states optimal True" in found.text) is optimal


def test_a_certificate_is_of_one_row_and_of_its_problem(tmp_path: Path) -> None:
    """A maximum cut of 4 that claims 0: the certificate is true, of a game without payoffs."""
    pairs = np.array(list(combinations(range(4), 2)), dtype=np.int32)
    folder = RunFolder.open(tmp_path)
    for name, tables in (("cut", np.tile(1 - np.eye(2), (6, 1, 1))), ("null", np.zeros((6, 2, 2)))):
        payoffs = Payoffs(4, 2, 0.0, np.zeros((4, 2)), pairs, tables)
        digest = payoffs.digest()
        certificate = CspCertificate(
            4, 2, digest, 0.0, -1, np.array([-1], np.int32), np.full(5, 1e-20, np.float32),
            np.zeros(0, np.float32), np.zeros(1, np.int32), np.zeros(0, np.int32),
            np.zeros(0, np.int8), np.zeros(2, np.int32), np.zeros(0, np.int32),
            np.zeros(0, np.float32),
        )  # fmt: skip
        row = SolveRow(
            name, name, "s", 4, 2, 6, digest, 0, "auto", "auto", 0, None, 0.0, 0.0, 0.0, True,
            (0, 0, 0, 0), (), 1, 1, 0, guarantee=1.0, problem=f"problems/{digest}.npz",
            threshold_rank=threshold_rank(spectrum(payoffs), 2.0),
            certificate="certificates/one.npz", bytes=len(certificate.to_bytes()),
        )  # fmt: skip
        folder.write(f"problems/{digest}.npz", payoffs.to_bytes())
        folder.write("certificates/one.npz", certificate.to_bytes())
        folder.write_table(f"results/{name}.parquet", ROWS.table([row]))
    found = {check.file: check for check in verify(str(tmp_path))}
    assert not found["results/cut.parquet"].ok
    assert "of another problem" in found["results/cut.parquet"].text
    assert not found["results/null.parquet"].ok
    assert "is another row's too" in found["results/null.parquet"].text
    (tmp_path / "results" / "cut.parquet").unlink()
    assert all(check.ok for check in verify(str(tmp_path)))


def test_a_file_of_lost_work_states_nothing(whole: Path, tmp_path: Path) -> None:
    out = copied(whole, tmp_path / "out")
    (out / "manifest.json").unlink()
    row = rows_of(out)[0]
    name = f"results/{row['path']}.lost.parquet"
    (out / "results" / f"{row['path']}.parquet").rename(out / name)
    assert row in rows_of(out)
    assert "rows that did not fail" in checks(out)[name].text
    folder = RunFolder.open(out)
    lost = folder.read_table(name).to_pylist()[0] | {"status": "failed", "error": "gone"}
    folder.write_table(name, ROWS.table([lost]))
    assert all(check.ok for check in checks(out).values())


def test_a_rerun_takes_up_what_is_there(whole: Path, tmp_path: Path) -> None:
    out = copied(whole, tmp_path / "out")
    before = rows_of(out)
    (out / "results" / f"{before[0]['path']}.parquet").unlink()
    (out / before[1]["certificate"]).write_bytes(b"torn")
    outcome = run(CASE.file(tmp_path), out)
    assert (outcome.exit_code, outcome.reused_paths) == (0, len(before) - 2)
    assert rows_of(out) == before
    assert all(check.ok for check in checks(out).values())


def test_a_file_is_an_instance(tmp_path: Path) -> None:
    file = tmp_path / "square.txt"
    file.write_text("4 4\n1 2 1\n2 3 1\n3 4 1\n4 1 1\n")
    changes = {"instances": [str(file)], "planted": [], "rounds": [1], "rules": ["corr"]}
    assert run(CASE.file(tmp_path, **changes), tmp_path / "out").exit_code == 0
    (row,) = rows_of(tmp_path / "out")
    assert (row["value"], row["upper_bound"], row["optimal"]) == (4.0, 4.0, True)
    # The same config over another file is another sweep.
    file.write_text("4 4\n1 2 1\n2 3 1\n3 4 1\n4 1 2\n")
    with pytest.raises(InputError, match="other data"):
        run(tmp_path / "csp.yaml", tmp_path / "out")


def test_a_file_lies_beside_the_config_or_in_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    for folder, weight in ((here, 1), (there, 2)):
        folder.mkdir()
        (folder / "both.txt").write_text(f"2 1\n1 2 {weight}\n")
    (there / "one.txt").write_text("2 1\n1 2 3\n")
    monkeypatch.chdir(there)
    file = CASE.file(here, instances=["both.txt", "one.txt", "g05_20.3"])
    config = load_config(file, [], get_study("csp").config)
    assert config.instances == (str(here / "both.txt"), str(there / "one.txt"), "g05_20.3")


def test_exact_units_prove_the_maximum(tmp_path: Path) -> None:
    changes: dict[str, Any] = {"rounds": [], "rules": ["auto"], "exact": True, "cuts": "auto"}
    file, out = CASE.file(tmp_path, **changes), tmp_path / "out"
    assert run(file, out, track=True).exit_code == 0
    rows = {row["shard"]: row for row in rows_of(out)}
    problems = {"g05_20.3": rudy("g05_20.3"), GAME: planted_unique_games(12, 3, 5.0, 0.4, 2)[0]}
    assert set(rows) == set(problems)
    for name, row in rows.items():
        solution = problems[name].prove()
        assert (row["rounds"], row["optimal"], row["seeds"]) == (None, True, [])
        assert row["value"] == solution.value
        assert (row["nodes"], row["leaves"]) == (solution.nodes, solution.leaves)
        assert row["bytes"] == (out / row["certificate"]).stat().st_size
    assert all(check.ok and check.proven for check in checks(out).values())
    # A rerun takes up what is there.
    (out / "results" / f"{rows['g05_20.3']['path']}.parquet").unlink()
    outcome = run(file, out)
    assert (outcome.exit_code, outcome.reused_paths) == (0, 1)
    assert {row["shard"]: row for row in rows_of(out)} == rows
    page = (out / "report.html").read_text()
    assert f"{GAME}, auto, exact" in page
    name = f"results/{rows[GAME]['path']}.parquet"
    table = RunFolder.open(out).read_table(name)
    where = table.column_names.index("bytes")
    changed = table.set_column(where, "bytes", pa.array([1], pa.int64()))
    RunFolder.open(out).write_table(name, changed)
    assert "bytes" in checks(out)[name].text


def test_the_figure_has_the_proven_maximum_across_the_rounds(whole: Path) -> None:
    rows = read_results(RunFolder.open(whole), get_study("csp").rows).to_pylist()
    exact = {**rows[0], "rounds": None, "optimal": True, "value": 7.0}
    (panel,) = (p for p in rounds_figure([*rows, exact]).panels if p.title == exact["shard"])
    (line,) = (m for m in panel.marks if isinstance(m, Line) and m.name == "maximum, proven")
    assert (list(line.x), list(line.y)) == ([0.0, 2.0], [7.0, 7.0])
    assert rounds_figure([exact]).empty
    assert gap_figure([exact]).empty


def test_rows_without_bytes_are_read(whole: Path, tmp_path: Path) -> None:
    out = copied(whole, tmp_path / "out")
    folder = RunFolder.open(out)
    for row in rows_of(out):
        name = f"results/{row['path']}.parquet"
        folder.write_table(name, folder.read_table(name).drop_columns(["bytes"]))
    assert {row["bytes"] for row in rows_of(out)} == {None}
    assert all(checks(out)[f"results/{row['path']}.parquet"].ok for row in rows_of(out))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"exact": "perhaps"}, "exact: must be"),
        ({"instances": [], "planted": []}, "give instances, planted, or both"),
        ({"instances": ["nothing.txt"]}, "nothing.txt: no such file"),
        ({"instances": ["g05_20.3", "g05_20.3"]}, "occurs twice"),
        ({"instances": ["g05_9999.3"]}, "too many"),
        ({"planted": [{"n": 12, "k": 1, "degree": 5.0, "noise": 0.4}]}, "planted[0].k: must be"),
        ({"planted": [{"n": 10**9, "k": 3, "degree": 5.0, "noise": 0.4}]}, "too many"),
        ({"rounds": [-1]}, "rounds[0]: must be at least 0"),
        ({"rounds": []}, "rounds must not be empty unless exact is true"),
        ({"rounds": [13]}, "give more than 4096 leaves"),
        ({"rules": ["best"]}, "rules[0]: must be"),
        ({"cuts": "all"}, "cuts: must be"),
        ({"time_limit": 0.0}, "time_limit: must be"),
        ({"round": [1]}, "round: unknown key"),
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
    rows = rows_of(whole)
    solved = {row["shard"] for row in rows if row["optimal"]}
    assert f"<b>{len(solved)} of 2</b>" in page
    config = load_config(CASE.file(whole.parent), [], get_study("csp").config)
    store = open_store(config, RunFolder.open(whole))
    (tracked,) = runs_of(store, "sweep")
    assert tracked.info.status == "FINISHED"
    assert tracked.data.params["rounds"] == "0, 2"
    assert tracked.data.metrics["solves_done"] == 8.0
    assert tracked.data.metrics["worst_gap"] == max(row["gap"] for row in rows)
    artifacts = artifacts_of(store, tracked.info.run_id)
    assert {"report.html", "sweep.yaml", "figures/rounds.png"} <= artifacts
    assert sum(name.startswith("certificates/") for name in artifacts) == 8
