"""`qnn retrain` as a process: quick where nothing is new, and what a dry run says."""

import subprocess
import sys
import time
from pathlib import Path

import pyarrow.fs as pafs
import pytest

from pipeline.commands.retraining import said_of, way_back
from pipeline.results import lock
from pipeline.results.folder import RunFolder, StoreError
from pipeline.results.verification import verify_paths
from pipeline.retraining.decision import look
from pipeline.retraining.lease import LEASE_FILE, Lease
from pipeline.retraining.state import State, settings_digest, write_state
from pipeline.tracking.aliases import Move
from qnn.errors import InputError
from tests.pipeline.retraining.arriving import arrive, config, text

HEAVY = ("ray", "mlflow", "cvxpy", "sklearn", "scipy", "pandas", "matplotlib", "numba")
CODE = f"""
import sys
from pipeline.commands.cli import main
try:
    main()
finally:
    print([name for name in {HEAVY!r} if name in sys.modules])
"""


def qnn(*arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-c", CODE, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    for k in (1, 2):
        arrive(tmp_path / "data", f"{k}.csv", seed=k, count=40)
    (tmp_path / "sweep.yaml").write_text(text(tmp_path / "data", retrain={"max_bytes": 2000}))
    return tmp_path / "data"


def test_a_dry_run_explains_and_writes_nothing(data: Path) -> None:
    home = data.parent / "home"
    done = qnn("retrain", str(data.parent / "sweep.yaml"), "--out", str(home), "--dry-run")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("retrain arriving: first run, on 2 partitions\n")
    assert "  window    40 rows of 1.csv\n  hold-out  40 rows of 2.csv\n" in done.stdout
    assert "not worse by more than 0.01 (significance 0.05), at most 2,000 bytes" in done.stdout
    assert "n = 20 training rows, d = 5; 40 rows for the test" in done.stdout
    assert "dry run: nothing was trained or written\n[" in done.stdout
    assert not {"'ray'", "'mlflow'"} & set(done.stdout.splitlines()[-1].strip("[]").split(", "))
    assert not home.exists()


def test_a_dry_run_without_beta_says_what_is_chosen_and_what_that_costs(data: Path) -> None:
    file = data.parent / "open.yaml"
    # A limit that the plain setting of the plan would not keep is no fault of the choice.
    file.write_text("data: {source: data, target: target, exclude: [y]}\nmax_bytes: 90\n")
    done = qnn("retrain", str(file), "--out", str(data.parent / "home"), "--dry-run")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("retrain data: first run, on 2 partitions\n")
    # Those that are trained on alone: the 40 of the hold-out choose nothing.
    assert "will be chosen first, by cross-validation on 40 rows, within 90 bytes" in done.stdout
    file.write_text(file.read_text() + "loss: [hinge, squared]\n")
    done = qnn("retrain", str(file), "--out", str(data.parent / "home"), "--dry-run")
    assert done.returncode == 2
    assert done.stderr.startswith("error: open.yaml: beta: is required where several losses")


def test_the_way_back_names_mlflow_where_the_environment_does_not(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, there = config(data), config(data, tracking={"uri": "http://mlflow:5000"})
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert way_back(here, "my home") == "qnn rollback arriving --uri 'my home'"
    assert way_back(there, "home") == "qnn rollback arriving --uri http://mlflow:5000"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://other:5000")
    assert way_back(here, "home") == "qnn rollback arriving"
    assert way_back(there, "home") == "qnn rollback arriving --uri http://mlflow:5000"


def test_a_first_promotion_has_no_way_back(data: Path) -> None:
    first, second = Move("promotion", "1", None), Move("promotion", "2", "1")
    assert said_of(first, config(data), "home") == ["promotion: champion is version 1"]
    assert said_of(second, config(data), "home")[1:] == [f"back: {way_back(config(data), 'home')}"]


def test_its_folder_is_verified_run_by_run(tmp_path: Path) -> None:
    home = tmp_path / "my home"
    (home / "runs" / "day-1" / "results").mkdir(parents=True)
    (home / "runs" / "day-1" / "results" / "x.parquet").write_bytes(b"")
    with pytest.raises(InputError, match=r"in its runs: qnn verify '.*my home'/runs/\*"):
        list(verify_paths([str(home)]))


@pytest.mark.parametrize("as_uri", [False, True])
def test_nothing_new_is_said_in_a_moment_without_ray_or_mlflow(data: Path, as_uri: bool) -> None:
    home = RunFolder.open(data.parent / "home")
    found = look(config(data), home)
    partitions = {one.name: one.digest for one in found.partitions}
    digest = settings_digest(config(data))
    write_state(home, State(config=digest, partitions=partitions, run="runs/x",
                            verdict="refused", reason="", finished="then"))  # fmt: skip
    out = (data.parent / "home").as_uri() if as_uri else home.location
    begin = time.monotonic()
    done = qnn("retrain", str(data.parent / "sweep.yaml"), "--out", out)
    assert time.monotonic() - begin < 10
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == (
        "retrain arriving: nothing new since the last run (refused then): 2 partitions\n[]\n"
    )
    assert home.files() == ["retrain.json"]


def test_a_second_retraining_is_refused(data: Path) -> None:
    home = RunFolder.open(data.parent / "home")
    home.create()
    with Lease(home):
        done = qnn("retrain", str(data.parent / "sweep.yaml"), "--out", home.location)
    assert done.returncode == 2
    assert "another retraining is running in this folder" in done.stderr
    assert not home.exists(LEASE_FILE)


@pytest.mark.parametrize("renewing", [True, False])
def test_a_lost_lease_is_noticed_before_anything_is_promoted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, renewing: bool
) -> None:
    """By the thread that renews it, and by the check itself where that thread has not run yet."""
    monkeypatch.setattr(lock, "SETTLE", 0.0)
    if renewing:
        monkeypatch.setattr(lock, "RENEW_EVERY", 0.01)
    filesystem = pafs.SubTreeFileSystem(str(tmp_path), pafs.LocalFileSystem())
    remote = RunFolder(filesystem, "bucket", "sub://bucket")
    remote.create()
    with Lease(remote) as lease:
        lease.check()
        with pytest.raises(InputError, match="another retraining is running"):
            lock.acquire_lock(remote, LEASE_FILE, "retraining")
        remote.write(LEASE_FILE, b'{"token": "other", "host": "elsewhere"}')
        if renewing:
            lease._thread.join(10)
            assert not lease._thread.is_alive()
        with pytest.raises(StoreError, match="another retraining took this folder over"):
            lease.check()
    assert b"elsewhere" in remote.read(LEASE_FILE)


@pytest.mark.parametrize(
    ("retrain", "message"),
    [
        ({"window": {"kind": "last"}}, r"retrain\.window\.partitions: is required"),
        ({"window": {}}, r"retrain\.window\.kind: is required: one of all, last, rolling"),
        ({"hold_out": {"kind": "x"}}, r"retrain\.hold_out\.kind: must be one of"),
        ({"hold_out": {"kind": "fraction"}}, r"retrain\.hold_out\.fraction: is required"),
        ({"toleranse": 1}, r"retrain\.toleranse: unknown key \(known: window, hold_out, toler"),
    ],
)
def test_faults_of_the_section_are_one_line(tmp_path: Path, retrain: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        config(tmp_path, retrain=retrain)
