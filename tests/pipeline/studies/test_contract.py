"""What every study keeps to: plan, rows, files, resume, what verify refuses, bad input, MLflow."""

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest

from pipeline.configuration.reading import load_config
from pipeline.plans.studies import get_study, study_names
from pipeline.plans.study import ids_of
from pipeline.results.folder import RunFolder
from pipeline.results.ledger import read_results
from pipeline.results.schema import COMMON
from pipeline.results.verification.manifest import Manifest
from pipeline.tracking.store import open_store
from qnn.errors import InputError
from tests.pipeline.studies.cases import CASES, checks, copied, refused, rows_of, run
from tests.pipeline.tracked import artifacts_of, runs_of

Finished = Callable[[str], Path]
each = pytest.mark.parametrize("name", study_names())


def test_every_study_has_a_case() -> None:
    assert set(CASES) == set(study_names())


@each
def test_a_plan_follows_from_content_alone(name: str, tmp_path: Path) -> None:
    study, file = get_study(name), CASES[name].written(tmp_path)
    plans = [study.prepare(load_config(file, [], study.config)) for _ in range(2)]
    ids = [[unit.id for unit in plan.units] for plan in plans]
    assert ids[0] == ids[1]
    assert len(set(ids[0])) == len(ids[0])
    units = plans[0].units
    assert all(unit.networks > 0 and unit.estimated_seconds > 0.0 for unit in units)
    assert all(unit.estimated_bytes > 1e6 for unit in units)
    titles = units[0].titles(units)
    assert len(set(titles)) == len(units)
    assert plans[0].describe().splitlines()[0].startswith(("study small: ", "sweep small: "))


@each
def test_rows_are_those_that_were_planned(name: str, finished: Finished) -> None:
    out, study = finished(name), get_study(name)
    table = read_results(RunFolder.open(out), study.rows)
    assert table.schema.equals(study.rows.columns)
    assert set(COMMON) <= set(table.schema.names)
    assert set(study.rows.later) | set(study.rows.timings) <= set(table.schema.names)
    rows = rows_of(out)
    assert len(rows) == CASES[name].rows
    assert len({row["trial"] for row in rows}) == len(rows)
    assert {row["status"] for row in rows} == {"ok"}
    plan = study.prepare(load_config(out / "sweep.yaml", [], study.config))
    planned = set().union(*map(ids_of, plan.units))
    searched = {row["path"] for row in rows if row["shard"] != "all"}
    assert searched == planned
    assert plan.finished(table) == len(rows)


@each
def test_files_are_those_that_the_rows_name(name: str, finished: Finished) -> None:
    out, study = finished(name), get_study(name)
    named = {file for row in rows_of(out) for file in study.files_of(row)}
    assert named
    assert all((out / file).stat().st_size for file in named)
    manifest = Manifest.read(RunFolder.open(out))
    assert manifest is not None
    kept = {file for file in named if file.split("/")[0] in study.kept}
    assert kept <= set(manifest.files)


@each
def test_verify_proves_a_finished_run(name: str, finished: Finished) -> None:
    found = checks(finished(name))
    assert len(found) > CASES[name].rows // 2
    assert [check.line for check in found.values() if not (check.ok and check.proven)] == []


@each
def test_a_rerun_makes_what_is_missing_and_nothing_else(
    name: str, finished: Finished, tmp_path: Path
) -> None:
    out, study = copied(finished(name), tmp_path / "out"), get_study(name)
    before = rows_of(out)
    paths = list(dict.fromkeys(row["path"] for row in before if row["shard"] != "all"))
    (out / "results" / f"{paths[0]}.parquet").unlink()
    # Of another path where there are several; a distributed sweep is one.
    row = next(row for row in before if row["path"] == paths[:2][-1])
    (out / next(file for file in study.files_of(row) if file.startswith("certificates/"))).unlink()
    outcome = run(finished(name).parent / f"{name}.yaml", out)
    assert (outcome.exit_code, outcome.reused_paths) == (0, len(paths) - len(paths[:2]))
    assert rows_of(out) == before
    assert [check.line for check in checks(out, fast=True).values() if not check.ok] == []


@each
@pytest.mark.parametrize("how", ["flipped", "torn", "gone"])
def test_a_certificate_that_is_not_what_it_was_is_refused(
    name: str, how: str, finished: Finished, tmp_path: Path
) -> None:
    out = copied(finished(name), tmp_path / "out")
    file = sorted((out / "certificates").iterdir())[0]
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 255
    {
        "flipped": lambda: file.write_bytes(content),
        "torn": lambda: file.write_bytes(content[:-40]),
        "gone": file.unlink,
    }[how]()
    found = refused(out)
    assert any(file.name in f"{check.file} {check.text}" for check in found)
    assert all("\n" not in check.line for check in found)


@each
@pytest.mark.parametrize(
    ("column", "value"), [("trial", "0" * 16), ("status", "failed"), ("shard", "another")]
)
def test_a_row_that_is_not_what_it_was_is_refused(
    name: str, column: str, value: str, finished: Finished, tmp_path: Path
) -> None:
    out = copied(finished(name), tmp_path / "out")
    folder = RunFolder.open(out)
    path = next(row["path"] for row in rows_of(out) if row["shard"] != "all")
    file = f"results/{path}.parquet"
    table = folder.read_table(file)
    place, values = table.column_names.index(column), table[column].to_pylist()
    forged = table.set_column(place, column, pa.array([value, *values[1:]], pa.string()))
    folder.write_table(file, forged)
    assert file in {check.file for check in refused(out)}


@each
def test_a_fault_in_the_config_is_a_line_and_nothing_is_written(name: str, tmp_path: Path) -> None:
    case = CASES[name]
    left_out = {key: value for key, value in case.config.items() if key != case.without}
    for config, said in (
        ({**case.config, "learned": 1}, "learned: unknown key"),
        ({**case.config, "name": "a b"}, "name: may hold letters"),
        (left_out, ""),
    ):
        file = type(case)(config, case.rows, case.without, case.write).written(tmp_path)
        with pytest.raises(InputError) as error:
            run(file, tmp_path / "out")
        text = str(error.value)
        assert text.startswith(f"{name}.yaml: {said or case.without}")
        assert "\n" not in text
        assert not (tmp_path / "out").exists()


@each
def test_data_that_are_gone_are_a_line(name: str, tmp_path: Path) -> None:
    case = CASES[name]
    data = {"data": {"source": "gone.parquet"}}
    changes = {"instances": ["gone.txt"]} if name == "csp" else data
    with pytest.raises(InputError) as error:
        run(case.written(tmp_path, **changes), tmp_path / "out")
    assert "gone." in str(error.value)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "out").exists()


@each
def test_another_config_is_refused_in_its_folder(
    name: str, finished: Finished, tmp_path: Path
) -> None:
    out = copied(finished(name), tmp_path / "out")
    file = CASES[name].written(tmp_path, name="other")
    with pytest.raises(InputError) as error:
        run(file, out)
    assert "\n" not in str(error.value)
    assert rows_of(out) == rows_of(finished(name))


@each
def test_the_page_stands_alone(name: str, finished: Finished) -> None:
    page = (finished(name) / "report.html").read_text()
    assert "<figure" in page
    assert "qnn verify" in page
    assert f"kind: {name}" in page or name == "training"
    assert 'src="http' not in page
    assert "<link" not in page


@each
def test_the_run_is_tracked_once(name: str, finished: Finished, tmp_path: Path) -> None:
    out, study = finished(name), get_study(name)
    config = load_config(out / "sweep.yaml", [], study.config)
    store = open_store(config, RunFolder.open(out))
    (tracked,) = runs_of(store, "sweep")
    assert tracked.info.status == "FINISHED"
    assert tracked.data.params["name"] == "small"
    assert tracked.data.metrics
    artifacts = artifacts_of(store, tracked.info.run_id)
    assert {"report.html", "sweep.yaml", "results/results.parquet"} <= artifacts
    assert any(file.startswith("figures/") for file in artifacts)
