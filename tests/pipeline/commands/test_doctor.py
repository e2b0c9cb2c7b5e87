"""Each check in its good and its bad states, with real servers and folders."""

import shutil
import sqlite3
import subprocess
import sys
from collections import namedtuple
from email.utils import formatdate
from pathlib import Path
from time import time

import pytest

from pipeline.commands import doctor
from pipeline.commands.doctor import (
    check_blas,
    check_clock,
    check_disk,
    check_mlflow,
    check_ray,
    check_storage,
    check_versions,
    examine,
)
from pipeline.results.folder import StoreError
from qnn.errors import InputError
from tests.servers import serve


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RAY_AUTH_MODE", "MLFLOW_TRACKING_URI", "MLFLOW_TRACKING_USERNAME"):
        monkeypatch.delenv(name, raising=False)


def test_this_machine_is_well() -> None:
    assert check_versions().level == "ok"
    assert "ray " in check_versions().text
    assert check_blas().level == "ok"


def test_packages_that_are_old_or_missing_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = ["numpy>=99", "no-such-package>=1", "pytest>=99; extra == 'dev'", "scipy>=1"]
    monkeypatch.setattr(doctor, "requires", lambda name: wanted)
    check = check_versions()
    assert check.level == "fail"
    assert "numpy 2" in check.text
    assert "(needs >=99); no-such-package is missing (needs >=1)" in check.text


def test_a_cluster_that_takes_orders_from_anybody_is_warned_of() -> None:
    assert check_ray(None).level == "ok"
    with serve(200, f'{{"ray_version": "{doctor.version("ray")}"}}') as (address, _):
        check = check_ray(address)
    assert (check.level, "takes orders from anybody" in check.text) == ("warn", True)
    with serve(200, '{"ray_version": "2.56.0"}') as (address, _):
        check = check_ray(address)
    assert (check.level, "runs Ray 2.56.0, here is" in check.text) == ("warn", True)


def test_mlflow_on_a_server_that_is_well_closed_broken_or_away(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    expected = {200: "ok", 401: "fail", 500: "fail"}
    for status, level in expected.items():
        with serve(status, doctor.version("mlflow")) as (address, _):
            monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
            check = check_mlflow("out")
        assert check.level == level, check
        assert check.text.startswith(address)
    check = check_mlflow("out")
    assert (check.level, "does not answer" in check.text) == ("fail", True)


def test_mlflow_on_a_database_or_nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert check_mlflow("out").level == "ok"
    assert check_mlflow("s3://bucket/out").level == "warn"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    check = check_mlflow("s3://bucket/out")
    assert (check.level, "not there yet, the first sweep makes it" in check.text) == ("ok", True)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/none/mlflow.db")
    assert check_mlflow("out").level == "fail"
    # Looking makes nothing.
    assert not list(tmp_path.iterdir())
    sqlite3.connect(tmp_path / "mlflow.db").close()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    assert check_mlflow("out").text.endswith("mlflow.db opens")


def test_mlflow_in_a_folder_as_sweeps_take_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for uri in (str(tmp_path), tmp_path.as_uri()):
        monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
        assert check_mlflow("out").level == "ok"
    for uri in (str(tmp_path / "none"), "localhost:5000"):
        monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
        with pytest.raises(InputError, match="MLFLOW_TRACKING_URI"):
            check_mlflow("out")


def test_the_password_of_the_database_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "nosuch://me:canary-canary@host/db")
    check = check_mlflow("out")
    assert check.level == "fail"
    assert "canary" not in check.line


def test_storage_is_written_read_and_left_clean(tmp_path: Path) -> None:
    out = tmp_path / "out"
    check = check_storage(str(out))
    assert check.level == "ok", check
    assert list(tmp_path.iterdir()) == []
    # A sweep may be called doctor.
    (out / "doctor").mkdir(parents=True)
    (out / "doctor" / "sweep.yaml").write_text("name: doctor")
    assert check_storage(str(out)).level == "ok"
    assert [str(file.relative_to(out)) for file in out.rglob("*")] == [
        "doctor", "doctor/sweep.yaml",
    ]  # fmt: skip
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError):
        check_storage(str(tmp_path / "file" / "out"))


def test_clocks_are_compared_with_the_servers(tmp_path: Path) -> None:
    for ahead, level in ((0, "ok"), (60, "warn"), (4000, "fail")):
        date = formatdate(time() + ahead, usegmt=True)
        with serve(200, "", {"Date": date}) as (address, _):
            check = check_clock(address, str(tmp_path))
        assert check.level == level, check
        assert "ray +" in check.text or ahead == 0
        assert "storage" in check.text
    assert list(tmp_path.iterdir()) == []


def test_little_disk_space_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    for free, level in ((9e9, "ok"), (2e9, "warn"), (1e8, "fail")):
        monkeypatch.setattr(shutil, "disk_usage", lambda path, free=free: usage(0, 0, free))
        assert check_disk(str(tmp_path / "not" / "yet")).level == level


def test_a_failing_check_does_not_hide_the_others(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    levels = {check.name: check.level for check in examine("head:x", str(tmp_path / "file" / "o"))}
    assert levels["ray"] == levels["storage"] == "fail"
    assert levels["versions"] == levels["disk"] == "ok"
    assert len(levels) == 7


def test_the_command_prints_a_line_a_check_and_exits_with_1(tmp_path: Path) -> None:
    qnn = Path(sys.executable).with_name("qnn")
    command = [qnn, "doctor", "--out", tmp_path, "--address", "http://127.0.0.1:1"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1
    lines = done.stdout.splitlines()
    assert len(lines) == 7
    assert [line.split()[0] for line in lines if line.split()[1] == "ray"] == ["fail"]
    assert done.stderr == ""
