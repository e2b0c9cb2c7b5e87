"""The MLflow server of infra/mlflow, run for real: who is let in, and a sweep tracked to it."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from mlflow import MlflowClient

from pipeline.commands.doctor import check_mlflow
from tests.cluster.ray_nodes import free_ports
from tests.infra.postgres import PASSWORD as DATABASE_PASSWORD
from tests.infra.postgres import postgres
from tests.pipeline.small import config_text

pytestmark = pytest.mark.slow

SERVER = Path(__file__).parents[2] / "infra" / "mlflow" / "server.sh"
BIN = Path(sys.executable).parent
PASSWORD = "50%-canary-password"
START_SECONDS = 150


@pytest.fixture(params=["sqlite", "postgres"])
def databases(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, str]]:
    """URIs of the databases of runs and of users."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/runs.db", f"sqlite:///{tmp_path}/users.db"
        return
    with postgres() as server:
        yield f"{server}/mlflow", f"{server}/mlflow_users"


@pytest.fixture
def address(tmp_path: Path, databases: tuple[str, str]) -> Iterator[str]:
    (port,) = free_ports(1)
    environment = {
        **os.environ,
        "PATH": f"{BIN}:{os.environ['PATH']}",
        "TMPDIR": str(tmp_path),
        "MLFLOW_BACKEND_STORE_URI": databases[0],
        "MLFLOW_AUTH_DATABASE_URI": databases[1],
        "MLFLOW_ADMIN_PASSWORD": PASSWORD,
        "MLFLOW_FLASK_SERVER_SECRET_KEY": "any-long-random-text",
        "MLFLOW_ARTIFACTS_DESTINATION": str(tmp_path / "artifacts"),
        "MLFLOW_PORT": str(port),
    }
    with (tmp_path / "server.log").open("wb") as log:
        server = subprocess.Popen(
            ["bash", str(SERVER)], env=environment, stdout=log, stderr=log, start_new_session=True
        )
    url = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                requests.get(f"{url}/health", timeout=5)
                break
            except requests.exceptions.ConnectionError:
                assert server.poll() is None, (tmp_path / "server.log").read_text()
                assert time.monotonic() < deadline
                time.sleep(1)
        yield url
    finally:
        if server.poll() is None:
            os.killpg(server.pid, signal.SIGKILL)
        server.wait()


def test_only_users_get_in_and_a_sweep_is_tracked(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    search = f"{address}/api/2.0/mlflow/experiments/search"
    assert requests.post(search, json={"max_results": 9}, timeout=60).status_code == 401
    wrong = requests.post(search, json={"max_results": 9}, auth=("admin", "guess"), timeout=60)
    assert wrong.status_code == 401
    assert not list(tmp_path.glob("mlflow-auth-*"))

    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    assert check_mlflow("out").level == "fail"
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "admin")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", PASSWORD)
    assert check_mlflow("out").level == "ok"

    sweep = tmp_path / "small.yaml"
    sweep.write_text(config_text(tmp_path))
    done = subprocess.run(
        [str(BIN / "qnn"), "sweep", str(sweep), "--out", str(tmp_path / "out"), "--cpus", "1"],
        capture_output=True,
        text=True,
        env=dict(os.environ),
    )
    assert done.returncode == 0, done.stderr
    assert PASSWORD not in done.stdout + done.stderr
    for file in [*tmp_path.rglob("*.log"), *tmp_path.rglob("*.html"), *tmp_path.rglob("*.yaml")]:
        for secret in (PASSWORD, DATABASE_PASSWORD):
            assert secret.encode() not in file.read_bytes(), file
    _no_secret_in_runs(address)
    found = requests.post(
        search, json={"max_results": 9}, auth=("admin", PASSWORD), timeout=60
    ).json()
    assert "small" in {experiment["name"] for experiment in found["experiments"]}


def _no_secret_in_runs(address: str) -> None:
    """The sweep's runs, all there, with their parameters and tags."""
    client = MlflowClient(tracking_uri=address)
    experiment = client.get_experiment_by_name("small")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id])
    assert sorted(run.data.tags["qnn.role"] for run in runs) == ["champion", "sweep", *["top"] * 5]
    told = str([run.to_dictionary() for run in runs])
    assert PASSWORD not in told
    assert DATABASE_PASSWORD not in told
