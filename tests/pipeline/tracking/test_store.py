"""Where MLflow keeps the runs, and what becomes of a database that is damaged."""

import contextlib
import logging
import os
import sqlite3
from pathlib import Path
from types import SimpleNamespace

import pyarrow.fs as pafs
import pytest

from pipeline.results.folder import RunFolder
from pipeline.tracking.store import open_store, set_aside_damaged, tracking_uri
from qnn.errors import InputError
from tests.pipeline.small import small_config
from tests.pipeline.tracked import new_folder


@pytest.fixture(autouse=True)
def _no_tracking_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


@pytest.mark.parametrize("damage", ["noise", "half"])
def test_a_damaged_database_is_set_aside(
    tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    folder = new_folder(tmp_path)
    content = folder.read("mlflow.db")
    set_aside_damaged(folder)
    assert folder.files() == ["mlflow.db"]
    bad = os.urandom(9000) if damage == "noise" else content[: len(content) // 2]
    folder.write("mlflow.db", bad)
    folder.write("mlflow.db-wal", b"")
    with caplog.at_level(logging.WARNING):
        set_aside_damaged(folder)
    assert folder.files() == ["quarantine/mlflow.db", "quarantine/mlflow.db-wal"]
    assert folder.read("quarantine/mlflow.db") == bad
    assert "mlflow.db: " in caplog.text
    set_aside_damaged(folder)


@pytest.mark.parametrize("server", [None, "http://from-environment"])
def test_a_damaged_database_is_set_aside_before_mlflow_opens_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: str | None
) -> None:
    """Only the folder's own database: where MLflow is a server, a file of that name stays."""
    folder = RunFolder.open(tmp_path / "run")
    folder.write("mlflow.db", b"noise" * 2000)
    found: list[str] = []

    class Client:
        def __init__(self, tracking_uri: str) -> None:
            found.extend(folder.files())

        def get_experiment_by_name(self, name: str) -> SimpleNamespace:
            return SimpleNamespace(experiment_id="1", lifecycle_stage="active")

    monkeypatch.setattr("mlflow.MlflowClient", Client)
    if server is not None:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", server)
    assert open_store(small_config(tmp_path), folder).experiment_id == "1"
    assert found == ["quarantine/mlflow.db" if server is None else "mlflow.db"]


def test_a_busy_database_is_not_damaged(tmp_path: Path) -> None:
    folder = new_folder(tmp_path)
    with contextlib.closing(sqlite3.connect(tmp_path / "mlflow.db")) as other:
        other.execute("PRAGMA locking_mode = EXCLUSIVE")
        other.execute("BEGIN EXCLUSIVE")
        set_aside_damaged(folder)
    assert folder.exists("mlflow.db")


def test_where_runs_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = RunFolder.open(tmp_path)
    assert tracking_uri(small_config(tmp_path), folder) == f"sqlite:///{tmp_path}/mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://from-environment")
    assert tracking_uri(small_config(tmp_path), folder) == "http://from-environment"
    config = small_config(tmp_path, tracking={"uri": "http://from-config"})
    assert tracking_uri(config, folder) == "http://from-config"


def test_a_folder_whose_models_mlflow_cannot_load_is_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        open_store(small_config(tmp_path), new_folder(tmp_path / "100%?#"))
        assert "rename the folder" not in caplog.text
        open_store(small_config(tmp_path), new_folder(tmp_path / "a%20b"))
    assert f"{tmp_path}/a%20b: MLflow reads % and two digits" in caplog.text
    assert (tmp_path / "a%20b" / "mlflow.db").stat().st_size > 1000
    assert sorted(one.name for one in tmp_path.iterdir()) == ["100%?#", "a%20b", "small.csv"]


def test_a_folder_elsewhere_needs_a_server(tmp_path: Path) -> None:
    elsewhere = RunFolder(
        pafs.SubTreeFileSystem(str(tmp_path), pafs.LocalFileSystem()),
        "run",
        "s3://key:secret@b/run",
    )
    with pytest.raises(InputError) as caught:
        tracking_uri(small_config(tmp_path), elsewhere)
    assert str(caught.value) == (
        "s3://***@b/run: is not on this machine, so MLflow's database cannot lie in it; set "
        "tracking.uri or MLFLOW_TRACKING_URI"
    )
