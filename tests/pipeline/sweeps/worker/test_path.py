"""A path: what it writes, that it goes on after failures, that nothing but the spec decides."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.datasets.shards import ShardData, shard_data
from pipeline.plans.units import PathSpec
from pipeline.results.folder import RunFolder, StoreError, data_file
from pipeline.results.matrices import matrices
from pipeline.results.record import RESULTS_SCHEMA, TIMING_COLUMNS
from pipeline.studies.training import units
from pipeline.studies.training.prepared import Prepared, prepare
from pipeline.sweeps.events import TaskBegun, UnitDone, UnitLost
from pipeline.sweeps.worker import path as tasks
from pipeline.sweeps.worker.batch import Work, run_batch
from pipeline.sweeps.worker.path import run_path
from pipeline.sweeps.worker.rows import failure, lost_rows, trial_rng
from pipeline.sweeps.worker.steps import ProblemDone
from qnn.certificates import Certificate, verify
from qnn.networks.quantized import QuantizedNetwork
from qnn.training.problems.problem import Problem
from tests.pipeline.small import small_config


@pytest.fixture
def prepared(tmp_path: Path) -> Prepared:
    return prepare(small_config(tmp_path))


def first(prepared: Prepared) -> tuple[PathSpec, ShardData]:
    spec = prepared.plan.paths[0]
    shard = prepared.split.shard(spec.shard)
    return spec, shard_data(prepared.table, prepared.layout, shard, prepared.split)


def run(prepared: Prepared, folder: RunFolder) -> tuple[list[ProblemDone], list[dict[str, Any]]]:
    spec, data = first(prepared)
    folder.create()
    events = list(run_path(spec, data, folder))
    return events, folder.read_table(f"results/{spec.id}.parquet").to_pylist()


def test_a_path_writes_one_row_and_one_network_a_trial_and_one_certificate_a_problem(
    prepared, tmp_path
):
    folder = RunFolder.open(tmp_path / "run")
    spec, data = first(prepared)
    events, rows = run(prepared, folder)
    assert [event.beta_fraction for event in events] == [0.3, 0.05]
    assert sum(event.trials for event in events) == len(rows) == spec.networks == 16
    assert all(event.failed == 0 and event.error is None for event in events)
    assert [row["trial"] for row in rows] == [spec.trial_id(trial) for trial in spec.trials()]
    assert len({row["network"] for row in rows}) == 16
    assert len({row["certificate"] for row in rows}) == 2
    X, y = matrices(folder.read_table(data_file(spec.dataset, spec.shard)))
    assert np.array_equal(X, data.X)
    assert np.array_equal(y, data.y)
    for row in rows:
        assert row["status"] == "ok"
        assert row["error"] is None
        certificate = Certificate.load(tmp_path / "run" / row["certificate"])
        assert certificate.data == data_file(spec.dataset, spec.shard)
        assert verify(certificate, X, y) >= row["lower_bound"] == certificate.lower_bound
        network = QuantizedNetwork.load(tmp_path / "run" / row["network"])
        problem = Problem(X, y, row["beta"])
        assert row["beta"] == row["beta_fraction"] * row["beta_max"]
        # Workers compute on one thread, this test perhaps on more: the last digits differ.
        assert row["beta_max"] == pytest.approx(problem.beta_max, rel=1e-12)
        assert row["upper_bound"] == pytest.approx(problem.objective(network), rel=1e-12)
        penalty = row["beta"] * row["d"] * np.abs(network.alpha).sum()
        assert row["loss_value"] == pytest.approx(row["upper_bound"] - penalty)
        gap = (row["upper_bound"] - row["lower_bound"]) / row["upper_bound"]
        assert row["gap"] == pytest.approx(gap, rel=1e-12)
        assert row["lower_bound"] <= row["relaxation_value"] <= row["upper_bound"]
        assert row["neurons"] == network.neurons <= row["width"]
        assert row["bytes"] == network.size_in_bytes
        assert row["solver"] == "admm"
        assert "numpy" in json.loads(row["versions"])
        shard = prepared.split.shard(spec.shard)
        for part, indices in (("train", shard.train_rows), ("validation", shard.validation_rows),
                              ("test", prepared.split.test_rows)):  # fmt: skip
            predicted = network.predict(prepared.table.take(indices))
            accuracy = np.mean(predicted == prepared.table.target[indices])
            assert row[f"{part}_accuracy"] == pytest.approx(accuracy)
            assert row[f"{part}_rmse"] is None


def test_regression_is_measured_in_units_of_the_target(tmp_path):
    prepared = prepare(small_config(tmp_path, task="regression"))
    spec, _ = first(prepared)
    _, rows = run(prepared, RunFolder.open(tmp_path / "run"))
    network = QuantizedNetwork.load(tmp_path / "run" / rows[-1]["network"])
    indices = prepared.split.shard(spec.shard).validation_rows
    target = prepared.table.target[indices]
    residual = network.predict(prepared.table.take(indices)) - target
    assert rows[-1]["validation_rmse"] == pytest.approx(np.sqrt(np.mean(residual**2)))
    r2 = 1 - np.mean(residual**2) / np.var(target)
    assert rows[-1]["validation_r2"] == pytest.approx(r2)
    assert rows[-1]["validation_accuracy"] is None


def test_beta_values_are_taken_as_they_are(tmp_path):
    prepared = prepare(small_config(tmp_path, beta={"values": [2.0, 0.5]}))
    _, rows = run(prepared, RunFolder.open(tmp_path / "run"))
    assert {row["beta"] for row in rows} == {2.0, 0.5}
    assert all(row["beta_fraction"] == row["beta"] / row["beta_max"] for row in rows)


def test_two_runs_write_the_same_bytes_timings_aside(prepared, tmp_path):
    one, two = RunFolder.open(tmp_path / "one"), RunFolder.open(tmp_path / "two")
    _, rows = run(prepared, one)
    _, again = run(prepared, two)
    for row in (*rows, *again):
        for column in TIMING_COLUMNS:
            value = row.pop(column)
            assert value is None or value >= 0
    assert rows == again
    assert one.files() == two.files()
    for file in one.files():
        if not file.startswith("results/"):
            assert one.read(file) == two.read(file), file


def test_the_random_stream_is_the_trials_own():
    draws = [trial_rng(trial).integers(2**62) for trial in ("0" * 15 + "1", "0" * 15 + "2")]
    assert draws[0] != draws[1]
    assert draws[0] == trial_rng("0" * 15 + "1").integers(2**62)


def test_a_failing_rounding_fails_its_own_row_only(prepared, tmp_path, monkeypatch):
    good_round = tasks.round_relaxation

    def round_or_fail(relaxation, width, rng, method, *rest):
        if width == 8 and method == "krivine":
            raise RuntimeError("bits\n  fell off")
        return good_round(relaxation, width, rng, method, *rest)

    _, good = run(prepared, RunFolder.open(tmp_path / "good"))
    monkeypatch.setattr(tasks, "round_relaxation", round_or_fail)
    folder = RunFolder.open(tmp_path / "run")
    events, rows = run(prepared, folder)
    failed = [row for row in rows if row["status"] == "failed"]
    assert [event.failed for event in events] == [2, 2]
    assert events[0].error == "RuntimeError: bits fell off"
    assert {(row["width"], row["rounding"], row["error"]) for row in failed} == {
        (8, "krivine", "RuntimeError: bits fell off")
    }
    assert all(row["network"] is None and row["upper_bound"] is None for row in failed)
    assert all(row["certificate"] and row["lower_bound"] for row in failed)
    for row, other in zip(rows, good, strict=True):
        if row["status"] == "ok":
            assert {k: v for k, v in row.items() if k not in TIMING_COLUMNS} == {
                k: v for k, v in other.items() if k not in TIMING_COLUMNS
            }


def test_a_failing_relaxation_fails_the_rows_of_its_beta_and_the_path_goes_on(
    prepared, tmp_path, monkeypatch
):
    good_solve = tasks.solve
    calls = []

    def solve_or_fail(problem, **options):
        calls.append(options["warm_start"])
        if len(calls) == 1:
            raise np.linalg.LinAlgError("Eigenvalues did not converge")
        return good_solve(problem, **options)

    monkeypatch.setattr(tasks, "solve", solve_or_fail)
    events, rows = run(prepared, RunFolder.open(tmp_path / "run"))
    assert [event.failed for event in events] == [8, 0]
    assert events[0].relaxation_gap is None
    assert events[0].best_gap is None
    for row in rows[:8]:
        assert row["status"] == "failed"
        assert row["error"] == "LinAlgError: Eigenvalues did not converge"
        assert row["certificate"] is None
        assert row["beta_fraction"] == 0.3
    assert all(row["status"] == "ok" for row in rows[8:])
    assert calls == [None, None]


def test_the_path_warm_starts_from_the_beta_before(prepared, tmp_path, monkeypatch):
    good_solve = tasks.solve
    starts, solved = [], []

    def watched(problem, **options):
        starts.append(options["warm_start"])
        solved.append(good_solve(problem, **options))
        return solved[-1]

    monkeypatch.setattr(tasks, "solve", watched)
    run(prepared, RunFolder.open(tmp_path / "run"))
    assert starts[0] is None
    assert starts[1] is solved[0]


@pytest.mark.parametrize("part", ["data", "certificates", "networks"])
def test_a_folder_that_cannot_be_written_commits_nothing(prepared, tmp_path, part):
    class Full(RunFolder):
        def write(self, relative: str, content: bytes) -> None:
            if relative.startswith(part):
                raise StoreError("no space left")
            super().write(relative, content)

    good = RunFolder.open(tmp_path / "run")
    with pytest.raises(StoreError, match="no space left"):
        run(prepared, Full(good.filesystem, good.root, good.location))
    assert good.files("results") == []


def work(prepared: Prepared, folder: RunFolder, token: str = "held") -> Work:
    folder.create()
    folder.write("sweep.lock", b'{"token": "held"}')
    return Work(prepared.data, folder.location, token)


def test_a_batch_loses_a_path_and_goes_on(prepared, tmp_path, monkeypatch):
    good_data = units.shard_data

    def lose_one(table, layout, shard, *others):
        if shard.name == "fold-01":
            raise MemoryError("cannot allocate")
        return good_data(table, layout, shard, *others)

    monkeypatch.setattr(units, "shard_data", lose_one)
    folder = RunFolder.open(tmp_path / "run")
    events = list(run_batch(prepared.units, work(prepared, folder)))
    ids = [spec.id for spec in prepared.plan.paths]
    ends = [event for event in events if not isinstance(event, ProblemDone)]
    assert ends == [
        TaskBegun(ids[0]),
        UnitDone(ids[0], 16, 0),
        UnitLost(ids[1], "MemoryError: cannot allocate"),
        UnitDone(ids[2], 16, 0),
    ]
    assert folder.files("results") == sorted(f"results/{id}.parquet" for id in (ids[0], ids[2]))


def test_a_worker_that_does_not_see_the_folder_says_so(prepared, tmp_path):
    folder = RunFolder.open(tmp_path / "run")
    with pytest.raises(ValueError, match="does not see the driver's folder"):
        list(run_batch(prepared.units, work(prepared, folder, token="another")))
    folder.remove("sweep.lock")
    elsewhere = Work(prepared.data, str(tmp_path / "no"), "held")
    with pytest.raises(ValueError, match="need --out on a shared file system"):
        list(run_batch(prepared.units, elsewhere))


def test_rows_of_lost_paths_fit_the_schema_and_hold_no_secrets(prepared, monkeypatch):
    spec, _ = first(prepared)
    monkeypatch.setenv("SOME_API_TOKEN", "canary-canary")
    rows = [row.columns for row in lost_rows(spec, "the worker died of canary-canary")]
    assert {row["error"] for row in rows} == {"the worker died of ***"}
    assert failure(ValueError("canary-canary")).error == "ValueError: ***"
    assert len(rows) == spec.networks
    assert {key for row in rows for key in row} <= set(RESULTS_SCHEMA.names)
    assert [row["trial"] for row in rows] == [spec.trial_id(trial) for trial in spec.trials()]
