"""A full disk, and files found damaged: nothing finished is lost, and what happened is said."""

import os
import shutil
import subprocess
import sys

import pytest

from pipeline.store import RunFolder
from tests.faults.disturbed import Damage, damage, drive, many_paths, qnn
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
import pipeline.report
from pipeline import cluster, commands, tracking
from pipeline.sweep import SweepOptions
pipeline.report.write_report = lambda folder, trial: None
tracking.start = None
commands.SweepOptions = lambda **given: SweepOptions(inline=True)
sys.exit(commands.sweep_command(sys.argv[1], sys.argv[2], [], address=None, cpus=None,
                                max_failures=0, retry_failed=False))
"""


def test_a_full_disk_is_said_and_a_rerun_finishes(tmp_path):
    config = many_paths(tmp_path)
    for name in ("place", "keep"):
        (tmp_path / name).mkdir()
    with drive(config, tmp_path / "undisturbed", "inline") as driver:
        assert driver.wait(240) == 0
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
        timeout=300,
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
    from pipeline.config import load_config
    from pipeline.mlflow_store import open_store
    from tests.pipeline.tracked import runs_of

    store = open_store(load_config(config), folder)
    (run,) = runs_of(store, "sweep")
    assert run.info.status == "FINISHED"
    assert len(runs_of(store, "champion")) == 1
