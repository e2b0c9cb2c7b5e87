"""The driver: the outcome of a sweep, failures, interruptions, and that workers change nothing."""

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.fs as pafs
import pytest

from pipeline.configuration.reading import SweepConfig
from pipeline.results.folder import RunFolder, StoreError
from pipeline.results.selection import Choice
from pipeline.results.verification import verify_paths
from pipeline.studies.training import units
from pipeline.sweeps import dispatch
from pipeline.sweeps.background import Tracker
from pipeline.sweeps.driver import SweepOptions, prepare, run_sweep
from pipeline.sweeps.interrupts import Interrupts, SweepInterrupted
from pipeline.sweeps.worker import batch
from pipeline.sweeps.worker import path as tasks
from qnn.errors import InputError
from tests.pipeline.small import config_text, files_of, rows_of, small_config

INLINE = SweepOptions(inline=True)


@pytest.fixture(autouse=True)
def no_report(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its figures take longer than the sweep and are tested elsewhere."""
    monkeypatch.setattr("pipeline.reports.page.write_report", lambda folder, trial: None)


class Recorder:
    """A tracker that notes what it is told."""

    command = "look here"

    def __init__(self, fail: bool = False) -> None:
        self.fail = fail
        self.told: list[object] = []

    def start(self, config: SweepConfig, folder: RunFolder) -> Tracker:
        return self

    def finish(self, results: object, choice: Choice | None, champion: str | None) -> None:
        if self.fail:
            raise ConnectionError("server is away")
        self.told.append(champion)

    def end(self, status: str) -> None:
        self.told.append(status)


def test_a_sweep_ends_with_a_refitted_champion_in_the_same_results(tmp_path):
    config = small_config(tmp_path)
    tracker = Recorder()
    outcome = run_sweep(config, str(tmp_path / "run"), INLINE, start_tracking=tracker.start)
    assert outcome.exit_code == 0
    assert outcome.failed == 0
    assert outcome.tracking_command == "look here"
    rows = outcome.results.to_pylist()
    assert len(rows) == 3 * 16 + 2
    refits = [row for row in rows if row["shard"] == "all"]
    assert outcome.choice is not None
    assert outcome.champion is not None
    for row in refits:
        assert row["beta_fraction"] == outcome.choice.beta.written
        assert (row["width"], row["rounding"]) == (outcome.choice.width, outcome.choice.rounding)
        assert row["validation_accuracy"] is None
        assert row["upper_bound"] >= outcome.champion.fit.upper_bound
    assert outcome.champion.identity.n == len(prepare(config).split.development_rows)
    assert tracker.told == [outcome.champion.identity.trial]
    assert not (tmp_path / "run" / "sweep.lock").exists()
    assert all(check.ok for check in verify_paths([outcome.location]))


def test_failed_trials_decide_the_exit_code(tmp_path, monkeypatch):
    def sometimes(relaxation, width, rng, method, *rest):
        if width == 8 and method == "krivine":
            raise RuntimeError("no")
        return good(relaxation, width, rng, method, *rest)

    good = tasks.round_relaxation
    monkeypatch.setattr(tasks, "round_relaxation", sometimes)
    config = small_config(tmp_path)
    outcome = run_sweep(config, str(tmp_path / "run"), INLINE)
    assert outcome.failed == 3 * 2 * 2
    assert outcome.exit_code == 1
    assert outcome.champion is not None
    options = SweepOptions(inline=True, max_failures=12)
    assert run_sweep(config, str(tmp_path / "run"), options).exit_code == 0
    monkeypatch.setattr(tasks, "round_relaxation", good)
    options = SweepOptions(inline=True, retry_failed=True)
    assert run_sweep(config, str(tmp_path / "run"), options).failed == 0
    undisturbed = run_sweep(config, str(tmp_path / "other"), INLINE)
    assert undisturbed.exit_code == 0
    assert rows_of(tmp_path / "run").equals(rows_of(tmp_path / "other"))


def test_a_lost_path_leaves_failed_rows_and_is_tried_again(tmp_path, monkeypatch):
    def lose_one(table, layout, shard, *others):
        if shard.name == "fold-01":
            raise MemoryError("cannot allocate")
        return good(table, layout, shard, *others)

    good = units.shard_data
    config = small_config(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(units, "shard_data", lose_one)
        outcome = run_sweep(config, str(tmp_path / "run"), INLINE)
    assert outcome.exit_code == 1
    assert outcome.failed == 16
    lost = [row for row in outcome.results.to_pylist() if row["status"] == "failed"]
    assert {row["error"] for row in lost} == {"MemoryError: cannot allocate"}
    assert run_sweep(config, str(tmp_path / "run"), INLINE).exit_code == 0
    run_sweep(config, str(tmp_path / "other"), INLINE)
    assert rows_of(tmp_path / "run").equals(rows_of(tmp_path / "other"))


def test_a_full_disk_ends_the_sweep_and_a_rerun_finishes_it(tmp_path, monkeypatch):
    class Full(pafs.LocalFileSystem):
        def open_output_stream(self, path: str) -> object:
            if "/networks/" in path:
                raise OSError(errno.ENOSPC, "No space left on device")
            return super().open_output_stream(path)

    config = small_config(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(pafs, "LocalFileSystem", Full)
        with pytest.raises(StoreError, match=r"networks/.* cannot be written: .*No space left"):
            run_sweep(config, str(tmp_path / "run"), INLINE)
    assert not (tmp_path / "run" / "sweep.lock").exists()
    assert RunFolder.open(tmp_path / "run").files("results") == []
    assert run_sweep(config, str(tmp_path / "run"), INLINE).exit_code == 0


def test_tracking_that_fails_keeps_the_results_and_says_so(tmp_path):
    tracker = Recorder(fail=True)
    outcome = run_sweep(small_config(tmp_path), str(tmp_path / "run"), INLINE,
                        start_tracking=tracker.start)  # fmt: skip
    assert outcome.exit_code == 1
    assert outcome.tracking_error == "server is away"
    assert outcome.results.num_rows == 50


def test_a_tracker_that_does_not_start_is_no_obstacle(tmp_path):
    def start(config: SweepConfig, folder: RunFolder) -> Tracker:
        raise ValueError("bad store")

    outcome = run_sweep(small_config(tmp_path), str(tmp_path / "run"), INLINE, start_tracking=start)
    assert outcome.tracking_error == "ValueError: bad store"
    assert outcome.tracking_command is None
    assert outcome.champion is not None


def test_bad_data_are_refused_before_the_folder_is_made(tmp_path):
    config = small_config(tmp_path, shards={"kind": "kfold", "count": 500})
    with pytest.raises(InputError, match="folds"):
        run_sweep(config, str(tmp_path / "run"), INLINE)
    assert not (tmp_path / "run").exists()


def test_ray_workers_write_what_one_process_writes(tmp_path, ray_cluster):
    config = small_config(tmp_path)
    inline = run_sweep(config, str(tmp_path / "inline"), INLINE)
    on_ray = run_sweep(config, str(tmp_path / "ray"))
    assert on_ray.exit_code == 0
    assert rows_of(tmp_path / "inline").equals(rows_of(tmp_path / "ray"))
    assert files_of(tmp_path / "inline") == files_of(tmp_path / "ray")
    assert on_ray.champion is not None
    assert inline.champion is not None
    assert on_ray.champion.identity.trial == inline.champion.identity.trial


@pytest.mark.parametrize("together", [False, True])
def test_a_worker_that_dies_is_retried_and_loses_its_own_path_only(
    tmp_path, ray_cluster, monkeypatch, together
):
    def dies(specs, work, *tools):
        if any(spec.shard == "fold-01" for spec in specs):
            os.kill(os.getpid(), signal.SIGKILL)
        yield from batch.run_batch(specs, work, *tools)

    monkeypatch.setattr(dispatch, "run_batch", dies)
    if together:
        monkeypatch.setattr(dispatch, "batches", lambda specs, slots, seconds: [list(specs)])
    config = small_config(tmp_path, resources={"max_retries": 1})
    outcome = run_sweep(config, str(tmp_path / "run"))
    assert outcome.exit_code == 1
    assert outcome.failed == 16
    errors = {row["error"] for row in outcome.results.to_pylist() if row["status"] == "failed"}
    assert len(errors) == 1
    assert "died" in errors.pop()


def test_signals_raise_once_and_are_seen_when_another_handler_ate_them():
    with Interrupts("out/run") as interrupts:
        with pytest.raises(SweepInterrupted) as caught:
            signal.raise_signal(signal.SIGTERM)
        assert caught.value.exit_code == 143
    with Interrupts("out/run") as interrupts:
        interrupts.check()
        signal.signal(signal.SIGINT, lambda signum, frame: None)
        os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(SweepInterrupted) as caught:
            interrupts.check()
        assert caught.value.exit_code == 130


def qnn(*arguments: str, timeout: float = 300) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-c", "from pipeline.commands.cli import main; main()", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False)


def test_the_commands_end_to_end(tmp_path):
    config, out = tmp_path / "sweep.yaml", str(tmp_path / "run")
    config.write_text(config_text(tmp_path, tracking={"top": 1}))
    done = qnn("sweep", str(config), "--out", out)
    assert done.returncode == 0, done.stderr
    assert "best networks" in done.stdout
    assert f"{out}/report.html" in done.stdout
    assert "mlflow" in done.stdout
    assert "48/48 trials, best gap" in done.stderr
    verified = qnn("verify", out)
    assert verified.returncode == 0
    networks = len(os.listdir(f"{out}/networks"))
    certificates = len(os.listdir(f"{out}/certificates"))
    # The manifest and sweep.yaml, which names the source, are two more.
    assert f"{networks + certificates + 2} files, all verified" in verified.stdout
    network = RunFolder.open(out).files("networks")[0]
    Path(out, network).write_bytes(np.random.default_rng(0).bytes(1000))
    verified = qnn("verify", out, f"{out}/{network}")
    assert verified.returncode == 1
    assert f"FAIL  {network}  " in verified.stdout
    # By the manifest, in the folder and alone.
    assert "3 FAILED" in verified.stdout
    assert "Traceback" not in verified.stderr
    missing = qnn("verify", str(tmp_path / "nothing"))
    assert missing.returncode == 2
    assert missing.stderr.startswith("error: ")
    assert missing.stderr.count("\n") == 1
