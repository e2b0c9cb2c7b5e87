"""One sweep a folder, whatever happened to the one before."""

import errno
import json
import logging
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pyarrow.fs as pafs
import pytest

from pipeline.results import lock as locks
from pipeline.results.folder import RunFolder, StoreError
from pipeline.results.lock import acquire_lock
from qnn.errors import InputError

HOLD = """
import sys, time
from pipeline.results.lock import acquire_lock
from pipeline.results.ledger import RunFolder
held = acquire_lock(RunFolder.open(sys.argv[1]))
print("held", flush=True)
time.sleep(60)
"""


@pytest.fixture
def remote(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunFolder:
    """A folder that is reached like an object store: no file locks."""
    monkeypatch.setattr(locks, "SETTLE", 0.0)
    filesystem = pafs.SubTreeFileSystem(str(tmp_path), pafs.LocalFileSystem())
    return RunFolder(filesystem, "bucket", "sub://bucket")


def test_a_second_sweep_is_refused_until_the_first_ends(tmp_path):
    folder = RunFolder.open(tmp_path)
    first = acquire_lock(folder)
    assert first.token in (tmp_path / "sweep.lock").read_text()
    with pytest.raises(InputError, match="another sweep is running") as caught:
        acquire_lock(folder)
    assert f"host {socket.gethostname()}, process {os.getpid()}" in str(caught.value)
    assert "\n" not in str(caught.value)
    first.release()
    first.release()
    assert not (tmp_path / "sweep.lock").exists()
    acquire_lock(folder).release()


def test_a_killed_holder_is_refused_to_others_while_alive_and_taken_over_when_dead(
    tmp_path, caplog
):
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        folder = RunFolder.open(tmp_path)
        with pytest.raises(InputError, match=f"process {holder.pid}"):
            acquire_lock(folder)
        holder.send_signal(signal.SIGKILL)
        holder.wait()
        with caplog.at_level(logging.WARNING):
            held = acquire_lock(folder)
        assert "taken over" in caplog.text
        assert json.loads((tmp_path / "sweep.lock").read_text())["pid"] == os.getpid()
        held.release()


def test_a_folder_that_cannot_be_written_is_said(tmp_path):
    with pytest.raises(StoreError, match=r"sweep\.lock: cannot be written"):
        acquire_lock(RunFolder.open(tmp_path / "missing"))


def test_object_store_lock_refuses_renews_and_releases(remote, monkeypatch):
    first = acquire_lock(remote)
    with pytest.raises(InputError, match="another sweep is running"):
        acquire_lock(remote)
    monkeypatch.setattr(locks, "RENEW_EVERY", 0.0)
    before = remote.filesystem.get_file_info("bucket/sweep.lock").mtime
    first.renew()
    assert remote.filesystem.get_file_info("bucket/sweep.lock").mtime > before
    first.release()
    assert not remote.exists("sweep.lock")
    assert remote.files() == []


def ended_process() -> int:
    done = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"],
                          capture_output=True, text=True, check=True)  # fmt: skip
    return int(done.stdout)


@pytest.fixture
def watched(remote: RunFolder, monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long was slept between looks at a token; the clock goes by it, and nobody waits."""
    slept: list[float] = []
    monkeypatch.setattr(locks, "SETTLE", 0.0)
    monkeypatch.setattr(locks.time, "sleep", slept.append)
    monkeypatch.setattr(locks, "_now", lambda: sum(slept))
    return slept


def test_object_store_lock_of_a_dead_process_here_is_taken_over_at_once(remote, watched, caplog):
    holder = {**locks._holder(), "token": "x", "pid": ended_process()}
    remote.write("sweep.lock", json.dumps(holder).encode())
    acquire_lock(remote)
    assert "is gone; taken over" in caplog.text
    assert sum(watched) == 0


@pytest.mark.parametrize("other", [{"processes": "pid:[1]"}, {"boot": "x"}, {"host": "elsewhere"}])
def test_a_process_number_of_elsewhere_says_nothing_of_a_process_here(remote, watched, other):
    """Containers may share a host name, each with process numbers of its own."""
    holder = {**locks._holder(), "token": "x", "pid": ended_process(), **other}
    remote.write("sweep.lock", json.dumps(holder).encode())
    acquire_lock(remote)
    assert sum(watched) >= locks.STALE_AFTER - 1


def test_a_token_that_is_renewed_while_it_is_watched_is_alive(
    remote, watched, tmp_path, monkeypatch, caplog
):
    holder = {"token": "x", "host": "elsewhere", "pid": 1, "started": "then"}
    remote.write("sweep.lock", json.dumps(holder).encode())
    file = tmp_path / "bucket" / "sweep.lock"

    def sleep(seconds: float) -> None:
        watched.append(seconds)
        if sum(watched) > 14:
            os.utime(file)

    monkeypatch.setattr(locks.time, "sleep", sleep)
    with pytest.raises(InputError, match="host elsewhere, process 1, since then"):
        acquire_lock(remote)
    assert sum(watched) == 16
    assert "may be dead: watching for 90 s at most whether it renews its lock" in caplog.text
    assert json.loads(remote.read("sweep.lock"))["token"] == "x"


def test_a_token_that_is_not_renewed_is_watched_until_it_is_stale(remote, watched, tmp_path):
    """As what starts a killed driver again within seconds finds it."""
    holder = {"token": "x", "host": "elsewhere", "pid": 1, "started": "then"}
    remote.write("sweep.lock", json.dumps(holder).encode())
    past = (tmp_path / "bucket" / "sweep.lock").stat().st_mtime - 20
    os.utime(tmp_path / "bucket" / "sweep.lock", (past, past))
    held = acquire_lock(remote)
    assert 69 <= sum(watched) <= 72
    assert held.token in remote.read("sweep.lock").decode()


def test_a_token_that_is_let_go_while_it_is_watched_is_free(remote, watched, monkeypatch):
    remote.write("sweep.lock", json.dumps({"token": "x", "host": "elsewhere"}).encode())

    def sleep(seconds: float) -> None:
        watched.append(seconds)
        if seconds == locks.WATCH_EVERY:
            remote.remove("sweep.lock")

    monkeypatch.setattr(locks.time, "sleep", sleep)
    assert acquire_lock(remote).token in remote.read("sweep.lock").decode()
    assert sum(watched) == locks.WATCH_EVERY


def test_object_store_lock_of_another_host_is_free_once_it_is_stale(remote, watched, tmp_path):
    holder = {"token": "x", "host": "elsewhere", "pid": 1, "started": "then"}
    remote.write("sweep.lock", json.dumps(holder).encode())
    past = (tmp_path / "bucket" / "sweep.lock").stat().st_mtime - locks.STALE_AFTER - 1
    os.utime(tmp_path / "bucket" / "sweep.lock", (past, past))
    held = acquire_lock(remote)
    assert held.token in remote.read("sweep.lock").decode()
    assert sum(watched) == 0


def test_a_store_that_is_away_is_borne_while_the_lock_is_fresh(remote, monkeypatch, caplog):
    held = acquire_lock(remote)
    monkeypatch.setattr(locks, "RENEW_EVERY", 0.0)

    def away(relative: str) -> bytes:
        raise StoreError(f"{relative}: cannot be read: connection refused")

    with monkeypatch.context() as gone:
        gone.setattr(remote, "read", away)
        held.renew()
        assert "connection refused; trying again" in caplog.text
        gone.setattr(locks, "STALE_AFTER", 0.0)
        with pytest.raises(StoreError, match="connection refused"):
            held.renew()
    held.renew()


def test_a_holder_that_was_taken_over_stops(remote, monkeypatch):
    first = acquire_lock(remote)
    monkeypatch.setattr(locks, "RENEW_EVERY", 0.0)
    remote.write("sweep.lock", json.dumps({"token": "other", "host": "elsewhere"}).encode())
    with pytest.raises(StoreError, match=r"another sweep took this folder over \(host elsewhere"):
        first.renew()
    first.release()
    assert remote.exists("sweep.lock")


def test_a_holder_that_slept_while_another_came_and_went_stops(remote, monkeypatch):
    held = acquire_lock(remote)
    remote.remove("sweep.lock")
    # Nobody could take a fresh lock over: somebody removed it, and it is written again.
    held.confirm()
    assert held.token in remote.read("sweep.lock").decode()
    remote.remove("sweep.lock")
    monkeypatch.setattr(locks, "STALE_AFTER", -1.0)
    with pytest.raises(StoreError, match=r"stood still .* its lock is gone; another one may have"):
        held.confirm()
    assert not remote.exists("sweep.lock")


def test_a_file_lock_whose_file_was_removed_is_lost(tmp_path):
    held = acquire_lock(RunFolder.open(tmp_path))
    held.confirm()
    (tmp_path / "sweep.lock").unlink()
    second = acquire_lock(RunFolder.open(tmp_path))
    with pytest.raises(StoreError, match=r"sweep\.lock: was removed while this sweep ran"):
        held.confirm()
    second.confirm()


def test_the_file_of_another_process_is_not_removed_when_a_lost_lock_is_let_go(tmp_path):
    first = acquire_lock(RunFolder.open(tmp_path))
    (tmp_path / "sweep.lock").unlink()
    second = acquire_lock(RunFolder.open(tmp_path))
    first.release()
    second.confirm()
    with pytest.raises(InputError, match="another sweep is running"):
        acquire_lock(RunFolder.open(tmp_path))
    second.release()
    assert not (tmp_path / "sweep.lock").exists()


def test_a_lock_file_that_cannot_be_removed_is_let_go(tmp_path, monkeypatch):
    def denied(path: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    held = acquire_lock(RunFolder.open(tmp_path))
    with monkeypatch.context() as read_only:
        read_only.setattr(os, "unlink", denied)
        held.release()
    acquire_lock(RunFolder.open(tmp_path)).release()


def test_a_file_system_without_locks_is_no_other_sweep(tmp_path, monkeypatch):
    def none(descriptor: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(locks.fcntl, "flock", none)
    with pytest.raises(StoreError, match=r"sweep\.lock: cannot be locked: No locks available"):
        acquire_lock(RunFolder.open(tmp_path))
