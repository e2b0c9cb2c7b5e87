"""A distributed sweep on a disk that is really full, or killed at work: a rerun goes on."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.faults.disturbed import PATIENCE
from tests.faults.test_storage import COMMAND, FULL_DISK

pytestmark = pytest.mark.slow
PROGRAM = COMMAND.replace("pipeline.studies.training", "pipeline.studies.distributed")
# Kills itself in the midst of the second beta.
KILLED = """
import os, signal
from pipeline.studies.distributed import path
real, calls = path.round_blocks, []
def dies(*arguments):
    calls.append(arguments)
    if len(calls) == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return real(*arguments)
path.round_blocks = dies
"""


def config(folder: Path) -> Path:
    """Of so many columns that what all betas share does not fit where half a megabyte is left."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(1500, 24))
    columns = {**{f"x{j}": X[:, j] for j in range(24)}, "y": X[:, 0] * X[:, 1]}
    pq.write_table(pa.table(columns), folder / "rows.parquet")
    (folder / "sweep.yaml").write_text(
        "{name: rows, data: {source: rows.parquet, target: y}, task: regression, "
        "beta: {fractions: [0.5, 0.3]}, distributed: {blocks: 3}}"
    )
    return folder / "sweep.yaml"


def kept(run: Path) -> dict[str, bytes]:
    files = [file for file in run.rglob("*") if file.is_file()]
    assert not [file for file in files if file.name.endswith(".tmp")]
    made = ("certificates", "networks", "blocks")
    return {
        str(f.relative_to(run)): f.read_bytes() for f in files if f.parts[len(run.parts)] in made
    }


def test_a_full_disk_is_said_and_a_rerun_goes_on(tmp_path: Path) -> None:
    for name in ("place", "keep"):
        (tmp_path / name).mkdir()
    made, keep = config(tmp_path), tmp_path / "keep"
    alone = [sys.executable, "-c", PROGRAM, made, tmp_path / "undisturbed", "inline"]
    subprocess.run(alone, check=True, timeout=PATIENCE)
    space = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--mount", "-r"]
    names = {"PLACE": tmp_path / "place", "KEEP": keep, "CONFIG": made, "PYTHON": sys.executable}
    subprocess.run(
        [*space, "bash", "-c", FULL_DISK],
        env={**os.environ, **{name: str(value) for name, value in names.items()}, "QNN": PROGRAM},
        check=True,
        timeout=PATIENCE,
    )
    assert (keep / "first.code").read_text() == "1\n"
    (said,) = [
        line for line in (keep / "first.txt").read_text().splitlines() if "(all rows): " in line
    ]
    assert "No space left on device; what is finished is kept: make room and run the same" in said
    first = kept(keep / "first")
    assert any(name.endswith("preprocessing.json") for name in first)
    assert not any(name.endswith("first.npz") for name in first)
    assert (keep / "second.code").read_text() == "0\n"
    second, whole = kept(keep / "second"), kept(tmp_path / "undisturbed")
    assert {name: second[name] for name in first} == first
    assert len(second) == len(whole) > len(first)
    proofs = [name for name in whole if name.startswith(("certificates", "networks"))]
    assert {name: second[name] for name in proofs} == {name: whole[name] for name in proofs}


def test_a_killed_driver_goes_on_from_the_last_finished_beta(tmp_path: Path) -> None:
    made, out = config(tmp_path), tmp_path / "run"

    def run(program: str, folder: Path) -> int:
        command = [sys.executable, "-c", program, made, folder, "inline"]
        return subprocess.run(command, timeout=PATIENCE).returncode

    assert run(PROGRAM, tmp_path / "undisturbed") == 0
    assert run(KILLED + PROGRAM, out) == -signal.SIGKILL
    first = kept(out)
    proofs = [name for name in first if name.startswith(("certificates", "networks"))]
    assert len(proofs) == 2
    assert any(name.endswith("/0.json") for name in first)
    written = {name: (out / name).stat().st_mtime_ns for name in first}
    assert run(PROGRAM, out) == 0
    second, whole = kept(out), kept(tmp_path / "undisturbed")
    assert {name: (out / name).stat().st_mtime_ns for name in first} == written
    assert second.keys() == whole.keys()
    proofs = [name for name in whole if name.startswith(("certificates", "networks"))]
    assert len(proofs) == 4
    assert {name: second[name] for name in proofs} == {name: whole[name] for name in proofs}
