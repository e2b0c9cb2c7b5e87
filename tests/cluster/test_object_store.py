"""Sweeps into a real S3-compatible server, its death in mid-run included."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from mlflow import MlflowClient

from pipeline.results.folder import RunFolder
from pipeline.results.lock import LOCK_FILE
from pipeline.results.verification import verify_paths
from pipeline.retraining.partitions import beside
from pipeline.retraining.state import read_state
from pipeline.tracking.aliases import CHAMPION, PREVIOUS, aliases
from tests.cluster.swift import SECRET, Swift
from tests.faults.nights import night
from tests.pipeline.retraining.arriving import rows, text
from tests.pipeline.small import config_text, long_sweep, rows_of

pytestmark = pytest.mark.slow


@pytest.fixture
def swift(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Swift]:
    server = Swift(tmp_path / "swift")
    for name, value in server.credentials.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    try:
        yield server
    finally:
        server.kill()


def start(config: Path, out: str) -> "subprocess.Popen[str]":
    qnn = Path(sys.executable).with_name("qnn")
    return subprocess.Popen(
        [str(qnn), "sweep", str(config), "--out", out, "--cpus", "2"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=config.parent,
        env=dict(os.environ),
    )


def finish(process: "subprocess.Popen[str]", seconds: float = 400) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=seconds)
    assert SECRET not in out + err
    return process.returncode, out, err


def await_that(condition: Callable[[], bool], process: "subprocess.Popen[Any]") -> None:
    deadline = time.monotonic() + 200
    while not condition():
        assert process.poll() is None, finish(process)
        assert time.monotonic() < deadline
        time.sleep(0.2)


def test_a_sweep_into_a_bucket_resumes_and_equals_a_local_one(swift: Swift, tmp_path: Path) -> None:
    config = tmp_path / "small.yaml"
    config.write_text(config_text(tmp_path))
    out = swift.uri("qnn/small-run")
    code, shown, errors = finish(start(config, out))
    assert code == 0, shown + errors
    assert re.search("^results  s3://qnn/small-run/results$", shown, re.MULTILINE)
    assert all(check.ok for check in verify_paths([out]))
    folder = RunFolder.open(out)
    assert not folder.exists(LOCK_FILE)
    assert folder.exists("report.html")

    code, shown, errors = finish(start(config, out))
    assert code == 0, shown + errors
    assert "3 of 3 paths are finished already" in errors

    local = str(tmp_path / "local")
    assert finish(start(config, local))[0] == 0
    assert rows_of(out).equals(rows_of(local))


def test_the_store_dies_in_mid_run_and_a_second_sweep_is_refused(
    swift: Swift, tmp_path: Path
) -> None:
    config, out = long_sweep(tmp_path), swift.uri("qnn/long")
    folder = RunFolder.open(out)
    first = start(config, out)
    await_that(lambda: folder.exists(LOCK_FILE), first)
    code, _, errors = finish(start(config, out))
    assert code == 2
    assert errors.startswith("error: s3://qnn/long: another sweep is running in this folder (host ")

    await_that(lambda: len(folder.files("results", ".parquet")) >= 2, first)
    swift.kill()
    begin = time.monotonic()
    code, _, errors = finish(first)
    spent = time.monotonic() - begin
    assert code == 1, errors
    last = errors.splitlines()[-1]
    assert re.match(r"error: s3://qnn/long/\S+: cannot be (read|written|listed|looked up): ", last)
    assert "Could not connect to server" in last
    assert spent < 200

    swift.start()
    # On a busy machine it lists what it has a while after it answers.
    await_that(lambda: len(folder.files("results", ".parquet")) >= 2, swift.running[0])
    before = set(folder.files("results", ".parquet"))
    assert 2 <= len(before) < 13
    code, shown, errors = finish(start(config, out))
    assert code == 0, shown + errors
    assert f"{len(before)} of 12 paths are finished already" in errors
    assert all(check.ok for check in verify_paths([out]))

    undisturbed = str(tmp_path / "undisturbed")
    assert finish(start(config, undisturbed))[0] == 0
    rows = rows_of(out)
    assert rows.equals(rows_of(undisturbed))
    trials = rows["trial"].to_pylist()
    assert len(set(trials)) == len(trials) == 12 * 3 + 1


def test_a_retraining_whose_data_and_state_are_in_a_bucket(
    swift: Swift, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One night by the command, two that are killed between their steps, the last one prunes."""
    # MLflow without a server puts a run's files where the process is.
    monkeypatch.chdir(tmp_path)
    data, home = RunFolder.open(swift.uri("qnn/arriving")), swift.uri("qnn/nights")

    def arrive(day: int) -> None:
        buffer = pa.BufferOutputStream()
        pq.write_table(rows(60, seed=day), buffer)
        data.write(f"day-{day}.parquet", buffer.getvalue())

    config = tmp_path / "arriving.yaml"
    config.write_text(text(data.location, retrain={"tolerance": 0.5, "keep_runs": 1}))
    command = [str(Path(sys.executable).with_name("qnn")), "retrain", str(config), "--out", home]
    arrive(1)
    arrive(2)
    first = subprocess.run([*command, "--cpus", "2"], capture_output=True, text=True, timeout=400)
    assert first.returncode == 0, first.stdout + first.stderr
    assert "promotion: champion is version 1\n" in first.stdout
    assert SECRET not in first.stdout + first.stderr

    client = MlflowClient(tracking_uri=os.environ["MLFLOW_TRACKING_URI"])
    folder = RunFolder.open(home)
    assert len(folder.newest("runs")) == 1
    for day, step in ((3, "run_sweep"), (4, "promote")):
        arrive(day)
        assert night(config, home, step) == -signal.SIGKILL
        assert folder.exists("retrain.lock")
        assert night(config, home, "") == 0
        assert aliases(client, "arriving") == {CHAMPION: str(day - 1), PREVIOUS: str(day - 2)}
        state = read_state(folder)
        assert state is not None
        assert (state.verdict, len(state.partitions)) == ("promoted", day)
        assert state.run in folder.newest("runs")
    assert not folder.exists("retrain.lock")
    # Champion's and previous's, of three.
    kept = folder.newest("runs")
    assert len(kept) == 2
    assert all(check.ok for check in verify_paths([beside(home, run) for run in kept]))

    nothing = subprocess.run(command, capture_output=True, text=True, timeout=100)
    assert (nothing.returncode, nothing.stderr) == (0, "")
    assert "nothing new since the last run (promoted" in nothing.stdout
