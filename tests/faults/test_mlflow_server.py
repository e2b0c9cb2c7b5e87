"""An MLflow server that dies under a sweep: results are kept, and a rerun catches up."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pipeline.results.folder import RunFolder
from tests.browser.pages import free_port, wait_until_up
from tests.faults.disturbed import (
    PATIENCE,
    Damage,
    damage,
    many_paths,
    qnn,
    some_results,
    wait_for,
)

pytestmark = pytest.mark.slow

SWEEP = [sys.executable, "-c", "from pipeline.commands.cli import main; main()", "sweep"]


@contextmanager
def server(folder: Path, port: int) -> Iterator["subprocess.Popen[bytes]"]:
    """An MLflow server on a port, over the store that an earlier one left."""
    environment = {
        **os.environ,
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    }
    command = [sys.executable, "-m", "mlflow", "server", "--workers", "1", "--host", "127.0.0.1",
               "--port", str(port), "--backend-store-uri", f"sqlite:///{folder}/server.db",
               "--artifacts-destination", f"{folder}/artifacts"]  # fmt: skip
    with (folder / "server.log").open("ab") as log:
        process = subprocess.Popen(
            command, cwd=folder, env=environment, stdout=log, stderr=log, start_new_session=True
        )
        try:
            wait_until_up(f"http://127.0.0.1:{port}/health", process)
            yield process
        finally:
            kill(process)


def kill(process: "subprocess.Popen[bytes]") -> None:
    """kill -9 of the server and its workers; harmless when repeated."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(30)


@pytest.mark.parametrize("moment", ["in the sweep", "while it is logged to"])
def test_results_are_kept_and_a_rerun_catches_up(tmp_path, undisturbed, moment):
    config, out, port = many_paths(tmp_path), tmp_path / "run", free_port()
    uri = f"http://127.0.0.1:{port}"
    environment = {**os.environ, "MLFLOW_TRACKING_URI": uri}
    command = [*SWEEP, str(config), "--out", str(out)]
    with (
        server(tmp_path, port) as process,
        subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as driver,
    ):
        if moment == "in the sweep":
            wait_for(lambda: (out / "tracking.json").exists() and some_results(out))
        else:
            # The first of its many artifacts: most of the logging is still to come.
            wait_for(lambda: any((tmp_path / "artifacts").rglob("report.html")))
        kill(process)
        _, said = driver.communicate(timeout=PATIENCE)
    assert driver.returncode == 1
    assert "results are kept, a rerun tracks them" in said
    assert "Traceback" not in said
    assert damage(f"MLflow killed {moment}", 1, out, undisturbed) == Damage(1, 0, 0)
    folder = RunFolder.open(out)
    before = {file: folder.read(file) for file in folder.files("results")}
    with server(tmp_path, port):
        begin = time.monotonic()
        again = qnn("sweep", str(config), "--out", str(out), MLFLOW_TRACKING_URI=uri)
        assert again.returncode == 0, again.stderr
        print(f"caught up in {time.monotonic() - begin:.1f} s")
        assert {file: folder.read(file) for file in folder.files("results")} == before
        counted = _runs(uri)
        assert counted == {("sweep", "FINISHED"): 1, ("champion", "FINISHED"): 1,
                           ("top", "FINISHED"): 5}  # fmt: skip


def _runs(uri: str) -> dict[tuple[str, str], int]:
    """How many runs of each role and status the server has."""
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name("small")
    found: dict[tuple[str, str], int] = {}
    for run in client.search_runs([experiment.experiment_id]):
        key = (run.data.tags["qnn.role"], run.info.status)
        found[key] = found.get(key, 0) + 1
    return found
