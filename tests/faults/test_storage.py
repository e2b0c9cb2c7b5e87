"""A full disk, and files found damaged: nothing finished is lost, and what happened is said."""

import os
import shutil
import signal
import subprocess
import sys

import pytest

from pipeline.results.folder import RunFolder
from tests.faults.disturbed import DRIVER, PATIENCE, Damage, damage, drive, many_paths, qnn
from tests.pipeline.small import config_text, files_of

pytestmark = pytest.mark.slow

# A file system of its own, in a mount namespace of its own: nothing of it is seen outside.
FULL_DISK = """
set -u
mount -t tmpfs -o size=4m tmpfs "$PLACE"
dd if=/dev/zero of="$PLACE/ballast" bs=1k count=3500 status=none
"$PYTHON" -c "$QNN" "$CONFIG" "$PLACE/run" inline 2>"$KEEP/first.txt"
echo $? >"$KEEP/first.code"
cp -r "$PLACE/run" "$KEEP/first"
rm "$PLACE/ballast"
"$PYTHON" -c "$QNN" "$CONFIG" "$PLACE/run" inline 2>"$KEEP/second.txt"
echo $? >"$KEEP/second.code"
cp -r "$PLACE/run" "$KEEP/second"
"""
COMMAND = """
import sys
from pathlib import Path
import pipeline.reports.page
from pipeline.sweeps.cluster import session as cluster
from pipeline.commands import sweep as commands
from pipeline.studies.training import STUDY
from pipeline.sweeps.driver import SweepOptions
pipeline.reports.page.write_report = lambda folder, trial: None
STUDY.start_tracking = None
commands.SweepOptions = lambda **given: SweepOptions(inline=True)
sys.exit(commands.sweep_command(Path(sys.argv[1]), sys.argv[2], [], address=None,
                                cpus=None, max_failures=0, retry_failed=False))
"""

# The kernel ends the process that writes past the limit, and what it has written stays.
CUT_OFF = """
import resource, signal, sys
signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv.pop()),) * 2)
"""
REPLACE = """
from pipeline.results.folder import RunFolder
RunFolder.open(sys.argv[1]).write(sys.argv[2], b"new" * 100_000)
"""


def cut_off(program: str, *arguments: object) -> int:
    """Run a program, the last argument the size at which a file's writer is killed."""
    command = [sys.executable, "-c", CUT_OFF + program, *map(str, arguments)]
    return subprocess.run(command, check=False, timeout=PATIENCE).returncode


def test_killed_while_it_writes_a_result(tmp_path, undisturbed):
    whole, out, config = RunFolder.open(undisturbed), tmp_path / "run", many_paths(tmp_path)
    limit = min(len(whole.read(file)) for file in whole.files("results")) // 2
    before = [file for kind in ("data", "certificates", "networks") for file in whole.files(kind)]
    assert max(len(whole.read(file)) for file in before) < limit
    assert cut_off(DRIVER, config, out, "inline", limit) == -signal.SIGXFSZ
    folder = RunFolder.open(out)
    assert folder.files("networks")
    assert folder.files("results") == []
    (left,) = out.rglob(".*.tmp")
    assert left.stat().st_size == limit
    with drive(config, out, "inline") as driver:
        assert driver.wait(PATIENCE) == 0
    assert not folder.files("quarantine")
    assert not left.exists()
    assert damage("killed while it writes", 1, out, undisturbed) == Damage(1, 0, 0)
    assert files_of(out) == files_of(undisturbed)


@pytest.mark.parametrize("name", ["retrain.json", "sweep.yaml", "results/path.parquet"])
def test_killed_while_it_replaces_a_file_the_old_one_stays(tmp_path, name):
    folder = RunFolder.open(tmp_path)
    folder.write(name, b"old")
    assert cut_off(REPLACE, tmp_path, name, 100_000) == -signal.SIGXFSZ
    assert folder.read(name) == b"old"


def test_a_full_disk_is_said_and_a_rerun_finishes(tmp_path):
    config = many_paths(tmp_path)
    for name in ("place", "keep"):
        (tmp_path / name).mkdir()
    with drive(config, tmp_path / "undisturbed", "inline") as driver:
        assert driver.wait(PATIENCE) == 0
    space = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--mount", "-r"]
    subprocess.run(
        [*space, "bash", "-c", FULL_DISK],
        env={
            **os.environ,
            "PLACE": str(tmp_path / "place"),
            "KEEP": str(tmp_path / "keep"),
            "CONFIG": str(config),
            "PYTHON": sys.executable,
            "QNN": COMMAND,
        },
        check=True,
        timeout=PATIENCE,
    )
    keep = tmp_path / "keep"
    assert (keep / "first.code").read_text() == "1\n"
    said = (keep / "first.txt").read_text().splitlines()[-1]
    assert said.startswith("error: ")
    assert "No space left on device" in said
    assert said.endswith("what is finished is kept: make room and run the same command again")
    first = RunFolder.open(keep / "first")
    finished = first.files("results")
    assert 0 < len(finished) < 9
    assert not first.exists("sweep.lock")
    assert (keep / "second.code").read_text() == "0\n"
    second = RunFolder.open(keep / "second")
    assert all(second.read(file) == first.read(file) for file in finished)
    assert damage("disk full", 1, keep / "second", tmp_path / "undisturbed") == Damage(1, 0, 0)
    assert files_of(keep / "second") == files_of(tmp_path / "undisturbed")


def test_results_that_cannot_be_kept_are_no_failed_trials(tmp_path, undisturbed):
    """Only the networks' folder cannot be written: rows without their networks would be lost."""
    config, out = many_paths(tmp_path), tmp_path / "run"
    out.mkdir()
    (out / "networks").touch()
    command = [sys.executable, "-c", COMMAND, str(config), str(out)]
    stopped = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
    assert stopped.returncode == 1
    said = stopped.stderr.splitlines()[-1]
    assert said.startswith(f"error: {out}/networks/")
    assert "cannot be written" in said
    assert RunFolder.open(out).files("results") == []
    (out / "networks").unlink()
    again = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
    assert again.returncode == 0, again.stderr
    assert damage("networks not writable", 1, out, undisturbed) == Damage(1, 0, 0)
    assert files_of(out) == files_of(undisturbed)


def test_files_found_damaged_are_set_aside_and_made_again(tmp_path):
    config, out = tmp_path / "sweep.yaml", tmp_path / "run"
    config.write_text(config_text(tmp_path, tracking={"top": 1}))
    assert qnn("sweep", str(config), "--out", str(out)).returncode == 0
    shutil.copytree(out, tmp_path / "undisturbed")
    folder = RunFolder.open(out)
    broken = [
        *(folder.files(kind)[0] for kind in ("results", "certificates", "networks", "data")),
        "mlflow.db",
    ]
    for name in broken:
        content = bytearray((out / name).read_bytes())
        if name.startswith("results/"):
            # Still a readable table, with a wrong entry: only the checksum of the page tells.
            content[content.index(b"refined")] ^= 4
        else:
            content[: len(content) // 2] = bytes(len(content) // 2)
        (out / name).write_bytes(content)
    again = qnn("sweep", str(config), "--out", str(out))
    assert again.returncode == 0, again.stderr
    for name in broken:
        assert f"kept as quarantine/{name}" in again.stderr
        assert folder.exists(f"quarantine/{name}")
    faults = len(broken)
    assert damage("damaged files", faults, out, tmp_path / "undisturbed") == Damage(faults, 0, 0)
    assert files_of(out).items() >= files_of(tmp_path / "undisturbed").items()
    verified = qnn("verify", str(out))
    assert (verified.returncode, "all verified" in verified.stdout) == (0, True)
    # Everything is in the new database, and a third run has nothing to do.
    third = qnn("sweep", str(config), "--out", str(out))
    assert third.returncode == 0
    assert "quarantine" not in third.stderr
    from pipeline.configuration.reading import load_config
    from pipeline.tracking.store import open_store
    from tests.pipeline.tracked import runs_of

    store = open_store(load_config(config), folder)
    (run,) = runs_of(store, "sweep")
    assert run.info.status == "FINISHED"
    assert len(runs_of(store, "champion")) == 1
