"""Each column of a row that the folder can tell is held against it, a manifest misses the rest."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from pipeline.results.folder import RunFolder
from pipeline.results.record import LATER_COLUMNS, RESULTS_SCHEMA
from pipeline.results.verification import Check, verify_paths
from pipeline.results.verification.manifest import MANIFEST, Manifest
from pipeline.sweeps.driver import SweepOptions, run_sweep
from tests.pipeline.small import TINY, small_config


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("statements")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pipeline.reports.page.write_report", lambda folder, trial: None)
        run_sweep(small_config(home, **TINY), str(home / "run"), SweepOptions(inline=True))
    return home / "run"


@pytest.fixture
def run(original: Path, tmp_path: Path) -> RunFolder:
    shutil.copytree(original, tmp_path / "run")
    return RunFolder.open(tmp_path / "run")


def failures(run: RunFolder) -> list[Check]:
    return [check for check in verify_paths([run.location]) if not check.ok]


def sign_anew(run: RunFolder) -> None:
    """A manifest that fits the folder, whatever it holds."""
    units = {}
    for file in run.files("results"):
        units[file[len("results/") : -len(".parquet")]] = run.read_table(file).num_rows
    Manifest.of(run, units).write(run)


def edit_rows(run: RunFolder, file: str, change: Callable[[dict[str, Any]], None]) -> None:
    table = run.read_table(file)
    rows = table.to_pylist()
    for row in rows:
        change(row)
    run.write_table(file, pa.Table.from_pylist(rows, schema=table.schema))


def test_an_untouched_run_is_as_it_was_left_and_says_what_is_not_checked(run):
    (check,) = [one for one in verify_paths([run.location]) if one.file == MANIFEST]
    assert check.ok
    assert check.text.startswith("13 files, 3 rows, as the run left them; not checked: validation")
    assert not failures(run)


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("proof", "exact"),
        ("proof", "tightened"),
        ("certify", "exact"),
        ("certify", "none"),
        ("width", 5000),
        ("width", 1),
        ("n", 7),
        ("d", 3),
        ("beta_max", 1.0),
        ("beta_max", None),
        ("beta_fraction", 0.2),
        ("beta_fraction", None),
        ("polynomial", "1, 0, 0"),
        ("relaxation_value", 0.0),
        ("bounds", [{"seconds": 0.0, "lower": 1e9, "upper": 2e9}]),
        ("trial", "0123456789abcdef"),
        ("path", "0123456789abcdef"),
        ("output", 1),
        ("train_accuracy", 1.0),
        ("train_accuracy", None),
        ("train_rmse", 0.0),
        ("validation_accuracy", 1.5),
        ("preprocessing_bytes", 0),
        ("loss", "absolute"),
        ("alphabet", "ternary"),
        ("second_layer", "common"),
        ("seed", 77),
        ("rounding", "krivine"),
        ("dataset", "other"),
    ],
)
def test_what_a_row_states_is_held_against_the_files(run, column, value):
    file = run.files("results")[0]
    edit_rows(run, file, lambda row: row.update({column: value}))
    assert any(check.file == file for check in failures(run))
    sign_anew(run)
    assert failures(run)


@pytest.mark.parametrize("column", ["validation_accuracy", "test_accuracy", "seconds"])
def test_what_no_file_can_tell_is_guarded_by_the_manifest(run, column):
    file = run.files("results")[0]
    edit_rows(run, file, lambda row: row.update({column: 0.25}))
    assert [check.file for check in failures(run)] == [file]


def test_dropped_rows_and_files_are_missed(run):
    file = run.files("results")[0]
    name = run.read_table(file)["network"][0].as_py()
    for gone in (file, name):
        run.remove(gone)
    bad = {check.file: check.text for check in failures(run)}
    assert bad[file] == "is in the manifest, but the file is missing"
    assert bad[name] == "is in the manifest, but the file is missing"
    assert bad[file.removesuffix(".parquet")] == "has 0 rows, the plan expects 1"


def test_all_results_dropped_are_missed(run):
    for file in run.files("results"):
        run.remove(file)
    assert failures(run)


@pytest.mark.parametrize(
    "content", [b"", b"{}", b"[]", b'{"format": 2, "files": {}, "units": {}}', b"\xff", b"[" * 9999]
)
def test_a_damaged_manifest_is_a_line(run, content):
    run.write(MANIFEST, content)
    assert [check.file for check in failures(run)] == [MANIFEST]


def test_the_manifest_is_plain_json(run):
    content = json.loads(run.read(MANIFEST))
    assert set(content) == {"format", "files", "units"}
    assert set(content["files"]) == {
        file for file in run.files() if file.split("/")[0] in
        ("sweep.yaml", "results", "data", "certificates", "networks")
    }  # fmt: skip


TRAINING = [name for name in RESULTS_SCHEMA.names if name.startswith("train_")]


@pytest.mark.parametrize("column", TRAINING)
def test_each_metric_of_the_training_rows_is_measured_again(run, column):
    file = run.files("results")[0]

    def change(row: dict[str, Any]) -> None:
        value = row[column]
        if isinstance(value, list):
            # Two counts that differ change places.
            k = next(k for k, count in enumerate(value[1:]) if count != value[0]) + 1
            row[column] = [value[k], *value[1:k], value[0], *value[k + 1 :]]
        else:
            row[column] = 1 if value is None else type(value)(value * 0.9 + 1)

    edit_rows(run, file, change)
    sign_anew(run)
    assert failures(run)


def test_rows_without_the_younger_metrics_are_those_of_an_earlier_version(run):
    for file in run.files("results"):
        run.write_table(file, run.read_table(file).drop_columns(list(LATER_COLUMNS)))
    sign_anew(run)
    assert not failures(run)
